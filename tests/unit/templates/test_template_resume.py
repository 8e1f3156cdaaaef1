"""A deployment outlives the process that runs it: another goes on, as the same principal, with what was not done."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keyfob.arm.templates.records import MEMORIES, OWNERS, RECORDS, Sealed
from keyfob.arm.templates.service import SILENT
from keyfob.cli.client import Client
from keyfob.directory.model import Group
from keyfob.directory.principals import add_member, create_group
from keyfob.errors import Problem
from keyfob.resource_id import ResourceId

from .conftest import Arm, Deployer, built, template, until

IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
SECRET = "Correct-Horse-4711"
GUID = {"type": "string", "defaultValue": "[newGuid()]"}


def identity(name: str, **more: Any) -> dict[str, Any]:
    return {"type": IDENTITY, "apiVersion": "2018-11-30", "name": name, "location": "westeurope", **more}


def machine(name: str, **more: Any) -> dict[str, Any]:
    """The slow one: a long-running operation."""
    properties = {"osProfile": {"adminPassword": "[parameters('secret')]"}}
    return {
        "type": "Microsoft.Compute/virtualMachines",
        "apiVersion": "2023-07-01",
        "name": name,
        "location": "westeurope",
        "properties": properties,
        **more,
    }


def nested(name: str, inner: Any, **more: Any) -> dict[str, Any]:
    properties = {
        "mode": "Incremental",
        "template": inner,
        "expressionEvaluationOptions": {"scope": "inner"},
        "parameters": {"secret": {"value": "[parameters('secret')]"}},
    }
    return {
        "type": "Microsoft.Resources/deployments",
        "apiVersion": "2022-09-01",
        "name": name,
        "properties": properties,
        **more,
    }


PARAMETERS = {"secret": {"type": "securestring"}, "name": GUID}
WHOLE = template(
    identity("first"),
    identity("[parameters('name')]", dependsOn=["first"]),
    machine("slow", dependsOn=["[parameters('name')]"]),
    nested(
        "inside",
        template(
            identity("[concat('in', parameters('name'))]"),
            machine("slower", dependsOn=["[concat('in', parameters('name'))]"]),
            parameters=PARAMETERS,
        ),
        dependsOn=["first"],
    ),
    identity("last", dependsOn=["slow", "inside"]),
    parameters=PARAMETERS,
    outputs={"name": {"type": "string", "value": "[parameters('name')]"}},
)


def slow(arm: Arm) -> None:
    arm.app.resource_manager.engine.operations._seconds = 3600.0


async def there(arm: Arm, name: str) -> bool:
    return name in await arm.names()


async def operations(arm: Arm) -> list[dict[str, Any]]:
    rows = (await arm.call("GET", f"{arm.at('d')}/operations")).json()["value"]
    return [row["properties"] | {"operationId": row["operationId"]} for row in rows]


async def failed(arm: Arm) -> bool:
    return "Failed" in [row["provisioningState"] for row in await operations(arm)]


async def working(arm: Arm, *names: str) -> list[dict[str, Any]]:
    """The deployment's operations, once these resources are being worked on."""
    told: list[dict[str, Any]] = []

    async def busy() -> bool:
        told[:] = await operations(arm)
        running = {row["targetResource"]["resourceName"] for row in told if row["provisioningState"] == "Running"}
        return running >= set(names)

    await until(busy)
    return told


async def again(arm: Arm, folder: Path) -> Arm:
    """The server stopped in mid-deployment, and another on the same data."""
    await arm.app.stop()
    app = await built(folder)
    return Arm(app, Client(app.settings.data))


@pytest.fixture
async def restart(arm: Arm, tmp_path: Path) -> Any:
    made: list[Arm] = []

    async def call() -> Arm:
        made.append(await again(made[-1] if made else arm, tmp_path / "data"))
        return made[-1]

    yield call
    for one in made:
        await one.app.stop()


