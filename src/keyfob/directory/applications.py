"""Application registrations and what they prove themselves with: secrets, certificates, federated credentials."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob.clock import Clock, Ids
from keyfob.directory.keys import b64url
from keyfob.directory.model import (
    Application,
    ClientCertificate,
    ClientSecret,
    FederatedCredential,
    ServicePrincipal,
)
from keyfob.directory.principals import (
    create_service_principal,
    delete_principal,
    find_service_principal,
    forget_ownerships,
)
from keyfob.directory.records import APPLICATIONS, FEDERATED_CREDENTIALS, SERVICE_PRINCIPALS, normal_name
from keyfob.directory.redirects import check_redirect_uri
from keyfob.directory.secrets import hash_secret, new_secret
from keyfob.errors import Conflict, InvalidInput, NotFound
from keyfob.store.port import Session, Transaction

SECRET_LIFE = 2 * 365 * 86_400.0
MOST_FEDERATED = 20
"""Per owner (Microsoft's page on federated identity considerations)."""
_FEDERATED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,119}")
_LONGEST_FEDERATED = 600


@dataclass(frozen=True, slots=True)
class NewSecret:
    """The only time the text is seen."""

    id: str
    text: str = field(repr=False)
    hint: str
    ends: float


async def create_application(tx: Transaction, application: Application, *, principal_id: str) -> ServicePrincipal:
    """Registers the application with its service principal in the home tenant. Raises `Conflict`."""
    await register_application(tx, application)
    principal = principal_of(application, tenant_id=application.tenant_id, object_id=principal_id)
    await create_service_principal(tx, principal)
    return principal


async def register_application(tx: Transaction, application: Application) -> None:
    """The registration alone: without a service principal nobody signs in as it. Raises `Conflict`."""
    if await APPLICATIONS.find(tx, "app_id", application.app_id):
        raise Conflict(f"An application with the id {application.app_id} already exists.")
    await _check_uris(tx, application)
    await APPLICATIONS.insert(tx, f"{application.tenant_id}/{application.id}", application)


def principal_of(application: Application, *, tenant_id: str, object_id: str) -> ServicePrincipal:
    """The application as a tenant sees it: its own, or one that took it in (multi-tenant)."""
    return ServicePrincipal(
        id=object_id,
        tenant_id=tenant_id,
        app_id=application.app_id,
        display_name=application.display_name,
        names=(application.app_id, *application.identifier_uris),
        created=application.created,
        access_token_version=application.access_token_version,
    )


async def get_application(session: Session, tenant_id: str, object_id: str) -> Application | None:
    row = await APPLICATIONS.get(session, f"{tenant_id}/{object_id}")
    return row.value if row else None


async def find_application(session: Session, app_id: str) -> Application | None:
    """By application id, in whatever tenant it is registered."""
    found = await APPLICATIONS.find(session, "app_id", app_id.lower())
    return found[0].value if found else None


async def list_applications(session: Session, tenant_id: str) -> list[Application]:
    return [row.value for row in await APPLICATIONS.list(session, prefix=f"{tenant_id}/")]


async def update_application(tx: Transaction, application: Application) -> None:
    """Replaces it, and lets the home tenant's service principal follow."""
    await _require(tx, application.tenant_id, application.id)
    await _check_uris(tx, application)
    await APPLICATIONS.put(tx, f"{application.tenant_id}/{application.id}", application)
    old = await find_service_principal(tx, application.tenant_id, application.app_id)
    if old is not None:
        new = msgspec.structs.replace(
            old,
            display_name=application.display_name,
            names=(application.app_id, *application.identifier_uris),
            access_token_version=application.access_token_version,
        )
        await SERVICE_PRINCIPALS.put(tx, f"{old.tenant_id}/{old.id}", new)


async def delete_application(tx: Transaction, tenant_id: str, object_id: str) -> bool:
    """With the home tenant's service principal, and its federated credentials."""
    application = await get_application(tx, tenant_id, object_id)
    if application is None:
        return False
    principal = await find_service_principal(tx, tenant_id, application.app_id)
    if principal is not None:
        await delete_principal(tx, tenant_id, principal.id)
    for row in await FEDERATED_CREDENTIALS.list(tx, prefix=f"{tenant_id}/{object_id}/"):
        await FEDERATED_CREDENTIALS.delete(tx, row.key)
    await forget_ownerships(tx, tenant_id, object_id)
    return await APPLICATIONS.delete(tx, f"{tenant_id}/{object_id}")


