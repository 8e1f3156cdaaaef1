"""Deployments through the real application: order, scopes, modes, refusals, what is stored."""

from __future__ import annotations

import asyncio
import json
import time
from types import SimpleNamespace

import pytest

from keyfob.cli.client import Client

from .conftest import Arm, Deployer, built, template

IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
API = "2018-11-30"


def identity(name: str, **more):
    return {"type": IDENTITY, "apiVersion": API, "name": name, "location": "westeurope", **more}


def nested(name: str, inner, *, scope: str = "", parameters=None, **more):
    properties = {"mode": "Incremental", "template": inner}
    if scope:
        properties["expressionEvaluationOptions"] = {"scope": scope}
    if parameters:
        properties["parameters"] = parameters
    return {
        "type": "Microsoft.Resources/deployments",
        "apiVersion": "2022-09-01",
        "name": name,
        "properties": properties,
    } | more


def code(shown) -> str:
    return shown["properties"]["error"]["code"]


def details(shown) -> list[str]:
    return [one["code"] for one in shown["properties"]["error"].get("details", ())]


async def test_a_deployment_says_what_it_made(arm):
    wanted = template(
        identity("[parameters('name')]"),
        {
            "type": "Microsoft.Compute/virtualMachines",
            "apiVersion": "2023-07-01",
            "name": "vm1",
            "location": "[resourceGroup().location]",
            "identity": {
                "type": "UserAssigned",
                "userAssignedIdentities": {f"[resourceId('{IDENTITY}', parameters('name'))]": {}},
            },
            "dependsOn": [f"[resourceId('{IDENTITY}', parameters('name'))]"],
            "properties": {},
        },
        parameters={"name": {"type": "string"}, "secret": {"type": "secureString", "defaultValue": "s3cret"}},
        outputs={
            "principal": {"type": "string", "value": "[reference(parameters('name')).principalId]"},
            "kind": {"type": "string", "value": "[reference('vm1', '2023-07-01', 'Full').identity.type]"},
            "hidden": {"type": "securestring", "value": "[parameters('secret')]"},
            "absent": {"type": "string", "condition": False, "value": "[reference('nothing').x]"},
            "rows": {"type": "array", "copy": {"count": 3, "input": "[copyIndex(5)]"}},
        },
    )
    shown = await arm.succeeds(wanted, {"name": "id1"})
    properties = shown["properties"]
    made = (await arm.call("GET", f"{arm.group}/providers/{IDENTITY}/id1", version=API)).json()
    assert properties["outputs"]["principal"] == {"type": "String", "value": made["properties"]["principalId"]}
    assert properties["outputs"]["kind"]["value"] == "UserAssigned"
    assert properties["outputs"]["hidden"] == {"type": "SecureString"}
    assert "absent" not in properties["outputs"]
    assert properties["outputs"]["rows"]["value"] == [5, 6, 7]
    assert properties["parameters"]["secret"] == {"type": "SecureString"}
    assert {row["id"].rpartition("/")[2] for row in properties["outputResources"]} == {"id1", "vm1"}
    assert properties["dependencies"][0]["dependsOn"][0]["resourceName"] == "id1"
    assert "s3cret" not in json.dumps(shown)
    operations = (await arm.call("GET", f"{arm.at('d')}/operations")).json()["value"]
    told = [row["properties"] for row in operations if "targetResource" in row["properties"]]
    assert {(row["targetResource"]["resourceName"], row["provisioningState"], row["statusCode"]) for row in told} == {
        ("id1", "Succeeded", "Created"),
        ("vm1", "Succeeded", "Created"),
    }


