"""Whoever may not: each of the eight hosts, by az's own commands and by `az rest`, says what Azure says, and stays as
it was. `reader` may not write; `keeper` may write everything, and may not hand out identities.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
GROUP = "az-guarded"
WORKFLOW = "https://schema.management.azure.com/providers/Microsoft.Logic/schemas/2016-06-01/workflowdefinition.json#"
SET = {
    "sku": {"name": "Standard_B1s", "tier": "Standard", "capacity": 0},
    "properties": {"upgradePolicy": {"mode": "Manual"}, "virtualMachineProfile": {}},
}
ONE = {"name": "one", "properties": {"image": "nginx", "resources": {"requests": {"cpu": 1, "memoryInGB": 1}}}}
HOSTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "vm": ("Microsoft.Compute/virtualMachines", "2024-11-01", {}),
    "vmss": ("Microsoft.Compute/virtualMachineScaleSets", "2024-11-01", SET),
    "webapp": ("Microsoft.Web/sites", "2024-04-01", {"kind": "app"}),
    "functionapp": ("Microsoft.Web/sites", "2024-04-01", {"kind": "functionapp"}),
    "workflow": (
        "Microsoft.Logic/workflows",
        "2019-05-01",
        {"properties": {"definition": {"$schema": WORKFLOW, "contentVersion": "1.0.0.0", "actions": {}}}},
    ),
    "factory": ("Microsoft.DataFactory/factories", "2018-06-01", {}),
    "gateway": (
        "Microsoft.ApiManagement/service",
        "2022-08-01",
        {
            "sku": {"name": "Developer", "capacity": 1},
            "properties": {"publisherEmail": "a@example.com", "publisherName": "A"},
        },
    ),
    "containers": (
        "Microsoft.ContainerInstance/containerGroups",
        "2023-05-01",
        {"properties": {"osType": "Linux", "containers": [ONE]}},
    ),
}
COMMANDS = {
    **{
        f"{host}-identity-assign": (host, f"{host} identity assign {{one}} --identities {{user}}")
        for host in ("vm", "vmss", "webapp", "functionapp")
    },
    "container-create": (
        "containers",
        "container create {one} --image nginx --os-type Linux --cpu 1 --memory 1 --assign-identity {user}",
    ),
}
"""Of the other hosts az either has no command, or none that takes a user-assigned identity: see `az rest`."""
ASSIGN = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"


@pytest.fixture(scope="module")
def guarded(az, az_on, az_server, tmp_path_factory) -> dict[str, Any]:
    """The group with an identity and the eight hosts in it, and an az of each of the two."""
    scope = az(f"group create -n {GROUP} -l westeurope")["id"]
    file = tmp_path_factory.mktemp("roles") / "keeper.json"
    role = {"Name": "Keeps hosts, hands out nothing", "Actions": ["*"], "NotActions": [ASSIGN]}
    file.write_text(json.dumps({**role, "AssignableScopes": [scope]}))
    az(f"role definition create --role-definition {file}")
    for name, (kind, version, body) in HOSTS.items():
        path = f"{scope}/providers/{kind}/guarded-{name}?api-version={version}"
        az_server.rest("PUT", path, {"location": "westeurope", **body})
    callers = {}
    for name, role_name in (("reader", "Reader"), ("keeper", role["Name"])):
        made = az(f"ad sp create-for-rbac -n az-{name} --role '{role_name}' --scopes {scope}")
        callers[name] = az_on()
        callers[name](f"login --service-principal -u {made['appId']} -p={made['password']} --tenant {made['tenant']}")
    return {"scope": scope, "user": az(f"identity create -g {GROUP} -n guarded-user")["id"], **callers}


def identity_of(az_server, guarded, host: str) -> Any:
    kind, version, _ = HOSTS[host]
    path = f"{guarded['scope']}/providers/{kind}/guarded-{host}?api-version={version}"
    return az_server.rest("GET", path).get("identity")


def refusals(guarded, command: str) -> None:
    """Both are refused, each for its own reason, which names what was missing."""
    said = guarded["reader"].fails(command)
    assert "(AuthorizationFailed)" in said or '"code":"AuthorizationFailed"' in said
    assert "/write" in said
    said = guarded["keeper"].fails(command)
    assert "(LinkedAuthorizationFailed)" in said or '"code":"LinkedAuthorizationFailed"' in said
    assert ASSIGN in said
    assert "guarded-user" in said


@pytest.mark.parametrize("command", list(COMMANDS))
def test_commands(az_server, guarded, command):
    host, text = COMMANDS[command]
    refusals(guarded, text.format(one=f"-g {GROUP} -n guarded-{host}", user=guarded["user"]))
    assert not identity_of(az_server, guarded, host)


@pytest.mark.parametrize("host", list(HOSTS))
def test_az_rest(az_server, guarded, host):
    before = identity_of(az_server, guarded, host)
    kind, version, body = HOSTS[host]
    url = f"{guarded['scope']}/providers/{kind}/guarded-{host}?api-version={version}"
    identity = {"type": "UserAssigned", "userAssignedIdentities": {guarded["user"]: {}}}
    wanted = json.dumps({"location": "westeurope", **body, "identity": identity})
    refusals(guarded, f"rest --method put --url {url} --body '{wanted}'")
    assert identity_of(az_server, guarded, host) == before


def test_an_identity_that_is_not_there_is_refused_in_the_same_words(guarded):
    """So that nobody learns what exists by asking for it."""
    missing = guarded["user"].replace("guarded-user", "guarded-user-gone")
    said = guarded["keeper"].fails(f"vm identity assign -g {GROUP} -n guarded-vm --identities {missing}")
    assert "(LinkedAuthorizationFailed)" in said


def test_what_the_keeper_may(guarded, az_server):
    """An identity of the host's own is nobody else's to hand out."""
    assert guarded["keeper"](f"apim update -g {GROUP} -n guarded-gateway --enable-managed-identity true")["identity"]
    refused = guarded["reader"].fails(f"apim update -g {GROUP} -n guarded-gateway --enable-managed-identity true")
    assert "(AuthorizationFailed)" in refused
    kind, version, body = HOSTS["gateway"]
    url = f"{guarded['scope']}/providers/{kind}/guarded-gateway"
    az_server.rest(
        "PUT", f"{url}?api-version={version}", {"location": "westeurope", **body, "identity": {"type": "None"}}
    )
    assert not identity_of(az_server, guarded, "gateway")
