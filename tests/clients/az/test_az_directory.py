"""Users, groups, applications and service principals through Microsoft Graph; a person signs in by device code."""

from __future__ import annotations

import http.client
import json
import re
import shlex
import socket
import ssl
import threading
from urllib.parse import urlencode

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
GROUP = "az-directory"
PASSWORD = "Correct-horse-9-battery"


@pytest.fixture(scope="module")
def scope(az):
    return az(f"group create -n {GROUP} -l westeurope")["id"]


@pytest.fixture(scope="module")
def domain(az):
    domains = az("rest --url https://graph.microsoft.com/v1.0/domains")["value"]
    return next(one["id"] for one in domains if one["isDefault"])


def test_users_and_groups(az, domain):
    user = az(f"ad user create --display-name 'Ann Az' --user-principal-name ann@{domain} --password {PASSWORD}")
    assert az(f"ad user show --id ann@{domain}")["id"] == user["id"]
    titles, _ = az.table(f"ad user list --upn ann@{domain}")
    assert {"DisplayName", "UserPrincipalName"} <= set(titles)
    group = az("ad group create --display-name az-people --mail-nickname az-people")
    az(f"ad group member add -g az-people --member-id {user['id']}")
    assert az(f"ad group member check -g az-people --member-id {user['id']}") == {"value": True}
    assert [one["id"] for one in az("ad group member list -g az-people")] == [user["id"]]
    assert group["id"] in az(f"ad user get-member-groups --id ann@{domain}")[0]["id"]
    az(f"ad group member remove -g az-people --member-id {user['id']}")
    assert az("ad group member list -g az-people") == []
    az(f"ad user update --id ann@{domain} --display-name 'Ann Other'")
    assert az(f"ad user show --id ann@{domain}")["displayName"] == "Ann Other"
    az("ad group delete -g az-people")
    az(f"ad user delete --id ann@{domain}")
    assert "does not exist" in az.fails(f"ad user show --id ann@{domain}")


def test_a_service_principal_for_a_program(az, az_on, az_server, scope):
    made = az(f"ad sp create-for-rbac -n az-program --role Reader --scopes {scope}")
    assert set(made) == {"appId", "displayName", "password", "tenant"}
    program = az_on()
    program(f"login --service-principal -u {made['appId']} -p={made['password']} --tenant {made['tenant']}")
    assert [group["name"] for group in program("group list")] == [GROUP]
    assert "AuthorizationFailed" in program.fails(f"identity create -g {GROUP} -n not-for-readers")
    again = az(f"ad app credential reset --id {made['appId']} --append")
    program(f"login --service-principal -u {made['appId']} -p={again['password']} --tenant {made['tenant']}")
    assert len(az(f"ad app credential list --id {made['appId']}")) == 2
    az(f"ad sp delete --id {made['appId']}")
    assert "Insufficient" not in az.fails(f"ad sp show --id {made['appId']}")
    az(f"ad app delete --id {made['appId']}")


def test_a_certificate_instead_of_a_secret(az, az_on, scope):
    made = az(f"ad sp create-for-rbac -n az-certified --create-cert --role Reader --scopes {scope}")
    program = az_on()
    who = f"login --service-principal -u {made['appId']} --tenant {made['tenant']} --certificate"
    program(f"{who} {made['fileWithCertAndPrivateKey']}")
    assert [group["name"] for group in program("group list")] == [GROUP]
    other = az("ad sp create-for-rbac -n az-certified-too --create-cert")
    assert "AADSTS700027" in az_on().fails(f"{who} {other['fileWithCertAndPrivateKey']}")


def test_applications(az):
    made = az("ad app create --display-name az-app --identifier-uris api://az-app")
    assert az("ad app show --id api://az-app")["appId"] == made["appId"]
    az(f"ad app update --id {made['appId']} --display-name az-app-two")
    assert [one["displayName"] for one in az(f"ad app list --app-id {made['appId']}")] == ["az-app-two"]
    principal = az(f"ad sp create --id {made['appId']}")
    assert az(f"ad sp show --id {made['appId']}")["id"] == principal["id"]
    titles, rows = az.table(f"ad sp list --spn {made['appId']}")
    assert titles[:3] == ["DisplayName", "Id", "AppId"]
    assert len(rows) == 1
    az(f"ad app delete --id {made['appId']}")


def test_managed_identities_are_service_principals(az, scope):
    made = az(f"identity create -g {GROUP} -n az-seen")
    found = az("ad sp list --all --filter \"servicePrincipalType eq 'ManagedIdentity'\"")
    assert made["clientId"] in [one["appId"] for one in found]
    shown = az(f"ad sp show --id {made['principalId']}")
    assert made["id"].lower() in [name.lower() for name in shown["alternativeNames"]]


