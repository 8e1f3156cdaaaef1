"""Locks, tags, features, management groups, the activity log."""

from __future__ import annotations

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


def test_management_groups(az, az_server):
    subscription = az_server.operator()["subscription_id"]
    assert az("account management-group create -n az-managed -d Managed")["displayName"] == "Managed"
    az("account management-group create -n az-below --parent az-managed")
    az(f"account management-group subscription add -n az-below -s {subscription}")
    shown = az("account management-group show -n az-managed -e -r")
    below = shown["children"][0]
    assert below["name"] == "az-below"
    assert [child["name"] for child in below["children"]] == [subscription]
    az(f"account management-group subscription remove -n az-below -s {subscription}")
    az("account management-group delete -n az-below")
    az("account management-group delete -n az-managed")
    assert "az-managed" not in [one["name"] for one in az("account management-group list")]


def test_the_activity_log(az, az_server):
    az("group create -n az-activity -l westeurope")
    az("identity create -g az-activity -n was-made")
    found = az("monitor activity-log list -g az-activity --offset 1h")
    names = {one["operationName"]["value"] for one in found}
    assert "Microsoft.ManagedIdentity/userAssignedIdentities/write" in names
    assert az_server.operator()["client_id"] in {one["caller"] for one in found} | {
        (one.get("claims") or {}).get("appid") for one in found
    }
