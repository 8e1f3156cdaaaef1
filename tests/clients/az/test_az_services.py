"""The services that take identities, as az manages them: storage, SQL, Event Hubs, Service Bus."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
GROUP = "az-services"


@pytest.fixture(scope="module")
def here(az):
    az(f"group create -n {GROUP} -l westeurope")
    return f"-g {GROUP}"


def test_storage(az, here):
    assert az("storage account check-name -n azstorageone")["nameAvailable"] is True
    made = az(f"storage account create {here} -n azstorageone -l westeurope --sku Standard_LRS")
    assert made["primaryEndpoints"]["blob"] == "https://azstorageone.blob.core.windows.net/"
    assert az("storage account check-name -n azstorageone")["reason"] == "AlreadyExists"
    titles, rows = az.table(f"storage account list {here}")
    assert titles[-1] == "StatusOfPrimary"
    assert {"Name", "Kind", "Location", "ResourceGroup", "PrimaryLocation", "ProvisioningState"} <= set(titles)
    assert len(rows) == 1
    keys = az(f"storage account keys list {here} -n azstorageone")
    assert [key["keyName"] for key in keys] == ["key1", "key2"]
    renewed = az(f"storage account keys renew {here} -n azstorageone --key primary")
    assert renewed[0]["value"] != keys[0]["value"]
    assert renewed[1]["value"] == keys[1]["value"]
    string = az(f"storage account show-connection-string {here} -n azstorageone")["connectionString"]
    assert "EndpointSuffix=core.windows.net" in string
    assert renewed[0]["value"] in string
    updated = az(f"storage account update {here} -n azstorageone --assign-identity --allow-blob-public-access false")
    assert updated["identity"]["type"] == "SystemAssigned"
    assert updated["allowBlobPublicAccess"] is False
    az(f"storage account network-rule add {here} -n azstorageone --ip-address 1.2.3.4")
    rules = az(f"storage account show {here} -n azstorageone")["networkRuleSet"]
    assert (rules["bypass"], rules["defaultAction"]) == ("AzureServices", "Allow")
    listed = az(f"storage account network-rule list {here} -n azstorageone")
    assert [one["ipAddressOrRange"] for one in listed["ipRules"]] == ["1.2.3.4"]
    box = f"--storage-account azstorageone {here}"
    az(f"storage container-rm create {box} -n pictures")
    titles, rows = az.table(f"storage container-rm list {box}")
    assert "Name" in titles
    assert len(rows) == 1
    assert az(f"storage container-rm exists {box} -n pictures")["exists"] is True
    az(f"storage container-rm delete {box} -n pictures -y")
    assert az(f"storage container-rm list {box}") == []
    az(f"storage account delete {here} -n azstorageone -y")
    assert "ResourceNotFound" in az.fails(f"storage account show {here} -n azstorageone")


def test_sql(az, az_server, here):
    operator = az_server.operator()
    az(f"sql server create {here} -n az-sql-one -l westeurope -u keeper -p Passw0rd!long")
    server = f"{here} -s az-sql-one"
    made = az(f"sql server ad-admin create {server} -u Keepers -i {operator['object_id']}")
    assert made["login"] == "Keepers"
    assert made["sid"] == operator["object_id"]
    assert [one["login"] for one in az(f"sql server ad-admin list {server}")] == ["Keepers"]
    changed = az(f"sql server ad-admin update {server} -u Others -i {operator['object_id']}")
    assert changed["login"] == "Others"
    az(f"sql server ad-only-auth enable {here} -n az-sql-one")
    assert az(f"sql server ad-only-auth get {here} -n az-sql-one")["azureAdOnlyAuthentication"] is True
    az(f"sql server ad-only-auth disable {here} -n az-sql-one")
    az(f"sql server ad-admin delete {server}")
    assert az(f"sql server ad-admin list {server}") == []
    az(f"sql server firewall-rule create {server} -n all --start-ip-address 0.0.0.0 --end-ip-address 0.0.0.0")
    assert [one["name"] for one in az(f"sql server firewall-rule list {server}")] == ["all"]
    az(f"sql server firewall-rule delete {server} -n all")
    az(f"sql db create {server} -n shop")
    titles, rows = az.table(f"sql db list {server}")
    assert titles == ["Name", "Tier", "Family", "Capacity", "MaxSize", "ElasticPool"]
    assert sorted(row.split()[0] for row in rows) == ["master", "shop"]
    az(f"sql db delete {server} -n shop -y")
    shown = az(f"sql server update {here} -n az-sql-one -i --identity-type SystemAssigned")
    assert shown["identity"]["type"] == "SystemAssigned"
    az(f"sql server delete {here} -n az-sql-one -y")
    assert az(f"sql server list {here}") == []


def test_event_hubs(az, here):
    assert az("eventhubs namespace exists --name az-events-one")["nameAvailable"] is True
    az(f"eventhubs namespace create {here} -n az-events-one -l westeurope")
    space = f"{here} --namespace-name az-events-one"
    hub = az(
        f"eventhubs eventhub create {space} -n clicks --partition-count 2 --cleanup-policy Delete --retention-time 24"
    )
    assert hub["partitionIds"] == ["0", "1"]
    assert [one["name"] for one in az(f"eventhubs eventhub list {space}")] == ["clicks"]
    az(f"eventhubs eventhub consumer-group create {space} --eventhub-name clicks -n readers")
    groups = az(f"eventhubs eventhub consumer-group list {space} --eventhub-name clicks")
    assert sorted(one["name"] for one in groups) == ["$Default", "readers"]
    az(f"eventhubs namespace authorization-rule create {space} --name listens --rights Listen")
    rules = az(f"eventhubs namespace authorization-rule list {space}")
    assert sorted(one["name"] for one in rules) == ["RootManageSharedAccessKey", "listens"]
    keys = az(f"eventhubs namespace authorization-rule keys list {space} --name listens")
    assert keys["primaryConnectionString"].startswith("Endpoint=sb://az-events-one.servicebus.windows.net/")
    assigned = az(f"eventhubs namespace identity assign {space} --system-assigned")
    assert assigned["identity"]["principalId"]
    az(f"eventhubs namespace delete {here} -n az-events-one")
    assert az(f"eventhubs namespace list {here}") == []


def test_service_bus(az, here):
    az(f"servicebus namespace create {here} -n az-bus-one -l westeurope --sku Standard")
    space = f"{here} --namespace-name az-bus-one"
    az(f"servicebus queue create {space} -n orders")
    assert [one["name"] for one in az(f"servicebus queue list {space}")] == ["orders"]
    az(f"servicebus topic create {space} -n news")
    az(f"servicebus topic subscription create {space} --topic-name news -n all")
    rule = f"{space} --topic-name news --subscription-name all"
    az(f"servicebus topic subscription rule create {rule} -n big --filter-sql-expression 'size > 5'")
    assert sorted(one["name"] for one in az(f"servicebus topic subscription rule list {rule}")) == ["$Default", "big"]
    keys = az(f"servicebus namespace authorization-rule keys list {space} --name RootManageSharedAccessKey")
    again = az(
        f"servicebus namespace authorization-rule keys renew {space} --name RootManageSharedAccessKey --key PrimaryKey"
    )
    assert keys["primaryKey"] != again["primaryKey"]
    assert keys["secondaryKey"] == again["secondaryKey"]
    az(f"servicebus queue delete {space} -n orders")
    az(f"servicebus namespace delete {here} -n az-bus-one")
    assert az(f"servicebus namespace list {here}") == []
