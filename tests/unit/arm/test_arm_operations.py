"""Long-running operations: states, polling, who may look, crashes, and what preempts what."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from keyfob.arm.operations import TABLE, TERMINAL, Event, Operations, State
from keyfob.arm.resources import RESOURCES
from keyfob.directory.model import ServicePrincipal
from keyfob.directory.principals import get_principal
from keyfob.store.port import EVERYTHING

S = "bbbbbbbb-0000-4000-8000-000000000001"
TENANT = "aaaaaaaa-0000-4000-8000-000000000001"
GROUP = f"/subscriptions/{S}/resourceGroups/g"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/vm1"
BOX = f"{GROUP}/providers/Microsoft.Shelf/boxes/b1"
ARM = "https://management.azure.com"


def test_the_table_leaves_terminal_states_alone() -> None:
    assert not any(state in TERMINAL for state, _ in TABLE)
    assert set(State) == {state for state, _ in TABLE} | TERMINAL
    assert TABLE[(State.RUNNING, Event.SUCCEED)] is State.SUCCEEDED
    assert (State.ACCEPTED, Event.SUCCEED) not in TABLE


async def state(manager: Any, path: str = VM) -> str:
    answer = await manager.send("GET", path)
    return str(answer.json["properties"]["provisioningState"]) if answer.status == 200 else answer.code


async def test_without_a_duration_the_first_poll_finds_it_done(manager: Any) -> None:
    made = await manager.machine()
    assert made.status == 201
    assert made.json["properties"]["provisioningState"] == "Creating"
    assert made.headers["retry-after"] == "1"
    url = made.headers["azure-asyncoperation"]
    assert url.startswith(f"{ARM}/subscriptions/{S}/providers/Microsoft.Compute/locations/westeurope/operations/")
    assert url.endswith("?api-version=2024-11-01")
    polled = await manager.send("GET", url)
    assert polled.status == 200
    assert polled.json["status"] == "Succeeded"
    assert polled.json["startTime"] == polled.json["endTime"] == "2023-11-14T22:13:20.0000000Z"
    assert polled.json["resourceId"] == VM
    assert "retry-after" not in polled.headers
    assert await state(manager) == "Succeeded"


async def test_it_runs_for_as_long_as_the_settings_say(slow: Any) -> None:
    made = await slow.machine()
    url = made.headers["azure-asyncoperation"]
    assert made.headers["retry-after"] == "15"
    result = url.replace("/operations/", "/operationResults/")
    for _ in range(2):
        polled = await slow.send("GET", url)
        assert (polled.status, polled.json["status"]) == (200, "InProgress")
        assert "endTime" not in polled.json
        assert "retry-after" in polled.headers
        waiting = await slow.send("GET", result)
        assert (waiting.status, waiting.headers["location"]) == (202, result)
        assert await state(slow) == "Creating"
        slow.clock.advance(29)
    slow.clock.advance(2)
    assert (await slow.send("GET", url)).json["status"] == "Succeeded"
    done = await slow.send("GET", result)
    assert (done.status, done.json["id"]) == (200, VM)
    assert await state(slow) == "Succeeded"


async def test_deleting(slow: Any) -> None:
    made = await slow.machine(identity={"type": "SystemAssigned"})
    object_id = made.json["identity"]["principalId"]
    slow.clock.advance(60)
    deleted = await slow.send("DELETE", VM)
    assert (deleted.status, deleted.body) == (202, b"")
    again = await slow.send("DELETE", VM)
    assert again.headers["location"] == deleted.headers["location"]
    assert await state(slow) == "Deleting"
    principal = await get_principal(slow.store, TENANT, object_id)
    assert isinstance(principal, ServicePrincipal)
    assert not principal.enabled
    changed = await slow.machine()
    assert (changed.status, changed.code) == (409, "ResourceBeingDeleted")
    child = await slow.send("PUT", f"{VM}/extensions/e", {"location": "westeurope"})
    assert child.code == "ParentResourceNotFound"
    assert (await slow.send("GET", deleted.headers["location"])).status == 202
    slow.clock.advance(60)
    assert (await slow.send("GET", deleted.headers["azure-asyncoperation"])).json["status"] == "Succeeded"
    assert (await slow.send("GET", deleted.headers["location"])).status == 204
    assert await state(slow) == "ResourceNotFound"
    assert await get_principal(slow.store, TENANT, object_id) is None
    assert (await slow.send("DELETE", VM)).status == 204


async def test_a_newer_operation_preempts(slow: Any) -> None:
    first = (await slow.machine()).headers["azure-asyncoperation"]
    slow.clock.advance(30)
    second = (await slow.send("PATCH", VM, {"tags": {"a": "b"}})).headers["azure-asyncoperation"]
    slow.clock.advance(31)
    polled = (await slow.send("GET", first)).json
    assert polled["status"] == "Canceled"
    assert polled["error"]["code"] == "OperationPreempted"
    assert await state(slow) == "Updating"
    failed = await slow.send("GET", first.replace("/operations/", "/operationResults/"))
    assert failed.status == 409
    assert failed.json["error"]["code"] == "OperationPreempted"
    slow.clock.advance(30)
    assert (await slow.send("GET", second)).json["status"] == "Succeeded"
    assert await state(slow) == "Succeeded"


async def test_a_long_action(slow: Any) -> None:
    await slow.machine()
    slow.clock.advance(60)
    answer = await slow.send("POST", f"{VM}/start")
    assert answer.status == 202
    assert (await slow.send("GET", answer.headers["location"])).status == 202
    slow.clock.advance(60)
    assert (await slow.send("GET", answer.headers["location"])).status == 200


async def test_who_may_look(slow: Any) -> None:
    url = (await slow.machine()).headers["azure-asyncoperation"]
    assert (await slow.send("GET", url, who="reader")).status == 200
    assert (await slow.send("GET", url, who="nobody")).code == "AuthorizationFailed"
    assert (await slow.send("GET", url, who="stranger")).status == 401
    assert (await slow.send("GET", url, who=None)).status == 401
    await slow.give("nobody", "9980e02c-c2be-4d73-94e8-173b1dc7cf3c", VM + "2")
    own = await slow.send("PUT", VM + "2", {"location": "westeurope"}, who="nobody")
    assert (await slow.send("GET", own.headers["azure-asyncoperation"], who="nobody")).status == 200


@pytest.mark.parametrize(
    ("old", "new"),
    [("bbbbbbbb-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"), ("Compute", "Web")],
)
async def test_an_operation_is_found_only_where_it_is(slow: Any, old: str, new: str) -> None:
    url = (await slow.machine()).headers["azure-asyncoperation"]
    assert (await slow.send("GET", url.replace(old, new))).code == "OperationNotFound"
    unknown = url.replace(url.rpartition("/")[2].partition("?")[0], "bbbbbbbb-0000-4000-8000-00000000ffff")
    assert (await slow.send("GET", unknown)).code == "OperationNotFound"


# --- groups


async def test_deleting_a_group_takes_everything(slow: Any) -> None:
    made = await slow.machine(identity={"type": "SystemAssigned"})
    object_id = made.json["identity"]["principalId"]
    await slow.identity("uami1")
    await slow.send("PUT", BOX, {"location": "westeurope"})
    await slow.group("g2")
    other = BOX.replace("/g/", "/g2/")
    await slow.send("PUT", other, {"location": "westeurope"})
    deleted = await slow.send("DELETE", GROUP)
    assert deleted.status == 202
    assert deleted.headers["location"].startswith(f"{ARM}/subscriptions/{S}/operationresults/")
    assert await state(slow, GROUP) == "Deleting"
    assert (await slow.send("PUT", BOX, {"location": "westeurope"})).code == "ResourceGroupBeingDeleted"
    assert (await slow.send("PUT", GROUP, {"location": "westeurope"})).code == "ResourceGroupBeingDeleted"
    assert (await slow.send("GET", deleted.headers["location"])).status == 202
    slow.clock.advance(60)
    assert (await slow.send("GET", deleted.headers["location"])).status == 204
    assert (await slow.send("HEAD", GROUP)).status == 404
    assert (await slow.send("GET", BOX)).code == "ResourceGroupNotFound"
    assert await get_principal(slow.store, TENANT, object_id) is None
    assert (await slow.send("GET", other)).status == 200
    await slow.group()
    assert await state(slow) == "ResourceNotFound"


async def test_a_group_that_cannot_go_stays_whole(slow: Any) -> None:
    await slow.send("PUT", BOX, {"location": "westeurope", "properties": {"stay": True}})
    made = await slow.machine(identity={"type": "SystemAssigned"})
    deleted = await slow.send("DELETE", GROUP)
    slow.clock.advance(60)
    failed = await slow.send("GET", deleted.headers["location"])
    assert failed.status == 409
    assert (failed.json["status"], failed.json["error"]["code"]) == ("Failed", "BoxInUse")
    assert await state(slow, GROUP) == "Succeeded"
    assert await state(slow) == "Succeeded"
    assert await get_principal(slow.store, TENANT, made.json["identity"]["principalId"]) is not None


async def test_a_deletion_that_fails_gives_the_identity_back(slow: Any) -> None:
    made = await slow.machine(identity={"type": "SystemAssigned"})
    slow.clock.advance(60)
    deleted = await slow.send("DELETE", VM)
    # a child appears that its type does not let go
    note = f"{VM}/extensions/e"
    from keyfob.arm.model import Resource
    from keyfob.resource_id import ResourceId

    stubborn = Resource(id=note, type="Microsoft.Shelf/boxes", name="e", tenant_id=TENANT, properties={"stay": True})
    async with slow.store.transaction() as tx:
        await RESOURCES.put(tx, ResourceId.parse(note).key, stubborn)
    slow.clock.advance(60)
    assert (await slow.send("GET", deleted.headers["azure-asyncoperation"])).json["status"] == "Failed"
    assert await state(slow) == "Failed"
    principal = await get_principal(slow.store, TENANT, made.json["identity"]["principalId"])
    assert isinstance(principal, ServicePrincipal)
    assert principal.enabled


# --- crashes, and the background


async def test_another_process_takes_over(reopener: Any) -> None:
    before = await reopener.open()
    await before.machine()
    url = (await before.send("DELETE", GROUP)).headers["location"]
    after = await reopener.open()
    assert (await after.send("GET", url)).status == 202
    assert await after.arm.engine.operations.resume() == 2
    after.clock.advance(60)
    assert (await after.send("HEAD", GROUP)).status == 404
    assert (await after.send("GET", url)).status == 204
    assert await after.arm.engine.operations.resume() == 0


async def test_two_nodes_hear_of_each_others_operations(slow: Any) -> None:
    """Two sets of operations over one store, as on two nodes. The one that did not begin it waits a moment longer."""
    mine, done = slow.arm.engine.operations, []

    async def perform(tx: Any, operation: Any) -> None:
        done.append(operation.id)
        await mine._perform(tx, operation)

    other = Operations(
        store=slow.store, clock=slow.clock, ids=slow.ids, seconds=60.0, perform=perform, give_up=mine._give_up
    )
    await slow.machine()
    await other.listen()
    slow.clock.advance(60)
    await other.settle()
    assert not done  # it is the first one's turn
    assert await state(slow) == "Succeeded"
    await other.listen()
    slow.clock.advance(60)
    await other.settle()
    assert not done

    deleted = await slow.send("DELETE", VM)
    await other.listen()
    slow.clock.advance(59)
    await other.settle()
    slow.clock.advance(3)  # the first one is silent
    await other.settle()
    assert len(done) == 1
    await mine.settle()  # and comes too late
    assert (await slow.send("GET", deleted.headers["azure-asyncoperation"])).json["status"] == "Succeeded"
    assert await state(slow) == "ResourceNotFound"
    assert len(done) == 1


async def test_when_changes_were_lost_every_operation_is_looked_for(slow: Any) -> None:
    mine = slow.arm.engine.operations
    await slow.machine()
    late = Operations(
        store=slow.store, clock=slow.clock, ids=slow.ids, seconds=60.0, perform=mine._perform, give_up=mine._give_up
    )
    slow.clock.advance(61)
    await late.listen()
    await late.settle()
    assert (await RESOURCES.list(slow.store))[0].value.provisioning_state == "Creating"
    late._changed(EVERYTHING)
    await late.listen()
    await late.settle()
    assert (await RESOURCES.list(slow.store))[0].value.provisioning_state == "Succeeded"


async def test_without_resuming_a_poll_is_enough(reopener: Any) -> None:
    before = await reopener.open()
    url = (await before.machine()).headers["azure-asyncoperation"]
    after = await reopener.open()
    after.clock.advance(60)
    assert (await after.send("GET", url)).json["status"] == "Succeeded"
    assert await state(after) == "Succeeded"


async def test_a_crash_in_the_middle_changes_nothing(reopener: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await reopener.open()
    made = await before.machine(identity={"type": "SystemAssigned"})
    await before.send("PUT", BOX, {"location": "westeurope"})
    url = (await before.send("DELETE", GROUP)).headers["location"]
    before.clock.advance(60)

    class Crash(BaseException):
        pass

    async def crash(*_: Any) -> None:
        raise Crash

    kind = before.arm.registry.find("Microsoft.Shelf/boxes")
    monkeypatch.setattr(kind.operations, "remove", crash)
    with pytest.raises(Crash):
        await before.arm.engine.operations.settle()
    after = await reopener.open()
    assert await get_principal(after.store, TENANT, made.json["identity"]["principalId"]) is not None
    assert (await after.send("GET", url)).status == 204
    assert await get_principal(after.store, TENANT, made.json["identity"]["principalId"]) is None


async def test_the_background_finishes_what_nobody_polls(manager: Any) -> None:
    task = asyncio.create_task(manager.arm.engine.operations.run())
    done = asyncio.Event()
    from keyfob.arm.resources import get_resource
    from keyfob.resource_id import ResourceId

    manager.store.watch(RESOURCES.topic, lambda key: done.set())
    try:
        await manager.machine()
        for _ in range(50):
            resource = await get_resource(manager.store, ResourceId.parse(VM))
            if resource is not None and resource.provisioning_state == "Succeeded":
                break
            done.clear()
            await asyncio.wait_for(done.wait(), 5)
        else:
            pytest.fail("the operation was not finished")
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
