"""The three trips of `docs/trips.md`, each through every layer by real sockets."""

from __future__ import annotations

import base64
import json

TOKEN = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net"
METADATA = {"Metadata": "true"}
SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
SECRETS_OFFICER = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
OPERATOR_OF_IDENTITIES = "f1a07417-d97a-45cb-824c-7a7467783830"
MACHINE_CONTRIBUTOR = "9980e02c-c2be-4d73-94e8-173b1dc7cf3c"


def claims(token: str) -> dict:
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


async def machine(trip, name: str, identity: dict) -> dict:
    path = f"{trip.group}/providers/Microsoft.Compute/virtualMachines/{name}"
    return await trip.made(path, {"location": "westeurope", "identity": identity})


async def test_a_token_request_from_a_virtual_machine(trip):
    made = await machine(trip, "web", {"type": "SystemAssigned"})
    endpoint = await trip.endpoint(made["id"])

    status, refused = await trip.plain(endpoint, TOKEN, {})
    assert (status, refused["error_description"]) == (400, "Required metadata header not specified")

    status, first = await trip.plain(endpoint, TOKEN, METADATA)
    assert status == 200
    said = claims(first["access_token"])
    assert said["oid"] == made["identity"]["principalId"]
    assert said["aud"] == "https://vault.azure.net"
    assert said["xms_mirid"].lower() == made["id"].lower()
    assert all(isinstance(value, str) for value in first.values())

    status, second = await trip.plain(endpoint, TOKEN, METADATA)
    assert (status, second["access_token"]) == (200, first["access_token"])  # remembered, not signed again

    status, forwarded = await trip.plain(endpoint, TOKEN, METADATA | {"X-Forwarded-For": "10.0.0.1"})
    assert status == 400
    assert "access_token" not in forwarded


async def test_put_of_a_virtual_machine_with_an_identity(trip):
    identity = await trip.made(
        f"{trip.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/shared",
        {"location": "westeurope"},
        "2023-01-31",
    )
    path = f"{trip.group}/providers/Microsoft.Compute/virtualMachines/web"
    body = {
        "location": "westeurope",
        "identity": {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {identity["id"]: {}}},
    }
    # a machine that may write machines, and nothing with identities
    clerk = await machine(trip, "clerk", {"type": "SystemAssigned"})
    await trip.assign(
        trip.group, MACHINE_CONTRIBUTOR, clerk["identity"]["principalId"], "00000000-0000-4000-8000-000000000001"
    )
    target = TOKEN.replace("https://vault.azure.net", "https://management.azure.com/")
    _, answer = await trip.plain(await trip.endpoint(clerk["id"]), target, METADATA)
    url = f"https://management.azure.com{path}?api-version=2024-11-01"

    refused = await trip.send("PUT", url, answer["access_token"], body)
    assert refused.status == 403
    assert refused.json()["error"]["code"] == "LinkedAuthorizationFailed"
    assert (await trip.arm("GET", path)).status == 404  # nothing of it was stored

    await trip.assign(
        identity["id"], OPERATOR_OF_IDENTITIES, clerk["identity"]["principalId"], "00000000-0000-4000-8000-000000000002"
    )
    made = await trip.send("PUT", url, answer["access_token"], body)
    assert made.status == 201, made.body
    assert "azure-asyncoperation" in made.headers
    state = made.json()
    assert state["identity"]["type"] == "SystemAssigned, UserAssigned"
    assert (await trip.send("GET", made.headers["azure-asyncoperation"], answer["access_token"])).json()[
        "status"
    ] == "Succeeded"
    principal = f"/providers/Keyfob.Directory/principals/{state['identity']['principalId']}"
    assert (await trip.arm("GET", principal, version="2026-11-01")).json()["displayName"] == "web"

    assert (await trip.arm("DELETE", path)).status in (200, 202)
    await trip.arm("GET", trip.group)
    assert (await trip.arm("GET", principal, version="2026-11-01")).status == 404


async def test_a_secret_is_read(trip):
    vault = await trip.made(
        f"{trip.group}/providers/Microsoft.KeyVault/vaults/trip-vault",
        {
            "location": "westeurope",
            "properties": {
                "tenantId": trip.client.operator["tenant_id"],
                "sku": {"family": "A", "name": "standard"},
                "enableRbacAuthorization": True,
            },
        },
        "2023-07-01",
    )
    url = "https://trip-vault.vault.azure.net/secrets/greeting?api-version=7.4"
    challenge = await trip.send("GET", url)
    assert challenge.status == 401
    assert 'resource="https://vault.azure.net"' in challenge.headers["www-authenticate"]
    assert trip.client.operator["tenant_id"] in challenge.headers["www-authenticate"]

    operator = await trip.operator_token("https://vault.azure.net")
    refused = await trip.send("PUT", url, operator, {"value": "hello"})
    assert refused.status == 403  # an owner manages the vault and has no say over what is in it

    await trip.assign(
        vault["id"], SECRETS_OFFICER, trip.client.operator["object_id"], "00000000-0000-4000-8000-000000000003"
    )
    assert (await trip.send("PUT", url, operator, {"value": "hello"})).status == 200

    reader = await machine(trip, "reader", {"type": "SystemAssigned"})
    _, answer = await trip.plain(await trip.endpoint(reader["id"]), TOKEN, METADATA)
    token = answer["access_token"]
    refused = await trip.send("GET", url, token)
    assert refused.status == 403
    assert refused.json()["error"]["innererror"]["code"] == "ForbiddenByRbac"

    request_id = refused.headers["x-ms-request-id"]
    explained = await trip.arm(
        "GET", f"/providers/Keyfob.Access/decisions?requestId={request_id}", version="2026-11-01"
    )
    (entry,) = explained.json()["value"]
    assert entry["principalId"] == reader["identity"]["principalId"]
    assert entry["roles"][0]["name"] == "Key Vault Secrets User"

    await trip.assign(
        vault["id"], SECRETS_USER, reader["identity"]["principalId"], "00000000-0000-4000-8000-000000000004"
    )
    for _ in range(3):  # the slow way, then from memory
        read = await trip.send("GET", url, token)
        assert (read.status, read.json()["value"]) == (200, "hello")
    tampered = token[:-6] + ("AAAAAA" if not token.endswith("AAAAAA") else "BBBBBB")
    assert (await trip.send("GET", url, tampered)).status == 401
    wrong_audience = await trip.operator_token("https://management.azure.com/")
    assert (await trip.send("GET", url, wrong_audience)).status == 401


async def test_what_is_made_again_under_a_name_inherits_no_rights(trip):
    path = f"{trip.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/shared"
    made = await trip.made(path, {"location": "westeurope"}, "2023-01-31")
    reader = await machine(trip, "reader", {"type": "SystemAssigned"})
    name = "00000000-0000-4000-8000-000000000005"
    await trip.assign(made["id"], OPERATOR_OF_IDENTITIES, reader["identity"]["principalId"], name)
    assert (await trip.arm("DELETE", path, version="2023-01-31")).status == 200
    await trip.made(path, {"location": "westeurope"}, "2023-01-31")
    assignments = await trip.arm(
        "GET", f"{path}/providers/Microsoft.Authorization/roleAssignments?$filter=atScope()", version="2022-04-01"
    )
    assert name not in [entry["name"] for entry in assignments.json()["value"]]
