"""Azure's management libraries for Python, unmodified, on a virtual machine that may manage its group, and on one
that may not."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from keyfob.hosts.sandbox.run import unavailable

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
PROGRAM = Path(__file__).parent / "management" / "manage.py"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
GROUP = "sdks"


@pytest.fixture(scope="module", autouse=True)
def sandbox():
    if sentence := unavailable():
        pytest.skip(sentence)


def run(server, part: str, name: str, host: str = "sdk-owner") -> Any:
    subscription = server.operator()["subscription_id"]
    done = server.keyfob(
        "run", "--as", host, "--", sys.executable, str(PROGRAM), part, subscription, GROUP, name, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_identities_and_their_federated_credentials(managed):
    found = run(managed, "identities", "py-identity")
    assert found == {
        "same": True,
        "tenant": managed.operator()["tenant_id"],
        "tags": {"team": "one"},
        "listed": True,
        "federated": ["repo:contoso/app:ref:refs/heads/main", ["pipeline"], []],
        "gone": True,
    }


def test_machines_gain_and_lose_identities(managed):
    found = run(managed, "machines", "py-machine")
    power = found.pop("power")
    assert found == {
        "state": "Succeeded",
        "principal": True,
        "kept": True,
        "attached": True,
        "types": ["SystemAssigned", "SystemAssigned, UserAssigned", "UserAssigned", None],
        "without": None,
        "listed": True,
        "gone": True,
    }
    assert "PowerState/running" in power


def test_role_assignments(managed):
    assert run(managed, "assignments", "py-role") == {"role": READER, "scope": True, "mine": True, "left": []}


def test_groups_and_generic_resources(managed):
    assert run(managed, "groups", "py-group") == {
        "state": "Succeeded",
        "there": True,
        "principal": True,
        "listed": ["one"],
        "provider": "Registered",
        "gone": True,
    }


def test_vaults(managed):
    assert run(managed, "vaults", "py-vault") == {
        "uri": "https://py-vault.vault.azure.net/",
        "listed": True,
        "gone": True,
    }


def test_sites_and_their_settings(managed):
    assert run(managed, "sites", "py-site") == {
        "type": "SystemAssigned",
        "principal": True,
        "host": "py-site.azurewebsites.net",
        "settings": {"COLOUR": "blue"},
        "listed": True,
        "gone": True,
    }


def test_container_groups(managed):
    assert run(managed, "containers", "py-containers") == {
        "state": "Succeeded",
        "type": "SystemAssigned",
        "principal": True,
        "listed": True,
        "gone": True,
    }


@pytest.mark.parametrize("part", ["identities", "machines", "groups", "vaults", "sites", "containers"])
def test_another_identity_is_refused(managed, part):
    found = run(managed, part, "py-refused", host="sdk-reader")
    assert found["status"] == 403, found
    assert found["code"] == "AuthorizationFailed"
    assert "does not have authorization to perform action 'Microsoft." in found["message"]


def test_the_libraries_are_not_told_of_us():
    assert "keyfob" not in PROGRAM.read_text().replace("nothing here knows of Keyfob", "").lower()
    assert not [name for name in os.environ if name.startswith("AZURE_")]
