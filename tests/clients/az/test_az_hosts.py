"""Hosts as az makes them: web apps and functions, scale sets, API Management. What they have in common with their
identities is in test_az_identities.py and test_az_identity_matrix.py.
"""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
GROUP = "az-made-hosts"


@pytest.fixture(scope="module")
def here(az):
    az(f"group create -n {GROUP} -l westeurope")
    return f"-g {GROUP}"


@pytest.fixture(scope="module")
def user(az, here):
    return az(f"identity create {here} -n of-hosts")


@pytest.fixture(scope="module")
def linux(az, here):
    """Since 2.90 or so az makes plans for Linux unless it is told `--is-linux false`."""
    made = az(f"appservice plan create {here} -n az-linux --sku S1")
    assert (made["kind"], made["reserved"], made["sku"]["tier"]) == ("linux", True, "Standard")
    return "az-linux"


@pytest.fixture(scope="module")
def windows(az, here):
    made = az(f"appservice plan create {here} -n az-windows --is-linux false --sku B1")
    assert (made["kind"], made["reserved"], made["sku"]["tier"]) == ("app", False, "Basic")
    return "az-windows"


@pytest.fixture(scope="module")
def store(az, here):
    az(f"storage account create {here} -n azhostsstore -l westeurope --sku Standard_LRS")
    return "azhostsstore"


def stored(az, az_server, host: str, version: str):
    subscription = az_server.operator()["subscription_id"]
    path = f"/subscriptions/{subscription}/resourceGroups/{GROUP}/providers/{host}?api-version={version}"
    return az_server.rest("GET", path)


# --- App Service


def test_a_linux_web_app(az, az_server, here, linux, user):
    made = az(
        f"webapp create {here} -p {linux} -n az-web-linux --runtime PYTHON:3.12"
        f" --assign-identity [system] {user['id']} --role Reader --scope {user['id']}"
    )
    assert made["kind"] == "app,linux"
    assert made["siteConfig"]["linuxFxVersion"] == "PYTHON|3.12"
    assert made["defaultHostName"] == "az-web-linux.azurewebsites.net"
    there = stored(az, az_server, "Microsoft.Web/sites/az-web-linux", "2023-12-01")
    assert there["identity"]["principalId"] == made["identity"]["principalId"]
    assert [id.rpartition("/")[2] for id in there["identity"]["userAssignedIdentities"]] == ["of-hosts"]
    assert there["properties"]["serverFarmId"].endswith(f"/serverfarms/{linux}")
    granted = az(f"role assignment list --scope {user['id']} --assignee {made['identity']['principalId']}")
    assert [one["roleDefinitionName"] for one in granted] == ["Reader"]
    assert "is not supported" in az.fails(f"webapp create {here} -p {linux} -n az-web-cobol --runtime COBOL:1")
    assert "doesn't exist" in az.fails(f"webapp create {here} -p nowhere -n az-web-cobol --runtime PYTHON:3.12")


def test_a_windows_web_app(az, az_server, here, windows):
    made = az(f"webapp create {here} -p {windows} -n az-web-windows --runtime dotnet:8")
    assert (made["kind"], made["siteConfig"]["netFrameworkVersion"]) == ("app", "v8.0")
    az(f"webapp create {here} -p {windows} -n az-web-plain")
    settings = az(f"webapp config appsettings list {here} -n az-web-plain")
    assert [one["name"] for one in settings] == ["WEBSITE_NODE_DEFAULT_VERSION"]
    systems = {one["os"] for one in az("webapp list-runtimes")}
    assert systems == {"Linux", "Windows"}
    az(f"webapp delete {here} -n az-web-plain --keep-empty-plan")
    assert "ResourceNotFound" in az.fails(f"webapp show {here} -n az-web-plain")


def test_settings_of_a_web_app(az, az_server, here, linux):
    az(f"webapp create {here} -p {linux} -n az-web-settings --runtime NODE:22-lts")
    one = f"{here} -n az-web-settings"
    titles, rows = az.table(f"webapp config appsettings set {one} --settings A=1 B=2 --slot-settings C=3")
    assert titles == ["Name", "SlotSetting"]
    assert sorted(row.split() for row in rows) == [["A", "False"], ["B", "False"], ["C", "True"]]
    titles, rows = az.table(f"webapp config appsettings list {one}")
    assert titles == ["Name", "SlotSetting", "Value"]
    assert sorted(row.split() for row in rows) == [["A", "False", "1"], ["B", "False", "2"], ["C", "True", "3"]]
    az(f"webapp config appsettings delete {one} --setting-names A")
    there = az(f"webapp config appsettings list {one}")
    assert {setting["name"]: setting["value"] for setting in there} == {"B": "2", "C": "3"}
    az(f"webapp config connection-string set {one} -t SQLAzure --settings db=Server=there")
    strings = az(f"webapp config connection-string list {one}")
    assert [(s["name"], s["type"], s["value"]) for s in strings] == [("db", "SQLAzure", "Server=there")]
    assert az(f"webapp config set {one} --always-on true")["alwaysOn"] is True
    assert az(f"webapp config show {one}")["linuxFxVersion"] == "NODE|22-lts"
    assert az(f"webapp update {one} --https-only true")["httpsOnly"] is True
    az(f"webapp stop {one}")
    assert az(f"webapp show {one}")["state"] == "Stopped"
    az(f"webapp start {one}")
    assert az(f"webapp show {one}")["state"] == "Running"


