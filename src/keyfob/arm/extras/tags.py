"""Tags at a scope (`Microsoft.Resources/tags/default`), and the tag names of a subscription.

`Microsoft.Resources/tags/write` is all it takes: a Tag Contributor tags what it may not otherwise change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from keyfob.arm.body import checked_tags, parse_object, unreadable
from keyfob.arm.model import DELETING
from keyfob.arm.resources import GROUPS, RESOURCES, group_not_found, resource_not_found
from keyfob.arm.versions import RESOURCES_VERSIONS
from keyfob.declare import Action, Call, Provider, Route, Target
from keyfob.errors import Conflict, InvalidInput, NotFound
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session, Store, Transaction
from keyfob.store.records import Records
from keyfob.wire.http import Reply

TYPE = "Microsoft.Resources/tags"
_LEGACY = "Microsoft.Resources/subscriptions/tagNames"
READ, WRITE, DELETE = (Action(f"{TYPE}/{verb}") for verb in ("read", "write", "delete"))
_OPERATIONS = ("Merge", "Replace", "Delete")
_MOST_NAMES = 10_000


class SubscriptionTags(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tags of a subscription itself, and names that were made before anything carried them.
    Key: the subscription's GUID."""

    tags: dict[str, str] = {}
    names: dict[str, tuple[str, ...]] = {}
    """Name → values."""


SUBSCRIPTION_TAGS = Records("arm.subscription_tags", SubscriptionTags)


