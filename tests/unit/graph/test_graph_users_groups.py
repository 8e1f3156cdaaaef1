"""Users and groups as az and the portal's scripts make them, each beside a caller who may not."""

from __future__ import annotations

from typing import Any

import pytest

from keyfob.directory.model import User

AZ = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
PASSWORD = "Correct-horse-7"
Graphs = Any
DENIED = (403, "Authorization_RequestDenied")
MISSING = (404, "Request_ResourceNotFound")
NOBODY = "99999999-9999-4999-8999-999999999999"


async def test_a_user_lives_by_id_and_by_name(graphs: Graphs) -> None:
    made = await graphs.make_user("bob", jobTitle="Painter")
    assert made["@odata.context"] == "https://graph.microsoft.com/v1.0/$metadata#users/$entity"
    assert "passwordProfile" not in made
    by_name = (await graphs.get("/users/BOB@contoso.onmicrosoft.com")).body
    assert by_name == {**made, "@odata.context": by_name["@odata.context"]}
    assert by_name["jobTitle"] == "Painter"
    assert "accountEnabled" not in by_name  # not in the default selection
    chosen = (await graphs.get(f"/users/{made['id']}?$select=id,accountEnabled,mailNickname")).body
    assert {key: chosen[key] for key in chosen if key[0] != "@"} == {
        "id": made["id"],
        "accountEnabled": True,
        "mailNickname": "bob",
    }
    quoted = await graphs.get("/users('bob@contoso.onmicrosoft.com')")
    assert quoted.body["id"] == made["id"]


async def test_a_new_user_signs_in_until_disabled(graphs: Graphs) -> None:
    made = await graphs.make_user("bob")
    form = {
        "grant_type": "password",
        "client_id": AZ,
        "username": "bob@contoso.onmicrosoft.com",
        "password": PASSWORD,
        "scope": "https://graph.microsoft.com//.default",
    }
    status, body = await graphs.ask_token(**form)
    assert status == 200, body
    me = await graphs.get("/me", body["access_token"])
    assert me.body["userPrincipalName"] == "bob@contoso.onmicrosoft.com"
    changed = await graphs.send(
        "PATCH", f"/users/{made['id']}", body={"passwordProfile": {"password": "Another-pass-8"}}
    )
    assert changed.status == 204
    assert (await graphs.ask_token(**form))[0] == 400
    assert (await graphs.ask_token(**{**form, "password": "Another-pass-8"}))[0] == 200
    assert (await graphs.send("PATCH", f"/users/{made['id']}", body={"accountEnabled": False})).status == 204
    assert (await graphs.ask_token(**{**form, "password": "Another-pass-8"}))[0] == 400
    assert (await graphs.get("/me", body["access_token"])).error == (401, "Authorization_IdentityNotFound")


async def test_a_name_is_one_users(graphs: Graphs) -> None:
    await graphs.make_user("bob")
    again = await graphs.send(
        "POST",
        "/users",
        body={
            "accountEnabled": True,
            "displayName": "B",
            "mailNickname": "b",
            "passwordProfile": {"password": PASSWORD},
            "userPrincipalName": "Bob@Contoso.onmicrosoft.com",
        },
    )
    assert again.error == (400, "Request_BadRequest")
    assert again.message == "Another object with the same value for property userPrincipalName already exists."
    assert again.body["error"]["details"][0]["code"] == "ObjectConflict"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"userPrincipalName": "bob@elsewhere.example"}, "verified domain"),
        ({"userPrincipalName": "bob"}, "userPrincipalName"),
        ({"passwordProfile": {"password": "short"}}, "password complexity"),
        ({"passwordProfile": None}, "A password must be specified"),
        ({"displayName": None}, "displayName"),
        ({"accountEnabled": "yes"}, "accountEnabled"),
        ({"noSuchThing": 1}, "Invalid property 'noSuchThing'."),
    ],
)
async def test_bad_users(graphs: Graphs, change: dict[str, object], text: str) -> None:
    body = {
        "accountEnabled": True,
        "displayName": "Bob",
        "mailNickname": "bob",
        "passwordProfile": {"password": PASSWORD},
        "userPrincipalName": "bob@contoso.onmicrosoft.com",
    }
    refused = await graphs.send("POST", "/users", body={**body, **change})
    assert refused.status == 400
    assert text in refused.message
    assert (await graphs.get("/users/bob@contoso.onmicrosoft.com")).error == MISSING


async def test_missing_in_graphs_words(graphs: Graphs) -> None:
    refused = await graphs.get(f"/users/{NOBODY}")
    assert refused.error == MISSING
    assert refused.message == (
        f"Resource '{NOBODY}' does not exist or one of its queried reference-property objects are not present."
    )
    assert (await graphs.send("DELETE", f"/groups/{graphs.user.id}")).error == MISSING  # a user is no group


