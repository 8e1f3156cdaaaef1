"""Deployments of a site: what was sent becomes its content, and a record says how that went.

States are Kudu's numbers (projectkudu/kudu, DeployStatus). Records are files beside the content, since both go
together; one that says it is not finished while nobody works on it was broken off by the end of the server, and has
failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import IO

import msgspec

from keyfob.clock import Clock, Ids, iso
from keyfob.errors import Conflict, NotFound, Problem
from keyfob.hosts.app_service.deploying.archive import BadArchive, safe_name, unpack
from keyfob.hosts.app_service.deploying.content import Contents
from keyfob.hosts.app_service.site import Site
from keyfob.resource_id import ResourceId

_log = logging.getLogger(__name__)

ASKED_BY = "SCM_DO_BUILD_DURING_DEPLOYMENT"
"""The setting that asks for a build."""

KEPT = 20
"""Records kept for each site; the oldest go first."""

MOST_LINES, MOST_SAID = 20_000, 1_000_000
"""Lines of one deployment's log, and characters: all of a site's logs are read to list its deployments."""


class Status(IntEnum):
    PENDING = 0
    BUILDING = 1
    DEPLOYING = 2
    FAILED = 3
    SUCCESS = 4


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of a deployment's log. `kind`: 0 a message, 1 a warning, 2 an error."""

    at: str = ""
    message: str = ""
    kind: int = 0


class Deployment(msgspec.Struct, omit_defaults=True):
    """`id` is also the name of its content's folder."""

    id: str
    status: int = Status.PENDING
    text: str = ""
    """Why it failed."""
    deployer: str = ""
    author: str = ""
    message: str = ""
    received: str = ""
    began: str = ""
    ended: str = ""
    log: list[Entry] = []

    @property
    def done(self) -> bool:
        return self.status in (Status.FAILED, Status.SUCCESS)


@dataclass(frozen=True, slots=True)
class Package:
    """What was sent. `type` is OneDeploy's: `zip`, else one file that goes to `path` in the content."""

    file: IO[bytes]
    """Closed when the deployment has ended."""
    type: str = "zip"
    path: str = ""
    clean: bool = False
    restart: bool = True
    build: bool | None = None
    """None: as the site's settings say."""


def _asking(site: Site, build: bool) -> Site:
    """The site as one whose settings ask for a build, or do not."""
    settings = {name: value for name, value in site.settings.items() if name.upper() != ASKED_BY}
    return replace(site, settings={**settings, ASKED_BY: "true" if build else "false"})


class Telling:
    """Writes a deployment's log, and its record as it changes."""

    def __init__(self, deployment: Deployment, place: Path, clock: Clock) -> None:
        self.deployment = deployment
        self._place = place
        self._clock = clock
        self._said = 0

    def say(self, message: str, kind: int = 0) -> None:
        self._said += len(message)
        if len(self.deployment.log) < MOST_LINES and (self._said < MOST_SAID or kind):
            self.deployment.log.append(Entry(iso(self._clock.now()), message, kind))

    def become(self, status: Status) -> None:
        self.deployment.status = status
        now = iso(self._clock.now())
        if self.deployment.done:
            self.deployment.ended = now
        elif not self.deployment.began:
            self.deployment.began = now
        save(self._place, self.deployment)


Build = Callable[[Site, Path, Telling], Awaitable[None]]
"""Makes what a site's program needs of the files in the folder. Raises a Problem when it fails."""


class InProgress(Conflict):
    code = "DeploymentInProgress"


