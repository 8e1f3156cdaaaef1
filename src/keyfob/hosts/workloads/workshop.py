"""Where hosts keep their files, their logs and their sandboxes: one folder each, under the server's data folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from keyfob.clock import Clock
from keyfob.errors import Conflict
from keyfob.hosts.workloads.logs import ProgramLog
from keyfob.hosts.workloads.sandboxed import Furniture, Inhabit, Process, Sandbox, open_sandbox
from keyfob.resource_id import ResourceId

_PASSED = ("LANG", "LC_ALL", "TZ", "PATH")
"""All that programs of hosts get of the server's own environment."""

OUTPUT_KEPT = 4 * 1024 * 1024
"""Bytes of a one-off program's output and errors that are kept, each; the rest is read and thrown away."""

QUIET = 1.0
QUIET_MOST = 10


@dataclass(frozen=True, slots=True)
class Result:
    """`code` is 137 when the program was ended because its time was up."""

    code: int
    output: str = field(repr=False)
    errors: str = field(repr=False)
    timed_out: bool = False


class Workshop:
    """Made once; handed to each kind of host that the server runs programs for."""

    def __init__(self, *, folder: Path, inhabit: Inhabit, ca_pem: bytes, cover: Sequence[Path], clock: Clock) -> None:
        """`folder` holds the hosts' folders; `cover` is what no program may see, the data folder first."""
        self._folder = folder
        self._inhabit = inhabit
        self._ca_pem = ca_pem
        self._cover = tuple(cover)
        self._clock = clock
        self._logs: dict[Path, ProgramLog] = {}
        self._open: dict[Sandbox, str] = {}
        self._later: set[asyncio.Task[None]] = set()

    def folder_of(self, host_id: ResourceId) -> Path:
        """The host's own folder, made when it is not there. Names of resources say nothing about names of files."""
        path = self._place(host_id)
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    def _place(self, host_id: ResourceId) -> Path:
        return self._folder / sha256(host_id.key.encode()).hexdigest()[:32]

    def log_of(self, host_id: ResourceId, name: str = "program") -> ProgramLog:
        """One object for each log, so that who follows hears who writes."""
        path = self.folder_of(host_id) / f"{name}.log"
        if path not in self._logs:
            self._logs[path] = ProgramLog(path, self._clock)
        return self._logs[path]

    def logs_of(self, host_id: ResourceId) -> list[str]:
        """The names of the logs that the host has, whoever wrote them."""
        return sorted(path.name.removesuffix(".log") for path in self._place(host_id).glob("*.log"))

    async def open(
        self,
        host_id: ResourceId,
        *,
        grafts: Sequence[tuple[Path, str]] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Sandbox:
        """A sandbox of the host; see `open_sandbox`. Close it with `close`."""
        base = {name: os.environ[name] for name in _PASSED if name in os.environ}
        furniture = Furniture(
            ca_pem=self._ca_pem,
            cover=self._cover,
            environment={"PATH": os.defpath, **base, **(environment or {})},
            grafts=tuple(grafts),
        )
        sandbox = await open_sandbox(host_id, self._inhabit, furniture)
        self._open[sandbox] = host_id.key
        return sandbox

    async def close(self, sandbox: Sandbox) -> None:
        self._open.pop(sandbox, None)
        await sandbox.close()

    async def end(self, host_id: ResourceId) -> None:
        """The host stops: every sandbox of it is closed, whoever opened it. Their programs end with 137."""
        for sandbox in [one for one, key in self._open.items() if key == host_id.key]:
            with contextlib.suppress(Exception):
                await self.close(sandbox)

    async def run(
        self,
        host_id: ResourceId,
        command: Sequence[str],
        *,
        folder: str = "/",
        environment: Mapping[str, str] | None = None,
        grafts: Sequence[tuple[Path, str]] = (),
        patience: float = 5400.0,
        admit: Callable[[], Awaitable[None]] | None = None,
    ) -> Result:
        """Run one program in a sandbox of its own, to its end; what it leaves running ends with it. Raises what `open`
        raises, and Conflict when the host is stopped meanwhile. `admit` raises when the host may not run programs: it
        is asked when the sandbox is open, so that from then on `end` is heard."""
        sandbox = await self.open(host_id, grafts=grafts)
        try:
            if admit is not None:
                await admit()
            return await run_in(sandbox, command, folder=folder, environment=environment, patience=patience)
        finally:
            await self.close(sandbox)

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Work that nobody waits for. It is given up when the server stops."""
        task = asyncio.get_running_loop().create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    def forget(self, host_id: ResourceId) -> None:
        """The host is deleted: so are its files and its logs."""
        folder = self._place(host_id)
        for path in [path for path in self._logs if path.parent == folder]:
            del self._logs[path]
        shutil.rmtree(folder, ignore_errors=True)

    async def shut(self) -> None:
        """The server stops: every sandbox is ended."""
        for task in list(self._later):
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)
        for sandbox in list(self._open):
            with contextlib.suppress(Exception):
                await self.close(sandbox)


async def run_in(
    sandbox: Sandbox,
    command: Sequence[str],
    *,
    folder: str = "/",
    environment: Mapping[str, str] | None = None,
    within: Process | None = None,
    patience: float,
) -> Result:
    """One program in an open sandbox, to its end or until `patience` seconds are over. A daemon that it leaves behind
    may hold its pipes open: what comes after the program's end is read only while there is some, and not for long.
    Raises Conflict when the sandbox is closed meanwhile."""
    (read_output, output), (read_errors, errors) = os.pipe(), os.pipe()
    streams = [_Stream(), _Stream()]
    reading = [
        asyncio.ensure_future(stream.collect(end))
        for stream, end in zip(streams, (read_output, read_errors), strict=True)
    ]
    try:
        process = await sandbox.start(
            command, folder=folder, environment=environment, output=output, errors=errors, within=within
        )
    finally:  # when it could not be started, this ends the reading too
        os.close(output)
        os.close(errors)
    code, timed_out = await _ended(process, patience)
    await _drained(streams, reading)
    if sandbox.closed:
        raise Conflict("The machine was stopped while the program ran.", code="OperationPreempted")
    return Result(code, streams[0].text, streams[1].text, timed_out)


async def _ended(process: Process, patience: float) -> tuple[int, bool]:
    try:
        async with asyncio.timeout(patience):
            return await process.wait(), False
    except TimeoutError:
        return await process.stop(1.0), True


async def _drained(streams: Sequence[_Stream], reading: Sequence[asyncio.Task[None]]) -> None:
    """Until both pipes have ended, nothing more has come for `QUIET` seconds, or `QUIET_MOST` times something has."""
    for _ in range(QUIET_MOST):
        before = [stream.seen for stream in streams]
        _, open_ones = await asyncio.wait(reading, timeout=QUIET)
        if not open_ones or before == [stream.seen for stream in streams]:
            break
    for one in reading:
        one.cancel()
    await asyncio.gather(*reading, return_exceptions=True)


class _Stream:
    """What a program wrote to one of its streams."""

    def __init__(self) -> None:
        self.seen = 0
        self._kept = bytearray()

    @property
    def text(self) -> str:
        return self._kept.decode("utf-8", "replace")

    async def collect(self, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        file = os.fdopen(descriptor, "rb", 0)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        try:
            while data := await reader.read(64 * 1024):
                self.seen += len(data)
                self._kept += data[: OUTPUT_KEPT - len(self._kept)]
        finally:
            transport.close()
