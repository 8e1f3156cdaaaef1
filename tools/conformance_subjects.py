"""What official examples stand for: placeholders that no service would take, extensions that must be there first."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_EXTENSION = re.compile(
    r"(?P<scope>/.*)?/providers/Microsoft\.Authorization/(?P<kind>roleAssignments|roleDefinitions|denyAssignments|locks)/(?P<name>[^/]+)",
    re.IGNORECASE,
)
_IDS = {
    "roleassignmentid": "roleAssignments",
    "roledefinitionid": "roleDefinitions",
    "roleid": "roleDefinitions",
    "denyassignmentid": "denyAssignments",
}


_IMAGE = {
    "publishername": "Canonical",
    "offer": "0001-com-ubuntu-server-jammy",
    "skus": "22_04-lts",
    "version": "22.04.202410020",
}
"""An image that is there, for the examples' names of nothing."""


def guid_for(text: str) -> str:
    """The text if it is a GUID, else one that is always the same for it."""
    return text if _GUID.fullmatch(text) else str(uuid.uuid5(uuid.NAMESPACE_URL, text))


def path_value(operation: str, word: str, value: str, subscription: str, *, alone: bool) -> str | None:
    """What to put for `{word}`; None: the example's own value. `alone`: the parameter is the whole path."""
    low = word.lower()
    if alone and low in _IDS:
        if "/denyAssignments/" in value:
            scope, word, name = value.rpartition("/denyAssignments/")
            return re.sub(r"subscriptions/[^/]+", f"subscriptions/{subscription}", f"{scope}{word}{guid_for(name)}")
        if "/" in value:
            return None
        if operation.startswith("RoleAssignments"):
            low = "roleassignmentid"
        base = "" if low == "roleid" else f"subscriptions/{subscription}/"
        name = READER if low in ("roleid",) else guid_for(value)
        return f"{base}providers/Microsoft.Authorization/{_IDS[low]}/{name}"
    if operation == "SystemAssignedIdentities_GetByScope" and low == "scope":
        return f"subscriptions/{subscription}/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm"
    if operation.startswith("VirtualMachineImages_"):
        return _IMAGE.get(low)
    if low in ("roleassignmentname", "roledefinitionid", "denyassignmentid") and not alone:
        return guid_for(value)
    return None


def authorization_body(path: str, body: Any, operator: str, subscription: str) -> Any:
    """Role assignments name the Reader role and the operator's own principal; role definitions have what the service
    demands, wherever the example has a placeholder."""
    found = _EXTENSION.fullmatch(path)
    if found is None or not isinstance(body, dict):
        return body
    kind = found["kind"].lower()
    if kind == "roleassignments":
        properties = {**(body.get("properties") or body)}
        prefix = f"/subscriptions/{subscription}"
        properties["roleDefinitionId"] = f"{prefix}/providers/Microsoft.Authorization/roleDefinitions/{READER}"
        if "principalType" not in properties:
            properties["principalId"] = operator
        return {"properties": properties}
    if kind == "roledefinitions":
        return body if body.get("properties") else extension_body(path, operator, subscription)
    return body


def extension_body(path: str, operator: str, subscription: str) -> Any:
    """A body that makes the extension of that path; None when the path is none."""
    found = _EXTENSION.fullmatch(path)
    if found is None:
        return None
    kind = found["kind"].lower()
    if kind == "roleassignments":
        role = f"/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{READER}"
        return {"properties": {"roleDefinitionId": role, "principalId": operator}}
    if kind == "roledefinitions":
        return {
            "properties": {
                "roleName": f"Role {found['name']}",
                "description": "Role description",
                "type": "CustomRole",
                "permissions": [{"actions": ["Microsoft.Compute/virtualMachines/read"], "notActions": []}],
                "assignableScopes": [found["scope"] or f"/subscriptions/{subscription}"],
            }
        }
    if kind == "denyassignments":
        permissions, nobody = [{"actions": ["*/delete"]}], {"id": guid_for("nobody"), "type": "ServicePrincipal"}
        named = {"denyAssignmentName": found["name"], "permissions": permissions, "principals": [nobody]}
        return {"properties": named}
    return {"properties": {"level": "ReadOnly"}}


@dataclass(frozen=True)
class Step:
    """What must have happened: a request whose path follows from the example's."""

    method: str
    pattern: str
    path: str
    version: str
    body: Any = None
    makes: bool = False
    """Whether the resource at that path is made before."""


_DELETED = Step(
    "DELETE",
    r"/providers/Microsoft\.KeyVault/locations/[^/]+/deletedVaults/([^/]+).*",
    r"/resourceGroups/conformance/providers/Microsoft.KeyVault/vaults/\1",
    "2023-07-01",
    makes=True,
)
_REFERENCE = "@Microsoft.KeyVault(VaultName=keyVaultName;SecretName=secretName;SecretVersion=secretVersion)"
_REFERRING = Step(
    "PUT", r"/configreferences/appsettings.*", "/appsettings", "2023-12-01", {"properties": {"setting": _REFERENCE}}
)
BEFORE: Mapping[str, Step] = {
    "Vaults_GetDeleted": _DELETED,
    "Vaults_PurgeDeleted": _DELETED,
    "WebApps_GetAppSettingsKeyVaultReferences": _REFERRING,
    "WebApps_GetAppSettingsKeyVaultReferencesSlot": _REFERRING,
    "WebApps_GetAppSettingKeyVaultReference": _REFERRING,
    "WebApps_GetAppSettingKeyVaultReferenceSlot": _REFERRING,
}


def preferred_body(type_name: str, tenant: str, wanted: str = "") -> list[Any]:
    """Bodies that suit every example better than the examples' own. `wanted` is the path that the resource is made
    for: what it names below the resource is in it from the start."""
    kind = type_name.lower()
    if kind == "microsoft.logic/workflows":
        found = re.search(r"/triggers/([^/]+)", wanted, re.IGNORECASE)
        triggers = {found[1] if found else "manual": {"type": "Request", "kind": "Http"}}
        return [{"location": "westus", "properties": {"definition": {"triggers": triggers, "actions": {}}}}]
    if kind == "microsoft.containerinstance/containergroups":
        found = re.search(r"/containers/([^/]+)", wanted, re.IGNORECASE)
        resources = {"requests": {"cpu": 1, "memoryInGB": 1.5}}
        inner = {"name": found[1] if found else "one", "properties": {"image": "nginx", "resources": resources}}
        return [{"location": "westus", "properties": {"osType": "Linux", "containers": [inner]}}]
    if kind.endswith("/runcommands"):
        return [{"location": "westus", "properties": {"source": {"script": "true"}}}]
    if kind == "microsoft.keyvault/vaults":
        sku = {"family": "A", "name": "standard"}
        return [{"location": "westus", "properties": {"tenantId": tenant, "sku": sku, "accessPolicies": []}}]
    if kind == "microsoft.compute/virtualmachines":
        return [{"location": "westus", "identity": {"type": "SystemAssigned"}, "properties": {}}]
    if kind == "microsoft.compute/virtualmachinescalesets":
        sku = {"name": "Standard_D2s_v3", "tier": "Standard", "capacity": 2}
        profile = {"storageProfile": {"osDisk": {"createOption": "FromImage"}}}
        policy = {
            "upgradePolicy": {"mode": "Manual"}, "orchestrationMode": "Uniform", "virtualMachineProfile": profile,
        }  # fmt: skip
        return [{"location": "westus", "sku": sku, "properties": policy}]
    return []
