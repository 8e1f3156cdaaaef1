"""Microsoft.Authorization as its clients meet it: shapes by api-version, filters, refusals."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keyfob.access.assignments import EVERYBODY, DenyAssignment, DenyPrincipal, assign, deny
from keyfob.access.authorization import assigning
from keyfob.access.authorization.filters import ASSIGNMENTS, parse_filter
from keyfob.access.guard import Guard
from keyfob.access.memory import Memory
from keyfob.access.provider import ASSIGNMENT_VERSIONS, DEFINITION_VERSIONS, DENIAL_VERSIONS, authorization_provider
from keyfob.access.roles import Permission
from keyfob.declare import Action, Caller, Public, SignedIn
from keyfob.directory.principals import delete_principal
from keyfob.errors import InvalidInput
from keyfob.resource_id import ROOT, ResourceId
from keyfob.store.port import Store

Arm = Callable[..., Awaitable[tuple[int, Any]]]
TENANT = "11111111-1111-1111-1111-111111111111"
ROBOT = "aaaaaaaa-0000-0000-0000-000000000001"
ANNA = "aaaaaaaa-0000-0000-0000-000000000002"
STAFF = "aaaaaaaa-0000-0000-0000-000000000003"
BOSS = "aaaaaaaa-0000-0000-0000-000000000004"
NOBODY = "aaaaaaaa-0000-0000-0000-00000000dead"
SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000001"
GROUP = f"{SUBSCRIPTION}/resourceGroups/rg"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/v"
AUTHORIZATION = "providers/Microsoft.Authorization"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
USER = "4633458b-17de-408a-b874-0445c86b69e6"
REFERENCE = Path(os.environ.get("KEYFOB_REFERENCE") or Path(__file__).parents[3].parent / "shared" / "azure")


def name(number: int) -> str:
    return f"eeeeeeee-0000-0000-0000-{number:012d}"


def path(scope: str, number: int | str) -> str:
    return f"{scope}/{AUTHORIZATION}/roleAssignments/{name(number) if isinstance(number, int) else number}"


def role(guid: str) -> str:
    return f"{SUBSCRIPTION}/{AUTHORIZATION}/roleDefinitions/{guid}"


def body(role_id: str = READER, who: str = ROBOT, **more: object) -> dict[str, Any]:
    return {"properties": {"roleDefinitionId": role(role_id), "principalId": who, **more}}


# --- what is open


def test_routes_open_without_a_role_are_these(store: Store, guard: Guard) -> None:
    routes = authorization_provider(store=store, guard=guard).routes
    assert [route for route in routes if isinstance(route.access, Public)] == []
    assert {f"{r.method} {r.path}" for r in routes if isinstance(r.access, SignedIn)} == {
        "GET /providers/Microsoft.Authorization/roleDefinitions",
        "GET /providers/Microsoft.Authorization/roleDefinitions/{name}",
        "GET /{+scope}/providers/Microsoft.Authorization/permissions",
        "GET /providers/Microsoft.Authorization/providerOperations",
        "GET /providers/Microsoft.Authorization/providerOperations/{namespace}",
    }


def test_every_other_route_asks_for_its_action(store: Store, guard: Guard) -> None:
    routes = authorization_provider(store=store, guard=guard).routes
    found = {f"{r.method} {r.path.rpartition('Microsoft.Authorization/')[2]}": r.access for r in routes}
    actions = {place: access.name.split("/", 1)[1] for place, access in found.items() if isinstance(access, Action)}
    assert actions == {
        "PUT roleAssignments/{name}": "roleAssignments/write",
        "GET roleAssignments/{name}": "roleAssignments/read",
        "DELETE roleAssignments/{name}": "roleAssignments/delete",
        "GET roleAssignments": "roleAssignments/read",
        "POST roleAssignments/{name}/validate": "roleAssignments/write",
        "PUT roleDefinitions/{name}": "roleDefinitions/write",
        "DELETE roleDefinitions/{name}": "roleDefinitions/delete",
        "GET denyAssignments": "denyAssignments/read",
        "GET denyAssignments/{name}": "denyAssignments/read",
    } | {k: v for k, v in actions.items() if k in {"GET roleDefinitions", "GET roleDefinitions/{name}"}}


@pytest.mark.parametrize(
    ("method", "where"),
    [
        ("PUT", path(VAULT, 1)),
        ("GET", path(VAULT, 1)),
        ("DELETE", path(VAULT, 1)),
        ("GET", f"{VAULT}/{AUTHORIZATION}/roleAssignments"),
        ("GET", f"/{AUTHORIZATION}/roleAssignments"),
        ("POST", path(VAULT, 1) + "/validate"),
        ("PUT", f"{SUBSCRIPTION}/{AUTHORIZATION}/roleDefinitions/{name(1)}"),
        ("PUT", f"/{AUTHORIZATION}/roleDefinitions/{name(1)}"),
        ("DELETE", f"{SUBSCRIPTION}/{AUTHORIZATION}/roleDefinitions/{name(1)}"),
        ("GET", f"{SUBSCRIPTION}/{AUTHORIZATION}/roleDefinitions"),
        ("GET", f"{SUBSCRIPTION}/{AUTHORIZATION}/denyAssignments"),
        ("GET", "/providers/Keyfob.Access/decisions"),
    ],
)
async def test_who_has_no_role_is_refused(arm: Arm, robot: Caller, method: str, where: str) -> None:
    version = "2026-11-01" if "Keyfob" in where else "2022-04-01"
    status, refused = await arm(method, where, robot, body() if method == "PUT" else None, version=version)
    assert (status, refused["code"]) == (403, "AuthorizationFailed")


# --- role assignments


async def test_an_assignment_is_made_shown_and_removed(arm: Arm, boss: Caller) -> None:
    status, made = await arm("PUT", path(VAULT, 1), boss, body(principalType="ServicePrincipal", description="why"))
    assert status == 201
    assert made == {
        "properties": {
            "roleDefinitionId": role(READER),
            "principalId": ROBOT,
            "principalType": "ServicePrincipal",
            "scope": VAULT,
            "condition": None,
            "conditionVersion": None,
            "createdOn": "2023-11-14T22:13:20.0000000Z",
            "updatedOn": "2023-11-14T22:13:20.0000000Z",
            "createdBy": BOSS,
            "updatedBy": BOSS,
            "delegatedManagedIdentityResourceId": None,
            "description": "why",
        },
        "id": path(VAULT, 1),
        "type": "Microsoft.Authorization/roleAssignments",
        "name": name(1),
    }
    assert await arm("GET", path(VAULT, 1), boss) == (200, made)
    assert await arm("GET", path(VAULT.replace("rg", "RG"), name(1).upper()), boss) == (200, made)
    assert (await arm("GET", path(GROUP, 1), boss))[1]["code"] == "RoleAssignmentNotFound"
    assert await arm("DELETE", path(GROUP, 1), boss) == (204, None)
    assert await arm("DELETE", path(VAULT, 1), boss) == (200, made)
    assert await arm("DELETE", path(VAULT, 1), boss) == (204, None)
    status, missing = await arm("GET", path(VAULT, 1), boss)
    assert (status, missing["message"]) == (404, f"The role assignment '{name(1)}' is not found.")


async def test_an_assignment_gives_what_it_says(arm: Arm, guard: Guard, boss: Caller, robot: Caller) -> None:
    read, vault = Action("Microsoft.KeyVault/vaults/read"), ResourceId.parse(VAULT)
    assert not await guard.allows(robot, read, vault)
    await arm("PUT", path(GROUP, 1), boss, body())
    assert await guard.allows(robot, read, vault)
    await arm("DELETE", path(GROUP, 1), boss)
    assert not await guard.allows(robot, read, vault)


@pytest.mark.parametrize(
    ("version", "again", "present", "absent"),
    [
        ("2015-07-01", 201, {"scope"}, {"principalType", "canDelegate", "condition", "description"}),
        ("2018-01-01-preview", 201, {"canDelegate"}, {"principalType", "condition"}),
        ("2018-09-01-preview", 201, {"canDelegate", "principalType"}, {"condition"}),
        ("2020-04-01-preview", 201, {"canDelegate", "principalType", "condition", "description"}, set()),
        ("2020-10-01-preview", 200, {"principalType", "condition"}, {"canDelegate"}),
        ("2022-04-01", 200, {"principalType", "condition"}, {"canDelegate"}),
    ],
)
async def test_versions_show_what_they_know(
    arm: Arm, boss: Caller, version: str, again: int, present: set[str], absent: set[str]
) -> None:
    status, made = await arm("PUT", path(VAULT, 1), boss, body(), version=version)
    assert status == 201
    assert present <= made["properties"].keys()
    assert absent.isdisjoint(made["properties"])
    assert (await arm("PUT", path(VAULT, 1), boss, body(), version=version))[0] == again


async def test_a_body_of_2015_may_be_flat(arm: Arm, boss: Caller) -> None:
    status, _ = await arm("PUT", path(VAULT, 1), boss, body()["properties"], version="2015-07-01")
    assert status == 201


async def test_ids_below_a_subscription_name_it(arm: Arm, boss: Caller) -> None:
    plain = f"/{AUTHORIZATION}/roleDefinitions/{READER.upper()}"
    given = {"properties": {"roleDefinitionId": plain, "principalId": ROBOT.upper()}}
    _, made = await arm("PUT", path(GROUP, 1), boss, given)
    assert made["properties"]["roleDefinitionId"] == role(READER)
    assert made["properties"]["principalId"] == ROBOT
    _, made = await arm("PUT", path("", 2), boss, given)
    assert made["properties"]["roleDefinitionId"] == plain.lower().replace("microsoft.a", "Microsoft.A").replace(
        "roledefinitions", "roleDefinitions"
    )
    assert (made["properties"]["scope"], made["id"]) == ("/", path("", 2))


@pytest.mark.parametrize(
    ("where", "given", "version", "status", "code"),
    [
        (path(VAULT, "not-a-guid"), body(), "2022-04-01", 400, "InvalidRoleAssignmentId"),
        (path(VAULT, 9), b"{", "2022-04-01", 400, "InvalidRequestContent"),
        (path(VAULT, 9), b"[]", "2022-04-01", 400, "InvalidRequestContent"),
        (path(VAULT, 9), {"properties": {"principalId": 7}}, "2022-04-01", 400, "InvalidRequestContent"),
        (path(VAULT, 9), {"properties": {}}, "2022-04-01", 400, "InvalidCreateRoleAssignmentRequest"),
        (path(VAULT, 9), body(scope=GROUP), "2022-04-01", 400, "InvalidCreateRoleAssignmentRequest"),
        (path(VAULT, 9), body("nonsense"), "2022-04-01", 400, "InvalidRoleDefinitionId"),
        (path(VAULT, 9), body(name(7)), "2022-04-01", 400, "RoleDefinitionDoesNotExist"),
        (path(VAULT, 9), body(who="User"), "2022-04-01", 400, "InvalidPrincipalId"),
        (path(VAULT, 9), body(who=NOBODY), "2022-04-01", 400, "PrincipalNotFound"),
        (path(VAULT, 9), body(who=NOBODY, principalType="ServicePrincipal"), "2015-07-01", 400, "PrincipalNotFound"),
        (path(VAULT, 9), body(principalType="User"), "2022-04-01", 400, "UnmatchedPrincipalType"),
        (path(VAULT, 9), body(principalType="Robot"), "2022-04-01", 400, "InvalidPrincipalType"),
        (path(VAULT, 9), body(condition="true", conditionVersion="2.0"), "2022-04-01", 400, "ConditionNotSupported"),
        (path(VAULT, 9), body(condition="true"), "2015-07-01", 400, "ConditionNotSupported"),
        (path(VAULT, 2), body(), "2022-04-01", 409, "RoleAssignmentExists"),
        (path(GROUP, 1), body(), "2022-04-01", 400, "RoleAssignmentUpdateNotPermitted"),
        (path(VAULT, 1), body(OWNER), "2022-04-01", 400, "RoleAssignmentUpdateNotPermitted"),
        (path(VAULT, 1), body(who=ANNA), "2022-04-01", 400, "RoleAssignmentUpdateNotPermitted"),
    ],
)
async def test_what_is_wrong_is_refused(
    arm: Arm, boss: Caller, where: str, given: Any, version: str, status: int, code: str
) -> None:
    assert (await arm("PUT", path(VAULT, 1), boss, body()))[0] == 201
    _, before = await arm("GET", f"/{AUTHORIZATION}/roleAssignments", boss)
    found, refused = await arm("PUT", where, boss, given, version=version)
    assert (found, refused["code"]) == (status, code)
    assert await arm("GET", f"/{AUTHORIZATION}/roleAssignments", boss) == (200, before)


async def test_refusals_are_worded_as_clients_know_them(arm: Arm, boss: Caller) -> None:
    _, refused = await arm("PUT", path(VAULT, 9), boss, body(who=NOBODY))
    assert refused["message"].startswith(
        f"Principal {NOBODY.replace('-', '')} does not exist in the directory {TENANT}. Check that you have the correct"
    )
    _, refused = await arm("PUT", path(VAULT, 9), boss, body(principalType="Group"))
    assert refused["message"] == (
        f"The PrincipalId '{ROBOT}' has type 'ServicePrincipal' , which is different from specified PrinciaplType "
        "'Group'."
    )


async def test_they_agree_with_recorded_refusals(arm: Arm, boss: Caller) -> None:
    file = REFERENCE / "errors" / "observed-error-responses.json"
    if not file.exists():
        pytest.skip("the reference data is not beside the project")
    recorded = {
        row["code"]: row
        for row in json.loads(file.read_text("utf-8"))["responses"]
        if row.get("resourceType") == "Microsoft.Authorization/roleAssignments"
    }
    await arm("PUT", path(VAULT, 1), boss, body())
    for where, given, code in (
        (path(VAULT, 2), body(), "RoleAssignmentExists"),
        (path(VAULT, 9), body(who=NOBODY), "PrincipalNotFound"),
    ):
        status, refused = await arm("PUT", where, boss, given)
        masked = refused["message"].replace(NOBODY.replace("-", ""), "{guid}").replace(TENANT, "{guid}")
        assert (status, masked) == (recorded[code]["status"], recorded[code]["message"])


async def test_an_unknown_principal_is_taken_on_the_word_of_its_type(arm: Arm, boss: Caller) -> None:
    status, made = await arm("PUT", path(VAULT, 1), boss, body(who=NOBODY, principalType="serviceprincipal"))
    assert (status, made["properties"]["principalType"]) == (201, "ServicePrincipal")


@pytest.mark.parametrize(("who", "kind"), [(ROBOT, "ServicePrincipal"), (ANNA, "User"), (STAFF, "Group")])
async def test_the_directory_knows_the_type(arm: Arm, boss: Caller, who: str, kind: str) -> None:
    _, made = await arm("PUT", path(VAULT, 1), boss, body(who=who))
    assert made["properties"]["principalType"] == kind


async def test_assignments_of_a_deleted_principal_stay(arm: Arm, boss: Caller, store: Store) -> None:
    await arm("PUT", path(VAULT, 1), boss, body())
    async with store.transaction() as tx:
        await delete_principal(tx, TENANT, ROBOT)
    assert (await arm("GET", path(VAULT, 1), boss))[0] == 200


async def test_a_subscription_takes_so_many(arm: Arm, boss: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assigning, "MOST_IN_SUBSCRIPTION", 2)
    assert (await arm("PUT", path(VAULT, 1), boss, body()))[0] == 201
    assert (await arm("PUT", path(GROUP, 2), boss, body()))[0] == 201
    status, refused = await arm("PUT", path(SUBSCRIPTION, 3), boss, body())
    assert (status, refused["code"]) == (400, "RoleAssignmentLimitExceeded")
    assert (await arm("PUT", path(GROUP, 2), boss, body()))[0] == 200
    other = SUBSCRIPTION[:-1] + "2"
    assert (await arm("PUT", path(other, 3), boss, body()))[0] == 201


async def test_the_limit_holds_for_all_who_come_at_once(
    arm: Arm, boss: Caller, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    monkeypatch.setattr(assigning, "MOST_IN_SUBSCRIPTION", 3)
    places = [f"{VAULT}{number}" for number in range(8)]
    answers = await asyncio.gather(
        *(arm("PUT", path(place, number), boss, body()) for number, place in enumerate(places))
    )
    assert sorted(status for status, _ in answers) == [201] * 3 + [400] * 5
    refused = {answer["code"] for status, answer in answers if status == 400}
    assert refused == {"RoleAssignmentLimitExceeded"}


async def test_a_role_that_is_deleted_at_the_same_moment_is_not_given(
    arm: Arm, boss: Caller, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the two comes first, no assignment is left of a role that does not exist."""
    definition = f"{SUBSCRIPTION}/{AUTHORIZATION}/roleDefinitions/{name(7)}"
    properties = {
        "roleName": "Mine",
        "permissions": [{"actions": ["*/read"]}],
        "assignableScopes": [SUBSCRIPTION],
    }
    assert (await arm("PUT", definition, boss, {"properties": properties}))[0] == 201
    passed = asyncio.Event()
    refresh = Memory.refresh

    async def slow(memory: Memory) -> None:
        await refresh(memory)
        if not passed.is_set():
            passed.set()
            assert (await arm("DELETE", definition, boss))[0] == 200

    monkeypatch.setattr(Memory, "refresh", slow)
    status, refused = await arm("PUT", path(VAULT, 1), boss, body(name(7)))
    assert (status, refused["code"]) == (400, "RoleDefinitionDoesNotExist")


