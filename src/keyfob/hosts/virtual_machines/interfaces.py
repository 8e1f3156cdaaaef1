"""What a network interface knows of the machine that it is in: `virtualMachine`, which azure-cli finds addresses by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from keyfob.arm.resources import RESOURCES
from keyfob.declare import Change
from keyfob.errors import InvalidInput
from keyfob.resource_id import ResourceId

_TYPE = "microsoft.network/networkinterfaces"
_MEMBER = "virtualMachine"


async def tell(change: Change, properties: Mapping[str, Any]) -> None:
    """The machine of `change` has the interfaces that `properties` name, and no others any more."""
    before = _named(change.before.properties) if change.before is not None else {}
    after = _named(properties)
    machine = change.before.id if change.before is not None else str(change.id)
    for key in before.keys() | after.keys():
        row = await RESOURCES.get(change.transaction, key)
        subscription = change.id.subscription_id or ""
        if (
            row is None
            or row.value.type.lower() != _TYPE
            or not key.startswith(f"/subscriptions/{subscription}/".lower())
        ):
            continue
        there = row.value.properties.get(_MEMBER)
        mine = isinstance(there, Mapping) and str(there.get("id", "")).lower() == change.id.key
        if (key in after) is mine:
            continue
        left = {name: value for name, value in row.value.properties.items() if name != _MEMBER}
        kept = {**left, _MEMBER: {"id": machine}} if key in after else left
        await RESOURCES.put(change.transaction, key, msgspec.structs.replace(row.value, properties=kept))


def _named(properties: Mapping[str, Any]) -> dict[str, None]:
    """The keys of the interfaces, in their order."""
    profile = properties.get("networkProfile")
    listed = profile.get("networkInterfaces") if isinstance(profile, Mapping) else None
    found: dict[str, None] = {}
    for one in listed if isinstance(listed, list) else []:
        try:
            found[ResourceId.parse(str(one.get("id") if isinstance(one, Mapping) else "")).key] = None
        except InvalidInput:
            continue
    return found
