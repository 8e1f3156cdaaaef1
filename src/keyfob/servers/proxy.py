"""An HTTP proxy that leads nowhere but here: for clients that are told `HTTPS_PROXY` instead of living in a sandbox.

`CONNECT name:443` to a name of ours ends in our own TLS listener, in this process and without a second socket; plain
requests in absolute form go to the proxy's handler. Every other name gets a 403 and a sentence: nothing leaves this
machine.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping

from keyfob.servers.edge import Connect, Handler
from keyfob.servers.http import HttpServer, Listening
from keyfob.wire.http import Reply, Request

log = logging.getLogger("keyfob.proxy")

Allowed = Callable[[str], bool]
"""Whether a lower-case host name (or address) is one of ours."""


async def listen_proxy(
    server: HttpServer,
    *,
    sock: socket.socket,
    allowed: Allowed,
    doors: Mapping[int, Listening],
    handler: Handler,
    listener: str = "",
) -> Listening:
    """`doors` says by port who answers inside a tunnel (443 → the front door); `handler` gets plain requests."""

    async def plain(request: Request) -> Reply:
        if not allowed(request.host):
            message = f"{request.host} is not served here, and nothing leaves this machine."
            return Reply.json({"error": {"code": "Forbidden", "message": message}}, 403)
        return await handler(request)

    return await server.listen(sock=sock, handler=plain, listener=listener, connect=tunnels(server, allowed, doors))


def tunnels(server: HttpServer, allowed: Allowed, doors: Mapping[int, Listening]) -> Connect:
    """CONNECT for a listener of `server`."""

    def connect(host: str, port: int) -> Callable[[asyncio.Transport], None] | None:
        door = doors.get(port)
        if door is None or not allowed(host):
            return None

        def take(transport: asyncio.Transport) -> None:
            tasks = server.edge.tasks
            task = asyncio.get_running_loop().create_task(_enter(transport, door, server.edge.limits.handshake))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        return take

    return connect


async def _enter(transport: asyncio.Transport, door: Listening, handshake: float) -> None:
    """Gives an established tunnel to `door`, as if it had accepted the connection."""
    inner = door.protocol()
    if door.tls is None:
        transport.set_protocol(inner)
        inner.connection_made(transport)
        return
    hall = _Hall()
    loop = asyncio.get_running_loop()
    try:
        secure = await loop.start_tls(transport, hall, door.tls, server_side=True, ssl_handshake_timeout=handshake)
    except (OSError, asyncio.CancelledError) as error:  # ssl.SSLError is an OSError
        log.debug("a TLS handshake in a tunnel failed: %s", type(error).__name__)
        transport.abort()
        return
    if secure is None or hall.lost:
        transport.abort()
        return
    hall.leave(secure, inner)


class _Hall(asyncio.Protocol):
    """Keeps what arrives between the end of the handshake and the moment `start_tls` returns: a client's first
    request often comes in the same packet as its Finished."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.ended = False
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.received.append(data)

    def eof_received(self) -> bool:
        self.ended = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def leave(self, transport: asyncio.Transport, inner: asyncio.Protocol) -> None:
        transport.set_protocol(inner)
        inner.connection_made(transport)
        if self.received:
            inner.data_received(b"".join(self.received))
        if self.ended and not inner.eof_received():
            transport.close()