class Tags:
    def __init__(self, store: Store) -> None:
        self._store = store

    def provider(self) -> Provider:
        at, here = f"/{{+scope}}/providers/{TYPE}/default", "/subscriptions/{subscription}/tagNames"
        value = f"{here}/{{name}}/tagValues/{{value}}"

        def route(method: str, path: str, access: Action, operation: Any) -> Route:
            return Route(method, path, access, operation, _at, RESOURCES_VERSIONS)

        def legacy(method: str, path: str, action: str, operation: Any) -> Route:
            return Route(method, path, Action(f"{_LEGACY}/{action}"), operation, _legacy, RESOURCES_VERSIONS)

        return Provider(
            namespace="Microsoft.Resources",
            registered=True,
            routes=(
                route("GET", at, READ, self.get),
                route("PUT", at, WRITE, self.put),
                route("PATCH", at, WRITE, self.patch),
                route("DELETE", at, DELETE, self.delete),
                legacy("GET", here, "read", self.names),
                legacy("PUT", f"{here}/{{name}}", "write", self.add_name),
                legacy("DELETE", f"{here}/{{name}}", "delete", self.drop_name),
                legacy("PUT", value, "tagValues/write", self.add_value),
                legacy("DELETE", value, "tagValues/delete", self.drop_value),
            ),
        )

    # --- at a scope

    async def get(self, call: Call) -> Reply:
        scope = _scope(call)
        return Reply.json(_shown(scope, await _read(self._store, scope)))

    async def put(self, call: Call) -> Reply:
        given = _given(parse_object(call.request.body))
        return await self._set(call, lambda before: given)

    async def patch(self, call: Call) -> Reply:
        body = parse_object(call.request.body)
        wanted = body.get("operation")
        word = next((one for one in _OPERATIONS if isinstance(wanted, str) and one.lower() == wanted.lower()), None)
        if word is None:
            raise InvalidInput(
                f"The tags patch operation '{str(wanted)[:40]}' is not valid: it is one of {', '.join(_OPERATIONS)}.",
                code="InvalidTagsPatchOperation",
            )
        given = _given(body)
        change = {"Merge": _merged, "Replace": lambda before, tags: tags, "Delete": _without}[word]
        return await self._set(call, lambda before: change(before, given))

    async def delete(self, call: Call) -> Reply:
        await self._set(call, lambda before: {})
        return Reply(200)

    async def _set(self, call: Call, change: Any) -> Reply:
        scope = _scope(call)
        async with self._store.transaction() as tx:
            tags = checked_tags(change(await _read(tx, scope)))
            await _write(tx, scope, tags, call.now, call.caller.principal_id if call.caller else "")
        return Reply.json(_shown(scope, tags))

    # --- names of a subscription

    async def names(self, call: Call) -> Reply:
        known = await _kept(self._store, call.scope)
        used = await self._used(call.scope)
        value = [self._name(call.scope, name, known.names, used) for name in sorted({*known.names, *used})]
        return Reply.json({"value": value})

    async def _used(self, scope: ResourceId) -> dict[str, Counter[str]]:
        used: dict[str, Counter[str]] = {}
        spelled: dict[str, str] = {}
        prefix = f"{scope.key}/"
        found = [row.value.tags for row in await GROUPS.list(self._store, prefix=prefix)]
        found += [row.value.tags for row in await RESOURCES.list(self._store, prefix=prefix)]
        found.append((await _kept(self._store, scope)).tags)
        for tags in found:
            for name, value in tags.items():
                used.setdefault(spelled.setdefault(name.lower(), name), Counter())[value] += 1
        return used

    @staticmethod
    def _name(
        scope: ResourceId, name: str, kept: Mapping[str, tuple[str, ...]], used: Mapping[str, Counter[str]]
    ) -> dict[str, Any]:
        id = f"{scope}/tagNames/{name}"
        counts = used.get(name, Counter())
        values = sorted({*kept.get(name, ()), *counts})
        return {
            "id": id,
            "tagName": name,
            "count": {"type": "Total", "value": counts.total()},
            "values": [_value(id, value, counts[value]) for value in values],
        }

    async def add_name(self, call: Call) -> Reply:
        name = call.parameters["name"]
        checked_tags({name: ""})
        created = False
        async with self._store.transaction() as tx:
            known = await _kept(tx, call.scope)
            if _spelled(known.names, name) is None:
                if len(known.names) >= _MOST_NAMES:
                    raise InvalidInput("The subscription has too many tag names.", code="TooManyTags")
                created = True
                await _keep(tx, call.scope, msgspec.structs.replace(known, names={**known.names, name: ()}))
            else:
                name = _spelled(known.names, name) or name
        used = await self._used(call.scope)
        known = await _kept(self._store, call.scope)
        return Reply.json(self._name(call.scope, name, known.names, used), 201 if created else 200)

    async def drop_name(self, call: Call) -> Reply:
        async with self._store.transaction() as tx:
            known = await _kept(tx, call.scope)
            name = _spelled(known.names, call.parameters["name"])
            used = await self._used(call.scope)
            if any(one.lower() == call.parameters["name"].lower() for one in used):
                raise Conflict(
                    f"The tag '{call.parameters['name'][:100]}' is still in use and cannot be deleted.",
                    code="CannotDeleteTagInUse",
                )
            if name is None:
                return Reply(204)
            left = {one: values for one, values in known.names.items() if one != name}
            await _keep(tx, call.scope, msgspec.structs.replace(known, names=left))
        return Reply(200)

    async def add_value(self, call: Call) -> Reply:
        value = call.parameters["value"]
        checked_tags({call.parameters["name"]: value})
        async with self._store.transaction() as tx:
            known = await _kept(tx, call.scope)
            name = _spelled(known.names, call.parameters["name"])
            if name is None:
                raise NotFound(f"The tag '{call.parameters['name'][:100]}' could not be found.", code="TagNotFound")
            created = value not in known.names[name]
            if created:
                names = {**known.names, name: (*known.names[name], value)[-1000:]}
                await _keep(tx, call.scope, msgspec.structs.replace(known, names=names))
        return Reply.json(_value(f"{call.scope}/tagNames/{name}", value, 0), 201 if created else 200)

    async def drop_value(self, call: Call) -> Reply:
        async with self._store.transaction() as tx:
            known = await _kept(tx, call.scope)
            name = _spelled(known.names, call.parameters["name"])
            if name is None or call.parameters["value"] not in known.names[name]:
                return Reply(204)
            left = tuple(one for one in known.names[name] if one != call.parameters["value"])
            await _keep(tx, call.scope, msgspec.structs.replace(known, names={**known.names, name: left}))
        return Reply(200)


