"""What happens when a program ends."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from keyfob.clock import FakeClock
from keyfob.hosts.workloads.logs import ProgramLog
from keyfob.hosts.workloads.sandboxed import Sandbox
from keyfob.hosts.workloads.supervisor import Next, Program, Restart, State, Supervised, after_end

from .conftest import Open, until


@pytest.mark.parametrize(
    ("policy", "code", "ran", "failures", "following"),
    [
        (Restart.NEVER, 0, 1, 0, Next(None, 0)),
        (Restart.NEVER, 1, 1, 0, Next(None, 0)),
        (Restart.ON_FAILURE, 0, 1, 4, Next(None, 0)),
        (Restart.ON_FAILURE, 1, 1, 0, Next(1, 1)),
        (Restart.ALWAYS, 0, 1, 0, Next(1, 1)),
        (Restart.ALWAYS, 1, 1, 3, Next(8, 4)),
        (Restart.ALWAYS, 1, 1, 6, Next(60, 7)),
        (Restart.ALWAYS, 1, 1, 5000, Next(60, 5001)),
        (Restart.ALWAYS, 1, 61, 6, Next(1, 1)),
    ],
)
def test_the_table(policy: Restart, code: int, ran: float, failures: int, following: Next) -> None:
    assert after_end(policy, code, ran, failures) == following


class World:
    """Pauses that a test ends by hand."""

    def __init__(self, sandbox: Sandbox, log: ProgramLog) -> None:
        self.sandbox = sandbox
        self.log = log
        self.clock = FakeClock()
        self.pauses: asyncio.Queue[float] = asyncio.Queue()
        self.go_on = asyncio.Event()

    async def pause(self, seconds: float) -> None:
        self.go_on.clear()
        self.pauses.put_nowait(seconds)
        await self.go_on.wait()

    def supervise(self, script: str, restart: Restart = Restart.ALWAYS) -> Supervised:
        program = Program(["sh", "-c", script], restart=restart)
        return Supervised(
            name="app", program=program, sandbox=self.sandbox, log=self.log, clock=self.clock, pause=self.pause
        )

    async def said(self, words: str) -> None:
        await until(lambda: any(words in line.text for line in self.log.tail()))


@pytest.fixture
async def world(opening: Open, tmp_path: Path) -> World:
    return World(await opening(), ProgramLog(tmp_path / "app.log", FakeClock()))


async def test_a_program_that_fails_is_started_again_after_longer_and_longer_pauses(world: World) -> None:
    app = world.supervise("echo trouble >&2; exit 3")
    app.start()
    for pause in (1, 2, 4):
        assert await world.pauses.get() == pause
        assert (app.state, app.exit_code) == (State.WAITING, 3)
        world.go_on.set()
    assert await world.pauses.get() == 8
    assert (app.starts, app.restarts) == (4, 3)
    await app.stop()
    assert app.state is State.STOPPED
    await world.said("trouble")
    await world.said("app ended with exit code 3; it is started again in 2 s")


async def test_one_that_never_is(world: World) -> None:
    app = world.supervise("exit 4", Restart.NEVER)
    app.start()
    assert await app.wait() == 4
    assert (app.state, app.starts) == (State.TERMINATED, 1)


async def test_stopping_a_running_program(world: World) -> None:
    app = world.supervise("trap 'echo bye; exit 0' TERM; echo hello; while true; do sleep 0.05; done")
    app.start()
    await world.said("hello")
    assert app.state is State.RUNNING
    await app.stop(60)
    assert (app.state, app.exit_code) == (State.STOPPED, 0)
    await world.said("bye")
    app.start()
    await until(lambda: app.starts == 2)
    await app.stop(0.05)
    assert app.exit_code in {0, 128 + signal.SIGKILL, 128 + signal.SIGTERM}


async def test_stopping_twice_and_before_it_was_started(world: World) -> None:
    app = world.supervise("true")
    await app.stop()
    app.start()
    app.start()
    await app.stop()
    await app.stop()
    assert app.starts <= 1


async def test_a_closed_sandbox_ends_it(world: World) -> None:
    app = world.supervise("sleep 1000")
    app.start()
    await until(lambda: app.state is State.RUNNING)
    await world.sandbox.close()
    assert await app.wait() == 128 + signal.SIGKILL
    assert app.state is State.TERMINATED
