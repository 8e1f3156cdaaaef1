"""Moving resources to another group, of the same or another subscription of the tenant: all of them, or none.

A move changes ids and nothing else ("a metadata change", as Azure's App Service page on moving says): a resource keeps
its system-assigned identity, with its object id, and the user-assigned ones that it lists. Its children and locks go
along. Role assignments on it do not, as on Azure: they would be orphans, and are removed. While it goes on, both
groups take no writes (`ResourcesBeingMoved`).

Codes and sentences are those that clients report of Azure, but for `MovedResourceExists` and what is in `_parse`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from keyfob.access.assignments import assignments_within, unassign
from keyfob.access.guard import Guard
from keyfob.arm.body import parse_object, unreadable
from keyfob.arm.checks import Attempt, Bystanders
from keyfob.arm.model import DELETING, SUCCEEDED, LongOperation, Resource, ResourceGroup
from keyfob.arm.operations import Operations
from keyfob.arm.providers import require_registered
from keyfob.arm.registry import Registry
from keyfob.arm.resources import (
    OPERATIONS,
    RESOURCES,
    below,
    get_group,
    get_subscription,
    group_not_found,
    resource_not_found,
)
from keyfob.arm.statuses import result_location
from keyfob.arm.subscriptions import subscription_not_found
from keyfob.arm.versions import RESOURCES_VERSIONS
from keyfob.declare import Action, Call, Route
from keyfob.errors import Conflict, InvalidInput, Problem
from keyfob.identities.lifecycle import move_identity
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session, Store, Transaction
from keyfob.wire.http import Reply

_GROUPS = "Microsoft.Resources/subscriptions/resourceGroups"
WRITE = Action(f"{_GROUPS}/write")
MOVE, VALIDATE = "move", "validate move"
"""Kinds of long-running operations."""
_MOST = 800
"""Resources of one request, as Azure's page on moving has it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks for."""

    source: ResourceId
    target: ResourceId
    resources: tuple[ResourceId, ...]


