"""Microsoft.ManagedIdentity: user-assigned identities, federated credentials, `identities/default`."""

from __future__ import annotations

from typing import Any

import pytest

from keyfob.directory.applications import list_federated_credentials
from keyfob.directory.model import ServicePrincipal
from keyfob.directory.principals import get_principal

S = "bbbbbbbb-0000-4000-8000-000000000001"
TENANT = "aaaaaaaa-0000-4000-8000-000000000001"
GROUP = f"/subscriptions/{S}/resourceGroups/g"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/vm1"
U1 = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/uami1"
ISSUER = {"issuer": "https://issuer.example/x", "subject": "system:sa:a:b", "audiences": ["api://AzureADTokenExchange"]}


async def test_created_updated_tagged_deleted(manager: Any) -> None:
    answer = await manager.send("PUT", U1, {"location": "westeurope", "tags": {"a": "1"}})
    assert answer.status == 201
    assert answer.json["type"] == "Microsoft.ManagedIdentity/userAssignedIdentities"
    properties = answer.json["properties"]
    assert properties["tenantId"] == TENANT
    assert "provisioningState" not in properties
    born = await get_principal(manager.store, TENANT, properties["principalId"])
    assert isinstance(born, ServicePrincipal)
    assert (born.kind, born.app_id, born.display_name) == ("ManagedIdentity", properties["clientId"], "uami1")
    assert born.alternative_names == ("isExplicit=True", U1)
    mine = {"location": "westeurope", "properties": {"principalId": "00000000-0000-0000-0000-000000000000"}}
    again = await manager.send("PUT", U1, mine)
    assert again.status == 200
    assert again.json["properties"]["principalId"] == properties["principalId"]
    patched = await manager.send("PATCH", f"{U1}?api-version=2023-01-31", {"tags": {"b": "2"}})
    assert (patched.status, patched.json["tags"]) == (200, {"b": "2"})
    assert patched.json["systemData"]["createdByType"] == "Application"
    for scope in (GROUP, f"/subscriptions/{S}"):
        listed = await manager.send("GET", f"{scope}/providers/Microsoft.ManagedIdentity/userAssignedIdentities")
        assert [row["name"] for row in listed.json["value"]] == ["uami1"]
    assert (await manager.send("DELETE", U1)).status == 200
    assert await get_principal(manager.store, TENANT, properties["principalId"]) is None
    assert (await manager.send("DELETE", U1)).status == 204


@pytest.mark.parametrize(
    ("version", "has_url"),
    [("2015-08-31-PREVIEW", True), ("2018-11-30", True), ("2023-01-31", False), ("2025-05-31-preview", False)],
)
async def test_the_secret_url_is_of_the_early_versions(manager: Any, version: str, has_url: bool) -> None:
    answer = await manager.send("PUT", f"{U1}?api-version={version}", {"location": "westeurope"})
    assert answer.status == 201
    properties = answer.json["properties"]
    assert ("clientSecretUrl" in properties) is has_url
    if has_url:
        url = properties["clientSecretUrl"]
        assert url.startswith(f"https://control-westeurope.identity.azure.net{U1}/credentials?tid={TENANT}&oid=")


async def test_isolation_scope(manager: Any) -> None:
    new = f"{U1}?api-version=2024-11-30"
    answer = await manager.send("PUT", new, {"location": "westeurope", "properties": {"isolationScope": "Regional"}})
    assert answer.json["properties"]["isolationScope"] == "Regional"
    assert "isolationScope" not in (await manager.send("GET", U1)).json["properties"]
    bad = await manager.send("PUT", new, {"location": "westeurope", "properties": {"isolationScope": "Global"}})
    assert bad.status == 400


@pytest.mark.parametrize("name", ["ab", "-abc", "a.b.c", "x" * 129])
async def test_names(manager: Any, name: str) -> None:
    answer = await manager.send("PUT", U1[:-5] + name, {"location": "westeurope"})
    assert (answer.status, answer.code) == (400, "InvalidResourceName")


# --- identities/default


@pytest.mark.parametrize(
    "spelling",
    [
        "/providers/Microsoft.ManagedIdentity/identities/default?api-version=2018-11-30",
        "/providers/Microsoft.ManagedIdentity/Identities/default?api-version=2015-08-31-PREVIEW",
    ],
)
async def test_the_system_identity_of_any_resource(manager: Any, spelling: str) -> None:
    made = await manager.machine(identity={"type": "SystemAssigned"})
    answer = await manager.send("GET", VM + spelling)
    assert answer.status == 200
    assert answer.json["id"] == f"{VM}/providers/Microsoft.ManagedIdentity/Identities/default"
    assert answer.json["name"] == "default"
    assert answer.json["type"] == "Microsoft.ManagedIdentity/Identities"
    properties = answer.json["properties"]
    assert properties["principalId"] == made.json["identity"]["principalId"]
    found = await get_principal(manager.store, TENANT, properties["principalId"])
    assert isinstance(found, ServicePrincipal)
    assert properties["clientId"] == found.app_id
    refused = await manager.send("GET", VM + spelling, who="nobody")
    assert (refused.status, refused.code) == (403, "AuthorizationFailed")
    assert f"'Microsoft.ManagedIdentity/identities/read' over scope '{VM}'" in refused.message


async def test_without_a_system_identity_there_is_no_default(manager: Any) -> None:
    path = f"{VM}/providers/Microsoft.ManagedIdentity/identities/default"
    assert (await manager.send("GET", path)).code == "ResourceNotFound"
    await manager.machine()
    assert (await manager.send("GET", path)).code == "ResourceNotFound"
    assert (await manager.send("PUT", path, {})).status == 405


