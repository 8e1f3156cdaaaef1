"""One request to the token endpoint, parsed; what grants work with; and how their answers are written."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from keyfob.clock import Clock, Ids
from keyfob.clouds.cloud import Cloud
from keyfob.directory.aadsts import Refused
from keyfob.directory.cache import Directory
from keyfob.directory.claims import ACCESS_LIFE
from keyfob.directory.fetcher import KeyFetcher
from keyfob.directory.first_party import GRAPH, GRAPH_SCOPES, public_client
from keyfob.directory.keys import KeyRing
from keyfob.directory.model import Application, Pending, ServicePrincipal, Tenant, User
from keyfob.directory.pending import PendingStore
from keyfob.directory.principals import app_roles_of
from keyfob.directory.records import PERMISSION_GRANTS
from keyfob.directory.resources import Resource
from keyfob.directory.scopes import application_resource, parse_scopes
from keyfob.directory.secrets import SecretChecker
from keyfob.directory.throttle import Throttle
from keyfob.directory.tokens import Minted, Tokens
from keyfob.store.port import Store
from keyfob.wire.http import Fields

ANY_TENANT = frozenset({"common", "organizations"})


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What every phase and grant works with."""

    store: Store
    directory: Directory
    keys: KeyRing
    tokens: Tokens
    clouds: Mapping[str, Cloud]
    pending: PendingStore
    secrets: SecretChecker
    fetcher: KeyFetcher
    throttle: Throttle
    clock: Clock
    ids: Ids


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """`tenant` is None under `common` and `organizations`. `login` is scheme, host and port as the client asked."""

    cloud: Cloud
    version: int
    tenant_name: str
    tenant: Tenant | None
    form: Fields = field(repr=False)
    login: str
    now: float

    def need(self, name: str) -> str:
        """A form parameter that must be there and not be empty."""
        value = self.form.get(name)
        if not value:
            raise Refused(900144, name=name)
        return value

    def application_resource(self) -> str:
        """The resource that an application asks for: `resource` (v1), or the scope's (v2)."""
        if self.version == 1:
            return self.need("resource")
        if self.form.get("resource"):
            raise Refused(901002)
        return application_resource(self.need("scope"))

    def user_request(self, *, resource: str = "", scope: str = "") -> Request:
        """What a user flow asks for; the arguments are what an earlier step of the flow asked for."""
        if self.version == 1:
            wanted = self.form.get("resource") or resource or self.cloud.audiences["aad_graph"][0]
            return Request(wanted, ("user_impersonation",), "", offline=True, openid=True)
        scopes = parse_scopes(self.form.get("scope") or scope)
        wanted = scopes.resource or self.cloud.graph
        return Request(
            wanted,
            scopes.permissions or ("user_impersonation",),
            scopes.text,
            offline="offline_access" in scopes.openid,
            openid="openid" in scopes.openid,
        )


@dataclass(frozen=True, slots=True)
class Request:
    resource: str
    permissions: tuple[str, ...]
    echo: str
    offline: bool
    openid: bool


@dataclass(frozen=True, kw_only=True)
class Client:
    """Who asks, after authentication. `application` is None for a managed identity (federated assertion).

    `acr`: "0" public, "1" secret, "2" certificate or federated assertion. `tenant` is None when a public or
    multi-tenant client came over `common`: the user decides.
    """

    app_id: str
    tenant: Tenant | None
    principal: ServicePrincipal | None
    application: Application | None
    acr: str


async def answer_application(parts: Parts, exchange: Exchange, client: Client) -> dict[str, Any]:
    """An app-only token. `scope` is never echoed: MSAL would cache under it and miss."""
    if client.tenant is None or client.principal is None:
        raise Refused(90019)
    resource = await parts.directory.resource(client.tenant, exchange.application_resource())
    roles = await app_roles_of(parts.store, client.tenant.id, client.principal.id, resource.principal.app_id)
    minted = parts.tokens.mint_application(
        tenant=client.tenant,
        principal=client.principal,
        audience=resource.audience,
        roles=roles,
        acr=client.acr,
        version=resource.version,
    )
    return written(exchange.version, minted, resource.requested)


async def answer_user(
    parts: Parts,
    exchange: Exchange,
    client: Client,
    *,
    tenant: Tenant,
    user: User,
    request: Request,
    nonce: str = "",
    family: str = "",
    amr: Sequence[str] = ("pwd",),
) -> dict[str, Any]:
    """A delegated token with id token, client info and refresh token."""
    if not user.enabled:
        raise Refused(50057)
    resource: Resource = await parts.directory.resource(tenant, request.resource)
    permissions = await _permissions(parts, client, tenant, user, resource, request)
    minted = parts.tokens.mint_user(
        tenant=tenant,
        user=user,
        client_id=client.app_id,
        audience=resource.audience,
        scopes=permissions,
        acr=client.acr,
        amr=amr,
        version=resource.version,
    )
    body = written(exchange.version, minted, resource.requested)
    body["scope"] = request.echo if exchange.version == 2 else " ".join(permissions)
    if request.offline:
        body["refresh_token"] = await parts.pending.put(
            Pending(
                kind="refresh",
                tenant_id=tenant.id,
                app_id=client.app_id,
                user_id=user.id,
                resource=request.resource,
                scope=request.echo,
                family=family or parts.ids.guid(),
                amr=" ".join(amr),
            )
        )
    if request.openid:
        body["id_token"] = parts.tokens.mint_identity(
            tenant=tenant, user=user, client_id=client.app_id, nonce=nonce, version=exchange.version
        ).token
    info = msgspec.json.encode({"uid": user.id, "utid": tenant.id})
    body["client_info"] = base64.urlsafe_b64encode(info).rstrip(b"=").decode()
    return body


async def _permissions(
    parts: Parts, client: Client, tenant: Tenant, user: User, resource: Resource, request: Request
) -> Sequence[str]:
    """What `.default` means for Microsoft Graph: what the client was granted (`oauth2PermissionGrants`), and for az and
    Az PowerShell what Microsoft gave them. Named permissions are given as asked: there is no consent here."""
    if request.permissions != ("user_impersonation",) or resource.principal.app_id != GRAPH:
        return request.permissions
    if public_client(client.app_id, tenant.id) is not None:
        return GRAPH_SCOPES
    own = await parts.directory.service_principal(tenant.id, client.app_id)
    granted = await PERMISSION_GRANTS.find(parts.store, "client", f"{tenant.id}/{own.id}") if own else []
    scopes = {
        scope
        for row in granted
        if row.value.resource_id == resource.principal.id and row.value.principal_id in ("", user.id)
        for scope in row.value.scope.split()
    }
    return ("User.Read", *sorted(scopes - {"User.Read"}))


def written(version: int, minted: Minted, resource: str) -> dict[str, Any]:
    """The common members: integers in v2, strings and more of them in v1."""
    if version == 2:
        return {
            "token_type": "Bearer",
            "expires_in": ACCESS_LIFE,
            "ext_expires_in": ACCESS_LIFE,
            "access_token": minted.token,
        }
    return {
        "token_type": "Bearer",
        "expires_in": str(ACCESS_LIFE),
        "ext_expires_in": str(ACCESS_LIFE),
        "expires_on": str(minted.expires_on),
        "not_before": str(minted.not_before),
        "resource": resource,
        "access_token": minted.token,
    }