def test_a_slot_has_an_identity_of_its_own(az, here, linux):
    az(f"webapp create {here} -p {linux} -n az-web-slots --runtime PYTHON:3.12 --assign-identity [system]")
    one = f"{here} -n az-web-slots"
    az(f"webapp deployment slot create {one} -s staging")
    assert [slot["name"] for slot in az(f"webapp deployment slot list {one}")] == ["staging"]
    own = az(f"webapp identity show {one}")["principalId"]
    other = az(f"webapp identity assign {one} --slot staging")["principalId"]
    assert other not in (None, own)
    assert az(f"webapp identity show {one} --slot staging")["principalId"] == other
    az(f"webapp identity remove {one} --slot staging")
    assert not az(f"webapp identity show {one} --slot staging")
    assert az(f"webapp identity show {one}")["principalId"] == own


def test_a_plan_and_what_is_on_it(az, here):
    az(f"appservice plan create {here} -n az-busy --sku B1")
    az(f"webapp create {here} -p az-busy -n az-web-busy --runtime PYTHON:3.12")
    assert az(f"appservice plan show {here} -n az-busy")["properties"]["numberOfSites"] == 1
    titles, rows = az.table(
        f"webapp list {here} --query \"[?name=='az-web-busy'].{{Name:name,State:state,Kind:kind,Tier:sku}}\""
    )
    assert titles == ["Name", "State", "Kind", "Tier"]
    assert [row.split() for row in rows] == [["az-web-busy", "Running", "app,linux", "Basic"]]
    # its own table needs `appServicePlanId`, which it has not got (Azure/azure-cli#33914)
    assert "Table output unavailable" in az.fails(f"webapp list {here} -o table")
    assert az(f"appservice plan update {here} -n az-busy --sku S1")["sku"]["tier"] == "Standard"
    assert az(f"webapp show {here} -n az-web-busy")["sku"] == "Standard"
    assert "(Conflict)" in az.fails(f"appservice plan delete {here} -n az-busy -y")
    az(f"webapp delete {here} -n az-web-busy --keep-empty-plan")
    az(f"appservice plan delete {here} -n az-busy -y")
    assert "az-busy" not in [one["name"] for one in az(f"appservice plan list {here}")]


# --- Functions

FUNCTIONS = {
    "consumption-linux": (
        "--consumption-plan-location westeurope --runtime python --functions-version 4 --os-type linux",
        ("functionapp,linux", "Dynamic", "WestEuropeLinuxDynamicPlan"),
    ),
    "consumption-windows": (
        "--consumption-plan-location westeurope --runtime node --functions-version 4 --os-type windows",
        ("functionapp", "Dynamic", "WestEuropePlan"),
    ),
    "plan": (
        "--plan az-linux --runtime node --functions-version 4",
        ("functionapp,linux", "Standard", "az-linux"),
    ),
    "flex": (
        "--flexconsumption-location westeurope --runtime python --runtime-version 3.12",
        ("functionapp,linux", "FlexConsumption", None),
    ),
}


