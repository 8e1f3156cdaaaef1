"""Azure's own example templates, deployed with the parameters that come with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).parents[4] / "shared/azure/templates"
NAMES = sorted(path.parent.name for path in SHARED.glob("*/*.json") if path.name in ("azuredeploy.json", "main.json"))
OWN_PARAMETERS = {
    "avm-container-group": {
        "name": "group1",
        "availabilityZone": -1,
        "containers": [
            {
                "name": "web",
                "properties": {
                    "image": "mcr.microsoft.com/azuredocs/aci-helloworld",
                    "resources": {"requests": {"cpu": 1, "memoryInGB": "2"}},
                    "ports": [{"port": 80, "protocol": "Tcp"}],
                },
            }
        ],
        "ipAddress": {"ports": [{"port": 80, "protocol": "Tcp"}]},
        "managedIdentities": {"systemAssigned": True},
        "lock": {"kind": "CanNotDelete", "name": "keep"},
    },
    "avm-service-bus-queue": {
        "namespaceName": "bus4711",
        "name": "queue1",
        "authorizationRules": [{"name": "Send", "rights": ["Send"]}],
        "roleAssignments": [{"principalId": "GEN-AZUREAD-OBJECTID", "roleDefinitionIdOrName": "Reader"}],
    },
}
"""Of templates that come without parameters."""
GENERATED = {
    "GEN-UNIQUE": "uniq4711",
    "GEN-UNIQUE-8": "uniq4711",
    "GEN-PASSWORD": "Pa55-word-4711",
    "GEN-SSH-PUB-KEY": "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC example",
    "GET-PREREQ-keyVaultName": "prevault4711",
    "GET-PREREQ-keyVaultResourceGroupName": "pre",
    "GET-PREREQ-keyName": "key1",
    "GET-PREREQ-keyVersion": "0123456789abcdef0123456789abcdef",
    "GET-PREREQ-storageAccountResourceGroupName": "pre",
    "GET-PREREQ-storageAccountName": "prestore4711",
}


def filled(value: Any, principal: str) -> Any:
    if isinstance(value, dict):
        return {name: filled(one, principal) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one, principal) for one in value]
    if value == "GEN-AZUREAD-OBJECTID":
        return principal
    return GENERATED.get(value, value) if isinstance(value, str) else value


async def prerequisites(arm: Any, name: str) -> None:
    """What the example's own `prereqs` would have made."""
    pre = f"{arm.subscription}/resourceGroups/pre"
    if name in ("vm-msi-storage", "data-lake-store-encryption-key-vault"):
        await arm.made(pre, {"location": "westeurope"})
    if name == "vm-msi-storage":
        await arm.made(
            f"{pre}/providers/Microsoft.Storage/storageAccounts/prestore4711",
            {"location": "westeurope", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2", "properties": {}},
            "2023-01-01",
        )
    if name == "data-lake-store-encryption-key-vault":
        await arm.made(
            f"{pre}/providers/Microsoft.KeyVault/vaults/prevault4711",
            {
                "location": "westeurope",
                "properties": {
                    "tenantId": arm.client.operator["tenant_id"],
                    "sku": {"family": "A", "name": "standard"},
                    "accessPolicies": [],
                },
            },
            "2023-07-01",
        )
    if name == "avm-service-bus-queue":
        await arm.made(
            f"{arm.group}/providers/Microsoft.ServiceBus/namespaces/bus4711",
            {"location": "westeurope", "sku": {"name": "Standard"}, "properties": {}},
            "2021-11-01",
        )


@pytest.mark.skipif(not NAMES, reason="the example templates are not beside the project")
@pytest.mark.parametrize("name", NAMES)
async def test_an_example_of_azures_deploys(arm, name):
    folder = SHARED / name
    file = next(path for path in (folder / "azuredeploy.json", folder / "main.json") if path.exists())
    wanted = json.loads(file.read_text("utf-8-sig"))
    given = {key: {"value": value} for key, value in OWN_PARAMETERS.get(name, {}).items()}
    beside = folder / "azuredeploy.parameters.json"
    if beside.exists():
        given = json.loads(beside.read_text("utf-8-sig"))["parameters"]
    values = {
        key: one["value"] for key, one in filled(given, arm.client.operator["object_id"]).items() if "value" in one
    }
    await prerequisites(arm, name)
    more: dict[str, Any] = {}
    if "subscriptionDeploymentTemplate" in wanted["$schema"]:
        more = {"scope": arm.subscription, "location": "westeurope"}
    linked = {
        str(path.relative_to(folder)): json.loads(path.read_text("utf-8-sig"))
        for path in folder.glob("*/*.json")
        if "prereq" not in str(path)
    }
    shown = await arm.succeeds(wanted, values, linkedTemplates=linked, templateLink={"relativePath": file.name}, **more)
    assert shown["properties"]["outputResources"]
    # again: nothing stands in the way of what is there already
    await arm.succeeds(wanted, values, linkedTemplates=linked, templateLink={"relativePath": file.name}, **more)
