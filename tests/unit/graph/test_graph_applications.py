"""Applications and service principals, their credentials and app roles: what az, Az PowerShell and Terraform do."""

from __future__ import annotations

import base64
import datetime
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from keyfob.directory import principals
from keyfob.directory.first_party import GRAPH
from keyfob.directory.model import Application, ServicePrincipal, Tenant, User
from keyfob.directory.records import APPLICATIONS, TENANTS

Graphs = Any
DENIED = (403, "Authorization_RequestDenied")
MISSING = (404, "Request_ResourceNotFound")
BAD = (400, "Request_BadRequest")
NOBODY = "99999999-9999-4999-8999-999999999999"
USER_READ_ALL = "df021288-bdef-4463-88db-98f22de89214"
"""The app role User.Read.All of Microsoft Graph, the same everywhere."""


def claims(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


def certificate(now: float) -> bytes:
    """DER, base64: the value of `key`."""
    key = generate_private_key(public_exponent=65537, key_size=2048)
    begin = datetime.datetime.fromtimestamp(now, datetime.UTC) - datetime.timedelta(days=1)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=90))
        .sign(key, SHA256())
    )
    return base64.encodebytes(made.public_bytes(Encoding.DER))  # in lines, as azure-cli sends it


async def managed_identity(graphs: Graphs, name: str = "vm") -> ServicePrincipal:
    made = ServicePrincipal(
        id=graphs.ids.guid(),
        tenant_id=graphs.tenant.id,
        app_id=graphs.ids.guid(),
        display_name=name,
        kind="ManagedIdentity",
        names=("https://identity.azure.net/abc=",),
        alternative_names=("isExplicit=False", f"/subscriptions/s/resourcegroups/g/providers/P/t/{name}"),
    )
    async with graphs.store.transaction() as tx:
        await principals.create_service_principal(tx, made)
    return made


async def test_create_for_rbac_as_recorded(graphs: Graphs) -> None:
    """azure-cli's test_create_for_rbac_password: the calls in their order, then a sign-in with what came of them."""
    assert (await graphs.find("servicePrincipals", "displayName eq 'rbac'")).value == []
    assert (await graphs.find("applications", "startswith(displayName,'rbac')")).value == []
    app = await graphs.make_app("rbac", keyCredentials=[])
    assert app["signInAudience"] == "AzureADMyOrg"
    assert list(app)[:4] == ["@odata.context", "id", "deletedDateTime", "appId"]
    credential = {
        "displayName": "rbac",
        "endDateTime": "2024-02-14T07:55:04Z",
        "startDateTime": "2023-02-14T07:55:04Z",
    }
    given = await graphs.send("POST", f"/applications/{app['id']}/addPassword", body={"passwordCredential": credential})
    assert given.status == 200
    secret = given.body["secretText"]
    assert given.body["hint"] == secret[:3]
    assert given.body["endDateTime"] == "2024-02-14T07:55:04Z"
    principal = await graphs.made("/servicePrincipals", {"appId": app["appId"], "accountEnabled": True})
    assert principal["servicePrincipalNames"] == [app["appId"]]
    assert principal["appOwnerOrganizationId"] == graphs.tenant.id
    found = await graphs.find("servicePrincipals", f"servicePrincipalNames/any(c:c eq '{app['appId']}')")
    assert [one["id"] for one in found.value] == [principal["id"]]
    (shown,) = (await graphs.find("applications", f"appId eq '{app['appId']}'")).value
    assert shown["passwordCredentials"][0]["secretText"] is None
    assert secret not in json.dumps(shown)
    form = {
        "grant_type": "client_credentials",
        "client_id": app["appId"],
        "scope": "https://graph.microsoft.com/.default",
    }
    status, body = await graphs.ask_token(**form, client_secret=secret)
    assert status == 200, body
    assert claims(body["access_token"])["oid"] == principal["id"]
    assert (await graphs.ask_token(**form, client_secret=secret + "x"))[0] == 401
    key = given.body["keyId"]
    gone = await graphs.send("POST", f"/applications/{app['id']}/removePassword", body={"keyId": key})
    assert gone.status == 204
    assert (await graphs.ask_token(**form, client_secret=secret))[0] == 401
    again = await graphs.send("POST", f"/applications/{app['id']}/removePassword", body={"keyId": key})
    assert again.error == BAD


