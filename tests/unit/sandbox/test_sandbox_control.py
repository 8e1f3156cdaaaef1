"""What the server lets nobody do. That it serves is shown with real sandboxes in test_sandbox_run.py."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from contextlib import asynccontextmanager

import pytest

from keyfob.errors import Conflict
from keyfob.hosts.sandbox.control import SandboxControl
from keyfob.hosts.sandbox.protocol import OpenRequest, Refused, decode_reply, encode_request

pytestmark = pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="the control socket is Linux's")

REQUEST = encode_request(OpenRequest(resource_id="/vm", token="operator"))


@asynccontextmanager
async def control_at(path):
    async def open_host(request, sockets):
        raise AssertionError("this request must not get here")

    control = SandboxControl(path=path, open_host=open_host)
    await control.start()
    try:
        yield control
    finally:
        await control.close()


async def ask(path, line: bytes, descriptors: list[int]) -> Refused:
    """The answer to one request; sending is done by hand for the descriptors' sake."""

    def talk() -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(path))
            if descriptors:
                socket.send_fds(connection, [line], descriptors)
            else:
                connection.sendall(line)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(4096), b""))

    answer = decode_reply(await asyncio.to_thread(talk))
    assert isinstance(answer, Refused)
    return answer


async def test_only_the_servers_user_can_open_the_socket(tmp_path):
    path = tmp_path / "control.sock"
    async with control_at(path):
        mode = path.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
    assert not path.exists()


@pytest.mark.parametrize("line", [b"", b"x", b"{}\n", b"\xff\xff\n", b"x" * 70_000])
async def test_what_is_no_request_is_refused(tmp_path, line):
    async with control_at(tmp_path / "control.sock"):
        assert (await ask(tmp_path / "control.sock", line, [])).sentence.endswith(".")


async def test_a_request_without_sockets_is_refused(tmp_path):
    async with control_at(tmp_path / "control.sock"):
        assert "not those of a sandbox" in (await ask(tmp_path / "control.sock", REQUEST, [])).sentence


async def test_sockets_bound_elsewhere_are_refused(tmp_path):
    made = [socket.socket(socket.AF_INET, kind) for kind in (1, 1, 2, 1)]
    try:
        for sock in made:
            sock.bind(("127.0.0.1", 0))
        async with control_at(tmp_path / "control.sock"):
            answer = await ask(tmp_path / "control.sock", REQUEST, [sock.fileno() for sock in made])
        assert "not those of a sandbox" in answer.sentence
    finally:
        for sock in made:
            sock.close()


async def test_a_descriptor_that_is_no_socket_is_refused_and_closed(tmp_path):
    reader, writer = os.pipe()
    async with control_at(tmp_path / "control.sock"):
        answer = await ask(tmp_path / "control.sock", REQUEST, [writer])
        assert "not a socket" in answer.sentence
        os.close(writer)
        assert os.read(reader, 1) == b""  # nobody holds the other end any more
    os.close(reader)


async def test_a_second_server_at_the_path_is_a_conflict(tmp_path):
    path = tmp_path / "control.sock"
    async with control_at(path):
        with pytest.raises(Conflict):
            async with control_at(path):
                pass
        assert path.is_socket()


async def test_a_socket_left_behind_is_replaced(tmp_path):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with control_at(path):
        assert "no request" not in (await ask(path, REQUEST, [])).sentence


async def test_a_file_at_the_path_is_not_removed(tmp_path):
    path = tmp_path / "control.sock"
    path.write_text("mine")
    with pytest.raises(OSError, match="in use"):
        async with control_at(path):
            pass
    assert path.read_text() == "mine"


async def test_closing_hangs_up_on_clients_that_said_nothing(tmp_path):
    path = tmp_path / "control.sock"
    async with control_at(path):
        reader, writer = await asyncio.open_unix_connection(str(path))
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
