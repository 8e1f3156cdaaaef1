"""The rule itself, and what surrounds the cells: PATCH, both kinds at once, slots, and identities that are there."""

from __future__ import annotations

import json

import pytest

from keyfob.clouds.availability import load_availability
from keyfob.errors import InvalidInput
from keyfob.identities.availability import Rules, service_of


@pytest.fixture(scope="module")
def tables():
    return load_availability()


def judge(tables, edition, **asked):
    given = {"cloud": "AzureCloud", "kind": None, "os_type": None, "system": False, "user": False, **asked}
    return Rules(tables, edition).judge(**given)


def test_functions_are_sites_of_a_kind(tables):
    rows = tables.edition("current").hosts
    assert service_of(rows, "microsoft.web/SITES", None) == "app-service"
    assert service_of(rows, "Microsoft.Web/sites", "FunctionApp,linux") == "functions"
    assert service_of(rows, "Microsoft.Web/sites/slots", "functionapp") == "functions"
    assert service_of(rows, "Microsoft.Web/sites", "notfunctionapps") == "app-service"
    assert service_of(rows, "Microsoft.Databricks/workspaces", None) is None


def test_types_without_a_row_are_not_judged(tables):
    assert judge(tables, "2018-11-28", type="Microsoft.Databricks/workspaces", system=True, user=True) == ()


def test_both_kinds_are_refused_when_one_is(tables):
    with pytest.raises(InvalidInput, match="'UserAssigned' is not available for Azure Logic Apps") as refusal:
        judge(tables, "2018-11-28", type="Microsoft.Logic/workflows", system=True, user=True)
    assert refusal.value.code == "IdentityTypeNotSupported"
    assert "use 'SystemAssigned'" in refusal.value.message
    assert "--availability current" in refusal.value.message


def test_each_preview_is_said_once(tables):
    said = judge(
        tables,
        "2019-06-19",
        type="Microsoft.ContainerInstance/containerGroups",
        os_type="Linux",
        system=True,
        user=True,
    )
    assert len(said) == 2
    assert all("Azure Container Instances (Linux)" in sentence for sentence in said)


def test_a_windows_container_group_is_told_of_linux(tables):
    with pytest.raises(InvalidInput, match="another operating system"):
        judge(
            tables,
            "2018-11-28",
            type="Microsoft.ContainerInstance/containerGroups",
            os_type="windows",
            system=True,
        )


def test_germany_gained_nothing_later(tables):
    asked = {"type": "Microsoft.DataFactory/factories", "user": True}
    assert judge(tables, "current", **asked) == ()
    with pytest.raises(InvalidInput, match="AzureGermanCloud"):
        judge(tables, "current", cloud="AzureGermanCloud", **asked)


def test_a_patch_is_judged_as_a_put_is(worlds):
    world = worlds("2018-11-28", "AzureUSGovernment")
    path = f"{world.group}/providers/Microsoft.Web/sites/{world.name()}"
    version = world.version("Microsoft.Web/sites")
    world.made(
        "PUT", path, version, {"location": world.location, "kind": "app", "identity": {"type": "SystemAssigned"}}
    )
    both = {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {world.identity: {}}}
    refused = world.arm("PATCH", path, version, {"identity": both})
    assert refused.status == 400
    assert json.loads(refused.body)["error"]["code"] == "IdentityTypeNotSupported"
    assert world.made("GET", path, version)["identity"]["type"] == "SystemAssigned"
    assert world.arm("PATCH", path, version, {"tags": {"a": "b"}}).status == 200


def test_removing_an_identity_is_never_refused(worlds):
    world = worlds("2018-11-28", "AzureChinaCloud")
    path = f"{world.group}/providers/Microsoft.Logic/workflows/{world.name()}"
    version = world.version("Microsoft.Logic/workflows")
    world.made("PUT", path, version, {"location": world.location, "properties": {"definition": {"actions": {}}}})
    reply = world.arm("PATCH", path, version, {"identity": {"type": "None"}})
    assert reply.status == 200
    assert "Warning" not in dict(reply.headers)
