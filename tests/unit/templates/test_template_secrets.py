"""Parameters from a vault, and from a linked parameter file: who may, what is stored, what is said."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from .conftest import Arm, Deployer, template
from .test_template_resume import stored

SECRET = "Hush-Hush-4711"
OLDER = "Hush-Before-4710"
MACHINE = "Microsoft.Compute/virtualMachines"
VAULT = "hush-4711"
DEPLOY = "Microsoft.KeyVault/vaults/deploy/action"


def vault_id(arm: Arm) -> str:
    return f"{arm.group}/providers/Microsoft.KeyVault/vaults/{VAULT}"


@pytest.fixture
async def vault(arm: Arm) -> str:
    """A vault that deployments may read, with two versions of a secret. Gives the id of the older one."""
    await enable(arm, True)
    versions = []
    for value in (OLDER, SECRET):
        answer = await secret(arm, "PUT", "/secrets/password", {"value": value})
        versions.append(answer["id"].rpartition("/")[2])
    return str(versions[0])


async def enable(arm: Arm, on: bool) -> None:
    who = {"tenantId": arm.client.operator["tenant_id"], "objectId": arm.client.operator["object_id"]}
    properties = {
        "tenantId": arm.client.operator["tenant_id"],
        "sku": {"family": "A", "name": "standard"},
        "enabledForTemplateDeployment": on,
        "accessPolicies": [who | {"permissions": {"secrets": ["get", "set"]}}],
    }
    await arm.made(vault_id(arm), {"location": "westeurope", "properties": properties}, "2023-07-01")


async def secret(arm: Arm, method: str, path: str, body: Any) -> Any:
    token = await asyncio.to_thread(arm.client.token, "https://vault.azure.net")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    url = f"https://{VAULT}.vault.azure.net{path}?api-version=7.4"
    answer = await asyncio.to_thread(arm.client.send, method, url, headers, json.dumps(body).encode())
    assert answer.status == 200, answer.body
    return answer.json()


def machine(name: str = "vm") -> dict[str, Any]:
    return {
        "type": MACHINE,
        "apiVersion": "2023-07-01",
        "name": name,
        "location": "westeurope",
        "tags": {"length": "[string(length(parameters('password')))]"},
        "properties": {"osProfile": {"adminPassword": "[parameters('password')]"}},
    }


WANTED = template(machine(), parameters={"password": {"type": "securestring"}},
                  outputs={"start": {"type": "string", "value": "[substring(parameters('password'), 0, 5)]"},
                           "whole": {"type": "securestring", "value": "[parameters('password')]"}})  # fmt: skip


def reference(id: str, name: str = "password", **more: Any) -> dict[str, Any]:
    return {"reference": {"keyVault": {"id": id}, "secretName": name, **more}}


def body(wanted: Any, **parameters: Any) -> dict[str, Any]:
    return {"properties": {"mode": "Incremental", "template": wanted, "parameters": parameters}}


async def refused(arm: Arm, given: dict[str, Any], wanted: Any = WANTED) -> tuple[int, str, str]:
    """The same from PUT and validate, and the failure of what-if; nothing is made."""
    answer = await arm.call("PUT", arm.at("d"), body(wanted, **given))
    error = answer.json()["error"]
    checked = await arm.call("POST", f"{arm.at('d')}/validate", body(wanted, **given))
    assert (checked.status, checked.json()["error"]["code"]) == (answer.status, error["code"])
    looked = await arm.call("POST", f"{arm.at('d')}/whatIf", body(wanted, **given))
    if looked.status == 202:
        looked = await arm.call("GET", looked.headers["location"])
    assert looked.json()["error"]["code"] == error["code"]
    assert (await arm.call("GET", arm.at("d"))).status == 404
    return answer.status, error["code"], error["message"]


async def test_a_parameter_is_a_secret(arm: Arm, vault: str) -> None:
    given = reference(vault_id(arm))
    answer = await arm.call("PUT", arm.at("d"), body(WANTED, password=given))
    assert answer.status == 201, answer.body
    assert answer.json()["properties"]["parameters"] == {"password": {"type": "SecureString", **given}}
    shown = await arm.ended()
    assert shown["properties"]["outputs"]["start"]["value"] == SECRET[:5]
    assert "value" not in shown["properties"]["outputs"]["whole"]
    made = (await arm.call("GET", f"{arm.group}/providers/{MACHINE}/vm", version="2023-07-01")).json()
    assert made["tags"]["length"] == str(len(SECRET))
    told = await arm.call("GET", f"{arm.at('d')}/operations")
    assert SECRET not in json.dumps(shown) + told.body.decode()
    assert SECRET not in await stored(arm)


async def test_a_version_may_be_named(arm: Arm, vault: str) -> None:
    await arm.call("PUT", arm.at("d"), body(WANTED, password=reference(vault_id(arm), secretVersion=vault)))
    shown = await arm.ended()
    made = (await arm.call("GET", f"{arm.group}/providers/{MACHINE}/vm", version="2023-07-01")).json()
    assert made["tags"]["length"] == str(len(OLDER))
    assert shown["properties"]["parameters"]["password"]["reference"]["secretVersion"] == vault


async def test_what_is_shown_of_a_secret_has_stars(arm: Arm, vault: str) -> None:
    answer = await arm.call("POST", f"{arm.at('d')}/whatIf", body(WANTED, password=reference(vault_id(arm))))
    result = await arm.call("GET", answer.headers["location"])
    after = result.json()["properties"]["changes"][0]["after"]
    assert after["properties"]["osProfile"]["adminPassword"] == "*******"
    assert SECRET not in result.body.decode() + await stored(arm)


async def test_a_vault_must_be_enabled(arm: Arm, vault: str) -> None:
    await enable(arm, False)
    status, code, message = await refused(arm, {"password": reference(vault_id(arm))})
    assert (status, code) == (409, "KeyVaultParameterReferenceSecretRetrieveFailed")
    assert message.startswith(
        "The secret of KeyVault parameter 'password' cannot be retrieved. Http status code: 'Forbidden'. Error "
        "message: 'Access denied to first party service.\r\nCaller: name=ARM;tid="
    )
    assert message.endswith(
        f"\r\nVault: {VAULT};location=westeurope'. Please see https://aka.ms/arm-keyvault for usage details."
    )


async def test_who_deploys_needs_the_right_and_no_other(arm: Arm, vault: str) -> None:
    """A right to deploy with the vault is needed, and enough: nobody asks for one to read its secrets."""
    deployer = await Deployer.made(arm, "Microsoft.Resources/*", "Microsoft.Compute/*", "Microsoft.KeyVault/*/read")
    answer = await deployer.call("PUT", arm.at("d"), body(WANTED, password=reference(vault_id(arm))))
    error = answer.json()["error"]
    assert (answer.status, error["code"]) == (403, "KeyVaultParameterReferenceAuthorizationFailed")
    assert f"with object id '{deployer.principal}' does not have permission to perform action" in error["message"]
    assert error["message"].endswith(
        f"action '{DEPLOY.upper()}' on the specified KeyVault resource '{vault_id(arm)}'. Please see "
        "https://aka.ms/arm-keyvault for usage details."
    )
    # that there is no such vault is not told to who may not know
    gone = await deployer.call("PUT", arm.at("d"), body(WANTED, password=reference(vault_id(arm) + "x")))
    assert gone.json()["error"]["code"] == "KeyVaultParameterReferenceAuthorizationFailed"
    assert (await arm.call("GET", arm.at("d"))).status == 404
    await deployer.may("Microsoft.Resources/*", "Microsoft.Compute/*", DEPLOY)
    answer = await deployer.call("PUT", arm.at("d"), body(WANTED, password=reference(vault_id(arm))))
    assert answer.status == 201, answer.body
    assert (await arm.ended())["properties"]["provisioningState"] == "Succeeded"
    assert SECRET not in json.dumps(await arm.ended())


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"id": "/nowhere"}, "KeyVaultParameterReferenceNotFound", "The specified KeyVault '/nowhere' could not"),
        ({"id": "{vault}x"}, "KeyVaultParameterReferenceNotFound", "x' could not be found"),
        ({"id": "{group}"}, "KeyVaultParameterReferenceNotFound", "could not be found"),
        ({"id": 7}, "InvalidRequestContent", "Required property 'id' not found"),
        ({"secretName": "other"}, "KeyVaultParameterReferenceSecretRetrieveFailed", "Http status code: 'NotFound'"),
        ({"secretName": "a b"}, "KeyVaultParameterReferenceSecretRetrieveFailed", "Http status code: 'BadRequest'"),
        ({"secretName": ""}, "InvalidRequestContent", "Required property 'secretName'"),
        ({"secretVersion": "f" * 32}, "KeyVaultParameterReferenceSecretRetrieveFailed", "was not found in this key"),
        ({"secretVersion": "x"}, "KeyVaultParameterReferenceSecretRetrieveFailed", "'BadRequest'"),
        ({"more": 1}, "InvalidRequestContent", "'more' on object of type 'KeyVaultParameterReference'"),
        ({"resourceGroup": "g"}, "InvalidRequestContent", "'resourceGroup' on object of type 'KeyVaultReference'"),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_a_reference_is_told(
    arm: Arm, vault: str, change: dict[str, Any], code: str, says: str
) -> None:
    text = {"{vault}x": vault_id(arm) + "x", "{group}": arm.group}
    inner: dict[str, Any] = {"id": vault_id(arm)}
    outer: dict[str, Any] = {"secretName": "password"}
    for name, value in change.items():
        (inner if name in ("id", "resourceGroup") else outer)[name] = text.get(str(value), value)
    _, found, message = await refused(arm, {"password": {"reference": {"keyVault": inner, **outer}}})
    assert found == code
    assert says in message


@pytest.mark.parametrize("given", ["x", 7, [], {}, {"keyVault": "x", "secretName": "y"}])
async def test_a_reference_of_another_shape(arm: Arm, given: Any) -> None:
    assert (await refused(arm, {"password": {"reference": given}}))[:2] == (400, "InvalidRequestContent")


async def test_a_disabled_secret_and_several_at_once(arm: Arm, vault: str) -> None:
    wanted = template(machine(), parameters={"password": {"type": "securestring"}, "other": {"type": "securestring"}})
    await secret(arm, "PATCH", "/secrets/password", {"attributes": {"enabled": False}})
    given = {"password": reference(vault_id(arm)), "other": reference(vault_id(arm), "none")}
    status, code, message = await refused(arm, given, wanted)
    assert (status, code) == (409, "MultipleErrorsOccurred")
    assert message == "Multiple error occurred: Conflict,Conflict. Please see details."
    answer = await arm.call("PUT", arm.at("d"), body(wanted, **given))
    told = [(one["code"], one["message"]) for one in answer.json()["error"]["details"]]
    assert {code for code, _ in told} == {"KeyVaultParameterReferenceSecretRetrieveFailed"}
    assert "disabled secret" in told[0][1]


async def test_another_tenants_vault_is_refused(arm: Arm, vault: str) -> None:
    made = await arm.made("/providers/Keyfob.Directory/tenants/other.test", {"cloud": "AzureCloud"}, "2026-11-01")
    foreign = vault_id(arm).replace(arm.subscription, f"/subscriptions/{made['operator']['subscription_id']}")
    status, code, _ = await refused(arm, {"password": reference(foreign)})
    assert (status, code) == (400, "KeyVaultParameterReferenceNotInTheSameTenant")


async def test_a_value_that_does_not_fit_is_not_quoted(arm: Arm, vault: str) -> None:
    wanted = template(parameters={"password": {"type": "string", "allowedValues": ["a", "b"]}})
    _, code, message = await refused(arm, {"password": reference(vault_id(arm))}, wanted)
    assert code == "InvalidTemplate"
    assert "is not part of the allowed value(s): 'a,b'" in message
    assert SECRET not in message
    wanted["parameters"]["password"] = {"type": "securestring", "allowedValues": ["a", "b"]}
    assert SECRET not in (await refused(arm, {"password": {"value": SECRET}}, wanted))[2]


def inside(parameters: Any, **more: Any) -> dict[str, Any]:
    return {
        "type": "Microsoft.Resources/deployments",
        "apiVersion": "2022-09-01",
        "name": "inside",
        "properties": {
            "mode": "Incremental",
            "expressionEvaluationOptions": {"scope": "inner"},
            "template": WANTED,
            "parameters": parameters,
        },
        **more,
    }


async def test_a_nested_template_gets_one_too(arm: Arm, vault: str) -> None:
    """The vault's id and the secret's name may be expressions there, and are told before anything happens."""
    id = "[resourceId('Microsoft.KeyVault/vaults', parameters('vault'))]"
    nested = inside({"password": reference(id, "[parameters('name')]")})
    kinds = {"vault": {"type": "string"}, "name": {"type": "string", "defaultValue": "password"}}
    wanted = template(nested, parameters=kinds)
    await arm.succeeds(wanted, {"vault": VAULT})
    inner = await arm.ended("inside")
    assert inner["properties"]["parameters"]["password"]["reference"]["keyVault"]["id"].lower() == vault_id(arm).lower()
    assert SECRET not in await stored(arm)
    answer = await arm.call("PUT", arm.at("e"), body(wanted, vault={"value": "nothing"}))
    assert answer.json()["error"]["code"] == "KeyVaultParameterReferenceNotFound"
    # with a name that is only known later it is the nested deployment that fails
    nested = inside({"password": reference(id, "[reference('aside').outputs.name.value]")}, dependsOn=["aside"])
    aside = inside({}, name="aside")
    aside["properties"]["template"] = template(outputs={"name": {"type": "string", "value": "nothing"}})
    shown = await arm.deploy(template(aside, nested, parameters=kinds), {"vault": VAULT})
    details = shown["properties"]["error"]["details"]
    assert [one["code"] for one in details] == ["KeyVaultParameterReferenceSecretRetrieveFailed"]
    answer = await arm.call("POST", f"{arm.at('w')}/whatIf", body(wanted, vault={"value": VAULT}))
    assert SECRET not in (await arm.call("GET", answer.headers["location"])).body.decode()


async def test_parameters_behind_a_link(arm: Arm, vault: str) -> None:
    file = {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#",
        "contentVersion": "1.0.0.1",
        "parameters": {"password": reference(vault_id(arm))},
    }
    nested = inside({})
    del nested["properties"]["parameters"]
    address = "[uri(deployment().properties.templateLink.uri, 'p/one.json')]"
    nested["properties"]["parametersLink"] = {"uri": address}
    more = {"linkedTemplates": {"p/one.json": file}, "templateLink": {"relativePath": "main.json"}}
    await arm.succeeds(template(nested), **more)
    shown = (await arm.ended("inside"))["properties"]
    assert shown["parametersLink"] == {
        "uri": "https://templates.keyfob.internal/p/one.json",
        "contentVersion": "1.0.0.1",
    }
    link = {"uri": "https://templates.keyfob.internal/p/one.json"}
    direct = {"mode": "Incremental", "template": WANTED, "parametersLink": link, **more}
    assert (await arm.call("PUT", arm.at("direct"), {"properties": direct})).status == 201
    assert (await arm.ended("direct"))["properties"]["provisioningState"] == "Succeeded"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"parameters": {"password": {"value": "x"}}}, "InvalidDeployment"),
        ({"parametersLink": {"uri": "https://example.com/p.json"}}, "InvalidContentLink"),
        ({"parametersLink": {}}, "InvalidContentLink"),
        ({"parametersLink": "x"}, "InvalidRequestContent"),
        ({"linkedTemplates": {"p.json": {"x": 1}}}, "InvalidRequestContent"),
        ({"linkedTemplates": {"p.json": {"parameters": {"password": "x"}}}}, "InvalidRequestContent"),
    ],
)  # fmt: skip
async def test_a_link_that_leads_nowhere(arm: Arm, more: dict[str, Any], code: str) -> None:
    known = {"p.json": {"parameters": {"password": {"value": "x"}}}}
    given = {
        "mode": "Incremental",
        "template": WANTED,
        "linkedTemplates": known,
        "parametersLink": {"uri": "https://templates.keyfob.internal/p.json"},
        **more,
    }
    answer = await arm.call("PUT", arm.at("d"), {"properties": given})
    assert (answer.status, answer.json()["error"]["code"]) == (400, code)
    if code == "InvalidDeployment":
        assert answer.json()["error"]["message"].startswith("The deployment 'd' cannot have both the ParameterLink")
