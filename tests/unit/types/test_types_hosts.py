"""The hosts' resource types: what each adds to the engine."""

from __future__ import annotations

from typing import Any

import pytest

GROUP = "/subscriptions/bbbbbbbb-0000-4000-8000-000000000001/resourceGroups/g"
SUBSCRIPTION = "/subscriptions/bbbbbbbb-0000-4000-8000-000000000001/providers"
SITE = f"{GROUP}/providers/Microsoft.Web/sites/shop"
PLAN = f"{GROUP}/providers/Microsoft.Web/serverfarms/plan"
SET = f"{GROUP}/providers/Microsoft.Compute/virtualMachineScaleSets/set"
FLOW = f"{GROUP}/providers/Microsoft.Logic/workflows/flow"
FACTORY = f"{GROUP}/providers/Microsoft.DataFactory/factories/factory1"
SERVICE = f"{GROUP}/providers/Microsoft.ApiManagement/service/apis1"
CONTAINERS = f"{GROUP}/providers/Microsoft.ContainerInstance/containerGroups/box"
WEB, COMPUTE, LOGIC, ADF, APIM, ACI = "2023-12-01", "2024-03-01", "2019-05-01", "2018-06-01", "2022-08-01", "2023-05-01"

# --- App Service


async def test_a_site(world: Any) -> None:
    await world.ok("PUT", PLAN, {"location": "West Europe", "sku": {"name": "P1v2"}}, v=WEB)
    plan = await world.ok("GET", PLAN, v=WEB)
    assert plan["sku"] == {"name": "P1v2", "tier": "PremiumV2", "size": "P1v2", "family": "Pv2", "capacity": 1}
    body = {"location": "West Europe", "properties": {"serverFarmId": PLAN, "httpsOnly": True}}
    made = await world.send("PUT", SITE, body, v=WEB)
    assert made.status == 200
    assert made.json["kind"] == "app"
    properties = made.json["properties"]
    assert properties["defaultHostName"] == "shop.azurewebsites.net"
    assert (properties["state"], properties["httpsOnly"]) == ("Running", True)
    for _ in range(2):  # azure-cli sends back the whole document
        whole = await world.ok("GET", SITE, v=WEB)
        assert (await world.send("PUT", SITE, whole, v="2025-05-01")).status == 200
    await world.ok("POST", f"{SITE}/stop", v=WEB)
    assert (await world.ok("GET", SITE, v=WEB))["properties"]["state"] == "Stopped"
    await world.ok("PATCH", SITE, {"tags": {"a": "b"}}, v=WEB)
    assert (await world.ok("GET", SITE, v=WEB))["properties"]["state"] == "Stopped"
    await world.ok("POST", f"{SITE}/start", v=WEB)
    other = SITE.replace("resourceGroups/g/", "resourceGroups/h/")
    await world.ok("PUT", GROUP[:-1] + "h", {"location": "westeurope"}, v="2021-04-01")
    assert (await world.send("PUT", other, body, v=WEB)).status == 409
    path = f"{SUBSCRIPTION}/Microsoft.Web/checknameavailability"
    check = await world.ok("POST", path, {"name": "shop", "type": "Site"}, v=WEB)
    assert (check["nameAvailable"], check["reason"]) == (False, "AlreadyExists")
    assert (await world.send("POST", path, {"name": "shop"}, v=WEB)).status == 400


async def test_what_a_plan_says_of_its_sites(world: Any) -> None:
    body = {"location": "westeurope", "sku": {"name": "P0v3", "tier": "PREMIUM0V3"}, "properties": {"reserved": True}}
    plan = await world.ok("PUT", PLAN, body, v=WEB)
    assert (plan["kind"], plan["sku"]["tier"], plan["properties"]["numberOfSites"]) == ("linux", "Premium0V3", 0)
    site = {"location": "westeurope", "properties": {"serverFarmId": PLAN}}
    made = await world.ok("PUT", SITE, site, v="2025-05-01")
    assert made["kind"] == "app,linux"
    assert (made["properties"]["reserved"], made["properties"]["sku"]) == (True, "Premium0V3")
    await world.ok("PUT", SITE, made, v="2025-05-01")
    assert (await world.ok("GET", PLAN, v=WEB))["properties"]["numberOfSites"] == 1
    await world.ok("PUT", PLAN, {**body, "sku": {"name": "B1"}}, v=WEB)
    assert (await world.ok("GET", SITE, v=WEB))["properties"]["sku"] == "Basic"
    assert (await world.ok("GET", PLAN, v=WEB))["properties"]["numberOfSites"] == 1
    assert (await world.send("DELETE", PLAN, v=WEB)).status == 409
    await world.ok("PATCH", SITE, {"properties": {"serverFarmId": PLAN + "2"}}, v=WEB)  # which is not there
    assert "sku" not in (await world.ok("GET", SITE, v=WEB))["properties"]
    assert (await world.ok("GET", PLAN, v=WEB))["properties"]["numberOfSites"] == 0
    await world.ok("PUT", SITE, site, v=WEB)
    await world.ok("DELETE", SITE, v=WEB)
    assert (await world.ok("GET", PLAN, v=WEB))["properties"]["numberOfSites"] == 0


