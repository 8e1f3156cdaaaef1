"""What comes between the checks of a request and its write: it wins, wherever the request writes."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from keyfob.arm.checks import Attempt
from keyfob.arm.last_look import AskingStore
from keyfob.errors import Conflict
from keyfob.store.port import Session

LOCKS = "providers/Microsoft.Authorization/locks"
V = {"version": "2020-05-01"}
IDS = {"version": "2023-01-31"}
AUTH = {"version": "2022-04-01"}
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"


def between(world: Any, action: str, happens: Callable[[], Awaitable[Any]]) -> None:
    """Once every check of a request for `action` has been passed, and before it writes, something else happens."""
    manager = world.app.resource_manager
    left = [happens]

    async def check(attempt: Attempt, session: Session) -> None:
        if attempt.action.name.lower() == action.lower() and left:
            # as another client, whose request has nothing to do with this one
            await asyncio.create_task(left.pop()())

    known = manager.bystanders
    manager.bystanders = replace(known, checks=(*known.checks, check))


def locking(world: Any, place: str, level: str) -> Callable[[], Awaitable[Any]]:
    return lambda: world.good("PUT", f"{place}/{LOCKS}/late", {"properties": {"level": level}}, **V)


async def test_a_lock_that_comes_before_the_write_wins(world: Any) -> None:
    one = await world.identity("one")
    between(world, "Microsoft.ManagedIdentity/userAssignedIdentities/delete", locking(world, one, "CanNotDelete"))
    assert await world.refused("DELETE", one, **IDS) == (409, "ScopeLocked")
    assert (await world.good("GET", one, **IDS))["name"] == "one"


async def test_so_does_one_on_something_that_would_go_with_a_group(world: Any) -> None:
    one = await world.identity("one")
    between(world, "Microsoft.Resources/subscriptions/resourceGroups/delete", locking(world, one, "CanNotDelete"))
    assert await world.refused("DELETE", world.group) == (409, "ScopeLocked")
    assert (await world.good("GET", world.group))["properties"]["provisioningState"] == "Succeeded"


ROLE = f"/providers/Microsoft.Authorization/roleDefinitions/{READER}"
WRITES = {
    "a resource": ("PUT", "{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/new",
                   {"location": "westeurope"}, "2023-01-31",
                   "Microsoft.ManagedIdentity/userAssignedIdentities/write"),
    "a part of one": ("PATCH", "{one}", {"tags": {"a": "b"}}, "2023-01-31",
                      "Microsoft.ManagedIdentity/userAssignedIdentities/write"),
    "an action": ("POST", "{group}/providers/Microsoft.Compute/virtualMachines/vm/restart", None, "2024-11-01",
                  "Microsoft.Compute/virtualMachines/restart/action"),
    "a group": ("PATCH", "{group}", {"tags": {"a": "b"}}, "2024-11-01",
                "Microsoft.Resources/subscriptions/resourceGroups/write"),
    "tags": ("PUT", "{one}/providers/Microsoft.Resources/tags/default", {"properties": {"tags": {"a": "b"}}},
             "2024-11-01", "Microsoft.Resources/tags/write"),
    "a role assignment": ("PUT", "{one}/providers/Microsoft.Authorization/roleAssignments/{guid}",
                          {"properties": {"roleDefinitionId": ROLE, "principalId": "{guid}",
                                          "principalType": "ServicePrincipal"}},
                          "2022-04-01", "Microsoft.Authorization/roleAssignments/write"),
    "a deny assignment": ("PUT", "{one}/providers/Microsoft.Authorization/denyAssignments/{guid}",
                          {"properties": {"denyAssignmentName": "no", "principals": [{"id": "{guid}"}],
                                          "permissions": [{"actions": ["*/delete"]}]}},
                          "2022-04-01", "Microsoft.Authorization/denyAssignments/write"),
    "a deployment": ("PUT", "{group}/providers/Microsoft.Resources/deployments/d",
                     {"properties": {"mode": "Incremental", "template": {
                         "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
                         "contentVersion": "1.0.0.0", "resources": []}}},
                     "2022-09-01", "Microsoft.Resources/deployments/write"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRITES)
async def test_whatever_is_written_a_lock_that_came_before_wins(world: Any, what: str) -> None:
    one = await world.identity("one")
    await world.good("PUT", f"{world.group}/providers/Microsoft.Compute/virtualMachines/vm", {"location": "westeurope"})
    method, path, body, version, action = WRITES[what]
    guid = str(uuid.uuid4())

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("{guid}", guid).replace("{one}", one).replace("{group}", world.group)
        if isinstance(value, dict):
            return {name: filled(inner) for name, inner in value.items()}
        return [filled(inner) for inner in value] if isinstance(value, list) else value

    between(world, action, locking(world, world.group, "ReadOnly"))
    assert await world.refused(method, filled(path), filled(body), version=version) == (409, "ScopeLocked")
    await world.good("DELETE", f"{world.group}/{LOCKS}/late", **V)
    assert (await world.arm(method, filled(path), filled(body), version=version)).status < 300  # it was only the lock


async def test_a_lock_that_is_removed_in_between_is_no_obstacle_later(world: Any) -> None:
    one = await world.identity("one")
    between(world, "Microsoft.ManagedIdentity/userAssignedIdentities/write", locking(world, one, "CanNotDelete"))
    assert (await world.arm("PATCH", one, {"tags": {"a": "b"}}, **IDS)).status == 200


async def test_a_deny_assignment_that_comes_before_the_write_wins(world: Any) -> None:
    one = await world.identity("one")
    boss, guid = world.boss, str(uuid.uuid4())
    denial = {
        "denyAssignmentName": "late",
        "permissions": [{"actions": ["Microsoft.ManagedIdentity/*"]}],
        "principals": [{"id": boss.id}],
    }
    path = f"{world.group}/providers/Microsoft.Authorization/denyAssignments/{guid}"
    between(
        world,
        "Microsoft.ManagedIdentity/userAssignedIdentities/delete",
        lambda: world.good("PUT", path, {"properties": denial}, **AUTH),
    )
    assert await world.refused("DELETE", one, **IDS) == (403, "DenyAssignmentAuthorizationFailed")
    await world.good("DELETE", path, **AUTH)
    assert (await world.good("GET", one, **IDS))["name"] == "one"


async def test_a_role_that_is_taken_before_the_write_gives_nothing(world: Any) -> None:
    one = await world.identity("one")
    person = await world.somebody()
    given = await world.assign(CONTRIBUTOR, world.group, person.id)
    between(
        world,
        "Microsoft.ManagedIdentity/userAssignedIdentities/delete",
        lambda: world.good("DELETE", given, **AUTH),
    )
    assert await world.refused("DELETE", one, by=person, **IDS) == (403, "AuthorizationFailed")
    assert (await world.good("GET", one, **IDS))["name"] == "one"


# --- the store that asks


async def test_the_first_transaction_asks_and_sees_what_it_would_change(store: Any) -> None:
    asking, asked = AskingStore(store), list[Any]()

    async def look(session: Session) -> None:
        asked.append(await session.fetch("SELECT 1"))

    with asking.asking(look):
        assert asked == []
        for _ in range(2):
            async with asking.transaction():
                assert len(asked) == 1
    async with asking.transaction():
        assert len(asked) == 1


async def test_a_refusal_undoes_the_transaction_and_lets_the_next_one_in(store: Any) -> None:
    asking = AskingStore(store)

    async def look(session: Session) -> None:
        raise Conflict("locked")

    entered = False
    with asking.asking(look), contextlib.suppress(Conflict):
        async with asking.transaction():
            entered = True
    assert not entered
    async with asking.transaction() as tx:
        assert await tx.fetch("SELECT 1")


async def test_tasks_that_a_request_leaves_behind_are_not_asked(store: Any) -> None:
    asking, go, asked = AskingStore(store), asyncio.Event(), list[str]()

    async def look(session: Session) -> None:
        asked.append("asked")

    async def later() -> None:
        await go.wait()
        async with asking.transaction():
            pass

    with asking.asking(look):
        task = asyncio.create_task(later())
        await asyncio.sleep(0)
    go.set()
    await task
    assert asked == []
