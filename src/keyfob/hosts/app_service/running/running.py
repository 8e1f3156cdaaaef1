"""One site while it runs: its sandbox, its program, and whether that answers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

from keyfob.clock import Clock
from keyfob.errors import Problem, Unavailable
from keyfob.hosts.app_service.running.command import Launch
from keyfob.hosts.app_service.site import Site
from keyfob.hosts.workloads.forward import forward
from keyfob.hosts.workloads.logs import ProgramLog
from keyfob.hosts.workloads.sandboxed import Sandbox
from keyfob.hosts.workloads.supervisor import State, Supervised
from keyfob.wire.http import Fields, Request

START_LIMIT = 230.0
"""Seconds that a program has to listen: WEBSITES_CONTAINER_START_TIME_LIMIT, which App Service bounds so."""
LONGEST_START = 1_800.0
FIRST_LOOK, LAST_LOOK = 0.02, 0.5
"""Seconds between looks at its port."""

HEALTH_EVERY = 60.0
UNHEALTHY_AFTER = 10
"""Pings that fail in a row until an instance counts as unhealthy (learn.microsoft.com, monitor-instances-health-check:
WEBSITE_HEALTHCHECK_MAXPINGFAILURES, 2 to 10)."""


class NotUp(Unavailable):
    """The program does not answer; the message says why, for whoever asked."""


class Ended(NotUp):
    """It was ended while somebody waited for it: for other settings, another deployment, or for good."""


class Running:
    """Made when the program was started. `content` is the deployment that it runs."""

    def __init__(
        self,
        *,
        site: Site,
        content: str,
        launch: Launch,
        sandbox: Sandbox,
        program: Supervised,
        log: ProgramLog,
        clock: Clock,
    ) -> None:
        self.site = site
        self.content = content
        self.launch = launch
        self.sandbox = sandbox
        self.program = program
        self.log = log
        self.unhealthy = 0
        """Health pings that failed, in a row."""
        self._clock = clock
        self._up = False
        self._looking: asyncio.Task[None] | None = None
        self._health: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        return self._up and not self.sandbox.closed and self.program.state is State.RUNNING

    @property
    def over(self) -> bool:
        """Nothing starts it again: its sandbox has ended."""
        return self.sandbox.closed or self.program.state is State.TERMINATED

    @property
    def state(self) -> str:
        """As `instances` shows it: READY, STOPPED or UNKNOWN (WebApps.json, SiteRuntimeState)."""
        if self.up:
            return "READY" if self.unhealthy < UNHEALTHY_AFTER else "UNKNOWN"
        return "UNKNOWN" if self.program.state is State.RUNNING else "STOPPED"

    def begin(self) -> None:
        self.program.start()
        self._look()

    async def ready(self) -> None:
        """Until its port answers. Raises `NotUp` when it ended before, or takes too long, and `Ended`."""
        if self.up:
            return
        looking = self._look()
        await asyncio.wait([looking])
        if looking.cancelled():
            raise Ended("The program of this site was ended before it answered.")
        looking.result()

    async def settled(self, patience: float) -> None:
        """`ready`, but for no longer than that. Raises `NotUp` alone."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ready(), patience)

    async def dial(self) -> socket.socket:
        return await self.sandbox.dial(self.launch.port)

    def fell(self) -> None:
        """A connection was refused: whoever asks next waits for the port again."""
        self._up = False

    async def end(self) -> None:
        for task in (self._looking, self._health):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self.program.stop()

    # --- coming up

    def _look(self) -> asyncio.Task[None]:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._until_up(), name=f"start of {self.site.host}")
            self._looking.add_done_callback(_seen)
        return self._looking

    async def _until_up(self) -> None:
        limit = start_limit(self.site)
        ended = self.program.ended_at
        pause = FIRST_LOOK
        try:
            async with asyncio.timeout(limit):
                while True:
                    if self.program.state in (State.WAITING, State.TERMINATED) or self.program.ended_at != ended:
                        code = self.program.exit_code
                        raise NotUp(f"The program of this site ended with exit code {code} before it answered.")
                    if await self._answers():
                        break
                    await asyncio.sleep(pause)
                    pause = min(LAST_LOOK, pause * 1.5)
        except TimeoutError:
            self.log.write(
                "host", f"{self.site.host} did not listen on port {self.launch.port} within {limit:g} s of its start"
            )
            raise NotUp(f"The program of this site did not listen on port {self.launch.port} in time.") from None
        self._up = True
        self.log.write("host", f"{self.site.host} is up on port {self.launch.port}")
        if self.site.health_path and self._health is None:
            self._health = asyncio.get_running_loop().create_task(self._watch_health(), name="health")

    async def _answers(self) -> bool:
        try:
            (await self.dial()).close()
        except (OSError, Problem):
            return False
        return True

    # --- health

    async def _watch_health(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        while True:
            await pause(HEALTH_EVERY)
            await self.ping()

    async def ping(self) -> None:
        """One look at the health path: what answers 200 to 299 within a minute is healthy."""
        path = "/" + self.site.health_path.lstrip("/")
        request = Request(
            "GET",
            path,
            Fields(),
            Fields([("User-Agent", "HealthCheck/1.0"), ("Accept", "*/*")]),
            host=self.site.host,
            raw_path=path,
            peer="127.0.0.1",
        )
        try:
            reply = await forward(request, self.dial, patience=HEALTH_EVERY)
            if reply.stream is not None:
                await reply.stream.aclose()
            well = 200 <= reply.status < 300
            said = f"answered {reply.status}"
        except (OSError, Problem) as problem:
            well, said = False, f"failed: {getattr(problem, 'message', problem)}"
        before, self.unhealthy = self.unhealthy, 0 if well else self.unhealthy + 1
        if not well:
            self.log.write("host", f"health check of {path} {said} ({self.unhealthy} in a row)")
        elif before:
            self.log.write("host", f"health check of {path} is well again")


def start_limit(site: Site) -> float:
    text = site.setting("WEBSITES_CONTAINER_START_TIME_LIMIT").strip()
    return min(LONGEST_START, float(text)) if text.isdigit() and int(text) > 0 else START_LIMIT


def _seen(task: asyncio.Task[None]) -> None:
    """Nobody may be waiting: then its failure is in the log alone."""
    if not task.cancelled():
        task.exception()
