"""The same az on the other clouds, under their own names: signing in, groups, identities, roles, secrets."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
CLOUDS = {
    "AzureUSGovernment": ("usgovvirginia", "https://management.usgovcloudapi.net", "vault.usgovcloudapi.net"),
    "AzureChinaCloud": ("chinaeast2", "https://management.chinacloudapi.cn", "vault.azure.cn"),
    "AzureGermanCloud": ("germanycentral", "https://management.microsoftazure.de", "vault.microsoftazure.de"),
}


@pytest.fixture(scope="module", params=list(CLOUDS))
def there(request, az_server, az_on):
    """A tenant in the cloud, a machine in it, and an az on that machine that knows the cloud."""
    cloud = request.param
    location, manager, vault = CLOUDS[cloud]
    domain = f"az-{cloud.lower()}.example"
    az_server.keyfob("tenant", "create", domain, "--cloud", cloud)
    operator = json.loads((az_server.data / "operators" / f"{domain}.json").read_text())
    group = f"/subscriptions/{operator['subscription_id']}/resourceGroups/machines"
    tenant = ("--tenant", domain)
    az_server.rest("PUT", f"{group}?api-version=2024-11-01", {"location": location}, *tenant)
    machine = az_server.rest(
        "PUT",
        f"{group}/providers/Microsoft.Compute/virtualMachines/cloudy?api-version=2024-11-01",
        {"location": location, "identity": {"type": "SystemAssigned"}},
        *tenant,
    )
    az = az_on("cloudy", tenant=domain)
    if cloud == "AzureGermanCloud":  # az forgot it in 2021
        az(f"cloud register -n {cloud} --endpoint-resource-manager {manager}")
    az(f"cloud set -n {cloud}")
    return az, operator, machine, location, vault


def test_a_day_in_the_cloud(there, az_on):
    az, operator, machine, location, vault = there
    assert az("cloud show")["isActive"] is True
    shown = az(
        f"login --service-principal -u {operator['client_id']} -p {operator['client_secret']}"
        f" --tenant {operator['tenant_id']}"
    )
    assert [one["cloudName"] for one in shown] == [operator["cloud"]]
    az(f"group create -n cloudy-group -l {location}")
    identity = az("identity create -g cloudy-group -n cloudy-identity")
    assert identity["location"] == location
    assigned = az(f"vm identity assign -g machines -n cloudy --identities {identity['id']}")
    assert assigned["systemAssignedIdentity"] == machine["identity"]["principalId"]
    made = az(f"keyvault create -g cloudy-group -n cloudy-{location} -l {location}")
    assert made["properties"]["vaultUri"] == f"https://cloudy-{location}.{vault}/"
    scope = made["id"]
    principals = [
        (operator["object_id"], "Key Vault Secrets Officer"),
        (identity["principalId"], "Key Vault Secrets User"),
        (identity["principalId"], "Reader"),
    ]
    for principal, role in principals:
        az(
            f"role assignment create --assignee-object-id {principal} --assignee-principal-type ServicePrincipal"
            f" --role '{role}' --scope {scope}"
        )
    secret = f"--vault-name cloudy-{location} -n word"
    az(f"keyvault secret set {secret} --value there")
    az("logout")
    az(f"login --identity --client-id {identity['clientId']}")
    assert az(f"keyvault secret show {secret}")["value"] == "there"
    assert "Forbidden" in az.fails(f"keyvault secret set {secret} --value other")
    az("logout")
    assert "No access" in az.fails("login --identity") or "No subscriptions found" in az.fails("login --identity")
    az("login --identity --allow-no-subscriptions")
    assert "Forbidden" in az.fails(f"keyvault secret show --id https://cloudy-{location}.{vault}/secrets/word")
