"""`-o table` has the columns and words that it has on Azure. Tables of other commands are where those are tested."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
GROUP = "az-tables"


@pytest.fixture(scope="module")
def here(az):
    az(f"group create -n {GROUP} -l westeurope")
    return f"-g {GROUP}"


def test_accounts_and_clouds(az, az_server):
    operator = az_server.operator()
    titles, rows = az.table("account list")
    assert titles == ["Name", "CloudName", "SubscriptionId", "TenantId", "State", "IsDefault"]
    assert rows[0].split()[-5:] == ["AzureCloud", operator["subscription_id"], operator["tenant_id"], "Enabled", "True"]
    titles, rows = az.table("account list-locations")
    assert titles == ["DisplayName", "Name", "RegionalDisplayName"]
    assert ["West", "Europe", "westeurope", "West", "Europe"] in [row.split() for row in rows]
    titles, rows = az.table("cloud list")
    assert titles == ["IsActive", "Name", "Profile"]
    assert rows[0].split() == ["True", "AzureCloud", "latest"]


def test_machines(az, here):
    make = f"vm create {here} -n shown --image Ubuntu2204 --admin-username someone --generate-ssh-keys"
    titles, rows = az.table(make)
    assert titles == [
        *("ResourceGroup", "PowerState", "PublicIpAddress", "Fqdns", "PrivateIpAddress", "MacAddress", "Location")
    ]
    address = rows[0].split()[3]
    assert rows[0].startswith(f"{GROUP} ")
    titles, rows = az.table(f"vm show {here} -n shown -d")
    assert titles == ["Name", "ResourceGroup", "PowerState", "PublicIps", "Fqdns", "Location"]
    assert rows[0].split() == ["shown", GROUP, "VM", "running", address, "westeurope"]
    titles, rows = az.table(f"vm list {here}")
    assert titles[:3] == ["Name", "ResourceGroup", "Location"]
    assert [row.split()[:3] for row in rows] == [["shown", GROUP, "westeurope"]]
    titles, rows = az.table(f"vm list-ip-addresses {here} -n shown")
    assert titles == ["VirtualMachine", "PublicIPAddresses", "PrivateIPAddresses"]
    assert rows[0].split()[:2] == ["shown", address]  # az finds them through the interface, which names its machine
    titles, _ = az.table(f"vm identity assign {here} -n shown")
    assert titles == ["SystemAssignedIdentity"]


def test_containers(az, here):
    az(
        f"container create {here} -n shown --image nginx --os-type Linux --cpu 1 --memory 1.5 --ip-address Public"
        " --ports 80"
    )
    titles, rows = az.table(f"container list {here}")
    assert titles == [
        *("Name", "ResourceGroup", "Status", "Image", "IP:ports", "Network", "CPU/Memory", "OsType", "Location")
    ]
    assert rows[0].split()[:2] == ["shown", GROUP]
    assert rows[0].split()[-6:] == ["Public", "1.0", "core/1.5", "gb", "Linux", "westeurope"]


def test_vaults(az, here):
    az(f"keyvault create {here} -n az-tables-vault --enable-rbac-authorization false")
    titles, rows = az.table(f"keyvault list {here}")
    assert titles == ["Location", "Name", "ResourceGroup"]
    assert [row.split() for row in rows] == [["westeurope", "az-tables-vault", GROUP]]
    az("keyvault secret set --vault-name az-tables-vault -n one --value hunter2")
    titles, rows = az.table("keyvault secret list --vault-name az-tables-vault")
    assert titles == ["Name", "Id", "ContentType", "Enabled", "Expires"]
    assert rows[0].split() == ["one", "https://az-tables-vault.vault.azure.net/secrets/one", "True"]


def test_servers_and_stores(az, here):
    az(f"sql server create {here} -n az-tables-sql -l westeurope -u keeper -p Passw0rd!long")
    titles, rows = az.table(f"sql server list {here}")
    assert titles == ["Name", "ResourceGroup", "Location", "AdministratorLogin"]
    assert [row.split() for row in rows] == [["az-tables-sql", GROUP, "westeurope", "keeper"]]
    az(f"storage account create {here} -n aztablesstore -l westeurope --sku Standard_LRS")
    titles, rows = az.table(f"storage account keys list {here} -n aztablesstore")
    assert titles == ["CreationTime", "KeyName", "Permissions", "Value"]
    assert [row.split()[1:3] for row in rows] == [["key1", "FULL"], ["key2", "FULL"]]


def test_the_directory(az):
    appid = az("ad app create --display-name az-shown")["appId"]
    az(f"ad sp create --id {appid}")
    for titles, rows in (
        az.table("ad app list --display-name az-shown"),
        az.table("ad sp list --display-name az-shown"),
    ):
        assert titles == ["DisplayName", "Id", "AppId", "CreatedDateTime"]
        assert (rows[0].split()[0], rows[0].split()[2]) == ("az-shown", appid)


def test_management_groups_and_providers(az, az_server):
    titles, rows = az.table("account management-group list --no-register")
    assert titles == ["DisplayName", "Name", "TenantId"]
    assert az_server.operator()["tenant_id"] in [row.split()[-1] for row in rows]
    titles, rows = az.table("provider show -n Microsoft.ManagedIdentity")
    assert titles == ["Namespace", "RegistrationPolicy", "RegistrationState"]
    assert rows[0].split() == ["Microsoft.ManagedIdentity", "RegistrationRequired", "Registered"]
