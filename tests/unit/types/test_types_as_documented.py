"""Where the documents are stricter, or say it in other words, than one form for all types would be."""

from __future__ import annotations

from typing import Any

import pytest

GROUP = "/subscriptions/bbbbbbbb-0000-4000-8000-000000000001/resourceGroups/g"
PROVIDERS = "/subscriptions/bbbbbbbb-0000-4000-8000-000000000001/providers"
LAKE = f"{GROUP}/providers/Microsoft.DataLakeStore/accounts/lake1"
SET = f"{GROUP}/providers/Microsoft.Compute/availabilitySets/set"
MACHINE = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/vm"
FLOW = f"{GROUP}/providers/Microsoft.Logic/workflows/flow"
FACTORY = f"{GROUP}/providers/Microsoft.DataFactory/factories/factory1"
ADLS, VM, LOGIC, ADF, KV = "2016-11-01", "2024-03-01", "2019-05-01", "2018-06-01", "2018-02-14"
HERE: dict[str, Any] = {"location": "westeurope", "properties": {}}


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_member_that_no_resource_has(world: Any, method: str) -> None:
    await world.ok("PUT", MACHINE, HERE, v=VM)
    answer = await world.send(method, MACHINE, HERE | {"hardware_profile": {}}, v=VM)
    assert (answer.status, answer.code) == (400, "InvalidRequestContent")
    assert "Could not find member 'hardware_profile' on object of type 'ResourceDefinition'" in answer.body.decode()
    further = HERE | {"extendedLocation": {"name": "edge", "type": "EdgeZone"}, "etag": "x", "Id": "x"}
    assert (await world.ok(method, MACHINE, further, v=VM))["extendedLocation"]["name"] == "edge"


@pytest.mark.parametrize("sku", [{"name": 1}, {"name": "S1", "capacity": "2"}, {"name": "S1", "capacity": True}])
async def test_a_sku_is_one(world: Any, sku: Any) -> None:
    plan = f"{GROUP}/providers/Microsoft.Web/serverfarms/plan"
    assert (await world.send("PUT", plan, HERE | {"sku": sku}, v="2023-12-01")).code == "InvalidRequestContent"


async def test_skus_of_availability_sets(world: Any) -> None:
    for sku, status in (({"name": "aligned"}, 200), (None, 200), ({"name": "Gold"}, 400), ({"tier": "x"}, 400)):
        assert (await world.send("PUT", SET, HERE | {"sku": sku}, v=VM)).status == status


async def test_what_a_workflow_has_not(world: Any) -> None:
    body = {"location": "westeurope", "properties": {"definition": {}}}
    assert "sku" not in await world.ok("PUT", FLOW, body | {"sku": {"name": "Standard"}}, v=LOGIC)
    patched = await world.send("PATCH", FLOW, v=LOGIC)
    assert (patched.status, patched.json["properties"]["definition"]) == (200, {})
    assert (await world.send("PUT", FLOW, v=LOGIC)).status == 400


async def test_data_lake_accounts_list_what_is_in_them(world: Any) -> None:
    rule = {"startIpAddress": "1.2.3.4", "endIpAddress": "1.2.3.5"}
    made = {"location": "westeurope", "properties": {"firewallRules": [{"name": "first", "properties": rule}]}}
    shown = await world.ok("PUT", LAKE, made, v=ADLS)
    row = {
        "id": f"{LAKE}/firewallRules/first",
        "name": "first",
        "type": "Microsoft.DataLakeStore/accounts/firewallRules",
    }
    assert shown["properties"]["firewallRules"] == [row | {"properties": rule}]
    assert (await world.ok("GET", f"{LAKE}/firewallRules/first", v=ADLS))["properties"] == rule
    await world.ok("PUT", f"{LAKE}/trustedIdProviders/sts", {"properties": {"idProvider": "https://x"}}, v=ADLS)
    await world.ok("PATCH", LAKE, {"tags": {"a": "b"}}, v=ADLS)
    await world.ok("PATCH", f"{LAKE}/firewallRules/first", {"properties": {"endIpAddress": "1.2.3.9"}}, v=ADLS)
    properties = (await world.ok("GET", LAKE, v=ADLS))["properties"]
    assert properties["firewallRules"][0]["properties"]["endIpAddress"] == "1.2.3.9"
    assert [one["name"] for one in properties["trustedIdProviders"]] == ["sts"]
    await world.ok("DELETE", f"{LAKE}/firewallRules/first", v=ADLS)
    assert (await world.ok("GET", LAKE, v=ADLS))["properties"]["firewallRules"] == []
    for bad in ({}, {"name": "a"}, {"name": "a/b", "properties": rule}, {"name": "a", "properties": {}}):
        body = made | {"properties": {"firewallRules": [bad]}}
        assert (await world.send("PUT", LAKE, body, v=ADLS)).code == "InvalidParameter"
    assert (await world.send("DELETE", LAKE, v=ADLS)).status == 202
    assert (await world.send("GET", f"{LAKE}/trustedIdProviders/sts", v=ADLS)).status == 404