async def stored(arm: Arm) -> str:
    rows = await arm.app.store.fetch("SELECT key, value FROM records WHERE kind LIKE 'arm.deploy%'")
    return "\n".join(f"{key} {bytes(value) if isinstance(value, bytes) else value}" for key, value in rows)


async def test_what_was_cut_off_goes_on(arm: Arm, restart: Any) -> None:
    slow(arm)
    assert (await arm.put(WHOLE, {"secret": SECRET})).status == 201
    before = await working(arm, "slow", "inside")
    await until(lambda: there(arm, "slower"))
    shown = (await arm.call("GET", arm.at("d"))).json()["properties"]
    kept = {name for name in await arm.names() if name not in ("slow", "slower")}
    assert len(kept) == 3
    assert SECRET not in await stored(arm)
    assert await MEMORIES.list(arm.app.store), "nothing is kept for another process"

    arm = await restart()
    after = (await arm.ended())["properties"]
    assert after["provisioningState"] == "Succeeded", after.get("error")
    assert after["correlationId"] == shown["correlationId"]
    assert await arm.names() == kept | {"slow", "slower", "last"}
    assert after["outputs"]["name"]["value"] in kept
    assert len(after["outputResources"]) == 6
    rows = (await arm.call("GET", f"{arm.at('d')}/operations")).json()["value"]
    told = {
        row["operationId"]: row["properties"]["targetResource"]["resourceName"]
        for row in rows
        if "targetResource" in row["properties"]
    }
    assert sorted(told.values()) == sorted([*(kept - {name for name in kept if name.startswith("in")}), "slow",
                                            "inside", "last"])  # fmt: skip
    assert {row["operationId"] for row in before} < set(told)
    inner = (await arm.call("GET", arm.at("inside"))).json()["properties"]
    assert (inner["provisioningState"], inner["correlationId"]) == ("Succeeded", shown["correlationId"])
    assert SECRET not in await stored(arm)
    assert await MEMORIES.list(arm.app.store) == []
    assert await OWNERS.list(arm.app.store) == []


async def test_what_was_done_is_not_done_again(arm: Arm, restart: Any) -> None:
    slow(arm)
    await arm.put(template(identity("done"), machine("slow", dependsOn=["done"]), parameters=PARAMETERS),
                  {"secret": SECRET})  # fmt: skip
    await working(arm, "slow")
    assert (await arm.call("DELETE", f"{arm.group}/providers/{IDENTITY}/done", version="2018-11-30")).status < 300
    arm = await restart()
    assert (await arm.ended())["properties"]["provisioningState"] == "Succeeded"
    assert await arm.names() == {"slow"}


async def test_a_failure_from_before_is_still_one(arm: Arm, restart: Any) -> None:
    slow(arm)
    bad = {"type": "Microsoft.Nothing/things", "apiVersion": "2020-01-01", "name": "x", "location": "westeurope"}
    await arm.put(template(bad, identity("after", dependsOn=["x"]), machine("slow"), parameters=PARAMETERS),
                  {"secret": SECRET})  # fmt: skip
    await until(lambda: failed(arm))
    arm = await restart()
    shown = (await arm.ended())["properties"]
    assert shown["provisioningState"] == "Failed"
    assert [one["code"] for one in shown["error"]["details"]] == ["InvalidResourceNamespace"]
    assert await arm.names() == {"slow"}


async def test_a_nested_deployment_that_had_ended_is_not_run_again(arm: Arm, restart: Any) -> None:
    """Killed between the end of the nested one and the record of it where it is nested."""
    slow(arm)
    await arm.put(template(nested("inside", template(identity("[parameters('name')]"), machine("slower"),
                                                     parameters=PARAMETERS)), parameters=PARAMETERS),
                  {"secret": SECRET})  # fmt: skip
    await until(lambda: there(arm, "slower"))
    names = await arm.names()
    key = ResourceId.parse(arm.at("inside")).key
    async with arm.app.store.transaction() as tx:
        row = await RECORDS.get(tx, key)
        done = msgspec.structs.replace(row.value, state="Succeeded", output_resources=("/a/b",))
        await RECORDS.put(tx, key, done)
    arm = await restart()
    shown = (await arm.ended())["properties"]
    assert shown["outputResources"] == [{"id": "/a/b"}]
    assert await arm.names() == names