async def test_three_hundred_resources_with_dependencies_take_seconds(arm):
    rows = [
        {
            "type": "Microsoft.Network/networkSecurityGroups",
            "apiVersion": "2023-05-01",
            "name": "[concat('nsg', copyIndex())]",
            "location": "westeurope",
            "copy": {"name": "nsgs", "count": 100},
            "properties": {},
        },
        {
            "type": IDENTITY,
            "apiVersion": API,
            "name": "[concat('id', copyIndex())]",
            "location": "westeurope",
            "copy": {"name": "ids", "count": 100},
            "dependsOn": ["[concat('nsg', copyIndex())]"],
        },
        {
            "type": "Microsoft.Compute/virtualMachines",
            "apiVersion": "2023-07-01",
            "name": "[concat('vm', copyIndex())]",
            "location": "westeurope",
            "copy": {"name": "vms", "count": 100},
            "identity": {
                "type": "UserAssigned",
                "userAssignedIdentities": {f"[resourceId('{IDENTITY}', concat('id', copyIndex()))]": {}},
            },
            "tags": {"principal": "[reference(concat('id', copyIndex())).principalId]"},
            "properties": {},
        },
    ]
    shown = await arm.succeeds(template(*rows))
    assert len(shown["properties"]["outputResources"]) == 300
    assert len(await arm.names()) == 300


async def test_nested_templates_of_both_scopes(arm):
    other = f"{arm.subscription}/resourceGroups/other"
    await arm.made(other, {"location": "westeurope"})
    inner = template(
        identity("[parameters('name')]"),
        parameters={"name": {"type": "string"}},
        outputs={"id": {"type": "string", "value": "[resourceId('" + IDENTITY + "', parameters('name'))]"}},
    )
    outer = template(identity("[variables('name')]"))
    wanted = template(
        nested(
            "in", inner, scope="inner", parameters={"name": {"value": "[variables('name')]"}}, resourceGroup="other"
        ),
        nested("out", outer, dependsOn=["in"]),
        variables={"name": "fromAbove"},
        outputs={"id": {"type": "string", "value": "[reference('in').outputs.id.value]"}},
    )
    shown = await arm.succeeds(wanted)
    assert shown["properties"]["outputs"]["id"]["value"].lower().startswith(f"{other}/providers/".lower())
    assert await arm.names() == {"fromAbove"}
    assert await arm.names(other) == {"fromAbove"}
    assert len(shown["properties"]["outputResources"]) == 2
    assert (await arm.call("GET", arm.at("in", other))).status == 200


async def test_a_nested_failure_is_told_all_the_way_up(arm):
    broken = template(
        {"type": "Microsoft.Nothing/things", "apiVersion": "2020-01-01", "name": "x", "location": "westeurope"}
    )
    shown = await arm.deploy(template(nested("in", broken, scope="inner"), identity("fine")))
    error = shown["properties"]["error"]
    assert code(shown) == "DeploymentFailed"
    assert error["details"][0]["code"] == "ResourceDeploymentFailure"
    assert error["details"][0]["details"][0]["details"][0]["code"] == "InvalidResourceNamespace"
    assert await arm.names() == {"fine"}  # what does not depend on it went on


async def test_what_depends_on_a_failure_is_not_made(arm):
    bad = {"type": "Microsoft.Nothing/things", "apiVersion": "2020-01-01", "name": "x", "location": "westeurope"}
    shown = await arm.deploy(template(bad, identity("after", dependsOn=["x"])))
    assert details(shown) == ["InvalidResourceNamespace"]
    assert await arm.names() == set()


async def test_symbolic_names_existing_and_loops(arm):
    await arm.succeeds(template(identity("there")))
    wanted = template() | {
        "languageVersion": "2.0",
        "resources": {
            "known": {"existing": True, "type": IDENTITY, "apiVersion": API, "name": "there"},
            "many": {**identity("[format('id{0}', copyIndex())]"), "copy": {"name": "many", "count": 2}},
            "last": {**identity("last"), "tags": {"p": "[reference('known').principalId]"}, "dependsOn": ["many"]},
        },
        "outputs": {
            "known": {"type": "string", "value": "[reference('known').principalId]"},
            "second": {"type": "string", "value": "[reference('many[1]').principalId]"},
            "all": {"type": "int", "value": "[length(references('many'))]"},
        },
    }
    shown = await arm.succeeds(wanted)
    assert shown["properties"]["outputs"]["all"]["value"] == 2
    assert shown["properties"]["outputs"]["known"]["value"] != shown["properties"]["outputs"]["second"]["value"]
    assert await arm.names() == {"there", "id0", "id1", "last"}