async def test_a_secret_of_the_service_principal_works_too(graphs: Graphs) -> None:
    """`az ad sp credential reset`."""
    app = await graphs.make_app("a")
    principal = await graphs.made("/servicePrincipals", {"appId": app["appId"]})
    given = await graphs.send("POST", f"/servicePrincipals/{principal['id']}/addPassword", body={})
    form = {"grant_type": "client_credentials", "client_id": app["appId"], "client_secret": given.body["secretText"]}
    status, body = await graphs.ask_token(**form, scope="https://graph.microsoft.com/.default")
    assert status == 200, body
    identity = await managed_identity(graphs)
    assert (await graphs.send("POST", f"/servicePrincipals/{identity.id}/addPassword", body={})).error == DENIED


async def test_applications_by_app_id(graphs: Graphs) -> None:
    app = await graphs.make_app("a")
    found = await graphs.get(f"/applications(appId='{app['appId']}')")
    assert found.body["id"] == app["id"]
    assert (await graphs.get(f"/applications(appId='{NOBODY}')")).error == MISSING
    changed = await graphs.send("PATCH", f"/applications(appId='{app['appId']}')", body={"displayName": "b"})
    assert changed.status == 204
    assert (await graphs.get(f"/applications/{app['id']}")).body["displayName"] == "b"


async def test_a_service_principal_needs_an_application_and_is_one(graphs: Graphs) -> None:
    refused = await graphs.send("POST", "/servicePrincipals", body={"appId": NOBODY})
    assert refused.error == BAD
    assert "does not reference a valid application object" in refused.message
    app = await graphs.make_app("a")
    await graphs.made("/servicePrincipals", {"appId": app["appId"]})
    again = await graphs.send("POST", "/servicePrincipals", body={"appId": app["appId"]})
    assert again.error == (409, "Request_MultipleObjectsWithSameKeyValue")
    assert "is already in use" in again.message


async def test_deleting_an_application_takes_its_service_principal(graphs: Graphs) -> None:
    app = await graphs.make_app("a")
    principal = await graphs.made("/servicePrincipals", {"appId": app["appId"]})
    assert (await graphs.send("DELETE", f"/applications/{app['id']}")).status == 204
    assert (await graphs.get(f"/servicePrincipals/{principal['id']}")).error == MISSING
    assert (await graphs.get(f"/applications/{app['id']}")).error == MISSING
    assert (await graphs.get(f"/directory/deletedItems/{app['id']}")).error == MISSING


async def test_what_an_application_keeps(graphs: Graphs) -> None:
    app = await graphs.make_app(
        "web",
        identifierUris=["api://web"],
        web={"redirectUris": ["https://web.example/in"], "implicitGrantSettings": {"enableIdTokenIssuance": True}},
        spa={"redirectUris": ["https://spa.example/"]},
        publicClient={"redirectUris": ["http://localhost"]},
        requiredResourceAccess=[{"resourceAppId": GRAPH, "resourceAccess": [{"id": USER_READ_ALL, "type": "Role"}]}],
        api={"requestedAccessTokenVersion": 2},
        tags=["x"],
    )
    assert app["web"]["redirectUris"] == ["https://web.example/in"]
    assert app["web"]["implicitGrantSettings"] == {
        "enableAccessTokenIssuance": False,
        "enableIdTokenIssuance": True,
    } or app["web"]["implicitGrantSettings"] == {"enableIdTokenIssuance": True}
    patched = await graphs.send(
        "PATCH", f"/applications/{app['id']}", body={"web": {"homePageUrl": "https://w.example"}}
    )
    assert patched.status == 204
    now = (await graphs.get(f"/applications/{app['id']}")).body
    assert now["web"]["redirectUris"] == ["https://web.example/in"]
    assert now["web"]["homePageUrl"] == "https://w.example"
    assert now["api"]["requestedAccessTokenVersion"] == 2
    by_uri = await graphs.find("applications", "identifierUris/any(s:s eq 'api://web')")
    assert [one["id"] for one in by_uri.value] == [app["id"]]
    refused = await graphs.send("POST", "/applications", body={"displayName": "two", "identifierUris": ["api://WEB/"]})
    assert refused.error == BAD
    assert refused.message == "Another object with the same value for property identifierUris already exists."


