"""Role and deny assignments: who has which role where, kept in the store.

Plain functions of a session or transaction. The names of assignments are unique in a tenant, and so is the triple of
principal, role and scope; both as on Azure.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import msgspec

from keyfob.access.roles import Permission, role_guid
from keyfob.errors import Conflict, InvalidInput
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session, Transaction
from keyfob.store.records import Records

EVERYBODY = "00000000-0000-0000-0000-000000000000"
"""With type `SystemDefined`, among the principals of a deny assignment: all principals."""
_NAMES = uuid.UUID("6f0c3d5e-6a0b-5a5c-9d52-7f0f5c1c7b0a")


class RoleAssignment(msgspec.Struct, frozen=True, kw_only=True):
    """`id` (its name), `principal_id` and `role_id` are lower-case GUIDs; times are epoch seconds."""

    id: str
    tenant_id: str = ""
    scope: str = "/"
    principal_id: str = ""
    principal_type: str = ""
    """`User`, `Group`, `ServicePrincipal`, `ForeignGroup`, `Device`."""
    role_id: str = ""
    description: str | None = None
    can_delegate: bool = False
    delegated_identity: str | None = None
    """`delegatedManagedIdentityResourceId`: kept and shown."""
    created: float = 0.0
    updated: float = 0.0
    created_by: str = ""
    updated_by: str = ""

    @property
    def full_id(self) -> ResourceId:
        return ResourceId.parse(self.scope).provider("Microsoft.Authorization/roleAssignments", self.id)


class DenyPrincipal(msgspec.Struct, frozen=True):
    id: str
    type: str = ""


class DenyAssignment(msgspec.Struct, frozen=True, kw_only=True):
    """Made by the platform, which alone changes the protected ones, or by a request (`arm/extras/denials.py`)."""

    id: str
    tenant_id: str = ""
    name: str = ""
    description: str = ""
    scope: str = "/"
    permissions: tuple[Permission, ...] = ()
    this_scope_only: bool = False
    """`doNotApplyToChildScopes`."""
    principals: tuple[DenyPrincipal, ...] = ()
    exclude_principals: tuple[DenyPrincipal, ...] = ()
    system_protected: bool = True
    created: float = 0.0
    updated: float = 0.0
    created_by: str = ""
    updated_by: str = ""


def _role_indexes(assignment: RoleAssignment) -> Mapping[str, str]:
    scope = ResourceId.parse(assignment.scope)
    tenant = assignment.tenant_id
    indexes = {
        "principal": f"{tenant}/{assignment.principal_id}",
        "role": f"{tenant}/{assignment.role_id}",
        "scope": f"{tenant}{scope.key}",
    }
    if scope.subscription_id:
        indexes["subscription"] = f"{tenant}/{scope.subscription_id.lower()}"
    return indexes


ROLE_ASSIGNMENTS = Records("access.role_assignments", RoleAssignment, index=_role_indexes)
DENY_ASSIGNMENTS = Records("access.deny_assignments", DenyAssignment)
"""Both under `tenant/guid`."""


async def assign(
    tx: Transaction,
    *,
    tenant_id: str,
    scope: ResourceId,
    principal_id: str,
    role_definition_id: str,
    now: float,
    principal_type: str = "ServicePrincipal",
    name: str | None = None,
    created_by: str = "",
    description: str | None = None,
    can_delegate: bool = False,
    delegated_identity: str | None = None,
) -> RoleAssignment:
    """Gives a role, in any form of role id, to a principal at a scope; neither is checked to exist.

    Without a `name` one is derived from the three, so that repeating the call changes nothing. Raises `Conflict`
    (`RoleAssignmentExists`) when they are assigned under another name, `InvalidInput`
    (`RoleAssignmentUpdateNotPermitted`) when the name is taken by an assignment of something else.
    """
    role_id = role_guid(role_definition_id)
    if role_id is None:
        raise InvalidInput(
            f"The role definition ID '{role_definition_id}' is not valid.", code="InvalidRoleDefinitionId"
        )
    principal_id = principal_id.lower()
    name = (name or str(uuid.uuid5(_NAMES, f"{tenant_id}{scope.key}|{principal_id}|{role_id}"))).lower()
    same = [row.value for row in await ROLE_ASSIGNMENTS.find(tx, "principal", f"{tenant_id}/{principal_id}")]
    same = [a for a in same if a.role_id == role_id and ResourceId.parse(a.scope) == scope]
    stored = await ROLE_ASSIGNMENTS.get(tx, f"{tenant_id}/{name}")
    before = stored.value if stored else None
    if before is not None and before not in same:
        raise InvalidInput(
            "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
            code="RoleAssignmentUpdateNotPermitted",
        )
    if any(a.id != name for a in same):
        raise Conflict("The role assignment already exists.", code="RoleAssignmentExists")
    value = RoleAssignment(
        id=name,
        tenant_id=tenant_id,
        scope=before.scope if before else str(scope),
        principal_id=principal_id,
        principal_type=before.principal_type if before else principal_type,
        role_id=role_id,
        description=description,
        can_delegate=can_delegate,
        delegated_identity=delegated_identity,
        created=before.created if before else now,
        updated=now,
        created_by=before.created_by if before else created_by,
        updated_by=created_by,
    )
    await ROLE_ASSIGNMENTS.put(tx, f"{tenant_id}/{name}", value)
    return value


async def get_assignment(session: Session, tenant_id: str, name: str) -> RoleAssignment | None:
    row = await ROLE_ASSIGNMENTS.get(session, f"{tenant_id}/{name.lower()}")
    return row.value if row else None


async def unassign(tx: Transaction, tenant_id: str, name: str) -> RoleAssignment | None:
    """What was removed, or None when there was nothing of that name."""
    found = await get_assignment(tx, tenant_id, name)
    if found is not None:
        await ROLE_ASSIGNMENTS.delete(tx, f"{tenant_id}/{found.id}")
    return found


async def deny(tx: Transaction, assignment: DenyAssignment) -> None:
    """Puts a deny assignment, whoever protects it: who asks checks that."""
    await DENY_ASSIGNMENTS.put(tx, f"{assignment.tenant_id}/{assignment.id.lower()}", assignment)


async def remove_denial(tx: Transaction, tenant_id: str, name: str) -> bool:
    return await DENY_ASSIGNMENTS.delete(tx, f"{tenant_id}/{name.lower()}")


async def assignments_of_role(session: Session, tenant_id: str, role_id: str) -> list[RoleAssignment]:
    return [row.value for row in await ROLE_ASSIGNMENTS.find(session, "role", f"{tenant_id}/{role_id}")]


async def assignments_within(session: Session, tenant_id: str, scope: ResourceId) -> list[RoleAssignment]:
    """At this scope and below it."""
    subscription = scope.subscription_id
    rows = (
        await ROLE_ASSIGNMENTS.find(session, "subscription", f"{tenant_id}/{subscription.lower()}")
        if subscription
        else await ROLE_ASSIGNMENTS.list(session, prefix=f"{tenant_id}/")
    )
    return [row.value for row in rows if scope.contains(ResourceId.parse(row.value.scope))]


async def count_in(session: Session, tenant_id: str, subscription_id: str) -> int:
    """How many role assignments stand at this subscription or below it."""
    return await ROLE_ASSIGNMENTS.count(session, "subscription", f"{tenant_id}/{subscription_id.lower()}")


async def assignments_at(session: Session, tenant_id: str, key: str) -> list[RoleAssignment]:
    """Exactly at the scope of this key."""
    return [row.value for row in await ROLE_ASSIGNMENTS.find(session, "scope", f"{tenant_id}{key}")]


async def assignments_of(session: Session, tenant_id: str, principal_id: str) -> list[RoleAssignment]:
    """Directly this principal's, wherever."""
    return [
        row.value for row in await ROLE_ASSIGNMENTS.find(session, "principal", f"{tenant_id}/{principal_id.lower()}")
    ]


async def denials(session: Session, tenant_id: str) -> list[DenyAssignment]:
    return [row.value for row in await DENY_ASSIGNMENTS.list(session, prefix=f"{tenant_id}/")]
