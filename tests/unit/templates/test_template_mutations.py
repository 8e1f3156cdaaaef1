"""Azure's own examples, spoiled at random: whatever is sent, the answer is one of Azure's and nobody falls over."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfob.cli.client import Client
from keyfob.wire.http import Fields, Reply, Request

from .conftest import VERSION, Arm, built, template
from .test_template_examples import NAMES, OWN_PARAMETERS, SHARED, filled

WORDS = [
    None, True, False, 0, -1, 1e400, 10**30, 2**53 + 1, 0.5, "", " ", "x", "/", "//", "[]", "[", "[[", "]", "[x",
    "\ud83d", "\x00", "é", "a" * 70_000, [], {}, [[]], [None], [{}], {"": ""}, {"copy": []}, {"copy": [{}]},
    {"value": {}}, {"reference": {}}, {"reference": {"keyVault": {"id": "/"}, "secretName": "x"}},
    {"copy": [{"name": "a", "count": 3, "input": "[copyIndex('a')]"}]}, {"name": "c", "count": 801},
    {"name": "c", "count": 2, "mode": "serial"}, {"name": "", "count": -1}, {"type": "securestring"}, {"$ref": "#/x"},
    "/subscriptions", "/subscriptions/x/resourceGroups/y", "Microsoft.Resources/deployments", "A.B/c/d", "..",
    "[parameters('location')]", "[variables('nothing')]", "[reference('x')]", "[reference(resourceId('A.B/c', 'd'))]",
    "[resourceGroup().location]", "[listKeys('x', '2020-01-01')]", "[copyIndex()]", "[concat('a', 1, true())]",
    "[deployment()]", "[json('{')]", "[range(0, 100000)]", "[if(true(), 1, x)]", "[div(1, 0)]",
    "[createArray(1, 2)[7]]", "[null()]", "[guid()]", "[substring('abc', 9, 9)]", "[split('a', '')]",
    "[last(createArray())]", "[mul(9999999999, 99)]", "[format('{0:N99}', 7)]", "[format('{9}', 1)]",
    "[dateTimeAdd('x', 'P1Y')]", "[string(deployment())]", "[toLower(1)]", "[base64ToString('!')]", "[uri('x', 'y')]",
    "[subscriptionResourceId('A.B/c')]", "[map(range(0, 9), lambda('i', i))]", "[union(variables('a'), 1)]",
    "[environment().nothing]", "[parameters(parameters('x'))]", "[newGuid()]", "[utcNow()]", "[managementGroup()]",
    "[tenant()]", "[extensionResourceId('x', 'A.B/c', 'd')]", "[pickZones('A', 'b', 'c')]", "[int('x')]", "[bool(7)]",
    "[float('1e999')]", "[take('x', -1)]", "[padLeft('x', 99999999)]", "[]", "[(]", "['x]",
]  # fmt: skip
NAMES_OF_MEMBERS = [
    "copy", "condition", "dependsOn", "scope", "name", "type", "apiVersion", "resources", "properties", "template",
    "parameters", "identity", "sku", "tags", "zones", "location", "mode", "defaultValue", "allowedValues", "existing",
    "kind", "plan", "outputs", "variables", "functions", "subscriptionId", "resourceGroup", "languageVersion",
    "userAssignedIdentities", "id", "expressionEvaluationOptions", "templateLink", "parametersLink", "definitions",
]  # fmt: skip
BYTES = [*(bytes([one]) for one in b"\"{}[],:'\\\xff\x00\n7"), b"", b"//", b"/*", b"[concat("]
OFTEN = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)


def example(name: str) -> tuple[Any, dict[str, Any]]:
    folder = SHARED / name
    file = next(path for path in (folder / "azuredeploy.json", folder / "main.json") if path.exists())
    given = {key: {"value": value} for key, value in OWN_PARAMETERS.get(name, {}).items()}
    beside = folder / "azuredeploy.parameters.json"
    if beside.exists():
        given = json.loads(beside.read_text("utf-8-sig"))["parameters"]
    return json.loads(file.read_text("utf-8-sig")), filled(given, "11111111-2222-3333-4444-555555555555")


EXAMPLES = [example(name) for name in NAMES] or [
    (template({"type": "Microsoft.Network/virtualNetworks", "apiVersion": "2023-05-01", "name": "[parameters('n')]",
               "location": "[resourceGroup().location]", "tags": {"a": "[concat('x', variables('v'))]"},
               "properties": {}}, parameters={"n": {"type": "string"}}, variables={"v": "[uniqueString('a')]"}),
     {"n": {"value": "net"}}),
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a value but the value itself."""
    rows = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in rows:
        yield (*path, key)
        yield from places(one, (*path, key))