@pytest.mark.parametrize(("linux", "name"), [(False, "WestEuropePlan"), (True, "WestEuropeLinuxDynamicPlan")])
async def test_functions_that_name_no_plan(world: Any, linux: bool, name: str) -> None:
    kind = "functionapp,linux" if linux else "functionapp"
    body = {"location": "westeurope", "kind": kind, "properties": {"reserved": linux}}
    made = await world.ok("PUT", SITE, body, v="2025-05-01")
    assert made["properties"]["serverFarmId"] == f"{GROUP}/providers/Microsoft.Web/serverfarms/{name}"
    assert made["properties"]["sku"] == "Dynamic"
    await world.ok("PUT", SITE + "2", body, v="2025-05-01")
    plans = (await world.ok("GET", f"{GROUP}/providers/Microsoft.Web/serverfarms", v=WEB))["value"]
    assert [one["name"] for one in plans] == [name]
    assert plans[0]["sku"] == {"name": "Y1", "tier": "Dynamic", "size": "Y1", "family": "Y", "capacity": 0}
    assert (plans[0]["kind"], plans[0]["properties"]["reserved"]) == ("functionapp", linux)
    assert plans[0]["properties"]["numberOfSites"] == 2
    assert "keyfob" not in str(plans)
    await world.ok("DELETE", SITE, v=WEB)
    plan = made["properties"]["serverFarmId"]
    assert (await world.ok("GET", plan, v=WEB))["properties"]["numberOfSites"] == 1
    await world.ok("DELETE", SITE + "2", v=WEB)
    assert (await world.send("GET", plan, v=WEB)).status == 404


async def test_a_group_goes_with_its_sites_and_plans(world: Any) -> None:
    group = GROUP[:-1] + "h"
    await world.ok("PUT", group, {"location": "westeurope"}, v="2021-04-01")
    plan = PLAN.replace(GROUP, group)
    await world.ok("PUT", plan, {"location": "westeurope", "sku": {"name": "B1"}}, v=WEB)
    body: dict[str, Any] = {"location": "westeurope", "properties": {"serverFarmId": plan}}
    await world.ok("PUT", SITE.replace(GROUP, group), body, v=WEB)
    body = {"location": "westeurope", "kind": "functionapp"}
    await world.ok("PUT", SITE.replace(GROUP, group) + "-functions", body, v=WEB)
    await world.ok("DELETE", group, v="2021-04-01")
    assert (await world.send("GET", group, v="2021-04-01")).status == 404


