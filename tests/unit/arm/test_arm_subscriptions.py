"""What stands above resources: clouds, tenants, subscriptions, locations, groups, providers."""

from __future__ import annotations

from typing import Any

import pytest

from keyfob.arm.locations import display_name
from keyfob.arm.subscriptions import ensure_subscription
from keyfob.clouds.metadata import metadata_endpoints
from keyfob.clouds.table import load_clouds

S = "bbbbbbbb-0000-4000-8000-000000000001"
EMPTY = "bbbbbbbb-0000-4000-8000-000000000002"
TENANT = "aaaaaaaa-0000-4000-8000-000000000001"
GROUP = f"/subscriptions/{S}/resourceGroups/g"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"


# --- metadata


async def test_metadata_is_public_and_follows_the_version(manager: Any) -> None:
    one = await manager.send("GET", "//metadata/endpoints?api-version=2022-09-01", who=None)
    assert one.status == 200
    assert one.json["name"] == "AzureCloud"
    assert one.json["authentication"] == {
        "loginEndpoint": "https://login.microsoftonline.com",
        "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
        "tenant": "common",
        "identityProvider": "AAD",
    }
    assert one.json["suffixes"]["keyVaultDns"] == "vault.azure.net"
    assert one.json["ossrdbmsResourceId"] == one.json["ossrDbmsResourceId"]
    many = await manager.send("GET", "/metadata/endpoints?api-version=2019-05-01", who=None, cloud="AzureChinaCloud")
    assert [cloud["name"] for cloud in many.json] == [
        "AzureChinaCloud",
        "AzureCloud",
        "AzureUSGovernment",
        "AzureGermanCloud",
    ]
    assert many.json[0]["authentication"]["loginEndpoint"] == "https://login.chinacloudapi.cn/"  # as captured
    early = await manager.send("GET", "/metadata/endpoints?api-version=1.0", who=None)
    assert early.json["authentication"]["audiences"][0] == "https://management.core.windows.net/"
    assert early.json["galleryEndpoint"] == "https://gallery.azure.com/"
    middle = await manager.send("GET", "/metadata/endpoints?api-version=2018-01-01", who=None)
    assert middle.json["cloudEndpoint"]["germanCloud"]["endpoint"] == "management.microsoftazure.de"
    between = await manager.send("GET", "/metadata/endpoints?api-version=2018-05-01", who=None)  # go-autorest
    assert between.json == middle.json
    assert (await manager.send("GET", "/metadata/endpoints?x=1", who=None)).code == "MissingApiVersionParameter"


@pytest.mark.parametrize("name", ["AzureCloud", "AzureUSGovernment", "AzureChinaCloud", "AzureGermanCloud"])
def test_every_cloud_has_what_clients_read(name: str) -> None:
    clouds = load_clouds()
    shown = metadata_endpoints(clouds[name], clouds, "2022-09-01")
    assert shown["authentication"]["audiences"][0].endswith("/")
    assert shown["resourceManager"].startswith("https://management.")
    assert {"storage", "keyVaultDns", "sqlServerHostname"} <= shown["suffixes"].keys()
    assert not any(value.startswith(".") for value in shown["suffixes"].values())


# --- tenants and subscriptions


async def test_the_callers_tenant(manager: Any) -> None:
    rows = (await manager.send("GET", "/tenants", who="nobody")).json["value"]
    assert [(row["tenantId"], row["defaultDomain"]) for row in rows] == [(TENANT, "contoso.onmicrosoft.com")]
    assert (await manager.send("GET", "/tenants", who=None)).status == 401


async def names(manager: Any, who: str, cloud: str = "AzureCloud") -> list[str]:
    answer = await manager.send("GET", "/subscriptions", who=who, cloud=cloud)
    assert answer.status == 200
    return [row["displayName"] for row in answer.json["value"]]