async def test_the_last_administrator_stays(arm: Arm, boss: Caller) -> None:
    _, everything = await arm("GET", f"/{AUTHORIZATION}/roleAssignments", boss)
    (root,) = everything["value"]
    status, refused = await arm("DELETE", root["id"], boss)
    assert (status, refused["code"]) == (412, "CannotDeleteLastRbacAdminAssignment")
    await arm("PUT", path(SUBSCRIPTION, 1), boss, body(OWNER))
    assert (await arm("DELETE", root["id"], boss))[0] == 412, "one of a subscription cannot replace one of the root"
    assert (await arm("DELETE", path(SUBSCRIPTION, 1), boss))[0] == 200, "the root's administrator is left"
    await arm("PUT", path("", 2), boss, body(OWNER))
    assert (await arm("DELETE", root["id"], boss))[0] == 200


async def test_validation_writes_nothing(arm: Arm, boss: Caller) -> None:
    assert await arm("POST", path(VAULT, 1) + "/validate", boss, body()) == (200, {"isValid": True})
    assert (await arm("GET", path(VAULT, 1), boss))[0] == 404
    status, answer = await arm("POST", path(VAULT, 1) + "/validate", boss, body(name(7)))
    assert (status, answer["isValid"], answer["errorInfo"]["code"]) == (200, False, "RoleDefinitionDoesNotExist")


