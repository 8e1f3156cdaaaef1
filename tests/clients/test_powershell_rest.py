"""The calls that the documentation's PowerShell pages make, as a table: PowerShell itself is not run.

Where the calls come from, in github.com/Azure/azure-powershell:
- Az.ManagedServiceIdentity: src/ManagedServiceIdentity/ManagedServiceIdentity.Autorest/test/*.Recording.json
  (api-version 2023-01-31; resource ids of `Get-AzSystemAssignedIdentity` follow a second slash)
- Az.Resources: src/Resources/Resources.Test/SessionRecords/….RoleAssignmentTests/RaByServicePrincipal.json (role
  definitions 2022-05-01-preview, role assignments 2020-08-01-preview, a second slash before `subscriptions`, and the
  principal looked for among users and then service principals of Graph)
- Az.Compute: `Update-AzVM` reads the machine and puts all of it back with another `identity`
  (src/Compute/Compute/VirtualMachine/Operation/UpdateAzureVMCommand.cs); user-assigned ids are keys with empty objects.
  The api-version of its sessions in 2018 (….VirtualMachineTests/TestVirtualMachineIdentity.json) is 2018-06-01.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from keyfob.cli.client import Client

pytestmark = pytest.mark.clients
ARM, GRAPH = "https://management.azure.com", "https://graph.microsoft.com"
GROUP = "/subscriptions/{s}/resourceGroups/powershell"
USERS = GROUP + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
MACHINES = GROUP + "/providers/Microsoft.Compute/virtualMachines"
SETS = GROUP + "/providers/Microsoft.Compute/virtualMachineScaleSets"
SITES = GROUP + "/providers/Microsoft.Web/sites"
AUTHORIZATION = "//subscriptions/{s}/providers/Microsoft.Authorization"
READER = "/subscriptions/{s}/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7"
MSI, ROLES, DEFINITIONS = "2023-01-31", "2020-08-01-preview", "2022-05-01-preview"
COMPUTE, WEB = "2018-06-01", "2023-12-01"


@dataclass(frozen=True)
class Step:
    """One call. Texts may name what earlier steps remembered, as `{name}`; `shows` are members of the reply by path."""

    cmdlet: str
    method: str
    path: str
    version: str
    body: Any = None
    status: int | tuple[int, ...] = 200
    shows: dict[str, Any] = field(default_factory=dict)
    remember: dict[str, str] = field(default_factory=dict)
    host: str = ARM


def identity(type: str, *ids: str) -> dict[str, Any]:
    return {"type": type, **({"userAssignedIdentities": {id: {} for id in ids}} if ids else {})}


def machine(version: str, kind: str, name: str, found: dict[str, Any]) -> list[Step]:
    """`Update-AzVM -IdentityType … [-IdentityId …]` on a machine made with `New-AzVMConfig -IdentityType`."""
    path, whole = f"{kind}/{name}", {"location": "westeurope", "tags": {}, **found}
    both = "SystemAssigned, UserAssigned"
    own, user, second = "identity.principalId", "{user_id}", "{second_id}"
    principal = {"own": own}

    def put(cmdlet: str, block: Any, status: Any = 200, **more: Any) -> Step:
        return Step(cmdlet, "PUT", path, version, {**whole, "identity": block}, status, **more)

    return [
        put("New-AzVM", identity("SystemAssigned"), 201, shows={"identity.type": "SystemAssigned"}, remember=principal),
        Step("Get-AzVM", "GET", path, version, shows={own: "{own}"}),
        put("Update-AzVM -IdentityType SystemAssigned", identity("SystemAssigned"), shows={own: "{own}"}),
        put(
            "Update-AzVM -IdentityType SystemAssignedUserAssigned -IdentityId",
            identity(both, user),
            shows={"identity.type": both, own: "{own}"},
        ),
        put(
            "Update-AzVM -IdentityType UserAssigned -IdentityId",
            identity("UserAssigned", user, second),
            shows={"identity.type": "UserAssigned", own: None},
        ),
        put("Update-AzVM -IdentityType None", identity("None"), shows={"identity": None}),
        Step("Remove-AzVM", "DELETE", path, version, status=(200, 202)),
    ]


PAGES: dict[str, list[Step]] = {
    "how-to-manage-ua-identity-powershell": [
        Step(
            "New-AzUserAssignedIdentity",
            "PUT",
            f"{USERS}/page",
            MSI,
            {"location": "West Europe"},
            201,
            {"location": "westeurope", "type": "Microsoft.ManagedIdentity/userAssignedIdentities"},
        ),
        Step("Get-AzUserAssignedIdentity", "GET", f"{USERS}/page", MSI, shows={"name": "page"}),
        Step("Get-AzUserAssignedIdentity -ResourceGroupName", "GET", USERS, MSI),
        Step(
            "Get-AzUserAssignedIdentity",
            "GET",
            "/subscriptions/{s}/providers/Microsoft.ManagedIdentity/userAssignedIdentities",
            MSI,
        ),
        Step(
            "Update-AzUserAssignedIdentity -Tag",
            "PATCH",
            f"{USERS}/page",
            MSI,
            {"tags": {"key02": "value02", "key01": "value01"}},
            shows={"tags": {"key01": "value01", "key02": "value02"}},
        ),
        Step(
            "New-AzFederatedIdentityCredential",
            "PUT",
            f"{USERS}/page/federatedIdentityCredentials/one",
            MSI,
            {
                "properties": {
                    "issuer": "https://kubernetes-oauth.azure.example",
                    "subject": "system:serviceaccount:ns:svcaccount",
                    "audiences": ["api://AzureADTokenExchange"],
                }
            },
            201,
            {"properties.audiences": ["api://AzureADTokenExchange"]},
        ),
        Step("Get-AzFederatedIdentityCredential", "GET", f"{USERS}/page/federatedIdentityCredentials", MSI),
        Step("Remove-AzFederatedIdentityCredential", "DELETE", f"{USERS}/page/federatedIdentityCredentials/one", MSI),
        Step("Remove-AzUserAssignedIdentity", "DELETE", f"{USERS}/page", MSI),
        Step("Remove-AzUserAssignedIdentity, again", "DELETE", f"{USERS}/page", MSI, status=204),
    ],
    "qs-configure-powershell-windows-vm": machine(COMPUTE, MACHINES, "ps-machine", {}),
    "qs-configure-powershell-windows-vmss": machine(
        COMPUTE, SETS, "ps-set", {"sku": {"name": "Standard_DS1_v2", "tier": "Standard", "capacity": 1}}
    ),
    "overview-managed-identity (App Service)": [
        Step(
            "Set-AzWebApp -AssignIdentity $true",
            "PUT",
            f"{SITES}/ps-site",
            WEB,
            {"location": "westeurope", "kind": "app", "identity": identity("SystemAssigned"), "properties": {}},
            (200, 201),
            {"identity.type": "SystemAssigned"},
            {"own": "identity.principalId"},
        ),
        Step(
            "Get-AzSystemAssignedIdentity -Scope",
            "GET",
            f"/{SITES}/ps-site/providers/Microsoft.ManagedIdentity/identities/default",
            MSI,
            shows={"properties.principalId": "{own}", "properties.tenantId": "{t}"},
        ),
        Step(
            "Update-AzFunctionApp -IdentityType UserAssigned -IdentityId",
            "PATCH",
            f"{SITES}/ps-site",
            WEB,
            {"identity": identity("UserAssigned", "{user_id}")},
            shows={"identity.type": "UserAssigned"},
        ),
    ],
    "howto-assign-access-powershell": [
        Step("Get-AzADServicePrincipal", "GET", "/v1.0/users/{user}", "", status=404, host=GRAPH),
        Step(
            "New-AzRoleAssignment -ObjectId",
            "GET",
            "/v1.0/servicePrincipals/{user}",
            "",
            shows={"id": "{user}", "servicePrincipalType": "ManagedIdentity"},
            host=GRAPH,
        ),
        Step(
            "New-AzRoleAssignment -RoleDefinitionName",
            "GET",
            AUTHORIZATION + "/roleDefinitions?$filter=roleName%20eq%20'Reader'",
            DEFINITIONS,
            shows={"value.0.properties.roleName": "Reader", "value.0.id": READER},
        ),
        Step(
            "New-AzRoleAssignment -Scope",
            "PUT",
            "/" + GROUP + "/providers/Microsoft.Authorization/roleAssignments/238799bf-1a93-45d7-820d-f3edbaeb3bc7",
            ROLES,
            {
                "properties": {
                    "principalType": "ServicePrincipal",
                    "roleDefinitionId": READER,
                    "principalId": "{user}",
                }
            },
            201,
            {"properties.principalType": "ServicePrincipal", "properties.scope": GROUP},
            {"assignment": "id"},
        ),
        Step(
            "Get-AzRoleAssignment -ObjectId",
            "GET",
            AUTHORIZATION + "/roleAssignments?$filter=principalId%20eq%20'{user}'",
            ROLES,
            shows={"value.0.properties.principalId": "{user}"},
        ),
        Step("Remove-AzRoleAssignment", "DELETE", "/{assignment}", ROLES),
        Step("Remove-AzRoleAssignment, again", "DELETE", "/{assignment}", ROLES, status=204),
    ],
}


class Session:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.known = {"s": client.operator["subscription_id"], "t": client.operator["tenant_id"]}

    def filled(self, value: Any) -> Any:
        """`value` with every `{name}` that is known put in; JSON's own braces are left alone."""
        text = json.dumps(value)
        for name, known in self.known.items():
            text = text.replace(f"{{{name}}}", known)
        return json.loads(text)

    def call(self, step: Step) -> None:
        path = self.filled(step.path)
        url = step.host + path
        if step.version:
            url += ("&" if "?" in path else "?") + f"api-version={step.version}"
        headers = {"Authorization": f"Bearer {self.client.token(step.host)}", "Accept-Language": "en-US"}
        body = None
        if step.body is not None:
            headers["Content-Type"] = "application/json; charset=utf-8"
            body = json.dumps(self.filled(step.body), indent=2).replace("\n", "\r\n").encode()
        answer = self.client.send(step.method, url, headers, body)
        allowed = step.status if isinstance(step.status, tuple) else (step.status,)
        assert answer.status in allowed, (step.cmdlet, answer.body)
        found = json.loads(answer.body) if answer.body else {}
        for where, expected in step.shows.items():
            assert dig(found, where) == self.filled(expected), (step.cmdlet, where, found)
        self.known |= {name: dig(found, where) for name, where in step.remember.items()}


def dig(value: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(value, list):
            value = value[int(part)] if len(value) > int(part) else None
        else:
            value = (value or {}).get(part)
    return value


@pytest.fixture(scope="module")
def session(server) -> Session:
    made = Session(Client(server.data))
    answer = made.client.arm("PUT", made.filled(GROUP), {"location": "westeurope"}, api_version="2024-11-01")
    assert answer.status in (200, 201)
    for name, key in (("ps-user", "user"), ("ps-second", "second")):
        made.call(
            Step(
                "New-AzUserAssignedIdentity",
                "PUT",
                f"{USERS}/{name}",
                MSI,
                {"location": "West Europe"},
                201,
                remember={f"{key}_id": "id", key: "properties.principalId"},
            )
        )
    return made


@pytest.mark.parametrize("page", list(PAGES))
def test_the_calls_of_a_page(session, page):
    for step in PAGES[page]:
        session.call(step)
