"""What an engine is asked, by a program that stands in for it and writes down how it was called."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from keyfob.hosts.container_instances import engine as module
from keyfob.hosts.container_instances.engine import Engine, EngineFailed, Run, engines, last_line, ways

STAND_IN = """#!{python}
import json, os, sys
calls = {calls!r}
arguments = sys.argv[1:]
env_file = ""
if "--env-file" in arguments:
    path = arguments[arguments.index("--env-file") + 1]
    env_file = open(path).read()
    mode = os.stat(path).st_mode
    assert not mode & 0o077, oct(mode)
with open(calls, "a") as file:
    file.write(json.dumps({{"arguments": arguments, "environment": dict(os.environ), "file": env_file}}) + "\\n")
{script}
"""

RUNS = """
if "inspect" in arguments and "container" in arguments:
    state = {"Pid": 0, "Running": True, "ExitCode": 0}
    print(json.dumps([{"Id": "1", "State": state, "Config": {"Labels": {"a": "b"}}}]))
"""


class StandIn:
    def __init__(self, folder: Path, program: str) -> None:
        self.folder = folder
        self.program = program
        self._calls = folder / "calls"

    def write(self, script: str = RUNS) -> Engine:
        path = self.folder / self.program
        path.write_text(STAND_IN.format(python=sys.executable, calls=str(self._calls), script=script))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return engines({"PATH": str(self.folder), "SECRET_OF_THE_SERVER": "x", "CONTAINERS_CONF": "kept"})[0]

    @property
    def calls(self) -> list[Any]:
        return [json.loads(line) for line in self._calls.read_text().splitlines()]


@pytest.fixture(params=["podman", "docker"])
def stand_in(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return StandIn(tmp_path, request.param)


async def test_secrets_are_neither_in_arguments_nor_in_what_the_engine_heeds(stand_in: StandIn) -> None:
    engine = stand_in.write()
    values = {"PATH": "/bin", "LINES": "hunter2\nhunter2", "SECRET": "hunter2 = x"}
    known = await engine.start(Run("n", "image", {"l": "v"}, "none", ("sh", "-c", "x"), values, [("/a", "/b", True)]))
    call = next(one for one in stand_in.calls if "run" in one["arguments"])
    words = call["arguments"]
    assert "hunter2" not in " ".join(words)
    assert sorted(call["file"].splitlines()) == ["PATH=/bin", "SECRET=hunter2 = x"]
    assert words[words.index("--env") + 1] == "LINES"
    assert call["environment"]["LINES"] == "hunter2\nhunter2"
    assert call["environment"]["PATH"] == str(stand_in.folder)
    assert call["environment"]["CONTAINERS_CONF"] == "kept"
    assert "SECRET_OF_THE_SERVER" not in call["environment"]
    assert "--pull=never" in words
    assert words[words.index("--volume") + 1] == "/a:/b:ro"
    assert words[words.index("--entrypoint") + 1] == "sh"
    assert words[-3:] == ["image", "-c", "x"]
    assert (known.id, known.running, known.labels) == ("1", True, {"a": "b"})


async def test_a_value_of_several_lines_cannot_have_a_name_that_the_engine_heeds(stand_in: StandIn) -> None:
    engine = stand_in.write()
    for name in (
        "LD_PRELOAD",
        "PATH",
        "DOCKER_HOST",
        "CONTAINERS_STORAGE_CONF",
        "DBUS_SESSION_BUS_ADDRESS",
        "GCONV_PATH",
    ):
        with pytest.raises(EngineFailed, match=name):
            await engine.start(Run("n", "image", {}, "none", (), {name: "a\nb"}))


async def test_the_file_of_variables_is_where_no_other_host_sees_it(stand_in: StandIn, tmp_path: Path) -> None:
    engine = stand_in.write()
    (tmp_path / "own").mkdir()
    await engine.start(Run("n", "image", {}, "none", environment={"SECRET": "x"}, log=str(tmp_path / "own" / "log")))
    words = next(one for one in stand_in.calls if "run" in one["arguments"])["arguments"]
    assert Path(words[words.index("--env-file") + 1]).parent == tmp_path / "own"


@pytest.mark.parametrize("image", ["--privileged", "-v", "", "a b", "../x"])
async def test_what_is_no_name_of_an_image_is_never_asked_for(stand_in: StandIn, image: str) -> None:
    engine = stand_in.write()
    assert not await engine.has_image(image)
    assert not (stand_in.folder / "calls").exists()
    assert await engine.has_image("mcr.microsoft.com/a/b:1.0@sha256:00")


async def test_each_way_is_tried_until_one_works(stand_in: StandIn) -> None:
    way = ways(stand_in.program)[1]
    engine = stand_in.write(f"if 'run' in arguments and {way.run[1]!r} not in arguments: sys.exit('not so')\n" + RUNS)
    reached: list[int] = []

    async def reach(pid: int) -> None:
        reached.append(pid)

    await asyncio.gather(engine.works(reach), engine.works(reach))
    assert reached == [0]
    runs = [one["arguments"] for one in stand_in.calls if "run" in one["arguments"]]
    assert len(runs) == 2
    names = {words[words.index("--name") + 1] for words in runs}
    removed = {one["arguments"][-1] for one in stand_in.calls if one["arguments"][0] == "rm"}
    assert names == removed
    await engine.start(Run("n", "image", {}, "none"))
    assert way.run[1] in stand_in.calls[-2]["arguments"]


async def test_an_engine_that_does_not_work_says_why_and_is_not_asked_again(stand_in: StandIn) -> None:
    engine = stand_in.write("if 'run' in arguments: sys.exit('warning\\nError: no cgroups here')\n" + RUNS)

    async def reach(pid: int) -> None: ...

    for _ in range(2):
        with pytest.raises(EngineFailed, match=f"{stand_in.program} runs no containers here: Error: no cgroups here"):
            await engine.works(reach)
    assert len([one for one in stand_in.calls if "run" in one["arguments"]]) == len(ways(stand_in.program))


async def test_a_try_that_is_broken_off_decides_nothing(stand_in: StandIn) -> None:
    engine = stand_in.write()
    reached = asyncio.Event()

    async def never(pid: int) -> None:
        reached.set()
        await asyncio.Event().wait()

    trying = asyncio.ensure_future(engine.works(never))
    await reached.wait()
    trying.cancel()
    await asyncio.gather(trying, return_exceptions=True)
    again: list[int] = []

    async def reach(pid: int) -> None:
        again.append(pid)

    await engine.works(reach)
    assert again == [0]


async def test_an_exit_code_that_the_engine_has_lost(stand_in: StandIn) -> None:
    engine = stand_in.write("if 'wait' in arguments: sys.exit('no such container')\n" + RUNS)
    known = (await engine.inspect(["x"]))[0]
    assert await engine.wait(known) == 137
    engine = stand_in.write("if 'wait' in arguments: print(7)\n" + RUNS)
    assert await engine.wait(known) == 7


async def test_a_command_that_takes_too_long(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    engine = stand_in.write("import time; time.sleep(600)")
    with pytest.raises(EngineFailed, match="did not end"):
        await engine.labelled("a=b")


async def test_an_engine_that_has_gone(stand_in: StandIn) -> None:
    engine = stand_in.write()
    (stand_in.folder / stand_in.program).unlink()
    with pytest.raises(EngineFailed, match="cannot be started"):
        await engine.labelled("a=b")


def test_the_sentence_that_says_why() -> None:
    assert last_line('time="x" level=warning msg="y"\nError: one\n\ntime="x" level=warning msg="z"\n') == "Error: one"
    assert last_line("") == ""
