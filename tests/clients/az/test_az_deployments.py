"""Deployments by az above the subscription, with parameters from a vault, and the words az has for those that fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
GROUP = "az-deployments"
SCHEMA = "https://schema.management.azure.com/schemas/{}eploymentTemplate.json#"
MACHINE = {
    "type": "Microsoft.Compute/virtualMachines",
    "apiVersion": "2024-03-01",
    "name": "[parameters('name')]",
    "location": "westeurope",
    "tags": {"length": "[string(length(parameters('password')))]"},
    "properties": {"osProfile": {"adminPassword": "[parameters('password')]"}},
}
NESTED = {
    "type": "Microsoft.Resources/deployments",
    "apiVersion": "2024-03-01",
    "name": "az-below",
    "location": "westeurope",
    "subscriptionId": "[parameters('subscription')]",
    "properties": {
        "mode": "Incremental",
        "expressionEvaluationOptions": {"scope": "inner"},
        "template": {
            "$schema": SCHEMA.format("2018-05-01/subscriptionD"),
            "contentVersion": "1.0.0.0",
            "resources": [
                {
                    "type": "Microsoft.Resources/resourceGroups",
                    "apiVersion": "2024-03-01",
                    "name": "az-from-above",
                    "location": "westeurope",
                }
            ],
        },
    },
}


def written(folder: Path, name: str, kind: str, resource: Any, *parameters: str) -> str:
    kinds = {one: {"type": "securestring" if one == "password" else "string"} for one in parameters}
    text = json.dumps(
        {"$schema": SCHEMA.format(kind), "contentVersion": "1.0.0.0", "parameters": kinds, "resources": [resource]}
    )
    (folder / name).write_text("// as people write them\n" + text)
    return str(folder / name)


@pytest.fixture(scope="module")
def vault(az: Any) -> str:
    az(f"group create -n {GROUP} -l westeurope")
    made = az(
        f"keyvault create -g {GROUP} -n az-deploy-vault -l westeurope --enable-rbac-authorization false"
        " --enabled-for-template-deployment true"
    )
    az("keyvault secret set --vault-name az-deploy-vault -n password --value Hush-Hush-4711")
    return str(made["id"])


def test_a_secret_as_a_parameter(az: Any, vault: str, tmp_path: Path) -> None:
    file = written(tmp_path, "vm.json", "2019-04-01/d", MACHINE, "name", "password")
    reference = {"reference": {"keyVault": {"id": vault}, "secretName": "password"}}
    values = tmp_path / "vm.parameters.json"
    values.write_text(
        json.dumps(
            {
                "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#",
                "contentVersion": "1.0.0.0",
                "parameters": {"name": {"value": "with-secret"}, "password": reference},
            }
        )
    )
    one = f"-g {GROUP} -n secret --template-file {file} --parameters @{values}"
    made = az(f"deployment group create {one}")
    shown = made["properties"]["parameters"]["password"]
    assert (shown["type"], shown["reference"]["keyVault"]["id"]) == ("SecureString", vault)
    assert "value" not in shown
    assert az(f"vm show -g {GROUP} -n with-secret")["tags"] == {"length": "14"}
    assert "Hush" not in json.dumps(az(f"deployment group what-if {one} --no-pretty-print"))
    az("keyvault update -n az-deploy-vault --enabled-for-template-deployment false")
    said = az.fails(f"deployment group create {one}")
    assert "KeyVaultParameterReferenceSecretRetrieveFailed" in said
    assert "Access denied to first party service." in said


@pytest.mark.parametrize("above", ["tenant", "mg -m az-above"])
def test_from_above_into_a_subscription(az: Any, above: str, tmp_path: Path) -> None:
    kind = "2019-08-01/tenantD" if above == "tenant" else "2019-08-01/managementGroupD"
    if above != "tenant":
        az("account management-group create -n az-above")
    file = written(tmp_path, "above.json", kind, NESTED, "subscription")
    subscription = az("account show")["id"]
    command, _, rest = above.partition(" ")
    one = f"{rest} -n az-first -l westeurope --template-file {file} --parameters subscription={subscription}"
    assert az(f"deployment {command} validate {one}")["properties"]["provisioningState"] == "Succeeded"
    made = az(f"deployment {command} create {one}")
    assert (made["properties"]["provisioningState"], made["location"]) == ("Succeeded", "westeurope")
    assert az("group exists -n az-from-above") is True
    assert az("deployment sub show -n az-below")["properties"]["provisioningState"] == "Succeeded"
    names = [row["name"] for row in az(f"deployment {command} list {rest}")]
    assert "az-first" in names
    operations = az(f"deployment operation {command} list {rest} -n az-first")
    assert "az-below" in [(one["properties"]["targetResource"] or {}).get("resourceName") for one in operations]
    foreseen = az(f"deployment {command} what-if {one} --no-pretty-print")
    assert [one["changeType"] for one in foreseen["changes"]] == ["NoChange"]
    az(f"deployment {command} delete {rest} -n az-first")


def test_a_deployment_that_fails_says_why(az: Any, vault: str, tmp_path: Path) -> None:
    bad = {"type": "Microsoft.Nothing/things", "apiVersion": "2020-01-01", "name": "x", "location": "westeurope"}
    file = written(tmp_path, "bad.json", "2019-04-01/d", bad)
    said = az.fails(f"deployment group create -g {GROUP} -n bad --template-file {file}")
    assert "DeploymentFailed" in said
    assert "InvalidResourceNamespace" in said
