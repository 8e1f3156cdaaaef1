"""System-assigned identities live and die with their resource: the service principal behind each, in the transaction.

Role assignments are left alone throughout, as on Azure: those of a deleted identity stay and name nobody.
"""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress

import msgspec

from keyfob.clock import Ids
from keyfob.directory.model import ServicePrincipal
from keyfob.directory.principals import create_service_principal, delete_principal, set_enabled
from keyfob.directory.records import SERVICE_PRINCIPALS
from keyfob.errors import NotFound
from keyfob.identities.model import StoredIdentity, SystemIdentity
from keyfob.identities.reconcile import Reconciled
from keyfob.resource_id import ResourceId
from keyfob.store.port import Transaction


async def create_identity(
    tx: Transaction, *, tenant_id: str, resource: ResourceId, explicit: bool, ids: Ids, now: float
) -> SystemIdentity:
    """A service principal for the resource. `explicit` tells user-assigned identities from system-assigned ones, as
    the `alternativeNames` of real ones do."""
    created = SystemIdentity(principal_id=ids.guid(), client_id=ids.guid())
    digest = base64.b64encode(hashlib.sha256(created.client_id.encode()).digest()).decode()
    await create_service_principal(
        tx,
        ServicePrincipal(
            id=created.principal_id,
            tenant_id=tenant_id,
            app_id=created.client_id,
            display_name=resource.name,
            kind="ManagedIdentity",
            names=(created.client_id, f"https://identity.azure.net/{digest}"),
            alternative_names=(f"isExplicit={explicit}", str(resource)),
            created=now,
        ),
    )
    return created


async def apply_identity(
    tx: Transaction,
    before: StoredIdentity | None,
    wanted: Reconciled,
    *,
    tenant_id: str,
    resource: ResourceId,
    ids: Ids,
    now: float,
) -> StoredIdentity | None:
    """Makes the directory agree with what is wanted; gives what to store. A system identity that was removed and
    asked for again is a new one, with new ids."""
    system = before.system if before else None
    if wanted.system and system is None:
        system = await create_identity(tx, tenant_id=tenant_id, resource=resource, explicit=False, ids=ids, now=now)
    elif not wanted.system and system is not None:
        await delete_principal(tx, tenant_id, system.principal_id)
        system = None
    known = {**(before.principals if before else {}), **wanted.principals}
    principals = {id.key: known[id.key] for id in wanted.user if id.key in known}
    return StoredIdentity(system=system, user=tuple(str(id) for id in wanted.user), principals=principals) or None


async def move_identity(tx: Transaction, tenant_id: str, identity: StoredIdentity | None, *, to: ResourceId) -> None:
    """The resource has another id; its own identity is the same, and the directory says whose it is."""
    if identity is None or identity.system is None:
        return
    row = await SERVICE_PRINCIPALS.get(tx, f"{tenant_id}/{identity.system.principal_id}")
    if row is not None:
        names = (*row.value.alternative_names[:1], str(to))
        await SERVICE_PRINCIPALS.put(tx, row.key, msgspec.structs.replace(row.value, alternative_names=names))


async def suspend_identity(tx: Transaction, tenant_id: str, identity: StoredIdentity | None, *, enabled: bool) -> None:
    """While its resource is being deleted, the system identity gets no more tokens."""
    if identity is not None and identity.system is not None:
        with suppress(NotFound):
            await set_enabled(tx, tenant_id, identity.system.principal_id, enabled)


async def remove_identity(tx: Transaction, tenant_id: str, identity: StoredIdentity | None) -> None:
    """The resource is gone, and its own identity with it. User-assigned ones live on."""
    if identity is not None and identity.system is not None:
        await delete_principal(tx, tenant_id, identity.system.principal_id)
