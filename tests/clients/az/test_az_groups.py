"""Resource groups, resources whatever their type, providers, and `az rest`."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"


def test_groups(az):
    made = az("group create -n az-groups -l westeurope --tags team=one")
    assert made["properties"]["provisioningState"] == "Succeeded"
    assert made["tags"] == {"team": "one"}
    titles, rows = az.table("group list --tag team=one")
    assert titles == ["Name", "Location", "Status"]
    assert [row.split() for row in rows] == [["az-groups", "westeurope", "Succeeded"]]
    assert az("group exists -n az-groups") is True
    assert az("group update -n az-groups --set tags.team=two")["tags"] == {"team": "two"}
    assert az("group show -n az-groups")["tags"] == {"team": "two"}
    az("identity create -g az-groups -n goes-with-it")
    az("group delete -n az-groups --yes")
    assert az("group exists -n az-groups") is False
    az("group create -n az-groups -l westeurope")
    az("group wait -n az-groups --created")
    assert az("resource list -g az-groups") == []
    az("group delete -n az-groups --yes --no-wait")
    az("group wait -n az-groups --deleted")


def test_resources_of_any_type(az):
    az("group create -n az-resources -l westeurope")
    made = az(f"resource create -g az-resources -n one-of-any --resource-type {IDENTITY} --properties {{}}")
    assert made["type"] == IDENTITY
    shown = az(f"resource show -g az-resources -n one-of-any --resource-type {IDENTITY}")
    assert shown["id"] == made["id"]
    assert az(f"resource tag --ids {made['id']} --tags k=v")["tags"] == {"k": "v"}
    assert az(f"resource update --ids {made['id']} --set tags.more=1")["tags"] == {"k": "v", "more": "1"}
    titles, rows = az.table("resource list --tag k=v")
    assert titles == ["Name", "ResourceGroup", "Location", "Type", "Status"]
    assert [row.split()[:4] for row in rows] == [["one-of-any", "az-resources", "westeurope", IDENTITY]]
    assert [r["name"] for r in az(f"resource list --resource-type {IDENTITY} -g az-resources")] == ["one-of-any"]
    az(f"resource delete --ids {made['id']}")
    assert "ResourceNotFound" in az.fails(f"resource show --ids {made['id']}")


def test_providers(az):
    titles, rows = az.table("provider list")
    assert titles == ["Namespace", "RegistrationPolicy", "RegistrationState"]
    assert any(row.startswith("Microsoft.ManagedIdentity ") for row in rows)
    shown = az("provider show -n Microsoft.ManagedIdentity")
    types = {t["resourceType"]: t for t in shown["resourceTypes"]}
    assert "2018-11-30" in types["userAssignedIdentities"]["apiVersions"]
    az("provider register -n Microsoft.KeyVault --wait")
    assert az("provider show -n Microsoft.KeyVault")["registrationState"] == "Registered"
    operations = az("provider operation show --namespace Microsoft.ManagedIdentity")
    names = {o["name"] for t in operations["resourceTypes"] for o in t["operations"]}
    assert "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action" in names


def test_rest(az, az_server):
    subscription = az_server.operator()["subscription_id"]
    listed = az("rest --url /subscriptions?api-version=2022-12-01")
    assert [one["subscriptionId"] for one in listed["value"]] == [subscription]
    az("group create -n az-rest -l westeurope")
    url = (
        f"https://management.azure.com/subscriptions/{subscription}/resourceGroups/az-rest/providers/{IDENTITY}/by-rest"
    )
    made = az(f'rest --method put --url {url}?api-version=2023-01-31 --body \'{{"location":"westeurope"}}\'')
    assert made["properties"]["principalId"]
    az(f"rest --method delete --url {url}?api-version=2023-01-31")
    assert "ResourceNotFound" in az.fails(f"rest --url {url}?api-version=2023-01-31")
    assert "InvalidApiVersionParameter" in az.fails("rest --url /subscriptions?api-version=nonsense")
