"""Deny assignments by request, policies that are not there, reserved names, moves; and what is open without a role."""

from __future__ import annotations

from typing import Any

import pytest

from keyfob.access.assignments import DenyAssignment, DenyPrincipal, deny
from keyfob.declare import Public, SignedIn

V = {"version": "2022-04-01"}
DENY = "providers/Microsoft.Authorization/denyAssignments/dddddddd-0000-4000-8000-000000000001"
EVERYBODY = {"id": "00000000-0000-0000-0000-000000000000", "type": "SystemDefined"}
OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"


def denial(*principals: dict[str, str], actions: tuple[str, ...] = ("*/delete",), **more: Any) -> dict[str, Any]:
    return {
        "properties": {
            "denyAssignmentName": "not here",
            "permissions": [{"actions": list(actions)}],
            "principals": list(principals),
            **more,
        }
    }


def test_routes_that_need_no_action_are_these(world: Any) -> None:
    registry = world.app.resource_manager.registry
    owned = {
        "Microsoft.Resources",
        "Microsoft.Features",
        "Microsoft.Management",
        "Microsoft.Insights",
    }
    routes = [route for route in registry.routes.routes if registry.owner(route) in owned]
    open_ = {f"{route.method} {route.path}" for route in routes if isinstance(route.access, SignedIn)}
    ours = {place for place in open_ if "deployments" not in place and "calculateTemplateHash" not in place}
    assert ours == {
        "GET /providers/Microsoft.Management/managementGroups",
        "POST /providers/Microsoft.Management/getEntities",
        "POST /providers/Microsoft.Management/checkNameAvailability",
        "POST /providers/Microsoft.Management/tenantBackfillStatus",
        "POST /providers/Microsoft.Management/startTenantBackfill",
        "GET /subscriptions/{subscription}/providers/Microsoft.Insights/eventtypes/management/values",
        "GET /providers/Microsoft.Insights/eventcategories",
        "POST /providers/Microsoft.Resources/checkResourceName",
    }
    assert not [route for route in routes if isinstance(route.access, Public)]


async def test_a_deny_assignment_by_request(world: Any) -> None:
    one, ids = await world.identity("one"), {"version": "2023-01-31"}
    owner = await world.somebody(OWNER, world.group)
    at = f"{world.group}/{DENY}"
    made = await world.arm("PUT", at, denial({"id": owner.id, "type": "ServicePrincipal"}), **V)
    assert made.status == 201
    assert await world.refused("DELETE", one, by=owner, **ids) == (403, "DenyAssignmentAuthorizationFailed")
    shown = await world.good("GET", at, **V)
    assert shown["properties"]["isSystemProtected"] is False
    assert shown["properties"]["scope"] == world.group
    assert await world.refused("DELETE", at, by=owner, **V) == (403, "DenyAssignmentAuthorizationFailed")
    assert (await world.arm("DELETE", at, **V)).status == 200
    assert (await world.arm("DELETE", at, **V)).status == 204
    assert (await world.arm("DELETE", one, by=owner, **ids)).status == 200


async def test_nobody_locks_themselves_out(world: Any) -> None:
    at = f"{world.group}/{DENY}"
    assert await world.refused("PUT", at, denial(EVERYBODY), **V) == (400, "InvalidDenyAssignment")
    me = {"id": world.boss.id, "type": "ServicePrincipal"}
    await world.good("PUT", at, denial(EVERYBODY, excludePrincipals=[me]), **V)
    assert (await world.arm("DELETE", at, **V)).status == 200


async def test_what_the_platform_protects_stays(world: Any) -> None:
    name = DENY.rpartition("/")[2]
    async with world.app.store.transaction() as tx:
        await deny(
            tx,
            DenyAssignment(
                id=name, tenant_id=world.tenant, scope=world.group, principals=(DenyPrincipal("x", "User"),)
            ),
        )
    protected = (409, "DenyAssignmentSystemProtected")
    assert await world.refused("DELETE", f"{world.group}/{DENY}", **V) == protected
    assert await world.refused("PUT", f"{world.group}/{DENY}", denial(dict(EVERYBODY), actions=("a/b",)), **V) == (
        protected
    )


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"properties": {"denyAssignmentName": "x", "permissions": [], "principals": [EVERYBODY]}},
        denial({"id": "nobody", "type": "User"}),
        denial(EVERYBODY, actions=("a/b",), isSystemProtected=True),
        {"properties": 7},
    ],
)
async def test_a_bad_deny_assignment_is_refused(world: Any, body: Any) -> None:
    assert (await world.refused("PUT", f"{world.group}/{DENY}", body, **V))[0] == 400


async def test_a_contributor_makes_no_deny_assignment(world: Any) -> None:
    contributor = await world.somebody(CONTRIBUTOR, world.group)
    body = denial({"id": world.boss.id, "type": "ServicePrincipal"})
    assert await world.refused("PUT", f"{world.group}/{DENY}", body, by=contributor, **V) == (
        403,
        "AuthorizationFailed",
    )


@pytest.mark.parametrize("kind", ["policyAssignments", "policyDefinitions", "policySetDefinitions", "policyExemptions"])
async def test_policies_are_not_there_and_say_so(world: Any, kind: str) -> None:
    nobody = await world.somebody()
    for scope in (world.group, world.subscription, ""):
        at = f"{scope}/providers/Microsoft.Authorization/{kind}"
        assert await world.good("GET", at, version="2021-06-01") == {"value": []}
        assert (await world.refused("GET", f"{at}/x", version="2021-06-01"))[0] == 404
        refused = await world.refused("PUT", f"{at}/x", {"properties": {}}, version="2021-06-01")
        assert refused == (400, "OperationNotSupported")
        assert await world.refused("GET", at, by=nobody, version="2021-06-01") == (403, "AuthorizationFailed")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("shop", ""),
        ("Office", "ReservedResourceName"),
        ("office-shop", ""),
        ("myMicrosoftShop", "ReservedResourceName"),
        ("LoginShop", "ReservedResourceName"),
        ("shoplogin", ""),
        ("", "InvalidRequestContent"),
        (7, "InvalidRequestContent"),
    ],
)
async def test_reserved_names(world: Any, name: Any, code: str) -> None:
    body = {"name": name, "type": "Microsoft.Web/sites"}
    nobody = await world.somebody()
    path = "/providers/Microsoft.Resources/checkResourceName"
    if code:
        assert await world.refused("POST", path, body, by=nobody) == (400, code)
    else:
        assert (await world.good("POST", path, body, by=nobody))["status"] == "Allowed"


async def test_other_types_of_the_insights_namespace_are_still_kept(world: Any) -> None:
    id = f"{world.group}/providers/Microsoft.Insights/components/app"
    await world.good("PUT", id, {"location": "westeurope", "properties": {}}, version="2020-02-02")
    assert (await world.good("GET", id, version="2020-02-02"))["name"] == "app"
