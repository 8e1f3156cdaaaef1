"""What is shown of hosts: which there are, what they are, what was counted of them; and who may see it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from keyfob.access.log import DecisionLog
from keyfob.declare import Action, Allowed, Caller, Denied
from keyfob.hosts import tally as counting
from keyfob.hosts.tally import Tally
from keyfob.resource_id import ROOT, ResourceId

S = "/subscriptions/bbbbbbbb-0000-4000-8000-000000000001"
HOSTS = f"{S}/providers/Keyfob.Hosts/hosts?api-version=2026-11-01"
ARM = "https://management.azure.com/"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"


async def test_hosts_of_every_kind(house: Any) -> None:
    group = f"{S}/resourceGroups/g/providers"
    machine = await house.machine("web")
    await house.ok("PUT", f"{group}/Microsoft.Compute/virtualMachineScaleSets/fleet", {
        "location": "westeurope",
        "sku": {"name": "Standard_B1s", "capacity": 1},
        "identity": {"type": "SystemAssigned"},
    })  # fmt: skip
    await house.ok("PUT", f"{group}/Microsoft.Web/sites/shop?api-version=2023-12-01", {"location": "westeurope"})
    found = await house.hosts()
    assert {name: row["kind"] for name, row in found.items()} == {
        "web": "virtual machine",
        "fleet": "scale set",
        "fleet_0": "scale set instance",
        "shop": "site",
    }
    assert {row["state"] for row in found.values()} == {"running", ""}
    assert [one["type"] for one in found["fleet_0"]["identities"]] == ["SystemAssigned"]
    assert found["shop"]["identities"] == []
    await house.ok("POST", f"{machine}/deallocate")
    assert (await house.hosts())["web"]["state"] == "deallocated"


async def test_identities_are_those_that_are_attached_now(house: Any) -> None:
    path = f"{S}/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mine"
    user = await house.ok("PUT", f"{path}?api-version=2023-01-31", {"location": "westeurope"})
    identity = {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {user["id"]: {}}}
    await house.machine("web", identity=identity)
    own, mine = (await house.hosts())["web"]["identities"]
    assert (own["type"], own["name"]) == ("SystemAssigned", "")
    assert (mine["type"], mine["name"], mine["clientId"], mine["enabled"]) == (
        "UserAssigned",
        "mine",
        user["properties"]["clientId"],
        True,
    )
    await house.ok("DELETE", f"{path}?api-version=2023-01-31")
    assert len((await house.hosts())["web"]["identities"]) == 1


async def test_tokens_are_counted_on_both_ways(house: Any) -> None:
    machine = await house.machine("web")
    assert (await house.hosts())["web"]["tokens"] == {"given": 0, "refused": 0, "last": None}
    assert (await house.token(machine)).status == 200
    hot = house.app.hosts._metadata.hot(ResourceId.parse(machine))
    target = b"/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net"
    for _ in range(3):
        assert hot(target, [(b"metadata", b"true")]) is not None
    assert hot(target, []) is None
    assert (await house.token(machine, more="&client_id=nobody")).status == 400
    tokens = (await house.hosts())["web"]["tokens"]
    assert (tokens["given"], tokens["refused"]) == (4, 1)
    assert (tokens["last"]["at"], tokens["last"]["resource"]) == (house.clock.now(), "https://vault.azure.net")
    house.clock.advance(5)
    assert hot(target, [(b"metadata", b"true")]) is not None
    assert (await house.hosts())["web"]["tokens"]["last"]["at"] == house.clock.now()


async def test_decisions_about_its_tokens(house: Any) -> None:
    """Of a system-assigned identity, and of one that two machines share."""
    machine = await house.machine("web")
    path = f"{S}/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mine"
    user = await house.ok("PUT", f"{path}?api-version=2023-01-31", {"location": "westeurope"})
    shared = {"type": "UserAssigned", "userAssignedIdentities": {user["id"]: {}}}
    other = await house.machine("other", identity=shared)
    await house.machine("third", identity=shared)
    for host in (machine, other):
        token = json.loads((await house.token(host, ARM)).body)["access_token"]
        assert (await house.ask("GET", f"{host}/instanceView", token=token)).status == 403
    before = await house.hosts()
    assert [before[name]["decisions"] for name in ("web", "other", "third")] == [
        {"allowed": 0, "denied": 1},
        {"allowed": 0, "denied": 1},
        {"allowed": 0, "denied": 0},
    ]


async def test_a_host_that_is_gone_is_not_shown(house: Any) -> None:
    machine = await house.machine("web")
    await house.token(machine)
    await house.ok("DELETE", machine)
    assert await house.hosts() == {}


async def test_who_may_see(house: Any) -> None:
    machine = await house.machine("web")
    logs = f"{machine}/providers/Keyfob.Hosts/logs"
    for path in (HOSTS, f"{logs}?api-version=2026-11-01", f"{logs}/all?api-version=2026-11-01"):
        assert (await house.ask("GET", path)).status == 200
        assert (await house.ask("GET", path, who="reader")).status == 200
        assert (await house.ask("GET", path, who="nobody")).status == 403
        assert (await house.ask("GET", path, token="nonsense")).status == 401


def test_no_route_is_open(house: Any) -> None:
    found = {
        route.path: route.access
        for route in house.app.resource_manager.registry.routes.routes
        if "Keyfob.Hosts" in route.path and ("/logs" in route.path or route.path.endswith("/hosts"))
    }
    assert found == {
        "/subscriptions/{subscriptionId}/providers/Keyfob.Hosts/hosts": Action("Keyfob.Hosts/hosts/read"),
        "/{+scope}/providers/Keyfob.Hosts/logs": Action("Keyfob.Hosts/logs/read"),
        "/{+scope}/providers/Keyfob.Hosts/logs/{source}": Action("Keyfob.Hosts/logs/read"),
    }


# --- logs


async def test_what_programs_print(house: Any) -> None:
    machine = await house.machine("web")
    id = ResourceId.parse(machine)
    base = f"{machine}/providers/Keyfob.Hosts/logs"
    assert await house.ok("GET", f"{base}?api-version=2026-11-01") == {"value": []}
    for number, name in enumerate(("b", "a", "b")):
        house.app.workshop.log_of(id, name).write("out", f"line {number}")
        house.clock.advance(1)
    assert await house.ok("GET", f"{base}?api-version=2026-11-01") == {"value": [{"name": "a"}, {"name": "b"}]}

    async def lines(source: str, more: str = "") -> list[tuple[str, str]]:
        reply = await house.ask("GET", f"{base}/{source}?api-version=2026-11-01{more}")
        assert (reply.status, reply.content_type) == (200, "application/x-ndjson")
        found = [json.loads(line) for line in reply.body.splitlines()]
        return [(one["source"], one["text"]) for one in found]

    assert await lines("all") == [("b", "line 0"), ("a", "line 1"), ("b", "line 2")]
    assert await lines("all", "&lines=1") == [("b", "line 2")]
    assert await lines("all", "&lines=0") == []
    assert await lines("a") == [("a", "line 1")]
    missing = await house.ask("GET", f"{base}/c?api-version=2026-11-01")
    assert missing.status == 404
    assert b"a, b" in missing.body
    for bad in ("x", "-1", "1000000000"):
        assert (await house.ask("GET", f"{base}/a?api-version=2026-11-01&lines={bad}")).status == 400
    group = f"{S}/resourceGroups/g/providers/Keyfob.Hosts/logs/all?api-version=2026-11-01"
    assert (await house.ask("GET", group)).status == 404


async def test_what_they_go_on_to_print(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyfob.hosts.seeing.NEWS", 0.01)
    machine = await house.machine("web")
    log = house.app.workshop.log_of(ResourceId.parse(machine), "a")
    log.write("out", "before")
    path = f"{machine}/providers/Keyfob.Hosts/logs/all?api-version=2026-11-01&follow=true"
    reply = await house.ask("GET", path)
    stream = reply.stream
    assert stream is not None
    assert json.loads(await anext(stream))["text"] == "before"
    log.write("err", "after")
    assert json.loads(await anext(stream)) | {"at": ""} == {"at": "", "source": "a", "stream": "err", "text": "after"}
    house.app.workshop.log_of(ResourceId.parse(machine), "new").write("out", "of another")
    assert json.loads(await anext(stream))["source"] == "new"
    await house.ok("DELETE", machine)
    assert [part async for part in stream] == []


# --- counting


def caller(**claims: str) -> Caller:
    return Caller(tenant_id="t", principal_id="p", claims=claims)


def add(log: DecisionLog, who: Caller, *, allowed: bool) -> None:
    decision = Allowed("r") if allowed else Denied("no")
    log.add(1.0, "r", who, Action("a"), ROOT, decision, "s")


async def test_more_decisions_than_are_kept_are_nobodys(store: Any, ids: Any) -> None:
    log = DecisionLog(store, ids, size=3)
    tally = Tally(log)
    host = caller(xms_mirid="/subscriptions/s/resourcegroups/g/providers/Microsoft.Compute/virtualMachines/web")
    for _ in range(5):
        add(log, host, allowed=True)
    add(log, host, allowed=False)
    add(log, caller(), allowed=True)
    tally.sweep()
    count = tally.look("/subscriptions/s/resourcegroups/g/providers/microsoft.compute/virtualmachines/web")
    assert (count.allowed, count.denied, tally.others.allowed, tally.missed) == (2, 1, 1, 3)
    tally.sweep()
    assert (count.allowed, tally.missed) == (2, 3)


def test_hosts_that_are_counted_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "KEPT", 3)
    tally = Tally()
    for number in range(5):
        tally.of(f"host {number}").given = 1
    assert [tally.look(f"host {number}").given for number in range(5)] == [0, 0, 1, 1, 1]


@pytest.mark.parametrize("way", ["the right is taken away", "another has its name"])
async def test_who_may_not_any_more_hears_nothing_more(house: Any, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setattr("keyfob.hosts.seeing.NEWS", 0.01)
    machine = await house.machine("web")
    assignment = f"{machine}/providers/Microsoft.Authorization/roleAssignments/{'0' * 8}-0000-4000-8000-{'0' * 12}"
    role = f"/providers/Microsoft.Authorization/roleDefinitions/{READER}"
    body = {"properties": {"roleDefinitionId": role, "principalId": house.people["nobody"].id}}
    await house.ok("PUT", f"{assignment}?api-version=2022-04-01", body)
    path = f"{machine}/providers/Keyfob.Hosts/logs/all?api-version=2026-11-01&follow=true"
    log = house.app.workshop.log_of(ResourceId.parse(machine), "a")
    log.write("out", "before")
    who = "owner" if "name" in way else "nobody"
    stream = (await house.ask("GET", path, who=who)).stream
    assert stream is not None
    assert json.loads(await anext(stream))["text"] == "before"

    async def chatter() -> None:
        while True:
            log.write("out", "more")
            await asyncio.sleep(0)

    talking = asyncio.create_task(chatter())
    if who == "nobody":
        await house.ok("DELETE", f"{assignment}?api-version=2022-04-01")
    else:
        await house.ok("DELETE", machine)
        house.clock.advance(10)
        await house.machine("web")
        house.app.workshop.log_of(ResourceId.parse(machine), "b").write("out", "of the next")
    heard = [json.loads(part)["text"] async for part in stream]
    talking.cancel()
    assert set(heard) <= {"more"}
