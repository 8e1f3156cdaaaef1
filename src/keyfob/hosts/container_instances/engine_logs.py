"""The log file that an engine writes for a container, poured into the container's log as it grows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from keyfob.hosts.workloads.logs import KEPT, LONGEST, ProgramLog

AT_ONCE = 2 * KEPT
"""Bytes that are read at a time; what lies before them is passed over, since no more is kept."""

_STREAMS = {"stdout": "out", "stderr": "err"}


class Part(NamedTuple):
    """What one line of the file says. `whole` is false when the rest of the program's line follows."""

    at: str
    stream: str
    text: str
    whole: bool


class EngineLog:
    """Reads from where it stopped. A new one reads from the beginning: clear the other log first."""

    def __init__(self, path: Path, log: ProgramLog) -> None:
        self._path = path
        self._log = log
        self._at = 0
        self._file = 0
        """Which file: an engine puts a large one aside and begins another."""

        self._begun: dict[str, str] = {}

    def pour(self, *, last: bool = False) -> None:
        """What has come since the last time. `last`: nothing more will, so an unfinished line is a line."""
        data = self._read()
        whole = data.rfind(b"\n") + 1
        self._at += whole
        parts = (parse(line.decode("utf-8", "replace")) for line in data[:whole].split(b"\n")[:-1])
        self._log.write_all([line for part in parts if part is not None for line in self._lines(part)])
        if last:
            self._log.write_all([(stream, text, "") for stream, text in self._begun.items()])
            self._begun.clear()

    def _read(self) -> bytes:
        try:
            with open(self._path, "rb") as file:
                found = os.fstat(file.fileno())
                if found.st_ino != self._file or found.st_size < self._at:
                    self._file, self._at = found.st_ino, 0
                self._at = max(self._at, found.st_size - AT_ONCE)
                file.seek(self._at)
                return file.read(AT_ONCE)
        except OSError:
            return b""

    def _lines(self, part: Part) -> Iterator[tuple[str, str, str]]:
        text = self._begun.pop(part.stream, "") + part.text
        while len(text) > LONGEST:
            yield part.stream, text[:LONGEST], part.at
            text = text[LONGEST:]
        if part.whole:
            yield part.stream, text, part.at
        else:
            self._begun[part.stream] = text


def parse(line: str) -> Part | None:
    """A line as Podman writes it (the form of Kubernetes: time, stream, F or P, text) or as Docker does (JSON)."""
    if line.startswith("{"):
        try:
            row = json.loads(line)
            text, stream = str(row["log"]), _STREAMS[row["stream"]]
        except (ValueError, KeyError, TypeError):
            return None
        return Part(_time(str(row.get("time", ""))), stream, text.rstrip("\n"), text.endswith("\n"))
    at, _, rest = line.partition(" ")
    stream, _, rest = rest.partition(" ")
    flag, _, text = rest.partition(" ")
    return Part(_time(at), _STREAMS[stream], text, flag == "F") if stream in _STREAMS else None


def _time(given: str) -> str:
    """In UTC with milliseconds, of a time in any zone with nanoseconds."""
    try:
        moment = datetime.fromisoformat(given).astimezone(UTC)
    except ValueError:
        return ""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
