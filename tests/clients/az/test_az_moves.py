"""`az resource move`: a machine with its network to another group, its identity with it."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]


def test_a_machine_moves_with_its_network_and_identity(az):
    for group in ("az-from", "az-to"):
        az(f"group create -n {group} -l westeurope")
    az("identity create -g az-from -n stays")
    made = az(
        "vm create -g az-from -n mover --image Ubuntu2204 --assign-identity [system] --generate-ssh-keys "
        "--admin-username me"
    )
    principal = made["identity"]["systemAssignedIdentity"]
    rows = az("resource list -g az-from")
    ids = [row["id"] for row in rows if "/userAssignedIdentities/" not in row["id"]]
    assert len(ids) > 3
    identity = next(row["id"] for row in rows if "/userAssignedIdentities/" in row["id"])
    refused = az.fails(f"resource move --destination-group az-to --ids {identity}")
    assert "ResourceMoveNotSupported" in refused
    assert "Microsoft.ManagedIdentity/userAssignedIdentities" in refused
    az(f"resource move --destination-group az-to --ids {' '.join(ids)}")
    assert [row["name"] for row in az("resource list -g az-from")] == ["stays"]
    moved = az("vm show -g az-to -n mover")
    assert moved["identity"]["principalId"] == principal
    (interface,) = [one["id"] for one in moved["networkProfile"]["networkInterfaces"]]
    assert "/resourceGroups/az-to/" in interface
    assert az(f"network nic show --ids {interface}")["resourceGroup"] == "az-to"
    for group in ("az-from", "az-to"):
        az(f"group delete -n {group} --yes")
