"""Every container group that this server runs: what is stored says what is to run, and this makes it so.

Each group has one task, woken by changes of its resource. A group belongs to the server that was asked last to start
it, so that of several servers on one database one runs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from keyfob.arm.model import DELETING, Resource
from keyfob.arm.resources import RESOURCES, get_resource
from keyfob.clock import Clock
from keyfob.errors import Conflict, Problem
from keyfob.hosts.container_instances import engine_place, process_place, states
from keyfob.hosts.container_instances.engine import Engine, engines
from keyfob.hosts.container_instances.engine_place import SERVER, Ground
from keyfob.hosts.container_instances.images import Image, Images
from keyfob.hosts.container_instances.model import Group, read_group
from keyfob.hosts.container_instances.places import GRACE, ImageMissing, Place
from keyfob.hosts.container_instances.running import Pause, RunningGroup, Surroundings
from keyfob.hosts.container_instances.secrets import SecretsSeal
from keyfob.hosts.container_instances.states import GENERATION, RUNNING, STATE, Seen, SeenGroup
from keyfob.hosts.workloads.joined import bound_in
from keyfob.hosts.workloads.logs import Line
from keyfob.hosts.workloads.sandboxed import Inhabit
from keyfob.hosts.workloads.workshop import Workshop
from keyfob.resource_id import ResourceId
from keyfob.store.port import EVERYTHING, Store

log = logging.getLogger(__name__)

TYPE = "Microsoft.ContainerInstance/containerGroups"
NODE = "keyfob.node"
"""The stored property that says which server runs the group."""

SECRETS = "keyfob.secrets"
"""The stored property with the sealed values."""

LAST_GRACE = 1.0
"""Seconds that containers have when the server stops, which has ten of them for everything."""

_PART = f"/providers/{TYPE}/".lower()


@dataclass(eq=False)
class _Slot:
    """One group."""

    woken: asyncio.Event = field(default_factory=asyncio.Event)
    seen: SeenGroup = field(default_factory=SeenGroup)
    known: bool = False
    """Whether what an earlier server saw was read."""

    running: RunningGroup | None = None
    ending: asyncio.Future[None] | None = None
    task: asyncio.Task[None] | None = None


class Groups:
    """A runner of `app.parts`."""

    def __init__(
        self,
        *,
        store: Store,
        workshop: Workshop,
        inhabit: Inhabit,
        ca_pem: bytes,
        seal: SecretsSeal,
        folder: Path,
        clock: Clock,
        find_engines: Callable[[Mapping[str, str]], Sequence[Engine]] = engines,
        pause: Pause = asyncio.sleep,
    ) -> None:
        """`folder` is the server's own: in it lie imported images, and who this server is."""
        self._store = store
        self._workshop = workshop
        self._inhabit = inhabit
        self._ca_pem = ca_pem
        self._seal = seal
        self._folder = folder
        self._clock = clock
        self._pause = pause
        self._images = Images(folder / "images")
        self._find_engines = find_engines
        self._engines: Sequence[Engine] | None = None
        self._slots: dict[str, _Slot] = {}
        self._works = False
        self._node = ""

    # --- the runner

    async def start(self) -> None:
        """Takes up what an earlier server left, and starts what is to run."""
        self._works = True
        self._store.watch(RESOURCES.topic, self._changed)
        found = {row.key for row in await RESOURCES.find(self._store, "type", TYPE.lower())}
        for key in found:
            self._wake(key)
        if self._marker.exists():
            self._workshop.later(self._sweep(found))

    async def stop(self) -> None:
        """Ends every container. They are started again with the next server."""
        self._works = False
        slots, self._slots = list(self._slots.values()), {}
        for slot in slots:
            if slot.task is not None:
                slot.task.cancel()
        await asyncio.gather(*(slot.task for slot in slots if slot.task is not None), return_exceptions=True)
        await asyncio.gather(*(self._end(slot, LAST_GRACE) for slot in slots), return_exceptions=True)

    # --- what others ask

    @property
    def node(self) -> str:
        """Who this server is, the same after a restart. Written when a group is made for the first time."""
        if not self._node:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._folder / "node"
            with contextlib.suppress(FileExistsError), open(path, "x", encoding="ascii") as file:
                file.write(uuid.uuid4().hex)
            self._node = path.read_text("ascii").strip()
        return self._node

    def seen(self, id: ResourceId, stored: Mapping[str, Any]) -> SeenGroup | None:
        """What is seen of a group that this server runs; None of others, and before this server runs any."""
        if not self._works or stored.get(NODE, self.node) != self.node:
            return None
        slot = self._slots.get(id.key)
        return slot.seen if slot is not None else SeenGroup(-1)

    def log(self, id: ResourceId, container: str, tail: int | None = None) -> list[Line]:
        """The last lines of a container's present run."""
        slot = self._slots.get(id.key)
        if slot is not None and slot.running is not None and slot.running.place is not None:
            slot.running.place.flush()
        return self._workshop.log_of(id, container).tail(tail)

    async def execute(self, id: ResourceId, container: str, command: Sequence[str]) -> tuple[int, str, str]:
        """One program more in a running container: exit code, output, errors. Raises Conflict."""
        slot = self._slots.get(id.key)
        place = slot.running.place if slot is not None and slot.running is not None else None
        group = slot.running.group if slot is not None and slot.running is not None else None
        found = next((one for one in group.all if one.name == container), None) if group is not None else None
        if place is None or found is None:
            raise Conflict(f"The container '{container[:63]}' does not run.", code="ContainerNotRunning")
        return await place.execute(found, command)

    # --- one group

    def _changed(self, key: str) -> None:
        if not self._works:
            return
        if key == EVERYTHING:
            self._workshop.later(self._look_at_all())
        elif _PART in key:
            self._wake(key)

    async def _look_at_all(self) -> None:
        for key in {*self._slots, *(row.key for row in await RESOURCES.find(self._store, "type", TYPE.lower()))}:
            self._wake(key)

    def _wake(self, key: str) -> None:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = _Slot()
            slot.task = asyncio.get_running_loop().create_task(self._tend(key, slot), name="container group")
        slot.woken.set()

    async def _tend(self, key: str, slot: _Slot) -> None:
        while True:
            await slot.woken.wait()
            slot.woken.clear()
            try:
                resource = await get_resource(self._store, ResourceId.parse(key))
                if resource is None or resource.provisioning_state == DELETING:
                    await self._end(slot)
                    if resource is None:
                        self._workshop.forget(ResourceId.parse(key))
                        if not slot.woken.is_set():
                            self._slots.pop(key, None)
                            return
                else:
                    await self._follow(slot, resource)
            except Problem as problem:
                log.warning("the container group %s: %s", key, problem.message)
            except Exception:
                log.exception("the container group %s", key)

    async def _follow(self, slot: _Slot, resource: Resource) -> None:
        """Let what runs be what is wanted."""
        stored = resource.properties
        wanted = stored.get(STATE, RUNNING) == RUNNING and stored.get(NODE, self.node) == self.node
        generation = int(stored.get(GENERATION, 0))
        id = ResourceId.parse(resource.id)
        folder = self._workshop.folder_of(id)
        if not slot.known:
            slot.seen, slot.known = _read(folder) or SeenGroup(), True
        if wanted and slot.running is not None and slot.seen.generation == generation:
            return
        await self._end(slot)
        if not wanted:
            return
        if slot.seen.generation != generation:
            slot.seen = SeenGroup(generation, events=slot.seen.events)
        if slot.seen.state in (states.SUCCEEDED, states.FAILED):
            return  # it has run to its end, under a server before this one
        try:
            group = read_group(stored, self._seal.open(stored.get(SECRETS), id))
        except Problem as problem:
            slot.seen.state = states.FAILED
            states.note(slot.seen.events, "Failed", problem.message, self._clock.now(), warning=True)
            for container in stored.get("containers") or []:
                slot.seen.containers[str(container.get("name"))] = Seen(states.Moment(states.WAITING, "Failed"))
            _write(folder, slot.seen)
            return
        slot.running = RunningGroup(group, slot.seen, self._surroundings(id, group, slot, folder))
        slot.running.start()

    async def _end(self, slot: _Slot, grace: float = GRACE) -> None:
        """Whole, also when whoever asked for it is cancelled: who asks next waits for the same end."""
        running, slot.running = slot.running, None
        if running is not None:
            slot.ending = asyncio.ensure_future(running.stop(grace))
        if slot.ending is not None:
            await asyncio.shield(slot.ending)

    def _surroundings(self, id: ResourceId, group: Group, slot: _Slot, folder: Path) -> Surroundings:
        before, generation = slot.seen.place, slot.seen.generation

        async def open_() -> Place:
            engine = await self._engine_for(group)
            if engine is not None:
                return await engine_place.open_place(self._ground(engine, id, generation), group)
            return await process_place.open_place(self._workshop, id, group, self._imported(group), folder)

        async def find() -> Place | None:
            for engine in self._known_engines():
                if engine.program == before:
                    await engine.works(_reach)
                    return await engine_place.find_place(self._ground(engine, id, generation), group)
            return None

        async def clear() -> None:
            for engine in self._known_engines():
                if engine.program == slot.seen.place:
                    await engine_place.clear(self._ground(engine, id, generation))

        return Surroundings(
            open=open_,
            find=find,
            clear=clear,
            log=lambda name: self._workshop.log_of(id, name),
            save=lambda: _write(folder, slot.seen),
            clock=self._clock,
            pause=self._pause,
        )

    # --- images and engines

    async def _engine_for(self, group: Group) -> Engine | None:
        """The first engine that has every image and works; None when all were imported. Raises ImageMissing."""
        names = list(dict.fromkeys(container.image for container in group.all))
        trouble, missing = "", names
        for engine in self._known_engines():
            here = [name for name in names if not await engine.has_image(name)]
            if not here:
                assert self.node  # with which everything in the engine is labelled
                self._marker.touch()
                try:
                    await engine.works(_reach)
                    return engine
                except Problem as problem:
                    trouble, missing = problem.message, []
            elif len(here) < len(missing):
                missing = here
        absent = [name for name in names if self._images.find(name) is None]
        if not absent:
            return None
        if trouble:
            raise ImageMissing(
                f'The image "{absent[0]}" is in an engine that cannot be used, and not imported. {trouble}'
            )
        name = next((one for one in missing if one in absent), absent[0])
        raise ImageMissing(
            f'Failed to pull image "{name}": the image is not accessible. Nothing is fetched here: build or pull it '
            "with Podman or Docker, or import a file system with `keyfob image import`."
        )

    def _imported(self, group: Group) -> Mapping[str, Image]:
        found = {container.image: self._images.find(container.image) for container in group.all}
        return {name: image for name, image in found.items() if image is not None}

    def _known_engines(self) -> Sequence[Engine]:
        if self._engines is None:
            self._engines = self._find_engines(os.environ)
        return self._engines

    def _ground(self, engine: Engine, id: ResourceId, generation: int) -> Ground:
        folder = self._workshop.folder_of(id)
        return Ground(engine, id, folder, self.node, generation, self._inhabit, self._ca_pem)

    @property
    def _marker(self) -> Path:
        """Says that an engine may have something of this server's: nobody asks one before that."""
        return self._folder / "engine-used"

    async def _sweep(self, groups: set[str]) -> None:
        """Remove containers of groups that are gone: a server was killed while it removed them."""
        owners = {f"{self.node}/{self._workshop.folder_of(ResourceId.parse(key)).name}" for key in groups}
        for engine in self._known_engines():
            with contextlib.suppress(Problem):
                found = await engine.labelled(f"{SERVER}={self.node}")
                gone = [one for one in found if one.labels.get(engine_place.GROUP) not in owners]
                await engine_place.remove(engine, gone)


async def _reach(pid: int) -> None:
    for sock in await bound_in(pid):
        sock.close()


def _read(folder: Path) -> SeenGroup | None:
    try:
        return msgspec.json.decode((folder / "seen.json").read_bytes(), type=SeenGroup)
    except (OSError, msgspec.MsgspecError):
        return None


def _write(folder: Path, seen: SeenGroup) -> None:
    """Whole or not at all. A group that is being deleted has no folder any more."""
    new = folder / "seen.json.new"
    with contextlib.suppress(OSError):
        new.write_bytes(msgspec.json.encode(seen))
        new.replace(folder / "seen.json")