async def test_settings_are_not_for_readers(world: Any) -> None:
    body = {
        "location": "westeurope",
        "properties": {"siteConfig": {
            "appSettings": [{"name": "PASS", "value": "hunter2"}],
            "connectionStrings": [{"name": "db", "connectionString": "Server=hunter2", "type": "SQLAzure"}],
            "linuxFxVersion": "PYTHON|3.12",
        }},
    }  # fmt: skip
    made = await world.send("PUT", SITE, body, v=WEB)
    assert b"hunter2" not in made.body
    assert made.json["properties"]["siteConfig"]["linuxFxVersion"] == "PYTHON|3.12"
    assert (await world.ok("GET", f"{SITE}/config/web", v=WEB))["properties"]["linuxFxVersion"] == "PYTHON|3.12"
    settings = await world.ok("POST", f"{SITE}/config/appsettings/list", v=WEB)
    assert settings["properties"] == {"PASS": "hunter2"}
    strings = await world.ok("POST", f"{SITE}/config/connectionstrings/list", v=WEB)
    assert strings["properties"]["db"] == {"value": "Server=hunter2", "type": "SQLAzure"}
    assert (await world.send("POST", f"{SITE}/config/appsettings/list", v=WEB, who="reader")).status == 403
    for path in ("", "/config", "/config/appsettings", "/config/connectionstrings", "/config/web"):
        answer = await world.send("GET", SITE + path, v=WEB, who="reader")
        assert b"hunter2" not in answer.body
    await world.ok("PUT", f"{SITE}/config/appsettings", {"properties": {"A": "1"}}, v=WEB)
    assert (await world.ok("POST", f"{SITE}/config/appsettings/list", v=WEB))["properties"] == {"A": "1"}
    await world.ok("PATCH", f"{SITE}/config/web", {"properties": {"alwaysOn": True}}, v=WEB)
    web = (await world.ok("GET", f"{SITE}/config/web", v=WEB))["properties"]
    assert (web["alwaysOn"], web["linuxFxVersion"]) == (True, "PYTHON|3.12")
    assert (await world.send("PUT", f"{SITE}/config/nonsense", {"properties": {}}, v=WEB)).status == 404


async def test_credentials_and_function_keys(world: Any) -> None:
    await world.ok("PUT", SITE, {"location": "westeurope", "kind": "functionapp"}, v=WEB)
    given = (await world.ok("POST", f"{SITE}/config/publishingcredentials/list", v=WEB))["properties"]
    assert given["publishingUserName"] == "$shop"
    assert given["publishingPassword"] in given["scmUri"]
    assert (await world.ok("POST", f"{SITE}/host/default/listkeys", v=WEB))["masterKey"]
    for path in ("config/publishingcredentials/list", "host/default/listkeys", "publishxml"):
        assert (await world.send("POST", f"{SITE}/{path}", v=WEB, who="reader")).status == 403


async def test_a_slot_is_a_site_of_its_own(world: Any) -> None:
    slot = f"{SITE}/slots/staging"
    body = {"location": "westeurope", "identity": {"type": "SystemAssigned"}}
    assert (await world.send("PUT", slot, body, v=WEB)).code == "ParentResourceNotFound"
    site = await world.ok("PUT", SITE, body, v=WEB)
    made = await world.ok("PUT", slot, body, v=WEB)
    assert made["name"] == "shop/staging"
    assert made["properties"]["defaultHostName"] == "shop-staging.azurewebsites.net"
    assert made["identity"]["principalId"] != site["identity"]["principalId"]
    await world.ok("PUT", f"{slot}/config/appsettings", {"properties": {"A": "slot"}}, v=WEB)
    assert (await world.ok("POST", f"{SITE}/config/appsettings/list", v=WEB))["properties"] == {}
    await world.ok("DELETE", SITE, v=WEB)
    assert (await world.send("GET", slot, v=WEB)).status == 404


# --- scale sets


async def test_instances_follow_the_capacity(world: Any) -> None:
    body: dict[str, Any] = {
        "location": "westeurope",
        "sku": {"name": "Standard_B1s", "capacity": 2},
        "identity": {"type": "SystemAssigned"},
        "properties": {"virtualMachineProfile": {"osProfile": {
            "computerNamePrefix": "web", "adminUsername": "me", "adminPassword": "hunter2"}}},
    }  # fmt: skip
    body["properties"] |= {"upgradePolicy": {"mode": "manual"}, "singlePlacementGroup": None}
    made = await world.send("PUT", SET, body, v=COMPUTE)
    assert made.status == 201
    assert b"hunter2" not in made.body
    assert made.json["properties"]["upgradePolicy"] == {"mode": "Manual"}
    assert made.json["properties"]["singlePlacementGroup"] is True

    async def listed() -> list[str]:
        rows = (await world.ok("GET", f"{SET}/virtualMachines", v=COMPUTE))["value"]
        return [row["instanceId"] for row in rows]

    assert await listed() == ["0", "1"]
    one = await world.ok("GET", f"{SET}/virtualMachines/1", v=COMPUTE)
    assert (one["name"], one["properties"]["osProfile"]["computerName"]) == ("set_1", "web000001")
    await world.ok("PATCH", SET, {"sku": {"capacity": 3}}, v=COMPUTE)
    assert await listed() == ["0", "1", "2"]
    await world.send("DELETE", f"{SET}/virtualMachines/0", v=COMPUTE)
    assert await listed() == ["1", "2"]
    assert (await world.ok("GET", SET, v=COMPUTE))["sku"]["capacity"] == 2
    await world.ok("PATCH", SET, {"sku": {"capacity": 3}}, v=COMPUTE)
    assert await listed() == ["1", "2", "3"]  # numbers are not used twice
    await world.ok("POST", f"{SET}/delete", {"instanceIds": ["3"]}, v=COMPUTE)
    assert await listed() == ["1", "2"]
    for bad in ({"capacity": -1}, {"capacity": 1001}, {"capacity": "many"}):
        assert (await world.send("PATCH", SET, {"sku": bad}, v=COMPUTE)).status == 400
    assert (await world.send("PUT", f"{SET}/virtualMachines/9", {"location": "westeurope"}, v=COMPUTE)).status == 404
    await world.send("DELETE", SET, v=COMPUTE)
    assert (await world.send("GET", f"{SET}/virtualMachines/1", v=COMPUTE)).status == 404


