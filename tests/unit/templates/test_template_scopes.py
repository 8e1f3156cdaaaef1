"""Deployments above the subscription, as az sends them; and what a deployer who may too little is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Arm, Deployer, template, until

IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
MACHINE = "Microsoft.Compute/virtualMachines"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
MANAGEMENT = "/providers/Microsoft.Management/managementGroups"
ABOVE = "https://schema.management.azure.com/schemas/2019-08-01/{}DeploymentTemplate.json#"


def identity(name: str, **more: Any) -> dict[str, Any]:
    return {"type": IDENTITY, "apiVersion": "2018-11-30", "name": name, "location": "westeurope", **more}


def above(kind: str, *resources: Any, **more: Any) -> dict[str, Any]:
    return template(*resources, **more) | {"$schema": ABOVE.format(kind)}


def nested(name: str, inner: Any, **more: Any) -> dict[str, Any]:
    properties = {
        "mode": "Incremental",
        "template": inner,
        "expressionEvaluationOptions": {"scope": "inner"},
    }
    return {
        "type": "Microsoft.Resources/deployments",
        "apiVersion": "2022-09-01",
        "name": name,
        "location": "westeurope",
        "properties": properties,
        **more,
    }


def spliced(wanted: Any, location: str = "westeurope") -> bytes:
    """What az deployment mg|tenant create sends: the template's text without quotes around its name."""
    text = json.dumps(wanted, indent=2).replace("{", "{ // as in the file\n", 1)
    return (
        f'{{"location":"{location}","properties":{{"mode":"Incremental","parameters":{{}},template:{text}}}}}'.encode()
    )


GROUP = {"type": "Microsoft.Resources/resourceGroups", "apiVersion": "2022-09-01", "location": "westeurope"}


def everywhere(subscription: str) -> list[dict[str, Any]]:
    """In a subscription a group, and in that an identity."""
    inner = template(
        identity("deep"), outputs={"id": {"type": "string", "value": f"[resourceId('{IDENTITY}', 'deep')]"}}
    )
    middle = above("subscription", {**GROUP, "name": "far"}, nested("third", inner, resourceGroup="far",
                                                                    dependsOn=["far"]))  # fmt: skip
    middle["resources"][1].pop("location")
    middle["outputs"] = {"id": {"type": "string", "value": "[reference('third').outputs.id.value]"}}
    return [nested("second", middle, subscriptionId=subscription)]


@pytest.mark.parametrize("scope", ["tenant", "managementGroup"])
async def test_from_above_into_a_subscription_and_a_group(arm: Arm, scope: str) -> None:
    subscription = arm.subscription.rpartition("/")[2]
    where = "" if scope == "tenant" else f"{MANAGEMENT}/root"
    if where:
        await arm.made(where, {"properties": {}}, "2020-05-01")
        await arm.made(f"{where}/subscriptions/{subscription}", None, "2020-05-01")
    wanted = above(scope, *everywhere(subscription),
                   outputs={"id": {"type": "string", "value": "[reference('second').outputs.id.value]"}})  # fmt: skip
    path = arm.at("first", where)
    checked = await arm.call("POST", f"{path}/validate", spliced(wanted))
    assert checked.status == 200, checked.body
    answer = await arm.call("PUT", path, spliced(wanted))
    assert answer.status == 201, answer.body
    assert answer.json()["location"] == "westeurope"
    shown = await arm.ended("first", where)
    assert shown["properties"]["provisioningState"] == "Succeeded", shown["properties"]["error"]
    assert shown["id"] == path
    assert shown["properties"]["outputs"]["id"]["value"].endswith(f"/resourceGroups/far/providers/{IDENTITY}/deep")
    assert await arm.names(f"{arm.subscription}/resourceGroups/far") == {"deep"}
    second = (await arm.call("GET", arm.at("second", arm.subscription))).json()
    third = (await arm.call("GET", arm.at("third", f"{arm.subscription}/resourceGroups/far"))).json()
    assert {one["properties"]["correlationId"] for one in (second, third)} == {shown["properties"]["correlationId"]}
    assert (second["location"], third.get("location")) == ("westeurope", None)
    listed = (await arm.call("GET", arm.at("", where)[:-1])).json()["value"]
    assert [one["name"] for one in listed] == ["first"]
    told = (await arm.call("GET", f"{path}/operations")).json()["value"]
    assert told[0]["properties"]["targetResource"]["id"] == second["id"]
    assert (await arm.call("POST", f"{path}/exportTemplate")).status == 200
    looked = await arm.call("POST", f"{path}/whatIf", spliced(wanted))
    assert looked.status == 202
    changes = (await arm.call("GET", looked.headers["location"])).json()["properties"]["changes"]
    assert [(one["resourceId"].rpartition("/")[2], one["changeType"]) for one in changes] == [
        ("far", "NoChange"),
        ("deep", "NoChange"),
    ]
    assert (await arm.call("DELETE", path)).status == 204


