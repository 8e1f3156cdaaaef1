"""What programs print: kept on disk, line by line with its time, bounded, and followed as it grows."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, cast

from keyfob.clock import Clock

KEPT = 1_000_000
"""Bytes after which a log is put aside as `….1`, in place of the one that was there: twice this is kept."""

LONGEST = 16_000
"""Bytes of one line; what is longer is cut into several."""

PACE = 50_000
"""Lines a second that are taken of one stream: a program that prints more waits, and nobody else."""

BEHIND = 1_000
"""Lines that a slow follower may be behind before it misses the oldest."""


class Line(NamedTuple):
    at: str
    """UTC, RFC 3339 with milliseconds."""

    stream: str
    """`out` and `err` are the program's; `host` is what the host says about it."""

    text: str

    def __str__(self) -> str:
        return f"{self.at} {self.text}"


class ProgramLog:
    """The log of one program, container or site. Several writers may share it."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._older = path.with_name(path.name + ".1")
        self._clock = clock
        self.pouring: set[Pouring] = set()
        """Pipes that lead here."""

        self._followers: set[_Follower] = set()
        self._size = path.stat().st_size if path.exists() else 0

    def write(self, stream: str, text: str, *, at: str = "") -> None:
        """One line, of now or of another time; as many as the text has."""
        self.write_all([(stream, text, at)])

    def write_all(self, given: Iterable[tuple[str, str, str]]) -> None:
        """(stream, text, time), "" for now. What the disk refuses is lost, never the program."""
        now = datetime.fromtimestamp(self._clock.now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        lines = [Line(at or now, stream, line) for stream, text, at in given for line in text.rstrip("\n").split("\n")]
        with contextlib.suppress(OSError):
            self._keep([f"{at} {stream} {text}\n".encode("utf-8", "replace") for at, stream, text in lines])
        for follower in self._followers:
            follower.hear(lines)

    def _keep(self, lines: list[bytes]) -> None:
        """The file is opened once for as many lines as fit: one at a time, a program that prints would stop us all."""
        start, size = 0, self._size
        for number, line in enumerate(lines):
            if size + len(line) > KEPT and size:
                self._append(lines[start:number])
                os.replace(self._path, self._older)
                start, self._size, size = number, 0, 0
            size += len(line)
        self._append(lines[start:])

    def _append(self, lines: list[bytes]) -> None:
        data = b"".join(lines)
        with open(self._path, "ab", opener=_private) as file:
            file.write(data)
        self._size += len(data)

    def tail(self, lines: int | None = None) -> list[Line]:
        """The last lines, oldest first; all that is kept without a number."""
        found: list[Line] = []
        for path in (self._older, self._path):
            try:
                text = path.read_text("utf-8", "replace")
            except OSError:
                continue
            found += [_parse(line) for line in text.split("\n") if line]
        return found if lines is None else found[-lines:] if lines > 0 else []

    async def follow(self, lines: int = 0) -> AsyncIterator[Line]:
        """The last lines, then every line from now on, none twice, until the caller has heard enough."""
        follower = _Follower()
        self._followers.add(follower)
        try:
            for line in self.tail(lines):
                yield line
            while True:
                yield await follower.next()
        finally:
            self._followers.discard(follower)

    async def drained(self, within: float) -> None:
        """Until every pipe that leads here has ended: what a program printed last is there. One that somebody still
        holds after `within` seconds is closed."""
        if self.pouring:
            await asyncio.wait([one.ended for one in self.pouring], timeout=within)
        for one in list(self.pouring):
            one.close()

    def clear(self) -> None:
        """Forget everything: the host is deleted."""
        for path in (self._path, self._older):
            path.unlink(missing_ok=True)
        self._size = 0


class _Follower:
    def __init__(self) -> None:
        self._lines: deque[Line] = deque(maxlen=BEHIND)
        self._more = asyncio.Event()

    def hear(self, lines: list[Line]) -> None:
        self._lines.extend(lines)
        self._more.set()

    async def next(self) -> Line:
        while not self._lines:
            self._more.clear()
            await self._more.wait()
        return self._lines.popleft()


class Pouring(asyncio.Protocol):
    """The reading end of a program's pipe: lines go to the log, an unfinished one when the pipe ends."""

    def __init__(self, log: ProgramLog, stream: str) -> None:
        self._log = log
        self._stream = stream
        self._rest = b""
        self._transport: asyncio.ReadTransport | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        log.pouring.add(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.ReadTransport, transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > LONGEST:
            lines.append(self._rest[:LONGEST])
            self._rest = self._rest[LONGEST:]
        self._write(lines)
        pause = len(lines) / PACE
        if pause > 0.01 and self._transport is not None:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(pause, self._go_on, self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._rest:
            self._write([self._rest])
        self._log.pouring.discard(self)
        if not self.ended.done():
            self.ended.set_result(None)

    @staticmethod
    def _go_on(transport: asyncio.ReadTransport) -> None:
        if not transport.is_closing():
            transport.resume_reading()

    def _write(self, lines: list[bytes]) -> None:
        parts = (line[start : start + LONGEST] for line in lines for start in range(0, len(line) or 1, LONGEST))
        self._log.write_all((self._stream, part.decode("utf-8", "replace").rstrip("\r"), "") for part in parts)


async def pipe_into(log: ProgramLog, stream: str) -> int:
    """A descriptor to write to: what is written there becomes lines of the log. The caller closes it."""
    reading, writing = os.pipe()
    file = os.fdopen(reading, "rb", 0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: Pouring(log, stream), file)
    return writing


def _parse(line: str) -> Line:
    at, _, rest = line.partition(" ")
    stream, _, text = rest.partition(" ")
    return Line(at, stream, text)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