async def test_instances_are_stopped_and_started(world: Any) -> None:
    body = {"location": "westeurope", "sku": {"name": "Standard_B1s", "capacity": 2}, "properties": {}}
    await world.ok("PUT", SET, body, v=COMPUTE)

    async def powers() -> list[str]:
        shown = []
        for number in (0, 1):
            view = await world.ok("GET", f"{SET}/virtualMachines/{number}/instanceView", v=COMPUTE)
            shown.append(view["statuses"][1]["code"])
        return shown

    await world.ok("POST", f"{SET}/virtualMachines/0/deallocate", v=COMPUTE)
    assert await powers() == ["PowerState/deallocated", "PowerState/running"]
    await world.ok("POST", f"{SET}/powerOff", {"instanceIds": ["1"]}, v=COMPUTE)
    assert await powers() == ["PowerState/deallocated", "PowerState/stopped"]
    await world.ok("POST", f"{SET}/start", v=COMPUTE)
    assert await powers() == ["PowerState/running"] * 2
    assert (await world.send("POST", f"{SET}/start", {"instanceIds": ["7"]}, v=COMPUTE)).status == 400
    assert (await world.send("POST", f"{SET}/start", v=COMPUTE, who="reader")).status == 403
    view = await world.ok("GET", f"{SET}/instanceView", v=COMPUTE)
    assert {"code": "PowerState/running", "count": 2} in view["virtualMachine"]["statusesSummary"]


# --- Logic Apps


async def test_a_workflow(world: Any) -> None:
    definition = {"triggers": {"manual": {"type": "Request", "kind": "Http"}}, "actions": {}}
    body = {"location": "westeurope", "properties": {"definition": definition}}
    made = await world.ok("PUT", FLOW, body, v=LOGIC)
    assert made["properties"]["state"] == "Enabled"
    again = await world.ok("PUT", FLOW, body, v=LOGIC)
    assert again["properties"]["version"] != made["properties"]["version"]
    assert len((await world.ok("GET", f"{FLOW}/versions", v=LOGIC))["value"]) == 2
    assert [t["name"] for t in (await world.ok("GET", f"{FLOW}/triggers", v=LOGIC))["value"]] == ["manual"]
    url = await world.ok("POST", f"{FLOW}/triggers/manual/listCallbackUrl", v=LOGIC)
    assert url["method"] == "POST"
    assert "sig=" in url["value"]
    await world.ok("POST", f"{FLOW}/regenerateAccessKey", {"keyType": "Primary"}, v=LOGIC)
    assert (await world.ok("POST", f"{FLOW}/triggers/manual/listCallbackUrl", v=LOGIC))["value"] != url["value"]
    assert (await world.send("POST", f"{FLOW}/listCallbackUrl", v=LOGIC, who="reader")).status == 403
    await world.ok("POST", f"{FLOW}/disable", v=LOGIC)
    assert (await world.ok("GET", FLOW, v=LOGIC))["properties"]["state"] == "Disabled"
    assert (await world.send("PUT", f"{FLOW}/triggers/mine", {}, v=LOGIC)).status == 405
    for bad in ({}, {"definition": []}, {"definition": {"triggers": []}}, {"definition": definition, "state": "Off"}):
        answer = await world.send("PUT", FLOW, {"location": "westeurope", "properties": bad}, v=LOGIC)
        assert answer.status == 400


