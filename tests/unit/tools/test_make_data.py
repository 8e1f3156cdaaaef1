"""Generated files are what the reference gives today, and hold what the program counts on."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

GENERATED = {
    "docs/clouds.md",
    "src/keyfob/access/data/operations.json",
    "src/keyfob/access/data/roles.json",
    "src/keyfob/clouds/data/availability.json",
    "src/keyfob/clouds/data/clouds.json",
    "src/keyfob/directory/data/aadsts.json",
    "src/keyfob/directory/data/first_party.json",
    "src/keyfob/directory/data/graph_app_roles.json",
    "src/keyfob/directory/data/graph_properties.json",
}


def run(project, *arguments):
    command = [sys.executable, str(project / "tools/make_data.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_generated_files_are_current(project, reference, tmp_path):
    done = run(project, reference, "--into", tmp_path)
    assert done.returncode == 0, done.stderr
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert made == GENERATED
    stale = [path for path in made if (tmp_path / path).read_bytes() != (project / path).read_bytes()]
    assert not stale, "run `make data`"


def test_the_same_reference_gives_the_same_bytes_and_check_sees_a_change(project, reference, tmp_path):
    run(project, reference, "--into", tmp_path)
    assert run(project, reference, "--into", tmp_path, "--check").returncode == 0
    clouds = tmp_path / "src/keyfob/clouds/data/clouds.json"
    clouds.write_text(clouds.read_text().replace("vault.azure.net", "vault.example.net"))
    done = run(project, reference, "--into", tmp_path, "--check")
    assert done.returncode == 1
    assert "out of date: src/keyfob/clouds/data/clouds.json" in done.stdout
    assert "vault.example.net" in clouds.read_text()


def test_without_a_reference_it_says_so(project, tmp_path):
    done = run(project, tmp_path / "nowhere")
    assert done.returncode == 2
    assert "no reference data at" in done.stderr


def test_the_page_has_the_tables_of_the_package_data(project):
    code = "from sources import pages; print(end=pages.current())"
    command = [sys.executable, "-X", "utf8", "-c", code]
    done = subprocess.run(command, cwd=project / "tools", capture_output=True, check=True)
    assert done.stdout.decode() == (project / "docs/clouds.md").read_text("utf-8")
    assert b"`*.vault.usgovcloudapi.net`" in done.stdout


@pytest.fixture(scope="module")
def roles(project):
    return json.loads((project / "src/keyfob/access/data/roles.json").read_text("utf-8"))


def test_all_928_roles_are_there_once(roles):
    assert len(roles) == len({role["name"] for role in roles}) == 928
    assert all(role["permissions"] for role in roles)
    assert all(role.keys() == {"name", "roleName", "description", "permissions"} for role in roles)


@pytest.mark.parametrize(
    ("guid", "name"),
    [
        ("8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "Owner"),
        ("b24988ac-6180-42a0-ab88-20f7382dd24c", "Contributor"),
        ("acdd72a7-3385-48ef-bd42-f606fba81ae7", "Reader"),
        ("18d7d88d-d35e-4fb5-a5c3-7773c20a72d9", "User Access Administrator"),
        ("f58310d9-a9f6-439a-9e8d-f62e7b41a168", "Role Based Access Control Administrator"),
        ("f1a07417-d97a-45cb-824c-7a7467783830", "Managed Identity Operator"),
        ("e40ec5ca-96e0-45a2-b4ff-59039f2c2b59", "Managed Identity Contributor"),
        ("9980e02c-c2be-4d73-94e8-173b1dc7cf3c", "Virtual Machine Contributor"),
        ("b7e6dc6d-f1e8-4753-8033-0f276bb0955b", "Storage Blob Data Owner"),
        ("ba92f5b4-2d11-453d-a403-e96b0029c9fe", "Storage Blob Data Contributor"),
        ("2a2b9908-6ea1-4ae2-8e65-a410df84e7d1", "Storage Blob Data Reader"),
        ("974c5e8b-45b9-4653-ba55-5f855dd0fb88", "Storage Queue Data Contributor"),
        ("00482a5a-887f-4fb3-b363-3b7fe8e74483", "Key Vault Administrator"),
        ("b86a8fe4-44ce-4948-aee5-eccb2c155cd7", "Key Vault Secrets Officer"),
        ("4633458b-17de-408a-b874-0445c86b69e6", "Key Vault Secrets User"),
        ("21090545-7ca7-4776-b22c-e363652d74d2", "Key Vault Reader"),
        ("f25e0fa2-a7c8-4377-a976-54943a77a395", "Key Vault Contributor"),
        ("f526a384-b230-433a-b45c-95f59c4a2dec", "Azure Event Hubs Data Owner"),
        ("090c5cfd-751d-490a-894a-3ce6f1109419", "Azure Service Bus Data Owner"),
        ("7f951dda-4ed3-4680-a7ca-43fe172d538d", "AcrPull"),
    ],
)
def test_well_known_roles(roles, guid, name):
    assert [role["roleName"] for role in roles if role["name"] == guid] == [name]


def test_owner_may_all_but_touch_no_data_and_contributor_may_not_assign(roles):
    by_name = {role["roleName"]: role["permissions"][0] for role in roles}
    assert by_name["Owner"] == {"actions": ["*"]}
    assert "Microsoft.Authorization/*/Write" in by_name["Contributor"]["notActions"]
    assert by_name["Key Vault Secrets User"]["dataActions"]


def test_roles_equal_the_source(roles, reference):
    source = json.loads((reference / "rbac/built-in-roles.json").read_text("utf-8"))["roleDefinitions"]
    ours = {role["name"]: role for role in roles}
    for theirs in source:
        role = ours[theirs["name"]]
        assert role["roleName"] == theirs["roleName"]
        full = [
            {key: part.get(key, [] if "ctions" in key else None) for key in theirs["permissions"][0]}
            for part in role["permissions"]
        ]
        assert full == theirs["permissions"]


def test_operations_tell_actions_from_data_actions(project):
    operations = json.loads((project / "src/keyfob/access/data/operations.json").read_text("utf-8"))
    known = {(row["name"], row.get("data", False)) for row in operations}
    assert ("Microsoft.Compute/virtualMachines/write", False) in known
    assert ("Microsoft.ManagedIdentity/userAssignedIdentities/assign/action", False) in known
    assert ("Microsoft.KeyVault/vaults/secrets/getSecret/action", True) in known
    assert ("Microsoft.KeyVault/vaults/secrets/getSecret/action", False) not in known
    assert len(known) == len(operations)


@pytest.fixture(scope="module")
def first_party(project):
    rows = json.loads((project / "src/keyfob/directory/data/first_party.json").read_text("utf-8"))
    return {row["app_id"]: row for row in rows}


def test_first_party_applications(first_party):
    assert first_party["04b07795-8ddb-461a-bbee-02f9e1bf7b46"]["name"] == "Microsoft Azure CLI"
    assert first_party["1950a258-227b-4e31-a9cf-717495945fc2"]["kind"] == "public_client"
    vault = first_party["cfa8b339-82a2-471a-a3c9-0fc0be7a4093"]
    assert vault["kind"] == "resource"
    assert "https://vault.azure.cn" in vault["names"]["AzureChinaCloud"]
    assert "https://vault.azure.net" not in vault["names"]["AzureChinaCloud"]
    assert [scope["value"] for scope in vault["scopes"]] == ["user_impersonation"]
    assert "AzureChinaCloud" not in first_party["e9f49c6b-5ce5-44c8-925d-015017e9f7ad"]["names"]


def test_a_resource_string_means_one_application_in_each_cloud(first_party):
    owners: dict[tuple[str, str], str] = {}
    for app_id, app in first_party.items():
        for cloud, names in app["names"].items():
            assert names[0] == app_id
            for name in names:
                assert owners.setdefault((cloud, name.lower()), app_id) == app_id, (cloud, name)


def test_every_audience_of_a_cloud_is_a_name_of_its_application(project, first_party):
    for cloud in json.loads((project / "src/keyfob/clouds/data/clouds.json").read_text("utf-8")):
        for audiences in cloud["audiences"].values():
            if audiences:
                assert set(audiences) <= set(first_party[audiences[-1]]["names"][cloud["name"]])


def test_graph_permissions(project):
    rows = json.loads((project / "src/keyfob/directory/data/graph_app_roles.json").read_text("utf-8"))
    ids = {row["value"]: row["id"] for row in rows}
    assert ids["Directory.Read.All"] == "7ab1d382-f21e-4acd-a863-ba3e13f7da61"
    assert ids["User.Read.All"] == "df021288-bdef-4463-88db-98f22de89214"
    assert len({row["id"] for row in rows}) == len(rows)


def test_sign_in_errors(project):
    codes = json.loads((project / "src/keyfob/directory/data/aadsts.json").read_text("utf-8"))
    assert codes["7000215"]["error"] == "invalid_client"
    assert codes["50049"]["name"] == "NoSuchInstanceForDiscovery"
    assert codes["500011"]["runtime"].startswith("The resource principal named {resource} was not found")


def test_every_source_with_package_data_is_in_the_notice(project):
    notice = (project / "NOTICE").read_text("utf-8")
    for path in GENERATED - {"docs/clouds.md"}:
        assert path in notice
    for licence in ("MIT", "CC-BY-4.0", "MPL-2.0", "Apache-2.0"):
        assert licence in notice
