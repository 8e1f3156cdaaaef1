"""Making and removing deny assignments by request.

On Azure most are made by the platform (managed applications, deployment stacks) and requests only read them; the API
of 2024-07-01-preview lets customers make them. Here both that version and the one the documents read with are taken,
because a test needs a way to have one. Listing and reading are `access.provider`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from keyfob.access.assignments import DENY_ASSIGNMENTS, DenyAssignment, DenyPrincipal, deny, remove_denial
from keyfob.access.authorization.shapes import deny_assignment
from keyfob.access.decide import Denial, Person
from keyfob.access.guard import Guard
from keyfob.access.provider import DENIAL_VERSIONS
from keyfob.access.roles import Permission, guid
from keyfob.arm.body import parse_object, unreadable
from keyfob.declare import Action, Call, Provider, Route, Target
from keyfob.errors import Conflict, InvalidInput
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store
from keyfob.wire.http import Reply

NAMESPACE = "Microsoft.Authorization"
WRITE, DELETE = (Action(f"{NAMESPACE}/denyAssignments/{verb}") for verb in ("write", "delete"))
VERSIONS = ("2024-07-01-preview", *DENIAL_VERSIONS)


class _Given(msgspec.Struct, rename="camel"):
    """`properties` as clients send it."""

    deny_assignment_name: str
    permissions: list[Permission]
    principals: list[DenyPrincipal]
    description: str = ""
    exclude_principals: list[DenyPrincipal] = []
    do_not_apply_to_child_scopes: bool = False
    is_system_protected: bool = False


class Denials:
    def __init__(self, *, store: Store, guard: Guard) -> None:
        self._store = store
        self._guard = guard

    def provider(self) -> Provider:
        one = f"/{{+scope}}/providers/{NAMESPACE}/denyAssignments/{{name}}"
        return Provider(
            namespace=NAMESPACE,
            registered=True,
            routes=(
                Route("PUT", one, WRITE, self.put, _at, VERSIONS),
                Route("DELETE", one, DELETE, self.delete, _at, VERSIONS),
            ),
        )

    async def put(self, call: Call) -> Reply:
        caller, name = call.caller, guid(call.parameters["name"])
        assert caller is not None
        if name is None:
            raise InvalidInput(
                f"The deny assignment ID '{call.parameters['name'][:100]}' is not valid. The deny assignment ID must "
                "be a GUID.",
                code="InvalidDenyAssignmentId",
            )
        scope = ResourceId.parse(call.parameters["scope"] or "/")
        given = _parse(call.request.body)
        async with self._store.transaction() as tx:
            key = f"{caller.tenant_id}/{name}"
            row = await DENY_ASSIGNMENTS.get(tx, key)
            before = row.value if row else None
            if before is not None and (before.system_protected or ResourceId.parse(before.scope) != scope):
                raise _protected(name) if before.system_protected else _elsewhere()
            made = DenyAssignment(
                id=name,
                tenant_id=caller.tenant_id,
                name=given.deny_assignment_name,
                description=given.description,
                scope=before.scope if before else str(scope),
                permissions=tuple(given.permissions),
                this_scope_only=given.do_not_apply_to_child_scopes,
                principals=tuple(given.principals),
                exclude_principals=tuple(given.exclude_principals),
                system_protected=False,
                created=before.created if before else call.now,
                updated=call.now,
                created_by=before.created_by if before else caller.principal_id,
                updated_by=caller.principal_id,
            )
            person = Person(caller.principal_id, caller.groups)
            here = scope.provider(f"{NAMESPACE}/denyAssignments", name).key
            if Denial.of(made).forbids(person, DELETE.name.lower(), False, here):
                raise InvalidInput(
                    "The deny assignment would keep its maker from ever removing it: exclude them, or the action "
                    f"'{DELETE.name}'.",
                    code="InvalidDenyAssignment",
                )
            await deny(tx, made)
        return Reply.json(deny_assignment(made, call.api_version), 200 if before else 201)

    async def delete(self, call: Call) -> Reply:
        caller = call.caller
        assert caller is not None
        name, scope = call.parameters["name"].lower(), ResourceId.parse(call.parameters["scope"] or "/")
        async with self._store.transaction() as tx:
            row = await DENY_ASSIGNMENTS.get(tx, f"{caller.tenant_id}/{name}")
            if row is None or ResourceId.parse(row.value.scope) != scope:
                return Reply(204)
            if row.value.system_protected:
                raise _protected(name)
            await remove_denial(tx, caller.tenant_id, name)
        return Reply.json(deny_assignment(row.value, call.api_version))


def _parse(body: bytes) -> _Given:
    properties = parse_object(body).get("properties")
    try:
        given = msgspec.convert(properties, _Given)
    except (msgspec.ValidationError, RecursionError) as error:
        raise unreadable(str(error)) from None
    if not given.permissions or not given.principals:
        raise InvalidInput("A deny assignment needs permissions and principals.", code="InvalidDenyAssignment")
    if given.is_system_protected:
        raise InvalidInput("Only the platform makes protected deny assignments.", code="InvalidDenyAssignment")
    if any(one.condition for one in given.permissions):
        raise InvalidInput("Conditions are not supported: they would not be evaluated.", code="ConditionNotSupported")
    if any(guid(one.id) is None for one in (*given.principals, *given.exclude_principals)):
        raise InvalidInput("Principals are named by GUIDs.", code="InvalidPrincipalId")
    return given


def _at(parameters: Mapping[str, str], target: Target | None) -> ResourceId:
    at: Any = ResourceId.parse(parameters["scope"] or "/").provider(f"{NAMESPACE}/denyAssignments", parameters["name"])
    return ResourceId.parse(str(at))


def _protected(name: str) -> Conflict:
    return Conflict(f"The deny assignment '{name}' is protected by the platform.", code="DenyAssignmentSystemProtected")


def _elsewhere() -> InvalidInput:
    return InvalidInput("The scope of a deny assignment cannot be changed.", code="DenyAssignmentUpdateNotPermitted")