# --- Data Factory


async def test_a_factory_and_what_is_in_it(world: Any) -> None:
    body = {"location": "westeurope", "identity": {"type": "SystemAssigned"}}
    made = await world.send("PUT", FACTORY, body, v=ADF)
    assert made.status == 200
    user = await world.identity("factory-user")
    both = {"type": "SystemAssigned,UserAssigned", "userAssignedIdentities": {user: {}}}
    shown = await world.ok("PATCH", FACTORY, {"identity": both}, v=ADF)
    assert shown["identity"]["type"] == "SystemAssigned,UserAssigned"
    link = f"{FACTORY}/linkedservices/sql"
    secret = {"type": "SecureString", "value": "hunter2"}
    linked = {"properties": {"type": "AzureSqlDatabase", "typeProperties": {"connectionString": secret}}}
    answer = await world.send("PUT", link, linked, v=ADF)
    assert answer.status == 200
    assert b"hunter2" not in answer.body
    assert answer.json["etag"]
    trigger = f"{FACTORY}/triggers/daily"
    schedule = {"type": "ScheduleTrigger", "typeProperties": {"recurrence": {"frequency": "Day", "interval": 1}}}
    await world.ok("PUT", trigger, {"properties": schedule}, v=ADF)
    await world.ok("POST", f"{trigger}/start", v=ADF)
    assert (await world.ok("GET", trigger, v=ADF))["properties"]["runtimeState"] == "Started"
    runtime = f"{FACTORY}/integrationRuntimes/own"
    await world.ok("PUT", runtime, {"properties": {"type": "SelfHosted"}}, v=ADF)
    keys = await world.ok("POST", f"{runtime}/listAuthKeys", v=ADF)
    renewed = await world.ok("POST", f"{runtime}/regenerateAuthKey", {"keyName": "authKey1"}, v=ADF)
    assert renewed["authKey1"] != keys["authKey1"]
    assert renewed["authKey2"] == keys["authKey2"]
    assert (await world.send("PUT", f"{FACTORY}/pipelines/p", {}, v=ADF)).status == 400


# --- API Management


async def test_a_service_and_its_secrets(world: Any) -> None:
    body = {
        "location": "westeurope",
        "sku": {"name": "Developer", "capacity": 1},
        "properties": {"publisherEmail": "a@b.example", "publisherName": "me"},
    }
    for missing in ({"sku": {"name": "Huge"}}, {"properties": {"publisherName": "me"}}, {"sku": None}):
        assert (await world.send("PUT", SERVICE, body | missing, v=APIM)).status == 400
    await world.ok("PUT", SERVICE, body, v=APIM)
    shown = await world.ok("GET", SERVICE, v=APIM)
    assert shown["properties"]["gatewayUrl"] == "https://apis1.azure-api.net"
    assert shown["properties"]["provisioningState"] == "Succeeded"
    value = f"{SERVICE}/namedValues/token"
    secret = {"properties": {"displayName": "token", "value": "hunter2", "secret": True}}
    made = await world.send("PUT", value, secret, v=APIM)
    assert b"hunter2" not in made.body
    assert await world.ok("POST", f"{value}/listValue", v=APIM) == {"value": "hunter2"}
    assert (await world.send("POST", f"{value}/listValue", v=APIM, who="reader")).status == 403
    await world.ok("PATCH", value, {"properties": {"displayName": "t2"}}, v=APIM)
    assert await world.ok("POST", f"{value}/listValue", v=APIM) == {"value": "hunter2"}
    subscription = f"{SERVICE}/subscriptions/s"
    await world.ok("PUT", subscription, {"properties": {"scope": "/apis", "displayName": "s"}}, v=APIM)
    keys = await world.ok("POST", f"{subscription}/listSecrets", v=APIM)
    assert (await world.send("POST", f"{subscription}/regeneratePrimaryKey", v=APIM)).status == 204
    assert (await world.ok("POST", f"{subscription}/listSecrets", v=APIM))["primaryKey"] != keys["primaryKey"]


