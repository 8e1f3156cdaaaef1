"""What does not conform to the official documents, and why. A test fails on anything else, and on entries of `KNOWN`
that nothing needs.
"""

_NO_BODY = "the example's body is a list, and not under the name of the document's parameter"
_FULL = "Azure says `FULL` where the document has `Full` (azure-cli's recordings)"
_NO_EXPORT = "exports are not made: the API itself is answered"
_UNREAD = "certificates are kept, not read: their subject, thumbprint and end are not known"
_WINDOWS = "the example runs PowerShell: programs of machines run on Linux here"
_NOT_FETCHED = "the example's script is at an address, and scripts are not fetched"
_NO_SOCKET = "there is no web socket to a container"
_NOT_DEPLOYED = "nothing was deployed to the example's site, and nothing runs as it"
_NO_KEYS = "vaults have no keys"
_NO_ROLLBACK = "a deployment that asks for a rollback is refused: none would come"

KNOWN: dict[tuple[str, str, str], str] = {
    ("2016-06-01/subscriptions.json", "checkResourceName", "Check validity for a resource name."): _NO_BODY,
    ("2022-12-01/subscriptions.json", "checkResourceName", "CheckValidityForAResourceName"): _NO_BODY,
    ("2023-05-01/storage.json", "StorageAccounts_ListKeys", "StorageAccountListKeys"): _FULL,
    ("2023-05-01/storage.json", "StorageAccounts_RegenerateKey", "StorageAccountRegenerateKey"): _FULL,
    ("2023-05-01/storage.json", "StorageAccounts_RegenerateKey", "StorageAccountRegenerateKerbKey"): "no Kerberos keys",
    (
        "2020-04-01-preview/authorization-RoleAssignmentsCalls.json",
        "RoleAssignments_Create",
        "Create role assignment",
    ): "conditions of role assignments are refused: they would not be evaluated",
    ("apimapis.json", "ApiExport_Get", "ApiManagementGetApiExportInOpenApi2dot0"): _NO_EXPORT,
    ("apimapis.json", "ApiExport_Get", "ApiManagementGetApiExportInOpenApi3dot0"): _NO_EXPORT,
    ("apimcertificates.json", "Certificate_Get", "*"): _UNREAD,
    ("apimcertificates.json", "Certificate_CreateOrUpdate", "*"): _UNREAD,
    ("runCommand.json", "VirtualMachines_RunCommand", "VirtualMachineRunCommand"): _WINDOWS,
    ("runCommand.json", "VirtualMachineScaleSetVMs_RunCommand", "VirtualMachineScaleSetVMs_RunCommand"): _WINDOWS,
    ("runCommand.json", "VirtualMachineRunCommands_CreateOrUpdate", "Create or update a run command."): _NOT_FETCHED,
    (
        "runCommand.json",
        "VirtualMachineScaleSetVMRunCommands_CreateOrUpdate",
        "Create VirtualMachineScaleSet VM run command.",
    ): _NOT_FETCHED,
    (
        "runCommand.json",
        "VirtualMachineScaleSetVMRunCommands_Update",
        "Update VirtualMachineScaleSet VM run command.",
    ): _NOT_FETCHED,
    ("containerInstance.json", "Container*_ExecuteCommand", "ContainerExec"): _NO_SOCKET,
    ("containerInstance.json", "Containers_Attach", "ContainerAttach"): _NO_SOCKET,
    ("2023-12-01/WebApps.json", "WebApps_GetProductionSiteDeploymentStatus", "Get Deployment Status"): _NOT_DEPLOYED,
    ("2023-12-01/WebApps.json", "WebApps_GetSlotSiteDeploymentStatusSlot", "Get Deployment Status Slot"): _NOT_DEPLOYED,
    ("2023-12-01/WebApps.json", "WebApps_GetInstanceInfo", "Get site instance info"): _NOT_DEPLOYED,
    ("2023-12-01/WebApps.json", "WebApps_GetInstanceInfoSlot", "Get site instance info"): _NOT_DEPLOYED,
    (
        "/resources.json",
        "Deployments_CreateOrUpdate",
        "Create a deployment that will redeploy the last successful deployment on failure",
    ): _NO_ROLLBACK,
    (
        "/resources.json",
        "Deployments_CreateOrUpdate",
        "Create a deployment that will redeploy another deployment on failure",
    ): _NO_ROLLBACK,
    ("2023-07-01/keys.json", "Keys_Get", "Get a key"): _NO_KEYS,
    ("2023-07-01/keys.json", "Keys_CreateIfNotExist", "Create a key"): _NO_KEYS,
}
"""Official examples. Key: the end of the document's path, the operation, the example (`*` for all of the operation)."""

TRAFFIC: dict[tuple[str, str, str], str] = {
    ("2023-05-01/storage.json", "StorageAccounts_*Key*", "*'FULL' is none of*"): _FULL,
    (
        "",
        "*",
        "request: $.identity.type: '[Ss]ystem[Aa]ssigned,[Uu]ser[Aa]ssigned' is none of *",
    ): "az sends both types of identities without a space between them",
}
"""What tests send and get beside their documents, and why. Key: the end of the document's path, the operation, the
sentence; the last two with `*`."""