# --- secrets and certificates ----------------------------------------------------------------------------------


async def add_secret(
    tx: Transaction,
    tenant_id: str,
    object_id: str,
    *,
    clock: Clock,
    ids: Ids,
    display_name: str = "",
    ends: float | None = None,
) -> NewSecret:
    application = await _require(tx, tenant_id, object_id)
    now = clock.now()
    text = new_secret()
    stored = ClientSecret(
        id=ids.guid(),
        display_name=display_name,
        hash=hash_secret(text),
        hint=text[:3],
        starts=now,
        ends=now + SECRET_LIFE if ends is None else ends,
    )
    changed = msgspec.structs.replace(application, secrets=(*application.secrets, stored))
    await APPLICATIONS.put(tx, f"{tenant_id}/{object_id}", changed)
    return NewSecret(id=stored.id, text=text, hint=stored.hint, ends=stored.ends)


async def remove_secret(tx: Transaction, tenant_id: str, object_id: str, secret_id: str) -> bool:
    application = await _require(tx, tenant_id, object_id)
    left = tuple(secret for secret in application.secrets if secret.id != secret_id)
    if len(left) == len(application.secrets):
        return False
    await APPLICATIONS.put(tx, f"{tenant_id}/{object_id}", msgspec.structs.replace(application, secrets=left))
    return True


def parse_certificate(data: bytes, *, key_id: str, display_name: str = "") -> ClientCertificate:
    """A public certificate, PEM or DER. Raises `InvalidInput`."""
    try:
        pem = b"-----BEGIN" in data
        certificate = x509.load_pem_x509_certificate(data) if pem else x509.load_der_x509_certificate(data)
    except ValueError as error:
        raise InvalidInput("Key value is not a certificate.", code="KeyCredentialsInvalid") from error
    der = certificate.public_bytes(Encoding.DER)
    return ClientCertificate(
        id=key_id,
        display_name=display_name,
        der=der,
        x5t=b64url(hashlib.sha1(der, usedforsecurity=False).digest()),
        x5t_s256=b64url(hashlib.sha256(der).digest()),
        starts=certificate.not_valid_before_utc.timestamp(),
        ends=certificate.not_valid_after_utc.timestamp(),
    )


async def add_certificate(
    tx: Transaction, tenant_id: str, object_id: str, certificate: bytes, *, ids: Ids, display_name: str = ""
) -> ClientCertificate:
    application = await _require(tx, tenant_id, object_id)
    parsed = parse_certificate(certificate, key_id=ids.guid(), display_name=display_name)
    if any(known.x5t_s256 == parsed.x5t_s256 for known in application.certificates):
        raise Conflict("The certificate is already registered on the application.")
    changed = msgspec.structs.replace(application, certificates=(*application.certificates, parsed))
    await APPLICATIONS.put(tx, f"{tenant_id}/{object_id}", changed)
    return parsed


async def remove_certificate(tx: Transaction, tenant_id: str, object_id: str, certificate_id: str) -> bool:
    application = await _require(tx, tenant_id, object_id)
    left = tuple(known for known in application.certificates if known.id != certificate_id)
    if len(left) == len(application.certificates):
        return False
    await APPLICATIONS.put(tx, f"{tenant_id}/{object_id}", msgspec.structs.replace(application, certificates=left))
    return True


# --- federated credentials -------------------------------------------------------------------------------------


async def add_federated_credential(
    tx: Transaction, tenant_id: str, app_object_or_principal_id: str, credential: FederatedCredential
) -> FederatedCredential:
    """Adds it, or replaces the one of that name. Raises `InvalidInput` for its limits, `Conflict` when another
    credential of the owner has the same issuer and subject."""
    _check_federated(credential)
    owner = app_object_or_principal_id
    others = [
        row.value
        for row in await FEDERATED_CREDENTIALS.list(tx, prefix=f"{tenant_id}/{owner}/")
        if row.value.name != credential.name
    ]
    if any((known.issuer, known.subject) == (credential.issuer, credential.subject) for known in others):
        raise Conflict("Issuer and subject combination already exists for this Managed Identity.")
    if len(others) >= MOST_FEDERATED:
        raise InvalidInput(
            f"Too many Federated Identity Credentials: an identity has at most {MOST_FEDERATED}.", code="BadRequest"
        )
    stored = msgspec.structs.replace(credential, tenant_id=tenant_id, owner_id=owner)
    await FEDERATED_CREDENTIALS.put(tx, f"{tenant_id}/{owner}/{credential.name}", stored)
    return stored