async def test_complete_mode_deletes_what_is_not_in_the_template(arm):
    await arm.succeeds(template(identity("stays"), identity("goes")))
    await arm.succeeds(template(identity("stays")), mode="Incremental")
    assert await arm.names() == {"stays", "goes"}
    await arm.succeeds(template(identity("stays")), mode="Complete")
    assert await arm.names() == {"stays"}


async def test_a_condition_leaves_a_resource_out(arm):
    wanted = template(
        identity("yes", condition="[parameters('on')]"),
        identity("not", condition="[not(parameters('on'))]"),
        identity("after", dependsOn=["yes", "not"]),
        parameters={"on": {"type": "bool"}},
    )
    await arm.succeeds(wanted, {"on": True})
    assert await arm.names() == {"yes", "after"}


async def test_az_sends_templates_that_are_no_json(arm):
    text = f"""{{
      // what az splices in
      "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
      "contentVersion": "1.0.0.0", /* and
      more */
      "variables": {{"long": "[concat('aa',
          'bb')]"}},
      "resources": [
        {{"type": "{IDENTITY}", "apiVersion": "2018-11-30", "name": "[variables('long')]", "location": "westeurope",}},
      ],
    }}"""
    body = '{"properties":{"mode":"Incremental","parameters":{}, template:' + text + "}}"
    answer = await arm.call("PUT", arm.at("d"), body.encode())
    assert answer.status == 201, answer.body
    assert (await arm.ended())["properties"]["provisioningState"] == "Succeeded"
    assert await arm.names() == {"aabb"}
    broken = body.replace("2018-11-30", "").replace('"apiVersion": "",', "")
    answer = await arm.call("PUT", arm.at("e"), broken.encode())
    assert answer.status == 400
    assert "at line '9' and column '9'" in answer.json()["error"]["message"]


async def test_who_may_not_write_a_resource_is_refused_before_anything_happens(arm):
    token = (await Deployer.made(arm, "Microsoft.Resources/deployments/*", "*/read")).token
    body = {"properties": {"mode": "Incremental", "template": template(identity("xxx"))}}
    url = f"https://management.azure.com{arm.at('d')}?api-version=2024-11-01"
    answer = await asyncio.to_thread(
        arm.client.send, "PUT", url, {"Authorization": f"Bearer {token}"}, json.dumps(body).encode()
    )
    assert answer.status == 403
    error = answer.json()["error"]
    assert error["code"] == "InvalidTemplateDeployment"
    assert f"does not have permission to perform action '{IDENTITY}/write' at scope" in error["message"]
    assert error["details"][0]["code"] == "AuthorizationFailed"
    assert await arm.names() == set()
    # and a template that is wrong is told first
    answer = await asyncio.to_thread(
        arm.client.send,
        "PUT",
        url,
        {"Authorization": f"Bearer {token}"},
        b'{"properties":{"mode":"Incremental","template":{}}}',
    )
    assert (answer.status, answer.json()["error"]["code"]) == (400, "InvalidTemplate")


async def test_the_same_name_twice_at_once_is_refused_and_cancel_stops_it(arm):
    arm.app.resource_manager.engine.operations._seconds = 30.0
    slow = {
        "type": "Microsoft.Compute/virtualMachines",
        "apiVersion": "2023-07-01",
        "name": "vm",
        "location": "westeurope",
        "properties": {},
    }
    wanted = template(slow, identity("after", dependsOn=["vm"]))
    first = await arm.put(wanted)
    assert (first.status, first.json()["properties"]["provisioningState"]) == (201, "Accepted")
    assert (await arm.call("GET", arm.at("d"))).json()["properties"]["provisioningState"] == "Running"
    second = await arm.put(wanted)
    assert (second.status, second.json()["error"]["code"]) == (409, "DeploymentActive")
    status = await arm.call("GET", first.headers["azure-asyncoperation"])
    assert status.json() == {"status": "Running"}
    assert (await arm.call("DELETE", arm.at("d"))).status == 409
    assert (await arm.call("POST", f"{arm.at('d')}/cancel")).status == 204
    arm.app.resource_manager.engine.operations._due = dict.fromkeys(
        arm.app.resource_manager.engine.operations._due, 0.0
    )
    await arm.app.resource_manager.engine.operations.settle()
    shown = await arm.ended()
    assert shown["properties"]["provisioningState"] == "Canceled"
    assert await arm.names() == {"vm"}
    assert (await arm.call("POST", f"{arm.at('d')}/cancel")).json()["error"]["code"] == "DeploymentCannotBeCancelled"
    assert (await arm.call("DELETE", arm.at("d"))).status == 204
    assert (await arm.call("GET", arm.at("d"))).json()["error"]["code"] == "DeploymentNotFound"


