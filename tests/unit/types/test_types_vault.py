"""What templates write below a vault."""

from __future__ import annotations

from typing import Any

VAULT = (
    "/subscriptions/bbbbbbbb-0000-4000-8000-000000000001/resourceGroups/g/providers/Microsoft.KeyVault/vaults/templated"
)
V = "2023-07-01"
TENANT = "aaaaaaaa-0000-4000-8000-000000000001"
NEW = {
    "location": "westeurope",
    "properties": {"sku": {"family": "A", "name": "standard"}, "tenantId": TENANT, "accessPolicies": []},
}
POLICY = {"tenantId": TENANT, "objectId": "cccccccc-0000-4000-8000-000000000004", "permissions": {"secrets": ["get"]}}


async def test_a_secret_goes_in_and_its_value_never_comes_out(world: Any) -> None:
    path = f"{VAULT}/secrets/word"
    body = {"properties": {"value": "hunter2", "contentType": "text", "attributes": {"exp": 2_000_000_000}}}
    assert (await world.send("PUT", path, body, v=V)).code == "ParentResourceNotFound"
    await world.ok("PUT", VAULT, NEW, v=V)
    assert (await world.send("PUT", path, body, v=V, who="reader")).status == 403
    made = await world.send("PUT", path, body, v=V)
    assert made.status == 201
    assert b"hunter2" not in made.body
    uri = made.json["properties"]["secretUriWithVersion"]
    assert uri.startswith("https://templated.vault.azure.net/secrets/word/")
    shown = await world.send("GET", path, v=V)
    assert b"hunter2" not in shown.body
    assert shown.json["properties"] == made.json["properties"]
    again = await world.ok("PUT", path, body, v=V)
    assert again["properties"]["secretUriWithVersion"] != uri
    listed = await world.ok("GET", f"{VAULT}/secrets", v=V)
    assert [row["name"] for row in listed["value"]] == ["word"]
    patched = await world.ok("PATCH", path, {"properties": {"attributes": {"enabled": False}}}, v=V)
    assert patched["properties"]["attributes"]["enabled"] is False
    assert (await world.send("DELETE", path, v=V)).status == 405
    for bad in ({}, {"value": 5}, {"value": "x", "attributes": {"exp": "soon"}}):
        assert (await world.send("PUT", path, {"properties": bad}, v=V)).status == 400


async def test_policies_by_either_way(world: Any) -> None:
    await world.ok("PUT", VAULT, NEW, v=V)
    body = {"properties": {"accessPolicies": [POLICY]}}
    assert (await world.send("PUT", f"{VAULT}/accessPolicies/dance", body, v=V)).status == 400
    await world.ok("PUT", f"{VAULT}/accessPolicies/add", body, v=V)
    for word, count in (("remove", 0), ("add", 1), ("replace", 1)):
        await world.ok("PUT", f"{VAULT}/accessPolicies/{word}", body, v=V)
        assert len((await world.ok("GET", VAULT, v=V))["properties"]["accessPolicies"]) == count


async def test_keys_are_refused_with_a_reason(world: Any) -> None:
    await world.ok("PUT", VAULT, NEW, v=V)
    answer = await world.send("PUT", f"{VAULT}/keys/k", {"properties": {"kty": "RSA"}}, v=V)
    assert (answer.status, answer.code) == (400, "NotSupported")
