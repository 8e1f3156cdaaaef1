"""What requests about role definitions do: built-in ones are read, custom ones are a tenant's own."""

from __future__ import annotations

from keyfob.access.assignments import assignments_of_role
from keyfob.access.authorization.assigning import assignable
from keyfob.access.authorization.bodies import NewDefinition
from keyfob.access.authorization.filters import Filter
from keyfob.access.guard import Guard
from keyfob.access.roles import ROLE_DEFINITIONS, Permission, RoleDefinition, guid, role_name_key
from keyfob.declare import Action, Caller
from keyfob.errors import Conflict, Forbidden, InvalidInput, NotFound
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store

MOST_IN_TENANT = 5000
READ = Action("Microsoft.Authorization/roleDefinitions/read")
WRITE = Action("Microsoft.Authorization/roleDefinitions/write")
DELETE = Action("Microsoft.Authorization/roleDefinitions/delete")


class Defining:
    def __init__(self, store: Store, guard: Guard) -> None:
        self._store = store
        self._guard = guard

    async def listed(self, tenant_id: str, scope: ResourceId, wanted: Filter) -> list[RoleDefinition]:
        """Those that can be assigned at the scope; with `atScopeAndBelow()` also those for below it."""
        await self._guard.memory.refresh()
        name, kind = wanted.get("rolename"), (wanted.get("type") or "").lower()
        if name is not None:
            one = self._guard.roles.named(name, tenant_id)
            found = [one] if one else []
        else:
            found = list(self._guard.roles.all(tenant_id))
        below = "atscopeandbelow" in wanted
        above = self._guard.memory.above(scope, tenant_id)
        chosen = [
            role
            for role in found
            if (not kind or kind == ("customrole" if role.custom else "builtinrole"))
            and (assignable(role, scope, above) or (below and _within(role, scope)))
        ]
        return sorted(chosen, key=lambda role: role.name.lower())

    async def get(self, tenant_id: str, name: str) -> RoleDefinition:
        await self._guard.memory.refresh()
        found = self._guard.roles.get(name, tenant_id)
        if found is None:
            raise _missing(name)
        return found

    async def known(self, caller: Caller, name: str) -> RoleDefinition:
        """`get`, as if roles the caller may not read did not exist."""
        found = await self.get(caller.tenant_id, name)
        if not await self.readable(caller, found):
            raise _missing(name)
        return found

    async def readable(self, caller: Caller, role: RoleDefinition) -> bool:
        """A built-in role by anybody; a custom one by who may read definitions where it is assignable."""
        if not role.custom:
            return True
        for scope in role.assignable_scopes:
            if await self._guard.allows(caller, READ, ResourceId.parse(scope)):
                return True
        return False

    async def put(self, asked: NewDefinition, *, caller: Caller, name: str, now: float) -> RoleDefinition:
        """Makes or changes a custom role. The caller needs the write action at every assignable scope, old and new."""
        role_id = checked_name(name)
        tenant_id = caller.tenant_id
        await self._guard.memory.refresh()
        if role_id in self._guard.roles.built_in:
            raise Conflict(f"A built-in role has the ID '{role_id}'.", code="RoleDefinitionExists")
        await self._linked(caller, WRITE, [str(scope) for scope in asked.assignable_scopes])
        async with self._store.transaction() as tx:
            stored = await ROLE_DEFINITIONS.get(tx, f"{tenant_id}/{role_id}")
            before = stored.value if stored else None
            if before is not None:
                await self._linked(caller, WRITE, before.assignable_scopes)
            role = RoleDefinition(
                id=role_id,
                name=asked.name,
                description=asked.description,
                custom=True,
                permissions=asked.permissions,
                assignable_scopes=tuple(str(scope) for scope in asked.assignable_scopes),
                tenant_id=tenant_id,
                created=before.created if before else now,
                updated=now,
                created_by=before.created_by if before else caller.principal_id,
                updated_by=caller.principal_id,
            )
            same = [row.value.id for row in await ROLE_DEFINITIONS.find(tx, "name", role_name_key(role))]
            if any(other != role_id for other in same) or self._is_built_in(role.name):
                raise Conflict(
                    "A role definition cannot be updated with a name that already exists.",
                    code="RoleDefinitionWithSameNameExists",
                )
            if before is None and len(await ROLE_DEFINITIONS.list(tx, prefix=f"{tenant_id}/")) >= MOST_IN_TENANT:
                raise InvalidInput(
                    f"The role definition limit of {MOST_IN_TENANT} has been reached. No more role definitions can be "
                    "created.",
                    code="RoleDefinitionLimitExceeded",
                )
            await ROLE_DEFINITIONS.put(tx, f"{tenant_id}/{role_id}", role)
        return role

    async def delete(self, *, caller: Caller, name: str) -> RoleDefinition | None:
        """What was removed, None when there was nothing. Raises `InvalidInput` while it is assigned."""
        role_id = checked_name(name)
        if role_id in self._guard.roles.built_in:
            raise InvalidInput("A built-in role cannot be deleted.", code="InvalidRoleDefinitionType")
        async with self._store.transaction() as tx:
            stored = await ROLE_DEFINITIONS.get(tx, f"{caller.tenant_id}/{role_id}")
            if stored is None:
                return None
            await self._linked(caller, DELETE, stored.value.assignable_scopes)
            if await assignments_of_role(tx, caller.tenant_id, role_id):
                raise InvalidInput(
                    f"There are existing role assignments referencing role (code: RoleDefinitionHasAssignments): "
                    f"'{role_id}'.",
                    code="RoleDefinitionHasAssignments",
                )
            await ROLE_DEFINITIONS.delete(tx, stored.key)
        return stored.value

    async def permissions(self, caller: Caller, scope: ResourceId) -> list[Permission]:
        """What the caller's own roles grant at a scope."""
        await self._guard.memory.refresh()
        standing = await self._guard.memory.standing(caller.tenant_id, caller.principal_id)
        if standing.refusal:
            return []
        index = self._guard.memory.index(caller.tenant_id)
        grants = index.grants_of(standing.person, scope, self._guard.memory.above(scope, caller.tenant_id))
        roles = [index.role(role_id) for role_id in dict.fromkeys(grant.role_id for grant in grants)]
        return [permission for role in roles if role for permission in role.permissions]

    def _is_built_in(self, name: str) -> bool:
        found = self._guard.roles.named(name)
        return found is not None and found.name.lower() == name.lower()

    async def _linked(self, caller: Caller, action: Action, scopes: list[str] | tuple[str, ...]) -> None:
        refused = [s for s in scopes if not await self._guard.allows(caller, action, ResourceId.parse(s))]
        if refused:
            raise Forbidden(
                f"The client '{caller.name}' with object id '{caller.principal_id}' does not have permission to "
                f"perform action '{action.name}' on the linked scope(s) '{','.join(refused)}' or the linked "
                "scope(s) are invalid.",
                code="LinkedAuthorizationFailed",
                info={"principal_id": caller.principal_id, "action": action.name, "scope": refused[0]},
            )


def checked_name(name: str) -> str:
    found = guid(name)
    if found is None:
        raise InvalidInput(
            f"The role definition ID '{name}' is not valid. The role definition ID must be a GUID.",
            code="InvalidRoleDefinitionId",
        )
    return found


def _within(role: RoleDefinition, scope: ResourceId) -> bool:
    return any(scope.contains(ResourceId.parse(place)) for place in role.assignable_scopes)


def _missing(name: str) -> NotFound:
    return NotFound(
        f"The specified role definition with ID '{name}' does not exist.", code="RoleDefinitionDoesNotExist"
    )