async def test_what_a_dead_process_left_running_has_failed(arm):
    from keyfob.arm.templates.records import RECORDS, Deployment
    from keyfob.resource_id import ResourceId

    key = ResourceId.parse(arm.at("old")).key
    left = Deployment(
        id=arm.at("old"), name="old", tenant_id=arm.client.operator["tenant_id"], state="Running", began=time.time(),
        changed=time.time(), owner="another",
    )  # fmt: skip
    async with arm.app.store.transaction() as tx:
        await RECORDS.put(tx, key, left)
    await arm.app.deployments().look_after()
    shown = await arm.ended("old")
    assert (shown["properties"]["provisioningState"], code(shown)) == ("Failed", "DeploymentFailed")


async def test_what_if_tells_and_changes_nothing(arm):
    await arm.succeeds(template(identity("same"), identity("changed"), identity("other")))
    wanted = template(identity("same"), identity("changed", tags={"a": "b"}), identity("new"))
    body = {"properties": {"mode": "Complete", "template": wanted}}
    answer = await arm.call("POST", f"{arm.at('w')}/whatIf", body)
    assert answer.status == 202
    result = (await arm.call("GET", answer.headers["location"])).json()
    changes = {row["resourceId"].rpartition("/")[2]: row for row in result["properties"]["changes"]}
    assert {name: row["changeType"] for name, row in changes.items()} == {
        "same": "NoChange",
        "changed": "Modify",
        "new": "Create",
        "other": "Delete",
    }
    assert changes["changed"]["delta"][0]["path"] == "tags"
    assert await arm.names() == {"same", "changed", "other"}
    assert (await arm.call("GET", arm.at("w"))).status == 404


async def test_validate_says_what_is_wrong_or_what_would_be(arm):
    good = await arm.call(
        "POST",
        f"{arm.at('v')}/validate",
        {"properties": {"mode": "Incremental", "template": template(identity("aaa"))}},
    )
    assert good.status == 200
    assert good.json()["properties"]["validatedResources"][0]["id"].endswith("/aaa")
    bad = await arm.call("POST", f"{arm.at('v')}/validate", {"properties": {"mode": "Incremental", "template": {}}})
    assert (bad.status, bad.json()["error"]["code"]) == (400, "InvalidTemplate")
    assert await arm.names() == set()


async def test_subscriptions_make_groups_and_deploy_into_them(arm):
    wanted = template(
        {
            "type": "Microsoft.Resources/resourceGroups",
            "apiVersion": "2022-09-01",
            "name": "made",
            "location": "westeurope",
        },
        nested(
            "inside",
            template(identity("xxx")),
            resourceGroup="made",
            dependsOn=["[subscriptionResourceId('Microsoft.Resources/resourceGroups', 'made')]"],
        ),
    )
    where = {"scope": arm.subscription, "location": "westeurope"}
    await arm.succeeds(wanted, **where)
    assert await arm.names(f"{arm.subscription}/resourceGroups/made") == {"xxx"}
    refused = await arm.put(wanted, scope=arm.subscription)
    assert (refused.status, refused.json()["error"]["code"]) == (400, "InvalidDeployment")