async def test_subscriptions_are_those_the_caller_sees(manager: Any) -> None:
    assert await names(manager, "owner") == ["Main", "Empty"]
    assert await names(manager, "reader") == ["Main"]
    assert await names(manager, "nobody") == []
    assert await names(manager, "stranger") == ["Foreign"]
    await manager.give("nobody", READER, f"/subscriptions/{EMPTY}/resourceGroups/far/providers/A.B/c/deep")
    assert await names(manager, "nobody") == ["Empty"]
    assert (await manager.send("GET", f"/subscriptions/{EMPTY}", who="nobody")).status == 200
    refused = await manager.send("GET", f"/subscriptions/{S}", who="nobody")
    assert (refused.status, refused.code) == (403, "AuthorizationFailed")


async def test_each_cloud_has_its_own(manager: Any) -> None:
    china = manager.clouds["AzureChinaCloud"]
    token = manager.token("owner", audience=china.audiences["resource_manager"][0])
    answer = await manager.send("GET", "/subscriptions", authorization=f"Bearer {token}", cloud="AzureChinaCloud")
    assert [row["displayName"] for row in answer.json["value"]] == ["Chinese"]
    ours = await manager.send("GET", "/subscriptions", cloud="AzureChinaCloud")
    assert (ours.status, ours.code) == (401, "InvalidAuthenticationTokenAudience")


async def test_a_subscription_has_every_member(manager: Any) -> None:
    answer = await manager.send("GET", f"/subscriptions/{S.upper()}")
    assert answer.json == {
        "id": f"/subscriptions/{S}",
        "subscriptionId": S,
        "tenantId": TENANT,
        "displayName": "Main",
        "state": "Enabled",
        "subscriptionPolicies": {
            "locationPlacementId": "Public_2014-09-01",
            "quotaId": "PayAsYouGo_2014-09-01",
            "spendingLimit": "Off",
        },
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
    }


async def test_first_start_may_be_repeated(manager: Any) -> None:
    async with manager.store.transaction() as tx:
        again = await ensure_subscription(
            tx, subscription_id=S.upper(), tenant_id="x", cloud="y", display_name="z", now=1.0
        )
    assert (again.tenant_id, again.display_name) == (TENANT, "Main")


async def test_locations(manager: Any) -> None:
    rows = (await manager.send("GET", f"/subscriptions/{S}/locations")).json["value"]
    assert len(rows) == 56
    found = {row["name"]: row["displayName"] for row in rows}
    assert found["westeurope"] == "West Europe"
    assert (await manager.send("GET", f"/subscriptions/{S}/locations", who="nobody")).status == 403


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("northcentralus", "North Central US"),
        ("eastus2euap", "East US 2 EUAP"),
        ("southeastasia", "Southeast Asia"),
        ("usgovvirginia", "USGov Virginia"),
        ("germanywestcentral", "Germany West Central"),
        ("taiwannorthwest", "Taiwan Northwest"),
        ("uksouth", "UK South"),
        ("chinanorth3", "China North 3"),
        ("moonbase", "Moonbase"),
    ],
)
def test_location_names(name: str, shown: str) -> None:
    assert display_name(name) == shown


def test_every_location_has_a_name_of_words() -> None:
    every = [location for cloud in load_clouds().values() for location in cloud.locations]
    assert [name for name in every if display_name(name).replace(" ", "").lower() != name] == []
    assert [name for name in every if " " not in display_name(name)] == []


# --- groups


async def test_groups(manager: Any) -> None:
    path = f"/subscriptions/{S}/resourcegroups/New.Group_(1)"
    assert (await manager.send("HEAD", path)).status == 404
    made = await manager.send("PUT", path, {"location": "West US", "tags": {"a": "1"}})
    assert made.status == 201
    assert made.json == {
        "id": f"/subscriptions/{S}/resourceGroups/New.Group_(1)",
        "name": "New.Group_(1)",
        "type": "Microsoft.Resources/resourceGroups",
        "location": "westus",
        "tags": {"a": "1"},
        "properties": {"provisioningState": "Succeeded"},
    }
    head = await manager.send("HEAD", path.upper())
    assert (head.status, head.body) == (204, b"")
    assert (await manager.send("PUT", path.lower(), {"location": "westus"})).json["name"] == "New.Group_(1)"
    patched = await manager.send("PATCH", path, {"tags": {"b": "2"}})
    assert (patched.status, patched.json["tags"]) == (200, {"b": "2"})
    assert (await manager.send("PATCH", path, {})).json["tags"] == {"b": "2"}
    moved = await manager.send("PUT", path, {"location": "eastus"})
    assert (moved.status, moved.code) == (409, "InvalidResourceGroupLocation")
    listed = (await manager.send("GET", f"/subscriptions/{S}/resourcegroups")).json["value"]
    assert [row["name"] for row in listed] == ["g", "New.Group_(1)"]
    assert (await manager.send("GET", f"/subscriptions/{S}/resourcegroups", who="nobody")).json["value"] == []
    v = f"/subscriptions/{S}/resourcegroups?api-version=2022-12-01&$filter="
    assert [r["name"] for r in (await manager.send("GET", v + "tagName eq 'b'")).json["value"]] == ["New.Group_(1)"]


