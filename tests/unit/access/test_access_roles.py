"""Role definitions: the built-in ones and what they grant."""

import json
import os
from pathlib import Path

import pytest

from keyfob.access.roles import OWNER, Grants, Permission, RoleBook, RoleDefinition, guid, role_guid

BOOK = RoleBook()
SECRET = "microsoft.keyvault/vaults/secrets/getsecret/action"
USER = "4633458b-17de-408a-b874-0445c86b69e6"
REFERENCE = Path(os.environ.get("KEYFOB_REFERENCE") or Path(__file__).parents[3].parent / "shared" / "azure")


def grants(name: str, action: str, data: bool) -> bool:
    role = BOOK.named(name)
    assert role is not None, name
    return BOOK.grants(role).grant(action.lower(), data)


def test_all_built_in_roles_are_there() -> None:
    assert len(BOOK.built_in) == 928
    assert all(guid(key) == key == role.id for key, role in BOOK.built_in.items())
    assert len({role.name.lower() for role in BOOK.built_in.values()}) == 928
    assert not any(role.custom or role.tenant_id for role in BOOK.built_in.values())


def test_they_agree_with_the_published_ones() -> None:
    file = REFERENCE / "rbac" / "built-in-roles.json"
    if not file.exists():
        pytest.skip("the reference data is not beside the project")
    for published in json.loads(file.read_text("utf-8"))["roleDefinitions"]:
        role = BOOK.get(published["id"])
        assert role is not None
        assert role.name == published["roleName"]
        for ours, theirs in zip(role.permissions, published["permissions"], strict=True):
            assert list(ours.actions) == theirs["actions"]
            assert list(ours.not_actions) == theirs["notActions"]
            assert list(ours.data_actions) == theirs["dataActions"]
            assert list(ours.not_data_actions) == theirs["notDataActions"]
            assert ours.condition == theirs["condition"]


@pytest.mark.parametrize(
    ("role", "action", "data", "granted"),
    [
        ("Owner", "Microsoft.Compute/virtualMachines/write", False, True),
        ("Owner", "Microsoft.Authorization/roleAssignments/write", False, True),
        ("Owner", SECRET, True, False),
        ("Owner", "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read", True, False),
        ("Contributor", "Microsoft.Compute/virtualMachines/write", False, True),
        ("Contributor", "Microsoft.Authorization/roleAssignments/write", False, False),
        ("Contributor", "Microsoft.Authorization/roleAssignments/delete", False, False),
        ("Contributor", "Microsoft.Authorization/roleAssignments/read", False, True),
        ("Reader", "Microsoft.KeyVault/vaults/read", False, True),
        ("Reader", "Microsoft.KeyVault/vaults/write", False, False),
        ("Reader", "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read", True, False),
        ("Key Vault Secrets User", SECRET, True, True),
        ("Key Vault Secrets User", SECRET, False, False),
        ("Key Vault Secrets User", "Microsoft.KeyVault/vaults/secrets/setSecret/action", True, False),
        ("Key Vault Contributor", SECRET, True, False),
        (
            "Managed Identity Operator",
            "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
            False,
            True,
        ),
        (
            "Managed Identity Contributor",
            "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
            False,
            False,
        ),
        ("Azure Event Hubs Data Sender", "Microsoft.EventHub/namespaces/messages/send/action", True, True),
        ("Azure Event Hubs Data Receiver", "Microsoft.EventHub/namespaces/messages/send/action", True, False),
        # granted on Azure under a condition on what is assigned: never without reading it
        ("Key Vault Data Access Administrator", "Microsoft.Authorization/roleAssignments/write", False, False),
    ],
)
def test_a_role_grants(role: str, action: str, data: bool, granted: bool) -> None:
    assert grants(role, action, data) is granted


def test_owner_has_no_data_actions() -> None:
    assert not any(p.data_actions for p in BOOK.built_in[OWNER].permissions)


ONE = Permission(actions=("a/*",), not_actions=("a/delete",))
OTHER = Permission(actions=("a/delete",), data_actions=("a/*",), not_data_actions=("a/b/*",))


