"""The activity log: every write, delete and action that Resource Manager was asked for, by whom and how it ended.

Fed by the pipeline as a witness; written in batches, so that no request waits for it; bounded, in rows that are used
round and round. No bodies, headers or tokens are in it, and of a refusal only the code: a message may quote a body.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec

from keyfob.arm.checks import Attempt
from keyfob.clock import Clock, Ids, iso
from keyfob.errors import Problem
from keyfob.resource_id import ResourceId
from keyfob.store.bounded_log import BoundedLog
from keyfob.store.port import Store
from keyfob.store.records import Records

KEPT_FOR = 90 * 86_400.0
"""Seconds, as on Azure."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One operation that is over, or goes on (`Accepted`)."""

    id: str
    time: float = 0.0
    tenant_id: str = ""
    subscription_id: str = ""
    """Lower-case; "" for what is above subscriptions."""
    resource_id: str = ""
    action: str = ""
    method: str = ""
    status: int = 200
    code: str = ""
    """Of the refusal."""
    principal_id: str = ""
    app_id: str = ""
    caller: str = ""
    user: bool = False
    request_id: str = ""
    correlation_id: str = ""
    client_request_id: str = ""

    @property
    def outcome(self) -> str:
        if self.code or self.status >= 400:
            return "Failed"
        return "Accepted" if self.status == 202 else "Succeeded"


EVENTS = Records("arm.activity", Event, index=lambda e: {"subscription": f"{e.tenant_id}/{e.subscription_id}"})
"""Under the number of their row."""


class ActivityLog:
    """`size`: how many events are kept. `witness` is what the pipeline calls; `run` writes in the background."""

    def __init__(self, *, store: Store, clock: Clock, ids: Ids, size: int = 10_000) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._kept = BoundedLog[Event, Event](store, EVENTS, head="arm.activity_log", size=size, row=lambda one: one)
        self.flush, self.run = self._kept.flush, self._kept.run

    def witness(self, attempt: Attempt, status: int, problem: Problem | None) -> None:
        if attempt.action.name.lower().startswith("keyfob."):
            return
        caller = attempt.caller
        self._kept.add(
            Event(
                id=self._ids.guid(),
                time=self._clock.now(),
                tenant_id=caller.tenant_id,
                subscription_id=(attempt.scope.subscription_id or "").lower(),
                resource_id=str(attempt.scope),
                action=attempt.action.name,
                method=attempt.method,
                status=status,
                code=problem.code if problem is not None else "",
                principal_id=caller.principal_id,
                app_id=caller.app_id,
                caller=caller.name,
                user=caller.claims.get("idtyp") == "user" or "upn" in caller.claims,
                request_id=attempt.request_id,
                correlation_id=_word(attempt.correlation_id) or attempt.request_id,
                client_request_id=_word(attempt.client_request_id),
            )
        )

    async def find(self, tenant_id: str, subscription_id: str) -> list[Event]:
        """Of one subscription ("": above all), the newest first."""
        await self.flush()
        rows = await EVENTS.find(self._store, "subscription", f"{tenant_id}/{subscription_id.lower()}")
        since = self._clock.now() - KEPT_FOR
        found = [row.value for row in rows if row.value.time >= since]
        return sorted(found, key=lambda event: event.time, reverse=True)


def shown(event: Event) -> dict[str, Any]:
    """The event as the Insights API has it."""
    scope = ResourceId.parse(event.resource_id)
    kind = scope.type or "Microsoft.Resources/tenants"
    try:
        phrase = HTTPStatus(event.status).phrase
    except ValueError:
        phrase = ""
    namespace = event.action.partition("/")[0]
    ticks = int(event.time * 10_000_000) + 621_355_968_000_000_000
    properties = {"statusCode": phrase.replace(" ", ""), "serviceRequestId": event.request_id}
    if event.code:
        properties["statusMessage"] = msgspec.json.encode({"error": {"code": event.code}}).decode()
    return {
        "authorization": {"action": event.action, "scope": event.resource_id},
        "caller": event.caller,
        "channels": "Operation",
        "claims": _claims(event),
        "correlationId": event.correlation_id,
        "description": "",
        "eventDataId": event.id,
        "eventName": _both("EndRequest", "End request"),
        "category": _both("Administrative"),
        "eventTimestamp": iso(event.time),
        "id": f"{event.resource_id}/events/{event.id}/ticks/{ticks}",
        "level": "Error" if event.outcome == "Failed" else "Informational",
        "operationId": event.correlation_id,
        "operationName": _both(event.action),
        "resourceGroupName": scope.resource_group or "",
        "resourceProviderName": _both(namespace),
        "resourceType": _both(kind),
        "resourceId": event.resource_id,
        "status": _both(event.outcome),
        "subStatus": _both(phrase.replace(" ", ""), f"{phrase} (HTTP Status Code: {event.status})"),
        "submissionTimestamp": iso(event.time),
        "subscriptionId": event.subscription_id,
        "tenantId": event.tenant_id,
        "httpRequest": {"clientRequestId": event.client_request_id, "method": event.method},
        "properties": properties,
    }


def facts(event: Event) -> Mapping[str, str]:
    """What filters ask about, by lower-case name."""
    scope = ResourceId.parse(event.resource_id)
    return {
        "resourcegroupname": scope.resource_group or "",
        "resourceuri": event.resource_id,
        "resourceid": event.resource_id,
        "resourceprovider": event.action.partition("/")[0],
        "resourcetype": scope.type,
        "correlationid": event.correlation_id,
        "caller": event.caller,
        "status": event.outcome,
        "levels": "Error" if event.outcome == "Failed" else "Informational",
        "operationname": event.action,
    }


def moment(text: str) -> float | None:
    """Epoch seconds of an ISO date, which is UTC where it does not say; None: it is none."""
    try:
        when = datetime.fromisoformat(text.strip().replace(" ", "+"))
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _claims(event: Event) -> dict[str, str]:
    names = {
        "http://schemas.microsoft.com/identity/claims/tenantid": event.tenant_id,
        "http://schemas.microsoft.com/identity/claims/objectidentifier": event.principal_id,
        "appid": event.app_id,
        "name" if event.user else "idtyp": event.caller if event.user else "app",
    }
    return {name: value for name, value in names.items() if value}


def _both(value: str, localized: str = "") -> dict[str, str]:
    return {"value": value, "localizedValue": localized or value}


def _word(text: str) -> str:
    """A client's id, if it is one."""
    return text if len(text) <= 64 and text.isascii() and text.replace("-", "").isalnum() else ""