# --- lists


@pytest.fixture
async def world(arm: Arm, boss: Caller) -> None:
    """boss at the root; 1 robot at the subscription; 2 staff at the group; 3 robot at rg2; 4 anna at the vault."""
    for number, where, who in (
        (1, SUBSCRIPTION, ROBOT),
        (2, GROUP, STAFF),
        (3, f"{GROUP}2", ROBOT),
        (4, VAULT, ANNA),
        (5, SUBSCRIPTION[:-1] + "2", ROBOT),
    ):
        assert (await arm("PUT", path(where, number), boss, body(who=who)))[0] == 201


@pytest.mark.parametrize(
    ("scope", "text", "expected"),
    [
        (GROUP, "", "0124"),
        (SUBSCRIPTION, "", "01234"),
        (VAULT, "", "0124"),
        ("", "", "012345"),
        (GROUP, "atScope()", "012"),
        (GROUP, "atscope( )", "012"),
        (VAULT, "atScope()", "0124"),
        ("", "atScope()", "0"),
        (SUBSCRIPTION, f"principalId eq '{ROBOT}'", "13"),
        (SUBSCRIPTION, f"principalId eq {ROBOT}", "13"),
        (SUBSCRIPTION, f"principalId eq '{ROBOT.upper()}'", "13"),
        (GROUP, f"principalId eq '{ROBOT}'", "1"),
        (GROUP, f"principalId eq '{ANNA}'", "4"),
        (GROUP, f"assignedTo('{ANNA}')", "24"),
        (GROUP, f"atScope() and assignedTo('{ANNA}')", "2"),
        (GROUP, f"assignedTo('{ANNA}') and atScope()", "2"),
        (GROUP, f"principalId eq '{NOBODY}'", ""),
        (SUBSCRIPTION, f"roleDefinitionId eq '{OWNER}'", "0"),
    ],
)
async def test_lists_are_filtered(arm: Arm, boss: Caller, world: None, scope: str, text: str, expected: str) -> None:
    query = f"$filter={text.replace(' ', '%20')}" if text else ""
    status, found = await arm("GET", f"{scope}/{AUTHORIZATION}/roleAssignments", boss, query=query)
    assert status == 200
    names = {a["name"][-1] if a["properties"]["principalId"] != BOSS else "0" for a in found["value"]}
    assert names == set(expected)
    assert len(found["value"]) == len(expected)


