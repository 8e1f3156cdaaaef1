"""The engine: what template deployments ask for, a fault in a type, both databases."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from keyfob.arm.dialect import Quota
from keyfob.arm.resources import OPERATIONS, find_by_name, get_resource, list_resources
from keyfob.declare import Caller
from keyfob.errors import Forbidden, InvalidInput, NotFound
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Fields, Request

S = "bbbbbbbb-0000-4000-8000-000000000001"
TENANT = "aaaaaaaa-0000-4000-8000-000000000001"
GROUP = f"/subscriptions/{S}/resourceGroups/g"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/vm1"
BOX = f"{GROUP}/providers/Microsoft.Shelf/boxes/b1"


def caller(manager: Any, who: str) -> Caller:
    principal = manager.people[who]
    return Caller(principal.tenant_id, principal.id, principal.app_id)


async def put(manager: Any, id: str, body: Any, who: str = "owner", version: str = "2024-11-01") -> Any:
    """As a template deployment does: without a token, in the name of whoever deploys."""
    cloud = manager.clouds["AzureCloud"]
    query = Fields((("api-version", version),))
    raw = json.dumps(body).encode()
    request = Request("PUT", id, query, Fields(), raw, host="management.azure.com", raw_path=id, request_id="r1")
    return await manager.arm.ask(request, caller=caller(manager, who), cloud=cloud)


async def test_a_deployment_puts_as_its_caller(manager: Any) -> None:
    body = {"location": "westeurope", "identity": {"type": "SystemAssigned"}}
    reply = await put(manager, VM.lower(), body)
    assert reply.status == 201
    assert any(name == "Azure-AsyncOperation" for name, _ in reply.headers)
    made = await get_resource(manager.store, ResourceId.parse(VM))
    assert made is not None
    assert made.identity is not None
    assert made.identity.system is not None
    assert made.created_by == manager.people["owner"].id
    with pytest.raises(Forbidden) as refused:
        await put(manager, VM, body, "reader")
    assert refused.value.code == "AuthorizationFailed"
    with pytest.raises(NotFound) as missing:
        await put(manager, VM, body, "stranger")
    assert missing.value.code == "SubscriptionNotFound"
    with pytest.raises(InvalidInput):
        await put(manager, VM, body, version="1999-01-01")
    with pytest.raises(NotFound):
        await put(manager, f"/subscriptions/{S}/providers/Microsoft.Compute/virtualMachines/x", body)


async def test_finding_resources(manager: Any) -> None:
    await put(manager, BOX, {"location": "westeurope"}, version="2020-01-01")
    await put(manager, VM, {"location": "westeurope"})
    found = await find_by_name(manager.store, "microsoft.shelf/BOXES", "B1")
    assert found is not None
    assert found.id == BOX
    assert await find_by_name(manager.store, "Microsoft.Shelf/boxes", "b") is None
    assert [r.name for r in await list_resources(manager.store, ResourceId.parse(GROUP))] == ["vm1", "b1"]
    assert [
        r.name for r in await list_resources(manager.store, ResourceId.parse(GROUP), type_name="Microsoft.Shelf/boxes")
    ] == ["b1"]
    assert await list_resources(manager.store, ResourceId.parse(GROUP + "2")) == []
    assert [r.name for r in await list_resources(manager.store, ResourceId.parse(BOX))] == ["b1"]


async def test_a_fault_in_a_type_holds_up_nobody(manager: Any, caplog: pytest.LogCaptureFixture) -> None:
    await put(manager, BOX, {"location": "westeurope"}, version="2020-01-01")
    kind = manager.arm.registry.find("Microsoft.Shelf/boxes")

    async def faulty(change: Any) -> None:
        raise RuntimeError("a bug")

    kind.operations.remove = faulty
    with caplog.at_level(logging.CRITICAL):
        url = (await manager.send("DELETE", GROUP)).headers["location"]
        failed = await manager.send("GET", url)
    assert (failed.status, failed.json["error"]["code"]) == (409, "InternalServerError")
    assert (await manager.send("GET", GROUP)).json["properties"]["provisioningState"] == "Succeeded"
    with caplog.at_level(logging.CRITICAL):
        broken = await manager.send("DELETE", BOX)
    assert (broken.status, broken.code) == (500, "InternalServerError")
    assert "a bug" not in broken.message


async def test_old_operations_are_forgotten(manager: Any) -> None:
    await manager.machine()
    await manager.send("GET", VM)
    manager.clock.advance(86_000)
    await manager.machine("vm2")
    assert await manager.arm.engine.operations.prune() == 0
    manager.clock.advance(1_000)
    assert await manager.arm.engine.operations.prune() == 1
    assert len(await OPERATIONS.list(manager.store)) == 1


async def test_lists_of_what_lies_in_subscriptions_need_one(manager: Any) -> None:
    answer = await manager.send("GET", "/providers/Microsoft.Compute/virtualMachines")
    assert (answer.status, answer.code) == (404, "InvalidResourceType")


def test_the_quota_forgets_invented_names() -> None:
    quota = Quota()
    for number in range(20_500):
        name, left = quota.header("GET", str(number), 0.0)
    assert (name, left) == ("x-ms-ratelimit-remaining-subscription-reads", "11999")
    assert len(quota._used) <= 10_000
    assert quota.header("DELETE", None, 0.0)[0] == "x-ms-ratelimit-remaining-tenant-deletes"


async def test_on_both_databases(both_manager: Any) -> None:
    manager = both_manager
    await manager.identity("uami1")
    u1 = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/uami1"
    block = {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {u1: {}}}
    made = await manager.machine(identity=block)
    assert made.status == 201
    refused = await manager.send("PUT", VM, {"location": "westeurope", "identity": block}, who="machinist")
    assert refused.code == "LinkedAuthorizationFailed"
    found = await manager.attachments.of(ResourceId.parse(VM))
    assert (found.system is not None, len(found.user)) == (True, 1)
    await manager.send("PATCH", VM, {"identity": {"type": "None"}})
    assert (await manager.attachments.of(ResourceId.parse(VM))).system is None
    listed = await manager.send("GET", f"{GROUP}/resources?api-version=2022-12-01&$top=1")
    assert (await manager.send("GET", listed.json["nextLink"])).json["value"][0]["name"] == "uami1"
    url = (await manager.send("DELETE", GROUP)).headers["location"]
    assert (await manager.send("GET", url)).status == 204
    assert await get_resource(manager.store, ResourceId.parse(VM)) is None
