"""Identities on resources, through Resource Manager: attached, detached, born and gone."""

from __future__ import annotations

from typing import Any

import pytest

from keyfob.access.assignments import assignments_of
from keyfob.directory.model import ServicePrincipal
from keyfob.directory.principals import get_principal, set_enabled
from keyfob.errors import NotFound
from keyfob.identities.choose import IdentityDisabled, IdentityNotFound, choose
from keyfob.identities.model import Selector
from keyfob.resource_id import ResourceId

S = "bbbbbbbb-0000-4000-8000-000000000001"
TENANT = "aaaaaaaa-0000-4000-8000-000000000001"
GROUP = f"/subscriptions/{S}/resourceGroups/g"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/vm1"
SITE = f"{GROUP}/providers/Microsoft.Web/sites/w1"
IDENTITIES = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
U1, U2 = f"{IDENTITIES}/uami1", f"{IDENTITIES}/uami2"
OPERATOR = "f1a07417-d97a-45cb-824c-7a7467783830"
JOINED = "SystemAssigned, UserAssigned"


@pytest.fixture
async def made(manager: Any) -> Any:
    await manager.identity("uami1")
    await manager.identity("uami2")
    return manager


async def principal(manager: Any, object_id: str) -> ServicePrincipal | None:
    found = await get_principal(manager.store, TENANT, object_id)
    assert found is None or isinstance(found, ServicePrincipal)
    return found


# --- the system-assigned identity


async def test_it_is_born_with_the_resource_and_dies_with_it(manager: Any) -> None:
    answer = await manager.machine(identity={"type": "systemassigned"})
    assert answer.json["identity"]["type"] == "SystemAssigned"
    assert answer.json["identity"]["tenantId"] == TENANT
    assert "clientId" not in answer.json["identity"]
    object_id = answer.json["identity"]["principalId"]
    born = await principal(manager, object_id)
    assert born is not None
    assert (born.kind, born.display_name, born.enabled) == ("ManagedIdentity", "vm1", True)
    assert born.alternative_names == ("isExplicit=False", VM)
    assert born.names[0] == born.app_id
    assert born.names[1].startswith("https://identity.azure.net/")
    async with manager.store.transaction() as tx:
        from keyfob.access.assignments import assign

        await assign(
            tx,
            tenant_id=TENANT,
            scope=ResourceId.parse(GROUP),
            principal_id=object_id,
            role_definition_id="acdd72a7-3385-48ef-bd42-f606fba81ae7",
            now=1.0,
        )
    deleted = await manager.send("DELETE", VM)
    assert deleted.status == 202
    while_going = await principal(manager, object_id)
    assert while_going is not None
    assert not while_going.enabled
    assert (await manager.send("GET", VM)).status == 404
    assert await principal(manager, object_id) is None
    left = await assignments_of(manager.store, TENANT, object_id)
    assert [assignment.scope for assignment in left] == [GROUP]


async def test_asked_for_again_it_is_another_one(manager: Any) -> None:
    first = (await manager.machine(identity={"type": "SystemAssigned"})).json["identity"]["principalId"]
    kept = (await manager.machine(identity={"type": "SystemAssigned"})).json["identity"]["principalId"]
    assert kept == first
    dropped = await manager.send("PATCH", VM, {"identity": {"type": "None"}})
    assert "identity" not in dropped.json
    assert await principal(manager, first) is None
    second = (await manager.machine(identity={"type": "SystemAssigned"})).json["identity"]["principalId"]
    assert second != first


async def test_a_refused_request_leaves_no_principal(made: Any) -> None:
    from keyfob.directory.principals import list_service_principals

    before = len(await list_service_principals(made.store, TENANT))
    answer = await made.machine(identity={"type": JOINED, "userAssignedIdentities": {f"{IDENTITIES}/none": {}}})
    assert answer.code == "LinkedAuthorizationFailed"
    assert len(await list_service_principals(made.store, TENANT)) == before


# --- what azure-cli sends for `vm identity …` and expects


