"""An app role given to a managed identity is in its next token, and one taken away is gone from it, cache or not."""

from __future__ import annotations

import base64
import json
from typing import Any

from keyfob.directory.first_party import GRAPH
from keyfob.directory.model import AppRoleAssignment, Group
from keyfob.directory.principals import add_member, assign_app_role, create_group, remove_app_role

TENANT = "11111111-1111-1111-1111-111111111111"
TARGET = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource="
VAULT = "https://vault.azure.net"
GRAPH_URI = "https://graph.microsoft.com/"


async def token(house: Any, resource: str = GRAPH_URI) -> str:
    reply = await house.get(TARGET + resource)
    assert reply.status == 200, reply.body
    return str(json.loads(reply.body)["access_token"])


async def roles(house: Any, resource: str = GRAPH_URI) -> Any:
    body = (await token(house, resource)).split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))).get("roles")


def given(holder: str, role: str = "User.Read.All", app_id: str = GRAPH) -> AppRoleAssignment:
    return AppRoleAssignment(tenant_id=TENANT, principal_id=holder, resource_app_id=app_id, role=role, role_id="r")


async def test_given_and_taken(house: Any) -> None:
    await house.attach(system=True)
    first = await token(house)
    assert await token(house) == first  # remembered
    assert await roles(house) is None
    holder = house.identities["web"].id
    async with house.store.transaction() as tx:
        await assign_app_role(tx, given(holder))
    assert await roles(house) == ["User.Read.All"]
    assert await token(house) == await token(house)
    async with house.store.transaction() as tx:
        await assign_app_role(tx, given(holder, "Group.Read.All"))
    assert await roles(house) == ["Group.Read.All", "User.Read.All"]
    async with house.store.transaction() as tx:
        await remove_app_role(tx, given(holder))
        await remove_app_role(tx, given(holder, "Group.Read.All"))
    assert await roles(house) is None


async def test_only_in_tokens_for_that_resource(house: Any) -> None:
    await house.attach(system=True)
    async with house.store.transaction() as tx:
        await assign_app_role(tx, given(house.identities["web"].id))
    assert await roles(house, VAULT) is None
    assert await roles(house, "https://graph.microsoft.com") == ["User.Read.All"]


async def test_through_a_group(house: Any) -> None:
    await house.attach(system=True)
    async with house.store.transaction() as tx:
        await create_group(tx, Group(id="g", tenant_id=TENANT))
        await assign_app_role(tx, given("g"))
    assert await roles(house) is None
    async with house.store.transaction() as tx:
        await add_member(tx, TENANT, "g", house.identities["web"].id)
    assert await roles(house) == ["User.Read.All"]


async def test_default_access_is_no_role(house: Any) -> None:
    await house.attach(system=True)
    async with house.store.transaction() as tx:
        await assign_app_role(tx, given(house.identities["web"].id, ""))
    assert await roles(house) is None
