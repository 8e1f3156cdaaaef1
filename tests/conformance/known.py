"""Official examples that do not conform, and why. A test fails on any other, and on entries that nothing needs.

Key: the end of the document's path, the operation, the example (`*` for all of the operation).
"""

_NO_DENIAL = "there is no deny assignment to read: no documented operation makes one"

_NO_BODY = "the example's body is not under the name of the document's parameter"
_FULL = "Azure says `FULL` where the document has `Full` (azure-cli's recordings)"

KNOWN: dict[tuple[str, str, str], str] = {
    ("authorization-DenyAssignmentGetCalls.json", "DenyAssignments_Get", "*"): _NO_DENIAL,
    ("authorization-DenyAssignmentGetCalls.json", "DenyAssignments_GetById", "*"): _NO_DENIAL,
    ("authorization-DenyAssignmentCalls.json", "DenyAssignments_Get", "*"): _NO_DENIAL,
    ("authorization-DenyAssignmentCalls.json", "DenyAssignments_GetById", "*"): _NO_DENIAL,
    ("2016-06-01/subscriptions.json", "checkResourceName", "*"): _NO_BODY,
    ("2022-12-01/subscriptions.json", "checkResourceName", "*"): _NO_BODY,
    ("2023-05-01/storage.json", "StorageAccounts_ListKeys", "StorageAccountListKeys"): _FULL,
    ("2023-05-01/storage.json", "StorageAccounts_RegenerateKey", "StorageAccountRegenerateKey"): _FULL,
    ("2023-05-01/storage.json", "StorageAccounts_RegenerateKey", "StorageAccountRegenerateKerbKey"): "no Kerberos keys",
    (
        "2016-11-01/account.json",
        "Accounts_Create",
        "*",
    ): "firewall rules and trusted providers are children of their own",
    ("2016-11-01/account.json", "Accounts_Update", "*"): "says `Updating`, which the document does not know",
    (
        "2020-04-01-preview/authorization-RoleAssignmentsCalls.json",
        "RoleAssignments_Create",
        "*",
    ): "conditions of role assignments are refused: they would not be evaluated",
    ("apimapis.json", "Api_CreateOrUpdate", "*"): "an import's `format` and `value` are not turned into operations",
    ("apimapis.json", "ApiExport_Get", "*"): "exports are not made",
    ("apimcertificates.json", "Certificate_*", "*"): "certificates are kept, not read",
    ("apimdeployment.json", "ApiManagementService_CreateOrUpdate", "*"): "custom host names are not shown in full",
    ("virtualMachineImage.json", "VirtualMachineImages_*", "*"): "only well-known images are there",
    ("2024-03-01/virtualMachineScaleSet.json", "VirtualMachineScaleSet*", "*"): "the example's instances are not there",
    ("containerInstance.json", "ContainerGroups_Delete", "*"): "deleting answers without the group",
    ("containerInstance.json", "Container*_ListLogs", "*"): "the example's container is not there",
    ("2018-06-01/datafactory.json", "IntegrationRuntimes_Update", "*"): "answers in the form of the status",
    ("secrets.json", "Secrets_Get", "*"): "the example's secret is not there",
    ("keys.json", "Keys_*", "*"): "vaults have no keys",
    ("2019-05-01/logic.json", "Workflow*", "*"): "versions and triggers only of what ran",
    ("2023-12-01/WebApps.json", "WebApps_CreateOrUpdate", "*"): "shows its plan's tier, which azure-cli reads",
    ("2023-12-01/WebApps.json", "WebApps_Get*", "*"): "settings in the site's own form; no Key Vault references",
}

_CASE = "az sends both types of identities without a space between them"

TRAFFIC: dict[tuple[str, str, str], str] = {
    ("2023-05-01/storage.json", "StorageAccounts_*Key*", "*'FULL' is none of*"): _FULL,
    ("WebApps.json", "WebApps_*", "reply: $*.properties.sku: no such member"): "azure-cli reads it at this version",
    ("", "*", "request: $.identity.type: 'SystemAssigned,UserAssigned' is none of *"): _CASE,
}
"""What tests send and get beside their documents, and why. Key: the end of the document's path, the operation, the
sentence; the last two with `*`."""
