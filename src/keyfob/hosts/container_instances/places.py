"""Where the containers of a group run: in an engine, or as processes of the group's sandbox.

Either is a `Place`: opened once for a group, it starts containers, and ends with all of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from keyfob.errors import Problem
from keyfob.hosts.container_instances.model import Container, Group
from keyfob.hosts.workloads.logs import ProgramLog

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""


class ImageMissing(Problem):
    """An image that is neither in the engine nor imported. Nothing is ever fetched, and nothing else run instead."""

    code = "InaccessibleImage"


class Started(Protocol):
    """A container that was started."""

    async def wait(self) -> int:
        """The exit code, as soon as it has ended."""
        ...


class Place(Protocol):
    @property
    def name(self) -> str:
        """Of the engine, or `processes`."""
        ...

    async def start(self, container: Container, log: ProgramLog) -> Started:
        """Starts it anew; what is left of one that ended goes. Raises a Problem that says why it cannot be."""
        ...

    def before(self, container: Container, log: ProgramLog) -> Started | None:
        """The one that a server before this one started, running or ended."""
        ...

    async def lost(self) -> str:
        """Returns when the place itself has ended, with a sentence."""
        ...

    def flush(self) -> None:
        """Brings the logs up to date."""
        ...

    async def execute(self, container: Container, command: Sequence[str]) -> tuple[int, str, str]:
        """One program more in a container that runs: exit code, output, errors. Raises a Problem."""
        ...

    async def close(self, grace: float = GRACE) -> None:
        """Ends every container; nothing is left."""
        ...


def lay_volumes(group: Group, folder: Path, *, keep: bool = False) -> dict[str, Path]:
    """The folders of the group's volumes: anew, or with what is in them, which is left alone: a container may have put
    a link in the place of a file. `folder` is closed to others (0700), so that
    the wide modes below are for the containers' users, whoever those are."""
    volumes = folder / "volumes"
    if not keep:
        shutil.rmtree(volumes, ignore_errors=True)
    made = {}
    for number, volume in enumerate(group.volumes):
        path = volumes / str(number)
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777 if volume.files is None else 0o755)
        for name, content in (volume.files or {}).items() if not keep else ():
            (path / name).write_bytes(content)
            (path / name).chmod(0o644)
        made[volume.name] = path
    return made


def remove_volumes(folder: Path) -> None:
    shutil.rmtree(folder / "volumes", ignore_errors=True)