@pytest.mark.parametrize(
    "text",
    [
        "principalId eq 'x' and atScope()",
        "atScope() and atScope()",
        "atScope",
        "atScope('x')",
        "assignedTo()",
        "principalId ne 'x'",
        "principalId eq 'x' or principalId eq 'y'",
        "nonsense eq 'x'",
        "roleName eq 'x'",
        "atScope() or 1 eq 1",
        "principalId eq 'a'b'",
    ],
)
def test_a_filter_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_filter(text, ASSIGNMENTS)


async def test_another_tenants_assignments_are_not_listed(arm: Arm, boss: Caller, store: Store) -> None:
    async with store.transaction() as tx:
        await assign(
            tx,
            tenant_id="22222222-2222-2222-2222-222222222222",
            scope=ROOT,
            principal_id=ROBOT,
            role_definition_id=OWNER,
            now=1.0,
            name=name(8),
        )
    _, found = await arm("GET", f"/{AUTHORIZATION}/roleAssignments", boss)
    assert [a["properties"]["principalId"] for a in found["value"]] == [BOSS]
    assert (await arm("GET", path("", 8), boss))[0] == 404
    assert (await arm("DELETE", path("", 8), boss))[0] == 204


# --- role definitions


async def test_roles_are_found_by_name(arm: Arm, boss: Caller) -> None:
    where = f"{GROUP}/{AUTHORIZATION}/roleDefinitions"
    query = "$filter=roleName%20eq%20'Key%20Vault%20Secrets%20User%20(Preview)'"
    status, found = await arm("GET", where, boss, version="2022-05-01-preview", query=query)
    assert status == 200
    (only,) = found["value"]
    assert only["id"] == role(USER)
    assert only["name"] == USER
    assert only["properties"]["roleName"] == "Key Vault Secrets User"
    assert only["properties"]["type"] == "BuiltInRole"
    assert "Microsoft.KeyVault/vaults/secrets/getSecret/action" in only["properties"]["permissions"][0]["dataActions"]
    assert await arm("GET", where, boss, query="$filter=roleName%20eq%20'None'") == (200, {"value": []})
    _, every = await arm("GET", where, boss)
    assert len(every["value"]) == 928
    _, custom = await arm("GET", where, boss, query="$filter=type%20eq%20'CustomRole'")
    assert custom["value"] == []


