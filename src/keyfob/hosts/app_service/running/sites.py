"""Every site of this server that runs, and the plane of their public names.

A site's program is started by the first request that needs it, by a deployment, and with the server where `alwaysOn`
says so; it runs until the site is stopped, deleted or changed. What is changed is started anew: everything that a
program is started with is compared (`Site.form`), so a change of tags restarts nothing.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from keyfob.clock import Clock
from keyfob.declare import Address
from keyfob.errors import NotFound, Problem
from keyfob.hosts.app_service.deploying.content import Contents
from keyfob.hosts.app_service.model import SWAPPED
from keyfob.hosts.app_service.running import pages
from keyfob.hosts.app_service.running.command import Chooser, choose
from keyfob.hosts.app_service.running.environment import ROOT, variables
from keyfob.hosts.app_service.running.running import Ended, NotUp, Running
from keyfob.hosts.app_service.site import Connection, Site, SiteReader
from keyfob.hosts.workloads.forward import BadGateway, forward
from keyfob.hosts.workloads.supervisor import Program, Supervised
from keyfob.hosts.workloads.workshop import Workshop
from keyfob.resource_id import ResourceId
from keyfob.store.port import EVERYTHING
from keyfob.wire.http import Reply, Request

_log = logging.getLogger(__name__)

_site_in = re.compile(r"(.*/providers/microsoft\.web/sites/[^/]+(?:/slots/[^/]+)?)(?:/config/[^/]+)?").fullmatch
"""The site that a changed resource belongs to."""

NAME = "app"
"""Of a site's program, as its log calls it."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings and connection strings as the program gets them."""

    settings: Mapping[str, str] = field(repr=False)
    connections: Mapping[str, Connection] = field(repr=False)
    notes: Sequence[str] = ()
    """Sentences for the site's log: what could not be resolved."""


class Resolve(Protocol):
    async def __call__(self, site: Site) -> Resolved: ...


class NoContent(NotFound):
    """Nothing was deployed, or nothing that can be started."""


class SiteStopped(Problem):
    status = 403
    code = "SiteStopped"


@dataclass(frozen=True)
class KindOfSite:
    """What a kind of site does in its own way. `matches` is asked in order; what no kind takes is a web app.

    `always_on`: started with the server and after each change, whether anybody asks or not (timers, queues).
    """

    matches: str
    """A word of `kind`: `functionapp`."""
    choose: Chooser
    always_on: bool = False
    wants: str = "Set a startup command."
    """What is said of content that has no program."""


