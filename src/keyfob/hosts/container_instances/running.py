"""One group that runs: images, init containers in their order, then all containers, each kept by the restart policy.

What is seen of it stands in a `SeenGroup`, which is saved at every change: a server that comes after a killed one goes
on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from keyfob.clock import Clock
from keyfob.errors import Problem
from keyfob.hosts.container_instances import states
from keyfob.hosts.container_instances.model import CannotRun, Container, Group
from keyfob.hosts.container_instances.places import GRACE, ImageMissing, Place, Started
from keyfob.hosts.container_instances.states import Moment, Seen, SeenGroup, note
from keyfob.hosts.workloads.logs import ProgramLog
from keyfob.hosts.workloads.supervisor import FIRST_PAUSE, LONGEST_PAUSE, Restart, after_end

log = logging.getLogger(__name__)

Pause = Callable[[float], Awaitable[None]]


class Surroundings(NamedTuple):
    """What a running group asks of the server."""

    open: Callable[[], Awaitable[Place]]
    """A new place. Raises a Problem."""

    find: Callable[[], Awaitable[Place | None]]
    """The place that a server before this one left, asked once."""

    clear: Callable[[], Awaitable[None]]
    """Ends what such a place still has, when it was not taken up."""

    log: Callable[[str], ProgramLog]
    save: Callable[[], None]
    clock: Clock
    pause: Pause


class RunningGroup:
    """`start` once, `stop` once. `seen` is the caller's to show, ours to change."""

    def __init__(self, group: Group, seen: SeenGroup, around: Surroundings) -> None:
        self.group = group
        self._around = around
        self._place: Place | None = None
        self._task: asyncio.Task[None] | None = None
        self.seen = seen

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._guarded(), name="container group")

    async def stop(self, grace: float = GRACE) -> None:
        """Ends every container, and what they stood on: SIGTERM, and SIGKILL after `grace` seconds."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._place is None:
            with contextlib.suppress(Problem):
                await self._around.clear()
        await self._close("Killing", "Stopping container {}", grace)
        self._save()

    @property
    def place(self) -> Place | None:
        return self._place

    # --- the whole

    async def _guarded(self) -> None:
        try:
            await self._run()
        except Problem as problem:
            self.fail(problem.message)
        except Exception:
            log.exception("a container group could not go on")
            self.fail("The server failed to run the group; its log says why.")

    def fail(self, sentence: str) -> None:
        """It cannot run, and trying again would not help."""
        self.seen.state = states.FAILED
        self._note(self.seen.events, "Failed", sentence, warning=True)
        self._save()

    async def _run(self) -> None:
        place = await self._find()
        while True:
            found = place is not None
            place = self._place = place or await self._open()
            self.seen.place = place.name
            self._save()
            work = asyncio.ensure_future(self._work(place, found))
            lost = asyncio.ensure_future(place.lost())
            try:
                await asyncio.wait([work, lost], return_when=asyncio.FIRST_COMPLETED)
                if not lost.done():
                    self.seen.state = work.result()
                    await self._close("", "")
                    self._save()
                    return
                self._note(self.seen.events, "SandboxChanged", lost.result(), warning=True)
            finally:
                for task in (work, lost):
                    task.cancel()
                await asyncio.gather(work, lost, return_exceptions=True)
            for container in self.group.all:
                seen = self.seen.of(container.name)
                if seen.current.state == states.RUNNING:
                    self._ended(seen, 137)
                    seen.restarts += 1
            await self._close("", "")
            place = None

    async def _find(self) -> Place | None:
        try:
            return await self._around.find()
        except Problem as problem:
            self._note(self.seen.events, "Failed", problem.message, warning=True)
            return None

    async def _open(self) -> Place:
        """Tried again until it succeeds: an image may be imported meanwhile."""
        wait = FIRST_PAUSE
        while True:
            try:
                return await self._around.open()
            except ImageMissing as problem:
                self._wait_for_all("ImagePullBackOff", "Failed", problem)
            except CannotRun:
                raise
            except Problem as problem:
                self._wait_for_all("CreateContainerError", "FailedCreate", problem)
            await self._around.pause(wait)
            wait = min(2 * wait, LONGEST_PAUSE)

    def _wait_for_all(self, detail: str, event: str, problem: Problem) -> None:
        for container in self.group.all:
            seen = self.seen.of(container.name)
            if seen.current != Moment(states.WAITING, detail):
                seen.become(Moment(states.WAITING, detail))
            self._note(seen.events, event, problem.message, warning=True)
        self.seen.state = states.PENDING
        self._save()

    async def _work(self, place: Place, found: bool) -> str:
        """Until nothing is to be started again; the state of the group then. `found`: containers that are done stay
        done."""
        for container in self.group.init:
            if found and self.seen.of(container.name).current.code == 0:
                continue
            for other in self.group.containers:
                if not found:
                    self.seen.of(other.name).become(Moment(states.WAITING, "PodInitializing"))
            if await self._keep(place, container, self._after_init) != 0:
                return states.FAILED
        codes = await asyncio.gather(
            *(self._keep(place, container, self.group.restart) for container in self.group.containers)
        )
        return states.SUCCEEDED if not any(codes) else states.FAILED

    @property
    def _after_init(self) -> Restart:
        """An init container that succeeded is done, also under `Always`."""
        return Restart.NEVER if self.group.restart is Restart.NEVER else Restart.ON_FAILURE

    # --- one container

    async def _keep(self, place: Place, container: Container, policy: Restart) -> int:
        """Runs it until its policy leaves it ended; the last exit code."""
        seen, failures = self.seen.of(container.name), 0
        printed = self._around.log(container.name)
        started = place.before(container, printed)
        if started is None:
            started = await self._begin(place, container, seen, printed)
        elif seen.current.state != states.RUNNING:
            seen.become(Moment(states.RUNNING, started=self._around.clock.now()))
        while True:
            self._count()
            code = await started.wait() if started is not None else 128
            ran = self._around.clock.now() - (seen.current.started or self._around.clock.now())
            if started is not None:
                self._ended(seen, code)
            following = after_end(policy, code, ran, failures)
            failures = following.failures
            self._save()
            if following.pause is None:
                return code
            seen.become(Moment(states.WAITING, "CrashLoopBackOff" if code else ""))
            self._note(
                seen.events,
                "BackOff",
                f"Back-off {following.pause:g} s restarting container {container.name}",
                warning=True,
            )
            self._save()
            await self._around.pause(following.pause)
            seen.restarts += 1
            started = await self._begin(place, container, seen, printed)

    async def _begin(self, place: Place, container: Container, seen: Seen, printed: ProgramLog) -> Started | None:
        """Starts it. None when it cannot be started, which counts as a failure with exit code 128, as Docker has it."""
        try:
            started = await place.start(container, printed)
        except Problem as problem:
            now = self._around.clock.now()
            seen.become(Moment(states.TERMINATED, "ContainerCannotRun", now, now, 128))
            self._note(seen.events, "Failed", problem.message, warning=True)
            return None
        seen.become(Moment(states.RUNNING, started=self._around.clock.now()))
        for name, message in (
            ("Pulled", f'Container image "{container.image}" already present on machine'),
            ("Created", f"Created container {container.name}"),
            ("Started", f"Started container {container.name}"),
        ):
            self._note(seen.events, name, message)
        return started

    def _ended(self, seen: Seen, code: int) -> None:
        detail = "Completed" if code == 0 else "Error"
        seen.become(Moment(states.TERMINATED, detail, seen.current.started, self._around.clock.now(), code))

    def _count(self) -> None:
        """The group runs as soon as one of its own containers does."""
        running = [self.seen.of(one.name).current.state for one in self.group.containers]
        self.seen.state = states.RUNNING if states.RUNNING in running else states.PENDING
        self._save()

    # --- small things

    async def _close(self, event: str, message: str, grace: float = GRACE) -> None:
        place, self._place = self._place, None
        for container in self.group.all:
            seen = self.seen.of(container.name)
            if event and seen.current.state == states.RUNNING:
                self._note(seen.events, event, message.format(container.name))
        if place is not None:
            with contextlib.suppress(Problem):
                await place.close(grace)
        for container in self.group.all:
            seen = self.seen.of(container.name)
            if event and seen.current.state == states.RUNNING:
                self._ended(seen, 137)
            elif event and seen.current.state == states.WAITING:
                seen.become(Moment(states.TERMINATED, ""))

    def _note(self, events: list[states.Event], name: str, message: str, *, warning: bool = False) -> None:
        note(events, name, message, self._around.clock.now(), warning=warning)

    def _save(self) -> None:
        self._around.save()
