"""The server's side of a sandbox that it started itself: programs in it, and connections into it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyfob.errors import Conflict, Problem
from keyfob.hosts.sandbox.agent import MESSAGE_LIMIT
from keyfob.hosts.sandbox.control import Opened
from keyfob.hosts.sandbox.protocol import ENDPOINTS
from keyfob.hosts.sandbox.refusal import SandboxUnavailable
from keyfob.resource_id import ResourceId

Inhabit = Callable[[ResourceId, list[socket.socket]], Awaitable[Opened]]
"""Serves the sockets of a sandbox as that host."""


@dataclass(frozen=True, slots=True)
class Furniture:
    """What every program of a sandbox sees. `cover` is hidden: the server's own folder; `grafts` are (source, target).

    `environment` is all that programs get besides what the host sets; nothing of the server's own is passed on.
    """

    ca_pem: bytes
    cover: Sequence[Path]
    environment: Mapping[str, str] = field(default_factory=dict)
    grafts: Sequence[tuple[Path, str]] = ()


@dataclass(frozen=True, slots=True)
class Root:
    """Another file system for one program. Paths are those of the sandbox, where grafts show what they lead to.

    `stage` is any folder to build at; `mounts` are (source, target inside, read only).
    """

    image: str
    stage: str
    mounts: Sequence[tuple[str, str, bool]] = ()


class Process:
    """A program that was started. `output` and `errors` are the ends to read from, None when they go elsewhere."""

    def __init__(self, ident: int, sandbox: Sandbox) -> None:
        self.ident = ident
        self._sandbox = sandbox
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        """The exit code, 128 + n after signal n, as soon as the program has ended; 137 when its sandbox was closed."""
        return await asyncio.shield(self._ended)

    @property
    def ended(self) -> bool:
        return self._ended.done()

    def signal(self, number: int) -> None:
        """To the program and all it started. Nothing happens when it has ended."""
        if not self.ended:
            self._sandbox.send({"signal": self.ident, "number": int(number)})

    async def stop(self, grace: float) -> int:
        """SIGTERM, and SIGKILL after `grace` seconds; the exit code."""
        self.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self.wait(), grace)
        self.signal(signal.SIGKILL)
        return await self.wait()

    def has_ended(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)


class Sandbox:
    """One network and mount namespace, whose listeners answer as one host. Made by `open_sandbox`."""

    def __init__(self, channel: socket.socket, keeper: asyncio.subprocess.Process) -> None:
        self._channel = channel
        self._keeper = keeper
        self._ids = itertools.count(1)
        self._processes: dict[int, Process] = {}
        self._dialled: dict[int, asyncio.Future[socket.socket]] = {}
        self._started: dict[int, asyncio.Future[None]] = {}
        self._opened: Opened | None = None
        self._reader: asyncio.Task[None] | None = None
        self.notes: Sequence[str] = ()
        """Sentences about what could not be shown or hidden."""

    @property
    def closed(self) -> bool:
        return self._channel.fileno() == -1

    @property
    def environment(self) -> Mapping[str, str]:
        """What the host sets for its programs."""
        return self._opened.environment if self._opened is not None else {}

    async def prepare(self, host_id: ResourceId, inhabit: Inhabit, furniture: Furniture) -> None:
        home, *_ = [str(path) for path in furniture.cover if path.is_dir()]
        order = {
            "home": home,
            "cover": [str(path) for path in furniture.cover],
            "sockets": [],
            "ca": furniture.ca_pem.decode(),
            "environment": dict(furniture.environment),
            "grafts": [(str(source), target) for source, target in furniture.grafts],
        }
        await self._say(order)
        _, descriptors = await self._hear()
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        try:
            for sock in sockets:
                sock.setblocking(False)
            self._opened = await inhabit(host_id, sockets)
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        message, _ = await self._hear()
        self.notes = [str(note) for note in message.get("prepared", ())]
        self._reader = asyncio.get_running_loop().create_task(self._read(), name=f"sandbox of {host_id.name}")

    async def start(
        self,
        command: Sequence[str],
        *,
        folder: str = "/",
        environment: Mapping[str, str] | None = None,
        output: int,
        errors: int,
        input: int | None = None,
        root: Root | None = None,
        within: Process | None = None,
    ) -> Process:
        """Start a program. The descriptors stay the caller's: close them once this returns. With a `root` it gets that
        file system, and no variables but `environment`, the host's and those of the authorities; `within` a running
        program it gets the file system of that one.

        A command that is not there ends with 127, one that cannot be run with 126, and says so on `errors`. Raises
        Conflict when the sandbox is closed, SandboxUnavailable when command and environment are too long to pass.
        """
        ident = next(self._ids)
        process = self._processes[ident] = Process(ident, self)
        waiting = self._started[ident] = asyncio.get_running_loop().create_future()
        order = {
            "start": ident,
            "command": list(command),
            "environment": {**self.environment, **(environment or {})},
            "folder": folder,
        }
        if root is not None:
            order["root"] = {"image": root.image, "stage": root.stage, "mounts": list(root.mounts)}
        if within is not None:
            order["within"] = within.ident
        nothing = os.open(os.devnull, os.O_RDONLY) if input is None else -1
        try:
            await self._say(order, [nothing if input is None else input, output, errors])
            await waiting
        except BaseException:
            del self._processes[ident]
            raise
        finally:
            self._started.pop(ident, None)
            if nothing != -1:
                os.close(nothing)
        return process

    async def dial(self, port: int) -> socket.socket:
        """A connection, non-blocking, to what listens on 127.0.0.1:`port` inside. Raises ConnectionRefusedError."""
        ident = next(self._ids)
        answer: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
        self._dialled[ident] = answer
        try:
            await self._say({"dial": ident, "port": port})
            return await answer
        finally:
            self._dialled.pop(ident, None)

    async def gone(self) -> None:
        """Returns when the sandbox has ended, whatever ended it."""
        await self._keeper.wait()

    def send(self, message: Mapping[str, Any]) -> None:
        """Without waiting: signals are few and small."""
        with contextlib.suppress(OSError):
            self._channel.send(json.dumps(message).encode())

    async def close(self) -> None:
        """Ends every program inside at once, and closes the listeners."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None
        self._channel.close()
        self._forget()
        if self._opened is not None:
            opened, self._opened = self._opened, None
            await opened.close()
        with contextlib.suppress(ProcessLookupError):
            self._keeper.kill()
        await self._keeper.wait()

    # --- the channel

    async def _read(self) -> None:
        while True:
            try:
                message, descriptors = await self._hear()
            except (OSError, Problem):
                self._forget()
                return
            self._take(message, descriptors)

    def _take(self, message: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        match message:
            case {"started": ident}:
                _settle(self._started.get(ident), None)
            case {"exited": ident, "code": code}:
                if (process := self._processes.pop(ident, None)) is not None:
                    process.has_ended(code)
            case {"dialled": ident}:
                waiting = self._dialled.get(ident)
                for descriptor in descriptors:
                    sock = socket.socket(fileno=descriptor)
                    sock.setblocking(False)
                    if waiting is None or waiting.done():
                        sock.close()
                    else:
                        waiting.set_result(sock)
            case {"failed_dial": ident, "sentence": sentence}:
                waiting = self._dialled.get(ident)
                if waiting is not None and not waiting.done():
                    waiting.set_exception(ConnectionRefusedError(sentence))

    def _forget(self) -> None:
        """Nothing more will come: whoever waits is told."""
        for process in self._processes.values():
            process.has_ended(128 + signal.SIGKILL)
        self._processes.clear()
        for starting in self._started.values():
            if not starting.done():
                starting.set_exception(Conflict("The sandbox was closed."))
        for dialling in self._dialled.values():
            if not dialling.done():
                dialling.set_exception(ConnectionRefusedError("the sandbox was closed"))

    async def _say(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        data = json.dumps(message).encode()
        if len(data) > MESSAGE_LIMIT:
            raise SandboxUnavailable("The command and its environment are longer than the 192 kB a program may get.")
        loop = asyncio.get_running_loop()
        while True:
            try:
                socket.send_fds(self._channel, [data], list(descriptors))
                return
            except BlockingIOError:
                writable: asyncio.Future[None] = loop.create_future()
                loop.add_writer(self._channel, _settle, writable, None)
                try:
                    await writable
                finally:
                    loop.remove_writer(self._channel)
            except OSError:
                raise Conflict("The sandbox was closed.") from None

    async def _hear(self) -> tuple[dict[str, Any], list[int]]:
        loop = asyncio.get_running_loop()
        readable: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._channel, _settle, readable, None)
        try:
            await readable
        finally:
            loop.remove_reader(self._channel)
        data, descriptors, _, _ = socket.recv_fds(self._channel, MESSAGE_LIMIT, len(ENDPOINTS))
        message: dict[str, Any] = json.loads(data or b"{}")
        if "failed" in message:
            raise SandboxUnavailable(message["failed"])
        if not message:
            raise SandboxUnavailable("The sandbox's first process has ended.")
        return message, descriptors


async def open_sandbox(host_id: ResourceId, inhabit: Inhabit, furniture: Furniture) -> Sandbox:
    """A sandbox of the host, with nothing running in it yet.

    Raises SandboxUnavailable where there are no namespaces, and what `inhabit` raises.
    """
    if sys.platform != "linux":
        raise SandboxUnavailable("Sandboxes need Linux, so this server cannot run programs of hosts itself.")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with theirs:
            keeper = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "keyfob.hosts.sandbox.agent",
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                env={name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
                cwd="/",
            )
    except BaseException:
        ours.close()
        raise
    ours.setblocking(False)
    sandbox = Sandbox(ours, keeper)
    try:
        await sandbox.prepare(host_id, inhabit, furniture)
    except BaseException:
        await sandbox.close()
        raise
    return sandbox


def _settle(waiting: asyncio.Future[None] | None, value: None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(value)
