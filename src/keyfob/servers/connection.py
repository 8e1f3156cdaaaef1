"""One HTTP/1.1 connection: bytes in, llhttp's events, one handler at a time, one write per answer.

The order of answers is the order of requests. While a request is being worked on, at most one more read's worth of
pipelined requests is parsed and waits; then reading stops. A hot answer is written inside the parser's callback,
before any object is made for the request. Times come from the edge's sweep, so an ordinary request costs no timer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator
from typing import IO, Any, NoReturn, cast

import httptools

from keyfob.servers.edge import MOST_KNOWN, Door, Edge, Known
from keyfob.servers.replies import Message, refusal, render, reply_to
from keyfob.wire.http import Reply
from keyfob.wire.http1 import CONTINUE, Malformed, read_authority, without_upgrade

log = logging.getLogger("keyfob.http")

IDLE, HEAD, BODY, DONE = range(4)
"""Where the next bytes belong: between requests, in a head, in a body, nowhere (they are thrown away)."""

_Parsed = tuple[bytes, list[tuple[bytes, bytes]]]
"""Raw target and raw headers."""

_WATCHED = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade"})


class _Stop(Exception):
    """Leaves the parser after a refusal was queued."""


class Connection(asyncio.Protocol):
    """The protocol of one accepted connection, plain or inside the event loop's TLS."""

    __slots__ = (
        "_answered",
        "_between",
        "_blocked",
        "_body",
        "_body_size",
        "_busy",
        "_continue",
        "_door",
        "_drained",
        "_edge",
        "_eof",
        "_fed",
        "_fields",
        "_file",
        "_finishing",
        "_head_size",
        "_held",
        "_hot",
        "_parser",
        "_peer",
        "_phase",
        "_pouring",
        "_queue",
        "_since",
        "_target",
        "_transport",
        "_upgrade",
        "_watch",
    )

    def __init__(self, edge: Edge, door: Door) -> None:
        self._edge = edge
        self._door = door
        self._hot = door.hot
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._parser: Any = httptools.HttpRequestParser(self)
        self._peer = ""
        self._phase = IDLE
        self._since = edge.now
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._body_size = 0
        self._file: IO[bytes] | None = None  # of a large body
        self._head_size = 0  # of a head that came in several reads, so far
        self._fed = 0  # the same, with the read that is being parsed
        self._queue: deque[Message | Reply] = deque()
        self._busy = False  # a handler works
        self._held = False  # we stopped reading
        self._blocked = False  # the client does not read
        self._drained: asyncio.Future[None] | None = None
        self._pouring: asyncio.Task[None] | None = None  # sends a body that is still being made
        self._eof = False
        self._finishing = False
        self._continue = False  # a client waits for 100 Continue
        self._upgrade = False
        self._watch = False  # this head has a header of _WATCHED
        self._between = True  # the parser stands between two messages
        self._answered: _Parsed | None = None  # what was answered hot in this read, the last if several

    # --- the transport's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        self._edge.connections.add(self)
        self._edge.arm()
        self._since = self._edge.now

    def connection_lost(self, exc: Exception | None) -> None:
        """A handler at work goes on: what it writes to the store was asked for, only its answer is lost. A body that
        is still being made has nobody left to read it."""
        self._edge.connections.discard(self)
        self._drop()
        self._phase = DONE
        self._eof = True
        self._parser = None  # it holds our bound methods
        if self._pouring is not None:
            self._pouring.cancel()

    def data_received(self, data: bytes) -> None:
        whole = self._between and self._phase == IDLE
        if whole and (known := self._door.known.get(data)) is not None and self._again(known):
            return
        was_busy = self._busy
        self._answered = None
        rest: bytes = data
        while rest:
            rest = self._feed(rest)
        # at the end of a message or of the empty lines before one: then nothing of what follows has been parsed
        self._between = self._phase == IDLE and data[-4:] == b"\r\n\r\n"
        if whole and self._answered is not None and len(self._door.known) < MOST_KNOWN:
            self._door.learn(data, *self._answered)
        if (was_busy or self._queue) and not self._held and self._phase != DONE:
            self._held = True
            self._transport.pause_reading()

    def _again(self, known: Known) -> bool:
        """Answers a request of which the very same bytes were parsed before: programs that ask for a token ask in
        the same words each time. Only the parsing is spared, and the writing of an answer that has not changed."""
        if self._busy or self._queue or self._blocked or self._finishing:
            return False
        answer = self._door.ask(known.target, known.fields)
        if answer is None:
            return False
        edge = self._edge
        if answer is not known.answer or edge.date is not known.date:
            known.answer, known.date, known.dated = answer, edge.date, edge.dated(answer)
        self._since = edge.now
        self._transport.write(known.dated)
        return True

    def _feed(self, data: bytes) -> bytes:
        """Parses; gives back bytes that must be parsed again (after an upgrade that we ignore)."""
        if self._phase == DONE:
            return b""
        self._fed = self._head_size + len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._after_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            if self._phase != DONE:
                self._refuse(400, "The request is not well-formed HTTP/1.1.")
            return b""
        if self._phase == HEAD:
            self._head_size = self._fed
            if self._fed > self._edge.limits.head:
                self._refuse(431, "The request's headers are too large.")
        return b""

    def eof_received(self) -> bool:
        """A client may shut its side down and still read: what it asked for is answered first. Not so in the midst of
        a stream, which may have no end: there it has gone. Nor in TLS, whose transport ends with either side."""
        self._eof = True
        if self._pouring is not None:
            self._pouring.cancel()
        return (self._busy or bool(self._queue)) and self._transport.can_write_eof()

    def pause_writing(self) -> None:
        self._blocked = True
        self._since = self._edge.now

    def resume_writing(self) -> None:
        self._blocked = False
        self._since = self._edge.now
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._next()

    # --- the parser's side ---

    def on_url(self, part: bytes) -> None:
        if self._phase == IDLE:
            self._phase = HEAD
            self._since = self._edge.now
            self._target = part
        else:
            self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase == HEAD:  # in a body it is a trailer: nobody here reads those
            name = name.lower()
            self._fields.append((name, value))
            if name in _WATCHED:
                self._watch = True

    def on_headers_complete(self) -> None:
        fields = self._fields
        self._phase = BODY
        if self._watch:
            self._watch = False
            for name, value in fields:
                if name in _WATCHED:
                    self._watched(name, value)
        limits = self._edge.limits
        if len(fields) > limits.fields or (
            self._fed > limits.head
            and len(self._target) + sum(len(name) + len(value) + 4 for name, value in fields) > limits.head
        ):
            self._stop(431, "The request's headers are too large.")
        if self._continue and not (self._upgrade or self._busy or self._queue or self._blocked):
            self._transport.write(CONTINUE)
            self._continue = False

    def _watched(self, name: bytes, value: bytes) -> None:
        """Headers that say how the message goes on. llhttp has already refused the ambiguous ones (both
        Content-Length and Transfer-Encoding, a repeated or odd Content-Length, a coding after chunked)."""
        if name == b"upgrade":
            self._upgrade = bool(self._parser.should_upgrade())
        elif name == b"content-length":
            self._admit(int(value))
        elif name == b"transfer-encoding":
            if value.lower() != b"chunked" or self._parser.get_http_version() != "1.1":
                self._stop(400, "The only transfer coding spoken here is chunked.")
        elif name == b"expect" and self._parser.get_http_version() == "1.1":
            if value.lower() != b"100-continue":
                self._stop(417, "The only expectation met here is 100-continue.")
            self._continue = True

    def on_body(self, part: bytes) -> None:
        self._continue = False
        self._since = self._edge.now
        self._body_size += len(part)
        if self._body_size > self._edge.limits.body:
            self._spool(part)
        else:
            self._body.append(part)

    def _admit(self, size: int) -> None:
        """A body of that size. Refuses it when it is too large for this request."""
        limits, large = self._edge.limits, self._door.large
        if size > limits.body and (size > limits.large or large is None or not large(self._target, self._fields)):
            self._stop(413, "The request's body is too large.")

    def _spool(self, part: bytes) -> None:
        """What is too large for memory goes to a file."""
        self._admit(self._body_size)
        try:
            if self._file is None:
                self._file = self._edge.new_file()
                if self._file is None:
                    self._stop(503, "Too many large requests arrive at the same time.")
                self._file.writelines(self._body)
                self._body = []
            self._file.write(part)
        except OSError:
            self._stop(507, "The request's body could not be kept.")

    def on_message_complete(self) -> None:
        if self._upgrade:
            return  # llhttp took the rest for another protocol: `_after_upgrade` parses it again
        parser = self._parser
        method = parser.get_method()
        if method == b"CONNECT":
            return
        target, fields = self._target, self._fields
        keep = parser.should_keep_alive() and not self._finishing
        if (
            self._hot is not None
            and method == b"GET"
            and keep
            and not (self._busy or self._queue or self._blocked or self._body_size)
            and target.startswith(b"/")
        ):
            answer = self._hot_answer(target, fields)
            if answer is not None:
                self._phase = IDLE
                self._fields = []
                self._head_size = 0
                self._since = self._edge.now
                self._answered = (target, fields)
                self._transport.write(answer)
                return
        file, self._file = self._file, None
        if file is not None:
            file.seek(0)
        message = Message(method, target, fields, b"".join(self._body), parser.get_http_version(), keep, file)
        self._reset()
        if not keep:
            self._phase = DONE
        self._queue.append(message)
        self._next()

    def _hot_answer(self, target: bytes, fields: list[tuple[bytes, bytes]]) -> bytes | None:
        host = False
        for name, _ in fields:
            if name == b"host":
                if host:
                    return None
                host = True
            elif name == b"connection" and self._parser.get_http_version() != "1.1":
                return None  # an HTTP/1.0 client must be told that the connection stays
        if not host:
            return None  # none, or two: the slow way refuses it
        answer = self._door.ask(target, fields)
        return None if answer is None else self._edge.dated(answer)

    def _reset(self) -> None:
        self._phase = IDLE
        self._target = b""
        self._fields = []
        self._body = []
        self._body_size = self._head_size = 0
        self._continue = self._upgrade = False

    def _drop(self) -> None:
        """What waits or has half arrived will not be asked any more."""
        for message in self._queue:
            if isinstance(message, Message) and message.file is not None:
                message.file.close()
        self._queue.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    # --- upgrades: none are spoken, one is handed over ---

    def _after_upgrade(self, rest: bytes) -> bytes:
        """llhttp stops at CONNECT and at `Connection: upgrade`; `rest` follows the head.

        Java's HttpClient offers `Upgrade: h2c` on every plain request, bodies included; a server may ignore that
        (RFC 9110 §7.8), so the head is parsed again without the offer.
        """
        if not self._upgrade:
            self._tunnel(rest)
            return b""
        parser = self._parser
        head = without_upgrade(parser.get_method(), self._target, parser.get_http_version(), self._fields)
        self._reset()
        self._parser = httptools.HttpRequestParser(self)
        return head + rest

    def _tunnel(self, rest: bytes) -> None:
        connect = self._door.connect
        if self._busy or self._queue:
            return self._refuse(400, "CONNECT cannot be pipelined.")
        if connect is None:
            return self._refuse(405, "This is not a proxy.")
        try:
            host, port = read_authority(self._target)
        except Malformed as malformed:
            return self._refuse(malformed.status, malformed.message)
        take = connect(host, port)
        if take is None:
            return self._refuse(403, f"{host}:{port} is not served here, and nothing leaves this machine.")
        if rest:
            return self._refuse(400, "CONNECT is answered before anything goes through the tunnel.")
        transport = self._transport
        transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.connection_lost(None)
        take(transport)
        return None

    # --- answering ---

    def _stop(self, status: int, message: str) -> NoReturn:
        self._refuse(status, message)
        raise _Stop

    def _refuse(self, status: int, message: str) -> None:
        """Answers in its turn, then closes. What else the client sends is thrown away."""
        self._phase = DONE
        self._continue = False
        self._queue.append(refusal(status, message))
        self._next()

    def _next(self) -> None:
        """Begins the next request in line; when there is none, reads on or closes."""
        if self._busy or self._blocked or self._transport.is_closing():
            return
        if self._queue:
            message = self._queue.popleft()
            if isinstance(message, Reply):
                self._write(message, "GET", close=True)
                self._linger()
                return
            self._busy = True
            task = asyncio.get_running_loop().create_task(self._serve(message))
            self._edge.tasks.add(task)
            task.add_done_callback(self._edge.tasks.discard)
            return
        if self._eof or (self._finishing and self._phase == IDLE):
            self._transport.close()
            return
        if self._continue:
            self._continue = False
            self._transport.write(CONTINUE)
        if self._held:
            self._held = False
            self._transport.resume_reading()

    async def _serve(self, message: Message) -> None:
        edge = self._edge
        method = message.method.decode("ascii")
        request_id = edge.request_id()
        try:
            answered = await reply_to(message, door=self._door, peer=self._peer, request_id=request_id)
        except asyncio.CancelledError:
            self.abort()
            raise
        reply, malformed = answered.reply, answered.malformed
        self._since = edge.now
        if self._transport.is_closing():
            self._busy = False
            return
        close = not message.keep or malformed or self._finishing
        stream = getattr(reply, "stream", None)  # a handler may have given anything: `render` says so
        if stream is not None:
            close = await self._stream(reply, stream, message, close=close, request_id=request_id)
            self._busy = False
        else:
            self._busy = False
            close = self._write(reply, method, close=close, keep=message.version == "1.0", request_id=request_id)
        if malformed:
            self._phase = DONE
            self._drop()
            self._linger()
        elif close:
            self._phase = DONE
            self._transport.close()
        else:
            self._next()

    async def _stream(
        self, reply: Reply, parts: AsyncGenerator[bytes, None], message: Message, *, close: bool, request_id: str
    ) -> bool:
        """Sends a body while it is made, no faster than the client reads. One that breaks off is cut, so that the
        client does not take it for whole; says whether the connection ends with it."""
        chunked = message.version == "1.1"
        method = message.method.decode("ascii")
        self._pouring = asyncio.current_task()
        try:
            async with contextlib.aclosing(parts):
                close = self._write(reply, method, close=close or not chunked, request_id=request_id, chunked=chunked)
                if method == "HEAD":
                    return close
                async for part in parts:
                    if part:
                        self._transport.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
                        self._since = self._edge.now
                    if self._blocked:
                        self._drained = asyncio.get_running_loop().create_future()
                        await self._drained
            if chunked:
                self._transport.write(b"0\r\n\r\n")
        except asyncio.CancelledError:
            self.abort()
            raise
        except Exception:
            log.exception("a body broke off", extra={"request_id": request_id, "method": method})
            self.abort()
        finally:
            self._pouring = None
        return close

    def _write(
        self, reply: Reply, method: str, *, close: bool, keep: bool = False, request_id: str = "", chunked: bool = True
    ) -> bool:
        """Writes it; says whether the connection ends with it (the handler may have wished so)."""
        data, close = render(reply, self._edge, method, close=close, keep=keep, request_id=request_id, chunked=chunked)
        self._transport.write(data)
        return close

    def _linger(self) -> None:
        """Half-closes and lets the client finish sending: closing on unread bytes would reset the connection and
        take our answer with it (RFC 9112 §9.6)."""
        self._since = self._edge.now
        if self._held:
            self._held = False
            self._transport.resume_reading()
        if self._eof or not self._transport.can_write_eof():
            self._transport.close()  # under TLS the transport itself waits for the client's close_notify
            return
        try:
            self._transport.write_eof()
        except OSError:  # it is gone already
            self._transport.abort()

    # --- the server's side ---

    @property
    def door(self) -> Door:
        return self._door

    def sweep(self, now: float) -> None:
        """Called about once a second: who kept us waiting too long is let go."""
        limits = self._edge.limits
        age = now - self._since
        if self._blocked:
            if age > limits.write_time:
                self.abort()
        elif self._busy or self._queue:
            return
        elif self._phase == IDLE:
            if age > limits.idle:
                self._transport.close()
        elif self._phase == DONE:
            if age > limits.linger:
                self.abort()
        elif age > (limits.head_time if self._phase == HEAD else limits.body_time):
            self._refuse(408, "The request did not arrive in time.")

    @property
    def at_rest(self) -> bool:
        """Nothing arrives, is worked on, or waits to be sent."""
        return not (self._busy or self._queue or self._blocked) and self._phase == IDLE

    def finish(self) -> None:
        """Ends after what is being worked on; at once if that is nothing."""
        self._finishing = True
        if self._pouring is not None:
            self._pouring.cancel()
        elif self.at_rest:
            self._transport.close()

    def abort(self) -> None:
        # asyncio's TLS transport of CPython 3.11.2 (Debian 12) has forgotten its protocol once it was closed twice
        with contextlib.suppress(AttributeError):
            self._transport.abort()
