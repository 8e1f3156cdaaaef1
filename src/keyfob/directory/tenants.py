"""Tenants, and what a store holds from its first start."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from keyfob.clock import Clock, Ids
from keyfob.clouds.cloud import Cloud
from keyfob.directory.applications import add_secret, create_application
from keyfob.directory.first_party import FirstParty, first_party_principals
from keyfob.directory.model import Application, Tenant
from keyfob.directory.principals import create_service_principal
from keyfob.directory.records import TENANTS
from keyfob.errors import Conflict, InvalidInput, NotFound
from keyfob.store.port import Session, Transaction

DEFAULT_DOMAIN = "keyfob.onmicrosoft.com"
RESERVED = frozenset({"common", "organizations", "consumers", "adfs"})
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DOMAIN = re.compile(r"(?=.{3,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+")


@dataclass(frozen=True, slots=True)
class Operator:
    """The application that the command line signs in as. The secret is known only now."""

    tenant_id: str
    app_id: str
    object_id: str
    """Of its service principal: the one to give a role."""
    secret: str = field(repr=False)


async def create_tenant(
    tx: Transaction, tenant: Tenant, *, clouds: Mapping[str, Cloud], first_party: Sequence[FirstParty]
) -> Tenant:
    """Makes the tenant with the first-party service principals of its cloud. Raises `Conflict`, `InvalidInput`."""
    if not _GUID.fullmatch(tenant.id):
        raise InvalidInput("A tenant id is a GUID in lower case.", target="id")
    if tenant.cloud not in clouds:
        raise InvalidInput(f"There is no cloud called '{tenant.cloud}'.", target="cloud")
    for domain in tenant.domains:
        if not _DOMAIN.fullmatch(domain.lower()):
            raise InvalidInput(f"'{domain}' is not a domain name.", target="domains")
        if await TENANTS.find(tx, "domain", domain.lower()):
            raise Conflict(f"The domain {domain} belongs to another tenant.")
    await TENANTS.insert(tx, tenant.id, tenant)
    for principal in first_party_principals(tenant, first_party):
        await create_service_principal(tx, principal)
    return tenant


async def update_tenant(tx: Transaction, tenant: Tenant) -> None:
    if await TENANTS.get(tx, tenant.id) is None:
        raise NotFound(f"Tenant '{tenant.id}' not found.")
    await TENANTS.put(tx, tenant.id, tenant)


async def get_tenant(session: Session, id_or_domain: str) -> Tenant | None:
    name = id_or_domain.lower()
    if _GUID.fullmatch(name):
        row = await TENANTS.get(session, name)
        return row.value if row else None
    found = await TENANTS.find(session, "domain", name)
    return found[0].value if found else None


async def list_tenants(session: Session) -> list[Tenant]:
    return [row.value for row in await TENANTS.list(session)]


async def default_tenant(session: Session) -> Tenant:
    """Raises `NotFound` before the first start."""
    for tenant in await list_tenants(session):
        if tenant.default:
            return tenant
    raise NotFound("There is no tenant yet.")


async def ensure_first_start(
    tx: Transaction,
    *,
    clouds: Mapping[str, Cloud],
    first_party: Sequence[FirstParty],
    clock: Clock,
    ids: Ids,
    cloud: str = "AzureCloud",
    tenant_id: str | None = None,
    domain: str = DEFAULT_DOMAIN,
    password_grant: bool = False,
) -> tuple[Tenant, Operator | None]:
    """The default tenant; made, with the operator's application, when the store has no tenant.

    Ids are `tenant_id` or chance the first time and stay as stored from then on. The operator is returned only when
    it was made: its secret cannot be read again.
    """
    existing = await list_tenants(tx)
    if existing:
        return next((tenant for tenant in existing if tenant.default), existing[0]), None
    now = clock.now()
    tenant = Tenant(
        id=(tenant_id or ids.guid()).lower(),
        display_name="Keyfob",
        domains=(domain,),
        cloud=cloud,
        created=now,
        password_grant=password_grant,
        default=True,
    )
    await create_tenant(tx, tenant, clouds=clouds, first_party=first_party)
    application = Application(
        id=ids.guid(), tenant_id=tenant.id, app_id=ids.guid(), display_name="Keyfob operator", created=now
    )
    principal = await create_application(tx, application, principal_id=ids.guid())
    secret = await add_secret(
        tx, tenant.id, application.id, clock=clock, ids=ids, display_name="first start", ends=now + 100 * 365 * 86_400
    )
    return tenant, Operator(tenant_id=tenant.id, app_id=application.app_id, object_id=principal.id, secret=secret.text)