async def test_old_versions_know_no_data_actions(arm: Arm, boss: Caller) -> None:
    _, shown = await arm("GET", role(USER), boss, version="2015-07-01")
    assert shown["properties"]["permissions"] == [{"actions": [], "notActions": []}]


async def test_anybody_may_read_the_built_in_roles(arm: Arm, robot: Caller) -> None:
    status, found = await arm("GET", f"/{AUTHORIZATION}/roleDefinitions", robot)
    assert (status, len(found["value"])) == (200, 928)
    status, one = await arm("GET", f"/{AUTHORIZATION}/roleDefinitions/{READER}", robot)
    assert (status, one["id"]) == (200, f"/{AUTHORIZATION}/roleDefinitions/{READER}")
    status, missing = await arm("GET", f"/{AUTHORIZATION}/roleDefinitions/{name(1)}", robot)
    assert (status, missing["code"]) == (404, "RoleDefinitionDoesNotExist")


CUSTOM = f"{SUBSCRIPTION}/{AUTHORIZATION}/roleDefinitions/{name(1)}"


def custom(**changed: Any) -> dict[str, Any]:
    properties = {
        "roleName": "Vault opener",
        "description": "opens",
        "type": "CustomRole",
        "assignableScopes": [GROUP],
        "permissions": [{"actions": [], "notActions": None, "dataActions": ["Microsoft.KeyVault/vaults/secrets/*"]}],
    }
    return {"name": name(1), "properties": properties | changed}