async def test_apis_of_a_service(world: Any) -> None:
    """Children are made with `If-Match: *`, as azure-cli does; no other resource is."""
    body = {
        "location": "westeurope",
        "sku": {"name": "Developer", "capacity": 1},
        "properties": {"publisherEmail": "a@b.example", "publisherName": "me"},
    }
    assert (await world.send("PUT", SERVICE, body, v=APIM, if_match="*")).status == 412
    await world.ok("PUT", SERVICE, body, v=APIM)
    api, product = f"{SERVICE}/apis/one", f"{SERVICE}/products/p"
    shape = {"properties": {"path": "one", "displayName": "One", "protocols": ["https"]}}
    assert (await world.send("PUT", api, shape, v=APIM, if_match='"nonsense"')).status == 412
    assert (await world.send("PATCH", api, shape, v=APIM, if_match="*")).status in (404, 412)
    assert (await world.send("PUT", api, shape, v=APIM, if_match="*")).status == 201
    second = {"properties": {"sourceApiId": api, "path": "one"}}
    assert (await world.ok("PUT", f"{api};rev=2", second, v=APIM))["properties"]["isCurrent"] is False
    await world.ok("PUT", f"{SERVICE}/apis/ones", shape, v=APIM)
    revisions = (await world.ok("GET", f"{api}/revisions", v=APIM))["value"]
    assert [(one["apiRevision"], one["isCurrent"]) for one in revisions] == [("1", True), ("2", False)]
    assert (await world.send("GET", f"{SERVICE}/apis/none/revisions", v=APIM)).status == 404
    await world.ok("PUT", product, {"properties": {"displayName": "P"}}, v=APIM)
    assert (await world.send("PUT", f"{product}/apis/none", {}, v=APIM)).status == 404
    assert (await world.ok("PUT", f"{product}/apis/one", {}, v=APIM))["properties"]["displayName"] == "One"
    assert (await world.send("HEAD", f"{product}/apis/one", v=APIM)).status == 204
    place = f"{SUBSCRIPTION}/Microsoft.ApiManagement/deletedservices"
    await world.ok("DELETE", SERVICE, v=APIM)
    assert (await world.ok("GET", place, v=APIM))["value"] == []
    assert (await world.send("GET", place, v=APIM, who="nobody")).status == 403


# --- Container Instances


def containers(**more: Any) -> dict[str, Any]:
    one = {
        "name": "main",
        "properties": {
            "image": "alpine",
            "environmentVariables": [{"name": "OPEN", "value": "yes"}, {"name": "SHUT", "secureValue": "hunter2"}],
            "resources": {"requests": {"cpu": 1, "memoryInGB": 1.5}},
        },
    }
    return {"location": "westeurope", "properties": {"osType": "Linux", "containers": [one], **more}}


async def test_a_container_group(world: Any) -> None:
    share = {"shareName": "s", "storageAccountName": "a", "storageAccountKey": "hunter2"}
    secrets = {
        "imageRegistryCredentials": [{"server": "s", "username": "u", "password": "hunter2"}],
        "volumes": [{"name": "v", "azureFile": share}],
        "ipAddress": {"type": "Public", "dnsNameLabel": "box", "ports": [{"port": 80}]},
    }  # fmt: skip
    made = await world.send("PUT", CONTAINERS, containers(**secrets), v=ACI)
    assert made.status == 201
    shown = await world.send("GET", CONTAINERS, v=ACI)
    assert b"hunter2" not in made.body + shown.body
    properties = shown.json["properties"]
    assert properties["ipAddress"]["fqdn"] == "box.westeurope.azurecontainer.io"
    assert properties["containers"][0]["properties"]["environmentVariables"] == [
        {"name": "OPEN", "value": "yes"},
        {"name": "SHUT"},
    ]
    assert properties["instanceView"]["state"] == "Running"
    assert (await world.send("POST", f"{CONTAINERS}/stop", v=ACI)).status == 204
    assert (await world.ok("GET", CONTAINERS, v=ACI))["properties"]["instanceView"]["state"] == "Stopped"
    assert (await world.ok("GET", f"{CONTAINERS}/containers/main/logs", v=ACI)) == {"content": ""}
    assert (await world.send("GET", f"{CONTAINERS}/containers/other/logs", v=ACI)).status == 404
    assert (await world.send("PUT", CONTAINERS, containers(), v=ACI)).status == 200
    gone = await world.send("DELETE", CONTAINERS, v=ACI)
    assert (gone.status, gone.json["name"]) == (200, CONTAINERS.rpartition("/")[2])
    assert (await world.send("DELETE", CONTAINERS, v=ACI)).status == 204


