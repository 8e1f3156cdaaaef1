"""What the engine asks about scale sets: as many instances as the capacity says, and what happens to them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from keyfob.arm.model import Resource
from keyfob.arm.resources import RESOURCES, below, get_resource, list_resources, resource_not_found
from keyfob.arm.shapes import OURS, Shaped, held, mapping, put_child, resource_path, resource_scope
from keyfob.clock import Ids, iso
from keyfob.declare import Action, Call, Change, Route
from keyfob.errors import InvalidInput
from keyfob.hosts.scale_sets import model
from keyfob.hosts.scale_sets.model import API_VERSIONS, INSTANCE, TYPE
from keyfob.identities.model import StoredIdentity
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session, Store
from keyfob.store.records import Stored
from keyfob.wire.http import Reply

__all__ = ["ScaleSets"]


class ScaleSets:
    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    def accept(self, change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
        capacity = _capacity(change)
        next_id = held(change, model.NEXT, 0)
        mode = given.get("orchestrationMode") or held(change, "orchestrationMode", "Uniform")
        single = given.get("singlePlacementGroup")
        return {
            "uniqueId": held(change, "uniqueId", self._ids.guid()),
            "timeCreated": held(change, "timeCreated", iso(change.now)),
            "singlePlacementGroup": (mode == "Uniform" and capacity <= 100) if single is None else single,
            "overprovision": given.get("overprovision", True),
            "orchestrationMode": mode,
            "upgradePolicy": _upgrades(given.get("upgradePolicy")),
            model.NEXT: next_id,
        }

    async def fill(self, change: Change, properties: Mapping[str, Any]) -> None:
        """Makes the instances that are missing, takes away the youngest of those that are too many; those that stay get
        the new model now, or keep what they have until somebody updates them."""
        capacity = _capacity(change)
        there = await instances(change.transaction, change.id)
        for row in there[capacity:]:
            await _remove(change, row)
        await self._pass_on(change, properties, there[:capacity])
        number = int(properties[model.NEXT])
        for _ in range(capacity - len(there)):
            await put_child(
                change,
                "virtualMachines",
                str(number),
                self._made(change, properties, number),
                location=str(change.body.get("location", "")),
                tags=dict(mapping(change.body.get("tags"))),
                sku={name: value for name, value in mapping(change.body.get("sku")).items() if name != "capacity"},
            )
            number += 1
        if isinstance(properties, dict):
            properties[model.NEXT] = number

    async def _pass_on(self, change: Change, properties: Mapping[str, Any], there: Sequence[Stored[Resource]]) -> None:
        before = change.before
        if before is None:
            return
        at_once = mapping(properties.get("upgradePolicy")).get("mode") != "Manual"
        changed = _model_changed(change, properties)
        for row in there:
            if at_once and (changed or not model.is_latest(row.value)):
                await _put(change, row, model.updated(row.value, properties))
            elif changed and model.is_latest(row.value):
                await _put(change, row, model.outdated(row.value, before.identity))

    def _made(self, change: Change, properties: Mapping[str, Any], number: int) -> dict[str, Any]:
        profile = model.profile_of(properties)
        system = mapping(profile.get("osProfile"))
        prefix = str(system.get("computerNamePrefix") or change.id.name)
        applied = model.applied_model(properties)
        applied["osProfile"] = {"computerName": f"{prefix}{number:06d}", **applied["osProfile"]}
        return {
            model.LATEST: True,
            "vmId": self._ids.guid(),
            "timeCreated": iso(change.now),
            "hardwareProfile": {},
            **applied,
            model.POWER: model.RUNNING,
        }


class Instances(Shaped):
    """PUT changes an instance that is there; none can be made by hand."""

    async def accept(self, change: Change) -> Mapping[str, Any]:
        if change.before is None:
            raise resource_not_found(change.id)
        kept = dict(await super().accept(change))
        for name in ("vmId", "timeCreated", model.LATEST):
            kept[name] = change.before.properties.get(name)
        return kept

    async def remove(self, change: Change) -> None:
        """The capacity of the set goes down with it."""
        await _shrink(change, change.id.parent, 1)

    def present(self, resource: Any, api_version: str, expand: str) -> Mapping[str, Any]:
        shown = {name: value for name, value in resource.properties.items() if not name.startswith(OURS)}
        if "instanceview" in expand.lower():
            shown["instanceView"] = model.instance_view(resource, iso(resource.changed))
        return shown


def numbered(resource: Any, document: dict[str, Any], api_version: str) -> dict[str, Any]:
    names = ResourceId.parse(resource.id).names
    return {**document, "name": f"{names[0]}_{names[1]}", "instanceId": resource.name}


def _upgrades(given: Any) -> Mapping[str, Any]:
    """In Azure's spelling: azure-cli sends `manual`."""
    policy = mapping(given) or {"mode": "Manual"}
    mode = next((one for one in model.MODES if one.lower() == str(policy.get("mode", "")).lower()), None)
    return {**policy, "mode": mode} if mode else policy


def _capacity(change: Change) -> int:
    sku = mapping(change.body.get("sku"))
    capacity = sku.get("capacity", 0)
    if isinstance(capacity, bool) or not isinstance(capacity, int) or not 0 <= capacity <= model.MOST:
        raise InvalidInput(
            f"The capacity of a scale set is between 0 and {model.MOST}.",
            code="InvalidParameter",
            target="sku.capacity",
        )
    return capacity