async def shown(manager: Any, path: str = VM) -> tuple[str, list[str]]:
    identity = (await manager.send("GET", path)).json.get("identity", {"type": "None"})
    return identity["type"], sorted(id.rpartition("/")[2] for id in identity.get("userAssignedIdentities", {}))


@pytest.mark.parametrize(
    ("start", "patch", "result"),
    [
        (None, {"type": "SystemAssigned"}, ("SystemAssigned", [])),
        (
            {"type": "UserAssigned", "userAssignedIdentities": {U1: {}}},
            {"userAssignedIdentities": {U1: {}}, "type": "SystemAssigned,UserAssigned"},
            (JOINED, ["uami1"]),
        ),
        (
            {"type": "UserAssigned", "userAssignedIdentities": {U1: {}}},
            {"userAssignedIdentities": {U2: {}, U1: {}}, "type": "UserAssigned"},
            ("UserAssigned", ["uami1", "uami2"]),
        ),
        (
            {"type": JOINED, "userAssignedIdentities": {U1: {}, U2: {}}},
            {"userAssignedIdentities": None, "type": "UserAssigned"},
            ("UserAssigned", ["uami1", "uami2"]),
        ),
        (
            {"type": JOINED, "userAssignedIdentities": {U1: {}, U2: {}}},
            {"userAssignedIdentities": {U1: None}, "type": "SystemAssigned,UserAssigned"},
            (JOINED, ["uami2"]),
        ),
        (
            {"type": JOINED, "userAssignedIdentities": {U1: {}}},
            {"type": "SystemAssigned", "userAssignedIdentities": None},
            ("SystemAssigned", []),
        ),
        (
            {"type": "UserAssigned", "userAssignedIdentities": {U1: {}}},
            {"userAssignedIdentities": None, "type": "None"},
            ("None", []),
        ),
    ],
)
async def test_patches(made: Any, start: Any, patch: Any, result: tuple[str, list[str]]) -> None:
    await made.machine(identity=start)
    answer = await made.send("PATCH", VM, {"identity": patch})
    assert answer.status == 200
    assert answer.json["properties"]["provisioningState"] == "Updating"
    assert await shown(made) == result


async def test_put_without_identity_keeps_or_removes_as_the_type_says(made: Any) -> None:
    await made.machine(identity={"type": JOINED, "userAssignedIdentities": {U1: {}}})
    await made.machine()
    assert await shown(made) == (JOINED, ["uami1"])
    await made.send("POST", f"/subscriptions/{S}/providers/Microsoft.Web/register?api-version=2016-02-01")
    body = {"location": "westeurope", "identity": {"type": JOINED, "userAssignedIdentities": {U1.lower(): {}}}}
    assert (await made.send("PUT", SITE, body)).status == 201
    assert await shown(made, SITE) == (JOINED, ["uami1"])
    assert (await made.send("PUT", SITE, {"location": "westeurope"})).status == 200
    assert await shown(made, SITE) == ("None", [])


async def test_entries_show_who_the_identity_is(made: Any) -> None:
    await made.machine(identity={"type": "UserAssigned", "userAssignedIdentities": {U1.upper(): {}}})
    entries = (await made.send("GET", VM)).json["identity"]["userAssignedIdentities"]
    own = (await made.send("GET", U1)).json["properties"]
    assert entries == {U1: {"principalId": own["principalId"], "clientId": own["clientId"]}}


async def test_the_array_of_2017(made: Any) -> None:
    body = {"location": "westeurope", "identity": {"type": "UserAssigned", "identityIds": [U1, U2]}}
    answer = await made.send("PUT", f"{VM}?api-version=2017-12-01", body)
    assert answer.json["identity"] == {"type": "UserAssigned", "identityIds": [U1, U2]}
    patch = {"identity": {"type": "UserAssigned", "identityIds": [U2]}}
    assert (await made.send("PATCH", f"{VM}?api-version=2017-12-01", patch)).json["identity"]["identityIds"] == [U2]
    assert await shown(made) == ("UserAssigned", ["uami2"])


