"""Who asks for the token: finds the client and checks what it proves itself with."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from urllib.parse import unquote_plus

from keyfob.directory.aadsts import Refused
from keyfob.directory.applications import list_federated_credentials
from keyfob.directory.assertions import Statement, take_apart, verify_federated, verify_with_certificate
from keyfob.directory.exchange import ANY_TENANT, Client, Exchange, Parts
from keyfob.directory.first_party import TOKEN_EXCHANGE, public_client
from keyfob.directory.model import Application, ServicePrincipal, Tenant
from keyfob.directory.own_issuers import tenant_of
from keyfob.wire.http import Fields

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LONGEST_ID = 256


def with_basic(form: Fields, authorization: str | None) -> Fields:
    """A form with the client id and secret of a Basic `Authorization` header (RFC 6749 §2.3.1: form-encoded inside).

    Raises `Refused` when both name a client and differ.
    """
    if authorization is None or authorization[:6].lower() != "basic ":
        return form
    try:
        text = base64.b64decode(authorization[6:].strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise Refused(9002313) from None
    name, colon, secret = text.partition(":")
    client_id = unquote_plus(name)
    if not colon or form.get("client_id", client_id) != client_id or "client_secret" in form:
        raise Refused(9002313)
    return Fields((*form.pairs, ("client_id", client_id), ("client_secret", unquote_plus(secret))))


async def find_client(
    parts: Parts, tenant: Tenant | None, tenant_name: str, client_id: str
) -> tuple[Application | None, ServicePrincipal | None]:
    """The registration, and the client as the tenant sees it (None under `common`). Raises `Refused`."""
    app_id = client_id.strip().lower()
    if not app_id or len(app_id) > _LONGEST_ID:
        raise Refused(700016, app_id=client_id, tenant=tenant_name)
    if tenant is None:
        application = public_client(app_id, "") or await parts.directory.application(app_id)
        if application is None:
            raise Refused(700016, app_id=client_id, tenant=tenant_name)
        return application, None
    principal = await parts.directory.service_principal(tenant.id, app_id)
    if principal is None or principal.app_id != app_id:
        raise Refused(700016, app_id=client_id, tenant=tenant.display_name or tenant.id)
    if not principal.enabled:
        raise Refused(7000112, app_id=app_id, name=principal.display_name)
    return public_client(app_id, tenant.id) or await parts.directory.application(app_id), principal


async def authenticate_client(parts: Parts, exchange: Exchange, *, alone: bool) -> Client:
    """`alone`: the client asks for itself, so it must prove itself, and its home tenant stands in for `common`."""
    client_id = exchange.need("client_id")
    tenant = exchange.tenant
    application, principal = await find_client(parts, tenant, exchange.tenant_name, client_id)
    if tenant is None and application is not None and application.tenant_id and (alone or _single(application)):
        tenant = await parts.directory.tenant(application.tenant_id)
        application, principal = await find_client(parts, tenant, exchange.tenant_name, client_id)
    app_id = principal.app_id if principal else client_id.strip().lower()
    acr = await _proof(parts, exchange, tenant, application, principal, alone=alone)
    return Client(app_id=app_id, tenant=tenant, principal=principal, application=application, acr=acr)


async def _proof(
    parts: Parts,
    exchange: Exchange,
    tenant: Tenant | None,
    application: Application | None,
    principal: ServicePrincipal | None,
    *,
    alone: bool,
) -> str:
    form = exchange.form
    secret, assertion = form.get("client_secret"), form.get("client_assertion")
    if application is not None and application.public_client:
        if secret or assertion:
            raise Refused(700025)
        if alone:
            raise Refused(7000216)
        return "0"
    if assertion:
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise Refused(900144, name="client_assertion_type")
        await _assertion(parts, exchange, tenant, application, principal, assertion)
        return "2"
    if secret:
        await _secret(parts, application, principal, secret, exchange.now)
        return "1"
    raise Refused(7000216 if alone else 7000218)


async def _secret(
    parts: Parts, application: Application | None, principal: ServicePrincipal | None, secret: str, now: float
) -> None:
    app_id = application.app_id if application else principal.app_id if principal else ""
    for stored in (*(application.secrets if application else ()), *(principal.secrets if principal else ())):
        if await parts.secrets.client_secret(secret, stored.hash):
            if stored.ends <= now:
                raise Refused(7000222, app_id=app_id)
            return
    raise Refused(7000215, app_id=app_id)


async def _assertion(
    parts: Parts,
    exchange: Exchange,
    tenant: Tenant | None,
    application: Application | None,
    principal: ServicePrincipal | None,
    text: str,
) -> None:
    statement = take_apart(text)
    app_id = application.app_id if application else principal.app_id if principal else ""
    if application is not None and _is_own(statement, app_id):
        if statement.claim("iss").lower() != app_id or statement.claim("sub").lower() != app_id:
            raise Refused(700021)
        audiences = frozenset(assertion_audiences(exchange, tenant))
        certificates = (*application.certificates, *(principal.certificates if principal else ()))
        verify_with_certificate(statement, certificates, audiences=audiences, now=exchange.now)
        return
    home = application.tenant_id if application else tenant.id if tenant else ""
    owners = [application.id] if application else []
    if principal is not None and principal.id not in owners:
        owners.append(principal.id)
    credentials = [
        credential for owner in owners for credential in await list_federated_credentials(parts.store, home, owner)
    ]
    ours = tenant_of(statement.claim("iss"), parts.clouds) is not None and TOKEN_EXCHANGE in statement.audiences
    also = (exchange.cloud.token_exchange_audience,) if ours else ()
    await verify_federated(statement, credentials, fetcher=parts.fetcher, now=exchange.now, also=also)


def _is_own(statement: Statement, app_id: str) -> bool:
    """Issuers of federated assertions are URLs: whatever is none is meant to be the client's own statement."""
    return "://" not in statement.claim("iss") or statement.claim("iss").lower() == app_id


def assertion_audiences(exchange: Exchange, tenant: Tenant | None) -> Iterator[str]:
    """What a client may call us in `aud`: token endpoints of both versions, the authority, with and without slash."""
    hosts = {exchange.login, *(f"https://{host}" for host in exchange.cloud.login_hosts)}
    names = {exchange.tenant_name, *ANY_TENANT}
    if tenant is not None:
        names |= {tenant.id, *tenant.domains}
    for host in hosts:
        for name in names:
            base = f"{host}/{name}"
            for tail in ("", "/", "/v2.0", "/v2.0/", "/oauth2/token", "/oauth2/v2.0/token"):
                yield base + tail


def _single(application: Application) -> bool:
    return application.sign_in_audience == "AzureADMyOrg"