async def test_deleted_users_leave_their_groups(graphs: Graphs) -> None:
    group, user = await graphs.make_group("painters"), await graphs.make_user("bob")
    added = await graphs.send("POST", f"/groups/{group['id']}/members/$ref", body=graphs.reference(user["id"]))
    assert added.status == 204
    assert [one["id"] for one in (await graphs.get(f"/groups/{group['id']}/members")).value] == [user["id"]]
    assert (await graphs.send("DELETE", f"/users/{user['id']}")).status == 204
    assert (await graphs.get(f"/groups/{group['id']}/members")).value == []


async def test_members_owners_and_what_holds_whom(graphs: Graphs) -> None:
    outer, inner = await graphs.make_group("outer"), await graphs.make_group("inner")
    user = await graphs.make_user("bob")
    for group, member in ((outer, inner), (inner, user)):
        sent = await graphs.send("POST", f"/groups/{group['id']}/members/$ref", body=graphs.reference(member["id"]))
        assert sent.status == 204
    twice = await graphs.send("POST", f"/groups/{inner['id']}/members/$ref", body=graphs.reference(user["id"]))
    assert twice.error == (400, "Request_BadRequest")
    assert twice.message == (
        "One or more added object references already exist for the following modified properties: 'members'."
    )
    circle = await graphs.send("POST", f"/groups/{inner['id']}/members/$ref", body=graphs.reference(outer["id"]))
    assert circle.status == 400
    members = (await graphs.get(f"/groups/{outer['id']}/members")).value
    assert [(one["@odata.type"], one["id"]) for one in members] == [("#microsoft.graph.group", inner["id"])]
    below = (await graphs.get(f"/groups/{outer['id']}/transitiveMembers")).value
    assert {one["id"] for one in below} == {inner["id"], user["id"]}
    users = (await graphs.get(f"/groups/{outer['id']}/transitiveMembers/microsoft.graph.user")).value
    assert [one["id"] for one in users] == [user["id"]]
    direct = (await graphs.get(f"/users/{user['id']}/memberOf")).value
    assert [one["id"] for one in direct] == [inner["id"]]
    every = await graphs.send("POST", f"/users/{user['id']}/getMemberGroups", body={"securityEnabledOnly": True})
    assert set(every.value) == {inner["id"], outer["id"]}
    checked = await graphs.send(
        "POST", f"/directoryObjects/{user['id']}/checkMemberGroups", body={"groupIds": [outer["id"], NOBODY]}
    )
    assert checked.value == [outer["id"]]
    gone = await graphs.send("DELETE", f"/groups/{inner['id']}/members/{user['id']}/$ref")
    assert gone.status == 204
    assert (await graphs.send("DELETE", f"/groups/{inner['id']}/members/{user['id']}/$ref")).error == MISSING


async def test_groups_as_az_makes_them(graphs: Graphs) -> None:
    made = await graphs.make_group("testgroup", description="a group")
    assert made["securityIdentifier"].startswith("S-1-12-1-")
    assert made["description"] == "a group"
    found = await graphs.find("groups", "displayName eq 'TestGroup' and mailNickname eq 'testgroup'")
    assert [one["id"] for one in found.value] == [made["id"]]
    assert (await graphs.find("groups", "displayName eq 'testgroup' and mailNickname eq 'no'")).value == []
    assert (await graphs.send("PATCH", f"/groups/{made['id']}", body={"description": None})).status == 204
    assert (await graphs.get(f"/groups/{made['id']}")).body["description"] is None
    assert (await graphs.send("DELETE", f"/groups/{made['id']}")).status == 204
    assert (await graphs.get(f"/groups/{made['id']}")).error == MISSING


async def test_groups_made_with_members_and_owners(graphs: Graphs) -> None:
    """As Terraform's azuread provider sends them."""
    bind = [f"https://graph.microsoft.com/v1.0/directoryObjects/{graphs.user.id}"]
    made = await graphs.make_group("bound", **{"members@odata.bind": bind, "owners@odata.bind": bind})
    assert [one["id"] for one in (await graphs.get(f"/groups/{made['id']}/owners")).value] == [graphs.user.id]
    expanded = (await graphs.get(f"/groups/{made['id']}?$expand=members")).body
    assert [one["id"] for one in expanded["members"]] == [graphs.user.id]
    refused = await graphs.send("DELETE", f"/groups/{made['id']}/owners/{graphs.user.id}/$ref")
    assert refused.status == 400  # the last owner stays


async def test_application_permissions(graphs: Graphs) -> None:
    reader, writer = await graphs.stranger("User.Read.All"), await graphs.stranger("Group.ReadWrite.All")
    assert (await graphs.get("/users", reader)).status == 200
    assert (await graphs.get("/groups", reader)).error == DENIED
    assert (await graphs.get("/users", writer)).error == DENIED
    assert (await graphs.get("/groups", writer)).status == 200  # who may write may read
    body = {"displayName": "g", "mailNickname": "g", "mailEnabled": False, "securityEnabled": True}
    assert (await graphs.send("POST", "/groups", reader, body)).error == DENIED
    assert (await graphs.send("POST", "/groups", writer, body)).status == 201
    nothing = await graphs.stranger()
    refused = await graphs.get("/users", nothing)
    assert refused.error == DENIED
    assert refused.message == "Insufficient privileges to complete the operation."
    assert (await graphs.send("DELETE", f"/users/{graphs.user.id}", reader)).error == DENIED
    assert (await graphs.get(f"/users/{graphs.user.id}")).status == 200


async def test_members_read_and_make_groups_but_not_users(graphs: Graphs) -> None:
    alice = graphs.user_token(graphs.user)
    assert (await graphs.get("/users", alice)).status == 200
    body = {"displayName": "g", "mailNickname": "g", "mailEnabled": False, "securityEnabled": True}
    mine = await graphs.made("/groups", body, alice)
    assert (await graphs.send("PATCH", f"/groups/{mine['id']}", alice, {"description": "mine"})).status == 204
    theirs = await graphs.make_group("theirs")
    assert (await graphs.send("PATCH", f"/groups/{theirs['id']}", alice, {"description": "mine"})).error == DENIED
    add = graphs.reference(graphs.user.id)
    assert (await graphs.send("POST", f"/groups/{theirs['id']}/members/$ref", alice, add)).error == DENIED
    assert (await graphs.send("DELETE", f"/users/{graphs.admin.id}", alice)).error == DENIED
    assert (await graphs.send("PATCH", f"/users/{graphs.user.id}", alice, {"displayName": "Queen"})).error == DENIED


async def test_a_client_with_little_permission_does_little_for_an_administrator(graphs: Graphs) -> None:
    small = graphs.user_token(graphs.admin, "User.Read")
    assert (await graphs.get("/me", small)).body["id"] == graphs.admin.id
    assert (await graphs.get(f"/users/{graphs.user.id}", small)).error == DENIED
    assert (await graphs.send("DELETE", f"/users/{graphs.user.id}", small)).error == DENIED
    full = graphs.user_token(graphs.admin)
    assert (await graphs.send("DELETE", f"/users/{graphs.user.id}", full)).status == 204


async def test_passwords_need_more_and_administrators_are_out_of_reach(graphs: Graphs) -> None:
    change = {"passwordProfile": {"password": "Another-pass-8"}}
    writer = await graphs.stranger("User.ReadWrite.All")
    assert (await graphs.send("PATCH", f"/users/{graphs.user.id}", writer, change)).error == DENIED
    passwords = await graphs.stranger("User-PasswordProfile.ReadWrite.All")
    assert (await graphs.send("PATCH", f"/users/{graphs.user.id}", passwords, change)).status == 204
    assert (await graphs.send("PATCH", f"/users/{graphs.admin.id}", passwords, change)).error == DENIED
    assert (await graphs.send("DELETE", f"/users/{graphs.admin.id}", writer)).error == DENIED
    helper = await graphs.make_user("helper")
    given = await graphs.send(
        "POST",
        "/directoryRoles/roleTemplateId=fe930be7-5e62-47db-91af-98c3a49a38b1/members/$ref",
        body=graphs.reference(helper["id"]),
    )
    assert given.status == 204
    token = graphs.user_token(User(id=helper["id"], tenant_id=graphs.tenant.id, principal_name="helper@x"))
    assert (await graphs.send("PATCH", f"/users/{graphs.user.id}", token, {"accountEnabled": False})).status == 204
    assert (await graphs.send("PATCH", f"/users/{graphs.admin.id}", token, {"accountEnabled": False})).error == DENIED


async def test_me_is_nobody_for_an_application(graphs: Graphs) -> None:
    refused = await graphs.get("/me")
    assert refused.error == (400, "BadRequest")
    assert refused.message == "/me request is only valid with delegated authentication flow."


async def test_objects_by_their_ids(graphs: Graphs) -> None:
    group = await graphs.make_group("g")
    ids = [graphs.user.id, group["id"], graphs.operator.id, NOBODY, "no guid"]
    found = await graphs.send("POST", "/directoryObjects/getByIds", body={"ids": ids})
    assert {(one["id"], one["@odata.type"]) for one in found.value} == {
        (graphs.user.id, "#microsoft.graph.user"),
        (group["id"], "#microsoft.graph.group"),
        (graphs.operator.id, "#microsoft.graph.servicePrincipal"),
    }
    some = await graphs.send(
        "POST", "/directoryObjects/getByIds", body={"ids": ids, "types": ["user", "servicePrincipal"]}
    )
    assert {one["id"] for one in some.value} == {graphs.user.id, graphs.operator.id}
    assert (await graphs.send("POST", "/directoryObjects/getByIds", body={"ids": []})).status == 400
    denied = await graphs.send("POST", "/directoryObjects/getByIds", await graphs.stranger(), {"ids": ids})
    assert denied.error == DENIED


async def test_another_tenant_sees_nothing(graphs: Graphs) -> None:
    """A token of the China tenant is not for this cloud, and no id of one tenant means anything in another."""
    principal = (await graphs.get("/servicePrincipals?$top=1")).value[0]
    assert principal["id"]
    foreign = graphs.tokens.mint_application(
        tenant=graphs.other, principal=graphs.operator, audience="https://graph.microsoft.com/", roles=["User.Read.All"]
    ).token
    assert (await graphs.get("/users", foreign)).status == 401
