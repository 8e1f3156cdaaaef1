"""Azure's own applications in every tenant: the resource services of its cloud, and the public clients."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files

import msgspec

from keyfob.directory.model import Application, ServicePrincipal, Tenant

AZURE_CLI = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
AZURE_POWERSHELL = "1950a258-227b-4e31-a9cf-717495945fc2"
GRAPH = "00000003-0000-0000-c000-000000000000"
"""Microsoft Graph."""
TOKEN_EXCHANGE = "fb60f99c-7a34-4190-8149-302f77469936"
"""AAD Token Exchange Endpoint: `api://AzureADTokenExchange` and its spellings in other clouds."""
GRAPH_SCOPES = (
    "AuditLog.Read.All",
    "Directory.AccessAsUser.All",
    "email",
    "openid",
    "profile",
    "User.Read",
)
"""What az and Az PowerShell hold on Graph, as far as it matters here: AccessAsUser lets them do what the user may."""

_PUBLIC_CLIENTS = {AZURE_CLI: "Microsoft Azure CLI", AZURE_POWERSHELL: "Microsoft Azure PowerShell"}
_OBJECT_IDS = uuid.UUID("6b1f6a0e-5d0a-4a53-9f0e-0d4f6c1e7a11")
"""Namespace of the object ids, so that a tenant's are the same on every machine that gives it the same id."""


class FirstParty(msgspec.Struct, frozen=True):
    """One application of Azure's. `names` are its servicePrincipalNames by cloud; a cloud that is absent lacks it."""

    app_id: str
    name: str
    names: Mapping[str, tuple[str, ...]] = {}
    token_version: int = 1
    """Of the access tokens it takes."""


def parse_first_party(data: bytes) -> tuple[FirstParty, ...]:
    return msgspec.json.decode(data, type=tuple[FirstParty, ...])


def load_first_party() -> tuple[FirstParty, ...]:
    """Reads package data (made by `tools/make_data.py`) each time."""
    return parse_first_party(files("keyfob.directory").joinpath("data/first_party.json").read_bytes())


def public_client(app_id: str, tenant_id: str) -> Application | None:
    """az and Az PowerShell: registered everywhere, public, signing in over a loopback redirect."""
    name = _PUBLIC_CLIENTS.get(app_id)
    if name is None:
        return None
    return Application(
        id=object_id(tenant_id, app_id),
        tenant_id=tenant_id,
        app_id=app_id,
        display_name=name,
        public_client=True,
        sign_in_audience="AzureADMultipleOrgs",
        redirect_uris=("http://localhost", "https://login.microsoftonline.com/common/oauth2/nativeclient"),
    )


def first_party_principals(tenant: Tenant, known: Iterable[FirstParty]) -> Iterator[ServicePrincipal]:
    """The service principals of a new tenant: those of its cloud, under that cloud's names."""
    apps = {app.app_id: app for app in known}
    for app_id, name in _PUBLIC_CLIENTS.items():
        apps.setdefault(app_id, FirstParty(app_id, name, {tenant.cloud: (app_id,)}))
    for app in apps.values():
        names = app.names.get(tenant.cloud)
        if names is None and app.app_id not in _PUBLIC_CLIENTS:
            continue
        yield ServicePrincipal(
            id=object_id(tenant.id, app.app_id),
            tenant_id=tenant.id,
            app_id=app.app_id,
            display_name=app.name,
            kind="FirstParty",
            names=tuple(dict.fromkeys((app.app_id, *(names or ())))),
            created=tenant.created,
            access_token_version=app.token_version,
        )


def object_id(tenant_id: str, app_id: str) -> str:
    return str(uuid.uuid5(_OBJECT_IDS, f"{tenant_id}/{app_id}"))
