"""Keeps one program of a host running, as its restart policy says.

What happens when a program ends is a table (`after_end`). A program that keeps failing is started again after 1, 2, 4
… seconds, at most `LONGEST_PAUSE`; one that ran for `SETTLED` seconds begins anew with 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from keyfob.clock import Clock
from keyfob.errors import Problem
from keyfob.hosts.workloads.logs import ProgramLog, pipe_into
from keyfob.hosts.workloads.sandboxed import Process, Sandbox

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
SETTLED = 60.0
GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""
LAST_WORDS = 1.0
"""Seconds that an ended program's output may take to reach its log: what it started itself may hold the pipe."""


class Restart(StrEnum):
    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


class State(StrEnum):
    STOPPED = "Stopped"
    """Not started yet, or stopped on purpose."""

    RUNNING = "Running"
    WAITING = "Waiting"
    """It failed and will be started again after a pause."""

    TERMINATED = "Terminated"
    """It ended, and its policy leaves it so."""


@dataclass(frozen=True, slots=True)
class Program:
    command: Sequence[str]
    folder: str = "/"
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    restart: Restart = Restart.ALWAYS


@dataclass(frozen=True, slots=True)
class Next:
    """`pause` None: it is not started again. `failures` counts those in a row."""

    pause: float | None
    failures: int


def after_end(policy: Restart, code: int, ran: float, failures: int) -> Next:
    """What follows when a program has ended with `code` after `ran` seconds and `failures` failures before."""
    if policy is Restart.NEVER or (policy is Restart.ON_FAILURE and code == 0):
        return Next(None, 0)
    if ran >= SETTLED:
        failures = 0
    return Next(min(FIRST_PAUSE * 2 ** min(failures, 10), LONGEST_PAUSE), failures + 1)


class Supervised:
    """One program in a sandbox. `start` and `stop` may be called at any time, also twice."""

    def __init__(
        self,
        *,
        name: str,
        program: Program,
        sandbox: Sandbox,
        log: ProgramLog,
        clock: Clock,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self.state = State.STOPPED
        self.starts = 0
        self.exit_code: int | None = None
        """Of the last time it ended."""

        self.started_at: float | None = None
        self.ended_at: float | None = None
        self._program = program
        self._sandbox = sandbox
        self._log = log
        self._clock = clock
        self._pause = pause
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def restarts(self) -> int:
        return max(0, self.starts - 1)

    def start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._keep(), name=f"program {self.name}")

    async def stop(self, grace: float = GRACE) -> None:
        """SIGTERM, after `grace` seconds SIGKILL; it is not started again."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._process is not None:
            code = await self._process.stop(grace)
            await self._log.drained(LAST_WORDS)
            self._ended(code)
        self.state = State.STOPPED

    async def wait(self) -> int | None:
        """Until its policy leaves it ended; the exit code."""
        if self._task is not None:
            await asyncio.shield(self._task)
        return self.exit_code

    async def _keep(self) -> None:
        failures = 0
        while True:
            try:
                code = await self._run()
            except Problem as problem:  # the sandbox is gone
                self._log.write("host", f"{self.name} could not be started: {problem.message}")
                self.state = State.TERMINATED
                return
            ran = (self.ended_at or 0.0) - (self.started_at or 0.0)
            following = after_end(self._program.restart, code, ran, failures)
            failures = following.failures
            if following.pause is None or self._sandbox.closed:
                self.state = State.TERMINATED
                self._log.write("host", f"{self.name} ended with exit code {code}")
                return
            self.state = State.WAITING
            self._log.write(
                "host", f"{self.name} ended with exit code {code}; it is started again in {following.pause:g} s"
            )
            await self._pause(following.pause)

    async def _run(self) -> int:
        output = await pipe_into(self._log, "out")
        errors = await pipe_into(self._log, "err")
        try:
            self._process = await self._sandbox.start(
                self._program.command,
                folder=self._program.folder,
                environment=self._program.environment,
                output=output,
                errors=errors,
            )
        finally:
            os.close(output)
            os.close(errors)
        self.starts += 1
        self.started_at = self._clock.now()
        self.state = State.RUNNING
        code = await self._process.wait()
        await self._log.drained(LAST_WORDS)
        self._ended(code)
        return code

    def _ended(self, code: int) -> None:
        self._process = None
        self.exit_code = code
        self.ended_at = self._clock.now()
