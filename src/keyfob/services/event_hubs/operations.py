"""What the engine asks about Event Hubs namespaces and hubs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyfob.arm.shapes import held, put_child
from keyfob.clock import iso
from keyfob.declare import Change
from keyfob.errors import InvalidInput


def namespace(change: Change, given: Mapping[str, Any], tier: str) -> Mapping[str, Any]:
    return {
        "isAutoInflateEnabled": bool(given.get("isAutoInflateEnabled", False)),
        "maximumThroughputUnits": given.get("maximumThroughputUnits") or 0,
        "kafkaEnabled": given.get("kafkaEnabled", tier != "basic"),
    }


def sized(tier: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"capacity": given.get("capacity") or 1}


def hub(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    partitions = given.get("partitionCount", held(change, "partitionCount", 4))
    retention = given.get("messageRetentionInDays", 7)
    if not isinstance(partitions, int) or isinstance(partitions, bool) or not 1 <= partitions <= 1024:
        raise InvalidInput("The value of partitionCount is between 1 and 1024.", code="BadRequest")
    if not isinstance(retention, int) or isinstance(retention, bool) or not 1 <= retention <= 90:
        raise InvalidInput("The value of messageRetentionInDays is between 1 and 90.", code="BadRequest")
    if change.before is not None and partitions < change.before.properties.get("partitionCount", 0):
        raise InvalidInput("The number of partitions cannot be lowered.", code="BadRequest")
    return {
        "partitionCount": partitions,
        "messageRetentionInDays": retention,
        "partitionIds": [str(number) for number in range(partitions)],
        "status": given.get("status") or "Active",
        "createdAt": held(change, "createdAt", iso(change.now)),
        "updatedAt": iso(change.now),
    }


async def with_hub(change: Change, properties: Mapping[str, Any]) -> None:
    if change.before is None:
        await put_child(change, "consumergroups", "$Default", consumer_group(change, {}))


def consumer_group(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    own = change.id.type.lower().endswith("/consumergroups")
    created = held(change, "createdAt", iso(change.now)) if own else iso(change.now)
    return {"createdAt": created, "updatedAt": iso(change.now)}
