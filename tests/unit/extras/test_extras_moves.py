"""Moving resources to another group: what goes along, what does not, who may, and what stands in the way."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from keyfob.arm.resources import OPERATIONS, SUBSCRIPTIONS
from keyfob.arm.subscriptions import ensure_subscription
from keyfob.directory.principals import get_principal

LOCKS = "providers/Microsoft.Authorization/locks"
VM = "providers/Microsoft.Compute/virtualMachines"
NIC = "providers/Microsoft.Network/networkInterfaces"
NET = "providers/Microsoft.Network/virtualNetworks"
V = {"version": "2020-05-01"}
IDS = {"version": "2023-01-31"}
AUTH = {"version": "2022-04-01"}
NETS = {"version": "2024-05-01"}
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
OTHER = "cccccccc-0000-4000-8000-000000000001"


@pytest.fixture
async def target(world: Any) -> str:
    group = f"{world.subscription}/resourceGroups/there"
    await world.good("PUT", group, {"location": "northeurope"})
    return group


@pytest.fixture
async def elsewhere(world: Any) -> str:
    """A group in another subscription of the tenant."""
    async with world.app.store.transaction() as tx:
        row = await SUBSCRIPTIONS.get(tx, world.subscription_id)
        made = await ensure_subscription(
            tx, subscription_id=OTHER, tenant_id=world.tenant, cloud="AzureCloud", display_name="Other", now=1.0
        )
        await SUBSCRIPTIONS.put(tx, OTHER, msgspec.structs.replace(made, registrations=row.value.registrations))
    group = f"/subscriptions/{OTHER}/resourceGroups/far"
    await world.good("PUT", group, {"location": "westeurope"})
    return group


async def machine(world: Any, name: str = "vm", **more: Any) -> Any:
    body = {"location": "westeurope", "identity": {"type": "SystemAssigned"}, **more}
    made = await world.good("PUT", f"{world.group}/{VM}/{name}", body)
    await world.app.resource_manager.engine.operations.settle()
    return made


async def ask(world: Any, target: str, *ids: str, word: str = "moveResources", **more: Any) -> Any:
    """The reply to the request."""
    body = {"resources": list(ids), "targetResourceGroup": target}
    return await world.arm("POST", f"{world.group}/{word}", body, **more)


async def move(world: Any, target: str, *ids: str, word: str = "moveResources") -> tuple[int, Any]:
    """What the operation ends with."""
    reply = await ask(world, target, *ids, word=word)
    assert reply.status == 202, reply.body
    where = dict(reply.headers)["Location"].partition("management.azure.com")[2].partition("?")[0]
    ended = await world.arm("GET", where)
    return ended.status, json.loads(ended.body) if ended.body else None


def code_of(reply: Any) -> tuple[int, str]:
    return reply.status, str(json.loads(reply.body)["error"]["code"])


@pytest.mark.parametrize("far", [False, True])
async def test_a_machine_keeps_its_identity_and_all_that_it_is(
    world: Any, target: str, elsewhere: str, far: bool
) -> None:
    there = elsewhere if far else target
    user = await world.identity("user")
    both = {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {user: {}}}
    made = await machine(world, identity=both, tags={"a": "b"})
    await world.good("PUT", f"{made['id']}/extensions/one", {"location": "westeurope", "properties": {}})
    before = await world.good("GET", made["id"])
    assert await move(world, there, made["id"]) == (204, None)
    assert await world.refused("GET", made["id"]) == (404, "ResourceNotFound")
    after = await world.good("GET", f"{there}/{VM}/vm")
    for name in ("identity", "location", "tags", "name", "type"):
        assert after[name] == before[name]
    assert after["id"] == f"{there}/{VM}/vm"
    assert after["properties"]["vmId"] == before["properties"]["vmId"]
    extension = await world.good("GET", f"{there}/{VM}/vm/extensions/one")
    assert extension["id"] == f"{there}/{VM}/vm/extensions/one"
    principal = await get_principal(world.app.store, world.tenant, before["identity"]["principalId"])
    assert principal.alternative_names == ("isExplicit=False", after["id"])
    assert principal.enabled


async def test_its_roles_are_its_own_still(world: Any, target: str) -> None:
    made = await machine(world)
    given = await world.assign(READER, world.subscription, made["identity"]["principalId"])
    await move(world, target, made["id"])
    kept = await world.good("GET", given, **AUTH)
    assert kept["properties"]["principalId"] == made["identity"]["principalId"]


async def test_role_assignments_on_it_are_left_behind(world: Any, target: str) -> None:
    made = await machine(world)
    person = await world.somebody()
    given = await world.assign(CONTRIBUTOR, made["id"], person.id)
    assert (await world.arm("GET", made["id"], by=person)).status == 200
    await move(world, target, made["id"])
    assert await world.refused("GET", f"{target}/{VM}/vm", by=person) == (403, "AuthorizationFailed")
    assert (await world.refused("GET", given, **AUTH))[0] == 404
    again = await machine(world)  # of the same name, and nobody inherits anything
    assert await world.refused("GET", again["id"], by=person) == (403, "AuthorizationFailed")


async def test_locks_go_along(world: Any, target: str) -> None:
    made = await machine(world)
    await world.good("PUT", f"{made['id']}/{LOCKS}/keep", {"properties": {"level": "CanNotDelete"}}, **V)
    await move(world, target, made["id"])
    assert (await world.good("GET", f"{target}/{VM}/vm/{LOCKS}/keep", **V))["name"] == "keep"
    assert await world.refused("DELETE", f"{target}/{VM}/vm") == (409, "ScopeLocked")


async def test_what_moves_together_still_refers_to_each_other(world: Any, target: str) -> None:
    net = {"location": "westeurope", "properties": {"subnets": [{"name": "s", "properties": {}}]}}
    await world.good("PUT", f"{world.group}/{NET}/net", net, **NETS)
    subnet = f"{world.group}/{NET}/net/subnets/s"
    inside = {"ipConfigurations": [{"name": "c", "properties": {"subnet": {"id": subnet}}}]}
    nic = f"{world.group}/{NIC}/nic"
    await world.good("PUT", nic, {"location": "westeurope", "properties": inside}, **NETS)
    spelled = nic.replace("/resourceGroups/extras", "/RESOURCEGROUPS/Extras")
    made = await machine(world, properties={"networkProfile": {"networkInterfaces": [{"id": spelled}]}})
    assert (await move(world, target, made["id"], nic))[0] == 204
    moved = await world.good("GET", f"{target}/{VM}/vm")
    assert moved["properties"]["networkProfile"]["networkInterfaces"][0]["id"] == f"{target}/{NIC}/nic"
    shown = await world.good("GET", f"{target}/{NIC}/nic", **NETS)
    kept = shown["properties"]["ipConfigurations"][0]
    assert kept["properties"]["subnet"]["id"] == subnet  # that stayed
    assert kept["id"].startswith(target)


async def test_any_type_that_is_kept_can_be_moved(world: Any, target: str) -> None:
    id = f"{world.group}/providers/Microsoft.Cache/redis/r"
    await world.arm("POST", f"{world.subscription}/providers/Microsoft.Cache/register")
    await world.good("PUT", id, {"location": "westeurope", "properties": {"self": id}}, version="2024-03-01")
    assert (await move(world, target, id))[0] == 204
    there = f"{target}/providers/Microsoft.Cache/redis/r"
    assert (await world.good("GET", there, version="2024-03-01"))["properties"]["self"] == there


async def test_identities_cannot_be_moved_and_then_nothing_is(world: Any, target: str) -> None:
    user = await world.identity("user")
    made = await machine(world)
    for word in ("validateMoveResources", "moveResources"):
        status, body = await move(world, target, user, made["id"], word=word)
        assert status == 409
        error = body["error"]
        assert error["code"] == "ResourceMoveValidationFailed"
        assert error["message"].startswith("The resource batch move request has '1' validation errors. Diagnostic")
        assert error["details"] == [
            {
                "code": "ResourceMoveNotSupported",
                "target": user,
                "message": "Resource move is not supported for resource types "
                "'Microsoft.ManagedIdentity/userAssignedIdentities'.",
            }
        ]
    assert (await world.good("GET", made["id"]))["name"] == "vm"
    assert (await world.good("GET", user, **IDS))["name"] == "user"


async def test_every_obstacle_is_told(world: Any, target: str) -> None:
    made = await machine(world)
    await world.good("PUT", f"{target}/{VM}/vm", {"location": "westeurope"})
    gone = f"{world.group}/{VM}/gone"
    status, body = await move(world, target, made["id"], gone)
    assert status == 409
    assert [(one["code"], one["target"]) for one in body["error"]["details"]] == [
        ("MovedResourceExists", made["id"]),
        ("ResourceNotFound", gone),
    ]


async def test_validating_moves_nothing(world: Any, target: str) -> None:
    made = await machine(world)
    assert await move(world, target, made["id"], word="validateMoveResources") == (204, None)
    assert (await world.good("GET", made["id"]))["name"] == "vm"


async def test_a_target_subscription_has_the_namespace_registered(world: Any, elsewhere: str) -> None:
    made = await machine(world)
    async with world.app.store.transaction() as tx:
        row = await SUBSCRIPTIONS.get(tx, OTHER)
        without = msgspec.structs.replace(row.value, registrations={"microsoft.compute": False})
        await SUBSCRIPTIONS.put(tx, OTHER, without)
    status, body = await move(world, elsewhere, made["id"])
    assert (status, body["error"]["details"][0]["code"]) == (409, "MissingSubscriptionRegistration")


async def test_both_sides_must_be_allowed(world: Any, target: str) -> None:
    made = await machine(world)
    here = await world.somebody(CONTRIBUTOR, world.group)
    there = await world.somebody(CONTRIBUTOR, target)
    both = await world.somebody(CONTRIBUTOR, world.group)
    await world.assign(CONTRIBUTOR, target, both.id)
    for word in ("validateMoveResources", "moveResources"):
        for person in (here, there, await world.somebody()):
            refused = await ask(world, target, made["id"], word=word, by=person)
            assert code_of(refused) == (403, "AuthorizationFailed")
    assert (await ask(world, target, made["id"], by=both)).status == 202


@pytest.mark.parametrize("side", ["subscription", "source", "target", "resource"])
async def test_a_read_only_lock_on_either_side_stops_it(world: Any, target: str, side: str) -> None:
    made = await machine(world)
    place = {"subscription": world.subscription, "source": world.group, "target": target, "resource": made["id"]}[side]
    lock = f"{place}/{LOCKS}/still"
    await world.good("PUT", lock, {"properties": {"level": "ReadOnly"}}, **V)
    assert code_of(await ask(world, target, made["id"])) == (409, "ScopeLocked")
    await world.good("DELETE", lock, **V)
    assert (await move(world, target, made["id"]))[0] == 204


async def test_while_it_goes_on_both_groups_take_no_writes(world: Any, target: str) -> None:
    made = await machine(world)
    operations = world.app.resource_manager.engine.operations
    operations._seconds = 1000.0
    assert (await ask(world, target, made["id"])).status == 202
    being = (409, "ResourcesBeingMoved")
    for group in (world.group, target):
        new = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/new"
        assert await world.refused("PUT", new, {"location": "westeurope"}, **IDS) == being
        assert await world.refused("PATCH", group, {"tags": {}}) == being
        assert await world.refused("DELETE", group) == being
        late = f"{group}/{LOCKS}/late"
        assert await world.refused("PUT", late, {"properties": {"level": "ReadOnly"}}, **V) == being
    assert await world.refused("DELETE", made["id"]) == being
    assert code_of(await ask(world, target, made["id"])) == being
    assert (await world.arm("POST", f"{made['id']}/restart")).status == 202  # it works on
    assert (await world.good("GET", made["id"]))["name"] == "vm"
    (row,) = [row for row in await OPERATIONS.find(world.app.store, "unfinished", "yes") if row.value.kind == "move"]
    await operations._finish(row.key)
    assert (await world.good("GET", f"{target}/{VM}/vm"))["name"] == "vm"
    assert (await world.arm("PATCH", target, {"tags": {}})).status == 200


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"resources": "x"}, "InvalidRequestContent"),
        ({"resources": [1]}, "InvalidRequestContent"),
        ({"targetResourceGroup": None}, "InvalidRequestContent"),
        ({"resources": []}, "InvalidMoveRequest"),
        ({"resources": ["/subscriptions/s/resourceGroups/g/providers/a.b/c/d"] * 801}, "InvalidMoveRequest"),
        ({"targetResourceGroup": "/subscriptions/s"}, "InvalidMoveRequest"),
        ({"targetResourceGroup": "SOURCE"}, "InvalidMoveRequest"),
        ({"targetResourceGroup": "SOURCE/providers/a.b/c/d"}, "InvalidMoveRequest"),
        ({"targetResourceGroup": "nonsense"}, None),
        ({"resources": ["TARGET/providers/Microsoft.Compute/virtualMachines/vm"]}, "InvalidMoveRequest"),
        ({"resources": ["SOURCE/providers/Microsoft.Compute/virtualMachines/vm/extensions/e"]}, "InvalidMoveRequest"),
        ({"resources": ["SOURCE"]}, "InvalidMoveRequest"),
        ({"resources": ["nonsense"]}, None),
    ],
)
async def test_bad_requests(world: Any, target: str, change: dict[str, Any], code: str | None) -> None:
    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(one) for one in value]
        if isinstance(value, str):
            return value.replace("SOURCE", world.group).replace("TARGET", target)
        return value

    body = {"resources": [f"{world.group}/{VM}/vm"], "targetResourceGroup": target}
    body |= {name: filled(value) for name, value in change.items()}
    status, found = await world.refused("POST", f"{world.group}/moveResources", body)
    assert status == 400
    assert code is None or found == code


async def test_a_target_that_is_not_there(world: Any) -> None:
    made = await machine(world)
    none = f"{world.subscription}/resourceGroups/none"
    assert code_of(await ask(world, none, made["id"])) == (404, "ResourceGroupNotFound")
    assert code_of(await ask(world, f"/subscriptions/{OTHER}/resourceGroups/x", made["id"])) == (
        404,
        "SubscriptionNotFound",
    )


async def test_lists_of_providers_say_what_can_be_moved(world: Any) -> None:
    shown = await world.good("GET", "/providers/Microsoft.Compute")
    kinds = {row["resourceType"]: row["capabilities"] for row in shown["resourceTypes"]}
    assert "CrossResourceGroupResourceMove, CrossSubscriptionResourceMove" in kinds["virtualMachines"]
    shown = await world.good("GET", "/providers/Microsoft.ManagedIdentity")
    kinds = {row["resourceType"]: row["capabilities"] for row in shown["resourceTypes"]}
    assert "Move" not in kinds["userAssignedIdentities"]
