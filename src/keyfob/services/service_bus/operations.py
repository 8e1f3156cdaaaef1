"""What the engine asks about Service Bus namespaces and what is in them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from keyfob.arm.shapes import held, mapping, put_child
from keyfob.clock import iso
from keyfob.declare import Change
from keyfob.errors import Conflict, InvalidInput
from keyfob.services.service_bus.model import FOREVER

_TIERS = ("Basic", "Standard", "Premium")
_COUNTS = dict.fromkeys(
    (
        "activeMessageCount",
        "deadLetterMessageCount",
        "scheduledMessageCount",
        "transferMessageCount",
        "transferDeadLetterMessageCount",
    ),
    0,
)


def in_use(name: str) -> str:
    return f"The specified name '{name}' is not available. It is already in use."


def name_taken(name: str) -> Conflict:
    return Conflict(in_use(name), code="NamespaceUnavailable")


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
        "disableLocalAuth": bool(given.get("disableLocalAuth", False)),
        "zoneRedundant": bool(given.get("zoneRedundant", False)),
        "publicNetworkAccess": given.get("publicNetworkAccess") or "Enabled",
        "premiumMessagingPartitions": given.get("premiumMessagingPartitions") or 0,
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
    if name != "Premium":
        document["sku"].pop("capacity")
    return document


def queue(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return _defaults(
        given,
        maxSizeInMegabytes=1024,
        lockDuration="PT1M",
        requiresDuplicateDetection=False,
        requiresSession=False,
        defaultMessageTimeToLive=FOREVER,
        deadLetteringOnMessageExpiration=False,
        enableBatchedOperations=True,
        duplicateDetectionHistoryTimeWindow="PT10M",
        maxDeliveryCount=10,
        autoDeleteOnIdle=FOREVER,
        enablePartitioning=False,
        enableExpress=False,
        status="Active",
    ) | _times(change, messages="messageCount")


def topic(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return _defaults(
        given,
        defaultMessageTimeToLive=FOREVER,
        maxSizeInMegabytes=1024,
        requiresDuplicateDetection=False,
        duplicateDetectionHistoryTimeWindow="PT10M",
        enableBatchedOperations=True,
        supportOrdering=True,
        autoDeleteOnIdle=FOREVER,
        enablePartitioning=False,
        enableExpress=False,
        status="Active",
    ) | _times(change, messages="subscriptionCount")


def subscription(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return _defaults(
        given,
        lockDuration="PT1M",
        requiresSession=False,
        defaultMessageTimeToLive=FOREVER,
        deadLetteringOnMessageExpiration=False,
        deadLetteringOnFilterEvaluationExceptions=True,
        maxDeliveryCount=10,
        status="Active",
        enableBatchedOperations=True,
        autoDeleteOnIdle=FOREVER,
        isClientAffine=False,
    ) | _times(change, messages="messageCount")


async def with_subscription(change: Change, properties: Mapping[str, Any]) -> None:
    """A new subscription takes everything."""
    if change.before is None:
        everything = {"sqlExpression": "1=1", "compatibilityLevel": 20}
        await put_child(change, "rules", "$Default", {
            "action": {}, "filterType": "SqlFilter", "sqlFilter": everything,
        })  # fmt: skip


def rule(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = given.get("filterType") or ("CorrelationFilter" if given.get("correlationFilter") else "SqlFilter")
    result: dict[str, Any] = {"action": given.get("action") or {}, "filterType": kind}
    if kind == "SqlFilter":
        result["sqlFilter"] = {"sqlExpression": "1=1", "compatibilityLevel": 20, **mapping(given.get("sqlFilter"))}
    return result


def network_rules(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "defaultAction": given.get("defaultAction") or "Allow",
        "publicNetworkAccess": given.get("publicNetworkAccess") or "Enabled",
        "trustedServiceAccessEnabled": bool(given.get("trustedServiceAccessEnabled", False)),
        "virtualNetworkRules": given.get("virtualNetworkRules") or [],
        "ipRules": given.get("ipRules") or [],
    }


def _defaults(given: Mapping[str, Any], **known: Any) -> dict[str, Any]:
    return {name: value if given.get(name) is None else given[name] for name, value in known.items()}


def _times(change: Change, *, messages: str) -> dict[str, Any]:
    now = iso(change.now)
    return {
        "createdAt": held(change, "createdAt", now),
        "updatedAt": now,
        "accessedAt": held(change, "accessedAt", now),
        "sizeInBytes": 0,
        messages: 0,
        "countDetails": dict(_COUNTS),
    }
