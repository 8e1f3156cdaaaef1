"""A killed server leaves `server.json` behind, and its process id goes to somebody else: after a reboot, or at once in
a container, where the server is process 1 each time."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

REASON = "a live process with the id in server.json is taken for the server"


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until it is told to end, or its input does."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        yield process
        process.kill()


@pytest.fixture
def left(node: Callable[..., Any], stranger: subprocess.Popen[bytes]) -> Any:
    """The data folder of a killed server whose process id is now the stranger's."""
    server = node()
    server.kill()
    file = server.data / "server.json"
    stale = json.dumps({**json.loads(file.read_text()), "pid": stranger.pid})
    file.write_text(stale)
    yield server
    if file.exists() and file.read_text() == stale:
        file.unlink()


def test_the_next_server_starts(left: Any) -> None:
    left.up()
    assert left.arm().call("GET", "/subscriptions").status == 200


def test_nobody_else_is_stopped(left: Any, stranger: subprocess.Popen[bytes]) -> None:
    left.keyfob("down", check=False)
    assert stranger.poll() is None


def test_it_is_not_said_to_run(left: Any) -> None:
    done = left.keyfob("status", "--output", "json", check=False)
    assert done.returncode == 3
    assert json.loads(done.stdout)["running"] is False


def test_after_a_kill_the_next_server_starts_and_says_so(node: Callable[..., Any]) -> None:
    server = node()
    server.kill()
    assert server.keyfob("status", "--output", "json", check=False).returncode == 3
    assert "No server is running" in server.keyfob("down").stdout
    server.up()
    assert server.keyfob("status", "--output", "json").returncode == 0
    assert server.arm().call("GET", "/subscriptions").status == 200
