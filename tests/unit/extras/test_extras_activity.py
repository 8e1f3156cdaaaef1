"""The activity log: who did what, who may read it, what is never in it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyfob.access.guard import Caller
from keyfob.arm.checks import Attempt
from keyfob.arm.extras.activity import EVENTS, ActivityLog
from keyfob.clock import FakeClock, SystemIds
from keyfob.clouds.table import load_clouds
from keyfob.declare import Action
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store

V = {"version": "2015-04-01"}
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"


def log(world: Any) -> str:
    return f"{world.subscription}/providers/Microsoft.Insights/eventtypes/management/values"


async def events(world: Any, query: str = "", **more: Any) -> list[dict[str, Any]]:
    found = await world.good("GET", log(world) + query, **V, **more)
    return list(found["value"])


async def test_writes_and_deletes_are_there_and_reads_are_not(world: Any) -> None:
    one = await world.identity("one")
    await world.good("GET", one, version="2023-01-31")
    await world.good("DELETE", one, version="2023-01-31")
    deleted, made, group = await events(world)
    assert deleted["operationName"]["value"] == "Microsoft.ManagedIdentity/userAssignedIdentities/delete"
    assert made["authorization"] == {
        "action": "Microsoft.ManagedIdentity/userAssignedIdentities/write",
        "scope": one,
    }
    assert (made["status"]["value"], made["subStatus"]["value"]) == ("Succeeded", "Created")
    assert made["resourceId"] == one
    assert made["resourceGroupName"] == "extras"
    assert made["claims"]["http://schemas.microsoft.com/identity/claims/objectidentifier"] == world.boss.id
    assert group["operationName"]["value"] == "Microsoft.Resources/subscriptions/resourceGroups/write"


async def test_a_refusal_is_there_with_who_was_refused(world: Any) -> None:
    nobody = await world.somebody()
    await world.refused("DELETE", world.group, by=nobody)
    found = (await events(world))[0]
    assert found["status"]["value"] == "Failed"
    assert found["level"] == "Error"
    assert found["properties"]["statusMessage"] == '{"error":{"code":"AuthorizationFailed"}}'
    assert found["claims"]["http://schemas.microsoft.com/identity/claims/objectidentifier"] == nobody.id


async def test_what_a_template_makes_is_there_too(world: Any) -> None:
    identity = {
        "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
        "apiVersion": "2023-01-31",
        "name": "from-a-template",
        "location": "westeurope",
    }
    template = {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [identity],
    }
    path = f"{world.group}/providers/Microsoft.Resources/deployments/one"
    body = {"properties": {"mode": "Incremental", "template": template}}
    await world.good("PUT", path, body, version="2021-04-01")
    for _ in range(500):
        shown = await world.good("GET", path, version="2021-04-01")
        if shown["properties"]["provisioningState"] == "Succeeded":
            break
        await asyncio.sleep(0.01)
    made = next(event for event in await events(world) if event["resourceId"].endswith("/from-a-template"))
    assert made["claims"]["http://schemas.microsoft.com/identity/claims/objectidentifier"] == world.boss.id


async def test_filters(world: Any) -> None:
    one = await world.identity("one")
    other = f"{world.subscription}/resourceGroups/other"
    await world.good("PUT", other, {"location": "westeurope"})
    now = datetime.now(UTC)
    early, late = (now - timedelta(hours=1)).isoformat(), (now + timedelta(hours=1)).isoformat()
    bare = (now - timedelta(hours=1)).replace(tzinfo=None).isoformat()

    async def count(text: str) -> int:
        return len(await events(world, f"?$filter={text}"))

    assert await count(f"eventTimestamp ge {bare} and eventTimestamp le {late.replace('+00:00', 'Z')}") == 3
    assert await count(f"eventTimestamp ge '{early.replace('+00:00', 'Z')}'") == 3
    assert await count(f"eventTimestamp le {bare}") == 0
    assert await count("resourceGroupName eq 'EXTRAS'") == 2
    assert await count(f"resourceUri eq '{one}'") == 1
    assert await count(f"resourceId eq '{one}' and status eq 'Failed'") == 0
    first = (await events(world))[0]
    assert await count(f"correlationId eq '{first['correlationId']}'") == 1
    assert await count("eventChannels eq 'Admin, Operation' and resourceProvider eq 'Microsoft.ManagedIdentity'") == 1
    chosen = await events(world, "?$select=eventName,operationName")
    assert set(chosen[0]) == {"eventName", "operationName"}


@pytest.mark.parametrize("text", ["nonsense", "eventTimestamp ge yesterday", "color eq 'red'", "caller ge 'x'"])
async def test_a_filter_nobody_knows_is_refused(world: Any, text: str) -> None:
    assert (await world.refused("GET", f"{log(world)}?$filter={text}", **V))[0] == 400


async def test_a_reader_of_a_group_reads_that_group_only(world: Any) -> None:
    await world.good("PUT", f"{world.subscription}/resourceGroups/other", {"location": "westeurope"})
    reader, nobody = await world.somebody(READER, world.group), await world.somebody()
    refused = (403, "AuthorizationFailed")
    assert await world.refused("GET", log(world), by=reader, **V) == refused
    assert await world.refused("GET", f"{log(world)}?$filter=resourceGroupName eq 'other'", by=reader, **V) == refused
    assert await world.refused("GET", log(world), by=nobody, **V) == refused
    found = await events(world, "?$filter=resourceGroupName eq 'extras'", by=reader)
    assert {event["resourceGroupName"] for event in found} == {"extras"}
    assert found


async def test_no_body_is_in_it(world: Any) -> None:
    await world.good("PUT", world.group, {"location": "westeurope", "tags": {"password": "hunter2"}})
    await world.refused("PUT", world.group, {"location": "hunter2"})
    await world.app.activity.flush()
    rows = await world.app.store.fetch("SELECT value FROM records WHERE kind = ?", EVENTS.kind)
    assert rows
    assert not [row for row in rows if b"hunter2" in bytes(row[0])]
    assert not [row for row in rows if b"Bearer" in bytes(row[0])]


def attempt(number: int) -> Attempt:
    return Attempt(
        action=Action("Microsoft.Compute/virtualMachines/write"),
        scope=ResourceId.group("S1", f"g{number}"),
        caller=Caller("t", "p"),
        cloud=load_clouds()["AzureCloud"],
    )


async def test_it_keeps_the_newest_and_no_more(store: Store) -> None:
    clock = FakeClock()
    kept = ActivityLog(store=store, clock=clock, ids=SystemIds(), size=3)
    for number in range(7):
        kept.witness(attempt(number), 200, None)
        clock.advance(1)
        if number % 2:
            await kept.flush()
    found = await kept.find("t", "s1")
    assert [event.resource_id[-2:] for event in found] == ["g6", "g5", "g4"]
    assert len(await EVENTS.list(store)) == 3
    again = ActivityLog(store=store, clock=clock, ids=SystemIds(), size=3)
    assert [event.resource_id[-2:] for event in await again.find("t", "s1")] == ["g6", "g5", "g4"]
    clock.advance(91 * 86_400)
    assert await again.find("t", "s1") == []
    assert await again.find("other", "s1") == []
