"""A request at a host's public name → the program inside its sandbox, and its answer back, as it is made.

One connection a request: a program that is restarted then never sees one that its predecessor was asked on, and
dialling costs a tenth of a millisecond. The answer's head decides: with a length that is small it is collected, else
it streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import httptools

from keyfob.errors import Problem
from keyfob.wire.http import Reply, Request

Dial = Callable[[], Awaitable[socket.socket]]
"""A connection to the program. Raises ConnectionRefusedError while nobody listens."""

COLLECTED = 256 * 1024
"""Bytes of an answer that are collected rather than streamed."""

HEAD_LIMIT = 64 * 1024

_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect"}
)
"""Fields of one connection, not of the message (RFC 9110 §7.6.1)."""

_BODILESS = frozenset({204, 304})


class BadGateway(Problem):
    """The program gave no answer, or one that is not HTTP."""

    status = 502
    code = "BadGateway"


async def forward(request: Request, dial: Dial, *, patience: float = 230.0) -> Reply:
    """What the program answers. Raises ConnectionRefusedError, and BadGateway when it hangs up or says nothing for
    `patience` seconds (App Service's load balancer waits 230: learn.microsoft.com, web-apps-performance-faqs)."""
    connection = _Answer(await dial())
    try:
        async with asyncio.timeout(patience):
            await connection.send(write(request))
            await connection.head(request.method)
            if connection.length is not None and connection.length <= COLLECTED:
                return connection.reply(body=b"".join([part async for part in connection.parts()]))
    except TimeoutError:
        connection.close()
        raise BadGateway(f"The program did not answer within {patience:.0f} seconds.") from None
    except (OSError, httptools.HttpParserError, httptools.HttpParserUpgrade):
        connection.close()
        raise BadGateway("The program's answer is not HTTP, or not whole.") from None
    except BaseException:
        connection.close()
        raise
    return connection.reply(stream=connection.parts())


async def collected(reply: Reply, most: int) -> Reply:
    """With its whole body. Raises BadGateway when that is larger: programs print without end when they like."""
    if reply.stream is None:
        return reply
    parts, size = [], 0
    async with contextlib.aclosing(reply.stream) as stream:
        async for part in stream:
            parts.append(part)
            size += len(part)
            if size > most:
                raise BadGateway("The program's answer is too large.")
    return Reply(reply.status, b"".join(parts), reply.headers, reply.content_type)


def write(request: Request) -> bytes:
    """The request as the program gets it: with the public name, and what App Service's front end adds."""
    target = request.raw_path + (f"?{request.raw_query}" if request.raw_query else "")
    lines = [f"{request.method} {target or '/'} HTTP/1.1"]
    host = request.host if request.port in (None, 443) else f"{request.host}:{request.port}"
    lines.append(f"Host: {host}")
    told = {"host", "content-length", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-arr-ssl"}
    lines += [f"{name}: {value}" for name, value in request.headers.pairs if name.lower() not in _HOP | told]
    if request.body or request.method in {"POST", "PUT", "PATCH"}:
        lines.append(f"Content-Length: {len(request.body)}")
    lines += [
        f"X-Forwarded-For: {request.peer}",
        f"X-Forwarded-Proto: {request.scheme}",
        f"X-Forwarded-Host: {host}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + request.body


class _Answer:
    """The program's side of one exchange."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpResponseParser(self)
        self._seen = 0
        self._parts: list[bytes] = []
        self._complete = False
        self._bodiless = False
        self.headed = False
        self.length: int | None = None
        self.status = 0
        self.headers: list[tuple[str, str]] = []

    # --- httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.headed:
            self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers = []  # 100 Continue, 103 Early Hints: the answer follows
            return
        self.headed = True
        length = [value for name, value in self.headers if name.lower() == "content-length"]
        self.length = int(length[0]) if length and length[0].isdigit() else None
        if self._bodiless or self.status in _BODILESS:
            self.length, self._complete = 0, True

    def on_body(self, part: bytes) -> None:
        if not self._bodiless:
            self._parts.append(part)

    def on_message_complete(self) -> None:
        self._complete = self.headed

    # --- the exchange

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # an answer may come before all was read
            await self._loop.sock_sendall(self._sock, data)

    async def head(self, method: str) -> None:
        self._bodiless = method == "HEAD"
        while not self.headed:
            if not await self._more() and not self.headed:
                raise BadGateway("The program closed the connection without an answer.")
            if self._seen > HEAD_LIMIT and not self.headed:
                raise BadGateway("The head of the program's answer is too large.")

    async def parts(self) -> AsyncGenerator[bytes, None]:
        """The body. Raises ConnectionResetError when it ends before it is whole."""
        try:
            while True:
                parts, self._parts = self._parts, []
                for part in parts:
                    yield part
                if self._complete:
                    return
                if not await self._more():
                    if self.length is not None or self._chunked:
                        raise ConnectionResetError("the program broke off its answer")
                    for part in self._parts:
                        yield part
                    return
        finally:
            self.close()

    def reply(self, *, body: bytes = b"", stream: AsyncGenerator[bytes, None] | None = None) -> Reply:
        kept = [(name, value) for name, value in self.headers if name.lower() not in _HOP]
        if stream is not None or not self._bodiless:
            kept = [(name, value) for name, value in kept if name.lower() != "content-length"]
        return Reply(self.status, body, tuple(kept), None, stream)

    def close(self) -> None:
        self._sock.close()

    @property
    def _chunked(self) -> bool:
        return any(name.lower() == "transfer-encoding" for name, _ in self.headers)

    async def _more(self) -> bool:
        data = await self._loop.sock_recv(self._sock, 64 * 1024)
        self._seen += len(data)
        if data:
            self._parser.feed_data(data)
        return bool(data)
