"""The doors' resource types: what each adds to the engine."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any
from urllib.parse import parse_qs

import pytest

GROUP = "/subscriptions/bbbbbbbb-0000-4000-8000-000000000001/resourceGroups/g"
SUBSCRIPTION = "/subscriptions/bbbbbbbb-0000-4000-8000-000000000001/providers"
ACCOUNT = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/acct1"
SERVER = f"{GROUP}/providers/Microsoft.Sql/servers/server1"
HUBS = f"{GROUP}/providers/Microsoft.EventHub/namespaces/messages1"
BUS = f"{GROUP}/providers/Microsoft.ServiceBus/namespaces/messages2"
ST, SQL, EH, SB = "2023-05-01", "2021-11-01", "2024-01-01", "2021-11-01"

NEW_ACCOUNT = {"location": "westeurope", "sku": {"name": "Standard_RAGRS"}, "kind": "StorageV2", "properties": {}}
NEW_SERVER = {
    "location": "westeurope",
    "properties": {"administratorLogin": "chief", "administratorLoginPassword": "S3cret!pass"},
}
NEW_NAMESPACE = {"location": "westeurope", "sku": {"name": "Standard"}}

# --- storage


async def test_a_storage_account(world: Any) -> None:
    made = await world.send("PUT", ACCOUNT, NEW_ACCOUNT, v=ST)
    assert made.status == 200  # the document knows no 201
    properties = made.json["properties"]
    assert properties["primaryEndpoints"]["blob"] == "https://acct1.blob.core.windows.net/"
    assert properties["secondaryEndpoints"]["queue"] == "https://acct1-secondary.queue.core.windows.net/"
    assert (made.json["sku"], made.json["kind"]) == ({"name": "Standard_RAGRS", "tier": "Standard"}, "StorageV2")
    again = await world.ok("PUT", ACCOUNT, NEW_ACCOUNT, v=ST)
    assert again["properties"]["creationTime"] == properties["creationTime"]
    other = ACCOUNT.replace("/g/", "/h/")
    await world.ok("PUT", other.partition("/providers")[0], {"location": "westeurope"}, v="2021-04-01")
    assert (await world.send("PUT", other, NEW_ACCOUNT, v=ST)).code == "StorageAccountAlreadyTaken"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"location": "westeurope", "kind": "StorageV2"}, "InvalidParameter"),
        ({"location": "westeurope", "kind": "Tape", "sku": {"name": "Standard_LRS"}}, "InvalidParameter"),
        ({"location": "westeurope", "kind": "Storage", "sku": {"name": "Gold"}}, "InvalidParameter"),
        (
            {"location": "westeurope", "kind": "BlobStorage", "sku": {"name": "Standard_LRS"}},
            "AccountPropertyIsRequired",
        ),
        (NEW_ACCOUNT | {"properties": {"allowSharedKeyAccess": "no"}}, "InvalidParameter"),
    ],
)
async def test_accounts_that_are_refused(world: Any, body: Any, code: str) -> None:
    answer = await world.send("PUT", ACCOUNT, body, v=ST)
    assert (answer.status, answer.code) == (400, code)
    assert (await world.send("GET", ACCOUNT, v=ST)).status == 404


async def test_keys(world: Any) -> None:
    await world.ok("PUT", ACCOUNT, NEW_ACCOUNT, v=ST)
    for who, status in (("contributor", 200), ("reader", 403), ("nobody", 403)):
        assert (await world.send("POST", f"{ACCOUNT}/listKeys", v=ST, who=who)).status == status
    first, second = (await world.ok("POST", f"{ACCOUNT}/listKeys", v=ST))["keys"]
    assert len(base64.b64decode(first["value"])) == 64
    assert first["value"] != second["value"]
    changed = await world.ok("POST", f"{ACCOUNT}/regenerateKey", {"keyName": "key1"}, v=ST)
    assert changed["keys"][0]["value"] != first["value"]
    assert changed["keys"][1]["value"] == second["value"]
    await world.ok("PATCH", ACCOUNT, {"tags": {"a": "b"}}, v=ST)
    assert await world.ok("POST", f"{ACCOUNT}/listKeys", v=ST) == changed
    assert (await world.send("POST", f"{ACCOUNT}/regenerateKey", {"keyName": "key3"}, v=ST)).status == 400
    assert b"keyfob." not in (await world.send("GET", ACCOUNT, v=ST)).body
    await world.ok("PATCH", ACCOUNT, {"properties": {"allowSharedKeyAccess": False}}, v=ST)
    assert (await world.send("POST", f"{ACCOUNT}/listKeys", v=ST)).status == 409


async def test_nobody_can_send_what_is_ours(world: Any) -> None:
    await world.ok("PUT", ACCOUNT, NEW_ACCOUNT, v=ST)
    before = await world.ok("POST", f"{ACCOUNT}/listKeys", v=ST)
    sent = {"properties": {"keyfob.generations": {"key1": 7}}}
    for method, body in (("PATCH", sent), ("PUT", NEW_ACCOUNT | sent)):
        await world.ok(method, ACCOUNT, body, v=ST)
        assert await world.ok("POST", f"{ACCOUNT}/listKeys", v=ST) == before


async def test_an_account_signature_is_signed_with_the_key(world: Any) -> None:
    await world.ok("PUT", ACCOUNT, NEW_ACCOUNT, v=ST)
    asked = {
        "signedServices": "b",
        "signedResourceTypes": "sco",
        "signedPermission": "rl",
        "signedExpiry": "2030-01-01T00:00:00Z",
    }
    text = (await world.ok("POST", f"{ACCOUNT}/ListAccountSas", asked, v=ST))["accountSasToken"]
    key = (await world.ok("POST", f"{ACCOUNT}/listKeys", v=ST))["keys"][0]["value"]
    query = {name: values[0] for name, values in parse_qs(text).items()}
    lines = ["acct1", "rl", "b", "sco", "", asked["signedExpiry"], "", "", query["sv"], ""]
    wanted = hmac.new(base64.b64decode(key), "\n".join(lines).encode(), hashlib.sha256).digest()
    assert base64.b64decode(query["sig"]) == wanted
    assert (await world.send("POST", f"{ACCOUNT}/ListAccountSas", {}, v=ST)).status == 400


async def test_what_is_in_an_account(world: Any) -> None:
    await world.ok("PUT", ACCOUNT, NEW_ACCOUNT, v=ST)
    for kind in ("blobServices", "queueServices", "tableServices", "fileServices"):
        assert (await world.ok("GET", f"{ACCOUNT}/{kind}/default", v=ST))["name"] == "default"
    container = f"{ACCOUNT}/blobServices/default/containers/pictures"
    made = await world.send("PUT", container, {"properties": {}}, v=ST)
    assert (made.status, made.json["properties"]["publicAccess"]) == (201, "None")
    assert (await world.send("PUT", container, {"properties": {"publicAccess": "Blob"}}, v=ST)).status == 200
    assert (await world.send("PUT", container.replace("pictures", "Big"), {}, v=ST)).status == 400
    listed = await world.ok("GET", f"{ACCOUNT}/blobServices/default/containers", v=ST)
    assert [row["name"] for row in listed["value"]] == ["pictures"]
    queue = f"{ACCOUNT}/queueServices/default/queues/jobs"
    await world.ok("PUT", queue, {}, v=ST)
    assert (await world.send("DELETE", queue, v=ST)).status == 204
    await world.ok("DELETE", ACCOUNT, v=ST)
    assert (await world.send("GET", container, v=ST)).status == 404


async def test_names_of_accounts(world: Any) -> None:
    path = f"{SUBSCRIPTION}/Microsoft.Storage/checkNameAvailability"

    async def check(name: str) -> Any:
        return await world.ok("POST", path, {"name": name, "type": "Microsoft.Storage/storageAccounts"}, v=ST)

    assert await check("acct1") == {"nameAvailable": True}
    await world.ok("PUT", ACCOUNT, NEW_ACCOUNT, v=ST)
    assert (await check("acct1"))["reason"] == "AlreadyExists"
    assert (await check("A-B"))["reason"] == "AccountNameInvalid"
    assert (await world.send("POST", path, {"name": "x"}, v=ST, who="nobody")).status == 403


# --- SQL


async def test_a_server_never_shows_or_keeps_its_password(world: Any) -> None:
    made = await world.send("PUT", SERVER, NEW_SERVER, v=SQL)
    assert made.status == 201
    shown = await world.ok("GET", SERVER, v=SQL)
    assert shown["properties"]["fullyQualifiedDomainName"] == "server1.database.windows.net"
    assert b"S3cret" not in made.body
    files = [file for file in world.app.settings.data.rglob("*") if file.is_file()]
    assert files
    assert all(b"S3cret" not in file.read_bytes() for file in files)
    databases = await world.ok("GET", f"{SERVER}/databases", v=SQL)
    assert [row["name"] for row in databases["value"]] == ["master"]


@pytest.mark.parametrize("password", ["short1!", "alllowercase", "Chief!2345678", None, 5])
async def test_passwords_that_are_refused(world: Any, password: Any) -> None:
    body = {**NEW_SERVER, "properties": {"administratorLogin": "chief", "administratorLoginPassword": password}}
    assert (await world.send("PUT", SERVER, body, v=SQL)).status == 400


async def test_the_directory_administrator_is_one_thing_in_two_places(world: Any) -> None:
    await world.ok("PUT", SERVER, NEW_SERVER, v=SQL)
    path = f"{SERVER}/administrators/ActiveDirectory"
    sid = "cccccccc-0000-4000-8000-000000000001"
    only = f"{SERVER}/azureADOnlyAuthentications/Default"
    refused = await world.send("PUT", only, {"properties": {"azureADOnlyAuthentication": True}}, v=SQL)
    assert refused.status == 400
    bad = {"properties": {"administratorType": "ActiveDirectory", "login": "dba", "sid": "me"}}
    assert (await world.send("PUT", path, bad, v=SQL)).status == 400
    good = {"properties": {"administratorType": "ActiveDirectory", "login": "dba", "sid": sid}}
    assert (await world.send("PUT", path, good, v=SQL, who="reader")).status == 403
    await world.ok("PUT", path, good, v=SQL)
    assert (await world.ok("GET", SERVER, v=SQL))["properties"]["administrators"]["sid"] == sid
    await world.ok("PUT", only, {"properties": {"azureADOnlyAuthentication": True}}, v=SQL)
    assert (await world.ok("GET", SERVER, v=SQL))["properties"]["administrators"]["azureADOnlyAuthentication"] is True
    await world.send("DELETE", path, v=SQL)
    assert (await world.send("GET", path, v=SQL)).status == 404
    assert "administrators" not in (await world.ok("GET", SERVER, v=SQL))["properties"]
    inline = {"location": "westeurope", "properties": {"administrators": {
        "login": "dba", "sid": sid, "azureADOnlyAuthentication": True}}}  # fmt: skip
    other = SERVER + "b"
    await world.ok("PUT", other, inline, v=SQL)
    assert (await world.ok("GET", f"{other}/administrators/ActiveDirectory", v=SQL))["properties"]["sid"] == sid


async def test_databases_and_firewall(world: Any) -> None:
    await world.ok("PUT", SERVER, NEW_SERVER, v=SQL)
    made = await world.ok("PUT", f"{SERVER}/databases/shop", {"location": "westeurope", "sku": {"name": "S0"}}, v=SQL)
    assert made["properties"]["status"] == "Online"
    await world.ok("POST", f"{SERVER}/databases/shop/pause", v=SQL)
    assert (await world.ok("GET", f"{SERVER}/databases/shop", v=SQL))["properties"]["status"] == "Paused"
    rule = f"{SERVER}/firewallRules/all"
    good = {"properties": {"startIpAddress": "0.0.0.0", "endIpAddress": "0.0.0.0"}}
    assert (await world.send("PUT", rule, good, v=SQL)).status == 201
    for start, end in (("1.2.3.4", "1.2.3.3"), ("x", "y"), ("::1", "::2")):
        bad = {"properties": {"startIpAddress": start, "endIpAddress": end}}
        assert (await world.send("PUT", rule, bad, v=SQL)).status == 400
    await world.send("DELETE", f"{SERVER}/databases/master", v=SQL)
    assert (await world.send("GET", f"{SERVER}/databases/master", v=SQL)).status == 200
    await world.send("DELETE", SERVER, v=SQL)
    assert (await world.send("GET", SERVER, v=SQL)).status == 404
    assert (await world.send("GET", rule, v=SQL)).status == 404


# --- messaging


async def test_event_hubs_and_service_bus_share_their_names(world: Any) -> None:
    await world.ok("PUT", HUBS, NEW_NAMESPACE, v=EH)
    same = HUBS.replace("EventHub", "ServiceBus")
    assert (await world.send("PUT", same, NEW_NAMESPACE, v=SB)).code == "NamespaceUnavailable"
    path = f"{SUBSCRIPTION}/Microsoft.ServiceBus/checkNameAvailability"
    assert (await world.ok("POST", path, {"name": "messages1"}, v=SB))["reason"] == "NameInUse"
    assert (await world.ok("POST", path, {"name": "messages9"}, v=SB))["nameAvailable"] is True


async def test_rules_of_hubs(world: Any) -> None:
    await world.ok("PUT", HUBS, NEW_NAMESPACE, v=EH)
    root = f"{HUBS}/authorizationRules/RootManageSharedAccessKey"
    keys = await world.ok("POST", f"{root}/listKeys", v=EH)
    assert keys["primaryConnectionString"].startswith("Endpoint=sb://messages1.servicebus.windows.net/;Shared")
    assert (await world.send("POST", f"{root}/listKeys", v=EH, who="reader")).status == 403
    renewed = await world.ok("POST", f"{root}/regenerateKeys", {"keyType": "PrimaryKey"}, v=EH)
    assert renewed["primaryKey"] != keys["primaryKey"]
    assert renewed["secondaryKey"] == keys["secondaryKey"]
    await world.ok("PUT", f"{HUBS}/eventhubs/events", {"properties": {"partitionCount": 2}}, v=EH)
    groups = await world.ok("GET", f"{HUBS}/eventhubs/events/consumergroups", v=EH)
    assert [row["name"] for row in groups["value"]] == ["$Default"]
    rule = f"{HUBS}/eventhubs/events/authorizationRules/send"
    await world.ok("PUT", rule, {"properties": {"rights": ["Send"]}}, v=EH)
    assert (await world.ok("POST", f"{rule}/listKeys", v=EH))["primaryConnectionString"].endswith(";EntityPath=events")
    for rights in ([], ["Manage"], ["Dance"], None):
        assert (await world.send("PUT", rule, {"properties": {"rights": rights}}, v=EH)).status == 400
    assert (await world.send("PUT", f"{HUBS}/eventhubs/e2", {"properties": {"partitionCount": 0}}, v=EH)).status == 400


async def test_queues_topics_subscriptions_rules(world: Any) -> None:
    await world.ok("PUT", BUS, NEW_NAMESPACE, v=SB)
    await world.ok("PUT", f"{BUS}/queues/orders", {"properties": {"maxDeliveryCount": 3}}, v=SB)
    queue = await world.ok("GET", f"{BUS}/queues/orders", v=SB)
    assert (queue["properties"]["maxDeliveryCount"], queue["properties"]["lockDuration"]) == (3, "PT1M")
    topic = f"{BUS}/topics/news"
    assert (await world.send("PUT", f"{topic}/subscriptions/a", {}, v=SB)).code == "ParentResourceNotFound"
    await world.ok("PUT", topic, {}, v=SB)
    await world.ok("PUT", f"{topic}/subscriptions/a", {}, v=SB)
    rules = await world.ok("GET", f"{topic}/subscriptions/a/rules", v=SB)
    assert [row["name"] for row in rules["value"]] == ["$Default"]
    await world.ok("PUT", f"{topic}/authorizationRules/r", {"properties": {"rights": ["Listen"]}}, v=SB)
    assert (await world.ok("POST", f"{topic}/authorizationRules/r/listKeys", v=SB))["keyName"] == "r"


# --- networks


async def test_inline_children_are_resources_too(world: Any) -> None:
    net = f"{GROUP}/providers/Microsoft.Network/virtualNetworks/net"
    body = {
        "location": "westeurope",
        "properties": {"subnets": [{"name": "a", "properties": {"addressPrefix": "10.0.0.0/24"}}]},
    }
    made = await world.ok("PUT", net, body, v="2022-01-01")
    assert made["properties"]["subnets"][0]["id"] == f"{net}/subnets/a"
    child = await world.ok("GET", f"{net}/subnets/a", v="2015-06-15")
    assert child["properties"]["addressPrefix"] == "10.0.0.0/24"
    await world.ok("PUT", f"{net}/subnets/b", {"properties": {"addressPrefix": "10.0.1.0/24"}}, v="2022-01-01")
    shown = await world.ok("GET", net, v="2022-01-01")
    assert [subnet["name"] for subnet in shown["properties"]["subnets"]] == ["a", "b"]
    await world.ok("DELETE", f"{net}/subnets/a", v="2022-01-01")
    shown = await world.ok("GET", net, v="2022-01-01")
    assert [subnet["name"] for subnet in shown["properties"]["subnets"]] == ["b"]
    await world.ok("PUT", net, body, v="2022-01-01")
    assert (await world.send("GET", f"{net}/subnets/b", v="2022-01-01")).status == 404
    bad = {"location": "westeurope", "properties": {"subnets": [{"properties": {}}]}}
    assert (await world.send("PUT", net, bad, v="2022-01-01")).status == 400
    await world.ok("DELETE", net, v="2022-01-01")
    assert (await world.send("GET", f"{net}/subnets/a", v="2022-01-01")).status == 404


async def test_addresses(world: Any) -> None:
    ip = f"{GROUP}/providers/Microsoft.Network/publicIPAddresses/ip"
    body = {"location": "westeurope", "properties": {"dnsSettings": {"domainNameLabel": "shop"}}}
    made = await world.ok("PUT", ip, body, v="2022-01-01")
    assert made["properties"]["ipAddress"].startswith("203.0.113.")
    assert made["properties"]["dnsSettings"]["fqdn"] == "shop.westeurope.cloudapp.azure.com"
    nic = f"{GROUP}/providers/Microsoft.Network/networkInterfaces/nic"
    body = {"location": "westeurope", "properties": {"ipConfigurations": [{"name": "main", "properties": {}}]}}
    made = await world.ok("PUT", nic, body, v="2022-01-01")
    assert made["properties"]["ipConfigurations"][0]["id"] == f"{nic}/ipConfigurations/main"


async def test_an_interface_knows_its_machine(world: Any) -> None:
    nics = [f"{GROUP}/providers/Microsoft.Network/networkInterfaces/nic{n}" for n in (1, 2)]
    plain = {"location": "westeurope", "properties": {"ipConfigurations": []}}
    for nic in nics:
        await world.ok("PUT", nic, plain, v="2022-01-01")

    async def machines() -> list[str | None]:
        shown = [(await world.ok("GET", nic, v="2022-01-01"))["properties"] for nic in nics]
        return [one.get("virtualMachine", {}).get("id") for one in shown]

    async def put(machine: str, *used: str) -> None:
        listed = [{"id": id} for id in used]
        body = {"location": "westeurope", "properties": {"networkProfile": {"networkInterfaces": listed}}}
        await world.ok("PUT", machine, body, v="2024-03-01")

    machine = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/one"
    missing = f"{GROUP}/providers/Microsoft.Network/networkInterfaces/none"
    await put(machine, nics[0], missing, "nonsense", GROUP)
    assert await machines() == [machine, None]
    await world.ok("PUT", nics[0], plain, v="2022-01-01")  # nobody writes it but the machine
    assert await machines() == [machine, None]
    await put(machine, nics[1].upper())
    assert await machines() == [None, machine]
    await put(machine + "2", nics[0])
    await world.ok("DELETE", machine, v="2024-03-01")
    assert await machines() == [machine + "2", None]


async def test_network_rules_that_a_body_does_not_say(world: Any) -> None:
    acls = {"ipRules": [{"value": "1.2.3.4", "action": "Allow"}], "bypass": None}
    body = {"location": "westeurope", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}
    await world.ok("PUT", ACCOUNT, body | {"properties": {"networkAcls": acls}}, v="2022-09-01")
    shown = (await world.ok("GET", ACCOUNT, v=ST))["properties"]["networkAcls"]
    assert (shown["bypass"], shown["defaultAction"]) == ("AzureServices", "Allow")
    assert shown["ipRules"] == acls["ipRules"]