@pytest.mark.parametrize(
    "uri", ["https://vault.azure.net", "https://management.azure.com/", "https://graph.microsoft.com"]
)
async def test_nobody_takes_the_name_of_a_service(graphs: Graphs, uri: str) -> None:
    assert (await graphs.send("POST", "/applications", body={"displayName": "x", "identifierUris": [uri]})).error == BAD
    app = await graphs.make_app("a")
    assert (await graphs.send("PATCH", f"/applications/{app['id']}", body={"identifierUris": [uri]})).error == BAD
    principal = await graphs.made("/servicePrincipals", {"appId": app["appId"]})
    target = f"/servicePrincipals/{principal['id']}"
    assert (await graphs.send("PATCH", target, body={"servicePrincipalNames": [uri]})).error == BAD


@pytest.mark.parametrize(
    "body",
    [
        {"web": {"redirectUris": ["javascript:alert(1)"]}},
        {"web": {"redirectUris": "https://x"}},
        {"web": 7},
        {"signInAudience": "Everybody"},
        {"appRoles": [{"id": "x", "displayName": "r", "allowedMemberTypes": ["User"]}]},
        {"appRoles": [{"id": NOBODY, "displayName": "r", "allowedMemberTypes": ["Cat"]}]},
        {"api": {"requestedAccessTokenVersion": 3}},
        {"identifierUris": ["*"]},
        {"passwordCredentials": [{"displayName": "mine", "secretText": "x"}]},
        {"nonsense": True},
        {"keyCredentials": [{"key": "AAAA", "type": "AsymmetricX509Cert", "usage": "Verify"}]},
    ],
)
async def test_bad_applications(graphs: Graphs, body: dict[str, Any]) -> None:
    assert (await graphs.send("POST", "/applications", body={"displayName": "x", **body})).status == 400
    app = await graphs.make_app("a")
    assert (await graphs.send("PATCH", f"/applications/{app['id']}", body=body)).status == 400
    after = (await graphs.get(f"/applications/{app['id']}")).body
    assert {k: v for k, v in after.items() if k[0] != "@"} == {k: v for k, v in app.items() if k[0] != "@"}


async def test_certificates_come_and_stay_by_key_id(graphs: Graphs) -> None:
    app = await graphs.make_app("a")
    one, two = (certificate(graphs.clock.now()).decode() for _ in range(2))

    def key(text: str) -> dict[str, str]:
        return {"displayName": "c", "key": text, "type": "AsymmetricX509Cert", "usage": "Verify"}

    target = f"/applications/{app['id']}"
    assert (await graphs.send("PATCH", target, body={"keyCredentials": [key(one)]})).status == 204
    (first,) = (await graphs.get(target)).body["keyCredentials"]
    assert first["key"] is None
    assert len(first["customKeyIdentifier"]) == 40
    assert (await graphs.send("PATCH", target, body={"keyCredentials": [first, key(two)]})).status == 204
    shown = (await graphs.get(target)).body["keyCredentials"]
    assert shown[0]["keyId"] == first["keyId"]
    assert len(shown) == 2
    late = key(one) | {"endDateTime": "2999-01-01T00:00:00Z"}
    assert (await graphs.send("PATCH", target, body={"keyCredentials": [late]})).error == (400, "KeyCredentialsInvalid")
    unknown = {**first, "keyId": NOBODY}
    assert (await graphs.send("PATCH", target, body={"keyCredentials": [unknown]})).status == 400


async def test_federated_credentials(graphs: Graphs) -> None:
    app = await graphs.make_app("a")
    path = f"/applications/{app['id']}/federatedIdentityCredentials"
    body = {
        "name": "Testing",
        "issuer": "https://token.actions.githubusercontent.com/",
        "subject": "repo:octo-org/octo-repo:environment:Production",
        "description": "Testing",
        "audiences": ["api://AzureADTokenExchange"],
    }
    made = await graphs.made(path, body)
    assert made["@odata.context"].endswith(
        f"$metadata#applications('{app['id']}')/federatedIdentityCredentials/$entity"
    )
    assert {name: made[name] for name in body} == body
    by_id, by_name = await graphs.get(f"{path}/{made['id']}"), await graphs.get(f"{path}/Testing")
    assert by_id.body == by_name.body
    twice = await graphs.send("POST", path, body=body)
    assert twice.error == (409, "Request_MultipleObjectsWithSameKeyValue")
    assert (await graphs.send("PATCH", f"{path}/{made['id']}", body={"subject": "other"})).status == 204
    assert (await graphs.get(path)).value[0]["subject"] == "other"
    assert (await graphs.send("POST", path, body={**body, "name": "x y"})).status == 400
    assert (await graphs.send("DELETE", f"{path}/{made['id']}")).status == 204
    assert (await graphs.get(f"{path}/Testing")).error == MISSING


async def test_owners_may_what_others_may_not(graphs: Graphs) -> None:
    alice = graphs.user_token(graphs.user)
    mine = await graphs.made("/applications", {"displayName": "mine"}, alice)
    owners = (await graphs.get(f"/applications/{mine['id']}/owners")).value
    assert [one["id"] for one in owners] == [graphs.user.id]
    assert (await graphs.send("PATCH", f"/applications/{mine['id']}", alice, {"notes": "n"})).status == 204
    theirs = await graphs.make_app("theirs")
    patch = ("PATCH", f"/applications/{theirs['id']}", alice, {"notes": "n"})
    assert (await graphs.send(*patch)).error == DENIED
    assert (await graphs.send("POST", f"/applications/{theirs['id']}/addPassword", alice, {})).error == DENIED
    add = graphs.reference(graphs.user.id)
    assert (await graphs.send("POST", f"/applications/{theirs['id']}/owners/$ref", alice, add)).error == DENIED
    assert (await graphs.send("POST", f"/applications/{theirs['id']}/owners/$ref", body=add)).status == 204
    again = await graphs.send("POST", f"/applications/{theirs['id']}/owners/$ref", body=add)
    assert again.message == (
        "One or more added object references already exist for the following modified properties: 'owners'."
    )
    assert (await graphs.send(*patch)).status == 204
    owned = {one["id"] for one in (await graphs.get("/me/ownedObjects", alice)).value}
    assert owned == {mine["id"], theirs["id"]}
    gone = await graphs.send("DELETE", f"/applications/{theirs['id']}/owners/{graphs.user.id}/$ref")
    assert gone.status == 204
    assert (await graphs.send(*patch)).error == DENIED


async def test_owned_by(graphs: Graphs) -> None:
    """Application.ReadWrite.OwnedBy: its own applications, and no others."""
    token = await graphs.stranger("Application.ReadWrite.OwnedBy")
    mine = await graphs.made("/applications", {"displayName": "mine"}, token)
    assert (await graphs.send("PATCH", f"/applications/{mine['id']}", token, {"notes": "n"})).status == 204
    theirs = await graphs.make_app("theirs")
    assert (await graphs.send("PATCH", f"/applications/{theirs['id']}", token, {"notes": "n"})).error == DENIED
    assert (await graphs.get("/applications", token)).status == 200
    reader = await graphs.stranger("Application.Read.All")
    assert (await graphs.send("PATCH", f"/applications/{mine['id']}", reader, {"notes": "n"})).error == DENIED


async def test_managed_identities_are_shown_and_left_alone(graphs: Graphs) -> None:
    identity = await managed_identity(graphs)
    found = (await graphs.find("servicePrincipals", "servicePrincipalType eq 'ManagedIdentity'")).value
    assert [one["id"] for one in found] == [identity.id]
    assert found[0]["alternativeNames"][0] == "isExplicit=False"
    named = await graphs.find("servicePrincipals", "alternativeNames/any(n:startswith(n,'/subscriptions/s/'))")
    assert [one["id"] for one in named.value] == [identity.id]
    assert (await graphs.send("DELETE", f"/servicePrincipals/{identity.id}")).error == DENIED
    assert (await graphs.send("PATCH", f"/servicePrincipals/{identity.id}", body={"notes": "x"})).error == DENIED
    vault = (
        await graphs.find("servicePrincipals", "servicePrincipalNames/any(c:c eq 'https://vault.azure.net')")
    ).value
    assert [one["displayName"] for one in vault] == ["Azure Key Vault"]
    assert (await graphs.send("DELETE", f"/servicePrincipals/{vault[0]['id']}")).error == DENIED


# --- app roles -------------------------------------------------------------------------------------------------