@pytest.mark.parametrize(
    ("permissions", "action", "data", "granted"),
    [
        ((ONE,), "a/write", False, True),
        ((ONE,), "a/delete", False, False),
        ((ONE, OTHER), "a/delete", False, True),  # notActions take away from their own entry only
        ((OTHER, ONE), "a/delete", False, True),
        ((ONE,), "a/write", True, False),
        ((OTHER,), "a/write", True, True),
        ((OTHER,), "a/b/c", True, False),
        ((OTHER,), "a/write", False, False),
        ((Permission(actions=("*",), condition="true"),), "a/write", False, False),
        ((Permission(not_actions=("b",)),), "a", False, False),
        ((), "a", False, False),
    ],
)
def test_permissions_are_a_union_of_differences(
    permissions: tuple[Permission, ...], action: str, data: bool, granted: bool
) -> None:
    assert Grants(permissions).grant(action, data) is granted


@pytest.mark.parametrize(
    ("permissions", "action", "data", "told"),
    [
        ((ONE,), "a/delete", False, "excludes it by its notActions"),
        ((OTHER,), "a/b/c", True, "excludes it by its notDataActions"),
        ((ONE,), "a/write", True, "grants it only as a control-plane action"),
        ((OTHER,), "a/x", False, "grants it only as a data action"),
        ((Permission(actions=("*",), condition="x"),), "a", False, "grants it only under a condition"),
        ((ONE,), "b", False, ""),
    ],
)
def test_a_shortfall_is_told(permissions: tuple[Permission, ...], action: str, data: bool, told: str) -> None:
    found = Grants(permissions).shortfall(action, data)
    assert found.startswith(told)
    assert bool(found) is bool(told)


@pytest.mark.parametrize(
    "reference",
    [
        USER,
        USER.upper(),
        f"/providers/Microsoft.Authorization/roleDefinitions/{USER}",
        f"/subscriptions/s/providers/Microsoft.Authorization/roleDefinitions/{USER}/",
        f"/subscriptions/s/resourceGroups/g/providers/microsoft.authorization/roledefinitions/{USER.upper()}",
    ],
)
def test_a_role_is_found_by_any_form_of_id(reference: str) -> None:
    found = BOOK.get(reference)
    assert found is not None
    assert found.name == "Key Vault Secrets User"


@pytest.mark.parametrize("reference", ["", "x", USER[:-1], USER.replace("-", ""), "{" + USER + "}", f"urn:uuid:{USER}"])
def test_no_other_text_is_an_id(reference: str) -> None:
    assert role_guid(reference) is None
    assert BOOK.get(reference) is None


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Key Vault Secrets User", True),
        ("key vault SECRETS user", True),
        ("Key Vault Secrets User (Preview)", True),
        ("Cognitive Services Data Contributor", True),
        ("Cognitive Services Data Contributor (preview)", True),
        ("Key Vault Secrets", False),
        ("", False),
        (" (preview)", False),
    ],
)
def test_a_role_is_found_by_name(name: str, found: bool) -> None:
    assert (BOOK.named(name) is not None) is found


def test_custom_roles_are_one_tenants_own() -> None:
    book = RoleBook(dict)
    role = RoleDefinition(id=USER, name="Mine", custom=True, tenant_id="t1")
    book.put(role)
    assert book.get(USER, "t1") == role == book.named("mine", "t1")
    assert book.get(USER, "t2") is None
    assert book.get(USER) is None
    assert book.named("Mine", "t2") is None
    book.drop("t1", USER)
    assert book.get(USER, "t1") is None


def test_a_custom_role_never_takes_the_place_of_a_built_in_one() -> None:
    book = RoleBook()
    book.put(
        RoleDefinition(id=USER, name="Fake", custom=True, tenant_id="t", permissions=(Permission(actions=("*",)),))
    )
    found = book.get(USER, "t")
    assert found is not None
    assert found.name == "Key Vault Secrets User"