async def test_a_tenant_makes_management_groups_and_deploys_into_them(arm: Arm) -> None:
    role = "b24988ac-6180-42a0-ab88-20f7382dd24c"
    assignment = {
        "type": "Microsoft.Authorization/roleAssignments",
        "apiVersion": "2022-04-01",
        "name": "[guid(managementGroup().id)]",
        "properties": {
            "roleDefinitionId": f"[tenantResourceId('Microsoft.Authorization/roleDefinitions', '{role}')]",
            "principalId": arm.client.operator["object_id"],
            "principalType": "ServicePrincipal",
        },
    }
    inner = above("managementGroup", assignment,
                  outputs={"name": {"type": "string", "value": "[managementGroup().name]"}})  # fmt: skip
    wanted = above(
        "tenant",
        {"type": "Microsoft.Management/managementGroups", "apiVersion": "2020-05-01", "name": "made",
         "properties": {"displayName": "Made"}},
        nested("within", inner, scope="Microsoft.Management/managementGroups/made", dependsOn=["made"]),
        outputs={"name": {"type": "string", "value": "[reference('within').outputs.name.value]"},
                 "tenant": {"type": "string", "value": "[tenant().tenantId]"}},
    )  # fmt: skip
    shown = await arm.succeeds(wanted, scope="", location="westeurope")
    assert shown["properties"]["outputs"]["name"]["value"] == "made"
    assert shown["properties"]["outputs"]["tenant"]["value"] == arm.client.operator["tenant_id"]
    assert (await arm.call("GET", f"{MANAGEMENT}/made", version="2020-05-01")).status == 200
    listed = await arm.call(
        "GET", f"{MANAGEMENT}/made/providers/Microsoft.Authorization/roleAssignments", version="2022-04-01"
    )
    mine = [one for one in listed.json()["value"] if one["properties"]["scope"] == f"{MANAGEMENT}/made"]
    assert len(mine) >= 1
    assert (await arm.ended("within", f"{MANAGEMENT}/made"))["properties"]["provisioningState"] == "Succeeded"


@pytest.mark.parametrize(
    ("change", "code"),
    [({"location": ""}, "InvalidDeployment"), ({"mode": "Complete"}, "InvalidDeploymentMode")],
)
async def test_what_a_deployment_above_needs(arm: Arm, change: dict[str, str], code: str) -> None:
    await arm.made(f"{MANAGEMENT}/root", {"properties": {}}, "2020-05-01")
    for where in ("", f"{MANAGEMENT}/root"):
        body: dict[str, Any] = {"properties": {"mode": change.get("mode", "Incremental"), "template": above("tenant")}}
        if location := change.get("location", "westeurope"):
            body["location"] = location
        answer = await arm.call("PUT", arm.at("d", where), body)
        assert (answer.status, answer.json()["error"]["code"]) == (400, code)


async def test_resource_group_facts_are_not_there_above(arm: Arm) -> None:
    for where, function in (("", "subscription"), (arm.subscription, "resourceGroup"), ("", "managementGroup")):
        wanted = above("tenant", outputs={"x": {"type": "string", "value": f"[{function}().id]"}})
        shown = await arm.deploy(wanted, scope=where, location="westeurope")
        assert shown["properties"]["error"]["code"] == "DeploymentOutputEvaluationFailed"


async def test_a_role_in_a_subscription_does_not_reach_above(arm: Arm) -> None:
    deployer = await Deployer.made(arm, "*")
    await arm.made(f"{MANAGEMENT}/root", {"properties": {}}, "2020-05-01")
    for where in ("", f"{MANAGEMENT}/root"):
        body = {"location": "westeurope", "properties": {"mode": "Incremental", "template": above("tenant")}}
        answer = await deployer.call("PUT", arm.at("d", where), body)
        error = answer.json()["error"]
        assert (answer.status, error["code"]) == (403, "AuthorizationFailed")
        assert "Microsoft.Resources/deployments/write" in error["message"]


# --- who may too little


def machine(identity_id: str) -> dict[str, Any]:
    return {
        "type": MACHINE,
        "apiVersion": "2023-07-01",
        "name": "vm",
        "location": "westeurope",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {identity_id: {}}},
        "properties": {},
    }


