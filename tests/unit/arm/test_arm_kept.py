"""Types that nobody declares, and the line between them and what does not exist."""

from __future__ import annotations

from typing import Any

import pytest

from keyfob.arm.kept import is_kept

S = "bbbbbbbb-0000-4000-8000-000000000001"
GROUP = f"/subscriptions/{S}/resourceGroups/g"
WORKSPACE = f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/w"
V = "?api-version=2031-01-01-preview"
BODY = {
    "location": "West Europe",
    "tags": {"a": "b"},
    "sku": {"name": "x"},
    "zebra": [1],
    "properties": {"deep": {"er": [None, 1.5]}, "provisioningState": "Nonsense"},
}


async def test_an_undeclared_type_is_kept_whole(manager: Any) -> None:
    made = await manager.send("PUT", WORKSPACE + V, BODY)
    assert made.status == 201
    shown = (await manager.send("GET", WORKSPACE.lower() + V)).json
    assert shown["id"] == WORKSPACE
    assert shown["type"] == "Microsoft.OperationalInsights/workspaces"
    assert (shown["location"], shown["tags"], shown["zebra"]) == ("westeurope", {"a": "b"}, [1])
    assert shown["properties"] == {"deep": {"er": [None, 1.5]}, "provisioningState": "Succeeded"}
    listed = (await manager.send("GET", f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces{V}")).json
    assert [row["name"] for row in listed["value"]] == ["w"]
    patched = await manager.send("PATCH", WORKSPACE + V, {"tags": {"c": "d"}, "properties": {"deep": None}})
    assert (patched.status, patched.json["tags"]) == (200, {"a": "b", "c": "d"})
    assert patched.json["location"] == "westeurope"
    assert (await manager.send("DELETE", WORKSPACE + V)).status == 200
    assert (await manager.send("GET", WORKSPACE + V)).code == "ResourceNotFound"


async def test_children_need_their_parent_and_extensions_what_they_extend(manager: Any) -> None:
    child, extension = f"{WORKSPACE}/tables/t{V}", f"{WORKSPACE}/providers/Microsoft.Insights/diagnosticSettings/d{V}"
    for path in (child, extension):
        assert (await manager.send("PUT", path, {"properties": {}})).code == "ParentResourceNotFound"
    await manager.send("PUT", WORKSPACE + V, BODY)
    for path in (child, extension):
        made = await manager.send("PUT", path, {"properties": {"x": 1}})
        assert made.status == 201, made.body
        assert "location" not in made.json
    assert [r["name"] for r in (await manager.send("GET", f"{WORKSPACE}/tables{V}")).json["value"]] == ["t"]
    await manager.send("DELETE", WORKSPACE + V)
    assert (await manager.send("GET", child)).status == 404


async def test_it_has_identities_and_wants_roles(manager: Any) -> None:
    user = await manager.identity("user-1")
    both = {"type": "systemassigned,userassigned", "userAssignedIdentities": {user: {}}}
    assert (await manager.send("PUT", WORKSPACE + V, BODY | {"identity": both}, who="reader")).status == 403
    made = await manager.send("PUT", WORKSPACE + V, BODY | {"identity": both})
    assert made.json["identity"]["principalId"]
    assert [*made.json["identity"]["userAssignedIdentities"]] == [user]
    assert (await manager.send("GET", WORKSPACE + V, who="nobody")).code == "AuthorizationFailed"
    gone = await manager.send("PATCH", WORKSPACE + V, {"identity": {"type": "None"}})
    assert "identity" not in gone.json


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"{GROUP}/providers/Microsoft.Compute/toasters/t", "InvalidResourceType"),
        (f"{GROUP}/providers/Contoso.Things/boxes/b", "InvalidResourceNamespace"),
        (f"{GROUP}/providers/Microsoft.Resources/deploymentScripts/s", "InvalidResourceNamespace"),
        (f"{GROUP}/providers/Microsoft.Authorization/policyAssignments/p", "InvalidResourceNamespace"),
        ("/providers/Microsoft.Insights/components/c", "InvalidResourceType"),
    ],
)
async def test_what_is_not_kept(manager: Any, path: str, code: str) -> None:
    answer = await manager.send("PUT", path + V, BODY)
    assert (answer.status, answer.code) == (404, code)


async def test_a_malformed_version_is_refused(manager: Any) -> None:
    assert (await manager.send("PUT", f"{WORKSPACE}?api-version=soon", BODY)).code == "InvalidApiVersionParameter"


async def test_a_kept_namespace_can_be_registered_and_asked_for_versions(manager: Any) -> None:
    done = await manager.send("POST", f"/subscriptions/{S}/providers/Microsoft.Insights/register")
    assert done.json["registrationState"] == "Registered"
    shown = (await manager.send("GET", f"/subscriptions/{S}/providers/microsoft.insights")).json
    assert shown["namespace"] == "Microsoft.Insights"
    assert all(row["apiVersions"] and row["locations"] for row in shown["resourceTypes"])
    await manager.send("POST", f"/subscriptions/{S}/providers/Microsoft.Insights/unregister")
    path = f"{GROUP}/providers/Microsoft.Insights/components/c{V}"
    assert (await manager.send("PUT", path, BODY)).code == "MissingSubscriptionRegistration"


def test_which_types_of_declared_namespaces_are_kept() -> None:
    assert is_kept("microsoft.compute", "Disks")
    assert is_kept("Microsoft.Compute", "galleries/images/versions")
    assert is_kept("Microsoft.Web", "sites/deployments")
    assert not is_kept("Microsoft.Web", "sites")
    assert not is_kept("Microsoft.Compute", "disksomething")
    assert not is_kept("Microsoft.Compute", "virtualMachines")
    assert not is_kept("Microsoft.KeyVault", "vaults/keys")