class Moves:
    """`bystanders`: the checks of everybody who writes; here they are asked about the target group and the resources
    too. Its own, `check`, is one more of them."""

    def __init__(
        self, *, store: Store, guard: Guard, registry: Registry, operations: Operations, bystanders: Bystanders
    ) -> None:
        self._store = store
        self._guard = guard
        self._registry = registry
        self._operations = operations
        self._bystanders = bystanders

    def routes(self) -> tuple[Route, ...]:
        group = "/subscriptions/{subscription}/resourceGroups/{group}"
        return tuple(
            Route("POST", f"{group}/{word}", Action(f"{_GROUPS}/{word}/action"), operation, None, RESOURCES_VERSIONS)
            for word, operation in (("moveResources", self.move), ("validateMoveResources", self.validate))
        )

    async def check(self, attempt: Attempt, session: Session) -> None:
        """Raises `Conflict` (`ResourcesBeingMoved`): nothing is made, changed or deleted in a group that takes part in
        a move. What is there goes on working, its actions too."""
        scope = attempt.scope
        if scope.subscription_id is None or scope.resource_group is None or not _writes(attempt.action):
            return
        group = ResourceId.group(scope.subscription_id, scope.resource_group)
        if await OPERATIONS.find(session, "moving", group.key, limit=1):
            raise Conflict(
                f"The resource group '{scope.resource_group}' is being updated and cannot perform this operation.",
                code="ResourcesBeingMoved",
            )

    # --- beginning

    async def move(self, call: Call) -> Reply:
        return await self._begin(call, MOVE)

    async def validate(self, call: Call) -> Reply:
        return await self._begin(call, VALIDATE)

    async def _begin(self, call: Call, kind: str) -> Reply:
        """What is wrong with the request is said at once, what is wrong with a resource when the operation ends."""
        caller = call.caller
        assert caller is not None
        wish = _parse(call.scope, call.request.body)
        await self._guard.authorize(
            caller, WRITE, wish.target, request_id=call.request.request_id, service="resource_manager"
        )
        async with self._store.transaction() as tx:
            source = await _standing(tx, wish.source, call)
            await _standing(tx, wish.target, call)
            attempt = Attempt(action=WRITE, scope=wish.target, caller=caller, cloud=call.cloud)
            await self.check(attempt, tx)
            for one in _touched(attempt, wish):
                await self._bystanders.check(one, tx)
            operation = await self._operations.begin(
                tx,
                LongOperation(
                    id="",
                    kind=kind,
                    tenant_id=caller.tenant_id,
                    subscription_id=wish.source.subscription_id or "",
                    cloud=call.cloud.name,
                    namespace="Microsoft.Resources",
                    location=source.location,
                    resource_id=source.id,
                    action=f"{_GROUPS}/read",
                    principal_id=caller.principal_id,
                    api_version=call.api_version,
                    target=str(wish.target),
                    resources=tuple(str(id) for id in wish.resources),
                    request_id=call.request.request_id,
                ),
            )
        retry = str(self._operations.retry_after)
        return Reply(202, headers=(("Location", result_location(call.request, operation)), ("Retry-After", retry)))

    # --- doing it

    async def perform(self, tx: Transaction, operation: LongOperation) -> None:
        """At the operation's end. Raises `Conflict` (`ResourceMoveValidationFailed`)."""
        wish = Wish(
            ResourceId.parse(operation.resource_id),
            ResourceId.parse(operation.target),
            tuple(ResourceId.parse(id) for id in operation.resources),
        )
        problems = [problem for id in wish.resources for problem in await self._obstacles(tx, wish, id)]
        if problems:
            moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(operation.due))
            raise Conflict(
                f"The resource batch move request has '{len(problems)}' validation errors. Diagnostic information: "
                f"timestamp '{moment}', tracking Id '{operation.id}', request correlation Id "
                f"'{operation.request_id}'.",
                code="ResourceMoveValidationFailed",
                details=problems,
            )
        if operation.kind == MOVE:
            await self._move(tx, wish)

    async def _obstacles(self, tx: Transaction, wish: Wish, id: ResourceId) -> list[Problem]:
        row = await RESOURCES.get(tx, id.key)
        if row is None:
            return [_about(id, resource_not_found(id))]
        found: list[Problem] = []
        kind = self._registry.find(row.value.type)
        if kind is None or not kind.movable:
            found.append(
                Conflict(
                    f"Resource move is not supported for resource types '{row.value.type}'.",
                    code="ResourceMoveNotSupported",
                )
            )
        if row.value.provisioning_state != SUCCEEDED:
            found.append(
                Conflict(
                    f"The resource '{id}' is in the state '{row.value.provisioning_state}', and only resources that "
                    "are in the state 'Succeeded' can be moved.",
                    code="MoveCannotProceedWithResourcesNotInSucceededState",
                )
            )
        if await RESOURCES.get(tx, moved(id, wish).key) is not None:
            found.append(
                Conflict(f"The resource group '{wish.target}' has a resource '{id.name}'.", code="MovedResourceExists")
            )
        subscription = await get_subscription(tx, wish.target.subscription_id or "")
        if subscription is not None and kind is not None:
            try:
                require_registered(subscription, self._registry.namespace(kind.name.partition("/")[0]))
            except Problem as problem:
                found.append(problem)
        return [_about(id, problem) for problem in found]

    async def _move(self, tx: Transaction, wish: Wish) -> None:
        ids = {id.key: str(moved(id, wish)) for id in wish.resources}
        for id in wish.resources:
            own = await RESOURCES.get(tx, id.key)
            for row in [*([own] if own else []), *await below(tx, id)]:
                there = moved(ResourceId.parse(row.value.id), wish)
                await RESOURCES.delete(tx, row.key)
                await RESOURCES.put(tx, there.key, _renamed(row.value, there, ids))
                await move_identity(tx, row.value.tenant_id, row.value.identity, to=there)
            for assignment in await assignments_within(tx, own.value.tenant_id, id) if own else ():
                await unassign(tx, assignment.tenant_id, assignment.id)