async def test_an_identity_that_may_not_be_assigned(arm: Arm) -> None:
    """The deployer may write machines, but not give them this identity."""
    deployer = await Deployer.made(arm, "Microsoft.Resources/*", "Microsoft.Compute/*", f"{IDENTITY}/read")
    id = f"{arm.group}/providers/{IDENTITY}/given"
    await arm.made(id, {"location": "westeurope"}, "2018-11-30")
    wanted = template(machine(id), nested("after", template(), dependsOn=["vm"]) | {"location": None})
    wanted["resources"][1].pop("location")
    answer = await deployer.call("PUT", arm.at("d"), {"properties": {"mode": "Incremental", "template": wanted}})
    assert answer.status == 201, answer.body
    shown = await arm.ended()
    assert shown["properties"]["provisioningState"] == "Failed"
    error = shown["properties"]["error"]
    assert error["code"] == "DeploymentFailed"
    assert error["target"] == arm.at("d")
    assert error["message"] == (
        "At least one resource deployment operation failed. Please list deployment operations for details. Please see "
        "https://aka.ms/arm-deployment-operations for usage details."
    )
    (detail,) = error["details"]
    target = f"{arm.group}/providers/{MACHINE}/vm"
    assert detail["code"] == "LinkedAuthorizationFailed"
    assert detail["target"] == target
    assert detail["message"].endswith(
        f"has permission to perform action '{MACHINE}/write' on scope '{target}'; however, it does not have permission "
        f"to perform action '{IDENTITY}/assign/action' on the linked scope(s) '{id}' or the linked scope(s) are "
        "invalid."
    )
    (row,) = [
        one["properties"]
        for one in (await arm.call("GET", f"{arm.at('d')}/operations")).json()["value"]
        if "targetResource" in one["properties"]
    ]
    assert (row["statusCode"], row["provisioningState"]) == ("Forbidden", "Failed")
    assert row["statusMessage"]["status"] == "Failed"
    assert row["statusMessage"]["error"]["code"] == "LinkedAuthorizationFailed"
    status = await arm.call("GET", answer.headers["azure-asyncoperation"])
    assert status.json() == {"status": "Failed", "error": error}
    assert await arm.names() == {"given"}
    await deployer.may("Microsoft.Resources/*", "Microsoft.Compute/*", f"{IDENTITY}/*/assign/action")
    answer = await deployer.call("PUT", arm.at("d"), {"properties": {"mode": "Incremental", "template": wanted}})
    assert (await arm.ended())["properties"]["provisioningState"] == "Succeeded"


async def test_a_nested_template_with_more_than_the_deployer_may(arm: Arm) -> None:
    """As Azure: the nested deployment is refused as a whole, with the resource that may not be written."""
    deployer = await Deployer.made(arm, "Microsoft.Resources/*", f"{IDENTITY}/*")
    role = {
        "type": "Microsoft.Authorization/roleAssignments",
        "apiVersion": "2022-04-01",
        "name": "[guid('x')]",
        "properties": {
            "roleDefinitionId": f"[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '{READER}')]",
            "principalId": deployer.principal,
        },
    }
    inner = nested("inside", template(identity("made-inside"), role))
    inner.pop("location")
    body = {"properties": {"mode": "Incremental", "template": template(identity("made-outside"), inner)}}
    assert (await deployer.call("PUT", arm.at("d"), body)).status == 201
    error = (await arm.ended())["properties"]["error"]
    (detail,) = error["details"]
    assert (error["code"], detail["code"]) == ("DeploymentFailed", "InvalidTemplateDeployment")
    assert "of type 'Microsoft.Authorization/roleAssignments'. The client" in detail["message"]
    assert await arm.names() == {"made-outside"}
    assert (await arm.call("GET", arm.at("inside"))).status == 404


async def test_what_may_not_be_read_fails_the_resource_that_reads_it(arm: Arm) -> None:
    """What reference() reads is read as the deployer."""
    deployer = await Deployer.made(arm, "Microsoft.Resources/*", f"{IDENTITY}/write")
    await arm.made(f"{arm.group}/providers/{IDENTITY}/hidden", {"location": "westeurope"}, "2018-11-30")
    wanted = template(
        identity("curious", tags={"p": f"[reference(resourceId('{IDENTITY}', 'hidden'), '2018-11-30').principalId]"})
    )
    body = {"properties": {"mode": "Incremental", "template": wanted}}
    assert (await deployer.call("PUT", arm.at("d"), body)).status == 201
    error = (await arm.ended())["properties"]["error"]
    (detail,) = error["details"]
    assert (error["code"], detail["code"]) == ("DeploymentFailed", "AuthorizationFailed")
    assert f"'{IDENTITY}/read' over scope '{arm.group}/providers/{IDENTITY}/hidden'" in detail["message"]
    assert await arm.names() == {"hidden"}


async def test_a_right_that_is_taken_away_meanwhile(arm: Arm) -> None:
    deployer = await Deployer.made(arm, "Microsoft.Resources/*", f"{IDENTITY}/*", "Microsoft.Compute/*")
    operations = arm.app.resource_manager.engine.operations
    operations._seconds = 3600.0
    slow = machine("")
    del slow["identity"]
    body = {"properties": {"mode": "Incremental", "template": template(slow, identity("late", dependsOn=["vm"]))}}
    assert (await deployer.call("PUT", arm.at("d"), body)).status == 201

    async def begun() -> bool:
        return "vm" in await arm.names()

    await until(begun)
    await deployer.may("Microsoft.Resources/*", "Microsoft.Compute/*")
    operations._due = dict.fromkeys(operations._due, 0.0)
    await operations.settle()
    error = (await arm.ended())["properties"]["error"]
    (detail,) = error["details"]
    assert (error["code"], detail["code"]) == ("DeploymentFailed", "AuthorizationFailed")
    assert f"'{IDENTITY}/write' over scope" in detail["message"]
    assert await arm.names() == {"vm"}
