"""The same az on the other clouds, under their own names: signing in, groups, identities, roles, secrets, hosts."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
CLOUDS = {
    "AzureUSGovernment": ("usgovvirginia", "https://management.usgovcloudapi.net", "vault.usgovcloudapi.net"),
    "AzureChinaCloud": ("chinaeast2", "https://management.chinacloudapi.cn", "vault.azure.cn"),
    "AzureGermanCloud": ("germanycentral", "https://management.microsoftazure.de", "vault.microsoftazure.de"),
}


HOSTS = {
    "AzureUSGovernment": ("azurewebsites.us", "azure-api.us", "core.usgovcloudapi.net"),
    "AzureChinaCloud": ("chinacloudsites.cn", "azure-api.cn", "core.chinacloudapi.cn"),
    "AzureGermanCloud": ("azurewebsites.de", "", "core.cloudapi.de"),
}
"""What hosts are called there: sites, gateways, storage accounts."""


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


def sign_in(az, operator):
    return az(
        f"login --service-principal -u {operator['client_id']} -p {operator['client_secret']}"
        f" --tenant {operator['tenant_id']}"
    )


def test_a_day_in_the_cloud(there, az_on):
    az, operator, machine, location, vault = there
    assert az("cloud show")["isActive"] is True
    shown = sign_in(az, operator)
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


def test_hosts_in_the_cloud(there):
    az, operator, _, location, _ = there
    sites, gateways, storage = HOSTS[operator["cloud"]]
    name = f"az{location}"
    sign_in(az, operator)
    az(f"group create -n hosts -l {location}")
    user = az("identity create -g hosts -n of-hosts")["id"]
    az("appservice plan create -g hosts -n plan --sku S1")
    site = az(f"webapp create -g hosts -p plan -n {name} --runtime PYTHON:3.12 --assign-identity [system] {user}")
    assert site["defaultHostName"] == f"{name}.{sites}"
    assert site["identity"]["principalId"]
    assert [id.rpartition("/")[2] for id in site["identity"]["userAssignedIdentities"]] == ["of-hosts"]
    account = az(f"storage account create -g hosts -n {name} -l {location} --sku Standard_LRS")
    assert account["primaryEndpoints"]["blob"] == f"https://{name}.blob.{storage}/"
    az(
        f"functionapp create -g hosts -n {name}fun --storage-account {name} --consumption-plan-location {location}"
        " --runtime python --functions-version 4 --os-type linux --disable-app-insights"
    )
    settings = {s["name"]: s["value"] for s in az(f"functionapp config appsettings list -g hosts -n {name}fun")}
    assert f"EndpointSuffix={storage}" in settings["AzureWebJobsStorage"]
    assert az(f"functionapp identity assign -g hosts -n {name}fun")["principalId"]
    az("vmss create -g hosts -n set --image Ubuntu2204 --admin-username someone --generate-ssh-keys --instance-count 1")
    assert az("vmss identity assign -g hosts -n set")["systemAssignedIdentity"]
    gateway = (
        f"apim create -g hosts -n {name} --publisher-email a@example.com --publisher-name A --enable-managed-identity"
    )
    box = "container create -g hosts -n box --image nginx --os-type Linux --cpu 1 --memory 1 --assign-identity [system]"
    if operator["cloud"] == "AzureGermanCloud":  # offered no identities of these two as long as it was there
        assert "IdentityTypeNotSupported" in az.fails(gateway)
        assert "IdentityTypeNotSupported" in az.fails(box)
    else:
        made = az(gateway)
        assert made["gatewayUrl"] == f"https://{name}.{gateways}"
        assert made["identity"]["principalId"]
        assert az(box)["identity"]["principalId"]
    az("group delete -n hosts --yes")
    assert az("group exists -n hosts") is False
