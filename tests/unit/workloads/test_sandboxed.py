"""Sandboxes that the server starts."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from keyfob.errors import Conflict
from keyfob.hosts.sandbox.refusal import SandboxUnavailable
from keyfob.hosts.workloads.sandboxed import Sandbox, open_sandbox
from keyfob.hosts.workloads.workshop import run_in
from keyfob.resource_id import ResourceId

from .conftest import HOST, Open

LISTENER = """
import socket, sys
s = socket.socket(); s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(); print("up", flush=True)
while True:
    c, _ = s.accept(); c.sendall(b"here is " + sys.argv[2].encode()); c.close()
"""


async def out(sandbox: Sandbox, *command: str, **more: Any) -> str:
    result = await run_in(sandbox, command, patience=120, **more)
    assert (result.code, result.errors) == (0, "")
    return result.output


async def dialled(sandbox: Sandbox, port: int) -> bytes:
    while True:
        try:
            sock = await sandbox.dial(port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.02)
            continue
        with sock:
            return await asyncio.get_running_loop().sock_recv(sock, 100)


async def test_a_program_its_output_and_its_exit_code(opening: Open) -> None:
    sandbox = await opening()
    result = await run_in(sandbox, ["sh", "-c", "echo out; echo err >&2; exit 7"], patience=120)
    assert (result.code, result.output, result.errors, result.timed_out) == (7, "out\n", "err\n", False)


async def test_its_environment_is_the_hosts_and_nothing_of_the_servers(opening: Open, monkeypatch: Any) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "x")
    sandbox = await opening(environment={"PATH": os.environ["PATH"], "BASE": "1"})
    shown = dict(
        line.split("=", 1) for line in (await out(sandbox, "env", environment={"OWN": "2"})).splitlines() if "=" in line
    )
    assert (shown["BASE"], shown["OWN"], shown["IDENTITY_HEADER"]) == ("1", "2", "of this host")
    assert "SECRET_OF_THE_SERVER" not in shown


async def test_the_servers_folder_is_hidden_and_grafts_are_shown(opening: Open, tmp_path: Path) -> None:
    site = tmp_path / "data" / "site"  # inside of what is hidden
    site.mkdir()
    (site / "page").write_text("content")
    (tmp_path / "one").write_text("a file")
    sandbox = await opening(
        grafts=[
            (site, "/home/site/wwwroot"),
            (tmp_path, "/home/LogFiles"),
            (tmp_path / "one", "/nowhere/on/this/machine/one"),
        ]
    )
    assert await out(sandbox, "cat", "/home/site/wwwroot/page") == "content"
    assert await out(sandbox, "cat", "/nowhere/on/this/machine/one") == "a file"
    assert "one" in (await out(sandbox, "ls", "/home/LogFiles")).split()
    assert "secret" not in await out(sandbox, "ls", str(tmp_path / "data"))
    await out(sandbox, "sh", "-c", "echo new > /home/site/wwwroot/made")
    assert (site / "made").read_text() == "new\n"
    assert not os.path.exists("/nowhere")
    assert not os.path.exists("/home/site")


async def test_what_stood_beside_a_graft_is_still_there(opening: Open, tmp_path: Path) -> None:
    sandbox = await opening(grafts=[(tmp_path, "/nowhere/at/all"), (tmp_path, "/var/opt/keyfob/tokens")])
    for folder in ("/", "/usr", "/var", "/etc"):
        inside = set((await out(sandbox, "ls", "-A", folder)).splitlines())
        assert set(os.listdir(folder)) <= inside


async def test_connections_go_in_and_only_there(opening: Open) -> None:
    with socket.socket() as outside:
        outside.bind(("127.0.0.1", 0))
        outside.listen()
        port = outside.getsockname()[1]
        sandbox = await opening()
        with pytest.raises(ConnectionRefusedError):
            await sandbox.dial(port)
        other = await opening()
        nothing = os.open(os.devnull, os.O_WRONLY)
        for each, name in ((sandbox, "one"), (other, "two")):
            await each.start([sys.executable, "-c", LISTENER, str(port), name], output=nothing, errors=2)
        os.close(nothing)
        assert await dialled(sandbox, port) == b"here is one"
        assert await dialled(other, port) == b"here is two", "the same port in two hosts"


async def test_programs_of_one_sandbox_share_its_network(opening: Open) -> None:
    sandbox = await opening()
    nothing = os.open(os.devnull, os.O_WRONLY)
    await sandbox.start([sys.executable, "-c", LISTENER, "8080", "neighbour"], output=nothing, errors=2)
    os.close(nothing)
    await dialled(sandbox, 8080)
    asking = "import socket; print(socket.create_connection(('127.0.0.1', 8080)).recv(100).decode())"
    assert await out(sandbox, sys.executable, "-c", asking) == "here is neighbour\n"


async def test_signals_reach_all_that_a_program_started(opening: Open) -> None:
    sandbox = await opening()
    process = await sandbox.start(["sh", "-c", "sleep 1000 & sleep 1000"], output=1, errors=2)
    assert await process.stop(60) == 128 + signal.SIGTERM
    assert "sleep" not in await out(sandbox, "ps", "-e", "-o", "comm")


async def test_who_ignores_the_signal_is_killed(opening: Open) -> None:
    sandbox = await opening()
    reading, writing = os.pipe()
    process = await sandbox.start(["sh", "-c", "trap '' TERM; echo ready; sleep 1000"], output=writing, errors=2)
    os.close(writing)
    await asyncio.to_thread(os.read, reading, 10)
    os.close(reading)
    assert await process.stop(0.05) == 128 + signal.SIGKILL


async def test_what_an_ended_program_left_running_ends(opening: Open) -> None:
    sandbox = await opening()
    result = await run_in(sandbox, ["sh", "-c", "sleep 1000 & echo done"], patience=120)
    assert result.output == "done\n"
    assert "sleep" not in await out(sandbox, "ps", "-e", "-o", "comm")


async def test_a_program_whose_time_is_up(opening: Open) -> None:
    sandbox = await opening()
    result = await run_in(sandbox, ["sh", "-c", "echo begun; exec sleep 1000"], patience=0.5)
    assert (result.code, result.timed_out) == (128 + signal.SIGTERM, True)


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["no-such-program"], 127, "no-such-program: command not found"),
        (["/etc"], 126, "/etc: Permission denied"),
    ],
)
async def test_commands_that_cannot_be_run(opening: Open, command: list[str], code: int, words: str) -> None:
    result = await run_in(await opening(), command, patience=120)
    assert result.code == code
    assert words in result.errors


async def test_a_folder_that_is_not_there(opening: Open) -> None:
    result = await run_in(await opening(), ["pwd"], folder="/no/such", patience=120)
    assert (result.code, result.output) == (126, "")
    assert "/no/such: No such file or directory" in result.errors


async def test_an_environment_that_is_too_long_is_refused_and_harms_nothing(opening: Open) -> None:
    sandbox = await opening()
    with pytest.raises(SandboxUnavailable, match="192 kB"):
        await run_in(sandbox, ["true"], environment={"A": "x" * 200_000}, patience=120)
    assert await out(sandbox, "echo", "fine") == "fine\n"


async def test_closing_ends_everything(opening: Open) -> None:
    sandbox = await opening()
    process = await sandbox.start(["sleep", "1000"], output=1, errors=2)
    await sandbox.close()
    assert await process.wait() == 128 + signal.SIGKILL
    assert sandbox.closed
    with pytest.raises(Conflict):
        await sandbox.start(["true"], output=1, errors=2)


async def test_a_host_that_refuses_leaves_nothing(namespaces: None, tmp_path: Path) -> None:
    from keyfob.hosts.workloads.sandboxed import Furniture

    kept: list[socket.socket] = []

    async def inhabit(host_id: ResourceId, sockets: list[socket.socket]) -> Any:
        kept.extend(sockets)
        raise Conflict("no such host")

    with pytest.raises(Conflict, match="no such host"):
        await open_sandbox(HOST, inhabit, Furniture(ca_pem=b"", cover=[tmp_path]))
    assert kept
    assert all(sock.fileno() == -1 for sock in kept)


async def test_the_sandbox_dies_with_its_keeper(opening: Open) -> None:
    sandbox = await opening()
    process = await sandbox.start(["sleep", "1000"], output=1, errors=2)
    sandbox._keeper.kill()
    assert await process.wait() == 128 + signal.SIGKILL


SERVER = """
import asyncio, sys
from pathlib import Path
from keyfob.hosts.workloads.sandboxed import Furniture, open_sandbox
from keyfob.resource_id import ResourceId
class Served:
    environment = {}
    async def close(self): pass
async def inhabit(host_id, sockets):
    return Served()
async def main():
    sandbox = await open_sandbox(ResourceId.parse("/subscriptions/s/resourceGroups/g/providers/A.B/c/d"), inhabit,
                                 Furniture(ca_pem=b"", cover=[Path(sys.argv[1])], environment={"PATH": sys.argv[2]}))
    await sandbox.start(["sh", "-c", f"setsid sleep {sys.argv[3]} & exec sleep {sys.argv[3]}"], output=1, errors=2)
    print("running", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_a_killed_server_leaves_nothing_running(namespaces: None, tmp_path: Path) -> None:
    seconds = str(90_000 + os.getpid() % 9_000)
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path), os.environ["PATH"], seconds], stdout=subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"running\n"
        while sleeping(seconds) < 2:
            time.sleep(0.02)
    finally:
        server.kill()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()
    while sleeping(seconds):
        time.sleep(0.02)
    assert os.listdir(tmp_path) == []


def sleeping(seconds: str) -> int:
    listed = subprocess.run(["ps", "-e", "-o", "args"], capture_output=True, text=True, check=True)
    return listed.stdout.splitlines().count(f"sleep {seconds}")