class Sites:
    """A runner (`start`, `stop`) and a plane (`answer`)."""

    def __init__(
        self,
        *,
        reader: SiteReader,
        contents: Contents,
        workshop: Workshop,
        clock: Clock,
        resolve: Resolve,
        kinds: Sequence[KindOfSite] = (),
    ) -> None:
        self._reader = reader
        self._contents = contents
        self._workshop = workshop
        self._clock = clock
        self._resolve = resolve
        self._kinds = tuple(kinds)
        self._running: dict[str, Running] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._dirty: set[str] = set()
        self._more = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    # --- the runner

    async def start(self) -> None:
        """What is always on runs again, without being waited for."""
        self._task(self._tend(), "sites")
        for id in await self._reader.all():
            self._dirty.add(id.key)
        self._more.set()

    async def stop(self) -> None:
        self._stopped = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for key in list(self._running):
            await self._halt(key)

    def changed(self, key: str) -> None:
        """A watcher of resources."""
        if key == EVERYTHING:
            self._dirty |= set(self._running)
        elif (found := _site_in(key)) is not None:
            self._dirty.add(found[1])
        if self._dirty:
            self._more.set()

    def running(self, id: ResourceId) -> Running | None:
        return self._running.get(id.key)

    async def wake(self, site: Site) -> Running:
        """Its program, started if it is not running: it may not be up yet. Raises `SiteStopped`, `NoContent`, and
        `SandboxUnavailable` where there are none."""
        running = self._running.get(site.id.key)
        if running is not None and not running.over:
            return running
        async with self._lock(site.id.key):
            running = self._running.get(site.id.key)
            if running is not None and not running.over:
                return running
            if running is not None:
                await self._put_away(site.id.key)
            return await self._launch(site.id)

    async def renew(self, id: ResourceId) -> None:
        """Start it anew, with the content and the settings of now: after a deployment. Nothing happens to a site that
        is stopped. Its coming up is not waited for."""
        await self._halt(id.key)
        site = await self._reader.read(id)
        if site is not None and site.running:
            await self._begin(site)

    async def _begin(self, site: Site) -> None:
        """`wake` for nobody in particular: what hinders it is in the log."""
        try:
            await self.wake(site)
        except NoContent as problem:
            if self._contents.current(site) is not None:
                self._workshop.log_of(site.id).write("host", f"{problem.message} {self._wants(site)}")
        except Problem as problem:
            self._workshop.log_of(site.id).write("host", problem.message)

    async def up(self, id: ResourceId) -> Running:
        """Its program when it answers. One that is ended meanwhile has a successor, which is waited for instead.
        Raises `SiteStopped`, `NoContent` and `NotUp`."""
        while True:
            running = self._running.get(id.key)
            if running is None or running.over:
                site = await self._reader.read(id)
                if site is None:
                    raise NotFound("There is no such site any more.", code="SiteNotFound")
                running = await self.wake(site)
            try:
                await running.ready()
            except Ended:
                continue
            return running

    # --- the plane

    async def answer(self, request: Request, address: Address) -> Reply:
        try:
            resource = await self._reader.find(address.cloud, address.account)
        except NotFound:
            return pages.no_site(request.host)
        site_id = ResourceId.parse(resource.id)
        if resource.properties.get("state", "Running") != "Running" or resource.properties.get("enabled") is False:
            return pages.stopped()
        if resource.properties.get("httpsOnly") is True and request.scheme != "https":
            target = request.raw_path + (f"?{request.raw_query}" if request.raw_query else "")
            return pages.to_https(request.host, target or "/")
        try:
            return await self._forwarded(request, await self.up(site_id))
        except SiteStopped:
            return pages.stopped()
        except NoContent:
            return pages.waiting_for_content(request.host)
        except NotFound:
            return pages.no_site(request.host)
        except BadGateway as problem:
            return pages.bad_gateway(problem.message)
        except Problem as problem:
            return pages.not_up(problem.message, request.host)

    async def _forwarded(self, request: Request, running: Running) -> Reply:
        try:
            return await forward(request, running.dial)
        except ConnectionRefusedError:
            running.fell()
            raise NotUp("The program of this site does not listen any more.") from None

    # --- changes

    async def _tend(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            keys, self._dirty = self._dirty, set()
            for key in sorted(keys):
                try:
                    await self._settle(key)
                except Problem as problem:
                    self._workshop.log_of(ResourceId.parse(key)).write("host", problem.message)
                except Exception:
                    _log.exception("the site %s could not be brought up to date", key)

    async def _settle(self, key: str) -> None:
        """Make what runs what should run."""
        id = ResourceId.parse(key)
        site = await self._reader.read(id)
        running = self._running.get(key)
        if site is not None:
            await self._follow_swap(site)
        if site is None:
            await self._halt(key)
            await asyncio.to_thread(self._workshop.forget, id)
            self._locks.pop(key, None)
        elif not site.running:
            await self._halt(key)
        elif running is not None and running.site.form != site.form:
            running.log.write("host", f"{site.host} is restarted: its settings have changed")
            await self.renew(id)
        elif running is None and self._always_on(site) and self._contents.current(site) is not None:
            await self._begin(site)

    async def _follow_swap(self, site: Site) -> None:
        """Slots were swapped: their files follow."""
        if self._contents.pending(site.resource):
            other = await self._reader.read(ResourceId.parse(site.resource.properties[SWAPPED]["with"]))
            if other is not None:
                self._contents.exchange(site.resource, other.resource)

    def _wants(self, site: Site) -> str:
        return next((kind.wants for kind in self._kinds if kind.matches in site.kind), KindOfSite.wants)

    def _always_on(self, site: Site) -> bool:
        return site.always_on or any(kind.matches in site.kind and kind.always_on for kind in self._kinds)

    # --- one site

    async def _launch(self, id: ResourceId) -> Running:
        site = await self._reader.read(id)  # again, under the lock: a change may have come in between
        if site is None or not site.running or self._stopped:
            raise SiteStopped("This site is stopped.")
        await self._follow_swap(site)
        current = self._contents.current(site)
        if current is None:
            raise NoContent("Nothing was deployed to this site yet.")
        name, content = current
        chooser = next((kind.choose for kind in self._kinds if kind.matches in site.kind), choose)
        launch = chooser(site, content)
        log = self._workshop.log_of(site.id)
        if launch is None:
            raise NoContent("The content of this site has no program that could be started.")
        resolved = await self._resolve(site)
        for note in (*launch.notes, *resolved.notes):
            log.write("host", note)
        sandbox = await self._workshop.open(
            site.id, grafts=[*self._contents.grafts(site, content), *launch.grafts], environment={"HOME": "/home"}
        )
        environment = {
            **launch.environment,
            **variables(site, port=launch.port, settings=resolved.settings, connections=resolved.connections),
            "PORT": str(launch.port),
        }
        log.write("host", f"starting {site.host} ({name}): {' '.join(launch.command)}")
        program = Supervised(
            name=NAME,
            program=Program(launch.command, folder=ROOT, environment=environment),
            sandbox=sandbox,
            log=log,
            clock=self._clock,
        )
        running = Running(
            site=site, content=name, launch=launch, sandbox=sandbox, program=program, log=log, clock=self._clock
        )
        self._running[site.id.key] = running
        running.begin()
        return running

    async def _halt(self, key: str) -> None:
        async with self._lock(key):
            await self._put_away(key)

    async def _put_away(self, key: str) -> None:
        running = self._running.pop(key, None)
        if running is not None:
            await running.end()
            await self._workshop.close(running.sandbox)
            running.log.write("host", f"{running.site.host} was stopped")

    def _lock(self, key: str) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())

    def _task(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