async def test_a_tenant_deploys_into_a_subscription(arm):
    subscription = arm.subscription.rpartition("/")[2]
    inner = template(
        {
            "type": "Microsoft.Resources/resourceGroups",
            "apiVersion": "2022-09-01",
            "name": "t",
            "location": "westeurope",
        }
    )
    wanted = template(nested("sub", inner, scope="inner", subscriptionId=subscription, location="westeurope"))
    await arm.succeeds(wanted, scope="", location="westeurope")
    assert (await arm.call("GET", f"{arm.subscription}/resourceGroups/t")).status == 200


async def test_a_group_is_exported_and_deployed_elsewhere(arm):
    await arm.succeeds(template(identity("aaa", tags={"x": "[[y]"})))
    answer = await arm.call("POST", f"{arm.group}/exportTemplate", {"resources": ["*"]})
    assert answer.status == 200
    exported = answer.json()["template"]
    assert exported["resources"][0]["tags"] == {"x": "[[y]"}
    other = f"{arm.subscription}/resourceGroups/copy"
    await arm.made(other, {"location": "westeurope"})
    await arm.succeeds(exported, scope=other)
    assert await arm.names(other) == {"aaa"}


async def test_linked_templates_come_along_or_are_refused(arm):
    linked = {
        "type": "Microsoft.Resources/deployments",
        "apiVersion": "2022-09-01",
        "name": "linked",
        "properties": {"mode": "Incremental", "templateLink": {"relativePath": "inner/one.json"}},
    }
    await arm.succeeds(template(linked), linkedTemplates={"inner/one.json": template(identity("far"))})
    assert await arm.names() == {"far"}
    abroad = {**linked, "properties": {"mode": "Incremental", "templateLink": {"uri": "https://example.com/t.json"}}}
    shown = await arm.deploy(template(abroad))
    assert details(shown) == ["InvalidContentLink"]


async def test_lists_of_deployments(arm):
    await arm.succeeds(template(identity("aaa")), name="one")
    await arm.succeeds(template(identity("aaa")), name="two")
    listed = (await arm.call("GET", arm.at("")[:-1])).json()["value"]
    assert [row["name"] for row in listed] == ["two", "one"]
    assert (await arm.call("HEAD", arm.at("one"))).status == 204
    assert (await arm.call("HEAD", arm.at("none"))).status == 404
    exported = (await arm.call("POST", f"{arm.at('one')}/exportTemplate")).json()
    assert exported["template"]["resources"][0]["name"] == "aaa"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("VMSS", "vmss"),
        ("IPAddress", "ipAddress"),
        ("LogicAppServicePrincipalId", "logicAppServicePrincipalId"),
        ("TRANS_Test_Parameter", "tranS_Test_Parameter"),
        ("A", "a"),
        ("plain", "plain"),
        ("_X", "_X"),
        ("1A", "1A"),
    ],
)
async def test_names_of_outputs_begin_with_small_letters(arm, written, shown):
    made = await arm.deploy(template(outputs={written: {"type": "int", "value": 1}}))
    assert made["properties"]["outputs"] == {shown: {"type": "Int", "value": 1}}


@pytest.mark.parametrize(
    "case",
    [
        SimpleNamespace(
            output={"type": "string", "value": "[reference('idid').nothing]"},
            says="doesn't exist, available properties are",
        ),
        SimpleNamespace(output={"type": "string", "value": "[reference('gone', '2018-11-30')]"}, says="could not find"),
    ],
)
async def test_outputs_that_cannot_be_evaluated_fail_the_deployment(arm, case):
    shown = await arm.deploy(template(identity("idid"), outputs={"o": case.output}))
    assert code(shown) == "DeploymentOutputEvaluationFailed"
    assert case.says in json.dumps(shown["properties"]["error"])


async def test_a_serial_loop_waits_for_its_batch(arm):
    row = identity("[concat('sss', copyIndex())]", copy={"name": "l", "count": 4, "mode": "Serial", "batchSize": 2})
    shown = await arm.succeeds(template(row))
    waits = {
        one["resourceName"]: {d["resourceName"] for d in one["dependsOn"]}
        for one in shown["properties"]["dependencies"]
    }
    assert waits == {"sss2": {"sss0", "sss1"}, "sss3": {"sss0", "sss1"}}


