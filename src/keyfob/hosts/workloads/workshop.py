"""Where hosts keep their files, their logs and their sandboxes: one folder each, under the server's data folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from keyfob.clock import Clock
from keyfob.hosts.workloads.logs import ProgramLog
from keyfob.hosts.workloads.sandboxed import Furniture, Inhabit, Process, Sandbox, open_sandbox
from keyfob.resource_id import ResourceId

_PASSED = ("LANG", "LC_ALL", "TZ", "PATH")
"""All that programs of hosts get of the server's own environment."""

OUTPUT_KEPT = 4 * 1024 * 1024
"""Bytes of a one-off program's output and errors that are kept, each; the rest is read and thrown away."""


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
        self._open: set[Sandbox] = set()

    def folder_of(self, host_id: ResourceId) -> Path:
        """The host's own folder, made when it is not there. Names of resources say nothing about names of files."""
        path = self._folder / sha256(host_id.key.encode()).hexdigest()[:32]
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    def log_of(self, host_id: ResourceId, name: str = "program") -> ProgramLog:
        """One object for each log, so that who follows hears who writes."""
        path = self.folder_of(host_id) / f"{name}.log"
        if path not in self._logs:
            self._logs[path] = ProgramLog(path, self._clock)
        return self._logs[path]

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
        self._open.add(sandbox)
        return sandbox

    async def close(self, sandbox: Sandbox) -> None:
        self._open.discard(sandbox)
        await sandbox.close()

    async def run(
        self,
        host_id: ResourceId,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        patience: float = 5400.0,
    ) -> Result:
        """Run one program in a sandbox of its own, to its end. Raises what `open` raises."""
        sandbox = await self.open(host_id)
        try:
            return await run_in(sandbox, command, environment=environment, patience=patience)
        finally:
            await self.close(sandbox)

    def forget(self, host_id: ResourceId) -> None:
        """The host is deleted: so are its files and its logs."""
        folder = self.folder_of(host_id)
        for path in [path for path in self._logs if path.parent == folder]:
            del self._logs[path]
        shutil.rmtree(folder, ignore_errors=True)

    async def shut(self) -> None:
        """The server stops: every sandbox is ended."""
        for sandbox in list(self._open):
            with contextlib.suppress(Exception):
                await self.close(sandbox)


async def run_in(
    sandbox: Sandbox,
    command: Sequence[str],
    *,
    folder: str = "/",
    environment: Mapping[str, str] | None = None,
    patience: float,
) -> Result:
    """One program in an open sandbox, to its end or until `patience` seconds are over."""
    (read_output, output), (read_errors, errors) = os.pipe(), os.pipe()
    kept = [asyncio.ensure_future(_collect(read_output)), asyncio.ensure_future(_collect(read_errors))]
    try:
        process = await sandbox.start(command, folder=folder, environment=environment, output=output, errors=errors)
    finally:
        os.close(output)
        os.close(errors)
    code, timed_out = await _ended(process, patience)
    texts = [data.decode("utf-8", "replace") for data in await asyncio.gather(*kept)]
    return Result(code, texts[0], texts[1], timed_out)


async def _ended(process: Process, patience: float) -> tuple[int, bool]:
    try:
        async with asyncio.timeout(patience):
            return await process.wait(), False
    except TimeoutError:
        return await process.stop(1.0), True


async def _collect(descriptor: int) -> bytes:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    file = os.fdopen(descriptor, "rb", 0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    kept = bytearray()
    try:
        while data := await reader.read(64 * 1024):
            kept += data[: OUTPUT_KEPT - len(kept)]
    finally:
        transport.close()
    return bytes(kept)
