"""A server is killed with SIGKILL in the middle of a template deployment: the next process, or the other node, goes on
with it, and it ends as if nothing had happened."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
SECRET = "Correct-Horse-4711"
LONG = 20
"""Machines of a chain: each takes as long as an operation does."""
PATIENCE = 180.0


def template(*resources: Any, **more: Any) -> dict[str, Any]:
    schema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
    return {"$schema": schema, "contentVersion": "1.0.0.0", "resources": list(resources), **more}


def chain() -> dict[str, Any]:
    """Machines, one after the other, each with an identity; and a nested template with a random name in it."""
    identity = {
        "type": IDENTITY,
        "apiVersion": "2023-01-31",
        "name": "[concat('id-', copyIndex())]",
        "location": "westeurope",
        "copy": {"name": "identities", "count": LONG},
    }
    attached = f"[resourceId('{IDENTITY}', concat('id-', copyIndex()))]"
    machine = {
        "type": "Microsoft.Compute/virtualMachines",
        "apiVersion": "2024-03-01",
        "name": "[concat('vm-', copyIndex())]",
        "location": "westeurope",
        "copy": {"name": "machines", "count": LONG, "mode": "Serial", "batchSize": 1},
        "dependsOn": ["identities"],
        "identity": {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {attached: {}}},
        "properties": {"osProfile": {"adminPassword": "[parameters('secret')]"}},
    }
    role = {
        "type": "Microsoft.Authorization/roleAssignments",
        "apiVersion": "2022-04-01",
        "name": "[parameters('name')]",
        "properties": {
            "roleDefinitionId": f"[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '{READER}')]",
            "principalId": "[reference(resourceId('Microsoft.Compute/virtualMachines', 'vm-0'), '2024-03-01', 'Full')"
            ".identity.principalId]",
            "principalType": "ServicePrincipal",
        },
    }
    inner = template(role, machine | {"name": "[concat('inner-', copyIndex())]", "dependsOn": []},
                     parameters={"name": {"type": "string", "defaultValue": "[newGuid()]"},
                                 "secret": {"type": "securestring"}})  # fmt: skip
    nested = {
        "type": "Microsoft.Resources/deployments",
        "apiVersion": "2022-09-01",
        "name": "inside",
        "dependsOn": ["vm-0"],
        "properties": {
            "mode": "Incremental",
            "expressionEvaluationOptions": {"scope": "inner"},
            "template": inner,
            "parameters": {"secret": {"value": "[parameters('secret')]"}},
        },
    }
    outputs = {"last": {"type": "string", "value": f"[reference('vm-{LONG - 1}', '2024-03-01', 'Full').id]"}}
    return template(identity, machine, nested, parameters={"secret": {"type": "securestring"}}, outputs=outputs)


def operations(arm: Any, deployment: str) -> dict[str, dict[str, Any]]:
    rows = arm.must("GET", f"{deployment}/operations")["value"]
    return {row["operationId"]: row["properties"] for row in rows if "targetResource" in row["properties"]}


def begun(arm: Any, group: str) -> str:
    """A deployment that has done something, in its nested one too, and has much left to do."""
    arm.must("PUT", group, {"location": "westeurope"})
    deployment = f"{group}/providers/Microsoft.Resources/deployments/chain"
    properties = {"mode": "Incremental", "template": chain(), "parameters": {"secret": {"value": SECRET}}}
    arm.must("PUT", deployment, {"properties": properties})
    deadline = time.monotonic() + PATIENCE
    inner = f"{group}/providers/Microsoft.Resources/deployments/inside"
    while True:
        states = [one["provisioningState"] for one in operations(arm, deployment).values()]
        assert "Failed" not in states, operations(arm, deployment)
        if arm.call("GET", inner).status == 200:
            done = [one["provisioningState"] for one in operations(arm, inner).values()]
            if states.count("Succeeded") > LONG and "Succeeded" in done:
                return deployment
        assert time.monotonic() < deadline, "the deployment does not get on"
        time.sleep(0.02)


def ended(arm: Any, deployment: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while True:
        shown: dict[str, Any] = arm.must("GET", deployment)["properties"]
        if shown["provisioningState"] not in ("Accepted", "Running"):
            return shown
        assert time.monotonic() < deadline, f"still {shown['provisioningState']}"
        time.sleep(0.1)


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_deployment_survives_sigkill(database: str, node: Callable[..., Any], request: pytest.FixtureRequest) -> None:
    """On SQLite the same server comes back; on PostgreSQL the other node goes on."""
    dsn = request.getfixturevalue("postgres_database") if database == "postgres" else ""
    server = node(database=dsn, operation_seconds=0.3)
    other = node(database=dsn, operation_seconds=0.3, like=server) if dsn else server
    arm, group = server.arm(), server.group("cut")
    deployment = begun(arm, group)
    known = arm.must("GET", deployment)["properties"]["correlationId"]
    server.kill()
    server.hang_up()
    for file in server.data.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), f"the secret is in {file}"
    if not dsn:
        server.up()
    arm = other.arm()
    before = operations(arm, deployment)
    assert any(one["provisioningState"] == "Running" for one in before.values()), "it was over when the server died"
    shown = ended(arm, deployment)
    assert shown["provisioningState"] == "Succeeded", json.dumps(shown.get("error"), indent=1)
    assert shown["correlationId"] == known
    assert shown["outputs"]["last"]["value"].endswith(f"/vm-{LONG - 1}")
    after = operations(arm, deployment)
    assert before.keys() <= after.keys()
    assert len(after) == 2 * LONG + 1, "an operation was told twice"
    assert {one["provisioningState"] for one in after.values()} == {"Succeeded"}
    for id, one in before.items():  # what was done before was not done again
        if one["provisioningState"] == "Succeeded":
            assert after[id]["timestamp"] == one["timestamp"]
    listed = arm.must("GET", f"{group}/resources")["value"]
    assert len(listed) == 3 * LONG
    principal = arm.must("GET", f"{group}/providers/Microsoft.Compute/virtualMachines/vm-0")["identity"]["principalId"]
    roles = arm.must(
        "GET", f"{group}/providers/Microsoft.Authorization/roleAssignments?$filter=principalId eq '{principal}'"
    )["value"]
    assert len(roles) == 1, "the random name came out twice"
    if not dsn:
        other.down()
        for file in server.data.rglob("*"):
            assert not file.is_file() or SECRET.encode() not in file.read_bytes(), f"the secret is in {file}"
