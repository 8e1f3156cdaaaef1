"""`keyfob hosts`, `logs`, `top` and `shell` with a running server."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from keyfob.hosts.sandbox.run import unavailable

WITHIN = 120.0


@pytest.fixture(scope="module")
def server(node: Callable[..., Any]) -> Any:
    running = node()
    arm = running.arm()
    arm.must("PUT", running.group("seen"), {"location": "westeurope"})
    body = {"location": "westeurope", "identity": {"type": "SystemAssigned"}}
    arm.must("PUT", running.machine("seen", "web"), body)
    fleet = f"{running.group('seen')}/providers/Microsoft.Compute/virtualMachineScaleSets/fleet"
    arm.must("PUT", fleet, {**body, "sku": {"name": "Standard_B1s", "capacity": 2}})
    return running


@pytest.fixture
def arm(server: Any) -> Iterator[Any]:
    yield server.arm()
    server.hang_up()


@pytest.fixture
def namespaces() -> None:
    if reason := unavailable():
        pytest.skip(reason)


def started(server: Any, *arguments: str, **more: Any) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KEYFOB_")}
    return subprocess.Popen(
        [sys.executable, "-m", "keyfob", *arguments],
        env={**environment, "KEYFOB_DATA": str(server.data), **more.pop("environment", {})},
        **more,
    )


def hosts(server: Any) -> dict[str, Any]:
    return {row["name"]: row for row in json.loads(server.keyfob("hosts", "--output", "json").stdout)}


def test_hosts_and_top_count_what_programs_ask(server: Any, arm: Any, host: Any) -> None:
    assert set(hosts(server)) == {"web", "fleet_0", "fleet_1"}
    line = server.host(arm.endpoint(server.machine("seen", "web")))
    before = hosts(server)["web"]["tokens"]
    for _ in range(30):
        assert line.ask("GET", host.target(), headers=host.metadata).status == 200
    assert line.ask("GET", host.target(client_id="nobody"), headers=host.metadata).status == 400
    after = hosts(server)["web"]
    assert (after["tokens"]["given"] - before["given"], after["tokens"]["refused"] - before["refused"]) == (30, 1)
    assert (after["endpoints"], after["tokens"]["last"]["resource"]) == (1, host.arm)
    told = json.loads(server.keyfob("top", "--once", "--interval", "0.1", "--output", "json").stdout)
    (row,) = [one for one in told["hosts"] if one["name"] == "web"]
    assert row["tokens"] == {"given": after["tokens"]["given"], "refused": after["tokens"]["refused"]}
    shown = server.keyfob("top", "--once", "--interval", "0.1").stdout
    assert "keyfob top   3 hosts" in shown
    assert "token/s" in shown
    table = server.keyfob("hosts").stdout
    assert "1 endpoint" in table
    assert "scale set instance" in table


def test_top_needs_a_terminal_or_once(server: Any) -> None:
    for arguments in (("top",), ("top", "--output", "json")):
        done = server.keyfob(*arguments, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "keyfob top --once" in done.stderr


def test_logs_are_followed(server: Any, arm: Any, namespaces: None) -> None:
    machine = server.machine("seen", "web")
    assert server.keyfob("logs", "web").stdout == ""

    def script(text: str) -> None:
        body = {"commandId": "RunShellScript", "script": [text]}
        begun = arm.call("POST", f"{machine}/runCommand", body)
        assert arm.finished(begun, within=WITHIN) == "Succeeded"

    script("echo one; echo two >&2")
    told = server.keyfob("logs", "web").stdout
    assert [line.split(" ", 1)[1].split()[0] for line in told.splitlines()] == ["run-command"] * 4
    assert told.splitlines()[1].endswith(" one")
    assert server.keyfob("logs", "web", "--source", "run-command", "-n", "2").stdout.count("\n") == 2
    missing = server.keyfob("logs", "web", "--source", "nothing", check=False)
    assert missing.returncode == 1
    assert "run-command" in missing.stderr
    following = started(server, "logs", "web", "--follow", "-n", "1", stdout=subprocess.PIPE)
    try:
        assert following.stdout is not None
        assert b"exit code 0" in following.stdout.readline()
        script("echo three")
        heard = [following.stdout.readline() for _ in range(3)]
        assert heard[1].endswith(b" three\n")
    finally:
        following.terminate()
        following.communicate()


def test_a_shell_is_on_the_host(server: Any, namespaces: None) -> None:
    """On a terminal: with a prompt that names the host, and the host's own metadata."""
    ours, theirs = pty.openpty()
    process = started(
        server,
        "shell",
        "--as",
        "fleet_1",
        environment={"SHELL": "/bin/sh"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    heard = b""

    def until(text: bytes) -> None:
        nonlocal heard
        deadline = time.monotonic() + WITHIN
        while text not in heard:
            assert time.monotonic() < deadline, heard
            if select.select([ours], [], [], 1)[0]:
                heard += os.read(ours, 65536)

    try:
        until(b"(fleet/1) $ ")
        url = "http://169.254.169.254/metadata/instance/compute/name?api-version=2021-02-01&format=text"
        os.write(ours, f"curl -s -H Metadata:true '{url}' | tr a-z A-Z\n".encode())
        until(b"FLEET_1")
        os.write(ours, b"exit 7\n")
        assert process.wait(WITHIN) == 7
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_a_shell_takes_commands_from_a_pipe(server: Any, namespaces: None) -> None:
    process = started(server, "shell", "--as", "web", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = process.communicate(b"echo in there; exit 5\n", timeout=WITHIN)
    assert (process.returncode, out) == (5, b"in there\n")
