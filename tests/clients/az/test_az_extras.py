"""Locks, tags, features and previews, management groups, the activity log, extensions."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"


def test_locks(az):
    az("group create -n az-locks -l westeurope")
    az("identity create -g az-locks -n locked-in")
    az("lock create -n keep -g az-locks --lock-type CanNotDelete --notes 'not now'")
    titles, rows = az.table("lock list -g az-locks")
    assert titles == ["Level", "Name", "Notes", "ResourceGroup"]
    assert [row.split() for row in rows] == [["CanNotDelete", "keep", "not", "now", "az-locks"]]
    assert "(ScopeLocked)" in az.fails("identity delete -g az-locks -n locked-in")
    assert "(ScopeLocked)" in az.fails("group delete -n az-locks --yes")
    az("identity create -g az-locks -n still-possible")
    assert az("lock update -n keep -g az-locks --lock-type ReadOnly")["level"] == "ReadOnly"
    assert "(ScopeLocked)" in az.fails("identity create -g az-locks -n not-possible")
    assert az("lock show -n keep -g az-locks")["notes"] == "not now"
    az("lock delete -n keep -g az-locks")
    one = f"-g az-locks --resource locked-in --resource-type {IDENTITY}"
    az(f"lock create -n one {one} --lock-type CanNotDelete")
    assert [lock["name"] for lock in az(f"lock list {one}")] == ["one"]
    az(f"lock delete -n one {one}")
    az("group lock create -g az-locks -n two --lock-type CanNotDelete")
    assert [lock["name"] for lock in az("group lock list -g az-locks")] == ["two"]
    az("group lock delete -g az-locks -n two")
    az("identity delete -g az-locks -n locked-in")
    az("group delete -n az-locks --yes")


def test_tags(az):
    scope = az("group create -n az-tags -l westeurope")["id"]
    assert az(f"tag create --resource-id {scope} --tags a=b")["properties"]["tags"] == {"a": "b"}
    merged = az(f"tag update --resource-id {scope} --operation Merge --tags c=d")
    assert merged["properties"]["tags"] == {"a": "b", "c": "d"}
    without = az(f"tag update --resource-id {scope} --operation Delete --tags a=b")
    assert without["properties"]["tags"] == {"c": "d"}
    assert az(f"tag update --resource-id {scope} --operation Replace --tags e=f")["properties"]["tags"] == {"e": "f"}
    assert az("group show -n az-tags")["tags"] == {"e": "f"}
    assert az(f"tag list --resource-id {scope}")["properties"]["tags"] == {"e": "f"}
    az(f"tag delete --resource-id {scope} -y")
    assert not az("group show -n az-tags")["tags"]
    az("tag create -n az-made")
    az("tag add-value -n az-made --value one")
    made = next(tag for tag in az("tag list") if tag["tagName"] == "az-made")
    assert [value["tagValue"] for value in made["values"]] == ["one"]
    az("tag remove-value -n az-made --value one")
    az("tag delete -n az-made -y")
    assert "az-made" not in [tag["tagName"] for tag in az("tag list")]


def test_features(az):
    titles, rows = az.table("feature list --namespace Microsoft.Compute")
    assert titles == ["Name", "RegistrationState"]
    name = rows[0].split()[0].partition("/")[2]
    one = f"--namespace Microsoft.Compute -n {name}"
    assert az(f"feature register {one}")["properties"]["state"] in ("Registered", "Registering")
    assert az(f"feature show {one}")["properties"]["state"] == "Registered"
    az(f"feature unregister {one}")
    assert az(f"feature show {one}")["properties"]["state"] != "Registered"


CONTAINERS = {
    "type": "Microsoft.ContainerInstance/containerGroups",
    "apiVersion": "2023-05-01",
    "name": "preview",
    "location": "westeurope",
    "identity": {"type": "SystemAssigned"},
    "properties": {
        "osType": "Linux",
        "containers": [
            {"name": "one", "properties": {"image": "nginx", "resources": {"requests": {"cpu": 1, "memoryInGB": 1}}}}
        ],
    },
}
"""Linux container groups with an identity are the preview that AzureCloud has in the current edition."""


def test_a_preview_says_so(az, tmp_path):
    """az shows no `Warning` header by itself: only with `--debug` and, by `az rest`, `--verbose`. What it does show is
    the message of a deployment's operation."""
    group = az("group create -n az-previews -l westeurope")["id"]
    file = tmp_path / "template.json"
    schema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
    file.write_text(json.dumps({"$schema": schema, "contentVersion": "1.0.0.0", "resources": [CONTAINERS]}))
    az(f"deployment group create -g az-previews -n one --template-file {file}")
    operations = az("deployment operation group list -g az-previews -n one")
    told = [one["properties"]["statusMessage"] for one in operations if one["properties"]["statusMessage"]]
    assert len(told) == 1
    assert "'SystemAssigned' is in preview for Azure Container Instances" in told[0]["warnings"][0]
    body = {name: value for name, value in CONTAINERS.items() if name not in ("type", "name", "apiVersion")}
    url = f"{group}/providers/Microsoft.ContainerInstance/containerGroups/preview?api-version=2023-05-01"
    for identity, said in ((CONTAINERS["identity"], True), ({"type": "None"}, False)):
        wanted = json.dumps({**body, "identity": identity})
        done = az.run(f"rest --method put --url {url} --body '{wanted}' --verbose")
        assert done["code"] == 0, done["err"]
        assert ("'Warning': '299 - " in done["err"]) is said


def test_management_groups(az, az_server):
    """Without `--no-register` each of these commands sleeps ten seconds, on Azure too, before it looks whether
    Microsoft.Management is registered: one of them does so here."""
    subscription, once = az_server.operator()["subscription_id"], "--no-register"
    made = az("account management-group create -n az-managed -d Managed")
    assert made["displayName"] == "Managed"
    az(f"account management-group create -n az-below --parent az-managed {once}")
    az(f"account management-group subscription add -n az-below -s {subscription}")
    try:
        shown = az(f"account management-group show -n az-managed -e -r {once}")
        below = shown["children"][0]
        assert below["name"] == "az-below"
        assert [child["name"] for child in below["children"]] == [subscription]
        assert "ManagementGroupHasChildren" in az.fails(f"account management-group delete -n az-below {once}")
    finally:
        az(f"account management-group subscription remove -n az-below -s {subscription}")
    az(f"account management-group delete -n az-below {once}")
    az(f"account management-group delete -n az-managed {once}")
    listed = {one["name"] for one in az(f"account management-group list {once}")}
    assert not {"az-managed", "az-below"} & listed


def test_extensions_are_not_downloaded(az):
    """`az logic` and `az datafactory` are wheels that an index at aka.ms names: nothing in a sandbox leads there."""
    assert "Unable to get extension index" in az.fails("extension add --name logic")
    assert "make sure the corresponding extension is installed" in az.fails("logic workflow list")


def test_the_activity_log(az, az_server):
    az("group create -n az-activity -l westeurope")
    az("identity create -g az-activity -n was-made")
    found = az("monitor activity-log list -g az-activity --offset 1h")
    names = {one["operationName"]["value"] for one in found}
    assert "Microsoft.ManagedIdentity/userAssignedIdentities/write" in names
    assert az_server.operator()["client_id"] in {one["caller"] for one in found} | {
        (one.get("claims") or {}).get("appid") for one in found
    }