def spoiled(value: Any, chance: random.Random) -> None:
    """One mutation, in place."""
    paths = list(places(value))
    if not paths:
        return
    path = chance.choice(paths)
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    key, old = path[-1], holder[path[-1]]
    kind = chance.randrange(8)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[chance.choice(NAMES_OF_MEMBERS)] = holder.pop(key)
    elif kind == 2 and isinstance(holder, dict):
        holder[chance.choice(NAMES_OF_MEMBERS)] = copy.deepcopy(chance.choice(WORDS))
    elif kind == 3 and isinstance(holder, list):
        holder.insert(chance.randrange(len(holder) + 1), copy.deepcopy(old))
    elif kind == 4 and isinstance(old, str) and old:
        at = chance.randrange(len(old))
        holder[key] = old[:at] + chance.choice("()[]'\",.\\ {}0x") + old[at + chance.randrange(3) :]
    elif kind == 5:
        other = value
        for step in chance.choice(paths):
            other = other[step]
        holder[key] = copy.deepcopy(other)  # something from elsewhere
    elif kind == 6:
        for _ in range(chance.choice([1, 3, 150])):
            holder[key] = {"a": holder[key]} if chance.random() < 0.5 else [holder[key]]
    else:
        holder[key] = copy.deepcopy(chance.choice(WORDS))


def request(seed: int) -> dict[str, Any]:
    chance = random.Random(seed)
    wanted, parameters = copy.deepcopy(chance.choice(EXAMPLES))
    body = {"properties": {"mode": "Incremental", "template": wanted, "parameters": parameters}}
    parts = [wanted] * 4 + [parameters or wanted, body]
    for _ in range(chance.choice([1, 1, 2, 3, 6])):
        spoiled(chance.choice(parts), chance)
    return body


class World:
    """An application in a loop of its own, asked without sockets."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.app = self.loop.run_until_complete(built(folder))
        self.client = Client(self.app.settings.data)
        self.arm = Arm(self.app, self.client)
        self.token = self.loop.run_until_complete(
            asyncio.to_thread(self.client.token, self.client.operator["audience"])
        )
        self.ask("PUT", self.arm.group, json.dumps({"location": "westeurope"}).encode())

    def ask(self, method: str, path: str, body: bytes = b"") -> Reply:
        async def go() -> Reply:
            return await self.app.front_door(
                Request(
                    method,
                    path,
                    Fields((("api-version", VERSION),)),
                    Fields((("authorization", f"Bearer {self.token}"), ("host", "management.azure.com"))),
                    body,
                    host="management.azure.com",
                    raw_path=path,
                )
            )

        return self.loop.run_until_complete(asyncio.wait_for(go(), 120))

    def close(self) -> None:
        self.loop.run_until_complete(self.app.stop())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("mutations") / "data")
    yield made
    made.close()


def azures(error: Any) -> None:
    """An error as Azure writes them, all the way down, that is nobody's fault here."""
    assert isinstance(error, dict)
    assert isinstance(error["code"], str)
    assert isinstance(error["message"], str)
    assert error["code"]
    assert error["message"]
    assert error["code"] != "InternalServerError", error
    assert "unexpected" not in error["message"] or "character" in error["message"] or "end" in error["message"], error
    assert error.keys() <= {"code", "message", "target", "details", "additionalInfo"}, error
    for one in error.get("details", ()):
        azures(one)


def checked(reply: Reply) -> Any:
    assert reply.status < 500, reply.body[:2000]
    shown = json.loads(reply.body) if reply.body else {}
    if reply.status >= 400:
        assert shown.keys() == {"error"}
        azures(shown["error"])
    return shown


@OFTEN
@given(seed=st.integers(0, 2**32))
def test_a_spoiled_template_gets_one_of_azures_answers(
    world: World, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    caplog.clear()
    body = json.dumps(request(seed)).encode()
    path = world.arm.at("d")
    told = checked(world.ask("POST", f"{path}/validate", body))
    checked(world.ask("POST", f"{path}/whatIf", body))
    started = world.ask("PUT", path, body)
    checked(started)
    assert ("error" in told) is (started.status >= 400), "validate and PUT disagree"
    if started.status < 400:
        state = "Running"
        while state in ("Accepted", "Running"):
            world.loop.run_until_complete(asyncio.sleep(0.005))
            shown = checked(world.ask("GET", path))["properties"]
            state = shown["provisioningState"]
        if state == "Failed":
            azures(shown["error"])
        checked(world.ask("GET", f"{path}/operations"))
        checked(world.ask("POST", f"{path}/exportTemplate"))
        assert world.ask("DELETE", path).status == 204
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []


@OFTEN
@given(seed=st.integers(0, 2**32))
def test_a_spoiled_text_does_too(world: World, caplog: pytest.LogCaptureFixture, seed: int) -> None:
    """As bytes: az sends no JSON, so the reader is our own."""
    caplog.clear()
    chance = random.Random(seed)
    wanted, parameters = chance.choice(EXAMPLES)
    text = '{"properties":{"mode":"Incremental","parameters":' + json.dumps(parameters) + ",template:"
    raw = bytearray((text + json.dumps(wanted, indent=1) + "}}").encode())
    for _ in range(chance.choice([1, 2, 5])):
        at = chance.randrange(len(raw))
        size = chance.choice([0, 1, 1, 20])
        raw[at : at + size] = chance.choice([*BYTES, bytes(raw[at - 30 : at])])
    checked(world.ask("POST", f"{world.arm.at('d')}/validate", bytes(raw)))
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []
