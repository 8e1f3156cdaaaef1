"""A group in an engine: one container that holds the network, in which this server listens, and the group's own.

Everything carries labels, so that a server that comes after a killed one finds what still runs, and what is left of
groups that are gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyfob.errors import Conflict
from keyfob.hosts.container_instances.engine import Engine, Known, Run, pause, until_ended
from keyfob.hosts.container_instances.engine_logs import EngineLog
from keyfob.hosts.container_instances.model import Container, Group
from keyfob.hosts.container_instances.places import GRACE, Started, lay_volumes, remove_volumes
from keyfob.hosts.sandbox.control import Opened
from keyfob.hosts.sandbox.protocol import DNS_ADDRESS
from keyfob.hosts.sandbox.rooted import AUTHORITY, BUNDLE, SYSTEM_BUNDLE, TRUST
from keyfob.hosts.sandbox.trust import system_bundles
from keyfob.hosts.workloads.joined import join_network
from keyfob.hosts.workloads.logs import ProgramLog
from keyfob.hosts.workloads.sandboxed import Inhabit
from keyfob.resource_id import ResourceId

SERVER, GROUP, GENERATION, CONTAINER = "keyfob.server", "keyfob.group", "keyfob.generation", "keyfob.container"
"""Labels: whose, of which group, of which of its starts, which container; the one with the network has no name."""

POURED = 0.3
"""Seconds between two looks at what containers have printed."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a group in an engine stands on."""

    engine: Engine
    host_id: ResourceId
    folder: Path
    """The group's own; what is in it lives as long as the group."""

    server: str
    """Tells this server's containers from those of others in the same engine."""

    generation: int
    inhabit: Inhabit
    ca_pem: bytes

    @property
    def prefix(self) -> str:
        return f"keyfob-{self.server[:8]}-{self.folder.name[:12]}"

    @property
    def owner(self) -> str:
        return f"{self.server}/{self.folder.name}"

    def labels(self, container: str) -> dict[str, str]:
        return {
            SERVER: self.server,
            GROUP: self.owner,
            GENERATION: str(self.generation),
            CONTAINER: container,
        }


async def open_place(ground: Ground, group: Group) -> EnginePlace:
    """A network for the group, with its endpoints. What an earlier one left goes. Raises EngineFailed,
    SandboxUnavailable."""
    await clear(ground)
    try:
        volumes = lay_volumes(group, ground.folder)
        known = await ground.engine.start(pause(ground.prefix, ground.labels("")))
        opened = await join_network(ground.host_id, known.pid, ground.inhabit)
    except BaseException:
        await clear(ground)
        raise
    return EnginePlace(ground, known, opened, volumes, {})


async def find_place(ground: Ground, group: Group) -> EnginePlace | None:
    """The place of this very start of the group, when it outlived the server that opened it."""
    found = {one.labels.get(CONTAINER, ""): one for one in await ground.engine.labelled(f"{GROUP}={ground.owner}")}
    network = found.pop("", None)
    if network is None or not network.running or network.labels.get(GENERATION) != str(ground.generation):
        return None
    opened = await join_network(ground.host_id, network.pid, ground.inhabit)
    return EnginePlace(ground, network, opened, lay_volumes(group, ground.folder, keep=True), found)


async def clear(ground: Ground) -> None:
    """Remove whatever the engine has of the group. Raises EngineFailed."""
    await remove(ground.engine, await ground.engine.labelled(f"{GROUP}={ground.owner}"))


async def remove(engine: Engine, found: Sequence[Known]) -> None:
    """Remove these: networks after the containers that share them."""
    await engine.remove([one.id for one in found if one.labels.get(CONTAINER)])
    await engine.remove([one.id for one in found if not one.labels.get(CONTAINER)])


class EnginePlace:
    def __init__(
        self,
        ground: Ground,
        network: Known,
        opened: Opened,
        volumes: Mapping[str, Path],
        before: dict[str, Known],
    ) -> None:
        self._ground = ground
        self._engine = ground.engine
        self._network = network
        self._opened = opened
        self._volumes = volumes
        self._before = before
        self._running: dict[str, _Running] = {}
        self._files = _write_files(ground.folder / "shown", ground.ca_pem)

    @property
    def name(self) -> str:
        return self._engine.program

    async def start(self, container: Container, log: ProgramLog) -> Started:
        name = f"{self._ground.prefix}-{container.name}"
        file = self._ground.folder / f"{container.name}.engine-log"
        await self._engine.remove([name])
        file.unlink(missing_ok=True)
        log.clear()
        mounts = [(str(source), target, True) for target, source in self._files.items()]
        mounts += [(str(self._volumes[one.volume]), one.path, one.read_only) for one in container.mounts]
        known = await self._engine.start(
            Run(
                name,
                container.image,
                self._ground.labels(container.name),
                f"container:{self._network.id}",
                container.command,
                {**TRUST, **self._opened.environment, **container.environment},
                mounts,
                str(file),
            )
        )
        return self._watched(container, known, log)

    def before(self, container: Container, log: ProgramLog) -> Started | None:
        known = self._before.pop(container.name, None)
        if known is None:
            return None
        log.clear()  # and read again, whole: nobody knows how far the other server had come
        return self._watched(container, known, log)

    def _watched(self, container: Container, known: Known, log: ProgramLog) -> _Running:
        file = Path(known.log) if known.log else self._ground.folder / f"{container.name}.engine-log"
        running = self._running[container.name] = _Running(self._engine, known, EngineLog(file, log))
        return running

    async def lost(self) -> str:
        await until_ended(self._network.pid)
        return "The network of the group has ended; all of it is made anew."

    def flush(self) -> None:
        for running in self._running.values():
            running.log.pour()

    async def execute(self, container: Container, command: Sequence[str]) -> tuple[int, str, str]:
        running = self._running.get(container.name)
        if running is None:
            raise Conflict(f"The container '{container.name}' does not run.", code="ContainerNotRunning")
        return await self._engine.execute(running.known, command)

    async def close(self, grace: float = GRACE) -> None:
        names = [running.known.id for running in self._running.values()]
        names += [known.id for known in self._before.values()]
        await self._engine.stop(names, grace)
        self.flush()
        await clear(self._ground)
        await self._opened.close()
        remove_volumes(self._ground.folder)


class _Running:
    def __init__(self, engine: Engine, known: Known, log: EngineLog) -> None:
        self.known = known
        self.log = log
        self._engine = engine

    async def wait(self) -> int:
        ending = asyncio.ensure_future(self._engine.wait(self.known))
        try:
            while not ending.done():
                await asyncio.wait([ending], timeout=POURED)
                self.log.pour()
            self.log.pour(last=True)
            return ending.result()
        finally:
            ending.cancel()


def _write_files(folder: Path, ca_pem: bytes) -> dict[str, Path]:
    """What containers see in place of their own: path inside → file."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    bundles = system_bundles()
    whole = (Path(bundles[0]).read_bytes().rstrip(b"\n") + b"\n" if bundles else b"") + ca_pem
    made: dict[str, Path] = {}
    for name, paths, content in (
        ("ca-bundle.pem", (BUNDLE, SYSTEM_BUNDLE), whole),
        ("ca.pem", (AUTHORITY,), ca_pem),
        ("resolv.conf", ("/etc/resolv.conf",), f"nameserver {DNS_ADDRESS}\n".encode()),
        ("hosts", ("/etc/hosts",), b"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"),
    ):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o644)
        made |= dict.fromkeys(paths, folder / name)
    return made