def _model_changed(change: Change, properties: Mapping[str, Any]) -> bool:
    """Whether instances would differ: what they are made of, their size, their identities."""
    before = change.before
    sizes = [mapping(sku).get("name") for sku in (before.sku, change.body.get("sku"))]
    had = before.identity or StoredIdentity()
    return (
        model.profile_of(before.properties) != model.profile_of(properties)
        or sizes[0] != sizes[1]
        or (had.system is not None) != change.identities.system
        or {ResourceId.parse(id).key for id in had.user} != {id.key for id in change.identities.user}
        or any(had.principals.get(key, now) != now for key, now in change.identities.principals.items())
    )


async def _put(change: Change, row: Stored[Resource], properties: Mapping[str, Any]) -> None:
    changed = msgspec.structs.replace(row.value, properties=dict(properties), changed=change.now)
    await RESOURCES.put(change.transaction, row.key, changed)


async def _remove(change: Change, row: Stored[Resource]) -> None:
    """An instance with what is below it."""
    for child in await below(change.transaction, ResourceId.parse(row.value.id)):
        await RESOURCES.delete(change.transaction, child.key)
    await RESOURCES.delete(change.transaction, row.key)


async def instances(session: Session, id: ResourceId) -> list[Stored[Resource]]:
    """By number."""
    rows = await RESOURCES.list(session, prefix=f"{id.key}/virtualmachines/")
    own = [row for row in rows if row.value.type.lower() == INSTANCE.lower()]
    return sorted(own, key=lambda row: int(row.value.name) if row.value.name.isdigit() else 0)


async def _shrink(change: Change, id: ResourceId, by: int) -> None:
    row = await RESOURCES.get(change.transaction, id.key)
    if row is None:
        return
    sku = dict(row.value.sku or {})
    sku["capacity"] = max(0, int(sku.get("capacity", 0)) - by)
    await RESOURCES.put(change.transaction, row.key, msgspec.structs.replace(row.value, sku=sku))


# --- actions


async def _asked(change: Change) -> list[Stored[Resource]]:
    """The instances that a body names; all of them when it names none, or `*`."""
    rows = await instances(change.transaction, change.id)
    wanted = change.body.get("instanceIds")
    if wanted is None or wanted == ["*"]:
        return rows
    if not isinstance(wanted, list):
        raise InvalidInput("The value of parameter instanceIds is invalid.", code="InvalidParameter")
    known = {row.value.name: row for row in rows}
    for name in wanted:
        if str(name) not in known:
            raise InvalidInput(
                f"The provided instanceId {str(name)[:40]} is not an active Virtual Machine Scale Set VM instanceId.",
                code="InvalidParameter",
                target="instanceIds",
            )
    return [known[name] for name in dict.fromkeys(str(one) for one in wanted)]


def switching_all(power: str) -> Callable[[Change], Awaitable[Reply]]:
    async def switch(change: Change) -> Reply:
        for row in await _asked(change):
            properties = {**row.value.properties, model.POWER: power}
            changed = msgspec.structs.replace(row.value, properties=properties, changed=change.now)
            await RESOURCES.put(change.transaction, row.key, changed)
        return Reply(200)

    return switch


def switching(power: str) -> Callable[[Change], Awaitable[Reply]]:
    async def switch(change: Change) -> Reply:
        properties = {**change.before.properties, model.POWER: power}
        changed = msgspec.structs.replace(change.before, properties=properties, changed=change.now)
        await RESOURCES.put(change.transaction, change.id.key, changed)
        return Reply(200)

    return switch


async def delete_some(change: Change) -> Reply:
    if not isinstance(change.body.get("instanceIds"), list):
        raise InvalidInput("The parameter instanceIds is required.", code="InvalidParameter", target="instanceIds")
    rows = await _asked(change)
    for row in rows:
        await _remove(change, row)
    await _shrink(change, change.id, len(rows))
    return Reply(200)


async def upgrade_some(change: Change) -> Reply:
    if not isinstance(change.body.get("instanceIds"), list):
        raise InvalidInput("The parameter instanceIds is required.", code="InvalidParameter", target="instanceIds")
    for row in await _asked(change):
        await _put(change, row, model.updated(row.value, change.before.properties))
    return Reply(200)


# --- routes


def routes(store: Store) -> tuple[Route, ...]:
    path, scope = resource_path(TYPE), resource_scope(TYPE)

    async def view(call: Call) -> Reply:
        await _there(store, call)
        rows = await list_resources(store, call.scope, type_name=INSTANCE)
        counts: dict[str, int] = {}
        for row in rows:
            code = f"PowerState/{model.power_of(row)}"
            counts[code] = counts.get(code, 0) + 1
        summary = [{"code": "ProvisioningState/succeeded", "count": len(rows)}] if rows else []
        summary += [{"code": code, "count": count} for code, count in sorted(counts.items())]
        status = {"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded"}
        return Reply.json({"virtualMachine": {"statusesSummary": summary}, "statuses": [status]})

    async def sizes(call: Call) -> Reply:
        found = await _there(store, call)
        capacity = {"minimum": 0, "maximum": model.MOST, "defaultCapacity": 1, "scaleType": "Automatic"}
        sku = {name: value for name, value in (found.sku or {}).items() if name != "capacity"}
        return Reply.json({"value": [{"resourceType": TYPE, "sku": sku, "capacity": capacity}]})

    return (
        Route("GET", f"{path}/instanceView", Action(f"{TYPE}/instanceView/read"), view, scope, API_VERSIONS),
        Route("GET", f"{path}/skus", Action(f"{TYPE}/skus/read"), sizes, scope, API_VERSIONS),
    )


async def _there(store: Store, call: Call) -> Resource:
    found = await get_resource(store, call.scope)
    if found is None:
        raise resource_not_found(call.scope)
    return found
