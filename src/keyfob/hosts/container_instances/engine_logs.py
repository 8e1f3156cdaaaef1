"""The log file that an engine writes for a container, poured into the container's log as it grows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from keyfob.hosts.workloads.logs import ProgramLog

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
        self._begun: dict[str, str] = {}

    def pour(self, *, last: bool = False) -> None:
        """What has come since the last time. `last`: nothing more will, so an unfinished line is a line."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._at)
                data = file.read()
        except OSError:
            data = b""
        whole = data.rfind(b"\n") + 1
        self._at += whole
        for line in data[:whole].split(b"\n")[:-1]:
            part = parse(line.decode("utf-8", "replace"))
            if part is not None:
                self._take(part)
        if last:
            for stream, text in self._begun.items():
                self._log.write(stream, text)
            self._begun.clear()

    def _take(self, part: Part) -> None:
        text = self._begun.pop(part.stream, "") + part.text
        if part.whole:
            self._log.write(part.stream, text, at=part.at)
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
