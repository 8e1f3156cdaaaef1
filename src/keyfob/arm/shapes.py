"""What most declared types have in common: properties kept, some computed, some never stored; children made with them.

`Shaped` is a `declare.ResourceOperations` put together from plain functions. Members whose names begin with `keyfob.`
are ours: they survive every PUT and are never shown, and nobody can send them.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from keyfob.arm.body import parse_object
from keyfob.arm.model import Resource
from keyfob.arm.resources import RESOURCES, get_resource, get_subscription, resource_not_found
from keyfob.clouds.cloud import Cloud
from keyfob.declare import Action, Call, Change, PostAction, Route
from keyfob.errors import InvalidInput, Problem
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session, Store
from keyfob.wire.http import Reply

OURS = "keyfob."

Compute = Callable[[Change, Mapping[str, Any]], Mapping[str, Any]]
"""The change and the properties it gives → members to set over them."""
View = Callable[[Any, dict[str, Any], str], Mapping[str, Any]]
"""Stored resource, properties without ours, `$expand` → what is shown."""


class Shaped:
    def __init__(
        self,
        *,
        compute: Compute | None = None,
        write_only: Sequence[str] = (),
        required: Sequence[str] = (),
        claim: Callable[[Change], Awaitable[None]] | None = None,
        children: Callable[[Change, Mapping[str, Any]], Awaitable[None]] | None = None,
        removed: Callable[[Change], Awaitable[None]] | None = None,
        view: View | None = None,
    ) -> None:
        """`write_only`: dotted paths of members that are not even stored, `*` for each item of a list. `claim` is
        asked once, when the resource is made. `children` writes what comes into being with it."""
        self._compute = compute
        self._write_only = tuple(path.split(".") for path in write_only)
        self._required = tuple(required)
        self._claim = claim
        self._children = children
        self._removed = removed
        self._view = view

    async def accept(self, change: Change) -> Mapping[str, Any]:
        given = properties_of(change)
        for name in self._required:
            if given.get(name) is None or given[name] == "":
                raise InvalidInput(
                    f"The value of parameter 'properties.{name}' is required.", code="InvalidParameter", target=name
                )
        if change.before is None and self._claim is not None:
            await self._claim(change)
        kept = {name: value for name, value in given.items() if not name.startswith(OURS)}
        computed = dict(self._compute(change, kept)) if self._compute is not None else {}
        for path in self._write_only:
            kept = _without(kept, path)
            computed = _without(computed, path)
        if change.before is not None:
            kept |= {name: value for name, value in change.before.properties.items() if name.startswith(OURS)}
        kept |= computed
        if self._children is not None:
            await self._children(change, kept)
        return kept

    async def remove(self, change: Change) -> None:
        if self._removed is not None:
            await self._removed(change)

    def present(self, resource: Any, api_version: str, expand: str) -> Mapping[str, Any]:
        shown = {name: value for name, value in resource.properties.items() if not name.startswith(OURS)}
        return self._view(resource, shown, expand) if self._view is not None else shown


def properties_of(change: Change) -> Mapping[str, Any]:
    given = change.body.get("properties")
    return given if isinstance(given, Mapping) else {}


def held(change: Change, name: str, otherwise: Any) -> Any:
    """What a member of the stored properties is, else `otherwise`: for ids and times that never change again."""
    before = change.before.properties if change.before is not None else {}
    return before[name] if before.get(name) is not None else otherwise


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> list[dict[str, Any]]:
    return [dict(item) for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _without(value: Any, path: Sequence[str]) -> Any:
    head, *rest = path
    if head == "*":
        return [_without(item, rest) for item in value] if isinstance(value, list) else value
    if not isinstance(value, Mapping):
        return value
    found = next((name for name in value if name.lower() == head.lower()), None)
    if found is None:
        return value
    if not rest:
        return {name: inner for name, inner in value.items() if name != found}
    return {**value, found: _without(value[found], rest)}


# --- other rows


async def change_properties(change: Change, properties: Mapping[str, Any]) -> Resource:
    """For POST actions: the resource they are about, with these properties from now on."""
    before: Resource = change.before
    changed = msgspec.structs.replace(before, properties=dict(properties), changed=change.now)
    await RESOURCES.put(change.transaction, change.id.key, changed)
    return changed


async def put_child(
    change: Change, word: str, name: str, properties: Mapping[str, Any], *, replace: bool = True, **more: Any
) -> None:
    """A child of the resource that is being written, in its transaction: `word` is its type's last. `replace=False`
    leaves one that is there; `more` are members of `arm.model.Resource`."""
    id = change.id.child(word, name)
    row = await RESOURCES.get(change.transaction, id.key)
    if row is not None:
        if replace:
            changed = msgspec.structs.replace(row.value, properties=dict(properties), changed=change.now)
            await RESOURCES.put(change.transaction, id.key, changed)
        return
    child = Resource(
        id=str(id),
        type=id.type,
        name=name,
        tenant_id=change.tenant_id,
        properties=dict(properties),
        created=change.now,
        changed=change.now,
        created_by=change.caller.principal_id,
        changed_by=change.caller.principal_id,
        **more,
    )
    await RESOURCES.insert(change.transaction, id.key, child)


# --- names that are unique in a cloud


async def taken(session: Session, cloud: Cloud, types: Iterable[str], name: str) -> bool:
    """Whether a resource of one of the types has the name anywhere in the cloud, in whatever tenant."""
    for kind in types:
        for row in await RESOURCES.find(session, "name", f"{kind}/{name}".lower()):
            subscription = await get_subscription(session, ResourceId.parse(row.value.id).subscription_id or "")
            if subscription is not None and subscription.cloud == cloud.name:
                return True
    return False


def unique(types: Sequence[str], refuse: Callable[[str], Problem]) -> Callable[[Change], Awaitable[None]]:
    """A `claim` that raises what `refuse` makes of a name that is taken."""

    async def claim(change: Change) -> None:
        if await taken(change.transaction, change.cloud, types, change.id.name):
            raise refuse(change.id.name)

    return claim


# --- routes beside a type


def subscription_scope(parameters: Mapping[str, str], target: Any = None) -> ResourceId:
    return ResourceId.subscription(parameters["subscriptionId"])


def check_name_route(
    store: Store,
    path: str,
    action: str,
    *,
    types: Sequence[str],
    pattern: str,
    api_versions: tuple[str, ...],
    invalid: str,
    in_use: Callable[[str], str],
    echo: bool = False,
    asked: Sequence[str] = (),
    reasons: tuple[str, str] = ("Invalid", "AlreadyExists"),
) -> Route:
    """`POST {path}` with `{"name": …}` → whether a resource could have the name. `echo` names it in the answer. The
    body's `type` must be one of `asked`, where there are any. `reasons`: what a bad name and a taken one are called."""
    known = {one.lower() for one in asked}

    async def check(call: Call) -> Reply:
        given = parse_object(call.request.body)
        name, kind = given.get("name"), given.get("type")
        if not isinstance(name, str) or not name:
            raise InvalidInput("The parameter 'name' is required.", code="BadRequest", target="name")
        if known and (not isinstance(kind, str) or kind.lower() not in known):
            raise InvalidInput(f"The parameter 'type' is one of {', '.join(asked)}.", code="BadRequest", target="type")
        answer: dict[str, Any] = {"name": name[:260]} if echo else {}
        if not re.fullmatch(pattern, name):
            return Reply.json({**answer, "nameAvailable": False, "reason": reasons[0], "message": invalid})
        if await taken(store, call.cloud, types, name):
            return Reply.json({**answer, "nameAvailable": False, "reason": reasons[1], "message": in_use(name)})
        return Reply.json({**answer, "nameAvailable": True})

    return Route("POST", path, Action(action), check, subscription_scope, api_versions)


