"""One-off programs of the workshop, without sandboxes: what ends, what is read, what is kept and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from keyfob.errors import Conflict
from keyfob.hosts.workloads import workshop as shop
from keyfob.hosts.workloads.caretaker import Caretaker
from keyfob.hosts.workloads.workshop import Workshop, run_in
from keyfob.resource_id import ResourceId

MACHINE = (
    "/subscriptions/bbbbbbbb-0000-4000-8000-000000000001/resourceGroups/g/providers/Microsoft.Compute/virtualMachines"
)


class Program:
    """Writes, leaves descriptors with a daemon perhaps, and ends when it is let."""

    def __init__(self, out: bytes = b"", *, daemon: bool = False, code: int = 0) -> None:
        self.out, self.daemon, self.code = out, daemon, code
        self.closed = False
        self.held: list[int] = []
        self.go = asyncio.Event()
        self.go.set()
        self.stopped = False

    async def start(self, command: Any, *, output: int, errors: int, **_: Any) -> Program:
        self.held = [os.dup(output), os.dup(errors)]
        os.set_blocking(self.held[0], False)
        os.write(self.held[0], self.out)
        if not self.daemon:
            self.leave()
        return self

    def leave(self) -> None:
        while self.held:
            os.close(self.held.pop())

    async def wait(self) -> int:
        await self.go.wait()
        return self.code

    async def stop(self, grace: float) -> int:
        self.stopped = True
        return 137


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop, "QUIET", 0.01)


async def test_a_program_that_ends_is_read_to_its_end() -> None:
    result = await run_in(Program(b"x" * 5000, code=3), ["a"], patience=60)  # type: ignore[arg-type]
    assert (result.code, len(result.output), result.errors, result.timed_out) == (3, 5000, "", False)


async def test_a_daemon_that_keeps_the_pipes_is_not_waited_for(quick: None) -> None:
    program = Program(b"said", daemon=True)
    result = await run_in(program, ["a"], patience=60)  # type: ignore[arg-type]
    assert (result.code, result.output) == (0, "said")
    program.leave()


async def test_a_daemon_that_goes_on_printing_is_not_waited_for_either(quick: None) -> None:
    program = Program(b"said", daemon=True)

    async def chatter() -> None:
        while True:
            with contextlib.suppress(BlockingIOError):
                os.write(program.held[0], b".")
            await asyncio.sleep(0.001)

    task = asyncio.create_task(chatter())
    result = await run_in(program, ["a"], patience=60)  # type: ignore[arg-type]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert result.output.startswith("said")
    program.leave()


async def test_time_that_is_up(quick: None) -> None:
    program = Program(b"so far")
    program.go.clear()
    result = await run_in(program, ["a"], patience=0.01)  # type: ignore[arg-type]
    assert (result.code, result.output, result.timed_out, program.stopped) == (137, "so far", True, True)


async def test_a_sandbox_that_was_closed_gave_no_result() -> None:
    program = Program(code=137)
    program.closed = True
    with pytest.raises(Conflict):
        await run_in(program, ["a"], patience=60)  # type: ignore[arg-type]


async def test_what_cannot_start_leaves_nothing_open() -> None:
    class Broken(Program):
        async def start(self, *_: Any, **__: Any) -> Program:
            raise Conflict("The sandbox was closed.")

    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Conflict):
        await run_in(Broken(), ["a"], patience=60)  # type: ignore[arg-type]
    while len(os.listdir("/proc/self/fd")) > before:
        await asyncio.sleep(0)


async def test_logs_and_folders_are_a_hosts_own(tmp_path: Path, clock: Any) -> None:
    async def inhabit(*_: Any) -> Any:
        raise AssertionError

    workshop = Workshop(folder=tmp_path / "hosts", inhabit=inhabit, ca_pem=b"", cover=(), clock=clock)
    one, other = (ResourceId.parse(f"{MACHINE}/{name}") for name in ("one", "other"))
    workshop.forget(one)  # of which nothing was kept
    assert workshop.logs_of(one) == []
    assert not (tmp_path / "hosts").exists()
    workshop.log_of(one, "b").write("out", "x")
    workshop.log_of(one, "a").write("out", "x")
    assert (workshop.logs_of(one), workshop.logs_of(other)) == (["a", "b"], [])
    workshop.forget(one)
    assert workshop.logs_of(one) == []


async def test_the_caretaker_ends_what_stops_and_forgets_what_goes(stage: Any) -> None:
    told: list[tuple[str, str]] = []

    class Told:
        async def end(self, host_id: ResourceId) -> None:
            told.append(("end", host_id.name))

        def forget(self, host_id: ResourceId) -> None:
            told.append(("forget", host_id.name))

    caretaker = Caretaker(store=stage.app.store, workshop=Told())  # type: ignore[arg-type]
    await caretaker.start()

    async def heard(*lines: tuple[str, str]) -> None:
        while len(told) < len(lines):
            await asyncio.sleep(0)
        assert told == list(lines)

    await stage.ok("PUT", f"{MACHINE}/web", {"location": "westeurope", "properties": {}})
    await stage.ok("POST", f"{MACHINE}/web/powerOff")
    await heard(("end", "web"))
    await stage.ended(await stage.send("DELETE", f"{MACHINE}/web"))
    while told[-1] != ("forget", "web"):
        await asyncio.sleep(0)
    await caretaker.stop()
