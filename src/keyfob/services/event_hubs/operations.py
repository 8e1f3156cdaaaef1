"""What the engine asks about Event Hubs namespaces and hubs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from keyfob.arm.shapes import held, mapping, put_child
from keyfob.clock import iso
from keyfob.declare import Change
from keyfob.errors import Conflict, InvalidInput

_TIERS = ("Basic", "Standard", "Premium")


def in_use(name: str) -> str:
    return f"The specified name '{name}' is not available. It is already in use."


def name_taken(name: str) -> Conflict:
    return Conflict(f"{in_use(name)} CorrelationId: none", code="NamespaceUnavailable")


def namespace(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    tier = str(mapping(change.body.get("sku")).get("name") or "Standard")
    if tier.lower() not in {one.lower() for one in _TIERS}:
        raise InvalidInput(f"The sku '{tier[:40]}' is not Basic, Standard or Premium.", code="BadRequest", target="sku")
    host = f"{change.id.name.lower()}.{change.cloud.suffixes['service_bus']}"
    return {
        "createdAt": held(change, "createdAt", iso(change.now)),
        "updatedAt": iso(change.now),
        "serviceBusEndpoint": f"https://{host}:443/",
        "metricId": f"{change.id.subscription_id}:{change.id.name.lower()}",
        "status": "Active",
        "isAutoInflateEnabled": bool(given.get("isAutoInflateEnabled", False)),
        "maximumThroughputUnits": given.get("maximumThroughputUnits") or 0,
        "kafkaEnabled": given.get("kafkaEnabled", tier.lower() != "basic"),
        "disableLocalAuth": bool(given.get("disableLocalAuth", False)),
        "zoneRedundant": bool(given.get("zoneRedundant", False)),
        "publicNetworkAccess": given.get("publicNetworkAccess") or "Enabled",
        "minimumTlsVersion": given.get("minimumTlsVersion") or "1.2",
    }


def with_namespace(
    root_rule: Callable[[Change, Mapping[str, Any]], Awaitable[None]],
) -> Callable[[Change, Mapping[str, Any]], Awaitable[None]]:
    async def children(change: Change, properties: Mapping[str, Any]) -> None:
        await root_rule(change, properties)
        if change.before is None:
            await put_child(change, "networkRuleSets", "default", network_rules(change, {}))

    return children


def sized(resource: Any, document: dict[str, Any], api_version: str) -> dict[str, Any]:
    sku = dict(resource.sku or {})
    name = next((one for one in _TIERS if one.lower() == str(sku.get("name", "")).lower()), "Standard")
    document["sku"] = {"name": name, "tier": name, "capacity": sku.get("capacity") or 1}
    return document


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


def network_rules(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "defaultAction": given.get("defaultAction") or "Allow",
        "publicNetworkAccess": given.get("publicNetworkAccess") or "Enabled",
        "trustedServiceAccessEnabled": bool(given.get("trustedServiceAccessEnabled", False)),
        "virtualNetworkRules": given.get("virtualNetworkRules") or [],
        "ipRules": given.get("ipRules") or [],
    }