async def test_a_custom_role_is_made_used_and_removed(arm: Arm, guard: Guard, boss: Caller, robot: Caller) -> None:
    status, made = await arm("PUT", CUSTOM, boss, custom())
    assert status == 201
    assert made["id"] == CUSTOM
    assert made["properties"]["type"] == "CustomRole"
    assert made["properties"]["permissions"] == [
        {
            "actions": [],
            "notActions": [],
            "dataActions": ["Microsoft.KeyVault/vaults/secrets/*"],
            "notDataActions": [],
        }
    ]
    assert (await arm("GET", CUSTOM, boss))[1] == made
    query = "$filter=type%20eq%20'CustomRole'"
    listed = f"{{}}/{AUTHORIZATION}/roleDefinitions"
    assert len((await arm("GET", listed.format(GROUP), boss, query=query))[1]["value"]) == 1
    assert len((await arm("GET", listed.format(VAULT), boss, query=query))[1]["value"]) == 1
    assert (await arm("GET", listed.format(SUBSCRIPTION), boss, query=query))[1]["value"] == []
    below = query + "%20and%20atScopeAndBelow()"
    assert len((await arm("GET", listed.format(SUBSCRIPTION), boss, query=below))[1]["value"]) == 1

    status, refused = await arm("PUT", path(SUBSCRIPTION, 2), boss, body(name(1)))
    assert (status, refused["code"]) == (400, "RoleAssignmentScopeNotAssignableToRoleDefinition")
    assert (await arm("PUT", path(VAULT, 2), boss, body(name(1))))[0] == 201
    get = Action("Microsoft.KeyVault/vaults/secrets/getSecret/action", data=True)
    assert await guard.allows(robot, get, ResourceId.parse(VAULT))
    status, refused = await arm("DELETE", CUSTOM, boss)
    assert (status, refused["code"]) == (400, "RoleDefinitionHasAssignments")
    await arm("DELETE", path(VAULT, 2), boss)
    assert (await arm("DELETE", CUSTOM, boss))[0] == 200
    assert await arm("DELETE", CUSTOM, boss) == (204, None)


@pytest.mark.parametrize(
    ("where", "given", "status", "code"),
    [
        (CUSTOM.replace(name(1), "nonsense"), custom(), 400, "InvalidRoleDefinitionId"),
        (CUSTOM, custom(type="BuiltInRole"), 400, "InvalidRoleDefinitionType"),
        (CUSTOM, custom(roleName=""), 400, "RoleDefinitionNameNullOrEmpty"),
        (CUSTOM, custom(roleName=None), 400, "RoleDefinitionNameNullOrEmpty"),
        (CUSTOM, custom(assignableScopes=[]), 400, "MissingAssignableScopes"),
        (CUSTOM, custom(assignableScopes=["Invalid_Scope"]), 400, "LinkedInvalidPropertyId"),
        (CUSTOM, custom(assignableScopes=["/"]), 400, "LinkedInvalidPropertyId"),
        (CUSTOM, custom(roleName="Reader"), 409, "RoleDefinitionWithSameNameExists"),
        (CUSTOM.replace(name(1), READER), custom(), 409, "RoleDefinitionExists"),
        (CUSTOM, custom(permissions=[{"actions": ["no slash"]}]), 400, "InvalidActionOrNotAction"),
        (CUSTOM, custom(permissions=[{"dataActions": ["x"]}]), 400, "InvalidDataActionOrNotDataAction"),
        (CUSTOM, custom(permissions=[{"actions": "x"}]), 400, "InvalidRequestContent"),
        (CUSTOM, custom(permissions=[{"actions": ["*"], "condition": "true"}]), 400, "ConditionNotSupported"),
        (
            CUSTOM,
            custom(assignableScopes=["/providers/Microsoft.Management/managementGroups/m"]),
            400,
            "InvalidRoleDefinition",
        ),
    ],
)
async def test_a_bad_custom_role_is_refused(
    arm: Arm, boss: Caller, where: str, given: dict[str, Any], status: int, code: str
) -> None:
    found, refused = await arm("PUT", where, boss, given)
    assert (found, refused["code"]) == (status, code)
    assert (await arm("GET", CUSTOM, boss))[0] == 404


async def test_names_of_custom_roles_are_unique(arm: Arm, boss: Caller) -> None:
    await arm("PUT", CUSTOM, boss, custom())
    assert (await arm("PUT", CUSTOM, boss, custom(description="again")))[0] == 201
    status, refused = await arm("PUT", CUSTOM.replace(name(1), name(2)), boss, custom(roleName="vault OPENER"))
    assert (status, refused["code"]) == (409, "RoleDefinitionWithSameNameExists")


async def test_a_role_is_written_only_where_its_writer_may(arm: Arm, boss: Caller, robot: Caller) -> None:
    administrator = "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9"
    await arm("PUT", path(GROUP, 9), boss, body(administrator))
    here = f"{GROUP}/{AUTHORIZATION}/roleDefinitions/{name(1)}"
    assert (await arm("PUT", here, robot, custom()))[0] == 201
    for scopes in ([SUBSCRIPTION], [GROUP, f"{GROUP}2"]):
        status, refused = await arm("PUT", here, robot, custom(assignableScopes=scopes))
        assert (status, refused["code"]) == (403, "LinkedAuthorizationFailed")
    assert (await arm("PUT", here, boss, custom(assignableScopes=[GROUP, f"{GROUP}2"])))[0] == 201
    status, refused = await arm("PUT", here, robot, custom())
    assert (status, refused["code"]) == (403, "LinkedAuthorizationFailed"), "it is assignable where he is nobody"
    assert (await arm("DELETE", here, robot))[1]["code"] == "LinkedAuthorizationFailed"