@pytest.mark.parametrize(
    "change",
    [
        {"containers": []},
        {"osType": "Solaris"},
        {"containers": [{"name": "a", "properties": {}}]},
        {"containers": [{"name": "a", "properties": {"image": "x"}}]},
        {"containers": "many"},
    ],
)
async def test_groups_that_are_refused(world: Any, change: Any) -> None:
    assert (await world.send("PUT", CONTAINERS, containers(**change), v=ACI)).status == 400


@pytest.mark.parametrize("table", ["webAppStacks", "functionAppStacks"])
async def test_runtimes_to_choose_from(world, table):
    """What az webapp create --runtime and az functionapp create read before they make anything."""
    path = f"/providers/Microsoft.Web/{table}"
    rows = (await world.ok("GET", path, v=WEB, who="nobody"))["value"]
    assert [row["name"] for row in rows] == ["dotnet", "node", "python"]
    assert rows[0]["id"] == f"{path}/dotnet"
    found = {}
    for row in rows:
        for major in row["properties"]["majorVersions"]:
            for minor in major["minorVersions"]:
                found |= {one["runtimeVersion"]: one for one in minor["stackSettings"].values()}
    wanted = {
        "webAppStacks": {"PYTHON|3.12", "NODE|22-lts", "~22", "DOTNETCORE|8.0", "v8.0"},
        "functionAppStacks": {"Python|3.12", "Node|22", "~22", "DOTNET-ISOLATED|8.0", "v8.0"},
    }[table]
    assert wanted <= found.keys()
    if table == "functionAppStacks":
        python = found["Python|3.12"]
        assert python["appSettingsDictionary"] == {"FUNCTIONS_WORKER_RUNTIME": "python"}
        assert python["siteConfigPropertiesDictionary"]["linuxFxVersion"] == "Python|3.12"
        assert python["supportedFunctionsExtensionVersions"] == ["~4"]
        assert found["~22"]["appSettingsDictionary"]["WEBSITE_NODE_DEFAULT_VERSION"] == "~22"
    windows = (await world.ok("GET", f"{path}?api-version={WEB}&stackOsType=Windows"))["value"]
    assert [row["name"] for row in windows] == ["dotnet", "node"]
    assert all(
        set(minor["stackSettings"]) == {"windowsRuntimeSettings"}
        for row in windows
        for major in row["properties"]["majorVersions"]
        for minor in major["minorVersions"]
    )
    there = (await world.ok("GET", f"/providers/Microsoft.Web/locations/westeurope/{table}", v=WEB))["value"]
    assert (there[0]["location"], there[0]["type"]) == ("westeurope", f"Microsoft.Web/locations/{table}")


async def test_asking_whether_something_is_there_gives_its_tag(world: Any) -> None:
    """The `GetEntityTag` operations: clients send the tag with what they change."""
    body = {
        "location": "westeurope",
        "sku": {"name": "Developer", "capacity": 1},
        "properties": {"publisherEmail": "a@b.example", "publisherName": "me"},
    }
    await world.ok("PUT", SERVICE, body, v=APIM)
    product = f"{SERVICE}/products/p"
    assert (await world.send("HEAD", product, v=APIM)).status == 404
    made = await world.send("PUT", product, {"properties": {"displayName": "P"}}, v=APIM)
    asked = await world.send("HEAD", product, v=APIM)
    assert (asked.status, asked.body, asked.headers["etag"]) == (200, b"", made.headers["etag"])
    await world.ok("PUT", product, {"properties": {"displayName": "Q"}}, v=APIM)
    assert (await world.send("HEAD", product, v=APIM)).headers["etag"] != made.headers["etag"]
    assert (await world.send("HEAD", product, v=APIM, who="nobody")).status == 403


async def test_runtimes_of_flex_consumption(world: Any) -> None:
    place = "/providers/Microsoft.Web/locations/westeurope/functionAppStacks?api-version=2020-10-01"
    rows = (await world.ok("GET", f"{place}&stack=python&sku=FC1"))["value"]
    assert [row["name"] for row in rows] == ["python"]
    versions = [v for major in rows[0]["properties"]["majorVersions"] for v in major["minorVersions"]]
    chosen = versions[0]["stackSettings"]["linuxRuntimeSettings"]["Sku"][0]["functionAppConfigProperties"]["runtime"]
    assert chosen == {"name": "python", "version": versions[0]["value"]}
    assert "Sku" not in str((await world.ok("GET", place))["value"])
