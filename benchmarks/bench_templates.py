"""How fast templates are: expressions, opening and planning, and deployments of 300 resources.

    python benchmarks/bench_templates.py [--resources 300]

Deployments run in this process against a real server (SQLite, durable commits) through its own port.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from keyfob.app.parts import build
from keyfob.arm.templates.evaluate import Budget, Frame, Names, evaluate
from keyfob.arm.templates.facts import Facts
from keyfob.arm.templates.plan import plan
from keyfob.arm.templates.template import open_template
from keyfob.cli.client import Client
from keyfob.clock import SystemClock, SystemIds
from keyfob.resource_id import ResourceId
from keyfob.servers.run import announce
from keyfob.settings import read_settings

GROUP = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/bench"
IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
EXPRESSIONS = (
    "[parameters('name')]",
    "[concat('a-', parameters('name'), '-', variables('v'))]",
    "[resourceId('Microsoft.Compute/virtualMachines', parameters('name'))]",
    "[uniqueString(resourceGroup().id, parameters('name'))]",
    "[if(equals(parameters('name'), 'x'), createObject('a', 1), json('{\"b\": [1, 2, 3]}'))]",
    "[map(range(0, 20), lambda('i', format('{0}-{1:D3}', parameters('name'), lambdaVariables('i'))))]",
)


def template(count: int) -> dict[str, Any]:
    """A third each of security groups, identities after them, and machines that read the identities."""
    third = max(1, count // 3)

    def row(kind: str, version: str, name: str, **more: Any) -> dict[str, Any]:
        made = {"type": kind, "apiVersion": version, "name": f"[concat('{name}', copyIndex())]"}
        return made | {"location": "westeurope", "copy": {"name": f"{name}s", "count": third}} | more

    own = f"[resourceId('{IDENTITY}', concat('id', copyIndex()))]"
    return {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [
            row("Microsoft.Network/networkSecurityGroups", "2023-05-01", "nsg", properties={}),
            row(IDENTITY, "2018-11-30", "id", dependsOn=["[concat('nsg', copyIndex())]"]),
            row(
                "Microsoft.Compute/virtualMachines",
                "2023-07-01",
                "vm",
                identity={"type": "UserAssigned", "userAssignedIdentities": {own: {}}},
                tags={"principal": "[reference(concat('id', copyIndex())).principalId]"},
                properties={},
            ),
        ],
    }


def facts() -> Facts:
    return Facts(scope=ResourceId.parse(GROUP), group={"id": GROUP, "location": "westeurope"}, deployment={"name": "d"})


def expressions() -> None:
    names, variables = Names("parameter"), Names("variable")
    names.values["name"] = "web"
    variables.values["v"] = "value"
    frame = Frame(parameters=names, variables=variables, facts=facts(), budget=Budget(10**9, 10**12))
    for text in EXPRESSIONS:
        evaluate(text, frame)
        rounds, began = 3000, time.perf_counter()
        for _ in range(rounds):
            evaluate(text, frame)
        each = (time.perf_counter() - began) / rounds
        print(f"{each * 1e6:9.1f} µs  {text}")


def opening(count: int) -> None:
    wanted = template(count)
    began = time.perf_counter()
    parts = plan(open_template(wanted, {}, facts()))
    print(f"{(time.perf_counter() - began) * 1e3:9.1f} ms  open and plan {len(parts)} resources")


async def deploying(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = read_settings({}, data=str(Path(folder) / "data"), port="0")
        app = await build(made, clock=SystemClock(), ids=SystemIds())
        await app.start()
        try:
            announce({"pid": os.getpid(), "address": "127.0.0.1", "port": app.port}, file=made.server_file)
            client = Client(made.data)
            group = f"/subscriptions/{client.operator['subscription_id']}/resourceGroups/bench"
            await asyncio.to_thread(client.arm_json, "PUT", group, {"location": "westeurope"}, api_version="2024-11-01")
            path = f"{group}/providers/Microsoft.Resources/deployments/bench"
            body = {"properties": {"mode": "Incremental", "template": template(count)}}
            for word in ("first", "again"):
                began = time.perf_counter()
                await asyncio.to_thread(client.arm_json, "PUT", path, body, api_version="2024-11-01")
                while True:
                    shown = await asyncio.to_thread(client.arm_json, "GET", path, api_version="2024-11-01")
                    if shown["properties"]["provisioningState"] not in ("Accepted", "Running"):
                        break
                    await asyncio.sleep(0.05)
                took = time.perf_counter() - began
                done = len(shown["properties"].get("outputResources", ()))
                print(f"{took * 1e3:9.0f} ms  deploy {done} resources, {word} ({done / took:.0f} a second)")
        finally:
            await app.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resources", type=int, default=300)
    count = parser.parse_args().resources
    expressions()
    opening(count)
    asyncio.run(deploying(count))


if __name__ == "__main__":
    main()