# --- reading and writing them where they are


async def _read(session: Session, scope: ResourceId) -> dict[str, str]:
    """Raises `NotFound` when there is no such resource or group."""
    if scope.namespace is not None:
        row = await RESOURCES.get(session, scope.key)
        if row is None or row.value.provisioning_state == DELETING:
            raise resource_not_found(scope)
        return row.value.tags
    if scope.resource_group is not None:
        group = await GROUPS.get(session, scope.key)
        if group is None:
            raise group_not_found(scope.resource_group)
        return group.value.tags
    return (await _kept(session, scope)).tags


async def _write(tx: Transaction, scope: ResourceId, tags: dict[str, str], now: float, by: str) -> None:
    if scope.namespace is not None:
        row = await RESOURCES.get(tx, scope.key)
        if row is not None:
            changed = msgspec.structs.replace(row.value, tags=tags, changed=now, changed_by=by)
            await RESOURCES.put(tx, row.key, changed)
    elif scope.resource_group is not None:
        group = await GROUPS.get(tx, scope.key)
        if group is not None:
            await GROUPS.put(tx, group.key, msgspec.structs.replace(group.value, tags=tags))
    else:
        await _keep(tx, scope, msgspec.structs.replace(await _kept(tx, scope), tags=tags))


async def _kept(session: Session, scope: ResourceId) -> SubscriptionTags:
    row = await SUBSCRIPTION_TAGS.get(session, (scope.subscription_id or "").lower())
    return row.value if row else SubscriptionTags()


async def _keep(tx: Transaction, scope: ResourceId, value: SubscriptionTags) -> None:
    await SUBSCRIPTION_TAGS.put(tx, (scope.subscription_id or "").lower(), value)


# --- pieces


def _scope(call: Call) -> ResourceId:
    """What is tagged. Raises `InvalidInput` for what is in no subscription."""
    scope = ResourceId.parse(call.parameters["scope"] or "/")
    if scope.subscription_id is None:
        raise InvalidInput(f"There are no tags at '{scope}', only in subscriptions.", code="InvalidTagScope")
    return scope


def _at(parameters: Mapping[str, str], target: Target | None) -> ResourceId:
    return ResourceId.parse(parameters["scope"] or "/").provider(TYPE, "default")


def _legacy(parameters: Mapping[str, str], target: Target | None) -> ResourceId:
    return ResourceId.subscription(parameters["subscription"])


def _given(body: Mapping[str, Any]) -> dict[str, str]:
    properties = body.get("properties")
    tags = properties.get("tags") if isinstance(properties, Mapping) else None
    if tags is None:
        tags = {}
    if not isinstance(tags, Mapping) or not all(isinstance(value, str | None) for value in tags.values()):
        raise unreadable("'properties.tags' must be an object of texts")
    return {name: value or "" for name, value in tags.items()}


def _spelled(names: Mapping[str, Any], name: str) -> str | None:
    return next((known for known in names if known.lower() == name.lower()), None)


def _merged(before: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    new = {name.lower() for name in given}
    return {name: value for name, value in before.items() if name.lower() not in new} | dict(given)


def _without(before: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """A tag goes when name and value are both as given; a value of "" goes with any."""
    gone = {name.lower(): value for name, value in given.items()}
    return {n: v for n, v in before.items() if n.lower() not in gone or gone[n.lower()] not in ("", v)}


def _shown(scope: ResourceId, tags: Mapping[str, str]) -> dict[str, Any]:
    id = str(scope.provider(TYPE, "default"))
    return {"id": id, "name": "default", "type": TYPE, "properties": {"tags": dict(tags)}}


def _value(id: str, value: str, count: int) -> dict[str, Any]:
    return {
        "id": f"{id}/tagValues/{value}",
        "tagValue": value,
        "count": {"type": "Total", "value": count},
    }