async def test_data_lake_lists_are_short(world: Any) -> None:
    await world.ok("PUT", LAKE, HERE | {"identity": {"type": "SystemAssigned"}}, v=ADLS)
    assert (await world.ok("PATCH", LAKE, {"tags": {}}, v=ADLS))["properties"]["provisioningState"] == "Patching"
    (row,) = (await world.ok("GET", LAKE.rpartition("/")[0], v=ADLS))["value"]
    assert sorted(row) == ["id", "location", "name", "properties", "tags", "type"]
    assert "encryptionState" not in row["properties"]
    assert row["properties"]["provisioningState"] == "Succeeded"


async def test_what_an_update_sets_is_of_a_runtimes_status(world: Any) -> None:
    runtime = f"{FACTORY}/integrationRuntimes/own"
    await world.ok("PUT", FACTORY, HERE, v=ADF)
    await world.ok("PUT", runtime, {"properties": {"type": "SelfHosted"}}, v=ADF)
    shown = await world.ok("PATCH", runtime, {"autoUpdate": "Off", "updateDelayOffset": '"PT3H"'}, v=ADF)
    assert sorted(shown) == ["etag", "id", "name", "properties", "type"]
    status = await world.ok("POST", f"{runtime}/getStatus", v=ADF)
    assert status["properties"]["typeProperties"] == {"autoUpdate": "Off", "updateDelayOffset": '"PT3H"'}
    assert (await world.send("PATCH", runtime, {"autoUpdate": 1}, v=ADF)).status == 400


async def test_access_policies_are_a_list(world: Any) -> None:
    vault = f"{GROUP}/providers/Microsoft.KeyVault/vaults/vault1"
    properties = {"tenantId": "aaaaaaaa-0000-4000-8000-000000000001", "sku": {"family": "A", "name": "standard"}}
    for policies, status in (({}, 400), ("", 400), (0, 400), ([], 201)):
        body = {"location": "westeurope", "properties": properties | {"accessPolicies": policies}}
        assert (await world.send("PUT", vault, body, v=KV)).status == status


@pytest.mark.parametrize("value", [2, False, [], {}])
async def test_a_condition_and_its_version_are_text(world: Any, value: Any) -> None:
    path = f"{GROUP}/providers/Microsoft.Authorization/roleAssignments/00000000-0000-4000-8000-00000000000a"
    reader = "/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7"
    properties = {"roleDefinitionId": reader, "principalId": world.people["nobody"].id}
    for name in ("condition", "conditionVersion"):
        answer = await world.send("PUT", path, {"properties": properties | {name: value}}, v="2022-04-01")
        assert (answer.status, answer.code) == (400, "InvalidRequestContent")
    assert (await world.send("PUT", path, {"properties": properties}, v="2022-04-01")).status == 201


