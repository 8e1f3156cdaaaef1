"""terraform's azurerm: the libraries that the provider is made of, run for real; the provider itself is not.

`github.com/hashicorp/go-azure-sdk` is where azurerm's environments, authorizers and resource clients come from
(internal/clients/builder.go of hashicorp/terraform-provider-azurerm calls `environments.FromEndpoint` with
`metadata_host`, then builds a client of each service with `NewAuthorizerFromCredentials`).
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from keyfob.clouds.table import load_clouds
from keyfob.hosts.sandbox.run import unavailable

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
CLOUDS = load_clouds()


def run(server, program: str, host: str, *arguments: str) -> Any:
    if sentence := unavailable():
        pytest.skip(sentence)
    done = server.keyfob("run", "--as", host, "--", program, *arguments, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("name", list(CLOUDS))
def test_the_provider_learns_a_cloud(managed, go_terraform, name):
    cloud = CLOUDS[name]
    found = run(managed, go_terraform, "sdk-owner", "cloud", cloud.resource_manager.removeprefix("https://"))
    assert found["name"] == name
    assert found["login"].rstrip("/") == cloud.login
    assert found["manager"].rstrip("/") == cloud.resource_manager
    assert found["audiences"][0] == cloud.management_audience
    assert found["vaults"] == cloud.suffixes["key_vault"]
    assert found["storage"] == cloud.suffixes["storage"]
    assert found["graph"].rstrip("/") == cloud.graph


def test_the_provider_makes_and_removes_resources(managed, go_terraform):
    subscription = managed.operator()["subscription_id"]
    found = run(managed, go_terraform, "sdk-owner", "apply", "management.azure.com", subscription, "sdks", "tf-one")
    assert found == {
        "tags": {"by": "terraform"},
        "type": "SystemAssigned, UserAssigned",
        "principal": True,
        "attached": True,
        "assigned": True,
        "gone": 404,
    }


def test_another_identity_is_refused(managed, go_terraform):
    subscription = managed.operator()["subscription_id"]
    found = run(managed, go_terraform, "sdk-reader", "apply", "management.azure.com", subscription, "sdks", "tf-two")
    assert "AuthorizationFailed" in found["error"]
    assert "unexpected status 403" in found["error"]
