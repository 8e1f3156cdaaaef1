"""Management groups: made, moved, deleted; roles at them hold below, in their own tenant."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keyfob.arm.extras.hierarchy import Hierarchy, group_scope
from keyfob.arm.model import Subscription
from keyfob.arm.resources import SUBSCRIPTIONS
from keyfob.resource_id import ResourceId

TYPE = "Microsoft.Management/managementGroups"
ALL = f"/providers/{TYPE}"
V = {"version": "2020-05-01"}
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"


def body(parent: str = "", name: str = "") -> dict[str, Any]:
    details = {"details": {"parent": {"id": f"{ALL}/{parent}"}}} if parent else {}
    return {"properties": {"displayName": name, **details}}


async def chain(world: Any, *names: str) -> None:
    above = ""
    for name in names:
        await world.good("PUT", f"{ALL}/{name}", body(above), **V)
        above = name


async def test_the_root_group_is_there(world: Any) -> None:
    listed = (await world.good("GET", ALL, **V))["value"]
    assert listed == [
        {
            "id": f"{ALL}/{world.tenant}",
            "type": TYPE,
            "name": world.tenant,
            "properties": {"tenantId": world.tenant, "displayName": "Tenant Root Group"},
        }
    ]
    root = await world.good("GET", f"{ALL}/{world.tenant}?$expand=children", **V)
    assert [child["id"] for child in root["properties"]["children"]] == [world.subscription]
    assert root["properties"]["details"]["parent"] is None


async def test_a_group_is_made_named_moved_and_deleted(world: Any) -> None:
    made = await world.good("PUT", f"{ALL}/Prod", body(name="Production"), **V)
    assert made["id"] == f"{ALL}/Prod"
    assert made["properties"]["details"]["parent"]["id"] == f"{ALL}/{world.tenant}"
    await world.good("PUT", f"{ALL}/web", body("PROD"), **V)
    shown = await world.good("GET", f"{ALL}/prod?$expand=children&$recurse=true", **V)
    assert [child["name"] for child in shown["properties"]["children"]] == ["web"]
    assert await world.refused("DELETE", f"{ALL}/prod", **V) == (400, "ManagementGroupHasChildren")
    moved = await world.good("PATCH", f"{ALL}/web", {"parentGroupId": f"{ALL}/{world.tenant}"}, **V)
    assert moved["properties"]["details"]["version"] == 2
    assert moved["properties"]["details"]["parent"]["name"] == world.tenant
    renamed = await world.good("PATCH", f"{ALL}/prod", {"displayName": "Live"}, **V)
    assert (renamed["name"], renamed["properties"]["displayName"]) == ("Prod", "Live")
    assert (await world.arm("DELETE", f"{ALL}/prod", **V)).status == 204
    assert (await world.arm("DELETE", f"{ALL}/prod", **V)).status == 204
    assert (await world.refused("GET", f"{ALL}/prod", **V))[0] == 404


async def test_no_circles_no_towers_no_odd_names(world: Any) -> None:
    await chain(world, "a", "b", "c", "d", "e", "f")
    refused = await world.refused("PATCH", f"{ALL}/a", {"parentGroupId": f"{ALL}/c"}, **V)
    assert refused == (400, "InvalidParentManagementGroup")
    assert await world.refused("PUT", f"{ALL}/g", body("f"), **V) == (400, "HierarchyDepthLimitExceeded")
    assert (await world.refused("PUT", f"{ALL}/g", body("missing"), **V))[0] == 404
    assert await world.refused("PUT", f"{ALL}/ends.", body(), **V) == (400, "InvalidGroupId")
    bad = {"properties": {"details": {"parent": {"id": "/subscriptions/x"}}}}
    assert (await world.refused("PUT", f"{ALL}/g", bad, **V))[0] == 400
    assert (await world.refused("DELETE", f"{ALL}/{world.tenant}", **V))[0] == 400
    assert (await world.refused("PUT", f"{ALL}/{world.tenant}", body("a"), **V))[0] == 400


async def test_a_role_at_a_group_holds_in_its_subscriptions_and_only_there(world: Any) -> None:
    one = await world.identity("one")
    await chain(world, "top", "middle")
    await world.good("PUT", f"{ALL}/beside", body(), **V)
    reader, other = await world.somebody(READER, f"{ALL}/top"), await world.somebody(READER, f"{ALL}/beside")
    ids = {"version": "2023-01-31"}
    assert (await world.refused("GET", one, by=reader, **ids))[0] == 403
    added = await world.good("PUT", f"{ALL}/middle/subscriptions/{world.subscription_id}", **V)
    assert added["properties"]["parent"] == {"id": f"{ALL}/middle"}
    assert (await world.arm("GET", one, by=reader, **ids)).status == 200
    assert (await world.refused("GET", one, by=other, **ids))[0] == 403
    assert (await world.refused("DELETE", one, by=reader, **ids))[0] == 403
    seen = (await world.good("GET", "/subscriptions", by=reader, version="2022-12-01"))["value"]
    assert [row["subscriptionId"] for row in seen] == [world.subscription_id]
    listed = await world.good(
        "GET", f"{world.subscription}/providers/Microsoft.Authorization/roleAssignments", version="2022-04-01"
    )
    assert f"{ALL}/top" in {row["properties"]["scope"] for row in listed["value"]}
    assert (await world.arm("DELETE", f"{ALL}/middle/subscriptions/{world.subscription_id}", **V)).status == 200
    assert (await world.refused("GET", one, by=reader, **ids))[0] == 403
    assert (await world.arm("DELETE", f"{ALL}/middle/subscriptions/{world.subscription_id}", **V)).status == 204


async def test_moving_a_group_moves_what_its_subscriptions_inherit(world: Any) -> None:
    one, ids = await world.identity("one"), {"version": "2023-01-31"}
    await chain(world, "top", "middle")
    await world.good("PUT", f"{ALL}/middle/subscriptions/{world.subscription_id}", **V)
    reader = await world.somebody(READER, f"{ALL}/top")
    assert (await world.arm("GET", one, by=reader, **ids)).status == 200
    await world.good("PATCH", f"{ALL}/middle", {"parentGroupId": f"{ALL}/{world.tenant}"}, **V)
    assert (await world.refused("GET", one, by=reader, **ids))[0] == 403
    root = await world.somebody(READER, f"{ALL}/{world.tenant}")
    assert (await world.arm("GET", one, by=root, **ids)).status == 200


async def test_a_deny_assignment_at_a_group_holds_below(world: Any) -> None:
    one, ids = await world.identity("one"), {"version": "2023-01-31"}
    await chain(world, "top")
    await world.good("PUT", f"{ALL}/top/subscriptions/{world.subscription_id}", **V)
    owner = await world.somebody(OWNER, world.subscription)
    denial = f"{ALL}/top/providers/Microsoft.Authorization/denyAssignments/dddddddd-0000-4000-8000-000000000001"
    properties = {
        "denyAssignmentName": "no deletes",
        "permissions": [{"actions": ["*/delete"], "notActions": ["Microsoft.Authorization/denyAssignments/delete"]}],
        "principals": [{"id": "00000000-0000-0000-0000-000000000000", "type": "SystemDefined"}],
    }
    await world.good("PUT", denial, {"properties": properties}, version="2022-04-01")
    assert await world.refused("DELETE", one, by=owner, **ids) == (403, "DenyAssignmentAuthorizationFailed")
    await world.good("DELETE", denial, version="2022-04-01")
    assert (await world.arm("DELETE", one, by=owner, **ids)).status == 200


async def test_another_tenants_group_of_the_same_name_grants_nothing(world: Any) -> None:
    foreign, store = "cccccccc-0000-4000-8000-000000000009", world.app.store
    async with store.transaction() as tx:
        await SUBSCRIPTIONS.put(tx, foreign, Subscription(id=foreign, tenant_id="other", cloud="AzureCloud"))
    await chain(world, "top")
    hierarchy = Hierarchy(store)
    await hierarchy.refresh()
    scope = ResourceId.subscription(foreign)
    assert hierarchy.tenant_of(scope) == "other"
    assert hierarchy.above(scope, world.tenant) == ()
    assert hierarchy.above(scope, "other") == (group_scope("other").key,)
    reader = await world.somebody(OWNER, f"{ALL}/{world.tenant}")
    assert (await world.arm("GET", f"/subscriptions/{foreign}", by=reader)).status in (401, 403, 404)
    refused = await world.refused("PUT", f"{ALL}/top/subscriptions/{foreign}", **V)
    assert refused == (404, "SubscriptionNotFound")


async def test_who_may_not(world: Any) -> None:
    await chain(world, "top")
    nobody, reader = await world.somebody(), await world.somebody(READER, f"{ALL}/top")
    no = (403, "AuthorizationFailed")
    assert await world.refused("GET", ALL, by=nobody, **V) == no
    assert await world.refused("GET", f"{ALL}/top", by=nobody, **V) == no
    assert await world.refused("PUT", f"{ALL}/new", body(), by=reader, **V) == no
    assert await world.refused("PATCH", f"{ALL}/top", {"displayName": "x"}, by=reader, **V) == no
    assert await world.refused("DELETE", f"{ALL}/top", by=reader, **V) == no
    assert [row["name"] for row in (await world.good("GET", ALL, by=reader, **V))["value"]] == ["top"]


async def test_the_owner_of_a_group_cannot_pull_in_a_subscription(world: Any) -> None:
    await chain(world, "mine", "lower")
    thief = await world.somebody(OWNER, f"{ALL}/mine")
    member = f"{ALL}/mine/subscriptions/{world.subscription_id}"
    assert await world.refused("PUT", member, by=thief, **V) == (403, "AuthorizationFailed")
    refused = await world.refused("PATCH", f"{ALL}/lower", {"parentGroupId": f"{ALL}/{world.tenant}"}, by=thief, **V)
    assert refused == (403, "AuthorizationFailed")


async def test_a_custom_role_of_a_group_is_assignable_below_and_has_no_data_actions(world: Any) -> None:
    await chain(world, "top")
    name = "eeeeeeee-0000-4000-8000-000000000001"
    role = f"{ALL}/top/providers/Microsoft.Authorization/roleDefinitions/{name}"

    def definition(**permission: list[str]) -> dict[str, Any]:
        return {
            "properties": {
                "roleName": "Looker",
                "type": "CustomRole",
                "permissions": [permission],
                "assignableScopes": [f"{ALL}/top"],
            }
        }

    data = definition(dataActions=["Microsoft.KeyVault/vaults/secrets/getSecret/action"])
    assert (await world.refused("PUT", role, data, version="2022-04-01"))[0] == 400
    await world.good("PUT", role, definition(actions=["*/read"]), version="2022-04-01")
    somebody = await world.somebody()
    place = f"{world.group}/providers/Microsoft.Authorization/roleAssignments/{name}"
    assignment = {"properties": {"roleDefinitionId": role, "principalId": somebody.id}}
    refused = await world.refused("PUT", place, assignment, version="2022-04-01")
    assert refused == (400, "RoleAssignmentScopeNotAssignableToRoleDefinition")
    await world.good("PUT", f"{ALL}/top/subscriptions/{world.subscription_id}", **V)
    await world.good("PUT", place, assignment, version="2022-04-01")
    assert (await world.arm("GET", world.group, by=somebody)).status == 200


async def test_a_group_with_role_assignments_stays(world: Any) -> None:
    await chain(world, "top")
    await world.somebody(READER, f"{ALL}/top")
    assert await world.refused("DELETE", f"{ALL}/top", **V) == (409, "ManagementGroupHasRoleAssignments")


async def test_entities_descendants_and_members(world: Any) -> None:
    await chain(world, "top", "middle")
    await world.good("PUT", f"{ALL}/middle/subscriptions/{world.subscription_id}", **V)
    found = (await world.good("POST", "/providers/Microsoft.Management/getEntities", **V))["value"]
    chains = {row["name"]: row["properties"]["parentNameChain"] for row in found}
    assert chains == {
        world.tenant: [],
        "top": [world.tenant],
        "middle": [world.tenant, "top"],
        world.subscription_id: [world.tenant, "top", "middle"],
    }
    numbers = {row["name"]: row["properties"]["numberOfDescendants"] for row in found}
    assert numbers == {world.tenant: 3, "top": 2, "middle": 1, world.subscription_id: 0}
    below = (await world.good("GET", f"{ALL}/top/descendants", **V))["value"]
    assert [row["name"] for row in below] == ["middle", world.subscription_id]
    members = (await world.good("GET", f"{ALL}/middle/subscriptions", **V))["value"]
    assert [row["name"] for row in members] == [world.subscription_id]
    assert (await world.arm("GET", f"{ALL}/middle/subscriptions/{world.subscription_id}", **V)).status == 200
    assert (await world.refused("GET", f"{ALL}/top/subscriptions/{world.subscription_id}", **V))[0] == 404


@pytest.mark.parametrize(("name", "available"), [("top", False), ("TOP", False), ("new", True), ("a/b", False)])
async def test_names_are_checked(world: Any, name: str, available: bool) -> None:
    await chain(world, "top")
    reply = await world.arm("POST", "/providers/Microsoft.Management/checkNameAvailability", {"name": name}, **V)
    assert json.loads(reply.body)["nameAvailable"] is available