@pytest.mark.parametrize("loss", ["role", "principal"])
async def test_who_may_no_more_ends_the_deployment(arm: Arm, restart: Any, loss: str) -> None:
    deployer = await Deployer.made(arm, "Microsoft.Resources/*", IDENTITY + "/*", "Microsoft.Compute/*")
    slow(arm)
    body = {"properties": {"mode": "Incremental", "parameters": {"secret": {"value": SECRET}},
                           "template": template(machine("slow"), identity("after", dependsOn=["slow"]),
                                                parameters=PARAMETERS)}}  # fmt: skip
    assert (await deployer.call("PUT", arm.at("d"), body)).status == 201
    await working(arm, "slow")
    assert (await arm.call("DELETE", deployer.assignment, version="2022-04-01")).status == 200
    if loss == "principal":
        assert (await arm.call("DELETE", deployer.id, version="2018-11-30")).status < 300
    arm = await restart()
    error = (await arm.ended())["properties"]["error"]
    assert error["code"] == "DeploymentFailed"
    assert [one["code"] for one in error["details"]] == ["AuthorizationFailed"]
    assert deployer.principal in error["details"][0]["message"]
    assert "after" not in await arm.names()
    assert await MEMORIES.list(arm.app.store) == []


async def test_rights_are_those_of_now(arm: Arm, restart: Any) -> None:
    """The principal may still deploy, but no longer write identities."""
    deployer = await Deployer.made(arm, "Microsoft.Resources/*", IDENTITY + "/*", "Microsoft.Compute/*")
    slow(arm)
    body = {"properties": {"mode": "Incremental", "parameters": {"secret": {"value": SECRET}},
                           "template": template(machine("slow"), identity("after", dependsOn=["slow"]),
                                                parameters=PARAMETERS)}}  # fmt: skip
    assert (await deployer.call("PUT", arm.at("d"), body)).status == 201
    await working(arm, "slow")
    await deployer.may("Microsoft.Resources/*", "Microsoft.Compute/*")
    arm = await restart()
    error = (await arm.ended())["properties"]["error"]
    assert [(one["code"], f"{IDENTITY}/write" in one["message"]) for one in error["details"]] == [
        ("AuthorizationFailed", True)
    ]
    assert "slow" in await arm.names()


async def test_what_was_canceled_stays_so(arm: Arm, restart: Any) -> None:
    slow(arm)
    wanted = template(machine("slow"), identity("after", dependsOn=["slow"]), parameters=PARAMETERS)
    await arm.put(wanted, {"secret": SECRET})
    await working(arm, "slow")
    assert (await arm.call("POST", f"{arm.at('d')}/cancel")).status == 204
    arm = await restart()
    assert (await arm.ended())["properties"]["provisioningState"] == "Canceled"
    assert "after" not in await arm.names()


async def test_another_master_key_opens_nothing(arm: Arm, restart: Any) -> None:
    slow(arm)
    await arm.put(template(machine("slow"), parameters=PARAMETERS), {"secret": SECRET})
    await working(arm, "slow")
    key = ResourceId.parse(arm.at("d")).key
    async with arm.app.store.transaction() as tx:
        row = await MEMORIES.get(tx, key)
        await MEMORIES.put(tx, key, Sealed(sealed=row.value.sealed[:-1] + b"x"))
    arm = await restart()
    shown = (await arm.ended())["properties"]
    assert (shown["provisioningState"], shown["error"]["code"]) == ("Failed", "DeploymentFailed")