def resource_scope(type_name: str) -> Callable[[Mapping[str, str], Any], ResourceId]:
    """For routes below `…/{subscriptionId}/resourceGroups/{resourceGroup}/providers/…/{name}[/…/{child}…]`."""
    kinds = type_name.split("/")[1:]

    def scope(parameters: Mapping[str, str], target: Any = None) -> ResourceId:
        names = [parameters["name"], *(parameters[f"child{n}"] for n in range(1, len(kinds)))]
        group = ResourceId.group(parameters["subscriptionId"], parameters["resourceGroup"])
        return group.provider(type_name, *names)

    return scope


def resource_path(type_name: str) -> str:
    """The path template that `resource_scope` reads."""
    namespace, first, *rest = type_name.split("/")
    path = f"/subscriptions/{{subscriptionId}}/resourceGroups/{{resourceGroup}}/providers/{namespace}/{first}/{{name}}"
    return path + "".join(f"/{kind}/{{child{number}}}" for number, kind in enumerate(rest, 1))


def reading(
    store: Store, type_name: str, word: str, show: Callable[[Any, Call], Any], versions: tuple[str, ...], action: str
) -> Route:
    """`GET {resource}/{word}`: something about a stored resource."""

    async def read(call: Call) -> Reply:
        found = await get_resource(store, call.scope)
        if found is None:
            raise resource_not_found(call.scope)
        return Reply.json(show(found, call))

    return Route("GET", f"{resource_path(type_name)}/{word}", Action(action), read, resource_scope(type_name), versions)


def posting(
    type_name: str, name: str, operation: Callable[[Change], Awaitable[Reply]], *, long_running: bool = False
) -> PostAction:
    return PostAction(action=Action(f"{type_name}/{name}/action"), operation=operation, long_running=long_running)


def answering(status: int) -> Callable[[Change], Awaitable[Reply]]:
    """An action that changes nothing."""

    async def answer(change: Change) -> Reply:
        return Reply(status)

    return answer


def setting(members: Mapping[str, Any], *, status: int = 200) -> Callable[[Change], Awaitable[Reply]]:
    """An action after which the properties have these members."""

    async def set_members(change: Change) -> Reply:
        await change_properties(change, {**change.before.properties, **members})
        return Reply(status)

    return set_members