async def test_loops_in_properties_and_a_loop_that_another_waits_for(arm):
    rows = "[range(0, 3)]"
    wanted = template(
        identity("[concat('row', copyIndex())]", copy={"name": "rows", "count": 3}),
        {
            "type": "Microsoft.Network/networkSecurityGroups",
            "apiVersion": "2023-05-01",
            "name": "nsg",
            "location": "westeurope",
            "dependsOn": ["rows"],
            "properties": {
                "copy": [
                    {
                        "name": "securityRules",
                        "count": "[length(variables('rows'))]",
                        "input": {
                            "name": "[concat('r', copyIndex('securityRules'))]",
                            "properties": {
                                "description": "[reference(concat('row', copyIndex('securityRules'))).clientId]"
                            },
                        },
                    }
                ]
            },
        },
        variables={"rows": rows},
    )
    shown = await arm.succeeds(wanted)
    nsg = next(one for one in shown["properties"]["dependencies"] if one["resourceName"] == "nsg")
    assert {one["resourceName"] for one in nsg["dependsOn"]} == {"row0", "row1", "row2"}
    path = f"{arm.group}/providers/Microsoft.Network/networkSecurityGroups/nsg"
    made = (await arm.call("GET", path, version="2023-05-01")).json()
    assert [rule["name"] for rule in made["properties"]["securityRules"]] == ["r0", "r1", "r2"]


async def test_keys_are_listed_as_the_caller_and_never_stored(arm):
    account = {
        "type": "Microsoft.Storage/storageAccounts",
        "apiVersion": "2023-01-01",
        "name": "keys4711",
        "location": "westeurope",
        "sku": {"name": "Standard_LRS"},
        "kind": "StorageV2",
        "properties": {},
    }
    wanted = template(
        account,
        outputs={
            "key": {"type": "securestring", "value": "[listKeys('keys4711', '2023-01-01').keys[0].value]"},
            "length": {"type": "int", "value": "[length(listKeys('keys4711', '2023-01-01').keys[0].value)]"},
        },
    )
    shown = await arm.succeeds(wanted)
    assert shown["properties"]["outputs"]["length"]["value"] > 80
    assert shown["properties"]["outputs"]["key"] == {"type": "SecureString"}


async def test_deployment_scripts_are_absent_with_an_error(arm):
    script = {
        "type": "Microsoft.Resources/deploymentScripts",
        "apiVersion": "2023-08-01",
        "name": "script",
        "location": "westeurope",
        "kind": "AzureCLI",
        "properties": {},
    }
    assert details(await arm.deploy(template(script))) == ["InvalidResourceType"]


async def test_a_preview_is_told_in_the_deployment_s_operations(tmp_path):
    """In November 2018 identities of container groups were a preview."""
    app = await built(tmp_path / "data", availability="2018-11-28")
    try:
        arm = Arm(app, Client(app.settings.data))
        await arm.made(arm.group, {"location": "westeurope"})
        group = {
            "type": "Microsoft.ContainerInstance/containerGroups",
            "apiVersion": "2023-05-01",
            "name": "c",
            "location": "westeurope",
            "identity": {"type": "SystemAssigned"},
            "properties": {
                "osType": "Linux",
                "containers": [
                    {
                        "name": "c",
                        "properties": {"image": "i", "resources": {"requests": {"cpu": 1, "memoryInGB": 1}}},
                    }
                ],
            },
        }
        await arm.succeeds(template(group, identity("plain")))
        rows = (await arm.call("GET", f"{arm.at('d')}/operations")).json()["value"]
        told = {
            row["properties"]["targetResource"]["resourceName"]: row["properties"].get("statusMessage")
            for row in rows
            if "targetResource" in row["properties"]
        }
        assert told["plain"] is None
        assert told["c"]["warnings"][0].startswith('299 - "')
        assert "SystemAssigned" in told["c"]["warnings"][0]
    finally:
        await app.stop()
