"""Template deployments by az, and `az vm create`, which is one."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
GROUP = "az-templates"
TEMPLATE = """{ // comments are allowed
  "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
  "contentVersion": "1.0.0.0",
  "parameters": {"name": {"type": "string"}},
  "resources": [{
    "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
    "apiVersion": "2023-01-31",
    "name": "[parameters('name')]",
    "location": "[resourceGroup().location]"
  }],
  "outputs": {"principal": {"type": "string", "value": "[reference(parameters('name')).principalId]"}}
}"""


@pytest.fixture(scope="module")
def scope(az):
    return az(f"group create -n {GROUP} -l westeurope")["id"]


def test_a_deployment(az, scope, tmp_path):
    file = tmp_path / "template.json"
    file.write_text(TEMPLATE)
    one = f"-g {GROUP} -n first --template-file {file} --parameters name=from-template"
    assert az(f"deployment group validate {one}")["properties"]["provisioningState"] == "Succeeded"
    foreseen = az(f"deployment group what-if {one} --no-pretty-print")
    assert [change["changeType"] for change in foreseen["changes"] if "from-template" in change["resourceId"]] == [
        "Create"
    ]
    assert "ResourceNotFound" in az.fails(f"identity show -g {GROUP} -n from-template")
    made = az(f"deployment group create {one}")
    principal = az(f"identity show -g {GROUP} -n from-template")["principalId"]
    assert made["properties"]["outputs"]["principal"]["value"] == principal
    assert az(f"deployment group show -g {GROUP} -n first")["properties"]["provisioningState"] == "Succeeded"
    titles, rows = az.table(f"deployment group list -g {GROUP}")
    assert titles == ["Name", "State", "Timestamp", "Mode", "ResourceGroup"]
    assert ["first", "Succeeded"] in [row.split()[:2] for row in rows]
    operations = az(f"deployment operation group list -g {GROUP} -n first")
    assert "Create" in [one["properties"]["provisioningOperation"] for one in operations]
    assert az(f"deployment group export -g {GROUP} -n first")["parameters"] == {"name": {"type": "string"}}
    file.write_text(TEMPLATE.replace("parameters('name')", "parameters('nme')"))
    assert "InvalidTemplate" in az.fails(f"deployment group create {one}")


def test_a_deployment_of_a_subscription(az, tmp_path):
    file = tmp_path / "template.json"
    group = {
        "type": "Microsoft.Resources/resourceGroups",
        "apiVersion": "2024-03-01",
        "name": "az-by-template",
        "location": "westeurope",
    }
    schema = "https://schema.management.azure.com/schemas/2018-05-01/subscriptionDeploymentTemplate.json#"
    file.write_text(json.dumps({"$schema": schema, "contentVersion": "1.0.0.0", "resources": [group]}))
    az(f"deployment sub create -n az-sub -l westeurope --template-file {file}")
    assert az("group exists -n az-by-template") is True
    assert az("deployment sub show -n az-sub")["properties"]["provisioningState"] == "Succeeded"


def test_vm_create_with_an_identity_and_a_role(az, scope):
    user = az(f"identity create -g {GROUP} -n for-machine")
    made = az(
        f"vm create -g {GROUP} -n made-by-az --image Ubuntu2204 --admin-username someone --generate-ssh-keys"
        f" --assign-identity [system] {user['id']} --role Reader --scope {scope}"
    )
    assert made["powerState"] == "VM running"
    own = made["identity"]["systemAssignedIdentity"]
    shown = az(f"vm identity show -g {GROUP} -n made-by-az")
    assert shown["principalId"] == own
    assert [key.lower() for key in shown["userAssignedIdentities"]] == [user["id"].lower()]
    granted = az(f"role assignment list --scope {scope} --assignee {own}")
    assert [one["roleDefinitionName"] for one in granted] == ["Reader"]
    titles, rows = az.table(f"vm list -d -g {GROUP}")
    assert titles == ["Name", "ResourceGroup", "PowerState", "PublicIps", "Fqdns", "Location"]
    assert rows[0].startswith("made-by-az")
    az(f"vm deallocate -g {GROUP} -n made-by-az")
    assert "deallocated" in az.table(f"vm list -d -g {GROUP}")[1][0]
    az(f"vm delete -g {GROUP} -n made-by-az --yes")
    assert "ResourceNotFound" in az.fails(f"vm show -g {GROUP} -n made-by-az")