@pytest.mark.parametrize("kind", list(FUNCTIONS))
def test_a_function_app(az, az_server, here, linux, store, user, kind):
    """Application Insights is left out: az asks a host of the internet, which is not there, for its regions."""
    options, (shown, tier, plan) = FUNCTIONS[kind]
    name = f"az-fun-{kind}"
    az(f"functionapp create {here} -n {name} --storage-account {store} {options} --disable-app-insights")
    there = stored(az, az_server, f"Microsoft.Web/sites/{name}", "2025-05-01")
    assert (there["kind"], there["properties"]["sku"]) == (shown, tier)
    farm = there["properties"]["serverFarmId"].rpartition("/")[2]
    assert farm == plan or (plan is None and farm.startswith("ASP-"))
    settings = {s["name"]: s["value"] for s in az(f"functionapp config appsettings list {here} -n {name}")}
    assert f"AccountName={store};" in settings["AzureWebJobsStorage"]
    assert ("FUNCTIONS_WORKER_RUNTIME" in settings) is (kind != "flex")
    one = f"{here} -n {name}"
    assigned = az(f"functionapp identity assign {one} --identities [system] {user['id']}")
    assert list(assigned["userAssignedIdentities"]) == [user["id"]]
    there = stored(az, az_server, f"Microsoft.Web/sites/{name}", "2025-05-01")
    assert there["identity"]["principalId"] == assigned["principalId"]
    az(f"functionapp identity remove {one} --identities {user['id']}")
    assert az(f"functionapp identity show {one}")["principalId"] == assigned["principalId"]


def test_function_apps_are_no_web_apps(az, here, store):
    az(
        f"functionapp create {here} -n az-fun-listed --storage-account {store} --consumption-plan-location westeurope"
        f" --runtime python --functions-version 4 --os-type linux --disable-app-insights"
    )
    assert "az-fun-listed" in [one["name"] for one in az(f"functionapp list {here}")]
    assert "az-fun-listed" not in [one["name"] for one in az(f"webapp list {here}")]
    assert az(f"functionapp keys list {here} -n az-fun-listed")["masterKey"]
    az(f"functionapp config appsettings set {here} -n az-fun-listed --settings A=1")
    names = [one["name"] for one in az(f"functionapp config appsettings list {here} -n az-fun-listed")]
    assert "A" in names
    assert "FUNCTIONS_EXTENSION_VERSION" in names
    az(f"functionapp delete {here} -n az-fun-listed")
    assert "ResourceNotFound" in az.fails(f"functionapp identity show {here} -n az-fun-listed")


# --- scale sets


@pytest.mark.parametrize("mode", ["Uniform", "Flexible"])
def test_a_scale_set_with_its_network(az, az_server, here, user, mode):
    """az's default is Flexible, and of those it does not print the identity that it makes."""
    name = f"az-set-{mode.lower()}"
    made = az(
        f"vmss create {here} -n {name} --image Ubuntu2204 --admin-username someone --generate-ssh-keys"
        f" --instance-count 2 --assign-identity [system] {user['id']} --role Reader --scope {user['id']}"
        + (" --orchestration-mode Uniform" if mode == "Uniform" else "")
    )
    own = az(f"vmss identity show {here} -n {name}")["principalId"]
    if mode == "Uniform":
        assert made["vmss"]["identity"]["systemAssignedIdentity"] == own
    there = stored(az, az_server, f"Microsoft.Compute/virtualMachineScaleSets/{name}", "2024-11-01")
    assert there["identity"]["principalId"] == own
    assert [id.rpartition("/")[2] for id in there["identity"]["userAssignedIdentities"]] == ["of-hosts"]
    assert (there["sku"]["capacity"], there["properties"]["orchestrationMode"]) == (2, mode)
    granted = az(f"role assignment list --scope {user['id']} --assignee {own}")
    assert [one["roleDefinitionName"] for one in granted] == ["Reader"]
    made_too = {one["type"] for one in az(f"resource list {here}")}
    assert {"Microsoft.Network/virtualNetworks", "Microsoft.Network/loadBalancers"} <= made_too
    titles, rows = az.table(f"vmss list {here}")
    assert titles == ["Name", "ResourceGroup", "Location", "Zones", "Capacity", "Overprovision", "UpgradePolicy"]
    row = next(row.split() for row in rows if row.startswith(name))
    assert (row[:3], row[-1]) == ([name, GROUP, "westeurope"], "Manual")
    assert az(f"vmss show {here} -n {name}")["identity"]["principalId"] == own
    az(f"vmss identity remove {here} -n {name} --identities {user['id']}")
    assert az(f"vmss identity show {here} -n {name}")["principalId"] == own
    az(f"vmss identity remove {here} -n {name}")
    assert not az(f"vmss identity show {here} -n {name}")
    az(f"vmss delete {here} -n {name}")
    assert "ResourceNotFound" in az.fails(f"vmss identity show {here} -n {name}")


