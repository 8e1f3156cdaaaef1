"""Instances of scale sets: how many there are, what each is, whose identity it has and since when."""

from __future__ import annotations

import json
from typing import Any

import pytest

SET = (
    "/subscriptions/bbbbbbbb-0000-4000-8000-000000000001/resourceGroups/g"
    "/providers/Microsoft.Compute/virtualMachineScaleSets/set"
)
SYSTEM = {"identity": {"type": "SystemAssigned"}}


def user(*identities: Any) -> dict[str, Any]:
    if not identities:
        return {"identity": {"type": "None"}}
    return {"identity": {"type": "UserAssigned", "userAssignedIdentities": {one["id"]: {} for one in identities}}}


# --- how many


async def test_the_capacity_makes_and_removes_them(fleet: Any) -> None:
    await fleet.set(capacity=2)
    assert await fleet.names() == ["0", "1"]
    await fleet.ok("PATCH", SET, {"sku": {"name": "Standard_B1s", "capacity": 4}})
    assert await fleet.names() == ["0", "1", "2", "3"]
    await fleet.ok("POST", f"{SET}/delete", {"instanceIds": ["1"]})
    assert await fleet.names() == ["0", "2", "3"]
    assert (await fleet.ok("GET", SET))["sku"]["capacity"] == 3
    await fleet.set(capacity=1)
    assert await fleet.names() == ["0"]
    await fleet.set(capacity=2)
    assert await fleet.names() == ["0", "4"]  # no number comes twice


async def test_what_is_below_an_instance_goes_with_it(fleet: Any) -> None:
    await fleet.set(capacity=2)
    command = f"{SET}/virtualMachines/1/runCommands/a"
    body = {"location": "westeurope", "properties": {"source": {"script": "true"}, "asyncExecution": True}}
    await fleet.send("PUT", command, body)
    assert (await fleet.send("GET", command)).status == 200
    await fleet.set(capacity=1)
    assert (await fleet.send("GET", command)).status == 404


async def test_one_that_is_gone_gets_nothing(fleet: Any) -> None:
    await fleet.set(capacity=2, **SYSTEM)
    assert await fleet.oid(1)
    await fleet.set(capacity=1)
    assert await fleet.oid(1) is None
    assert await fleet.oid(0)
    await fleet.ok("DELETE", SET)
    assert await fleet.oid(0) is None


@pytest.mark.parametrize(
    ("action", "stopped"), [("powerOff", "PowerState/stopped"), ("deallocate", "PowerState/deallocated")]
)
async def test_power_of_all_and_of_some(fleet: Any, action: str, stopped: str) -> None:
    await fleet.set(capacity=3, **SYSTEM)
    await fleet.ok("POST", f"{SET}/{action}", {"instanceIds": ["1", "2"]})
    assert [bool(await fleet.oid(n)) for n in range(3)] == [True, False, False]
    view = await fleet.ok("GET", f"{SET}/virtualMachines/1/instanceView")
    assert view["statuses"][-1]["code"] == stopped
    await fleet.ok("POST", f"{SET}/virtualMachines/1/start")
    assert [bool(await fleet.oid(n)) for n in range(3)] == [True, True, False]
    await fleet.ok("POST", f"{SET}/{action}")
    summary = (await fleet.ok("GET", f"{SET}/instanceView"))["virtualMachine"]["statusesSummary"]
    assert {"code": stopped, "count": 3} in summary
    assert await fleet.oid(0) is None
    await fleet.ok("POST", f"{SET}/reimage", {"instanceIds": ["0"]})
    assert [bool(await fleet.oid(n)) for n in range(3)] == [True, False, False]
    assert (await fleet.send("POST", f"{SET}/start", {"instanceIds": ["9"]})).status == 400


# --- what each is


async def test_each_reads_of_itself(fleet: Any) -> None:
    await fleet.set(capacity=2, tags={"team": "blue"})
    documents = []
    for number in range(2):
        reply = await fleet.get(number, "/metadata/instance/compute?api-version=2021-12-13")
        documents.append(json.loads(reply.body))
    assert [one["name"] for one in documents] == ["set_0", "set_1"]
    assert len({one["vmId"] for one in documents}) == 2
    for number, one in enumerate(documents):
        assert one["vmScaleSetName"] == "set"
        assert one["virtualMachineScaleSet"]["id"] == SET
        assert one["resourceId"] == f"{SET}/virtualMachines/{number}"
        assert (one["vmSize"], one["tags"], one["location"]) == ("Standard_B1s", "team:blue", "westeurope")
        assert one["osProfile"]["computerName"] == f"set{number:06d}"
    networks = [await fleet.get(n, "/metadata/instance/network?api-version=2021-12-13") for n in range(2)]
    assert networks[0].body != networks[1].body


async def test_their_tokens_are_the_sets(fleet: Any) -> None:
    made = await fleet.set(capacity=2, **SYSTEM)
    found = [await fleet.claims(number) for number in range(2)]
    assert {one["oid"] for one in found if one} == {made["identity"]["principalId"]}
    assert {one["xms_mirid"].lower() for one in found if one} == {SET.lower()}
    one = await fleet.user("one")
    await fleet.set(capacity=2, **user(one))
    claims = await fleet.claims(1)
    assert claims is not None
    assert (claims["oid"], claims["xms_mirid"].lower()) == (one["properties"]["principalId"], one["id"].lower())
    assert claims["xms_az_rid"].lower() == SET.lower()