@pytest.mark.parametrize(
    ("path", "version", "kind", "bad"),
    [
        ("Microsoft.EventHub/checkNameAvailability", "2024-01-01", None, "InvalidName"),
        ("Microsoft.ServiceBus/checkNameAvailability", "2021-11-01", None, "InvalidName"),
        ("Microsoft.Storage/checkNameAvailability", "2023-05-01", "Microsoft.Storage/storageAccounts",
         "AccountNameInvalid"),
        ("Microsoft.Sql/checkNameAvailability", "2021-11-01", "Microsoft.Sql/servers", "Invalid"),
        ("Microsoft.Web/checkNameAvailability", "2023-12-01", "Slot", "Invalid"),
    ],
)  # fmt: skip
async def test_why_a_name_is_not_to_be_had(world: Any, path: str, version: str, kind: str | None, bad: str) -> None:
    asked = {"name": "a?"} | ({"type": kind} if kind else {})
    assert (await world.ok("POST", f"{PROVIDERS}/{path}", asked, v=version))["reason"] == bad
    if kind:
        for other in ({}, {"type": 1}, {"type": "Microsoft.Nothing/nothings"}):
            assert (await world.send("POST", f"{PROVIDERS}/{path}", {"name": "a"} | other, v=version)).status == 400


@pytest.mark.parametrize("slot", ["", "/slots/stage"])
async def test_settings_that_stand_for_secrets(world: Any, slot: str) -> None:
    site, v = f"{GROUP}/providers/Microsoft.Web/sites/shop", "2023-12-01"
    await world.ok("PUT", site, HERE, v=v)
    site += slot
    identity = {"identity": {"type": "SystemAssigned"}} if slot else {}
    await world.ok("PUT", site, HERE | identity, v=v)
    settings = {
        "A": "@Microsoft.KeyVault(SecretUri=https://v1.vault.azure.net/secrets/one/3)",
        "B": "@Microsoft.KeyVault(VaultName=v1;SecretName=two)",
        "C": "@Microsoft.KeyVault(SecretUri=http://[)",
        "D": "@Microsoft.KeyVault()",
        "plain": "hunter2",
    }
    await world.ok("PUT", f"{site}/config/appsettings", {"properties": settings}, v=v)
    strings = {"db": {"value": settings["B"], "type": "SQLAzure"}, "raw": {"value": "hunter2", "type": "Custom"}}
    await world.ok("PUT", f"{site}/config/connectionstrings", {"properties": strings}, v=v)
    path = f"{site}/config/configreferences"
    listed = await world.send("GET", f"{path}/appsettings", v=v, who="reader")
    assert b"hunter2" not in listed.body
    rows = {row["name"]: row["properties"] for row in listed.json["value"]}
    known = "OtherReasons" if slot else "MSINotEnabled"  # this tenant knows no vaults
    assert {name: row["status"] for name, row in rows.items()} == {
        "A": known, "B": known, "C": "InvalidSyntax", "D": "InvalidSyntax",
    }  # fmt: skip
    assert (rows["A"]["vaultName"], rows["A"]["secretName"], rows["A"]["secretVersion"]) == ("v1", "one", "3")
    assert "secretVersion" not in rows["B"]
    one = await world.ok("GET", f"{path}/connectionstrings/DB", v=v)
    assert (one["name"], one["properties"]["secretName"]) == ("db", "two")
    assert (await world.send("GET", f"{path}/appsettings/plain", v=v)).status == 404
    assert (await world.send("GET", f"{path}/appsettings", v=v, who="nobody")).status == 403


async def test_an_api_is_of_the_type_it_was_made_with(world: Any) -> None:
    service, v = f"{GROUP}/providers/Microsoft.ApiManagement/service/apim1", "2022-08-01"
    properties = {"publisherEmail": "a@b.example", "publisherName": "a"}
    sku = {"name": "Developer", "capacity": 1}
    await world.ok("PUT", service, {"location": "westeurope", "sku": sku, "properties": properties}, v=v)
    shape = {"properties": {"displayName": "Soap", "path": "soap", "protocols": ["https"], "apiType": "soap"}}
    shown = (await world.ok("PUT", f"{service}/apis/soap", shape, v=v))["properties"]
    assert shown["type"] == "soap"
    assert "apiType" not in shown
    patched = {"properties": {"displayName": "Still"}}
    assert (await world.ok("PATCH", f"{service}/apis/soap", patched, v=v))["properties"]["type"] == "soap"