async def test_custom_roles_are_not_everybodys_to_read(arm: Arm, boss: Caller, robot: Caller, anna: Caller) -> None:
    await arm("PUT", CUSTOM, boss, custom())
    top = f"/{AUTHORIZATION}/roleDefinitions/{name(1)}"
    assert (await arm("GET", top, boss))[0] == 200
    assert (await arm("GET", top, anna))[1]["code"] == "RoleDefinitionDoesNotExist"
    await arm("PUT", path(GROUP, 9), boss, body())
    assert (await arm("GET", top, robot))[0] == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_built_in_roles_are_not_changed(arm: Arm, boss: Caller, method: str) -> None:
    status, _ = await arm(method, role(READER), boss, custom() if method == "PUT" else None)
    assert status in {400, 409}


# --- deny assignments, permissions, operations


@pytest.fixture
async def locked(store: Store, people: None) -> None:
    async with store.transaction() as tx:
        await deny(
            tx,
            DenyAssignment(
                id=name(3),
                tenant_id=TENANT,
                name="Locked",
                description="by a blueprint",
                scope=GROUP,
                permissions=(Permission(actions=("*/delete",)),),
                principals=(DenyPrincipal(EVERYBODY, "SystemDefined"),),
                exclude_principals=(DenyPrincipal(ROBOT, "ServicePrincipal"),),
            ),
        )


@pytest.mark.parametrize(
    ("scope", "text", "count"),
    [
        (VAULT, "", 1),
        (SUBSCRIPTION, "", 1),
        (SUBSCRIPTION, "atScope()", 0),
        (f"{GROUP}2", "", 0),
        (GROUP, "denyAssignmentName eq 'locked'", 1),
        (GROUP, "denyAssignmentName eq 'other'", 0),
        (GROUP, f"principalId eq '{EVERYBODY}'", 1),
        (GROUP, f"principalId eq '{ROBOT}'", 0),
        (GROUP, f"gdprExportPrincipalId eq '{ROBOT}'", 1),
    ],
)
async def test_deny_assignments_are_listed(
    arm: Arm, boss: Caller, locked: None, scope: str, text: str, count: int
) -> None:
    query = f"$filter={text.replace(' ', '%20')}" if text else ""
    _, found = await arm("GET", f"{scope}/{AUTHORIZATION}/denyAssignments", boss, query=query)
    assert len(found["value"]) == count


async def test_a_deny_assignment_is_shown_and_holds(arm: Arm, boss: Caller, locked: None) -> None:
    where = f"{GROUP}/{AUTHORIZATION}/denyAssignments/{name(3)}"
    status, shown = await arm("GET", where, boss, version="2018-07-01-preview")
    assert status == 200
    assert shown["properties"] == {
        "denyAssignmentName": "Locked",
        "description": "by a blueprint",
        "permissions": [{"actions": ["*/delete"], "notActions": [], "dataActions": [], "notDataActions": []}],
        "scope": GROUP,
        "doNotApplyToChildScopes": False,
        "principals": [{"id": EVERYBODY, "type": "SystemDefined"}],
        "excludePrincipals": [{"id": ROBOT, "type": "ServicePrincipal"}],
        "isSystemProtected": True,
    }
    await arm("PUT", path(VAULT, 1), boss, body())
    status, refused = await arm("DELETE", path(VAULT, 1), boss)
    assert (status, refused["code"]) == (403, "DenyAssignmentAuthorizationFailed")
    assert (await arm("GET", where.replace(name(3), name(4)), boss))[0] == 404


async def test_permissions_are_the_callers_own(arm: Arm, boss: Caller, anna: Caller, robot: Caller) -> None:
    where = f"{VAULT}/{AUTHORIZATION}/permissions"
    assert await arm("GET", where, robot) == (200, {"value": []})
    await arm("PUT", path(GROUP, 1), boss, body(USER, STAFF))
    _, found = await arm("GET", where, anna)
    (only,) = found["value"]
    assert only["actions"] == []
    assert len(only["dataActions"]) == 2
    _, found = await arm("GET", where, boss)
    assert found["value"][0]["actions"] == ["*"]


async def test_operations_are_listed(arm: Arm, robot: Caller) -> None:
    where = f"/{AUTHORIZATION}/providerOperations"
    status, found = await arm("GET", f"{where}/microsoft.keyvault", robot, query="$expand=resourceTypes")
    assert status == 200
    assert found["name"] == "Microsoft.KeyVault"
    (secrets,) = [kind for kind in found["resourceTypes"] if kind["name"] == "vaults/secrets"]
    data = {operation["name"]: operation["isDataAction"] for operation in secrets["operations"]}
    assert data["Microsoft.KeyVault/vaults/secrets/getSecret/action"] is True
    assert (await arm("GET", f"{where}/None.Such", robot))[0] == 404
    assert len((await arm("GET", where, robot))[1]["value"]) > 10


# --- the decision log