class Deployments:
    def __init__(
        self,
        *,
        contents: Contents,
        build: Build,
        renew: Callable[[ResourceId], Awaitable[None]],
        read: Callable[[ResourceId], Awaitable[Site | None]],
        running: Callable[[ResourceId], str],
        clock: Clock,
        ids: Ids,
    ) -> None:
        """`read`: a site as it is stored now; `running`: the deployment that its program was started from, or ""."""
        self._read_site = read
        self._running = running
        self._contents = contents
        self._build = build
        self._renew = renew
        self._clock = clock
        self._ids = ids
        self._working: dict[tuple[str, float], tuple[Deployment, asyncio.Task[None]]] = {}
        """By the site, and when it was made: a new one of the same name waits for nobody."""

    # --- making one

    def begin(self, site: Site, package: Package, *, deployer: str, author: str = "", message: str = "") -> Deployment:
        """Starts it; `wait` tells when it is done. Raises `InProgress`: one at a time, as Kudu has it."""
        if _life(site) in self._working:
            package.file.close()
            raise InProgress("There is a deployment currently in progress. Please try again when it completes.")
        made = Deployment(
            id=self._ids.guid().replace("-", ""),
            deployer=deployer,
            author=author or "N/A",
            message=message,
            received=iso(self._clock.now()),
        )
        telling = Telling(made, self._place(site, made.id), self._clock)
        save(self._place(site, made.id), made)
        work = self._work(site, package, telling)
        task = asyncio.get_running_loop().create_task(work, name=f"deployment of {site.host}")
        self._working[_life(site)] = (made, task)
        task.add_done_callback(lambda _: self._working.pop(_life(site), None))
        return made

    async def wait(self, site: Site, deployment: Deployment) -> None:
        found = self._working.get(_life(site))
        if found is not None and found[0] is deployment:
            await asyncio.shield(found[1])

    async def stop(self) -> None:
        """The server stops: what is at work is broken off."""
        tasks = [task for _, task in self._working.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, site: Site, package: Package, telling: Telling) -> None:
        made = telling.deployment
        try:
            telling.become(Status.BUILDING)
            await self._make(site, package, telling)
            telling.become(Status.DEPLOYING)
            if not await self._there(site):
                raise NotFound("This site was deleted while it was deployed to.", code="SiteNotFound")
            self._contents.publish(site, made.id)
            if package.restart:
                await self._renew(site.id)
            await asyncio.to_thread(self._contents.sweep, site, self._running(site.id))
            telling.say("Deployment successful.")
            telling.become(Status.SUCCESS)
        except Problem as problem:
            self._failed(site, telling, problem.message)
        except asyncio.CancelledError:
            self._failed(site, telling, "The server was stopped before this deployment was done.")
            raise
        except Exception:
            _log.exception("a deployment of %s failed", site.host)
            self._failed(site, telling, "The server met an error that it did not expect; its log has it.")
        finally:
            package.file.close()
            if await self._there(site):
                self._forget_old(site)
            else:
                await asyncio.to_thread(self._contents.abandon, site, made.id)

    async def _there(self, site: Site) -> bool:
        """Whether it is this very site that has the name: another may have been made meanwhile."""
        found = await self._read_site(site.id)
        return found is not None and _life(found) == _life(site)

    async def _make(self, site: Site, package: Package, telling: Telling) -> None:
        folder = self._contents.fresh(site, telling.deployment.id)
        current = self._contents.current(site)
        if package.type == "zip":
            telling.say("Unpacking the package.")
            files = await asyncio.to_thread(unpack, package.file, folder)
            telling.say(f"{files} {'file' if files == 1 else 'files'}.")
        else:
            if current is not None and not package.clean:
                await asyncio.to_thread(shutil.copytree, current[1], folder, symlinks=True, dirs_exist_ok=True)
            await asyncio.to_thread(_place_file, package, folder)
        if package.type == "zip" and from_package(site):
            telling.say("WEBSITE_RUN_FROM_PACKAGE is set: the package is kept, and nothing is built.")
            await asyncio.to_thread(self._contents.keep_package, site, package.file, telling.deployment.id)
            return
        await self._build(site if package.build is None else _asking(site, package.build), folder, telling)

    def _failed(self, site: Site, telling: Telling, why: str) -> None:
        """The content that was there runs on."""
        with contextlib.suppress(NotFound):
            current = self._contents.current(site)
            if current is None or current[0] != telling.deployment.id:
                self._contents.discard(site, telling.deployment.id)
        telling.deployment.text = why
        telling.say(why, 2)
        with contextlib.suppress(OSError):
            telling.become(Status.FAILED)

    # --- looking at them

    def all(self, site: Site) -> list[Deployment]:
        """The latest first."""
        found = [self._read(site, path) for path in self._folder(site).glob("*.json")]
        return sorted((one for one in found if one is not None), key=lambda one: (one.received, one.id), reverse=True)

    def get(self, site: Site, id: str) -> Deployment:
        """`latest` is one. Raises `NotFound`."""
        if id == "latest":
            listed = self.all(site)
            if listed:
                return listed[0]
        elif id.isalnum() and (found := self._read(site, self._place(site, id))) is not None:
            return found
        raise NotFound(f"No deployment '{id[:60]}' was found.", code="NotFound")

    def is_active(self, site: Site, deployment: Deployment) -> bool:
        current = self._contents.current(site)
        return current is not None and current[0] == deployment.id

    def _read(self, site: Site, path: Path) -> Deployment | None:
        working = self._working.get(_life(site))
        if working is not None and working[0].id == path.stem:
            return working[0]
        try:
            found = msgspec.json.decode(path.read_bytes(), type=Deployment)
        except (OSError, msgspec.DecodeError):
            return None
        if not found.done:
            found.status = Status.FAILED
            found.text = "The server was stopped before this deployment was done."
        return found

    def _folder(self, site: Site) -> Path:
        made = self._contents.folder(site) / "deployments"
        made.mkdir(exist_ok=True, mode=0o700)
        return made

    def _place(self, site: Site, id: str) -> Path:
        return self._folder(site) / f"{id}.json"

    def _forget_old(self, site: Site) -> None:
        for one in self.all(site)[KEPT:]:
            if not self.is_active(site, one):
                self._place(site, one.id).unlink(missing_ok=True)


def from_package(site: Site) -> bool:
    """Whether the site runs the package itself. A setting that is an address, for a package elsewhere, is not followed:
    nothing leaves the machine."""
    return site.says("WEBSITE_RUN_FROM_PACKAGE")


def _life(site: Site) -> tuple[str, float]:
    return site.id.key, site.resource.created


def save(place: Path, deployment: Deployment) -> None:
    """Whole or not at all."""
    temporary = place.with_suffix(".new")
    with open(temporary, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(msgspec.json.encode(deployment))
    os.replace(temporary, place)


def _place_file(package: Package, folder: Path) -> None:
    """A single file: its folders are made, and no link is followed."""
    name = safe_name(package.path.removeprefix("/home/site/wwwroot/"))
    if name is None or not name.parts:
        raise BadArchive("The path of the file must lead into /home/site/wwwroot.")
    target = folder.joinpath(*name.parts)
    if os.path.realpath(target.parent) != os.path.join(os.path.realpath(folder), *name.parent.parts):
        raise BadArchive("The path of the file leads through a link.")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    with target.open("xb") as file:
        shutil.copyfileobj(package.file, file)