def test_instances_of_a_scale_set(az, here):
    one = f"{here} -n az-set-instances"
    az(
        f"vmss create {one} --image Ubuntu2204 --admin-username someone --generate-ssh-keys --instance-count 1"
        " --orchestration-mode Uniform"
    )
    az(f"vmss scale {one} --new-capacity 3")
    titles, rows = az.table(f"vmss list-instances {one}")
    assert titles[:4] == ["InstanceId", "LatestModelApplied", "Location", "Name"]
    assert [row.split()[0] for row in rows] == ["0", "1", "2"]
    assert rows[0].split()[3] == "az-set-instances_0"
    az(f"vmss deallocate {one} --instance-ids 0")
    view = az(f"vmss get-instance-view {one} --instance-id 0")
    assert [status["code"] for status in view["statuses"]][-1] == "PowerState/deallocated"
    az(f"vmss start {one}")
    assert {s["code"] for s in az(f"vmss get-instance-view {one}")["virtualMachine"]["statusesSummary"]} == {
        "ProvisioningState/succeeded",
        "PowerState/running",
    }
    az(f"vmss delete-instances {one} --instance-ids 1")
    assert [machine["instanceId"] for machine in az(f"vmss list-instances {one}")] == ["0", "2"]
    assert az(f"vmss show {one}")["sku"]["capacity"] == 2
    assert "InvalidParameter" in az.fails(f"vmss delete-instances {one} --instance-ids 9")


# --- API Management


def test_a_gateway(az, az_server, here):
    one = f"{here} -n az-gateway"
    made = az(
        f"apim create {one} -l westeurope --publisher-email a@example.com --publisher-name A --enable-managed-identity"
    )
    assert made["gatewayUrl"] == "https://az-gateway.azure-api.net"
    assert made["identity"]["type"] == "SystemAssigned"
    there = stored(az, az_server, "Microsoft.ApiManagement/service/az-gateway", "2022-08-01")
    assert there["identity"]["principalId"] == made["identity"]["principalId"]
    assert az("apim check-name -n az-gateway")["nameAvailable"] is False
    for titles, rows in (az.table(f"apim show {one}"), az.table(f"apim list {here}")):
        assert titles == [
            *("NAME", "RESOURCE GROUP", "LOCATION", "GATEWAY ADDR", "PUBLIC IP", "PRIVATE IP", "STATUS"),
            *("TIER", "UNITS"),
        ]
        row = next(row.split() for row in rows if row.startswith("az-gateway "))
        assert row[:4] == ["az-gateway", GROUP, "westeurope", "https://az-gateway.azure-api.net"]
        assert row[-3:] == ["Online", "Developer", "1"]
    assert az(f"apim update {one} --set publisherName=B")["publisherName"] == "B"
    assert az(f"apim show {one}")["identity"]["principalId"] == made["identity"]["principalId"]
    plain = f"{here} -n az-gateway-plain"
    made = az(f"apim create {plain} -l westeurope --publisher-email a@example.com --publisher-name A")
    assert not made["identity"]
    assert az(f"apim update {plain} --enable-managed-identity true")["identity"]["type"] == "SystemAssigned"
    az(f"apim delete {plain} -y")
    assert "ResourceNotFound" in az.fails(f"apim show {plain}")
    assert az("apim deletedservice list") == []


def test_apis_of_a_gateway(az, here):
    az(f"apim create {here} -n az-apis --publisher-email a@example.com --publisher-name A --sku-name Consumption")
    one = f"{here} --service-name az-apis"
    az(f"apim api create {one} --api-id pets --path pets --display-name Pets --service-url https://pets.example")
    assert az(f"apim api show {one} --api-id pets")["serviceUrl"] == "https://pets.example"
    assert [api["displayName"] for api in az(f"apim api list {one}")] == ["Pets"]
    operation = f"{one} --api-id pets --operation-id all"
    az(f"apim api operation create {operation} --url-template /all --method GET --display-name All")
    assert az(f"apim api operation show {operation}")["urlTemplate"] == "/all"
    az(f"apim api revision create {one} --api-id pets --api-revision 2")
    revisions = az(f"apim api revision list {one} --api-id pets")
    assert [(r["apiRevision"], r["isCurrent"]) for r in revisions] == [("1", True), ("2", False)]
    az(f"apim product create {one} --product-id shop --product-name Shop")
    az(f"apim product api add {one} --product-id shop --api-id pets")
    assert az(f"apim product api check {one} --product-id shop --api-id pets") is True
    assert [api["displayName"] for api in az(f"apim product api list {one} --product-id shop")] == ["Pets"]
    value = f"{one} --named-value-id key"
    assert "hunter2" not in str(az(f"apim nv create {value} --display-name key --value hunter2 --secret true"))
    assert az(f"apim nv show-secret {value}") == {"value": "hunter2"}
    az(f"apim nv delete {value} -y")
    az(f"apim product delete {one} --product-id shop -y")
    az(f"apim api delete {one} --api-id pets -y")
    assert "ResourceNotFound" in az.fails(f"apim api show {one} --api-id pets")