# --- who may assign


async def test_assigning_needs_a_right_on_each_identity(made: Any) -> None:
    machinist = made.people["machinist"]
    block = {"type": "UserAssigned", "userAssignedIdentities": {U1: {}, U2: {}}}
    body = {"location": "westeurope", "identity": block}
    answer = await made.send("PUT", VM, body, who="machinist")
    assert answer.status == 403
    assert answer.json["error"] == {
        "code": "LinkedAuthorizationFailed",
        "message": (
            f"The client '{machinist.app_id}' with object id '{machinist.id}' has permission to perform action "
            f"'Microsoft.Compute/virtualMachines/write' on scope '{VM}'; however, it does not have permission to "
            "perform action 'Microsoft.ManagedIdentity/userAssignedIdentities/assign/action' on the linked scope(s) "
            f"'{U1},{U2}' or the linked scope(s) are invalid."
        ),
    }
    await made.give("machinist", OPERATOR, U1)
    answer = await made.send("PUT", VM, body, who="machinist")
    assert f"linked scope(s) '{U2}' or" in answer.message
    await made.give("machinist", OPERATOR, U2)
    assert (await made.send("PUT", VM, body, who="machinist")).status == 201


async def test_listed_again_it_is_checked_again_but_detaching_needs_nothing(made: Any) -> None:
    await made.machine(identity={"type": JOINED, "userAssignedIdentities": {U1: {}, U2: {}}})
    again = {"identity": {"type": JOINED, "userAssignedIdentities": {U1: {}}}}
    assert (await made.send("PATCH", VM, again, who="machinist")).code == "LinkedAuthorizationFailed"
    detach = {"identity": {"type": JOINED, "userAssignedIdentities": {U1: None}}}
    assert (await made.send("PATCH", VM, detach, who="machinist")).status == 200
    system = {"identity": {"type": "UserAssigned"}}
    assert (await made.send("PATCH", VM, system, who="machinist")).status == 200
    assert await shown(made) == ("UserAssigned", ["uami2"])


async def test_an_identity_that_is_not_there_reads_like_one_that_is_forbidden(made: Any) -> None:
    block = {"type": "UserAssigned", "userAssignedIdentities": {f"{IDENTITIES}/none": {}}}
    answer = await made.machine(identity=block)
    assert (answer.status, answer.code) == (403, "LinkedAuthorizationFailed")
    assert (await made.send("GET", VM)).status == 404


async def test_another_tenants_identity_is_refused(made: Any) -> None:
    foreign = "bbbbbbbb-0000-4000-8000-000000000003"
    group = f"/subscriptions/{foreign}/resourceGroups/x"
    theirs = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/uami9"
    assert (await made.send("PUT", group, {"location": "westeurope"}, who="stranger")).status == 201
    assert (await made.send("PUT", theirs, {"location": "westeurope"}, who="stranger")).status == 201
    answer = await made.machine(identity={"type": "UserAssigned", "userAssignedIdentities": {theirs: {}}})
    assert answer.code == "LinkedAuthorizationFailed"


# --- dangling references


async def test_deleting_an_identity_leaves_its_references(made: Any) -> None:
    await made.machine(identity={"type": "UserAssigned", "userAssignedIdentities": {U1: {}, U2: {}}})
    object_id = (await made.send("GET", U1)).json["properties"]["principalId"]
    assert (await made.send("DELETE", U1)).status == 200
    assert (await made.send("DELETE", U1)).status == 204
    assert await principal(made, object_id) is None
    assert await shown(made) == ("UserAssigned", ["uami1", "uami2"])
    assert (await made.send("PATCH", VM, {"tags": {"a": "b"}})).status == 200
    answer = await made.send("PATCH", VM, {"identity": {"type": "UserAssigned"}})
    assert (answer.status, answer.code) == (400, "FailedIdentityOperation")
    clean = {"identity": {"type": "UserAssigned", "userAssignedIdentities": {U1: None}}}
    assert (await made.send("PATCH", VM, clean)).status == 200
    assert await shown(made) == ("UserAssigned", ["uami2"])