async def test_an_identity_is_given_a_graph_permission(graphs: Graphs) -> None:
    identity, graph = await managed_identity(graphs), await graphs.graph_principal()
    role = next(one for one in graph["appRoles"] if one["value"] == "User.Read.All")
    assert role["id"] == USER_READ_ALL
    path = f"/servicePrincipals/{identity.id}/appRoleAssignments"
    body = {"principalId": identity.id, "resourceId": graph["id"], "appRoleId": role["id"]}
    made = await graphs.made(path, body)
    assert made["resourceDisplayName"] == "Microsoft Graph"
    assert made["principalType"] == "ServicePrincipal"
    assert len(made["id"]) == 43
    twice = await graphs.send("POST", path, body=body)
    assert (twice.error, twice.message) == (BAD, "Permission being assigned already exists on the object")
    assert [one["id"] for one in (await graphs.get(path)).value] == [made["id"]]
    to = (await graphs.get(f"/servicePrincipals/{graph['id']}/appRoleAssignedTo")).value
    assert [one["principalId"] for one in to] == [identity.id]
    held = await principals.app_roles_of(graphs.store, graphs.tenant.id, identity.id, GRAPH)
    assert held == {"User.Read.All"}
    assert (await graphs.send("DELETE", f"{path}/{made['id']}")).status == 204
    assert (await graphs.send("DELETE", f"{path}/{made['id']}")).error == MISSING
    assert not await principals.app_roles_of(graphs.store, graphs.tenant.id, identity.id, GRAPH)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"appRoleId": NOBODY}, BAD),
        ({"appRoleId": "x"}, BAD),
        ({"resourceId": NOBODY}, MISSING),
        ({"principalId": NOBODY}, BAD),
        ({"principalId": None}, BAD),
    ],
)
async def test_bad_assignments(graphs: Graphs, change: dict[str, Any], error: tuple[int, str]) -> None:
    identity, graph = await managed_identity(graphs), await graphs.graph_principal()
    body = {"principalId": identity.id, "resourceId": graph["id"], "appRoleId": USER_READ_ALL, **change}
    refused = await graphs.send("POST", f"/servicePrincipals/{identity.id}/appRoleAssignments", body=body)
    assert refused.error == error
    assert (await graphs.get(f"/servicePrincipals/{identity.id}/appRoleAssignments")).value == []


async def test_nobody_gives_permissions_without_the_right_to(graphs: Graphs) -> None:
    """Application.ReadWrite.All is no way to Directory.ReadWrite.All."""
    identity, graph = await managed_identity(graphs), await graphs.graph_principal()
    path = f"/servicePrincipals/{identity.id}/appRoleAssignments"
    body = {"principalId": identity.id, "resourceId": graph["id"], "appRoleId": USER_READ_ALL}
    for roles in (("Application.ReadWrite.All",), ("Directory.ReadWrite.All",), ("AppRoleAssignment.ReadWrite.All",)):
        assert (await graphs.send("POST", path, await graphs.stranger(*roles), body)).error == DENIED
    assert (await graphs.send("POST", path, graphs.user_token(graphs.user), body)).error == DENIED
    both = await graphs.stranger("AppRoleAssignment.ReadWrite.All", "Application.Read.All")
    assert (await graphs.send("POST", path, both, body)).status == 201


async def test_roles_of_ones_own_application(graphs: Graphs) -> None:
    role = {
        "id": "11111111-2222-4333-8444-555555555555",
        "displayName": "Reader",
        "description": "reads",
        "value": "Things.Read",
        "allowedMemberTypes": ["Application", "User"],
        "isEnabled": True,
    }
    app = await graphs.make_app("api", identifierUris=["api://api"], appRoles=[role])
    principal = await graphs.made("/servicePrincipals", {"appId": app["appId"]})
    assert principal["appRoles"][0]["value"] == "Things.Read"
    group = await graphs.make_group("g")
    body = {"principalId": group["id"], "resourceId": principal["id"], "appRoleId": role["id"]}
    made = await graphs.made(f"/groups/{group['id']}/appRoleAssignments", body)
    assert made["principalType"] == "Group"
    identity = await managed_identity(graphs)
    added = await graphs.send("POST", f"/groups/{group['id']}/members/$ref", body=graphs.reference(identity.id))
    assert added.status == 204
    held = await principals.app_roles_of(graphs.store, graphs.tenant.id, identity.id, app["appId"])
    assert held == {"Things.Read"}
    refused = await graphs.send("PATCH", f"/applications/{app['id']}", body={"appRoles": []})
    assert refused.error == (400, "CannotDeleteOrUpdateEnabledEntitlement")
    off = await graphs.send("PATCH", f"/applications/{app['id']}", body={"appRoles": [{**role, "isEnabled": False}]})
    assert off.status == 204
    assert (await graphs.send("PATCH", f"/applications/{app['id']}", body={"appRoles": []})).status == 204
    assert not await principals.app_roles_of(graphs.store, graphs.tenant.id, identity.id, app["appId"])