async def test_operations_are_listed(manager: Any) -> None:
    path = "/providers/Microsoft.ManagedIdentity/operations"
    answer = await manager.send("GET", path, who="nobody")
    names = [row["name"] for row in answer.json["value"]]
    assert "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action" in names
    assert (await manager.send("GET", path, who=None)).status == 401


# --- listAssociatedResources


async def test_where_an_identity_is_attached(manager: Any) -> None:
    await manager.identity("uami1")
    block = {"type": "UserAssigned", "userAssignedIdentities": {U1.lower(): {}}}
    for name in ("vm1", "vm2", "vm3"):
        await manager.machine(name, identity=block)
    await manager.machine("other")
    path = f"{U1}/listAssociatedResources?api-version=2022-01-31-preview"
    answer = await manager.send("POST", path)
    assert answer.json["totalCount"] == 3
    assert answer.json["value"][0] == {
        "id": VM,
        "name": "vm1",
        "type": "microsoft.compute/virtualmachines",
        "resourceGroup": "g",
        "subscriptionId": S,
        "subscriptionDisplayName": "Main",
    }

    async def names(query: str) -> list[str]:
        found = await manager.send("POST", path + query)
        assert found.status == 200, found.body
        return [row["name"] for row in found.json["value"]]

    assert await names("&$filter=contains(name, '2')") == ["vm2"]
    assert await names("&$filter=type eq 'microsoft.web/sites'") == []
    assert await names("&$orderby=name desc") == ["vm3", "vm2", "vm1"]
    assert await names("&$top=1&$skip=1") == ["vm2"]
    first = await manager.send("POST", path + "&$top=2")
    assert [row["name"] for row in first.json["value"]] == ["vm1", "vm2"]
    rest = await manager.send("POST", first.json["nextLink"])
    assert [row["name"] for row in rest.json["value"]] == ["vm3"]
    assert "nextLink" not in rest.json
    for bad in ("&$top=x", "&$orderby=color", "&$filter=color eq 'x'"):
        assert (await manager.send("POST", path + bad)).status == 400
    assert (await manager.send("POST", path, who="nobody")).status == 403


# --- federated credentials


async def test_federated_credentials(manager: Any) -> None:
    one = f"{U1}/federatedIdentityCredentials/f1-x"
    assert (await manager.send("PUT", one, {"properties": ISSUER})).code == "ParentResourceNotFound"
    await manager.identity("uami1")
    owner = (await manager.send("GET", U1)).json["properties"]["principalId"]
    made = await manager.send("PUT", one, {"properties": ISSUER})
    assert made.status == 201
    assert made.json["properties"] == ISSUER
    assert "location" not in made.json
    stored = await list_federated_credentials(manager.store, TENANT, owner)
    assert [(f.name, f.issuer, f.subject, f.audiences) for f in stored] == [
        ("f1-x", ISSUER["issuer"], ISSUER["subject"], ("api://AzureADTokenExchange",))
    ]
    changed = await manager.send("PUT", one.replace("f1-x", "F1-X"), {"properties": ISSUER | {"subject": "other"}})
    assert (changed.status, changed.json["name"]) == (200, "f1-x")
    assert [f.subject for f in await list_federated_credentials(manager.store, TENANT, owner)] == ["other"]
    twin = await manager.send("PUT", one.replace("f1-x", "twin"), {"properties": ISSUER | {"subject": "other"}})
    assert twin.status == 409
    listed = await manager.send("GET", f"{U1}/federatedIdentityCredentials")
    assert [row["name"] for row in listed.json["value"]] == ["f1-x"]
    assert (await manager.send("DELETE", one)).status == 200
    assert await list_federated_credentials(manager.store, TENANT, owner) == []
    assert (await manager.send("DELETE", one)).status == 204


async def test_they_go_with_the_identity(manager: Any) -> None:
    await manager.identity("uami1")
    owner = (await manager.send("GET", U1)).json["properties"]["principalId"]
    await manager.send("PUT", f"{U1}/federatedIdentityCredentials/f1-x", {"properties": ISSUER})
    await manager.send("DELETE", U1)
    assert await list_federated_credentials(manager.store, TENANT, owner) == []


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "http://issuer.example"},
        {"issuer": "https://["},
        {"issuer": "nonsense"},
        {"issuer": 5},
        {"issuer": None},
        {"subject": ""},
        {"subject": "x" * 601},
        {"audiences": []},
        {"audiences": ["a", "b"]},
        {"audiences": "a"},
        {"audiences": [1]},
    ],
)
async def test_credentials_that_are_refused(manager: Any, change: dict[str, Any]) -> None:
    await manager.identity("uami1")
    answer = await manager.send("PUT", f"{U1}/federatedIdentityCredentials/f1-x", {"properties": ISSUER | change})
    assert answer.status == 400
    assert (await manager.send("GET", f"{U1}/federatedIdentityCredentials")).json["value"] == []


async def test_names_and_numbers_of_credentials(manager: Any) -> None:
    await manager.identity("uami1")
    base = f"{U1}/federatedIdentityCredentials"
    for name in ("ab", "-abc", "a.b.c"):
        assert (await manager.send("PUT", f"{base}/{name}", {"properties": ISSUER})).code == "InvalidResourceName"
    for number in range(20):
        body = {"properties": ISSUER | {"subject": str(number)}}
        assert (await manager.send("PUT", f"{base}/f-{number}", body)).status == 201
    assert (await manager.send("PUT", f"{base}/f-20", {"properties": ISSUER | {"subject": "20"}})).status == 400