@pytest.mark.parametrize(
    ("name", "body", "code"),
    [
        ("x", {}, "LocationRequired"),
        ("x", {"location": "atlantis"}, "LocationNotAvailableForResourceGroup"),
        ("x", b"{", "InvalidRequestContent"),
        ("x.", {"location": "westus"}, "InvalidResourceGroup"),
        ("x!", {"location": "westus"}, "InvalidResourceGroup"),
        ("x" * 91, {"location": "westus"}, "InvalidResourceGroup"),
        ("x", {"location": "westus", "tags": {"<": ""}}, "InvalidTagNameCharacters"),
    ],
)
async def test_groups_that_are_refused(manager: Any, name: str, body: Any, code: str) -> None:
    answer = await manager.send("PUT", f"/subscriptions/{S}/resourceGroups/{name}", body)
    assert (answer.status, answer.code) == (400, code)


async def test_missing_groups(manager: Any) -> None:
    path = f"/subscriptions/{S}/resourceGroups/none"
    for method in ("GET", "PATCH", "DELETE"):
        answer = await manager.send(method, path, {})
        assert (answer.status, answer.code) == (404, "ResourceGroupNotFound")
    assert (await manager.send("GET", f"{path}/resources")).code == "ResourceGroupNotFound"


# --- providers


async def test_providers(manager: Any) -> None:
    listed = (await manager.send("GET", f"/subscriptions/{S}/providers")).json["value"]
    states = {row["namespace"]: row["registrationState"] for row in listed}
    assert (
        states.items()
        >= {
            "Microsoft.Compute": "Registered",
            "Microsoft.ManagedIdentity": "Registered",
            "Microsoft.Network": "Registered",
            "Microsoft.Shelf": "Registered",
            "Microsoft.Web": "NotRegistered",
        }.items()
    )
    one = (await manager.send("GET", f"/subscriptions/{S}/providers/microsoft.managedidentity")).json
    assert one["id"] == f"/subscriptions/{S}/providers/Microsoft.ManagedIdentity"
    types = {row["resourceType"]: row for row in one["resourceTypes"]}
    assert types["userAssignedIdentities"]["apiVersions"][:3] == [
        "2025-05-31-preview",
        "2025-01-31-preview",
        "2024-11-30",
    ]
    assert "West Europe" in types["userAssignedIdentities"]["locations"]
    assert (await manager.send("GET", f"/subscriptions/{S}/providers/A.B")).code == "InvalidResourceNamespace"
    assert (await manager.send("GET", f"/subscriptions/{S}/providers", who="nobody")).status == 403
    tenant_wide = (await manager.send("GET", "/providers/Microsoft.Web", who="nobody")).json
    assert "registrationState" not in tenant_wide
    everywhere = (await manager.send("GET", "/providers")).json["value"]
    names = [row["namespace"] for row in everywhere]
    assert names == sorted(names, key=str.lower)
    assert {"Microsoft.Compute", "Microsoft.ManagedIdentity"} <= {*names}
    kinds = (await manager.send("GET", f"/subscriptions/{S}/providers/Microsoft.Compute/resourceTypes")).json["value"]
    assert {"virtualMachines", "virtualMachines/extensions", "disks"} <= {row["resourceType"] for row in kinds}
