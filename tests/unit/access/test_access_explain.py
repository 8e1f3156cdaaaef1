"""What is said about a refusal."""

import pytest

from keyfob.access.explain import breadth, explain, remedy_scope, suggestions
from keyfob.access.log import Entry
from keyfob.access.roles import RoleBook
from keyfob.resource_id import ResourceId

ROLES = list(RoleBook().built_in.values())
GROUP = "/subscriptions/s/resourceGroups/my rg"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/v"
BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
GET = "Microsoft.KeyVault/vaults/secrets/getSecret/action"


def entry(**more: object) -> Entry:
    values: dict[str, object] = {
        "id": "1",
        "principal_id": "p",
        "principal_type": "ServicePrincipal",
        "action": GET,
        "data": True,
        "scope": f"{VAULT}/secrets/s",
        "curable": True,
        "reason": "no role assignment",
    }
    return Entry(**(values | more))  # type: ignore[arg-type]


def test_reading_a_secret() -> None:
    explained = explain(entry(), ROLES)
    assert [role.name for role in explained.roles[:2]] == ["Key Vault Secrets User", "Key Vault Certificate User"]
    assert explained.scope == VAULT
    assert explained.remedy == (
        "az role assignment create --assignee-object-id p --assignee-principal-type ServicePrincipal "
        f"--role \"Key Vault Secrets User\" --scope '{VAULT}'"
    )
    assert "--assignee-principal-type" not in explain(entry(principal_type=""), ROLES).remedy


@pytest.mark.parametrize(
    ("action", "data", "first"),
    [
        (GET, True, "Key Vault Secrets User"),
        ("Microsoft.KeyVault/vaults/secrets/setSecret/action", True, "Key Vault Secrets Officer"),
        ("Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read", True, "Storage Blob Data Reader"),
        (
            "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write",
            True,
            "Storage Blob Data Contributor",
        ),
        ("Microsoft.EventHub/namespaces/messages/send/action", True, "Azure Event Hubs Data Sender"),
        ("Microsoft.ServiceBus/namespaces/messages/receive/action", True, "Azure Service Bus Data Receiver"),
        ("Microsoft.ManagedIdentity/userAssignedIdentities/assign/action", False, "Managed Identity Operator"),
        ("Microsoft.ManagedIdentity/userAssignedIdentities/write", False, "Managed Identity Contributor"),
        ("Microsoft.KeyVault/vaults/write", False, "Key Vault Contributor"),
        ("Microsoft.Authorization/roleAssignments/write", False, "Role Based Access Control Administrator"),
    ],
)
def test_the_narrowest_role_made_for_it_comes_first(action: str, data: bool, first: str) -> None:
    assert suggestions(action, data, ROLES)[0].name == first


def test_owner_reaches_farthest() -> None:
    by_name = {role.name: breadth(role) for role in ROLES}
    assert by_name["Key Vault Secrets User"] == 2
    assert by_name["Key Vault Secrets User"] < by_name["Key Vault Reader"] < by_name["Reader"] < by_name["Owner"]


@pytest.mark.parametrize("more", [{"curable": False}, {"allowed": True}, {"curable": False, "deny_assignment": "d"}])
def test_no_role_is_offered_where_none_would_help(more: dict[str, object]) -> None:
    explained = explain(entry(**more), ROLES)
    assert (explained.roles, explained.remedy) == ((), "")


def test_an_action_no_role_grants_has_no_remedy() -> None:
    explained = explain(entry(action="No.Such/thing/action"), ROLES)
    assert (explained.roles, explained.remedy) == ((), "")


@pytest.mark.parametrize(
    ("scope", "action", "data", "at"),
    [
        (f"{VAULT}/secrets/s", GET, True, VAULT),
        (VAULT, GET, True, VAULT),
        (f"{VAULT}/secrets/s/versions/1", GET, True, VAULT),
        (VAULT, "Microsoft.KeyVault/vaults/write", False, GROUP),
        (VAULT, "Microsoft.KeyVault/vaults/read", False, VAULT),
        (GROUP, "Microsoft.Resources/subscriptions/resourceGroups/write", False, GROUP),
        ("/subscriptions/s", "Microsoft.Resources/subscriptions/read", False, "/subscriptions/s"),
        ("/", "Keyfob.Access/decisions/read", False, "/"),
        (f"{VAULT}/providers/Microsoft.Authorization/roleAssignments/x", "M/roleAssignments/write", False, VAULT),
    ],
)
def test_the_remedy_is_narrow(scope: str, action: str, data: bool, at: str) -> None:
    assert str(remedy_scope(ResourceId.parse(scope), action, data)) == at
