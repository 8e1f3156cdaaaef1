"""`keyfob az`: the machine's az outside the sandbox, signed in here, its user's own configuration untouched."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.clients]


@pytest.fixture
def outside(server, az_installed, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "azureProfile.json").write_text('{"subscriptions": [], "mine": true}')

    def run(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PATH": path if path is not None else f"{az_installed / 'bin'}:{os.environ['PATH']}",
            "AZURE_CONFIG_DIR": str(own),
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "KEYFOB_DATA": str(server.data),
        }
        done = subprocess.run(
            [sys.executable, "-m", "keyfob", "az", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert [path.name for path in own.iterdir()] == ["azureProfile.json"]
        assert "mine" in (own / "azureProfile.json").read_text()
        return done

    return run


def test_it_is_signed_in_as_the_operator(server, outside):
    operator = server.operator()
    shown = outside("account", "show", "-o", "json")
    assert shown.returncode == 0, shown.stderr
    account = json.loads(shown.stdout)
    assert account["user"]["name"] == operator["client_id"]
    assert account["id"] == operator["subscription_id"]
    again = outside("group", "list", "-o", "json")
    assert "signing az in" not in again.stderr
    assert isinstance(json.loads(again.stdout), list)


def test_failures_are_azs_own(outside):
    refused = outside("group", "show", "-n", "there-is-none")
    assert refused.returncode == 3
    assert "(ResourceGroupNotFound)" in refused.stderr


def test_another_tenant_in_a_cloud_that_az_forgot(server, outside):
    server.keyfob("tenant", "create", "outside.de", "--cloud", "AzureGermanCloud")
    made = outside("--tenant", "outside.de", "group", "create", "-n", "there", "-l", "germanycentral", "-o", "json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["location"] == "germanycentral"
    shown = outside("--tenant", "outside.de", "account", "show", "-o", "json")
    assert json.loads(shown.stdout)["environmentName"] == "AzureGermanCloud"


def test_without_az_it_says_how_to_get_it(outside, tmp_path):
    done = outside("group", "list", path=str(tmp_path))
    assert done.returncode == 1
    assert "pipx install azure-cli" in done.stderr


def test_the_secret_is_in_no_argument(server, outside, tmp_path):
    """Other users of a machine see the arguments of its processes."""
    told = tmp_path / "told"
    fake = tmp_path / "bin" / "az"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" >> {told}\n')
    fake.chmod(0o755)
    server.keyfob("tenant", "create", "arguments.example")
    done = outside("--tenant", "arguments.example", "group", "list", path=f"{fake.parent}:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    secret = json.loads((server.data / "operators" / "arguments.example.json").read_text())["client_secret"]
    said = told.read_text()
    assert "login --service-principal" in said
    assert secret not in said
