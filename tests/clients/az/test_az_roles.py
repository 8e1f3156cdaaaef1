"""Role assignments and role definitions in the forms that az has."""

from __future__ import annotations

import json
import shlex

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
DEFINITIONS = "/providers/Microsoft.Authorization/roleDefinitions/"
GROUP = "az-roles"


@pytest.fixture(scope="module")
def scope(az, az_server):
    az(f"group create -n {GROUP} -l westeurope")
    return f"/subscriptions/{az_server.operator()['subscription_id']}/resourceGroups/{GROUP}"


@pytest.mark.parametrize(
    "role", ["Reader", READER, f"{{subscription}}/providers/Microsoft.Authorization/roleDefinitions/{READER}"]
)
def test_by_object_id(az, scope, role, request):
    role = role.replace("{subscription}", scope.partition("/resourceGroups")[0])
    name = f"role-{request.node.callspec.indices['role']}"
    principal = az(f"identity create -g {GROUP} -n {name}")["principalId"]
    who = f"--assignee-object-id {principal} --assignee-principal-type ServicePrincipal"
    made = az(f"role assignment create {who} --role '{role}' --scope {scope}")
    assert made["roleDefinitionId"].endswith(READER)
    assert made["principalType"] == "ServicePrincipal"
    again = az(f"role assignment create {who} --role '{role}' --scope {scope}")
    assert again["id"] == made["id"]  # az takes RoleAssignmentExists for success
    found = az(f"role assignment list --scope {scope} --assignee-object-id {principal}")
    assert [one["id"] for one in found] == [made["id"]]
    az(f"role assignment delete --ids {made['id']}")
    assert az(f"role assignment list --scope {scope} --assignee-object-id {principal}") == []


@pytest.fixture(scope="module")
def people(az, scope):
    """A person in a group, a program and an identity: how `--assignee` names each, and their object ids."""
    domains = az("rest --url https://graph.microsoft.com/v1.0/domains")["value"]
    name = f"rita@{next(one['id'] for one in domains if one['isDefault'])}"
    person = az(f"ad user create --display-name Rita --user-principal-name {name} --password Correct-horse-9-battery")
    group = az("ad group create --display-name az-readers --mail-nickname az-readers")
    az(f"ad group member add -g az-readers --member-id {person['id']}")
    program = az("ad sp create-for-rbac -n az-role-program")["appId"]
    identity = az(f"identity create -g {GROUP} -n role-assignee")
    return {
        "person": (name, person["id"]),
        "group": (group["id"], group["id"]),
        "program": (program, az(f"ad sp show --id {program}")["id"]),
        "identity": (identity["clientId"], identity["principalId"]),
    }


@pytest.mark.parametrize("kind", ["person", "group", "program", "identity"])
def test_by_assignee(az, scope, people, kind):
    """az asks Microsoft Graph who that is."""
    name, id = people[kind]
    made = az(f"role assignment create --assignee {name} --role Reader --scope {scope}")
    assert made["principalId"] == id
    assert made["principalType"] == {"person": "User", "group": "Group"}.get(kind, "ServicePrincipal")
    titles, rows = az.table(f"role assignment list --assignee {name} --scope {scope}")
    assert titles == ["Principal", "Role", "Scope"]
    assert [row.split()[-2:] for row in rows] == [["Reader", scope]]
    if kind in ("person", "program"):  # named by Graph
        assert rows[0].split()[0] == name
    az(f"role assignment delete --assignee {name} --role Reader --scope {scope}")
    assert az(f"role assignment list --assignee {name} --scope {scope}") == []


def test_what_lists_hold(az, scope, people):
    """Of a scope, of what is above it, of everything, and through groups."""
    group, person = people["group"][1], people["person"][0]
    identity = az(f"identity create -g {GROUP} -n role-listed")["id"]
    made = az(
        f"role assignment create --assignee-object-id {group} --assignee-principal-type Group --role Reader"
        f" --scope {scope}"
    )["id"]
    assert made not in [one["id"] for one in az(f"role assignment list --scope {identity}")]
    assert made in [one["id"] for one in az(f"role assignment list --scope {identity} --include-inherited")]
    assert made in [one["id"] for one in az(f"role assignment list -g {GROUP}")]
    assert made in [one["id"] for one in az("role assignment list --all")]
    assert made not in [one["id"] for one in az(f"role assignment list --scope {scope} --role Contributor")]
    assert az(f"role assignment list --assignee {person} --scope {scope}") == []
    through = az(f"role assignment list --assignee {person} --scope {scope} --include-groups")
    assert [one["id"] for one in through] == [made]
    az(f"role assignment delete --ids {made}")