async def test_one_made_again_under_the_same_name_was_assigned_by_nobody(made: Any) -> None:
    await made.machine(identity={"type": "UserAssigned", "userAssignedIdentities": {U1: {}, U2: {}}})
    await made.send("DELETE", U1)
    await made.identity("uami1")
    entries = (await made.send("GET", VM)).json["identity"]["userAssignedIdentities"]
    assert (entries[U1], set(entries[U2])) == ({}, {"principalId", "clientId"})
    keep = await made.send("PATCH", VM, {"identity": {"type": "UserAssigned", "userAssignedIdentities": {U2: {}}}})
    assert (keep.status, keep.code) == (400, "FailedIdentityOperation")
    again = {"identity": {"type": "UserAssigned", "userAssignedIdentities": {U1: {}}}}
    assert (await made.send("PATCH", VM, again, who="machinist")).code == "LinkedAuthorizationFailed"
    assert (await made.send("PATCH", VM, again)).status == 200
    entries = (await made.send("GET", VM)).json["identity"]["userAssignedIdentities"]
    assert entries[U1]["principalId"] == (await made.send("GET", U1)).json["properties"]["principalId"]


# --- what the token endpoint sees


async def test_attachments_follow_every_change(made: Any) -> None:
    host = ResourceId.parse(VM)
    attachments = made.attachments
    with pytest.raises(NotFound):
        await attachments.of(host)
    await made.machine(identity={"type": JOINED, "userAssignedIdentities": {U1: {}}})
    found = await attachments.of(host)
    assert found.system is not None
    assert [one.resource_id for one in found.user] == [U1]
    assert attachments.cached(host.key) is found
    version = attachments.version

    await made.send("PATCH", VM, {"identity": {"type": "SystemAssigned"}})
    assert attachments.version > version
    assert attachments.cached(host.key) is None
    with pytest.raises(IdentityNotFound):
        choose(await attachments.of(host), Selector(resource_id=U1))

    await made.send("PATCH", VM, {"identity": {"type": JOINED, "userAssignedIdentities": {U2: {}}}})
    assert [one.resource_id for one in (await attachments.of(host)).user] == [U2]
    version = attachments.version
    await made.send("DELETE", U2)
    assert attachments.version > version
    assert (await attachments.of(host)).user == ()
    await made.identity("uami2")
    assert (await attachments.of(host)).user == (), "another of the same name, which nobody assigned"
    await made.send("PATCH", VM, {"identity": {"type": JOINED, "userAssignedIdentities": {U2: {}}}})
    assert [one.resource_id for one in (await attachments.of(host)).user] == [U2]

    await made.send("DELETE", VM)
    with pytest.raises(NotFound):
        await attachments.of(host)


async def test_a_disabled_principal_is_refused_and_not_passed_over(made: Any) -> None:
    answer = await made.machine(identity={"type": JOINED, "userAssignedIdentities": {U1: {}}})
    host = ResourceId.parse(VM)
    assert choose(await made.attachments.of(host), Selector()).resource_id is None
    async with made.store.transaction() as tx:
        await set_enabled(tx, TENANT, answer.json["identity"]["principalId"], False)
    with pytest.raises(IdentityDisabled):
        choose(await made.attachments.of(host), Selector())
    assert choose(await made.attachments.of(host), Selector(resource_id=U1)).resource_id == U1


async def test_other_resources_do_not_disturb_what_is_remembered(made: Any) -> None:
    await made.machine(identity={"type": "SystemAssigned"})
    assert (await made.send("GET", VM)).json["properties"]["provisioningState"] == "Succeeded"
    found = await made.attachments.of(ResourceId.parse(VM))
    await made.send("PUT", f"{GROUP}/providers/Microsoft.Shelf/boxes/b", {"location": "westeurope"})
    assert made.attachments.cached(ResourceId.parse(VM).key) is found
