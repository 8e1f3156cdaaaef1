"""The server's side: takes the sockets of a sandbox, has them served, and ends that when the client goes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from keyfob.errors import Conflict, InvalidInput, Problem
from keyfob.hosts.sandbox import protocol
from keyfob.hosts.sandbox.protocol import OpenRequest, Ready, Refused

log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds a client may take to send its request."""

_PEER = struct.Struct("=iII")
"""struct ucred of unix(7): process, user, group."""


class Sockets(NamedTuple):
    """The sockets of one sandbox: bound in its network namespace, non-blocking, not yet listening."""

    imds: socket.socket
    https: socket.socket
    dns_udp: socket.socket
    dns_tcp: socket.socket
    platform: socket.socket
    extension: socket.socket
    arc: socket.socket
    fabric: socket.socket
    http: socket.socket


class Opened(Protocol):
    """A host that is being served. `environment` is what the host sets for its programs, often nothing."""

    @property
    def environment(self) -> Mapping[str, str]: ...

    async def close(self) -> None: ...


OpenHost = Callable[[OpenRequest, Sockets], Awaitable[Opened]]
"""Checks the token, serves the sockets and returns once they answer. Raises a Problem to refuse."""


class SandboxControl:
    """Listens at `path` (mode 0600). Each connection is one sandbox, and its end is the sandbox's end."""

    def __init__(self, *, path: Path, open_host: OpenHost) -> None:
        self._path = path
        self._open_host = open_host
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises Conflict when another server listens at the path; a socket left by a dead one is replaced."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(listener.fileno(), 0o600)  # bind makes the file with the mode of the socket's inode (unix(7))
            with protocol.socket_address(self._path) as address:
                if self._path.is_socket():
                    _remove_stale(self._path, address)
                listener.bind(address)
            listener.listen(64)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
        self._listener = listener
        self._spawn(self._accept(listener))

    async def close(self) -> None:
        """End every sandbox (their programs go on without endpoints) and remove the socket."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._path.unlink(missing_ok=True)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                log.warning("the control socket could not accept: %s", error)
                await asyncio.sleep(0.1)
                continue
            self._spawn(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        sockets: list[socket.socket] = []
        opened: Opened | None = None
        with connection:
            connection.setblocking(False)
            try:
                _check_peer(connection)
                request = protocol.decode_request(await _receive(connection, sockets))
                protocol.check_sockets(sockets)
                opened = await self._open_host(request, Sockets(*sockets))
                await _send(connection, Ready(opened.environment))
                await _until_end(connection)
            except Problem as problem:
                await _send(connection, Refused(problem.message))
            except ConnectionError as error:
                log.info("a sandbox's control connection broke: %s", error)
            except Exception:
                log.exception("a sandbox could not be opened")
                await _send(connection, Refused("The server failed to open the sandbox; its log says why."))
            finally:
                if opened is not None:
                    await _end(opened)
                for sock in sockets:
                    sock.close()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _check_peer(connection: socket.socket) -> None:
    """The file's mode keeps others out already; this also holds when somebody widened it."""
    _, user, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    if user not in (0, os.geteuid()):
        raise InvalidInput("Only the server's own user and root may open sandboxes.")


async def _receive(connection: socket.socket, sockets: list[socket.socket]) -> bytes:
    """The request's line; its descriptors are appended to `sockets`, non-blocking."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await _receive_line(connection, sockets)
    except TimeoutError:
        raise InvalidInput(f"The request to open a sandbox did not come within {PATIENCE:.0f} seconds.") from None


async def _receive_line(connection: socket.socket, sockets: list[socket.socket]) -> bytes:
    line = b""
    space = socket.CMSG_SPACE(4 * 2 * len(protocol.ENDPOINTS))
    while not line.endswith(b"\n"):
        await _readable(connection)
        try:
            data, ancillary, flags, _ = connection.recvmsg(
                protocol.MESSAGE_LIMIT, space, socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
            )
        except BlockingIOError:
            continue
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                for descriptor in struct.unpack(f"={len(content) // 4}i", content):
                    sockets.append(_adopt(descriptor))
        line += data
        if not data or len(line) > protocol.MESSAGE_LIMIT or flags & socket.MSG_CTRUNC:
            raise InvalidInput("The request to open a sandbox is not complete.")
    return line


def _adopt(descriptor: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        raise InvalidInput("A descriptor that came with the request is not a socket.") from None
    sock.setblocking(False)
    return sock


async def _end(opened: Opened) -> None:
    try:
        await opened.close()
    except Exception:
        log.exception("a sandbox's listeners could not be closed")


async def _until_end(connection: socket.socket) -> None:
    """Nothing more is said, so whatever comes is thrown away until the connection ends."""
    while True:
        await _readable(connection)
        with contextlib.suppress(BlockingIOError):
            if connection.recv(4096) == b"":
                return


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    descriptor = connection.fileno()
    loop.add_reader(descriptor, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


async def _send(connection: socket.socket, reply: Ready | Refused) -> None:
    with contextlib.suppress(OSError):  # a client that has gone needs no answer
        await asyncio.get_running_loop().sock_sendall(connection, protocol.encode_reply(reply))


def _remove_stale(path: Path, address: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except FileNotFoundError:
            return
    raise Conflict(f"Another Keyfob server listens at {path}.")
