"""A first start that is cut short leaves nothing that a second one cannot finish."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def works(server: Any) -> None:
    """The operator signs in, owns everything, and a machine of its making has an identity."""
    arm = server.arm()
    assert len(arm.must("GET", "/subscriptions")["value"]) == 1
    arm.must("PUT", server.group("first"), {"location": "westeurope"})
    body = {"location": "westeurope", "identity": {"type": "SystemAssigned"}}
    machine = arm.must("PUT", server.machine("first", "one"), body)
    assert arm.principal(machine["identity"]["principalId"]).status == 200


@pytest.mark.parametrize("moment", ["master.key", "ca/authority.pem", "keyfob.db-wal", "operator.json", "control.sock"])
def test_killed_when_it_had_just_made(moment: str, tmp_path: Path, node: Callable[..., Any]) -> None:
    data = tmp_path / "data"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KEYFOB_")}
    command = [sys.executable, "-m", "keyfob", "up", "--data", str(data), "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            deadline = time.monotonic() + 30
            while not os.path.exists(data / moment):
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < deadline
        finally:
            process.kill()
    works(node(data=data))


def test_an_operator_file_that_could_not_be_written_is_written_by_the_next_start(
    tmp_path: Path, node: Callable[..., Any]
) -> None:
    data = tmp_path / "data"
    (data / "operator.json").mkdir(parents=True)
    with pytest.raises(AssertionError, match="did not start"):
        node(data=data)
    (data / "operator.json").rmdir()
    works(node(data=data))
