"""What programs print: kept on disk, line by line with its time, bounded, and followed as it grows."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from keyfob.clock import Clock

KEPT = 1_000_000
"""Bytes after which a log is put aside as `….1`, in place of the one that was there: twice this is kept."""

LONGEST = 16_000
"""Bytes of one line; what is longer is cut into several."""

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
        self._followers: set[_Follower] = set()
        self._size = path.stat().st_size if path.exists() else 0

    def write(self, stream: str, text: str, *, at: str = "") -> None:
        """One line, of now or of another time. What the disk refuses is lost, never the program."""
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        at = at or now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = Line(at, stream, text)
        data = f"{at} {stream} {text}\n".encode("utf-8", "replace")
        try:
            if self._size + len(data) > KEPT and self._size:
                os.replace(self._path, self._older)
                self._size = 0
            with open(self._path, "ab", opener=_private) as file:
                file.write(data)
            self._size += len(data)
        except OSError:
            pass
        for follower in self._followers:
            follower.hear(line)

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

    def clear(self) -> None:
        """Forget everything: the host is deleted."""
        for path in (self._path, self._older):
            path.unlink(missing_ok=True)
        self._size = 0


class _Follower:
    def __init__(self) -> None:
        self._lines: deque[Line] = deque(maxlen=BEHIND)
        self._more = asyncio.Event()

    def hear(self, line: Line) -> None:
        self._lines.append(line)
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

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._write(line)
        while len(self._rest) > LONGEST:
            self._write(self._rest[:LONGEST])
            self._rest = self._rest[LONGEST:]

    def connection_lost(self, exc: Exception | None) -> None:
        if self._rest:
            self._write(self._rest)

    def _write(self, line: bytes) -> None:
        for start in range(0, len(line) or 1, LONGEST):
            self._log.write(self._stream, line[start : start + LONGEST].decode("utf-8", "replace").rstrip("\r"))


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
