"""A group without an engine: one sandbox, in which each container is a process on a root of its own.

The root is the image that was imported, with a layer in memory above it. Containers of the group see each other's
processes, and all run as the server's user.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from keyfob.errors import Conflict
from keyfob.hosts.container_instances.images import Image
from keyfob.hosts.container_instances.model import CannotRun, Container, Group
from keyfob.hosts.container_instances.places import GRACE, Started, lay_volumes, remove_volumes
from keyfob.hosts.workloads.logs import ProgramLog, pipe_into
from keyfob.hosts.workloads.sandboxed import Process, Root, Sandbox
from keyfob.hosts.workloads.workshop import Workshop, run_in
from keyfob.resource_id import ResourceId

PROCESSES = "processes"

_HERE = "/run/keyfob"
"""Where the sandbox shows what roots are made of. Programs do not see it: they have roots of their own."""


async def open_place(
    workshop: Workshop, host_id: ResourceId, group: Group, images: Mapping[str, Image], folder: Path
) -> ProcessPlace:
    """A sandbox for the group; `images` has each that it names. Raises SandboxUnavailable."""
    lay_volumes(group, folder)
    stage = folder / "stage"
    stage.mkdir(exist_ok=True)
    places = {name: f"{_HERE}/images/{number}" for number, name in enumerate(images)}
    grafts = [(stage, f"{_HERE}/stage"), *((images[name].root, place) for name, place in places.items())]
    if group.volumes:
        grafts.append((folder / "volumes", f"{_HERE}/volumes"))
    sandbox = await workshop.open(host_id, grafts=grafts)
    return ProcessPlace(workshop, sandbox, group, images, places, folder)


class ProcessPlace:
    name = PROCESSES

    def __init__(
        self,
        workshop: Workshop,
        sandbox: Sandbox,
        group: Group,
        images: Mapping[str, Image],
        places: Mapping[str, str],
        folder: Path,
    ) -> None:
        self._workshop = workshop
        self._sandbox = sandbox
        self._volumes = {volume.name: f"{_HERE}/volumes/{number}" for number, volume in enumerate(group.volumes)}
        self._images = images
        self._places = places
        self._folder = folder
        self._running: dict[str, Process] = {}

    async def start(self, container: Container, log: ProgramLog) -> Started:
        image = self._images[container.image]
        command = container.command or image.command
        if not command:
            raise CannotRun(f"The image '{container.image}' names no command, nor does the container.")
        log.clear()
        output, errors = await pipe_into(log, "out"), await pipe_into(log, "err")
        try:
            process = await self._sandbox.start(
                command,
                folder=image.folder,
                environment={**image.environment, **container.environment},
                output=output,
                errors=errors,
                root=self._root(container),
            )
        finally:
            os.close(output)
            os.close(errors)
        self._running[container.name] = process
        return process

    def _root(self, container: Container) -> Root:
        mounts = [(self._volumes[one.volume], one.path, one.read_only) for one in container.mounts]
        return Root(self._places[container.image], f"{_HERE}/stage", mounts)

    def before(self, container: Container, log: ProgramLog) -> Started | None:
        return None  # processes end with the server

    async def lost(self) -> str:
        await self._sandbox.gone()
        return "The sandbox of the group has ended; all of it is made anew."

    def flush(self) -> None:
        """Pipes bring what is printed by themselves."""

    async def execute(self, container: Container, command: Sequence[str]) -> tuple[int, str, str]:
        process = self._running.get(container.name)
        if process is None or process.ended:
            raise Conflict(f"The container '{container.name}' does not run.", code="ContainerNotRunning")
        image = self._images[container.image]
        done = await run_in(
            self._sandbox,
            command,
            folder=image.folder,
            environment={**image.environment, **container.environment},
            within=process,
            patience=600,
        )
        return done.code, done.output, done.errors

    async def close(self, grace: float = GRACE) -> None:
        for process in self._running.values():
            if not process.ended:
                await process.stop(grace)
        await self._workshop.close(self._sandbox)
        remove_volumes(self._folder)