def moved(id: ResourceId, wish: Wish) -> ResourceId:
    return ResourceId((*wish.target.segments, *id.segments[len(wish.source.segments) :]))


def _renamed(resource: Resource, id: ResourceId, ids: Mapping[str, str]) -> Resource:
    """With its new id, and the new ids of what moves along wherever it refers to that or to itself."""
    return msgspec.structs.replace(
        resource,
        id=str(id),
        properties=_referring(resource.properties, ids),
        more=_referring(resource.more, ids),
    )


def _referring(value: Any, ids: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _referring(inner, ids) for name, inner in value.items()}
    if isinstance(value, list):
        return [_referring(inner, ids) for inner in value]
    if isinstance(value, str) and value[:15].lower() == "/subscriptions/":
        low = value.lower()
        for old, new in ids.items():
            if low == old or low.startswith(f"{old}/"):
                return new + value[len(old) :]
    return value


def _writes(action: Action) -> bool:
    return action.name.lower().endswith(("/write", "/delete", "/moveresources/action"))


def _touched(attempt: Attempt, wish: Wish) -> Iterator[Attempt]:
    """The attempts that a move is, beside the one that the pipeline knows of."""
    yield attempt
    for id in wish.resources:
        yield replace(attempt, action=Action(f"{id.type}/write"), scope=id)


async def _standing(session: Session, id: ResourceId, call: Call) -> ResourceGroup:
    """A group that can take part. Raises `NotFound`, `Conflict`."""
    subscription = await get_subscription(session, id.subscription_id or "")
    tenant_id = call.caller.tenant_id if call.caller else ""
    if subscription is None or (subscription.cloud, subscription.tenant_id) != (call.cloud.name, tenant_id):
        raise subscription_not_found(id.subscription_id or "")
    group = await get_group(session, id)
    if group is None:
        raise group_not_found(id.name)
    if group.provisioning_state == DELETING:
        raise Conflict(
            f"The resource group '{group.name}' is in deprovisioning state and cannot perform this operation.",
            code="ResourceGroupBeingDeleted",
        )
    return group


def _parse(source: ResourceId, body: bytes) -> Wish:
    """Raises `InvalidInput`."""
    given = parse_object(body)
    listed, target = given.get("resources"), given.get("targetResourceGroup")
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed) or not isinstance(target, str):
        raise unreadable("'resources' is a list of resource ids, 'targetResourceGroup' the id of a resource group")
    if not 1 <= len(listed) <= _MOST:
        raise InvalidInput(f"A move takes from 1 to {_MOST} resources.", code="InvalidMoveRequest")
    group = ResourceId.parse(target)
    if group.resource_group is None or len(group.segments) != len(source.segments):
        raise InvalidInput(f"'{target[:200]}' is not the id of a resource group.", code="InvalidMoveRequest")
    if group == source:
        raise InvalidInput("The source and the target of a move are the same group.", code="InvalidMoveRequest")
    return Wish(source, group, _top_level(source, listed))


def _top_level(source: ResourceId, listed: Sequence[str]) -> tuple[ResourceId, ...]:
    ids = {id.key: id for id in map(ResourceId.parse, listed)}
    for id in ids.values():
        if id.parent != source or id.namespace is None:
            raise InvalidInput(
                f"'{str(id)[:200]}' is not a top-level resource of '{source}': children go with their parents, and all "
                "resources of a move are in one group.",
                code="InvalidMoveRequest",
            )
    return tuple(ids.values())


def _about(id: ResourceId, problem: Problem) -> Problem:
    return Problem(problem.message, code=problem.code, status=problem.status, target=str(id))
