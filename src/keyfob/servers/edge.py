"""What the connections of one server share: its limits, its time, and what each listener does with a request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO, Protocol

from keyfob.wire.http import Reply, Request
from keyfob.wire.http1 import OK

log = logging.getLogger("keyfob.http")

Handler = Callable[[Request], Awaitable[Reply]]
"""The slow way: any request. What it raises becomes a 500 that says nothing."""

Hot = Callable[[bytes, list[tuple[bytes, bytes]]], bytes | None]
"""The fast way, for GET without a body on a connection that stays open: raw target (origin form) and raw headers
(lower-case names) → a whole answer without `Date` (the edge puts it in), or None: take the slow way."""

_OK_LENGTH = len(OK)
LONGEST_KNOWN = 1_024
MOST_KNOWN = 32
"""For each listener, until the next sweep: who never asks twice in the same words costs little."""

Large = Callable[[bytes, list[tuple[bytes, bytes]]], bool]
"""Raw target and raw headers → whether this request may have a large body."""

Connect = Callable[[str, int], Callable[[asyncio.Transport], None] | None]
"""CONNECT to that host and port → who takes the transport over once the client was told yes; None: refused."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    head: int = 64 * 1024
    """Request line and headers. A bearer token with many groups is 10 kB, so this is generous."""
    fields: int = 128
    body: int = 16 * 1024 * 1024
    """Resource Manager takes templates of 4 MB and deployments of more."""
    large: int = 2 * 1024**3
    """For the requests that a door takes large; what is above `body` goes to a file."""
    files: int = 8
    """Such files at a time, of all connections."""
    idle: float = 120.0
    """Between requests. Longer than Go's 90 s, so that the client closes first."""
    head_time: float = 20.0
    body_time: float = 30.0
    """Without one byte of it."""
    write_time: float = 60.0
    """While the client reads nothing of its answer."""
    linger: float = 2.0
    """How long a refused client may go on sending before the connection is cut."""
    handshake: float = 10.0


class Watched(Protocol):
    """A connection, as its server sees it."""

    @property
    def door(self) -> Door: ...

    @property
    def at_rest(self) -> bool: ...

    def sweep(self, now: float) -> None: ...

    def finish(self) -> None: ...

    def abort(self) -> None: ...


@dataclass(slots=True)
class Edge:
    """What all connections of one server share."""

    limits: Limits
    now: float
    """Seconds of the server's clock at its last sweep."""
    date: bytes
    """The `Date` header line of this second."""
    server: str
    request_id: Callable[[], str]
    arm: Callable[[], None]
    """Called when a connection begins: starts the sweep if it sleeps."""
    connections: set[Watched] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    files: list[IO[bytes]] = field(default_factory=list)
    """Bodies of requests that arrive or are worked on."""

    def new_file(self) -> IO[bytes] | None:
        """For a large body; None while there are as many as may be."""
        self.files = [file for file in self.files if not file.closed]
        if len(self.files) >= self.limits.files:
            return None
        self.files.append(TemporaryFile(prefix="keyfob-body-"))  # noqa: SIM115 - closed with its request
        return self.files[-1]

    def dated(self, answer: bytes) -> bytes:
        """A hot answer with this second's `Date`."""
        return b"".join((OK, self.date, answer[_OK_LENGTH:])) if answer.startswith(OK) else answer


@dataclass(slots=True, eq=False)
class Known:
    """A request as it was parsed, which nobody changes; and its last answer, without and with that second's `Date`."""

    target: bytes
    fields: list[tuple[bytes, bytes]]
    answer: bytes = b""
    date: bytes = b""
    dated: bytes = b""


@dataclass(frozen=True, slots=True, eq=False)
class Door:
    """What one listener does with its requests."""

    handler: Handler
    hot: Hot | None
    connect: Connect | None
    listener: str
    scheme: str
    large: Large | None = None
    known: dict[bytes, Known] = field(default_factory=dict)
    """Requests that had a hot answer, by their bytes on the wire: at most `MOST_KNOWN`, without credentials."""

    def ask(self, target: bytes, fields: list[tuple[bytes, bytes]]) -> bytes | None:
        """The hot answer; where that way breaks, the slow one is taken."""
        try:
            return self.hot(target, fields)  # type: ignore[misc]
        except Exception:
            log.exception("a hot answer failed; the slow way is taken", extra={"listener": self.listener})
            return None

    def learn(self, data: bytes, target: bytes, fields: list[tuple[bytes, bytes]]) -> None:
        """`data` began between two messages and a hot answer was given; it is remembered when it was one whole
        request and no more, and holds no credential."""
        if len(data) > LONGEST_KNOWN or data.find(b"\r\n\r\n") != len(data) - 4:
            return
        if any(name == b"authorization" for name, _ in fields):
            return
        self.known[data] = Known(target, fields)