def test_an_assignment_is_described_anew(az, scope, people):
    made = az(f"role assignment create --assignee {people['identity'][0]} --role Contributor --scope {scope}")
    changed = shlex.quote(json.dumps({**made, "description": "later"}))
    assert az(f"role assignment update --role-assignment {changed}")["description"] == "later"
    moved = shlex.quote(json.dumps({**made, "principalId": people["program"][1]}))
    assert "RoleAssignmentUpdateNotPermitted" in az.fails(f"role assignment update --role-assignment {moved}")
    az(f"role assignment delete --assignee {people['identity'][0]} --role Contributor -g {GROUP}")
    assert az(f"role assignment list --assignee {people['identity'][0]} --scope {scope}") == []


def test_a_description_and_a_condition(az, scope):
    principal = az(f"identity create -g {GROUP} -n role-described")["principalId"]
    made = az(
        f"role assignment create --assignee-object-id {principal} --assignee-principal-type ServicePrincipal"
        f" --role Contributor --scope {scope} --description 'why it is there'"
    )
    assert made["description"] == "why it is there"
    az(f"role assignment delete --assignee-object-id {principal} --role Contributor --scope {scope}")
    assert az(f"role assignment list --scope {scope} --assignee-object-id {principal}") == []


def test_what_must_be_refused(az, scope):
    nobody = "--assignee-object-id 11111111-1111-4111-8111-111111111111 --assignee-principal-type ServicePrincipal"
    assert "doesn't exist" in az.fails(f"role assignment create {nobody} --role 'No Such Role' --scope {scope}")
    body = {"properties": {"roleDefinitionId": f"{DEFINITIONS}{READER}", "principalId": nobody.split()[1]}}
    url = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{nobody.split()[1]}?api-version=2022-04-01"
    refused = az.fails(f"rest --method put --url {url} --body {shlex.quote(json.dumps(body))}")
    assert "PrincipalNotFound" in refused  # only who says what kind it is may be ahead of replication
    principal = az(f"identity create -g {GROUP} -n role-refused")["principalId"]
    who = f"--assignee-object-id {principal} --assignee-principal-type ServicePrincipal"
    missing = scope.replace(GROUP, "no-such-group")
    assert "ResourceGroupNotFound" in az.fails(f"role assignment create {who} --role Reader --scope {missing}")


def test_built_in_definitions(az):
    titles, rows = az.table("role definition list --name Reader")
    assert titles == ["Name", "Type", "Description"]
    assert rows == [
        "Reader  Microsoft.Authorization/roleDefinitions"
        "  View all resources, but does not allow you to make any changes."
    ]
    names = {one["roleName"] for one in az("role definition list")}
    assert {"Owner", "Contributor", "Managed Identity Operator", "Key Vault Secrets User"} <= names


def test_a_custom_role(az, scope):
    role = {
        "Name": "Reads groups",
        "Description": "first",
        "Actions": ["Microsoft.Resources/subscriptions/resourceGroups/read"],
        "NotActions": [],
        "DataActions": [],
        "AssignableScopes": [scope],
    }
    made = az(f"role definition create --role-definition {shlex.quote(json.dumps(role))}")
    assert made["roleType"] == "CustomRole"
    assert [one["roleName"] for one in az(f"role definition list --custom-role-only --scope {scope}")] == [
        "Reads groups"
    ]
    changed = {**made, "description": "second"}
    assert az(f"role definition update --role-definition {shlex.quote(json.dumps(changed))}")["description"] == "second"
    assert az(f"role definition show --id {made['id']}")["description"] == "second"
    principal = az(f"identity create -g {GROUP} -n role-custom")["principalId"]
    assigned = az(
        f"role assignment create --assignee-object-id {principal} --assignee-principal-type ServicePrincipal"
        f" --role 'Reads groups' --scope {scope}"
    )
    assert "RoleDefinitionHasAssignments" in az.fails(f"role definition delete --name 'Reads groups' --scope {scope}")
    az(f"role assignment delete --ids {assigned['id']}")
    az(f"role definition delete --name 'Reads groups' --scope {scope}")
    assert az(f"role definition list --custom-role-only --scope {scope}") == []