async def test_two_nodes_never_run_the_same(arm: Arm) -> None:
    """Of two nodes one runs it; when it falls silent the other does, and the first one writes nothing more."""
    app = arm.app
    slow(arm)
    await arm.put(template(machine("slow"), parameters=PARAMETERS), {"secret": SECRET})
    await working(arm, "slow")
    first = app.deployments()
    other = first.__class__(
        store=app.store, guard=app.guard, clouds=first._clouds, clock=first.clock, ids=first._ids,
        answer=first._answer, seal=first._seal, read_secret=first.secrets._read, alone=False,
    )  # fmt: skip
    key = ResourceId.parse(arm.at("d")).key
    await other.look_after()
    assert not other._runs
    async with app.store.transaction() as tx:
        row = await RECORDS.get(tx, key)
        await RECORDS.put(tx, key, msgspec.structs.replace(row.value, beat=first.clock.now() - SILENT - 1))
    ours = first._runs[key]
    app.resource_manager.engine.operations._seconds = 0.0
    await other.look_after()
    assert key in other._runs
    shown = (await arm.ended())["properties"]
    assert shown["provisioningState"] == "Succeeded"
    app.resource_manager.engine.operations._due = dict.fromkeys(app.resource_manager.engine.operations._due, 0.0)
    await app.resource_manager.engine.operations.settle()
    await asyncio.wait_for(ours.task, 60)
    after = (await arm.call("GET", arm.at("d"))).json()["properties"]
    assert after == shown
    assert key not in first._runs
    assert "error" not in json.dumps(after)


async def test_an_end_that_could_not_be_recorded_is_recorded_later(arm: Arm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database was away at the wrong moment."""
    deployments = arm.app.deployments()
    rightly, away = deployments.ended, [True]

    async def ended(run: Any) -> None:
        if away[0]:
            deployments._runs.pop(ResourceId.parse(run.record.id).key)
            raise Problem("The database does not answer.", status=503)
        await rightly(run)

    monkeypatch.setattr(deployments, "ended", ended)
    await arm.put(template(identity("first")))

    async def silent() -> bool:
        return not deployments._runs and await there(arm, "first")

    await until(silent)
    assert (await arm.call("GET", arm.at("d"))).json()["properties"]["provisioningState"] == "Running"
    away[0] = False
    await deployments.look_after()
    assert (await arm.ended())["properties"]["provisioningState"] == "Succeeded"
    assert len(await operations(arm)) == 2  # the resource, and the outputs


async def test_groups_are_those_of_now(arm: Arm, restart: Any) -> None:
    """What is asked of the deployer goes by the groups it is in by then."""
    deployer = await Deployer.made(arm, "Microsoft.Resources/*", IDENTITY + "/*", "Microsoft.Compute/*")
    tenant = arm.client.operator["tenant_id"]
    async with arm.app.store.transaction() as tx:
        await create_group(tx, Group(id="22222222-2222-3333-4444-555555555555", tenant_id=tenant, display_name="late"))
    slow(arm)
    body = {
        "properties": {
            "mode": "Incremental",
            "parameters": {"secret": {"value": SECRET}},
            "template": template(machine("slow"), parameters=PARAMETERS),
        }
    }
    assert (await deployer.call("PUT", arm.at("d"), body)).status == 201
    await working(arm, "slow")
    async with arm.app.store.transaction() as tx:
        await add_member(tx, tenant, "22222222-2222-3333-4444-555555555555", deployer.principal)
    deployments = arm.app.deployments()
    row = (await MEMORIES.list(arm.app.store))[0]
    memory = await deployments._recalled(row.value.sealed, row.key)
    assert memory.caller.principal_id == deployer.principal
    assert memory.caller.groups == {"22222222-2222-3333-4444-555555555555"}
    arm = await restart()
    assert (await arm.ended())["properties"]["provisioningState"] == "Succeeded"