async def test_refusals_are_explained(arm: Arm, guard: Guard, boss: Caller, robot: Caller) -> None:
    version = "2026-11-01"
    await arm("PUT", path(VAULT, 1), boss, body(OWNER))
    status, refused = await arm("GET", path(GROUP, 2), robot)
    assert (status, refused["code"]) == (403, "AuthorizationFailed")
    _, found = await arm(
        "GET", "/providers/Keyfob.Access/decisions", boss, version=version, query=f"verdict=denied&principalId={ROBOT}"
    )
    (entry,) = found["value"]
    assert entry["verdict"] == "denied"
    assert entry["principalId"] == ROBOT
    assert "1 role assignment elsewhere" in entry["reason"]
    assert entry["roles"][0]["name"]
    assert entry["remedy"].startswith(f"az role assignment create --assignee-object-id {ROBOT}")
    _, found = await arm("GET", "/providers/Keyfob.Access/decisions", boss, version=version, query="verdict=allowed")
    assert all(entry["verdict"] == "allowed" and not entry["roles"] for entry in found["value"])
    for query in ("verdict=maybe", "since=x", "top=x"):
        status, _ = await arm("GET", "/providers/Keyfob.Access/decisions", boss, version=version, query=query)
        assert status == 400


# --- the published examples


def examples() -> list[tuple[str, dict[str, Any]]]:
    folder = REFERENCE / "openapi/specification/authorization/resource-manager/Microsoft.Authorization"
    return [
        (f"{file.parent.name} {name}", example)
        for file in sorted(folder.glob("*/*/examples.json"))
        for name, example in json.loads(file.read_text("utf-8")).items()
    ]


def members(value: Any) -> Any:
    """The names an object has, without its values."""
    if isinstance(value, dict):
        return {key: members(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [members(inner) for inner in value[:1]]
    return None


def missing(expected: Any, found: Any, at: str = "") -> list[str]:
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            return [at]
        return [
            problem
            for key, inner in expected.items()
            if inner != [] and key != "nextLink"
            for problem in ([f"{at}/{key}"] if key not in found else missing(inner, found[key], f"{at}/{key}"))
        ]
    if isinstance(expected, list) and expected and isinstance(found, list) and found:
        return missing(expected[0], found[0], f"{at}[]")
    return []


@pytest.mark.skipif(not examples(), reason="the reference data is not beside the project")
async def test_answers_have_what_the_published_examples_have(arm: Arm, boss: Caller, locked: None) -> None:
    await arm("PUT", path(GROUP, 1), boss, body())
    await arm("PUT", CUSTOM, boss, custom())
    kinds = {
        "roleAssignments": (path(GROUP, 1), ASSIGNMENT_VERSIONS),
        "roleDefinitions": (CUSTOM, DEFINITION_VERSIONS),
        "denyAssignments": (f"{GROUP}/{AUTHORIZATION}/denyAssignments/{name(3)}", DENIAL_VERSIONS),
    }
    compared = 0
    for example, shown in examples():
        version = example.partition(" ")[0]  # a few examples name the version of another document
        expected = shown["responses"].get("200", {}).get("body")
        one = expected["value"][0] if isinstance(expected, dict) and expected.get("value") else expected
        kind = (one or {}).get("type", "").rpartition("/")[2] if isinstance(one, dict) else ""
        if kind not in kinds:
            continue
        where, versions = kinds[kind]
        assert version in versions, example
        listed = "value" in expected
        status, found = await arm("GET", where.rpartition("/")[0] if listed else where, boss, version=version)
        assert status == 200
        if listed and kind == "roleDefinitions":
            found = {"value": [role for role in found["value"] if role["properties"]["roleName"] == "Reader"]}
        assert missing(members(expected), found) == [], example
        compared += 1
    assert compared > 40


def test_everything_shown_is_json() -> None:
    assert msgspec.json.encode(parse_filter("atScope()", ASSIGNMENTS).terms) == b'{"atscope":""}'


async def test_a_role_held_from_above_has_the_spelling_of_the_definitions_listed_there(
    arm: Arm, store: Store, boss: Caller
) -> None:
    """azure-cli looks the role's name up by its id, exactly; without this `az role assignment list --all` lacks it."""
    async with store.transaction() as tx:
        made = await assign(
            tx, tenant_id=boss.tenant_id, scope=ROOT, principal_id=ROBOT, role_definition_id=READER, now=0.0
        )
    for scope in (SUBSCRIPTION, GROUP):
        _, listed = await arm("GET", f"{scope}/{AUTHORIZATION}/roleAssignments", boss)
        _, defined = await arm("GET", f"{scope}/{AUTHORIZATION}/roleDefinitions", boss)
        names = {row["id"]: row["properties"]["roleName"] for row in defined["value"]}
        held = {row["name"]: row["properties"] for row in listed["value"]}
        assert names[held[made.id]["roleDefinitionId"]] == "Reader"
        assert held[made.id]["scope"] == "/"
        assert all(row["roleDefinitionId"] in names for row in held.values())
    # asked at the root itself, the id names no subscription
    _, listed = await arm("GET", f"/{AUTHORIZATION}/roleAssignments", boss)
    held = {row["name"]: row["properties"] for row in listed["value"]}
    assert held[made.id]["roleDefinitionId"] == f"/{AUTHORIZATION}/roleDefinitions/{READER}"