async def list_federated_credentials(session: Session, tenant_id: str, owner_id: str) -> list[FederatedCredential]:
    return [row.value for row in await FEDERATED_CREDENTIALS.list(session, prefix=f"{tenant_id}/{owner_id}/")]


async def get_federated_credential(
    session: Session, tenant_id: str, owner_id: str, name: str
) -> FederatedCredential | None:
    row = await FEDERATED_CREDENTIALS.get(session, f"{tenant_id}/{owner_id}/{name}")
    return row.value if row else None


async def delete_federated_credential(tx: Transaction, tenant_id: str, owner_id: str, name: str) -> bool:
    return await FEDERATED_CREDENTIALS.delete(tx, f"{tenant_id}/{owner_id}/{name}")


def _check_federated(credential: FederatedCredential) -> None:
    if not _FEDERATED_NAME.fullmatch(credential.name):
        raise InvalidInput(
            "The name of a federated identity credential has 3 to 120 letters, digits, hyphens and underscores, and "
            "begins with a letter or digit.",
            target="name",
        )
    if len(credential.audiences) != 1 or not credential.audiences[0]:
        raise InvalidInput("A federated identity credential has exactly one audience.", target="audiences")
    for name, value in (
        ("issuer", credential.issuer),
        ("subject", credential.subject),
        ("audiences", credential.audiences[0]),
    ):
        if not value or len(value) > _LONGEST_FEDERATED:
            raise InvalidInput(f"The {name} has 1 to {_LONGEST_FEDERATED} characters.", target=name)
    issuer = urlsplit(credential.issuer)
    if issuer.scheme not in ("https", "http") or not issuer.netloc or issuer.query or issuer.fragment:
        raise InvalidInput("The issuer is a URL without query or fragment.", target="issuer")


async def _check_uris(session: Session, application: Application) -> None:
    """Redirect URIs that run no code, identifier URIs that mean nobody else: neither another application nor a
    service of Azure's, whose tokens it would take."""
    for redirect_uri in application.redirect_uris:
        check_redirect_uri(redirect_uri)
    for uri in application.identifier_uris:
        if "*" in uri or not uri.strip("/"):
            raise InvalidInput(f"'{uri[:200]}' is not an identifier URI.", target="identifierUris")
        owner = await find_service_principal(session, application.tenant_id, uri)
        if owner is not None and owner.app_id != application.app_id:
            raise Conflict(f"Another object with the identifier URI {uri} already exists.", target="identifierUris")
        for row in await APPLICATIONS.find(session, "uri", f"{application.tenant_id}/{normal_name(uri)}"):
            if row.value.id != application.id:
                raise Conflict(f"Another object with the identifier URI {uri} already exists.", target="identifierUris")


async def _require(session: Session, tenant_id: str, object_id: str) -> Application:
    application = await get_application(session, tenant_id, object_id)
    if application is None:
        raise NotFound(f"Resource '{object_id}' does not exist.", code="Request_ResourceNotFound")
    return application


async def trusting(session: Session, tenant_id: str, issuer: str, subject: str) -> str:
    """The client id of whoever trusts this statement by a federated credential. Raises `InvalidInput` unless it is
    exactly one."""
    owners = {
        row.value.owner_id
        for row in await FEDERATED_CREDENTIALS.list(session, prefix=f"{tenant_id}/")
        if (row.value.issuer, row.value.subject) == (issuer, subject)
    }
    found = set()
    for owner in owners:
        principal = await SERVICE_PRINCIPALS.get(session, f"{tenant_id}/{owner}")
        application = await APPLICATIONS.get(session, f"{tenant_id}/{owner}")
        found |= {row.value.app_id for row in (principal, application) if row is not None}
    if len(found) == 1:
        return found.pop()
    many = "several identities trust" if found else "no identity has a federated credential for"
    raise InvalidInput(f"In this tenant {many} '{subject}' of {issuer}: say which one with --client-id.")
