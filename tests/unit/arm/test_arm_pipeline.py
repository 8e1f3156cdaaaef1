"""The phases, from the outside: who is answered what, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from keyfob.access.log import Question
from keyfob.declare import Action, Public

S = "bbbbbbbb-0000-4000-8000-000000000001"
TENANT = "aaaaaaaa-0000-4000-8000-000000000001"
GROUP = f"/subscriptions/{S}/resourceGroups/g"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/vm1"
BOX = f"{GROUP}/providers/Microsoft.Shelf/boxes/b1"
SITE = f"{GROUP}/providers/Microsoft.Web/sites/w1"


# --- 401


async def test_no_token_is_told_where_to_sign_in(manager: Any) -> None:
    answer = await manager.send("GET", VM, who=None)
    assert answer.status == 401
    assert answer.json["error"] == {
        "code": "AuthenticationFailed",
        "message": "Authentication failed. The 'Authorization' header is missing.",
    }
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith(f'Bearer authorization_uri="https://login.microsoftonline.com/{TENANT}", error=')
    assert answer.headers["x-ms-failure-cause"] == "gateway"


async def test_above_subscriptions_the_tenant_is_not_known(manager: Any) -> None:
    answer = await manager.send("GET", "/subscriptions", who=None)
    assert answer.status == 401
    assert "https://login.microsoftonline.com/common" in answer.headers["www-authenticate"]


async def test_a_token_for_another_audience(manager: Any) -> None:
    token = manager.token("owner", audience="https://vault.azure.net")
    answer = await manager.send("GET", VM, authorization=f"Bearer {token}")
    assert (answer.status, answer.code) == (401, "InvalidAuthenticationTokenAudience")
    assert answer.message.startswith(
        "The access token has been obtained for wrong audience or resource 'https://vault.azure.net'. It should "
        "exactly match with one of the allowed audiences 'https://management.core.windows.net/','https://"
    )


async def test_an_expired_token(manager: Any) -> None:
    token = manager.token("owner")
    manager.clock.advance(7200)
    answer = await manager.send("GET", VM, authorization=f"Bearer {token}")
    assert (answer.status, answer.code) == (401, "ExpiredAuthenticationToken")
    assert "is earlier than current UTC time '11/15/2023 12:13:20 AM'." in answer.message


async def test_a_token_of_another_tenant(manager: Any) -> None:
    answer = await manager.send("GET", VM, who="stranger")
    assert (answer.status, answer.code) == (401, "InvalidAuthenticationTokenTenant")
    assert f"It must match the tenant 'https://sts.windows.net/{TENANT}/'" in answer.message


@pytest.mark.parametrize("credential", ["Bearer", "Bearer x.y.z", "Basic eDp5", "Bearer a b", "nonsense"])
async def test_credentials_that_prove_nothing(manager: Any, credential: str) -> None:
    answer = await manager.send("GET", VM, authorization=credential)
    assert (answer.status, answer.code) == (401, "InvalidAuthenticationToken")


async def test_a_tampered_token(manager: Any) -> None:
    head, body, signature = manager.token("owner").split(".")
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    answer = await manager.send("GET", VM, authorization=f"Bearer {head}.{body}.{flipped}")
    assert (answer.status, answer.code) == (401, "InvalidAuthenticationToken")


# --- 403, and before 404


async def test_the_words_of_a_refusal(manager: Any) -> None:
    nobody = manager.people["nobody"]
    answer = await manager.send("GET", VM, who="nobody")
    assert answer.status == 403
    assert answer.json["error"] == {
        "code": "AuthorizationFailed",
        "message": (
            f"The client '{nobody.app_id}' with object id '{nobody.id}' does not have authorization to perform action "
            f"'Microsoft.Compute/virtualMachines/read' over scope '{VM}' or the scope is invalid. If access was "
            "recently granted, please refresh your credentials."
        ),
    }


@pytest.mark.parametrize(
    ("method", "path", "verb"),
    [
        ("PUT", VM, "Microsoft.Compute/virtualMachines/write"),
        ("PATCH", VM, "Microsoft.Compute/virtualMachines/write"),
        ("DELETE", VM, "Microsoft.Compute/virtualMachines/delete"),
        ("POST", f"{VM}/restart", "Microsoft.Compute/virtualMachines/restart/action"),
        ("GET", f"{GROUP}/providers/Microsoft.Compute/virtualMachines", "Microsoft.Compute/virtualMachines/read"),
        ("PUT", GROUP, "Microsoft.Resources/subscriptions/resourceGroups/write"),
        ("DELETE", GROUP, "Microsoft.Resources/subscriptions/resourceGroups/delete"),
        ("GET", f"/subscriptions/{S}/resourceGroups/none", "Microsoft.Resources/subscriptions/resourceGroups/read"),
        ("POST", f"/subscriptions/{S}/providers/Microsoft.Web/register", "Microsoft.Web/register/action"),
        ("GET", f"/subscriptions/{S}", "Microsoft.Resources/subscriptions/read"),
        (
            "GET",
            f"/subscriptions/{S}/providers/Microsoft.Compute/locations/westeurope/vmSizes",
            "Microsoft.Compute/locations/vmSizes/read",
        ),
    ],
)
async def test_each_verb_needs_its_action(manager: Any, method: str, path: str, verb: str) -> None:
    answer = await manager.send(method, path, {"location": "westeurope"}, who="nobody")
    assert (answer.status, answer.code) == (403, "AuthorizationFailed")
    assert f"to perform action '{verb}' over scope '" in answer.message


async def test_a_reader_may_read_and_not_write(manager: Any) -> None:
    assert (await manager.send("GET", VM, who="reader")).code == "ResourceNotFound"
    assert (await manager.send("PUT", VM, {"location": "westeurope"}, who="reader")).status == 403


async def test_every_refusal_is_in_the_log(manager: Any) -> None:
    await manager.send("GET", VM, who="nobody")
    entries = await manager.guard.log.find(Question(allowed=False))
    assert [(entry.principal_id, entry.action, entry.scope) for entry in entries] == [
        (manager.people["nobody"].id, "Microsoft.Compute/virtualMachines/read", VM)
    ]


# --- 404 and 409 before the body


async def test_unknown_subscriptions_and_those_of_another_cloud(manager: Any) -> None:
    missing = "bbbbbbbb-0000-4000-8000-00000000ffff"
    answer = await manager.send("GET", f"/subscriptions/{missing}/resourceGroups/g")
    assert (answer.status, answer.code) == (404, "SubscriptionNotFound")
    assert answer.message == f"The subscription '{missing}' could not be found."
    assert (await manager.send("GET", GROUP, cloud="AzureChinaCloud")).code == "SubscriptionNotFound"


async def test_missing_resource_and_missing_group(manager: Any) -> None:
    answer = await manager.send("GET", VM)
    assert (answer.status, answer.code) == (404, "ResourceNotFound")
    assert answer.message == (
        "The Resource 'Microsoft.Compute/virtualMachines/vm1' under resource group 'g' was not found. For more details "
        "please go to https://aka.ms/ARMResourceNotFoundFix"
    )
    answer = await manager.send("PUT", VM.replace("/g/", "/none/"), {"location": "westeurope"})
    assert (answer.status, answer.code) == (404, "ResourceGroupNotFound")
    assert answer.message == "Resource group 'none' could not be found."


async def test_a_namespace_must_be_registered(manager: Any) -> None:
    answer = await manager.send("PUT", SITE, {"location": "westeurope"})
    assert (answer.status, answer.code) == (409, "MissingSubscriptionRegistration")
    assert "namespace 'Microsoft.Web'" in answer.message
    path = f"/subscriptions/{S}/providers/Microsoft.Web"
    before = await manager.send("GET", path)
    assert before.json["registrationState"] == "NotRegistered"
    assert (await manager.send("POST", f"{path}/register?api-version=2016-02-01")).status == 200
    assert (await manager.send("GET", path)).json["registrationState"] == "Registered"
    assert (await manager.send("PUT", SITE, {"location": "westeurope"})).status == 201
    assert (await manager.send("POST", f"{path}/unregister?api-version=2016-02-01")).status == 200
    assert (await manager.send("GET", SITE)).code == "MissingSubscriptionRegistration"


async def test_registration_is_per_subscription(manager: Any) -> None:
    await manager.send("POST", f"/subscriptions/{S}/providers/Microsoft.Web/register?api-version=2016-02-01")
    other = "/subscriptions/bbbbbbbb-0000-4000-8000-000000000002/providers/Microsoft.Web"
    assert (await manager.send("GET", other)).json["registrationState"] == "NotRegistered"


# --- api-versions and types


@pytest.mark.parametrize(
    ("target", "status", "code", "words"),
    [
        (f"{VM}?x=1", 400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required"),
        (f"{VM}?api-version=", 400, "MissingApiVersionParameter", "for all requests."),
        (f"{VM}?api-version=2016-13", 400, "InvalidApiVersionParameter", "The api-version '2016-13' is invalid."),
        (
            f"{VM}?api-version=2099-01-01",
            400,
            "NoRegisteredProviderFound",
            "API version '2099-01-01' for type 'virtualMachines'. The supported api-versions are '2024-11-01, ",
        ),
        (
            f"{GROUP}?api-version=2099-01-01",
            400,
            "InvalidApiVersionParameter",
            "The api-version '2099-01-01' is invalid. The supported versions are '2025-04-01,",
        ),
        (
            f"{GROUP}/providers/Microsoft.Compute/toasters/t?api-version=2024-11-01",
            404,
            "InvalidResourceType",
            "The resource type 'toasters' could not be found in the namespace 'Microsoft.Compute' for api version "
            "'2024-11-01'.",
        ),
        (
            f"{GROUP}/providers/Microsoft.Nothing/things/t?api-version=2024-11-01",
            404,
            "InvalidResourceNamespace",
            "The resource namespace 'Microsoft.Nothing' is invalid.",
        ),
        (f"{VM}/providers/Microsoft.Compute/virtualMachines/x?api-version=2024-11-01", 404, "InvalidResourceType", ""),
        (f"/subscriptions/{S}/providers/Microsoft.Compute/virtualMachines/x", 404, "InvalidResourceType", "belongs to"),
        (f"{VM}/toast/x/y/z?api-version=2024-11-01", 404, "InvalidResourceType", ""),
        ("/?api-version=2024-11-01", 404, "MissingSubscription", ""),
        ("/nothing/here?api-version=2024-11-01", 404, "MissingSubscription", ""),
        (f"/subscriptions/{S}/nothing?api-version=2024-11-01", 404, "NotFound", ""),
        (f"{GROUP}/providers/Microsoft.Resources/tags/default", 404, "InvalidResourceNamespace", ""),
        (f"{VM}/providers/Microsoft.Authorization/locks/l?api-version=2020-05-01", 404, "InvalidResourceNamespace", ""),
    ],
)
async def test_versions_and_types(manager: Any, target: str, status: int, code: str, words: str) -> None:
    answer = await manager.send("GET", target)
    assert (answer.status, answer.code) == (status, code)
    assert words in answer.message


@pytest.mark.parametrize(
    ("method", "path"), [("POST", VM), ("OPTIONS", VM), ("PUT", "/subscriptions"), ("DELETE", f"{GROUP}/resources")]
)
async def test_methods_that_are_not_there(manager: Any, method: str, path: str) -> None:
    answer = await manager.send(method, path, {})
    assert (answer.status, answer.code) == (405, "MethodNotAllowed")


async def test_paths_and_versions_in_any_case(manager: Any) -> None:
    assert (await manager.machine()).status == 201
    answer = await manager.send("GET", "//" + VM.upper()[1:] + "/?Api-Version=2024-11-01")
    assert answer.status == 200
    assert answer.json["id"] == VM
    assert answer.json["type"] == "Microsoft.Compute/virtualMachines"


# --- resources


async def test_put_get_patch_delete(manager: Any) -> None:
    made = await manager.send(
        "PUT", BOX, {"location": "West Europe", "tags": {"a": "1"}, "properties": {"x": {"y": 1}, "z": 2}, "kind": "k"}
    )
    assert made.status == 201
    assert made.json["id"] == BOX
    assert made.json["location"] == "westeurope"
    assert made.json["properties"] == {"x": {"y": 1}, "z": 2, "provisioningState": "Succeeded"}
    assert "azure-asyncoperation" not in made.headers
    patched = await manager.send("PATCH", BOX, {"tags": {"A": "2", "b": "3"}, "properties": {"x": {"y": None, "w": 3}}})
    assert patched.status == 200
    assert patched.json["tags"] == {"A": "2", "b": "3"}
    assert patched.json["properties"] == {"x": {"w": 3}, "z": 2, "provisioningState": "Succeeded"}
    again = await manager.send("PUT", BOX, {"location": "westeurope", "properties": {"provisioningState": "Failed"}})
    assert again.status == 200
    assert again.json["properties"] == {"provisioningState": "Succeeded"}
    assert again.json["tags"] == {}
    assert "kind" not in again.json
    assert (await manager.send("HEAD", BOX)).status == 204
    assert (await manager.send("DELETE", BOX)).status == 200
    assert (await manager.send("DELETE", BOX)).status == 204
    gone = await manager.send("HEAD", BOX)
    assert (gone.status, gone.body) == (404, b"")
    assert (await manager.send("PATCH", BOX, {"tags": {}})).code == "ResourceNotFound"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "InvalidRequestContent"),
        (b"[]", "InvalidRequestContent"),
        (b"{", "InvalidRequestContent"),
        (b'{"location":"westeurope"' + b',"properties":' + b'{"a":' * 200 + b"1" + b"}" * 201, "InvalidRequestContent"),
        (b"[" * 100_000, "InvalidRequestContent"),
        ({}, "LocationRequired"),
        ({"location": " "}, "LocationRequired"),
        ({"location": 5}, "InvalidRequestContent"),
        ({"location": "atlantis"}, "LocationNotAvailableForResourceType"),
        ({"location": "westeurope", "properties": []}, "InvalidRequestContent"),
        ({"location": "westeurope", "tags": {"a": 1}}, "InvalidRequestContent"),
        ({"location": "westeurope", "tags": {f"t{n}": "" for n in range(51)}}, "TooManyTags"),
        ({"location": "westeurope", "tags": {"a/b": "1"}}, "InvalidTagNameCharacters"),
        ({"location": "westeurope", "tags": {"a": "1", "A": "2"}}, "DuplicateTagNames"),
        ({"location": "westeurope", "tags": {"a": "1" * 257}}, "TagTooLong"),
        ({"location": "westeurope", "identity": {"type": "SystemAssigned"}}, "IdentityTypeNotSupported"),
    ],
)
async def test_bodies_that_are_refused(manager: Any, body: Any, code: str) -> None:
    answer = await manager.send("PUT", BOX, body)
    assert (answer.status, answer.code) == (400, code)
    assert (await manager.send("GET", BOX)).status == 404


async def test_names_are_checked_when_something_is_made(manager: Any) -> None:
    answer = await manager.send("PUT", VM.replace("vm1", "-vm"), {"location": "westeurope"})
    assert (answer.status, answer.code) == (400, "InvalidResourceName")


async def test_a_resource_does_not_move(manager: Any) -> None:
    await manager.send("PUT", BOX, {"location": "westeurope"})
    for method in ("PUT", "PATCH"):
        answer = await manager.send(method, BOX, {"location": "eastus"})
        assert (answer.status, answer.code) == (409, "InvalidResourceLocation")
    assert (await manager.send("PUT", BOX, {"location": "West Europe"})).status == 200


async def test_etags(manager: Any) -> None:
    made = await manager.send("PUT", BOX, {"location": "westeurope"}, headers={"If-None-Match": "*"})
    assert made.status == 201
    etag = made.headers["etag"]
    body = {"location": "westeurope", "tags": {"n": "1"}}
    assert (await manager.send("PUT", BOX, body, headers={"If-None-Match": "*"})).code == "PreconditionFailed"
    assert (await manager.send("PUT", BOX, body, headers={"If-Match": '"wrong"'})).status == 412
    assert (await manager.send("DELETE", BOX, headers={"If-Match": '"wrong"'})).status == 412
    assert (await manager.send("PATCH", BOX, body, headers={"If-Match": etag})).status == 200
    stale = await manager.send("PUT", BOX, body, headers={"If-Match": etag})
    assert (stale.status, stale.code) == (412, "PreconditionFailed")
    assert (await manager.send("GET", BOX)).headers["etag"] != etag
    assert (await manager.send("DELETE", BOX, headers={"If-Match": "*"})).status == 200
    assert (await manager.send("PUT", BOX, body, headers={"If-Match": "*"})).status == 412


async def test_children_need_their_parent_and_go_with_it(manager: Any) -> None:
    note = f"{BOX}/notes/n1"
    answer = await manager.send("PUT", note, {"properties": {"text": "hi"}})
    assert (answer.status, answer.code) == (404, "ParentResourceNotFound")
    await manager.send("PUT", BOX, {"location": "westeurope"})
    made = await manager.send("PUT", note, {"properties": {"text": "hi"}})
    assert made.status == 201
    assert "location" not in made.json
    listed = await manager.send("GET", f"{BOX}/notes")
    assert [row["name"] for row in listed.json["value"]] == ["n1"]
    assert (await manager.send("GET", f"{GROUP}/providers/Microsoft.Shelf/boxes/other/notes")).status == 404
    await manager.send("DELETE", BOX)
    await manager.send("PUT", BOX, {"location": "westeurope"})
    assert (await manager.send("GET", note)).code == "ResourceNotFound"


async def test_a_type_may_refuse_to_go(manager: Any) -> None:
    await manager.send("PUT", BOX, {"location": "westeurope", "properties": {"stay": True}})
    answer = await manager.send("DELETE", BOX)
    assert (answer.status, answer.code) == (409, "BoxInUse")
    assert (await manager.send("GET", BOX)).status == 200


async def test_actions(manager: Any) -> None:
    assert (await manager.send("POST", f"{VM}/restart")).code == "ResourceNotFound"
    await manager.machine()
    answer = await manager.send("POST", f"{VM}/RESTART", {"force": True})
    assert (answer.status, answer.json) == (200, {"restarted": "vm1", "force": True})
    assert (await manager.send("POST", f"{VM}/restart", b"[]")).code == "InvalidRequestContent"
    assert (await manager.send("POST", f"{VM}/explode")).code == "InvalidResourceType"


async def test_declared_routes_pass_the_same_phases(manager: Any) -> None:
    path = f"/subscriptions/{S}/providers/Microsoft.Compute/locations/westeurope/vmSizes"
    assert (await manager.send("GET", path)).json == {"value": ["westeurope"]}
    assert (await manager.send("GET", path, who=None)).status == 401
    assert (await manager.send("GET", path, who="nobody")).status == 403
    assert (await manager.send("GET", f"{path}?api-version=1999-01-01")).code == "InvalidApiVersionParameter"
    missing = path.replace(S, "bbbbbbbb-0000-4000-8000-00000000ffff")
    assert (await manager.send("GET", missing)).code == "SubscriptionNotFound"
    await manager.send("POST", f"/subscriptions/{S}/providers/Microsoft.Compute/unregister?api-version=2016-02-01")
    assert (await manager.send("GET", path)).code == "MissingSubscriptionRegistration"
    hello = await manager.send("GET", "/providers/Microsoft.Shelf/hello", who="nobody")
    assert hello.json == {"hello": manager.people["nobody"].id}


# --- lists


async def test_lists_and_pages(manager: Any) -> None:
    boxes = f"{GROUP}/providers/Microsoft.Shelf/boxes"
    await manager.group("g2")
    for path in [f"{boxes}/b{n}" for n in range(5)] + [f"{boxes.replace('/g/', '/g2/')}/x"]:
        assert (await manager.send("PUT", path, {"location": "westeurope"})).status == 201
    everywhere = await manager.send("GET", f"/subscriptions/{S}/providers/Microsoft.Shelf/boxes")
    assert [row["name"] for row in everywhere.json["value"]] == ["b0", "b1", "b2", "b3", "b4", "x"]
    assert "nextLink" not in everywhere.json
    seen, target = [], f"{boxes}?api-version=2020-01-01&$top=2"
    while target:
        answer = await manager.send("GET", target)
        seen.append([row["name"] for row in answer.json["value"]])
        target = answer.json.get("nextLink", "")
        assert target == "" or target.startswith("https://management.azure.com" + boxes)
    assert seen == [["b0", "b1"], ["b2", "b3"], ["b4"]]
    for bad in ("$top=0", "$top=x", "$top=-1", "$skiptoken=!", "$skiptoken=_"):
        assert (await manager.send("GET", f"{boxes}?api-version=2020-01-01&{bad}")).status == 400


async def test_the_list_of_all_resources_is_what_the_caller_may_read(manager: Any) -> None:
    await manager.send("PUT", BOX, {"location": "westeurope", "tags": {"env": "prod", "team": "x"}})
    await manager.send("PUT", BOX + "2", {"location": "eastus", "tags": {"env": "test"}})
    await manager.machine(identity={"type": "SystemAssigned"})
    every = f"/subscriptions/{S}/resources"

    async def names(target: str, who: str = "owner") -> list[str]:
        answer = await manager.send("GET", target, who=who)
        assert answer.status == 200, answer.body
        return [row["name"] for row in answer.json["value"]]

    assert await names(every) == ["vm1", "b1", "b12"]
    assert await names(every, "nobody") == []
    await manager.give("nobody", "acdd72a7-3385-48ef-bd42-f606fba81ae7", BOX)
    assert await names(every, "nobody") == ["b1"]
    v = "?api-version=2022-12-01&$filter="
    assert await names(f"{every}{v}resourceType eq 'microsoft.shelf/boxes'") == ["b1", "b12"]
    assert await names(f"{every}{v}tagName eq 'ENV' and tagValue eq 'prod'") == ["b1"]
    assert await names(f"{every}{v}tagName eq 'team' and tagValue eq 'prod'") == []
    assert await names(f"{every}{v}name eq 'vm1' and location eq 'westeurope'") == ["vm1"]
    assert await names(f"{every}{v}substringof('12', name)") == ["b12"]
    assert await names(f"{GROUP}/resources") == ["vm1", "b1", "b12"]
    for bad in ("name", "name eq b1", "foo eq 'x'", "name eq 'x' or name eq 'y'", "name eq 'x' and"):
        assert (await manager.send("GET", f"{every}{v}{bad}")).code == "InvalidFilterInQueryString"
    expanded = await manager.send("GET", f"{every}?api-version=2022-12-01&$expand=createdTime,provisioningState")
    assert expanded.json["value"][0]["createdTime"] == "2023-11-14T22:13:20.0000000Z"


# --- headers


async def test_headers_of_every_answer(manager: Any) -> None:
    asked = {"x-ms-client-request-id": "mine-1", "x-ms-return-client-request-id": "true"}
    for path, status in ((GROUP, 200), (VM, 404)):
        answer = await manager.send("GET", path, headers=asked)
        assert answer.status == status
        assert answer.headers["x-ms-client-request-id"] == "mine-1"
        assert answer.headers["x-ms-correlation-request-id"] == answer.headers["x-ms-request-id"]
        assert answer.headers["x-ms-routing-request-id"].endswith(answer.headers["x-ms-request-id"])
    assert (
        "x-ms-client-request-id" not in (await manager.send("GET", VM, headers={"x-ms-client-request-id": "m"})).headers
    )
    correlation = "0f8fad5b-d9cb-469f-a165-70867728950e"
    answer = await manager.send("GET", VM, headers={"x-ms-correlation-request-id": correlation})
    assert answer.headers["x-ms-correlation-request-id"] == correlation
    assert answer.headers["x-ms-failure-cause"] == "gateway"


async def test_what_is_left_of_the_hour(manager: Any) -> None:
    name = "x-ms-ratelimit-remaining-subscription-reads"
    first = int((await manager.send("GET", GROUP)).headers[name])
    assert int((await manager.send("GET", GROUP)).headers[name]) == first - 1
    manager.clock.advance(3600)
    assert int((await manager.send("GET", GROUP)).headers[name]) == 11_999


# --- declared access


def test_routes_that_need_no_role_are_these(manager: Any) -> None:
    routes = [*manager.arm.own.routes, *manager.arm.registry.routes.routes]
    open_routes = {
        f"{'PUBLIC' if isinstance(route.access, Public) else 'signed in'} {route.method} {route.path}"
        for route in routes
        if not isinstance(route.access, Action)
    }
    assert open_routes == {
        "PUBLIC GET /metadata/endpoints",
        "signed in GET /tenants",
        "signed in GET /subscriptions",
        "signed in GET /subscriptions/{subscription}",
        "signed in GET /subscriptions/{subscription}/locations",
        "signed in GET /subscriptions/{subscription}/resourceGroups",
        "signed in GET /subscriptions/{subscription}/resources",
        "signed in GET /providers",
        "signed in GET /providers/{namespace}",
        "signed in GET /subscriptions/{subscription}/providers",
        "signed in GET /subscriptions/{subscription}/providers/{namespace}",
        "signed in GET /subscriptions/{subscription}/providers/{namespace}/resourceTypes",
        "signed in GET /subscriptions/{subscription}/providers/{namespace}/locations/{location}/operations/{operation}",
        "signed in GET /subscriptions/{subscription}/providers/{namespace}/locations/{location}/operationResults/"
        "{operation}",
        "signed in GET /subscriptions/{subscription}/operationresults/{operation}",
        "signed in GET /providers/Microsoft.ManagedIdentity/operations",
        "signed in GET /providers/Microsoft.Shelf/hello",
    }
