"""What requests about role assignments and deny assignments do: values in, values or a Problem out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keyfob.access.assignments import (
    DenyAssignment,
    RoleAssignment,
    assign,
    assignments_at,
    assignments_of,
    assignments_within,
    count_in,
    denials,
    get_assignment,
    unassign,
)
from keyfob.access.authorization.bodies import NewAssignment
from keyfob.access.authorization.filters import Filter
from keyfob.access.decide import scopes_of
from keyfob.access.guard import Guard
from keyfob.access.roles import OWNER, ROLE_DEFINITIONS, RoleDefinition, guid, role_guid
from keyfob.directory.model import Group, User
from keyfob.directory.principals import get_principal, groups_of
from keyfob.errors import InvalidInput, NotFound, PreconditionFailed
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session, Store

MOST_IN_SUBSCRIPTION = 4000
_ADMINISTRATORS = frozenset({OWNER, "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9"})
"""Owner and User Access Administrator: who can give roles to others without condition."""


@dataclass(frozen=True, slots=True)
class Assigned:
    assignment: RoleAssignment
    created: bool


class Assigning:
    def __init__(self, store: Store, guard: Guard) -> None:
        self._store = store
        self._guard = guard

    async def create(
        self, asked: NewAssignment, *, tenant_id: str, scope: ResourceId, name: str, by: str, now: float
    ) -> Assigned:
        """The same again changes only the description. Raises what Azure raises, see the README's table."""
        await self._guard.memory.refresh()
        async with self._store.transaction() as tx:
            before = await get_assignment(tx, tenant_id, name)
            principal_type = await self._check(tx, asked, tenant_id, scope, name, new=before is None)
            made = await assign(
                tx,
                tenant_id=tenant_id,
                scope=scope,
                principal_id=asked.principal_id,
                principal_type=principal_type,
                role_definition_id=asked.role_id,
                name=name,
                now=now,
                created_by=by,
                description=asked.description,
                can_delegate=asked.can_delegate,
                delegated_identity=asked.delegated_identity,
            )
        return Assigned(made, before is None)

    async def validate(self, asked: NewAssignment, *, tenant_id: str, scope: ResourceId, name: str) -> None:
        """Whether `create` would get past its checks; writes nothing."""
        await self._guard.memory.refresh()
        before = await get_assignment(self._store, tenant_id, name)
        await self._check(self._store, asked, tenant_id, scope, name, new=before is None)

    async def _check(
        self, session: Session, asked: NewAssignment, tenant_id: str, scope: ResourceId, name: str, *, new: bool
    ) -> str:
        """The principal's type. What may change is read from the session: a limit or a role that is gone holds for
        everybody who writes at the same moment. Raises `InvalidInput`."""
        checked_name(name)
        role = self._guard.roles.get(asked.role_id)
        if role is None and (stored := await ROLE_DEFINITIONS.get(session, f"{tenant_id}/{asked.role_id}")):
            role = stored.value
        if role is None:
            raise InvalidInput(
                f"The specified role definition with ID '{asked.role_id}' does not exist.",
                code="RoleDefinitionDoesNotExist",
            )
        if not assignable(role, scope, self._guard.memory.above(scope, tenant_id)):
            raise InvalidInput(
                f"The role assignment scope '{scope}' is not assignable to role definition '{role.id}'.",
                code="RoleAssignmentScopeNotAssignableToRoleDefinition",
            )
        principal_type = await self._principal_type(session, asked, tenant_id)
        subscription = scope.subscription_id
        if new and subscription and await count_in(session, tenant_id, subscription) >= MOST_IN_SUBSCRIPTION:
            raise InvalidInput(
                f"The role assignment limit for this subscription is {MOST_IN_SUBSCRIPTION}. No more role assignments "
                "can be created.",
                code="RoleAssignmentLimitExceeded",
            )
        return principal_type

    async def _principal_type(self, session: Session, asked: NewAssignment, tenant_id: str) -> str:
        """A principal the directory does not know (yet) is taken on the word of a request that gives its type."""
        found = await get_principal(session, tenant_id, asked.principal_id)
        if found is None:
            if asked.principal_type:
                return asked.principal_type
            short = asked.principal_id.replace("-", "")
            raise InvalidInput(
                f"Principal {short} does not exist in the directory {tenant_id}. Check that you have the correct "
                "principal ID. If you are creating this principal and then immediately assigning a role, this error "
                "might be related to a replication delay. In this case, set the role assignment principalType property "
                "to a value, such as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype",
                code="PrincipalNotFound",
            )
        actual = "User" if isinstance(found, User) else "Group" if isinstance(found, Group) else "ServicePrincipal"
        if asked.principal_type and asked.principal_type != actual:
            # "PrinciaplType" is what the service writes
            raise InvalidInput(
                f"The PrincipalId '{asked.principal_id}' has type '{actual}' , which is different from specified "
                f"PrinciaplType '{asked.principal_type}'.",
                code="UnmatchedPrincipalType",
            )
        return actual

    async def get(self, tenant_id: str, scope: ResourceId, name: str) -> RoleAssignment:
        found = await get_assignment(self._store, tenant_id, name)
        if found is None or ResourceId.parse(found.scope) != scope:
            raise NotFound(f"The role assignment '{name}' is not found.", code="RoleAssignmentNotFound")
        return found

    async def delete(self, tenant_id: str, scope: ResourceId, name: str) -> RoleAssignment | None:
        """What was removed, None when there was nothing. Raises `PreconditionFailed` for the last administrator."""
        async with self._store.transaction() as tx:
            found = await get_assignment(tx, tenant_id, name)
            if found is None or ResourceId.parse(found.scope) != scope:
                return None
            if found.role_id in _ADMINISTRATORS and scope.namespace is None and scope.resource_group is None:
                others = [
                    other
                    for key in scopes_of(scope, self._guard.memory.above(scope, tenant_id))
                    for other in await assignments_at(tx, tenant_id, key)
                    if other.role_id in _ADMINISTRATORS and other.id != found.id
                ]
                if not others:
                    raise PreconditionFailed(
                        "Cannot delete the last RBAC admin assignment", code="CannotDeleteLastRbacAdminAssignment"
                    )
            return await unassign(tx, tenant_id, name)

    async def listed(self, tenant_id: str, scope: ResourceId, wanted: Filter) -> list[RoleAssignment]:
        """At, above and below the scope; with `atScope()` not below."""
        await self._guard.memory.refresh()
        above = set(scopes_of(scope, self._guard.memory.above(scope, tenant_id)))
        who = await self._principals(tenant_id, wanted)
        if who is not None:
            found = [a for one in sorted(who) for a in await assignments_of(self._store, tenant_id, one)]
        else:
            found = [a for key in sorted(above) for a in await assignments_at(self._store, tenant_id, key)]
            if "atscope" not in wanted:
                found += await assignments_within(self._store, tenant_id, scope)
        role = wanted.get("roledefinitionid")
        role_id = role_guid(role) if role is not None else None
        chosen = {
            a.id: a
            for a in found
            if (ResourceId.parse(a.scope).key in above or ("atscope" not in wanted and _below(scope, a.scope)))
            and (role is None or a.role_id == role_id)
        }
        return sorted(chosen.values(), key=lambda a: (a.scope.lower(), a.id))

    async def _principals(self, tenant_id: str, wanted: Filter) -> set[str] | None:
        assigned_to = wanted.get("assignedto")
        principal = wanted.get("principalid")
        who = None if principal is None else {principal.lower()}
        if assigned_to is None:
            return who
        held = {assigned_to.lower(), *await groups_of(self._store, tenant_id, assigned_to.lower())}
        return held if who is None else who & held

    async def denial(self, tenant_id: str, scope: ResourceId, name: str) -> DenyAssignment:
        for found in await denials(self._store, tenant_id):
            if found.id == name.lower() and ResourceId.parse(found.scope) == scope:
                return found
        raise NotFound(f"The deny assignment '{name}' is not found.", code="DenyAssignmentNotFound")

    async def listed_denials(self, tenant_id: str, scope: ResourceId, wanted: Filter) -> list[DenyAssignment]:
        above = set(scopes_of(scope, self._guard.memory.above(scope, tenant_id)))
        who = await self._principals(tenant_id, wanted)
        named, exported = wanted.get("denyassignmentname"), wanted.get("gdprexportprincipalid")
        return [
            d
            for d in await denials(self._store, tenant_id)
            if (ResourceId.parse(d.scope).key in above or ("atscope" not in wanted and _below(scope, d.scope)))
            and (who is None or any(p.id.lower() in who for p in d.principals))
            and (named is None or d.name.lower() == named.lower())
            and (exported is None or any(p.id.lower() == exported.lower() for p in d.principals + d.exclude_principals))
        ]


def assignable(role: RoleDefinition, scope: ResourceId, above: Sequence[str] = ()) -> bool:
    """`above`: the management groups that hold the scope."""
    places = [ResourceId.parse(place) for place in role.assignable_scopes]
    return any(place.contains(scope) or place.key in above for place in places)


def checked_name(name: str) -> None:
    if guid(name) is None:
        raise InvalidInput(
            f"The role assignment ID '{name}' is not valid. The role assignment ID must be a GUID.",
            code="InvalidRoleAssignmentId",
        )


def _below(scope: ResourceId, other: str) -> bool:
    return scope.contains(ResourceId.parse(other))
