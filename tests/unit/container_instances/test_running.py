"""How a group runs, on a place that tests hold in their hands."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from keyfob.clock import FakeClock
from keyfob.errors import Problem
from keyfob.hosts.container_instances import states
from keyfob.hosts.container_instances.model import CannotRun, Container, Group
from keyfob.hosts.container_instances.places import ImageMissing
from keyfob.hosts.container_instances.running import RunningGroup, Surroundings
from keyfob.hosts.container_instances.states import SeenGroup
from keyfob.hosts.workloads.logs import ProgramLog
from keyfob.hosts.workloads.supervisor import Restart


class One:
    """A container that was started."""

    def __init__(self) -> None:
        self.code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        return await asyncio.shield(self.code)

    def end(self, code: int) -> None:
        self.code.set_result(code)


class HandPlace:
    name = "hand"

    def __init__(self, left: Sequence[str] = ()) -> None:
        self.left = {name: One() for name in left}
        self.started: list[tuple[str, One]] = []
        self.refuses: Problem | None = None
        self.ending: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.closed = 0

    async def start(self, container: Container, log: ProgramLog) -> One:
        if self.refuses is not None:
            raise self.refuses
        self.started.append((container.name, One()))
        return self.started[-1][1]

    def before(self, container: Container, log: ProgramLog) -> One | None:
        return self.left.pop(container.name, None)

    async def lost(self) -> str:
        return await asyncio.shield(self.ending)

    def flush(self) -> None: ...

    async def execute(self, container: Container, command: Sequence[str]) -> tuple[int, str, str]:
        raise NotImplementedError

    async def close(self, grace: float = 5.0) -> None:
        self.closed += 1

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.started]


class Scene:
    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.folder = folder
        self.clock = clock
        self.places: list[HandPlace] = []
        self.found: HandPlace | None = None
        self.troubles: list[Problem] = []
        self.pauses: list[float] = []
        self.saves = 0
        self.cleared = 0
        self.seen = SeenGroup(1)

    def group(self, *names: str, init: Sequence[str] = (), restart: Restart = Restart.ALWAYS) -> RunningGroup:
        made = Group(
            tuple(Container(name, "image") for name in names),
            tuple(Container(name, "image") for name in init),
            (),
            restart,
        )
        return RunningGroup(made, self.seen, self.around)

    @property
    def around(self) -> Surroundings:
        return Surroundings(
            open=self._open,
            find=self._find,
            clear=self._clear,
            log=lambda name: ProgramLog(self.folder / name, self.clock),
            save=self._save,
            clock=self.clock,
            pause=self._pause,
        )

    async def _open(self) -> HandPlace:
        if self.troubles:
            raise self.troubles.pop(0)
        self.places.append(HandPlace())
        return self.places[-1]

    async def _find(self) -> HandPlace | None:
        return self.found

    async def _clear(self) -> None:
        self.cleared += 1

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def _save(self) -> None:
        self.saves += 1

    def current(self, name: str) -> tuple[str, str, int | None]:
        moment = self.seen.of(name).current
        return moment.state, moment.detail, moment.code


@pytest.fixture
def scene(tmp_path: Path, clock: FakeClock) -> Scene:
    return Scene(tmp_path, clock)


async def settle() -> None:
    """Lets every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_all_containers_start_and_the_group_runs(scene: Scene) -> None:
    group = scene.group("a", "b")
    group.start()
    await settle()
    assert scene.places[0].names == ["a", "b"]
    assert scene.seen.state == states.RUNNING
    assert scene.current("a") == (states.RUNNING, "", None)
    await group.stop()
    assert scene.places[0].closed == 1
    assert scene.current("a") == (states.TERMINATED, "Error", 137)
    assert [event.name for event in scene.seen.of("a").events] == ["Pulled", "Created", "Started", "Killing"]


async def test_what_fails_is_started_again_after_longer_and_longer_pauses(scene: Scene) -> None:
    group = scene.group("a")
    group.start()
    for _ in range(3):
        await settle()
        scene.places[0].started[-1][1].end(7)
    await settle()
    assert scene.pauses == [1, 2, 4]
    seen = scene.seen.of("a")
    assert (seen.restarts, seen.current.state) == (3, states.RUNNING)
    assert seen.previous is not None
    assert (seen.previous.state, seen.previous.code) == (states.TERMINATED, 7)
    await group.stop()


