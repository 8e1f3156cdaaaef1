"""The servers of these tests are watched, as the applications of all other tests are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def test_a_server_process_says_what_is_beside_the_documents(node: Callable[..., Any]) -> None:
    server = node()
    if server.deviations is None:
        pytest.skip("the official OpenAPI documents are not here (KEYFOB_OPENAPI names their folder)")
    arm = server.arm()
    arm.must("PUT", server.group("watched"), {"location": "westeurope"})
    user = arm.must("PUT", server.identity("watched", "user"), {"location": "westeurope"})["id"]
    both = {"type": "SystemAssigned,UserAssigned", "userAssignedIdentities": {user: {}}}
    path = server.machine("watched", "vm") + "?api-version=2024-03-01"
    arm.must("PUT", path, {"location": "westeurope", "identity": both, "properties": {}})
    assert "'SystemAssigned,UserAssigned' is none of" in server.deviations.read_text()  # known: az spells it so
