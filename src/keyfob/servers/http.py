"""The HTTP edge: listeners, the one timer that all connections share, and a shutdown that lets work finish."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from keyfob.servers.connection import Connection
from keyfob.servers.edge import MOST_KNOWN, Connect, Door, Edge, Handler, Hot, Large, Limits

__all__ = ["Connect", "Handler", "Hot", "HttpServer", "Limits", "Listening"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

SWEEP = 1.0
"""Seconds between looks at the connections, while there are any."""


class Listening:
    """One open listener."""

    def __init__(self, edge: Edge, door: Door, tls: ssl.SSLContext | None) -> None:
        self._edge = edge
        self._door = door
        self._tls = tls
        self._servers: list[asyncio.Server] = []
        self._closed = False

    @property
    def listener(self) -> str:
        return self._door.listener

    @property
    def address(self) -> tuple[str, int]:
        """Host and port; for a unix socket its path and 0."""
        for server in self._servers:
            for sock in server.sockets:
                name = sock.getsockname()
                return (name[0], name[1]) if isinstance(name, tuple) else (name, 0)
        raise RuntimeError("the listener is closed")

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def tls(self) -> ssl.SSLContext | None:
        return self._tls

    def protocol(self) -> Connection:
        """What an accepted connection gets. A proxy hands its tunnels to it, too."""
        return Connection(self._edge, self._door)

    async def open(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        limits = self._edge.limits
        times: dict[str, Any] = {}
        if self._tls is not None:
            times = {"ssl_handshake_timeout": limits.handshake, "ssl_shutdown_timeout": limits.linger}
        if sock.family == getattr(socket, "AF_UNIX", None):
            server = await loop.create_unix_server(self.protocol, sock=sock, ssl=self._tls, **times)
        else:
            server = await loop.create_server(self.protocol, sock=sock, backlog=1024, ssl=self._tls, **times)
        self._servers.append(server)

    def sweep(self) -> None:
        """Makes room for other requests when as many are remembered as may be."""
        if len(self._door.known) >= MOST_KNOWN:
            self._door.known.clear()

    def close(self) -> None:
        """No new connections; those that wait for a request are closed, those at work finish their answer."""
        if self._closed:
            return
        self._closed = True
        for server in self._servers:
            server.close()
        for connection in list(self._edge.connections):
            if connection.door is self._door:
                connection.finish()


class HttpServer:
    """All HTTP listeners of the process: they share limits, the clock sweep and the shutdown.

    `clock` gives seconds that only grow, `wall` epoch seconds for `Date`; `request_ids` new identifiers (they are not
    secrets, so they need not cost a system call).
    """

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        server_name: str = "Keyfob",
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        request_ids: Callable[[], str] | None = None,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._timer: asyncio.TimerHandle | None = None
        self._listening: list[Listening] = []
        self.edge = Edge(
            limits=limits or Limits(),
            now=clock(),
            date=_date_line(wall()),
            server=server_name,
            request_id=request_ids or _quick_guids(),
            arm=self._arm,
        )

    async def listen(
        self,
        *,
        sock: socket.socket,
        handler: Handler,
        hot: Hot | None = None,
        tls: ssl.SSLContext | None = None,
        listener: str = "",
        scheme: str | None = None,
        connect: Connect | None = None,
        large: Large | None = None,
    ) -> Listening:
        """Serves a bound socket (which it then owns). `scheme` is what requests say they came by; without it,
        whether there is TLS decides."""
        door = Door(handler, hot, connect, listener, scheme or ("https" if tls is not None else "http"), large)
        listening = Listening(self.edge, door, tls)
        await listening.open(sock)
        self._listening = [each for each in self._listening if not each.closed]  # hosts come and go
        self._listening.append(listening)
        return listening

    def sweep(self) -> None:
        """Takes the time and lets go of connections that ran out of it."""
        edge = self.edge
        edge.now = self._clock()
        edge.date = _date_line(self._wall())
        for listening in self._listening:
            listening.sweep()
        for connection in list(edge.connections):
            connection.sweep(edge.now)

    def _arm(self) -> None:
        if self._timer is None:
            self.edge.now = self._clock()
            self.edge.date = _date_line(self._wall())
            self._timer = asyncio.get_running_loop().call_later(SWEEP, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.sweep()
        if self.edge.connections:
            self._timer = asyncio.get_running_loop().call_later(SWEEP, self._tick)

    async def shutdown(self, grace: float) -> None:
        """Stops listening, lets requests at work finish for `grace` seconds, then cuts what is left."""
        loop = asyncio.get_running_loop()
        for listening in self._listening:
            listening.close()
        edge = self.edge
        for connection in list(edge.connections):
            connection.finish()
        end = loop.time() + grace
        # a connection at rest has had its close_notify; whether the client answers it is the client's affair
        while (edge.tasks or any(not one.at_rest for one in edge.connections)) and (left := end - loop.time()) > 0:
            if edge.tasks:
                await asyncio.wait(edge.tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            else:  # answers that clients still read, or requests still arriving
                await asyncio.sleep(min(left, 0.02))
        for connection in list(edge.connections):
            connection.abort()
        for task in edge.tasks:
            task.cancel()
        if edge.tasks:
            await asyncio.wait(edge.tasks, timeout=1.0)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # lets transports call connection_lost


def _date_line(now: float) -> bytes:
    """IMF-fixdate (RFC 9110 §5.6.7): English whatever the locale, so not `strftime`."""
    at = time.gmtime(now)
    day, month = _DAYS[at.tm_wday], _MONTHS[at.tm_mon - 1]
    clock = f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
    return f"Date: {day}, {at.tm_mday:02} {month} {at.tm_year} {clock} GMT\r\n".encode()


def _quick_guids() -> Callable[[], str]:
    bits = random.Random().getrandbits  # noqa: S311  (names requests in logs, guards nothing)

    def guid() -> str:
        digits = f"{bits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    return guid
