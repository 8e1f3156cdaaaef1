"""The example program in five languages, unmodified, on five virtual machines."""

from __future__ import annotations

import subprocess

import pytest

from keyfob.hosts.sandbox.run import unavailable

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
LANGUAGES = ["python", "node", "go", "java", "curl"]

HIDDEN = "Managed Identity authentication is not available."
"""All that azure-identity 1.15 for Java tells of a 400 of the metadata service."""


@pytest.fixture(params=LANGUAGES)
def program(request: pytest.FixtureRequest) -> list[str]:
    if sentence := unavailable():
        pytest.skip(sentence)
    argv: list[str] = request.getfixturevalue(f"{request.param}_program")
    return argv


def read(world, host: str, program: list[str], *more: str) -> subprocess.CompletedProcess[str]:
    subscription = world.operator()["subscription_id"]  # other suites have machines of the same names elsewhere
    machines = f"/subscriptions/{subscription}/resourceGroups/clients/providers/Microsoft.Compute/virtualMachines"
    vault = "https://clients-vault.vault.azure.net"
    return world.keyfob("run", "--as", f"{machines}/{host}", "--", *program, vault, "greeting", *more, check=False)


def test_the_right_identity_reads_the_secret(world, program):
    done = read(world, "right", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == world.value  # a JVM may warn on stdout before


def test_a_user_assigned_identity_by_client_id_reads_it(world, program):
    done = read(world, "user", program, world.client_ids["reader"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == world.value  # a JVM may warn on stdout before


def test_the_wrong_identity_gets_azures_403(world, program):
    done = read(world, "wrong", program)
    assert done.returncode == 1
    assert "Caller is not authorized to perform action on resource" in done.stderr
    assert "Microsoft.KeyVault/vaults/secrets/getSecret/action" in done.stderr
    assert world.value not in done.stdout


def test_no_identity_gets_the_metadata_services_own_error(world, program):
    done = read(world, "none", program)
    assert done.returncode == 1
    assert "Identity not found" in done.stderr or HIDDEN in done.stderr
    assert world.value not in done.stdout


def test_two_user_assigned_identities_and_no_selector(world, program):
    done = read(world, "two", program)
    assert done.returncode == 1
    assert "Multiple user assigned identities exist" in done.stderr or HIDDEN in done.stderr


def test_another_machines_identity_cannot_be_selected(world, program):
    done = read(world, "wrong", program, world.client_ids["reader"])
    assert done.returncode == 1
    assert "Identity not found" in done.stderr or HIDDEN in done.stderr
