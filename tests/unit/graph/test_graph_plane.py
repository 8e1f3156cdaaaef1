"""The plane itself: who gets in, how it refuses, what it serves, clouds, batches, the retired Azure AD Graph."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfob.access.log import Question
from keyfob.declare import Address
from keyfob.directory.first_party import load_first_party
from keyfob.directory.graph import AadGraph
from keyfob.directory.graph.permissions import Facts, decide
from keyfob.directory.graph.routes import GraphRoute, GraphTable, graph_routes
from keyfob.directory.model import ServicePrincipal, Tenant
from keyfob.directory.principals import create_service_principal, set_enabled
from keyfob.directory.tenants import create_tenant
from keyfob.wire.http import Fields, Request

Graphs = Any
INVALID = (401, "InvalidAuthenticationToken")


async def test_without_a_token(graphs: Graphs) -> None:
    refused = await graphs.get("/users", "")
    assert refused.error == INVALID
    assert refused.message == "Access token is empty."
    assert "www-authenticate" in refused.headers


async def test_tokens_that_prove_nothing(graphs: Graphs) -> None:
    other = graphs.app_token(graphs.operator, audience="https://management.azure.com/")
    refused = await graphs.get("/users", other)
    assert (refused.error, refused.message) == (INVALID, "Access token validation failure. Invalid audience.")
    good = graphs.root
    assert (await graphs.get("/users", good[:-4] + "AAAA")).error == INVALID
    assert (await graphs.get("/users", "nonsense")).error == INVALID
    graphs.clock.advance(7_200)
    late = await graphs.get("/users", good)
    assert (late.error, late.message) == (INVALID, "Lifetime validation failed, the token is expired.")


@pytest.mark.parametrize(
    "audience",
    ["https://graph.microsoft.com", "https://graph.microsoft.com/", "00000003-0000-0000-c000-000000000000"],
)
async def test_every_spelling_of_the_audience(graphs: Graphs, audience: str) -> None:
    assert (await graphs.get("/users", graphs.app_token(graphs.operator, audience=audience))).status == 200


async def test_the_gone_and_the_disabled(graphs: Graphs) -> None:
    token = graphs.root
    async with graphs.store.transaction() as tx:
        await set_enabled(tx, graphs.tenant.id, graphs.operator.id, False)
    assert (await graphs.get("/users", token)).error == (401, "Authorization_IdentityNotFound")


async def test_each_cloud_serves_its_own(graphs: Graphs) -> None:
    host = "microsoftgraph.chinacloudapi.cn"
    mine = await graphs.get("/users", host=host, cloud="AzureChinaCloud")
    assert mine.error == INVALID  # a token of the public cloud
    guid = graphs.app_token(graphs.operator, audience="00000003-0000-0000-c000-000000000000")
    assert (await graphs.get("/users", guid, host=host, cloud="AzureChinaCloud")).error == INVALID


@pytest.mark.parametrize(
    ("cloud", "host"),
    [
        ("AzureChinaCloud", "microsoftgraph.chinacloudapi.cn"),
        ("AzureUSGovernment", "graph.microsoft.us"),
        ("AzureGermanCloud", "graph.microsoft.de"),
    ],
)
async def test_a_tenant_of_another_cloud_is_served_there(graphs: Graphs, cloud: str, host: str) -> None:
    tenant = Tenant(id="33333333-3333-4333-8333-333333333333", domains=("third.example",), cloud=cloud)
    principal = ServicePrincipal(id=graphs.ids.guid(), tenant_id=tenant.id, app_id=graphs.ids.guid())
    async with graphs.store.transaction() as tx:
        await create_tenant(tx, tenant, clouds=graphs.clouds, first_party=load_first_party())
        await create_service_principal(tx, principal)
    for audience in (f"https://{host}", f"https://{host}/", "00000003-0000-0000-c000-000000000000"):
        token = graphs.tokens.mint_application(
            tenant=tenant, principal=principal, audience=audience, roles=["Directory.Read.All"]
        ).token
        answer = await graphs.get("/organization", token, host=host, cloud=cloud)
        assert [one["id"] for one in answer.value] == [tenant.id]
        assert answer.body["@odata.context"] == f"https://{host}/v1.0/$metadata#organization"
        assert (await graphs.get("/users", token, host=host, cloud=cloud)).value == []
        assert (await graphs.get("/users", token)).error == INVALID  # not in the public cloud


async def test_headers_and_ids(graphs: Graphs) -> None:
    answer = await graphs.get("/users", headers={"client-request-id": "mine"})
    assert answer.headers["client-request-id"] == "mine"
    assert answer.headers["odata-version"] == "4.0"
    assert answer.headers["request-id"]
    assert answer.reply.content_type.startswith("application/json;odata.metadata=minimal")
    refused = await graphs.get("/nothing", headers={"client-request-id": "mine"})
    assert refused.body["error"]["innerError"]["client-request-id"] == "mine"
    assert refused.message == "Resource not found for the segment 'nothing'."
    assert (await graphs.get("/v1.0/users/x/y/z")).status == 400
    assert (await graphs.send("GET", "/beta/users")).status == 200
    assert (await graphs.send("PUT", "/users")).status == 405


async def test_another_version(graphs: Graphs) -> None:
    path = "/v2.0/users"
    request = Request("GET", path, Fields(), Fields([("Authorization", f"Bearer {graphs.root}")]), raw_path=path)
    reply = await graphs.graph(request, Address(graphs.clouds["AzureCloud"], "graph"))
    assert json.loads(reply.body)["error"]["message"] == "Invalid version: v2.0"


async def test_decisions_are_logged_with_their_reason(graphs: Graphs) -> None:
    token = await graphs.stranger("Group.Read.All")
    await graphs.get("/users", token)
    await graphs.get("/groups", token)
    denied, *_ = await graphs.guard.log.find(Question(allowed=False))
    assert denied.action == "microsoft.directory/users/standard/read"
    assert denied.service == "graph"
    assert "Group.Read.All" in denied.reason
    assert "User.ReadBasic.All" in denied.reason
    allowed, *_ = await graphs.guard.log.find(Question(allowed=True))
    assert allowed.reason == "GroupMember.Read.All"


async def test_batches(graphs: Graphs) -> None:
    alice = graphs.user_token(graphs.user)
    body = {
        "requests": [
            {"id": "1", "method": "GET", "url": "/me"},
            {"id": "2", "method": "DELETE", "url": f"/users/{graphs.admin.id}"},
            {"id": "3", "method": "GET", "url": "/users?$top=1", "dependsOn": ["2"]},
            {"id": "4", "method": "GET", "url": "users?$top=1", "headers": {"Authorization": f"Bearer {graphs.root}"}},
        ]
    }
    answer = await graphs.send("POST", "/$batch", alice, body)
    assert answer.status == 200
    assert [(one["id"], one["status"]) for one in answer.body["responses"]] == [
        ("1", 200),
        ("2", 403),
        ("3", 424),
        ("4", 200),
    ]
    assert answer.body["responses"][0]["body"]["id"] == graphs.user.id
    many = {"requests": [{"id": str(n), "method": "GET", "url": "/me"} for n in range(21)]}
    assert (await graphs.send("POST", "/$batch", alice, many)).status == 400
    inner = {"requests": [{"id": "1", "method": "POST", "url": "/$batch", "body": many}]}
    assert (await graphs.send("POST", "/$batch", alice, inner)).status == 400
    assert (await graphs.send("POST", "/$batch", "", body)).error == INVALID


async def test_the_tenant(graphs: Graphs) -> None:
    (tenant,) = (await graphs.get("/organization")).value
    assert tenant["id"] == graphs.tenant.id
    assert [one["name"] for one in tenant["verifiedDomains"]] == list(graphs.tenant.domains)
    assert [one["id"] for one in (await graphs.get("/domains")).value] == sorted(graphs.tenant.domains)
    assert "Global Administrator" in {one["displayName"] for one in (await graphs.get("/directoryRoles")).value}
    for path in ("/organization", "/domains", "/directoryRoles"):
        assert (await graphs.get(path, await graphs.stranger())).error == (403, "Authorization_RequestDenied")


async def test_azure_ad_graph_says_that_it_is_gone(graphs: Graphs) -> None:
    request = Request("GET", "/myorganization/users", Fields([("api-version", "1.6")]), Fields())
    reply = await AadGraph()(request, Address(graphs.clouds["AzureCloud"], "aad_graph"))
    assert reply.status == 403
    error = json.loads(reply.body)["odata.error"]
    assert error["code"] == "Authentication_Unauthorized"
    assert "https://graph.microsoft.com" in error["message"]["value"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    [
        "displayName",
        "mailNickname",
        "userPrincipalName",
        "passwordProfile",
        "accountEnabled",
        "mailEnabled",
        "ids",
        "securityEnabled",
        "groupTypes",
        "appRoles",
        "web",
        "api",
        "keyCredentials",
        "passwordCredentials",
        "appId",
        "identifierUris",
        "tags",
        "members@odata.bind",
        "owners@odata.bind",
        "@odata.id",
        "passwordCredential",
        "keyId",
        "principalId",
        "resourceId",
        "appRoleId",
        "name",
        "issuer",
        "subject",
        "audiences",
        "scope",
        "clientId",
        "types",
        "consentType",
        "groupIds",
        "requests",
        "requiredResourceAccess",
        "publicClient",
        "isFallbackPublicClient",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_no_body_is_a_500(graphs: Graphs, data: st.DataObject) -> None:
    routes = [route for route in graph_routes() if route.method in ("POST", "PATCH")]
    route = data.draw(st.sampled_from(routes))
    body = data.draw(st.dictionaries(MEMBERS, JSON, max_size=6))
    path = route.path
    for name in ("{owner}", "{member}", "{credential}", "{assignment}", "{cast}"):
        path = path.replace(name, "x")
    key = {"users": graphs.user.id, "servicePrincipals": graphs.operator.id}.get(path.split("/")[0], graphs.user.id)
    answer = await graphs.send(route.method, "/" + path.replace("{id}", key), raw=json.dumps(body).encode())
    assert answer.status < 500, (route.method, path, body, answer.body)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"7", b"\xff", b'"x"', b"[" * 100_000, b'{"displayName":"\\u0000"}'])
async def test_bodies_that_are_none(graphs: Graphs, raw: bytes) -> None:
    assert (await graphs.send("POST", "/groups", raw=raw)).status == 400


def test_a_route_without_needs_is_none() -> None:
    async def nothing(asked: Any) -> Any: ...

    with pytest.raises(TypeError):
        GraphRoute("GET", "x", None, nothing)  # type: ignore[arg-type]
    one = graph_routes()[0]
    with pytest.raises(ValueError, match="twice"):
        GraphTable((one, one))


@pytest.mark.parametrize("route", graph_routes(), ids=lambda route: f"{route.method} {route.path}")
def test_nobody_without_anything_passes(route: GraphRoute) -> None:
    nothing = frozenset[str]()
    assert not decide(route.needs, Facts(application=True, roles=nothing, scopes=nothing, directory_roles=nothing))
    assert not decide(route.needs, Facts(application=False, roles=nothing, scopes=nothing, directory_roles=nothing))
    least = frozenset(route.needs.application[0].split())
    assert decide(route.needs, Facts(application=True, roles=least, scopes=nothing, directory_roles=nothing))
    # application permissions are nothing in a user's token, nor delegated ones in an application's
    assert not decide(route.needs, Facts(application=False, roles=least, scopes=nothing, directory_roles=nothing))
    assert not decide(route.needs, Facts(application=True, roles=nothing, scopes=least, directory_roles=nothing))


def test_the_list_of_routes() -> None:
    """Pinned: what is served changes on purpose, and each row says who may."""
    rows = sorted(
        {
            f"{route.method} {route.path} {route.needs.name}"
            for route in graph_routes()
            if not route.path.endswith(("$count", "{cast}", "$ref")) or route.method != "GET"
        }
    )
    assert rows == PINNED


PINNED: list[str] = """
DELETE applications/{id} microsoft.directory/applications/allProperties/update
DELETE applications/{id}/federatedIdentityCredentials/{credential} microsoft.directory/applications/allProperties/update
DELETE applications/{id}/owners/{owner}/$ref microsoft.directory/applications/allProperties/update
DELETE directoryRoles/{id}/members/{member}/$ref microsoft.directory/directoryRoles/members/update
DELETE groups/{id} microsoft.directory/groups/delete
DELETE groups/{id}/appRoleAssignments/{assignment} microsoft.directory/servicePrincipals/appRoleAssignedTo/delete
DELETE groups/{id}/members/{member}/$ref microsoft.directory/groups/members/update
DELETE groups/{id}/owners/{owner}/$ref microsoft.directory/groups/owners/update
DELETE oauth2PermissionGrants/{id} microsoft.directory/oAuth2PermissionGrants/allProperties/update
DELETE servicePrincipals/{id} microsoft.directory/servicePrincipals/allProperties/update
DELETE servicePrincipals/{id}/appRoleAssignedTo/{assignment} microsoft.directory/servicePrincipals/appRoleAssignedTo/delete
DELETE servicePrincipals/{id}/appRoleAssignments/{assignment} microsoft.directory/servicePrincipals/appRoleAssignedTo/delete
DELETE servicePrincipals/{id}/owners/{owner}/$ref microsoft.directory/servicePrincipals/allProperties/update
DELETE users/{id} microsoft.directory/users/delete
DELETE users/{id}/appRoleAssignments/{assignment} microsoft.directory/servicePrincipals/appRoleAssignedTo/delete
GET applications microsoft.directory/applications/standard/read
GET applications/{id} microsoft.directory/applications/standard/read
GET applications/{id}/federatedIdentityCredentials microsoft.directory/applications/standard/read
GET applications/{id}/federatedIdentityCredentials/{credential} microsoft.directory/applications/standard/read
GET applications/{id}/owners microsoft.directory/applications/standard/read
GET directory/deletedItems/{item} microsoft.directory/directoryObjects/standard/read
GET directoryObjects/{id} microsoft.directory/directoryObjects/standard/read
GET directoryObjects/{id}/memberOf microsoft.directory/users/memberOf/read
GET directoryObjects/{id}/transitiveMemberOf microsoft.directory/users/memberOf/read
GET directoryRoles microsoft.directory/directoryRoles/standard/read
GET directoryRoles/{id} microsoft.directory/directoryRoles/standard/read
GET directoryRoles/{id}/members microsoft.directory/directoryRoles/standard/read
GET domains microsoft.directory/domains/standard/read
GET domains/{id} microsoft.directory/domains/standard/read
GET groups microsoft.directory/groups/standard/read
GET groups/{id} microsoft.directory/groups/standard/read
GET groups/{id}/appRoleAssignments microsoft.directory/servicePrincipals/appRoleAssignments/read
GET groups/{id}/appRoleAssignments/{assignment} microsoft.directory/servicePrincipals/appRoleAssignments/read
GET groups/{id}/memberOf microsoft.directory/users/memberOf/read
GET groups/{id}/members microsoft.directory/groups/standard/read
GET groups/{id}/owners microsoft.directory/groups/standard/read
GET groups/{id}/transitiveMemberOf microsoft.directory/users/memberOf/read
GET groups/{id}/transitiveMembers microsoft.directory/groups/standard/read
GET me/ownedObjects microsoft.directory/users/memberOf/read
GET oauth2PermissionGrants microsoft.directory/oAuth2PermissionGrants/standard/read
GET oauth2PermissionGrants/{id} microsoft.directory/oAuth2PermissionGrants/standard/read
GET organization microsoft.directory/organization/standard/read
GET organization/{id} microsoft.directory/organization/standard/read
GET servicePrincipals microsoft.directory/applications/standard/read
GET servicePrincipals/{id} microsoft.directory/applications/standard/read
GET servicePrincipals/{id}/appRoleAssignedTo microsoft.directory/servicePrincipals/appRoleAssignments/read
GET servicePrincipals/{id}/appRoleAssignedTo/{assignment} microsoft.directory/servicePrincipals/appRoleAssignments/read
GET servicePrincipals/{id}/appRoleAssignments microsoft.directory/servicePrincipals/appRoleAssignments/read
GET servicePrincipals/{id}/appRoleAssignments/{assignment} microsoft.directory/servicePrincipals/appRoleAssignments/read
GET servicePrincipals/{id}/memberOf microsoft.directory/users/memberOf/read
GET servicePrincipals/{id}/oauth2PermissionGrants microsoft.directory/oAuth2PermissionGrants/standard/read
GET servicePrincipals/{id}/ownedObjects microsoft.directory/applications/standard/read
GET servicePrincipals/{id}/owners microsoft.directory/applications/standard/read
GET servicePrincipals/{id}/transitiveMemberOf microsoft.directory/users/memberOf/read
GET users microsoft.directory/users/standard/read
GET users/{id} microsoft.directory/users/standard/read
GET users/{id}/appRoleAssignments microsoft.directory/servicePrincipals/appRoleAssignments/read
GET users/{id}/appRoleAssignments/{assignment} microsoft.directory/servicePrincipals/appRoleAssignments/read
GET users/{id}/memberOf microsoft.directory/users/memberOf/read
GET users/{id}/oauth2PermissionGrants microsoft.directory/oAuth2PermissionGrants/standard/read
GET users/{id}/ownedObjects microsoft.directory/users/memberOf/read
GET users/{id}/transitiveMemberOf microsoft.directory/users/memberOf/read
PATCH applications/{id} microsoft.directory/applications/allProperties/update
PATCH applications/{id}/federatedIdentityCredentials/{credential} microsoft.directory/applications/allProperties/update
PATCH groups/{id} microsoft.directory/groups/basic/update
PATCH oauth2PermissionGrants/{id} microsoft.directory/oAuth2PermissionGrants/allProperties/update
PATCH servicePrincipals/{id} microsoft.directory/servicePrincipals/allProperties/update
PATCH users/{id} microsoft.directory/users/basic/update
POST applications microsoft.directory/applications/createAsOwner
POST applications/{id}/addPassword microsoft.directory/applications/allProperties/update
POST applications/{id}/federatedIdentityCredentials microsoft.directory/applications/allProperties/update
POST applications/{id}/owners/$ref microsoft.directory/applications/allProperties/update
POST applications/{id}/removePassword microsoft.directory/applications/allProperties/update
POST directoryObjects/getByIds microsoft.directory/directoryObjects/standard/read
POST directoryObjects/{id}/checkMemberGroups microsoft.directory/users/memberOf/read
POST directoryObjects/{id}/checkMemberObjects microsoft.directory/users/memberOf/read
POST directoryObjects/{id}/getMemberGroups microsoft.directory/users/memberOf/read
POST directoryObjects/{id}/getMemberObjects microsoft.directory/users/memberOf/read
POST directoryRoles/{id}/members/$ref microsoft.directory/directoryRoles/members/update
POST groups microsoft.directory/groups/create
POST groups/{id}/appRoleAssignments microsoft.directory/servicePrincipals/appRoleAssignedTo/update
POST groups/{id}/checkMemberGroups microsoft.directory/users/memberOf/read
POST groups/{id}/checkMemberObjects microsoft.directory/users/memberOf/read
POST groups/{id}/getMemberGroups microsoft.directory/users/memberOf/read
POST groups/{id}/getMemberObjects microsoft.directory/users/memberOf/read
POST groups/{id}/members/$ref microsoft.directory/groups/members/update
POST groups/{id}/owners/$ref microsoft.directory/groups/owners/update
POST oauth2PermissionGrants microsoft.directory/oAuth2PermissionGrants/allProperties/update
POST servicePrincipals microsoft.directory/servicePrincipals/createAsOwner
POST servicePrincipals/{id}/addPassword microsoft.directory/servicePrincipals/allProperties/update
POST servicePrincipals/{id}/appRoleAssignedTo microsoft.directory/servicePrincipals/appRoleAssignedTo/update
POST servicePrincipals/{id}/appRoleAssignments microsoft.directory/servicePrincipals/appRoleAssignedTo/update
POST servicePrincipals/{id}/checkMemberGroups microsoft.directory/users/memberOf/read
POST servicePrincipals/{id}/checkMemberObjects microsoft.directory/users/memberOf/read
POST servicePrincipals/{id}/getMemberGroups microsoft.directory/users/memberOf/read
POST servicePrincipals/{id}/getMemberObjects microsoft.directory/users/memberOf/read
POST servicePrincipals/{id}/owners/$ref microsoft.directory/servicePrincipals/allProperties/update
POST servicePrincipals/{id}/removePassword microsoft.directory/servicePrincipals/allProperties/update
POST users microsoft.directory/users/create
POST users/{id}/appRoleAssignments microsoft.directory/servicePrincipals/appRoleAssignedTo/update
POST users/{id}/checkMemberGroups microsoft.directory/users/memberOf/read
POST users/{id}/checkMemberObjects microsoft.directory/users/memberOf/read
POST users/{id}/getMemberGroups microsoft.directory/users/memberOf/read
POST users/{id}/getMemberObjects microsoft.directory/users/memberOf/read
""".strip().splitlines()  # noqa: E501
