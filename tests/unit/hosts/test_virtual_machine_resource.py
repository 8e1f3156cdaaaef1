"""A virtual machine through Resource Manager: made with an identity, asked for a token, stopped, changed, deleted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keyfob.access.assignments import assign
from keyfob.access.guard import Guard
from keyfob.arm.model import ResourceGroup
from keyfob.arm.pipeline import ResourceManager
from keyfob.arm.resources import GROUPS
from keyfob.declare import Address
from keyfob.directory.model import Tenant
from keyfob.hosts.virtual_machines import virtual_machines
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Fields, Reply, Request, parse_target

TENANT = "11111111-1111-1111-1111-111111111111"
GROUP = ResourceId.group("22222222-2222-2222-2222-222222222222", "rg")
MACHINE = str(GROUP.provider("Microsoft.Compute/virtualMachines", "web"))
OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
TOKEN = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net"


@pytest.fixture
async def arm(house):
    owner = await house.principal("owner")
    async with house.store.transaction() as tx:
        await GROUPS.put(tx, GROUP.key, ResourceGroup(id=str(GROUP), name="rg", tenant_id=TENANT, location="westus"))
        scope = ResourceId.subscription(GROUP.subscription_id or "")
        await assign(
            tx,
            tenant_id=TENANT,
            scope=scope,
            principal_id=owner.id,
            role_definition_id=OWNER,
            now=house.clock.now(),
        )
    manager = ResourceManager(
        store=house.store,
        guard=Guard(store=house.store, tokens=house.tokens, clock=house.clock, ids=house.ids),
        clouds=house.clouds,
        providers=[virtual_machines(store=house.store, ids=house.ids)],
        clock=house.clock,
        ids=house.ids,
    )
    await house.remove(ResourceId.parse(MACHINE))

    async def ask(method: str, path: str, body: Any = None, version: str = "2024-07-01", more: str = "") -> Reply:
        token = house.tokens.mint_managed_identity(
            tenant=Tenant(id=TENANT, cloud="AzureCloud"),
            principal=owner,
            audience="https://management.azure.com/",
            resource_id=str(GROUP),
            host_id=None,
        ).token
        decoded, raw, query = parse_target(f"{path}?api-version={version}{more}")
        headers = Fields([("Authorization", f"Bearer {token}"), ("Content-Type", "application/json")])
        content = b"" if body is None else json.dumps(body).encode()
        request = Request(method, decoded, query, headers, content, host="management.azure.com", raw_path=raw)
        return await manager(request, Address(house.clouds["AzureCloud"], "resource_manager"))

    return ask


def body(reply: Reply) -> Any:
    return json.loads(reply.body)


NEW = {
    "location": "West US",
    "identity": {"type": "SystemAssigned"},
    "properties": {
        "hardwareProfile": {"vmSize": "Standard_B1s"},
        "osProfile": {"computerName": "web", "adminUsername": "me", "adminPassword": "hunter2"},
    },
}


async def test_from_put_to_token_to_delete(house, arm):
    made = await arm("PUT", MACHINE, NEW)
    assert made.status == 201, made.body
    assert b"hunter2" not in made.body
    shown = body(await arm("GET", MACHINE))
    assert shown["properties"]["provisioningState"] == "Succeeded"
    assert shown["identity"]["type"] == "SystemAssigned"
    assert "keyfob.power" not in json.dumps(shown)
    token = await house.get(TOKEN)
    assert token.status == 200
    hot, asked = house.metadata.hot(ResourceId.parse(MACHINE)), (TOKEN.encode(), [(b"metadata", b"true")])
    assert hot(*asked) is not None

    stopped = await arm("POST", MACHINE + "/powerOff")
    assert stopped.status in {200, 202}
    assert hot(*asked) is None
    assert (await house.get(TOKEN)).status == 400
    view = body(await arm("GET", MACHINE + "/instanceView"))
    assert view["statuses"][1]["code"] == "PowerState/stopped"
    expanded = body(await arm("GET", MACHINE, more="&$expand=instanceView"))
    assert expanded["properties"]["instanceView"]["statuses"][1]["code"] == "PowerState/stopped"

    patched = await arm("PATCH", MACHINE, {"tags": {"a": "b"}})
    assert patched.status in {200, 202}
    assert (await house.get(TOKEN)).status == 400  # changing it does not start it
    await arm("POST", MACHINE + "/start")
    assert (await house.get(TOKEN)).status == 200

    await arm("PATCH", MACHINE, {"identity": {"type": "None"}})
    assert hot(*asked) is None
    assert (await house.get(TOKEN)).status == 400
    await arm("PATCH", MACHINE, {"identity": {"type": "SystemAssigned"}})
    renewed = body(await house.get(TOKEN))
    assert renewed["client_id"] != body(token)["client_id"]  # a new identity, not the old one back
    assert body(await arm("GET", MACHINE))["properties"]["vmId"] == shown["properties"]["vmId"]

    assert (await arm("DELETE", MACHINE)).status in {200, 202, 204}
    assert hot(*asked) is None
    assert (await house.get(TOKEN)).status == 401


async def test_the_array_form_of_2017(house, arm):
    first = await house.user_identity("u1")
    given = {**NEW, "identity": {"type": "UserAssigned", "identityIds": [first]}}
    made = await arm("PUT", MACHINE, given, "2017-12-01")
    assert made.status in {200, 201}, made.body
    shown = body(await arm("GET", MACHINE, None, "2017-12-01"))
    assert [i.lower() for i in shown["identity"]["identityIds"]] == [first.lower()]
    assert body(await house.get(TOKEN))["client_id"] == house.identities["u1"].app_id


async def test_names_and_versions_that_do_not_fit(arm):
    assert (await arm("PUT", MACHINE, NEW, "2010-01-01")).status == 400
    assert (await arm("PUT", MACHINE + "-", NEW)).status == 400
    assert (await arm("PUT", MACHINE, {**NEW, "properties": {"osProfile": 5}})).status == 400
    assert (await arm("POST", MACHINE + "/start")).status == 404
