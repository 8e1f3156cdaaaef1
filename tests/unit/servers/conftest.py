"""A real server on loopback in a thread of its own, on each event loop; tests are blocking clients."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvloop

from keyfob.clock import FakeClock
from keyfob.servers.http import Handler, HttpServer, Limits, Listening
from keyfob.servers.tls import Authority, leaves, open_authority, server_context
from keyfob.wire.http import Reply, Request

WAIT = 10.0
"""Seconds after which a client gives up: only a failing test waits for them."""


def bound(address: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, 0))
    return sock


async def echo(request: Request) -> Reply:
    """What arrived, as JSON."""
    return Reply.json(
        {
            "method": request.method,
            "path": request.path,
            "raw_path": request.raw_path,
            "query": list(request.query.pairs),
            "headers": list(request.headers.pairs),
            "body": request.body.decode("latin-1"),
            "host": request.host,
            "port": request.port,
            "scheme": request.scheme,
            "listener": request.listener,
            "peer": request.peer,
            "request_id": request.request_id,
        }
    )


class Peer:
    """A client that sees bytes."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(WAIT)
        self.sock = sock
        self.held = b""

    def send(self, data: bytes) -> Peer:
        self.sock.sendall(data)
        return self

    def reply(self, *, bodiless: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Status, headers by lower-case name, body."""
        while b"\r\n\r\n" not in self.held:
            self._more()
        head, _, self.held = self.held.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name.lower() not in headers, f"{name} twice"
            headers[name.lower()] = value
        length = 0 if bodiless else int(headers.get("content-length", "0"))
        while len(self.held) < length:
            self._more()
        body, self.held = self.held[:length], self.held[length:]
        return int(first.split(" ")[1]), headers, body

    def _more(self) -> None:
        data = self.sock.recv(1 << 20)
        assert data, f"the server closed after {self.held!r}"
        self.held += data

    def ended(self) -> bool:
        """Whether the server closed, and said nothing more before."""
        try:
            return self.held == b"" and self.sock.recv(1) == b""
        except (ConnectionResetError, ssl.SSLError):
            return True

    def close(self) -> None:
        self.sock.close()


class Harness:
    """The server's side. `clock` is what its limits go by; nothing happens to connections until `sweep`."""

    def __init__(self, factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.loop = factory()
        self.clock = FakeClock()
        self.wall = FakeClock(1_543_399_200.0)  # 2018-11-28T10:00:00Z
        self.troubles: list[Any] = []
        self.peers: list[Peer] = []
        self.servers: list[HttpServer] = []
        self.loop.set_exception_handler(lambda _, context: self.troubles.append(context))
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT)

    def call(self, function: Callable[[], Any]) -> Any:
        async def inside() -> Any:
            return function()

        return self.run(inside())

    def server(self, limits: Limits | None = None) -> HttpServer:
        made: HttpServer = self.call(lambda: HttpServer(limits=limits, clock=self.clock.now, wall=self.wall.now))
        self.servers.append(made)
        return made

    def listen(self, handler: Handler = echo, *, limits: Limits | None = None, **more: Any) -> Listening:
        server = more.pop("server", None) or self.server(limits)
        sock = more.pop("sock", None) or bound()
        listening: Listening = self.run(server.listen(sock=sock, handler=handler, **more))
        return listening

    def peer(self, where: Listening | tuple[str, int], tls: ssl.SSLContext | None = None, name: str = "") -> Peer:
        address = where.address if isinstance(where, Listening) else where
        sock = socket.create_connection(address, timeout=WAIT)
        if tls is not None:
            sock = tls.wrap_socket(sock, server_hostname=name)
        peer = Peer(sock)
        self.peers.append(peer)
        return peer

    def later(self, seconds: float) -> None:
        """Time passes, and every server notices."""
        self.clock.advance(seconds)
        self.wall.advance(seconds)
        for server in self.servers:
            self.call(server.sweep)

    def until(self, true: Callable[[], bool]) -> None:
        """Lets the server's loop turn until something is so."""

        async def turn() -> None:
            for _ in range(5000):
                if true():
                    return
                await asyncio.sleep(0.001)
            raise AssertionError("it never became so")

        self.run(turn())

    def close(self) -> None:
        for peer in self.peers:
            peer.close()
        for server in self.servers:
            self.run(server.shutdown(0))
        self.run(asyncio.sleep(0))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(WAIT)
        self.loop.close()


@pytest.fixture(params=["uvloop", "asyncio"])
def edge(request: pytest.FixtureRequest) -> Iterator[Harness]:
    harness = Harness(uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop)
    yield harness
    harness.close()
    assert harness.troubles == []


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Path]:
    folder = tmp_path_factory.mktemp("ca")
    return open_authority(folder, datetime.now(UTC)), folder


@pytest.fixture(scope="session")
def server_tls(ca: tuple[Authority, Path]) -> ssl.SSLContext:
    found, _ = leaves(ca[0], ca[1], ["localhost", "*.vault.azure.net", "127.0.0.1"], datetime.now(UTC))
    return server_context(found)


@pytest.fixture
def client_tls(ca: tuple[Authority, Path]) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca[0].pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context
