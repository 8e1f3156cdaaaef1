"""Vaults through Resource Manager: what is taken, names, deleting and recovering, access policies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfob.services.key_vault.records import DELETED_VAULTS, SECRETS, VERSIONS
from keyfob.services.key_vault.vaults import is_name
from keyfob.wire.http import Reply

TENANT = "11111111-1111-1111-1111-111111111111"
SUBSCRIPTION = "/subscriptions/22222222-2222-2222-2222-222222222222"
KEYVAULT = SUBSCRIPTION + "/providers/Microsoft.KeyVault"


def body(reply: Reply) -> Any:
    return json.loads(reply.body)


def code(reply: Reply) -> tuple[int, str]:
    return reply.status, body(reply)["error"]["code"]


def policy(who: Any, *names: str) -> dict[str, Any]:
    return {"tenantId": TENANT, "objectId": who.id, "permissions": {"secrets": list(names)}}


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("abc", True),
        ("a" * 24, True),
        ("a-b-c", True),
        ("A1b", True),
        ("ab", False),
        ("a" * 25, False),
        ("1abc", False),
        ("-abc", False),
        ("abc-", False),
        ("a--b", False),
        ("a_b", False),
        ("abc\n", False),
        ("äbc", False),
    ],
)
def test_names(name: str, fits: bool):
    assert is_name(name) is fits


async def test_a_vault_is_made_and_shown(vaults):
    made = await vaults.make()
    assert made.status in {200, 201}
    shown = body(await vaults.arm("GET", str(vaults.scope())))
    assert shown["properties"] == {
        "sku": {"family": "A", "name": "standard"},
        "tenantId": TENANT,
        "accessPolicies": [],
        "enabledForDeployment": False,
        "enableRbacAuthorization": True,
        "enableSoftDelete": True,
        "softDeleteRetentionInDays": 90,
        "vaultUri": "https://shop.vault.azure.net/",
        "provisioningState": "Succeeded",
    }
    assert body(made)["properties"] == shown["properties"]


@pytest.mark.parametrize(("version", "roles"), [("2015-06-01", False), ("2023-07-01", False), ("2026-02-01", True)])
async def test_who_decides_when_nothing_is_said(vaults, version: str, roles: bool):
    made = await vaults.make(version=version, enableRbacAuthorization=None)
    assert body(made)["properties"]["enableRbacAuthorization"] is roles


@pytest.mark.parametrize(
    "properties",
    [
        {"tenantId": None},
        {"tenantId": "contoso"},
        {"sku": None},
        {"sku": {"family": "B", "name": "standard"}},
        {"sku": {"family": "A", "name": "gold"}},
        {"accessPolicies": {}, "enableRbacAuthorization": 1},
        {"accessPolicies": [{"objectId": "x"}]},
        {"softDeleteRetentionInDays": 6},
        {"softDeleteRetentionInDays": 91},
        {"softDeleteRetentionInDays": "90"},
        {"enablePurgeProtection": False},
        {"enableSoftDelete": False, "enablePurgeProtection": True},
        {"enabledForDeployment": "yes"},
    ],
)
async def test_properties_that_do_not_fit(vaults, properties: dict[str, Any]):
    assert code(await vaults.make(**properties)) == (400, "BadRequest")
    assert (await vaults.arm("GET", str(vaults.scope()))).status == 404


async def test_protection_only_gets_stricter(vaults):
    await vaults.make(softDeleteRetentionInDays=7)
    assert code(await vaults.make(softDeleteRetentionInDays=30)) == (400, "BadRequest")
    assert code(await vaults.make(enableSoftDelete=False)) == (400, "BadRequest")
    made = body(await vaults.make(enablePurgeProtection=True))["properties"]
    assert (made["softDeleteRetentionInDays"], made["enablePurgeProtection"]) == (7, True)
    assert code(await vaults.make(enablePurgeProtection=False)) == (400, "BadRequest")
    assert body(await vaults.make())["properties"]["enablePurgeProtection"] is True


async def test_a_patch_changes_what_it_names(vaults):
    who = await vaults.principal()
    await vaults.make(accessPolicies=[policy(who, "get")])
    changed = await vaults.arm("PATCH", str(vaults.scope()), {"properties": {"enableRbacAuthorization": False}})
    assert changed.status == 200
    properties = body(changed)["properties"]
    assert properties["enableRbacAuthorization"] is False
    assert [p["objectId"] for p in properties["accessPolicies"]] == [who.id]


async def test_a_name_is_unique_in_the_cloud(vaults):
    await vaults.make()
    other = str(vaults.scope()).replace("resourceGroups/rg/", "resourceGroups/rg2/").replace("shop", "SHOP")
    assert (await vaults.arm("PUT", SUBSCRIPTION + "/resourceGroups/rg2", {"location": "westus"})).status == 201
    given = {"tenantId": TENANT, "sku": {"family": "A", "name": "standard"}, "accessPolicies": []}
    reply = await vaults.arm("PUT", other, {"location": "westus", "properties": given})
    assert code(reply) == (409, "VaultAlreadyExists")
    assert body(reply)["error"]["message"].startswith("The vault name 'SHOP' is already in use. Vault names are")


async def test_checking_a_name(vaults):
    async def check(given: Any) -> Any:
        return await vaults.arm("POST", KEYVAULT + "/checkNameAvailability", given)

    kind = "Microsoft.KeyVault/vaults"
    assert body(await check({"name": "shop", "type": kind})) == {"nameAvailable": True}
    await vaults.make()
    assert body(await check({"name": "Shop", "type": kind}))["reason"] == "AlreadyExists"
    await vaults.arm("DELETE", str(vaults.scope()))
    assert body(await check({"name": "shop", "type": kind}))["reason"] == "AlreadyExists"
    assert body(await check({"name": "x", "type": kind}))["reason"] == "AccountNameInvalid"
    for content in (None, {}, {"name": "shop"}, {"name": "shop", "type": "Microsoft.Storage/storageAccounts"}, []):
        assert (await check(content)).status == 400


async def test_managed_hsms_are_asked_for_and_absent(vaults):
    """What az keyvault check-name and az keyvault list-deleted send besides."""

    async def check(given: Any) -> Any:
        return await vaults.arm("POST", KEYVAULT + "/checkMhsmNameAvailability", given)

    assert body(await check({"name": "shop"})) == {"nameAvailable": True}
    for name in ("x", "a--b", "1shop", "s" * 25):
        assert body(await check({"name": name}))["reason"] == "AccountNameInvalid"
    for content in (None, {}, {"name": 3}, []):
        assert (await check(content)).status == 400
    assert body(await vaults.arm("GET", KEYVAULT + "/deletedManagedHSMs")) == {"value": []}


async def test_deleting_keeps_it_until_it_is_recovered(vaults):
    who = await vaults.principal()
    await vaults.make(enableRbacAuthorization=False, accessPolicies=[policy(who, "all")])
    await vaults.ask("PUT", "/secrets/n", who, {"value": "kept"})
    assert (await vaults.arm("DELETE", str(vaults.scope()))).status == 200
    assert (await vaults.ask("GET", "/secrets/n", who)).status == 404
    listed = body(await vaults.arm("GET", KEYVAULT + "/deletedVaults"))["value"]
    assert [vault["name"] for vault in listed] == ["shop"]
    where = KEYVAULT + "/locations/westus/deletedVaults/shop"
    shown = body(await vaults.arm("GET", where))
    assert shown["id"] == where
    assert shown["properties"] == {
        "vaultId": str(vaults.scope()),
        "location": "westus",
        "tags": {},
        "deletionDate": "2023-11-14T22:13:20Z",
        "scheduledPurgeDate": "2024-02-12T22:13:20Z",
    }
    assert (await vaults.arm("GET", where.replace("westus", "eastus"))).status == 404
    assert code(await vaults.make()) == (409, "ConflictError")
    recovered = await vaults.make(createMode="recover", accessPolicies=[])
    assert recovered.status in {200, 201}
    properties = body(recovered)["properties"]
    assert properties["accessPolicies"][0]["objectId"] == who.id  # as it was, not as the request says
    assert "createMode" not in properties
    assert body(await vaults.ask("GET", "/secrets/n", who))["value"] == "kept"
    assert body(await vaults.arm("GET", KEYVAULT + "/deletedVaults"))["value"] == []


async def test_purging_a_vault_erases_what_was_in_it(vaults):
    who = await vaults.principal()
    await vaults.make(enableRbacAuthorization=False, accessPolicies=[policy(who, "all")])
    await vaults.make("zoo", enableRbacAuthorization=False, accessPolicies=[policy(who, "all")])
    for vault in ("shop", "zoo"):
        await vaults.ask("PUT", "/secrets/n", who, {"value": "v"}, vault=vault)
    await vaults.arm("DELETE", str(vaults.scope()))
    reply = await vaults.arm("POST", KEYVAULT + "/locations/westus/deletedVaults/shop/purge")
    assert reply.status == 200
    assert await DELETED_VAULTS.list(vaults.store) == []
    assert {row.key.split("/")[8] for row in await VERSIONS.list(vaults.store)} == {"zoo"}
    assert (await vaults.arm("POST", KEYVAULT + "/locations/westus/deletedVaults/shop/purge")).status == 404
    await vaults.make(enableRbacAuthorization=False, accessPolicies=[policy(who, "all")])
    assert (await vaults.ask("GET", "/secrets/n", who)).status == 404
    assert (await vaults.ask("GET", "/secrets/n", who, vault="zoo")).status == 200


async def test_a_protected_vault_is_not_purged(vaults):
    await vaults.make(enablePurgeProtection=True)
    await vaults.arm("DELETE", str(vaults.scope()))
    assert (await vaults.arm("POST", KEYVAULT + "/locations/westus/deletedVaults/shop/purge")).status == 405
    assert len(await DELETED_VAULTS.list(vaults.store)) == 1


async def test_a_deleted_vault_makes_room_when_its_time_is_over(vaults):
    who = await vaults.principal()
    made = {"enableRbacAuthorization": False, "accessPolicies": [policy(who, "all")]}
    await vaults.make(softDeleteRetentionInDays=7, **made)
    await vaults.ask("PUT", "/secrets/n", who, {"value": "v"})
    await vaults.arm("DELETE", str(vaults.scope()))
    vaults.clock.advance(7 * 86_400 + 1)
    assert body(await vaults.arm("GET", KEYVAULT + "/deletedVaults"))["value"] == []
    assert (await vaults.make(**made)).status in {200, 201}
    assert (await vaults.ask("GET", "/secrets/n", who)).status == 404
    assert await SECRETS.list(vaults.store) == []


async def test_recovering_what_is_not_there(vaults):
    assert code(await vaults.make(createMode="recover")) == (404, "VaultNotFound")


async def test_without_soft_delete_nothing_is_left(vaults):
    who = await vaults.principal()
    await vaults.make(enableSoftDelete=False, enableRbacAuthorization=False, accessPolicies=[policy(who, "all")])
    await vaults.ask("PUT", "/secrets/n", who, {"value": "v"})
    await vaults.arm("DELETE", str(vaults.scope()))
    assert await VERSIONS.list(vaults.store) == []
    assert await DELETED_VAULTS.list(vaults.store) == []
    assert (await vaults.make()).status in {200, 201}


async def test_access_policies_by_put(vaults):
    one, two = await vaults.principal("one"), await vaults.principal("two")
    await vaults.make(enableRbacAuthorization=False)

    async def put(kind: str, *given: dict[str, Any]) -> Reply:
        path = f"{vaults.scope()}/accessPolicies/{kind}"
        return await vaults.arm("PUT", path, {"properties": {"accessPolicies": list(given)}})

    assert (await vaults.ask("GET", "/secrets", one)).status == 403
    reply = await put("add", policy(one, "list"), policy(two, "get"))
    assert reply.status == 200
    assert body(reply)["type"] == "Microsoft.KeyVault/vaults/accessPolicies"
    assert (await vaults.ask("GET", "/secrets", one)).status == 200
    assert (await vaults.ask("GET", "/secrets/n", two)).status == 404
    await put("Replace", policy(one, "get"))
    assert (await vaults.ask("GET", "/secrets", one)).status == 403
    assert (await vaults.ask("GET", "/secrets/n", two)).status == 404
    await put("remove", policy(two, "get"))
    assert (await vaults.ask("GET", "/secrets/n", two)).status == 403
    listed = body(await vaults.arm("GET", str(vaults.scope())))["properties"]["accessPolicies"]
    assert [p["objectId"] for p in listed] == [one.id]
    assert (await put("explode", policy(one, "get"))).status == 400
    assert (await put("add", {"objectId": "x"})).status == 400
    missing = f"{vaults.scope('none')}/accessPolicies/add"
    assert (await vaults.arm("PUT", missing, {"properties": {"accessPolicies": []}})).status == 404


async def test_control_needs_control_roles(vaults):
    await vaults.make()
    officer = await vaults.principal()
    await vaults.give(officer, "secrets officer", vaults.scope())
    for method, path, content in (
        ("PUT", f"{vaults.scope()}/accessPolicies/add", {"properties": {"accessPolicies": []}}),
        ("DELETE", str(vaults.scope()), None),
        ("PATCH", str(vaults.scope()), {"properties": {}}),
    ):
        assert (await vaults.arm(method, path, content, who=officer)).status == 403
    nobody = await vaults.principal()
    assert (await vaults.arm("GET", KEYVAULT + "/deletedVaults", who=nobody)).status in {403, 404}


async def test_operations_name_the_data_actions(vaults):
    listed = body(await vaults.arm("GET", "/providers/Microsoft.KeyVault/operations"))["value"]
    data = {operation["name"] for operation in listed if operation["isDataAction"]}
    assert "Microsoft.KeyVault/vaults/secrets/getSecret/action" in data


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            [
                "tenantId",
                "sku",
                "accessPolicies",
                "enableSoftDelete",
                "softDeleteRetentionInDays",
                "enablePurgeProtection",
                "createMode",
                "networkAcls",
            ],
            st.none() | st.booleans() | st.integers(-1, 100) | st.text(max_size=4) | st.lists(st.text(max_size=3)),
        ),
    )
)
async def test_no_properties_are_an_internal_error(vaults, properties: dict[str, Any]):
    assert (await vaults.make("fuzz", **properties)).status < 500