# --- new models


@pytest.mark.parametrize("mode", ["Automatic", "Rolling"])
async def test_a_new_model_reaches_all_at_once(fleet: Any, mode: str) -> None:
    one, two = await fleet.user("one"), await fleet.user("two")
    await fleet.set(mode=mode, **user(one))
    assert await fleet.oid(0) == one["properties"]["principalId"]
    await fleet.set(mode=mode, **user(two))
    for number in range(2):
        assert await fleet.oid(number) == two["properties"]["principalId"]
    await fleet.set(mode=mode, **user())
    assert [await fleet.oid(0), await fleet.oid(1)] == [None, None]
    assert [row["properties"]["latestModelApplied"] for row in await fleet.instances()] == [True, True]


async def test_by_hand_it_reaches_those_that_are_updated(fleet: Any) -> None:
    one, two = await fleet.user("one"), await fleet.user("two")
    first, second = one["properties"]["principalId"], two["properties"]["principalId"]
    await fleet.set(mode="Manual", **user(one))
    assert [await fleet.oid(0), await fleet.oid(1)] == [first, first]
    await fleet.set(mode="Manual", capacity=3, **user(two))
    assert [await fleet.oid(n) for n in range(3)] == [first, first, second]
    assert [row["properties"]["latestModelApplied"] for row in await fleet.instances()] == [False, False, True]
    assert await fleet.oid(0, f"&msi_res_id={two['id']}") is None
    await fleet.ok("POST", f"{SET}/manualupgrade", {"instanceIds": ["1"]})
    assert [await fleet.oid(n) for n in range(3)] == [first, second, second]
    await fleet.ok("PATCH", SET, user())
    assert [await fleet.oid(n) for n in range(3)] == [first, second, second]
    await fleet.ok("POST", f"{SET}/manualupgrade", {"instanceIds": ["*"]})
    assert [await fleet.oid(n) for n in range(3)] == [None, None, None]
    assert all(row["properties"]["latestModelApplied"] for row in await fleet.instances())
    assert "keyfob" not in json.dumps(await fleet.instances())


async def test_what_is_gone_is_gone_whatever_the_model(fleet: Any) -> None:
    """An instance with an old model keeps no principal that was deleted."""
    one = await fleet.user("one")
    made = await fleet.set(mode="Manual", **SYSTEM)
    assert await fleet.oid(0) == made["identity"]["principalId"]
    await fleet.set(mode="Manual", **user(one))
    assert await fleet.oid(0) is None
    await fleet.ok("POST", f"{SET}/manualupgrade", {"instanceIds": ["0"]})
    assert await fleet.oid(0) == one["properties"]["principalId"]
    two = await fleet.user("two")
    await fleet.set(mode="Manual", **user(two))
    assert await fleet.oid(0) == one["properties"]["principalId"]
    await fleet.ok("DELETE", f"{one['id']}?api-version=2023-01-31")
    assert await fleet.oid(0) is None


async def test_what_is_no_new_model(fleet: Any) -> None:
    one = await fleet.user("one")
    profile = {"virtualMachineProfile": {"storageProfile": {"imageReference": {"sku": "a"}}}}
    await fleet.set(mode="Manual", properties=profile, **user(one))
    await fleet.set(mode="Manual", properties=profile, capacity=3, tags={"a": "b"}, **user(one))
    assert [row["properties"]["latestModelApplied"] for row in await fleet.instances()] == [True] * 3
    profile = {"virtualMachineProfile": {"storageProfile": {"imageReference": {"sku": "b"}}}}
    await fleet.set(mode="Manual", properties=profile, capacity=3, **user(one))
    rows = await fleet.instances()
    assert [row["properties"]["latestModelApplied"] for row in rows] == [False] * 3
    assert rows[0]["properties"]["storageProfile"]["imageReference"]["sku"] == "a"
    await fleet.ok("POST", f"{SET}/manualupgrade", {"instanceIds": ["0"]})
    rows = await fleet.instances()
    assert rows[0]["properties"]["storageProfile"]["imageReference"]["sku"] == "b"
    assert rows[0]["properties"]["osProfile"]["computerName"] == "set000000"


async def test_they_cannot_be_made_by_hand(fleet: Any) -> None:
    await fleet.set(capacity=1)
    assert (await fleet.send("PUT", f"{SET}/virtualMachines/7", {"location": "westeurope"})).status == 404
    row = await fleet.ok("GET", f"{SET}/virtualMachines/0")
    row["properties"]["latestModelApplied"] = False
    row["properties"]["keyfob.identity"] = {"user": ["x"]}
    await fleet.ok("PUT", f"{SET}/virtualMachines/0", row)
    assert (await fleet.ok("GET", f"{SET}/virtualMachines/0"))["properties"]["latestModelApplied"] is True
