"""What the engine asks about Service Bus namespaces and what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyfob.arm.shapes import held, mapping, put_child
from keyfob.clock import iso
from keyfob.declare import Change
from keyfob.services.service_bus.model import FOREVER

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


def namespace(change: Change, given: Mapping[str, Any], tier: str) -> Mapping[str, Any]:
    return {"premiumMessagingPartitions": given.get("premiumMessagingPartitions") or 0}


def sized(tier: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"capacity": given.get("capacity") or 1} if tier == "Premium" else {}


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