def test_role_assignments_by_name(az, az_server, scope):
    identity = az(f"identity create -g {GROUP} -n az-assigned")
    made = az(f"role assignment create --assignee {identity['clientId']} --role Reader --scope {scope}")
    assert made["principalId"] == identity["principalId"]
    titles, rows = az.table(f"role assignment list --assignee {identity['clientId']} --scope {scope}")
    assert titles == ["Principal", "Role", "Scope"]
    assert [row.split() for row in rows] == [[identity["clientId"], "Reader", scope]]
    listed = az(f"role assignment list --all --assignee {identity['principalId']}")
    assert [one["roleDefinitionName"] for one in listed] == ["Reader"]
    az(f"role assignment delete --assignee {identity['clientId']} --role Reader --scope {scope}")
    assert az(f"role assignment list --assignee {identity['clientId']} --scope {scope}") == []
    by_id = az(f"role assignment create --assignee-object-id {identity['principalId']} --role Reader --scope {scope}")
    assert by_id["principalType"] == "ServicePrincipal"  # az asked Graph what it is


def test_role_assignments_to_a_group(az, az_on, az_server, scope):
    group = az("ad group create --display-name az-readers --mail-nickname az-readers")
    az(f"role assignment create --assignee {group['id']} --role Reader --scope {scope}")
    made = az("ad sp create-for-rbac -n az-member")
    member = az(f"ad sp show --id {made['appId']}")
    az(f"ad group member add -g az-readers --member-id {member['id']}")
    reader = az_on()
    reader(f"login --service-principal -u {made['appId']} -p={made['password']} --tenant {made['tenant']}")
    assert [one["name"] for one in reader("group list")] == [GROUP]
    found = az(f"role assignment list --all --include-groups --assignee {made['appId']}")
    assert [one["principalId"] for one in found] == [group["id"]]


def browse(server, method: str, path: str, form=None, cookie: str = "") -> tuple[int, str, str]:
    """A browser outside the sandbox at the sign-in page: status, cookie, page."""
    context = ssl.create_default_context(cafile=str(server.data / "ca" / "ca.crt"))
    known = json.loads((server.data / "server.json").read_text())
    host = "login.microsoftonline.com"
    with socket.create_connection((known["address"], known["port"])) as plain:
        connection = http.client.HTTPSConnection(host)
        connection.sock = context.wrap_socket(plain, server_hostname=host)
        headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded", "Origin": f"https://{host}"}
        connection.request(method, path, urlencode(form) if form else None, headers)
        reply = connection.getresponse()
        page = reply.read().decode()
        set_cookie = (reply.getheader("Set-Cookie") or "").partition(";")[0]
        connection.close()
    return reply.status, set_cookie, page


def test_a_person_signs_in_with_a_device_code(az, az_on, az_server, scope, domain):
    name = f"dora@{domain}"
    az(f"ad user create --display-name Dora --user-principal-name {name} --password {PASSWORD}")
    az(f"role assignment create --assignee {name} --role Reader --scope {scope}")
    person = az_on()
    login = person.process("login", "--use-device-code", "--tenant", az_server.operator()["tenant_id"], "-o", "json")
    said: list[str] = []
    assert login.stderr is not None
    for line in login.stderr:
        said.append(line)
        if found := re.search(r"enter the code (\S+) to authenticate", line):
            break
    else:
        raise AssertionError(f"az showed no code: {said}")
    rest = threading.Thread(target=lambda: said.extend(login.stderr or []), daemon=True)
    rest.start()
    address = re.search(r"https://login\.microsoftonline\.com(/\S+)", said[-1])
    path = address[1] if address else "/common/oauth2/deviceauth"
    status, cookie, page = browse(az_server, "GET", path)
    assert status == 200
    action = re.search(r'action="([^"]+)"', page)[1]
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
    form = {"csrf": csrf, "user_code": found[1], "username": name, "password": "wrong", "go": "1"}
    _, _, refused = browse(az_server, "POST", action, form, cookie)
    assert "You have signed in" not in refused
    status, _, done = browse(az_server, "POST", action, {**form, "password": PASSWORD}, cookie)
    assert status == 200
    assert "You have signed in" in done
    assert login.stdout is not None
    out = login.stdout.read()
    assert login.wait(60) == 0, said
    rest.join(10)
    login.stderr.close()
    login.stdout.close()
    assert '"type": "user"' in out
    assert [one["name"] for one in person("group list")] == [GROUP]
    assert person("ad signed-in-user show")["userPrincipalName"] == name
    assert "AuthorizationFailed" in person.fails(f"group delete -n {GROUP} --yes")
    shown = person(f"account get-access-token --scope {shlex.quote('https://vault.azure.net/.default')}")
    assert shown["tokenType"] == "Bearer"
