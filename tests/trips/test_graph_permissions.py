"""A virtual machine's identity is given a permission of Microsoft Graph, uses it, and loses it: by real sockets."""

from __future__ import annotations

TOKEN = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://graph.microsoft.com/"
METADATA = {"Metadata": "true"}
GRAPH = "https://graph.microsoft.com/v1.0"


async def test_a_machine_reads_the_directory_while_it_may(trip):
    path = f"{trip.group}/providers/Microsoft.Compute/virtualMachines/reader"
    machine = await trip.made(path, {"location": "westeurope", "identity": {"type": "SystemAssigned"}})
    principal = machine["identity"]["principalId"]
    endpoint = await trip.endpoint(machine["id"])
    operator = await trip.operator_token("https://graph.microsoft.com/")

    async def own_token() -> str:
        status, answer = await trip.plain(endpoint, TOKEN, METADATA)
        assert status == 200, answer
        return answer["access_token"]

    refused = await trip.send("GET", f"{GRAPH}/users", await own_token())
    assert refused.status == 403, refused.body
    assert refused.json()["error"]["code"] == "Authorization_RequestDenied"

    graph = await trip.send("GET", f"{GRAPH}/servicePrincipals(appId='00000003-0000-0000-c000-000000000000')", operator)
    assert graph.status == 200, graph.body
    role = next(one for one in graph.json()["appRoles"] if one["value"] == "User.Read.All")
    assignments = f"{GRAPH}/servicePrincipals/{principal}/appRoleAssignments"
    body = {"principalId": principal, "resourceId": graph.json()["id"], "appRoleId": role["id"]}
    assert (await trip.send("POST", assignments, await own_token(), body)).status == 403
    made = await trip.send("POST", assignments, operator, body)
    assert made.status == 201, made.body

    allowed = await trip.send("GET", f"{GRAPH}/users", await own_token())
    assert allowed.status == 200, allowed.body
    assert (await trip.send("GET", f"{GRAPH}/groups", await own_token())).status == 403

    assert (await trip.send("DELETE", f"{assignments}/{made.json()['id']}", operator)).status == 204
    assert (await trip.send("GET", f"{GRAPH}/users", await own_token())).status == 403

    shown = await trip.send("GET", f"{GRAPH}/servicePrincipals/{principal}", operator)
    assert shown.json()["servicePrincipalType"] == "ManagedIdentity"
    assert shown.json()["alternativeNames"][1].lower() == machine["id"].lower()


async def test_azure_ad_graph_is_gone(trip):
    gone = await trip.send("GET", "https://graph.windows.net/myorganization/users?api-version=1.6")
    assert gone.status == 403
    assert gone.json()["odata.error"]["code"] == "Authentication_Unauthorized"
