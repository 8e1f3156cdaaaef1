"""What the engine asks about a virtual machine: what a body makes of it, what is shown, starting and stopping."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from keyfob.arm.model import Resource
from keyfob.arm.resources import RESOURCES, get_resource, resource_not_found
from keyfob.clock import Ids, iso
from keyfob.declare import Call, Change
from keyfob.errors import Conflict, InvalidInput
from keyfob.hosts.virtual_machines import interfaces, model
from keyfob.store.port import Store
from keyfob.wire.http import Reply


class VirtualMachineOperations:
    """A `declare.ResourceOperations`."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    async def accept(self, change: Change) -> Mapping[str, Any]:
        """A new machine gets its id and runs; one that is there keeps its id and its power state."""
        given = change.body.get("properties")
        if given is None:
            given = {}
        if not isinstance(given, Mapping):
            raise InvalidInput("The 'properties' of a virtual machine must be an object.", code="InvalidParameter")
        for part in ("hardwareProfile", "storageProfile", "osProfile", "networkProfile"):
            if given.get(part) is not None and not isinstance(given[part], Mapping):
                raise InvalidInput(f"The value of parameter {part} is invalid.", code="InvalidParameter", target=part)
        before = change.before.properties if change.before is not None else {}
        stored = model.stored(
            given,
            vm_id=before.get("vmId") or self._ids.guid(),
            created=before.get("timeCreated") or iso(change.now),
            power=before.get(model.POWER, model.RUNNING),
        )
        await interfaces.tell(change, stored)
        return stored

    async def remove(self, change: Change) -> None:
        await interfaces.tell(change, {})

    def present(self, resource: Any, api_version: str, expand: str) -> Mapping[str, Any]:
        asked = {part.strip().lower() for part in expand.split(",")}
        shown = model.shown(resource.properties)
        if "userdata" in asked and "userData" in resource.properties:
            shown["userData"] = resource.properties["userData"]
        if "instanceview" in asked:
            shown["instanceView"] = model.instance_view(resource, iso(resource.changed))
        return shown


def switching(power: str) -> Callable[[Change], Awaitable[Reply]]:
    """The operation of an action after which the machine is in this power state."""

    async def switch(change: Change) -> Reply:
        machine = change.before
        if power == model.STOPPED and model.power_of(machine) == model.DEALLOCATED:
            raise Conflict(
                f"Cannot modify extensions or power state of VM '{machine.name}': it is deallocated.",
                code="OperationNotAllowed",
            )
        properties = {**machine.properties, model.POWER: power}
        changed = msgspec.structs.replace(machine, properties=properties, changed=change.now)
        await RESOURCES.put(change.transaction, change.id.key, changed)
        return Reply(200)

    return switch


def viewing(store: Store) -> Callable[[Call], Awaitable[Reply]]:
    """The operation of `GET …/instanceView`."""

    async def view(call: Call) -> Reply:
        machine: Resource | None = await get_resource(store, call.scope)
        if machine is None:
            raise resource_not_found(call.scope)
        return Reply.json(model.instance_view(machine, iso(machine.changed)))

    return view
