"""A DNS responder on sockets it is given: UDP, and TCP for clients that prefer it (glibc's `use-vc`, retries)."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

from keyfob.wire.dns import Frames, Lookup, answer, frame

TCP_IDLE = 10.0
"""Seconds that a TCP client may be silent (RFC 7766 suggests a few)."""

TCP_CLIENTS = 64


class DnsServer:
    """Answers from `lookup` (see `wire.dns`), which is called on the event loop and must not block."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._udp: list[asyncio.DatagramTransport] = []
        self._tcp: list[asyncio.Server] = []
        self._clients: set[_Stream] = set()

    async def listen(self, *, udp: socket.socket | None = None, tcp: socket.socket | None = None) -> None:
        """Serves bound sockets, which it then owns. May be called again for more of them."""
        loop = asyncio.get_running_loop()
        if udp is not None:
            udp.setblocking(False)
            transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self._lookup), sock=udp)
            self._udp.append(transport)
        if tcp is not None:
            tcp.setblocking(False)
            server = await loop.create_server(lambda: _Stream(self._lookup, self._clients), sock=tcp)
            self._tcp.append(server)

    def close(self) -> None:
        for transport in self._udp:
            transport.close()
        for server in self._tcp:
            server.close()
        for client in list(self._clients):
            client.close()
        self._udp, self._tcp = [], []


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        reply = answer(data, self._lookup)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)


class _Stream(asyncio.Protocol):
    def __init__(self, lookup: Lookup, clients: set[_Stream]) -> None:
        self._lookup = lookup
        self._clients = clients
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if len(self._clients) >= TCP_CLIENTS:
            self._transport.abort()
            return
        self._clients.add(self)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._clients.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._wait()
        for message in self._frames.feed(data):
            reply = answer(message, self._lookup)
            if reply is not None:
                self._transport.write(frame(reply))

    def pause_writing(self) -> None:
        self.close()  # a client that asks and does not read

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(TCP_IDLE, self.close)