async def test_the_last_global_administrator_stays(graphs: Graphs) -> None:
    path = "/directoryRoles/roleTemplateId=62e90394-69f5-4237-9190-012177145e10/members"
    assert {one["id"] for one in (await graphs.get(path)).value} == {graphs.operator.id, graphs.admin.id}
    alice = graphs.user_token(graphs.user)
    add = graphs.reference(graphs.user.id)
    assert (await graphs.send("POST", f"{path}/$ref", alice, add)).error == DENIED
    assert (await graphs.send("DELETE", f"{path}/{graphs.admin.id}/$ref")).status == 204
    assert (await graphs.send("DELETE", f"{path}/{graphs.operator.id}/$ref")).error == BAD


async def test_delegated_permissions_are_what_default_means(graphs: Graphs) -> None:
    app = await graphs.make_app("client", publicClient={"redirectUris": ["http://localhost"]})
    principal = await graphs.made("/servicePrincipals", {"appId": app["appId"]})
    graph = await graphs.graph_principal()
    form = {
        "grant_type": "password",
        "client_id": app["appId"],
        "username": graphs.user.principal_name,
        "password": "Correct-horse-7",
        "scope": "https://graph.microsoft.com/.default",
    }
    _, before = await graphs.ask_token(**form)
    assert claims(before["access_token"])["scp"] == "User.Read"
    assert (await graphs.get("/groups", before["access_token"])).error == DENIED
    grant = {
        "clientId": principal["id"],
        "consentType": "AllPrincipals",
        "resourceId": graph["id"],
        "scope": "Group.Read.All",
    }
    made = await graphs.made("/oauth2PermissionGrants", grant)
    _, after = await graphs.ask_token(**form)
    assert claims(after["access_token"])["scp"] == "User.Read Group.Read.All"
    assert (await graphs.get("/groups", after["access_token"])).status == 200
    listed = await graphs.find("oauth2PermissionGrants", f"clientId eq '{principal['id']}'")
    assert [one["id"] for one in listed.value] == [made["id"]]
    denied = await graphs.send("POST", "/oauth2PermissionGrants", graphs.user_token(graphs.user), grant)
    assert denied.error == DENIED
    assert (await graphs.send("DELETE", f"/oauth2PermissionGrants/{made['id']}")).status == 204
    assert (await graphs.send("DELETE", f"/oauth2PermissionGrants/{made['id']}")).error == MISSING


async def test_administrators_by_role(graphs: Graphs) -> None:
    made = await graphs.make_user("appadmin")
    role = "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3"
    add = graphs.reference(made["id"])
    assert (await graphs.send("POST", f"/directoryRoles/roleTemplateId={role}/members/$ref", body=add)).status == 204
    token = graphs.user_token(User(id=made["id"], tenant_id=graphs.tenant.id, principal_name="appadmin@x"))
    app = await graphs.make_app("a")
    assert (await graphs.send("PATCH", f"/applications/{app['id']}", token, {"notes": "n"})).status == 204
    assert (await graphs.send("DELETE", f"/users/{graphs.user.id}", token)).error == DENIED


@pytest.mark.parametrize(
    ("audience", "cloud", "uris", "status"),
    [
        ("AzureADMultipleOrgs", "AzureCloud", ("api://theirs",), 201),
        ("AzureADMyOrg", "AzureCloud", (), 400),
        ("AzureADMultipleOrgs", "AzureChinaCloud", (), 400),
        ("AzureADMultipleOrgs", "AzureCloud", ("https://vault.azure.net",), 400),
    ],
)
async def test_applications_of_other_tenants(
    graphs: Graphs, audience: Any, cloud: str, uris: tuple[str, ...], status: int
) -> None:
    """Only multi-tenant ones, of this cloud, and never under a name that means somebody here."""
    home = Tenant(id="33333333-3333-4333-8333-333333333333", domains=("third.example",), cloud=cloud)
    app = Application(
        id=graphs.ids.guid(),
        tenant_id=home.id,
        app_id=graphs.ids.guid(),
        display_name="theirs",
        sign_in_audience=audience,
        identifier_uris=uris,
    )
    async with graphs.store.transaction() as tx:
        await TENANTS.insert(tx, home.id, home)
        await APPLICATIONS.insert(tx, f"{home.id}/{app.id}", app)
    answer = await graphs.send("POST", "/servicePrincipals", body={"appId": app.app_id})
    assert answer.status == status, answer.body
    if status == 201:
        assert answer.body["appOwnerOrganizationId"] == home.id
        assert (await graphs.get(f"/applications(appId='{app.app_id}')")).error == MISSING  # it is not this tenant's
