"""Azure's management libraries for Go, unmodified, on a machine that may and on one that may not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keyfob.hosts.sandbox.run import unavailable

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]


def run(server, program: str, host: str, name: str) -> Any:
    if sentence := unavailable():
        pytest.skip(sentence)
    subscription = server.operator()["subscription_id"]
    done = server.keyfob("run", "--as", host, "--", program, subscription, "sdks", name, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_identity_role_and_machine(managed, go_management):
    assert run(managed, go_management, "sdk-owner", "go-one") == {
        "tenant": managed.operator()["tenant_id"],
        "federated": ["cluster"],
        "assignment": "RoleAssignmentNotFound",
        "type": "SystemAssigned, UserAssigned",
        "principal": True,
        "attached": True,
        "none": True,
        "gone": "ResourceNotFound",
    }


def test_another_identity_is_refused(managed, go_management):
    assert run(managed, go_management, "sdk-reader", "go-two") == {"status": 403, "code": "AuthorizationFailed"}