@pytest.mark.parametrize(
    ("restart", "codes", "state"),
    [
        (Restart.NEVER, (0, 0), states.SUCCEEDED),
        (Restart.NEVER, (0, 1), states.FAILED),
        (Restart.ON_FAILURE, (0, 0), states.SUCCEEDED),
    ],
)
async def test_a_group_that_ends(scene: Scene, restart: Restart, codes: tuple[int, int], state: str) -> None:
    group = scene.group("a", "b", restart=restart)
    group.start()
    await settle()
    for (_, one), code in zip(scene.places[0].started, codes, strict=True):
        one.end(code)
    await settle()
    assert scene.seen.state == state
    assert scene.places[0].closed == 1
    assert scene.current("b") == (states.TERMINATED, "Completed" if codes[1] == 0 else "Error", codes[1])
    await group.stop()
    assert scene.seen.state == state


async def test_init_containers_come_first_and_in_their_order(scene: Scene) -> None:
    group = scene.group("main", init=["one", "two"])
    group.start()
    await settle()
    place = scene.places[0]
    assert (place.names, scene.current("main")) == (["one"], (states.WAITING, "PodInitializing", None))
    place.started[0][1].end(0)
    await settle()
    assert place.names == ["one", "two"]
    place.started[1][1].end(5)  # fails, and is tried again
    await settle()
    assert place.names == ["one", "two", "two"]
    assert scene.seen.of("two").restarts == 1
    place.started[2][1].end(0)
    await settle()
    assert place.names[-1] == "main"
    assert scene.seen.state == states.RUNNING
    await group.stop()


async def test_under_never_a_failed_init_container_is_the_end(scene: Scene) -> None:
    group = scene.group("main", init=["one"], restart=Restart.NEVER)
    group.start()
    await settle()
    scene.places[0].started[0][1].end(5)
    await settle()
    assert (scene.places[0].names, scene.seen.state) == (["one"], states.FAILED)
    await group.stop()


async def test_an_image_that_comes_later(scene: Scene) -> None:
    scene.troubles = [ImageMissing("not there"), ImageMissing("not there")]
    group = scene.group("a")
    group.start()
    await settle()
    assert scene.pauses == [1, 2]
    event = scene.seen.of("a").events[0]
    assert (event.name, event.type, event.count) == ("Failed", "Warning", 2)
    assert scene.current("a") == (states.RUNNING, "", None)
    await group.stop()


async def test_a_group_that_cannot_run_fails_once(scene: Scene) -> None:
    scene.troubles = [CannotRun("no such thing here")]
    group = scene.group("a")
    group.start()
    await settle()
    assert (scene.seen.state, scene.pauses) == (states.FAILED, [])
    assert scene.seen.events[0].message == "no such thing here"
    await group.stop()


async def test_a_container_that_cannot_be_started_is_a_failure_of_it(scene: Scene) -> None:
    group = scene.group("a", restart=Restart.NEVER)
    scene.found = HandPlace()
    scene.found.refuses = Problem("no such file")
    group.start()
    await settle()
    assert scene.current("a") == (states.TERMINATED, "ContainerCannotRun", 128)
    assert (scene.seen.state, scene.seen.of("a").events[-1].message) == (states.FAILED, "no such file")
    await group.stop()


async def test_when_the_place_is_lost_all_is_made_anew(scene: Scene) -> None:
    group = scene.group("a")
    group.start()
    await settle()
    scene.places[0].ending.set_result("the network has gone")
    await settle()
    assert len(scene.places) == 2
    assert (scene.places[0].closed, scene.places[1].names) == (1, ["a"])
    assert scene.seen.of("a").restarts == 1
    assert scene.seen.of("a").previous is not None
    assert (scene.seen.events[0].name, scene.seen.state) == ("SandboxChanged", states.RUNNING)
    await group.stop()


async def test_what_outlived_another_server_goes_on(scene: Scene) -> None:
    first = scene.group("a", "b", init=["done"])
    first.start()
    await settle()
    scene.places[0].started[0][1].end(0)
    await settle()
    was = scene.seen.of("a").current
    scene.clock.advance(100)
    scene.found = HandPlace(["a", "done"])  # b was lost
    second = scene.group("a", "b", init=["done"])
    second.start()
    await settle()
    assert scene.found.names == ["b"]
    assert scene.seen.of("a").current == was
    assert scene.seen.of("a").restarts == 0
    assert len(scene.places) == 1
    await second.stop()
    await first.stop()


async def test_a_stop_before_anything_was_taken_up_ends_what_is_left(scene: Scene) -> None:
    group = scene.group("a")
    group.start()
    await group.stop()
    assert scene.cleared == 1
    assert scene.places == []
