"""Identities, and who carries them: every change that az makes to a host's identity, and what must come of it."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
GROUP = "az-identities"

HOSTS = {
    "vm": ("Microsoft.Compute/virtualMachines", "2024-11-01", {}),
    "vmss": (
        "Microsoft.Compute/virtualMachineScaleSets",
        "2024-11-01",
        {
            "sku": {"name": "Standard_B1s", "tier": "Standard", "capacity": 0},
            "properties": {"upgradePolicy": {"mode": "Manual"}, "virtualMachineProfile": {}},
        },
    ),
    "webapp": ("Microsoft.Web/sites", "2024-04-01", {"kind": "app"}),
    "functionapp": ("Microsoft.Web/sites", "2024-04-01", {"kind": "functionapp"}),
}
# what the host has before, the command, what it has after; S is its own identity
CHANGES = [
    ("", "assign", "S"),
    ("one", "assign", "S one"),
    ("S", "assign --identities two", "S two"),
    ("one", "assign --identities two", "one two"),
    ("S one two", "assign", "S one two"),
    ("S", "remove", ""),
    ("S one two", "remove", "one two"),
    ("S one two", "remove --identities one", "S two"),
    ("S one", "remove --identities one", "S"),
    ("one", "remove --identities one", ""),
    ("one two", "remove --identities one", "two"),
]


@pytest.fixture(scope="module")
def users(az):
    az(f"group create -n {GROUP} -l westeurope")
    return {name: az(f"identity create -g {GROUP} -n {name}-identity") for name in ("one", "two")}


def block(given: str, users) -> dict[str, object]:
    words = given.split()
    kinds = ["SystemAssigned"] * ("S" in words) + ["UserAssigned"] * any(word in users for word in words)
    chosen = {users[word]["id"]: {} for word in words if word in users}
    return {"type": ", ".join(kinds) or "None", **({"userAssignedIdentities": chosen} if chosen else {})}


def seen(identity, users) -> str:
    if not identity:
        return ""
    words = ["S"] if identity.get("principalId") else []
    there = {key.lower() for key in identity.get("userAssignedIdentities") or {}}
    words += [name for name, one in users.items() if one["id"].lower() in there]
    assert len(there) == len([word for word in words if word != "S"])
    return " ".join(words)


@pytest.mark.parametrize("host", HOSTS)
def test_identities_of_a_host(az, az_server, users, host):
    kind, version, document = HOSTS[host]
    subscription = az_server.operator()["subscription_id"]
    for number, (before, change, after) in enumerate(CHANGES):
        command, name = change, f"az-{host}-{number}"
        path = f"/subscriptions/{subscription}/resourceGroups/{GROUP}/providers/{kind}/{name}?api-version={version}"
        made = az_server.rest("PUT", path, {"location": "westeurope", "identity": block(before, users), **document})
        verb, _, short = command.partition(" --identities ")
        command = f"{verb} --identities {users[short]['id']}" if short else verb
        az(f"{host} identity {command} -g {GROUP} -n {name}")
        what = f"{host}: {before or 'nothing'} → {command}"
        shown = az(f"{host} identity show -g {GROUP} -n {name}")
        assert seen(shown, users) == after, what
        stored = az_server.rest("GET", path).get("identity") or {}
        assert seen(stored, users) == after, what
        if "S" in before and "S" in after:
            assert stored["principalId"] == made["identity"]["principalId"], what


def test_a_container_group(az, az_server, users):
    made = az(
        f"container create -g {GROUP} -n az-container -l westeurope --image alpine --os-type Linux --cpu 1 --memory 1"
        f" --command-line 'sleep 9' --assign-identity [system] {users['one']['id']}"
    )
    assert seen(made["identity"], users) == "S one"
    titles, rows = az.table(f"container list -g {GROUP}")
    assert titles[0] == "Name"
    assert len(rows) == 1
    az(f"container delete -g {GROUP} -n az-container -y")


def test_an_identity(az, users):
    made = az(f"identity create -g {GROUP} -n of-its-own -l northeurope --tags k=v")
    assert (made["location"], made["tags"]) == ("northeurope", {"k": "v"})
    titles, rows = az.table(f"identity list -g {GROUP}")
    assert titles == ["ClientId", "Location", "Name", "PrincipalId", "ResourceGroup", "TenantId"]
    assert len(rows) == 3
    federated = f"-g {GROUP} --identity-name of-its-own -n from-elsewhere"
    trust = "--issuer https://issuer.example --subject one --audiences api://AzureADTokenExchange"
    assert az(f"identity federated-credential create {federated} {trust}")["subject"] == "one"
    changed = trust.replace("--subject one", "--subject other")
    assert az(f"identity federated-credential update {federated} {changed}")["subject"] == "other"
    listed = az(f"identity federated-credential list -g {GROUP} --identity-name of-its-own")
    assert [one["name"] for one in listed] == ["from-elsewhere"]
    az(f"identity federated-credential delete {federated} -y")
    assert "ResourceNotFound" in az.fails(f"identity federated-credential show {federated}")
    az(f"identity delete -g {GROUP} -n of-its-own")
    assert "ResourceNotFound" in az.fails(f"identity show -g {GROUP} -n of-its-own")


def test_where_an_identity_is_used(az, az_server, users):
    subscription = az_server.operator()["subscription_id"]
    machine = f"/subscriptions/{subscription}/resourceGroups/{GROUP}/providers/Microsoft.Compute/virtualMachines/user"
    document = {"location": "westeurope", "identity": block("two", users)}
    az_server.rest("PUT", f"{machine}?api-version=2024-11-01", document)
    used = az(f"identity list-resources -g {GROUP} -n two-identity")
    assert machine.lower() in [one["id"].lower() for one in used]


def test_who_may_not_attach_an_identity(az, az_on, az_server, users):
    """Virtual Machine Contributor changes machines, and may not hand out identities: that is another role."""
    scope = users["one"]["id"].partition("/providers/")[0]
    made = az(f"ad sp create-for-rbac -n az-machinist --role 'Virtual Machine Contributor' --scopes {scope}")
    path = f"{scope}/providers/Microsoft.Compute/virtualMachines/guarded?api-version=2024-11-01"
    az_server.rest("PUT", path, {"location": "westeurope"})
    machinist = az_on()
    machinist(f"login --service-principal -u {made['appId']} -p={made['password']} --tenant {made['tenant']}")
    attach = f"vm identity assign -g {GROUP} -n guarded --identities {users['one']['id']}"
    assert "LinkedAuthorizationFailed" in machinist.fails(attach)
    machinist(f"vm identity assign -g {GROUP} -n guarded")
    az(
        f"role assignment create --assignee {made['appId']} --role 'Managed Identity Operator'"
        f" --scope {users['one']['id']}"
    )
    machinist(attach)
    assert "AuthorizationFailed" in machinist.fails(f"identity delete -g {GROUP} -n one-identity")
