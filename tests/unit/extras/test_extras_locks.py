"""Locks: made, listed, obeyed by everybody."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keyfob.arm.extras.locks import under
from keyfob.arm.resources import RESOURCES
from keyfob.resource_id import ResourceId

LOCKS = "providers/Microsoft.Authorization/locks"
V = {"version": "2020-05-01"}
IDS = {"version": "2023-01-31"}


def lock(level: str, **more: Any) -> dict[str, Any]:
    return {"properties": {"level": level, **more}}


async def test_a_lock_is_made_changed_and_removed(world: Any) -> None:
    id = f"{world.group}/{LOCKS}/keep"
    made = await world.good("PUT", id, lock("cannotdelete", notes="ours"), **V)
    assert made["id"] == id
    assert made["name"] == "keep"
    assert made["type"] == "Microsoft.Authorization/locks"
    assert made["properties"] == {"level": "CanNotDelete", "notes": "ours"}
    assert made["systemData"]["createdBy"] == world.boss.id
    assert (await world.arm("PUT", id, lock("ReadOnly"), **V)).status == 200
    assert (await world.good("GET", id, **V))["properties"] == {"level": "ReadOnly"}
    assert (await world.arm("DELETE", id, **V)).status == 200
    assert (await world.arm("DELETE", id, **V)).status == 204
    assert (await world.refused("GET", id, **V))[0] == 404


@pytest.mark.parametrize(
    "body",
    [lock("Never"), {"properties": {}}, {}, lock("ReadOnly", notes="n" * 513), lock("ReadOnly", notes=3),
     {"properties": {"level": ["ReadOnly"]}}, lock("ReadOnly", owners="me")],
)  # fmt: skip
async def test_a_bad_lock_is_refused(world: Any, body: Any) -> None:
    assert (await world.refused("PUT", f"{world.group}/{LOCKS}/keep", body, **V))[0] == 400


async def test_a_lock_needs_a_place(world: Any) -> None:
    nothing = f"{world.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/none/{LOCKS}/keep"
    assert await world.refused("PUT", nothing, lock("ReadOnly"), **V) == (404, "ParentResourceNotFound")


async def test_lists_at_and_below_a_scope_and_above_it(world: Any) -> None:
    one, two = await world.identity("one"), await world.identity("two")
    for place, name in ((world.subscription, "s"), (world.group, "g"), (one, "o"), (two, "t")):
        await world.good("PUT", f"{place}/{LOCKS}/{name}", lock("CanNotDelete"), **V)

    async def names(place: str, query: str = "") -> list[str]:
        return sorted(row["name"] for row in (await world.good("GET", f"{place}/{LOCKS}{query}", **V))["value"])

    assert await names(world.subscription) == ["g", "o", "s", "t"]
    assert await names(world.group) == ["g", "o", "t"]
    assert await names(one) == ["o"]
    assert await names(one, "?$filter=atScope()") == ["g", "o", "s"]
    assert await world.refused("GET", f"{one}/{LOCKS}?$filter=name eq 'o'", **V) == (400, "InvalidFilterInQueryString")


async def test_what_cannot_be_deleted_can_be_changed(world: Any) -> None:
    one = await world.identity("one")
    await world.good("PUT", f"{one}/{LOCKS}/keep", lock("CanNotDelete"), **V)
    reply = await world.arm("DELETE", one, **IDS)
    assert reply.status == 409
    error = json.loads(reply.body)["error"]
    assert error["code"] == "ScopeLocked"
    assert error["message"] == (
        f"The scope '{one}' cannot perform delete operation because following scope(s) are locked: '{one}'. Please "
        "remove the lock and try again."
    )
    await world.good("PUT", one, {"location": "westeurope", "tags": {"a": "b"}}, **IDS)
    await world.good("DELETE", f"{one}/{LOCKS}/keep", **V)
    assert (await world.arm("DELETE", one, **IDS)).status == 200


async def test_a_group_with_something_locked_in_it_stays(world: Any) -> None:
    one = await world.identity("one")
    await world.good("PUT", f"{one}/{LOCKS}/keep", lock("CanNotDelete"), **V)
    assert await world.refused("DELETE", world.group) == (409, "ScopeLocked")
    assert (await world.good("GET", world.group))["properties"]["provisioningState"] == "Succeeded"


async def test_a_lock_above_holds_below_and_not_beside(world: Any) -> None:
    one = await world.identity("one")
    beside = f"{world.subscription}/resourceGroups/extras2"
    await world.good("PUT", beside, {"location": "westeurope"})
    await world.good("PUT", f"{world.group}/{LOCKS}/keep", lock("CanNotDelete"), **V)
    assert await world.refused("DELETE", one, **IDS) == (409, "ScopeLocked")
    assert (await world.arm("DELETE", beside)).status == 202


async def test_read_only_stops_writes_deletes_and_role_assignments(world: Any) -> None:
    one = await world.identity("one")
    given = await world.assign("acdd72a7-3385-48ef-bd42-f606fba81ae7", one, (await world.somebody()).id)
    await world.good("PUT", f"{world.group}/{LOCKS}/still", lock("ReadOnly"), **V)
    locked = (409, "ScopeLocked")
    assert await world.refused("PUT", one, {"location": "westeurope"}, **IDS) == locked
    assert await world.refused("PATCH", one, {"tags": {"a": "b"}}, **IDS) == locked
    assert await world.refused("DELETE", one, **IDS) == locked
    assert await world.refused("DELETE", given, version="2022-04-01") == locked
    assert await world.refused("PATCH", world.group, {"tags": {}}) == locked
    tags = f"{one}/providers/Microsoft.Resources/tags/default"
    assert await world.refused("PUT", tags, {"properties": {"tags": {}}}) == locked
    assert (await world.good("GET", one, **IDS))["name"] == "one"
    await world.good("PUT", f"{one}/{LOCKS}/more", lock("CanNotDelete"), **V)
    await world.good("DELETE", f"{world.group}/{LOCKS}/still", **V)
    await world.good("PUT", one, {"location": "westeurope"}, **IDS)


async def test_who_may_not_is_refused_before_the_lock_is_seen(world: Any) -> None:
    one = await world.identity("one")
    contributor = await world.somebody("b24988ac-6180-42a0-ab88-20f7382dd24c", world.group)
    nobody = await world.somebody()
    id = f"{one}/{LOCKS}/keep"
    assert await world.refused("PUT", id, lock("ReadOnly"), by=contributor, **V) == (403, "AuthorizationFailed")
    await world.good("PUT", id, lock("ReadOnly"), **V)
    assert await world.refused("DELETE", id, by=contributor, **V) == (403, "AuthorizationFailed")
    assert await world.refused("DELETE", one, by=nobody, **IDS) == (403, "AuthorizationFailed")
    assert await world.refused("DELETE", one, by=contributor, **IDS) == (409, "ScopeLocked")
    assert (await world.arm("GET", f"{one}/{LOCKS}", by=contributor, **V)).status == 200
    assert await world.refused("GET", f"{one}/{LOCKS}", by=nobody, **V) == (403, "AuthorizationFailed")


async def test_a_delete_reads_no_more_than_the_locks_below(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group may hold thousands of resources; looking for locks does not decode them."""
    one = await world.identity("one")
    seen: list[str] = []
    decode = RESOURCES._stored

    def counted(row: Any) -> Any:
        found = decode(row)
        seen.append(found.value.type)
        return found

    store = world.app.store
    scope = ResourceId.parse(world.group)
    monkeypatch.setattr(RESOURCES, "_stored", counted)
    assert await under(scope, store) == []
    assert seen == []
    await world.good("PUT", f"{one}/{LOCKS}/keep", lock("CanNotDelete"), **V)
    seen.clear()
    assert [found.name for found in await under(scope, store)] == ["keep"]
    assert seen == ["Microsoft.Authorization/locks"]
    assert await under(ResourceId.parse(f"{world.group}x"), store) == []
