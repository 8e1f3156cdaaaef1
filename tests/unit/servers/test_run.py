"""Signals, readiness, the end."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyfob.servers import run as running
from keyfob.servers.run import announce, new_loop, run, settle, unsettle

PROGRAM = """
import asyncio, os, sys
from keyfob.servers.run import announce, run

async def serve(stopping):
    announce({"port": 1}, fd=int(sys.argv[1]))
    await stopping.wait()
    print("stopping", flush=True)
    if sys.argv[2] == "stuck":
        await asyncio.Event().wait()
    print("done", flush=True)

sys.exit(run(serve, grace=float(sys.argv[3])))
"""


@pytest.fixture
def program() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def start(program: list[subprocess.Popen[str]], *arguments: str) -> subprocess.Popen[str]:
    reader, writer = os.pipe()
    command = [sys.executable, "-c", PROGRAM, str(writer), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=[writer])
    program.append(process)
    os.close(writer)
    with os.fdopen(reader) as ready:
        assert json.loads(ready.read()) == {"port": 1}  # ends because the program closed its side
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_it_end_by_itself(program: list[subprocess.Popen[str]], number: int) -> None:
    process = start(program, "willing", "30")
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out.split()) == (0, ["stopping", "done"]), err


def test_a_second_signal_ends_it_at_once(program: list[subprocess.Popen[str]]) -> None:
    process = start(program, "stuck", "30")
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert process.stdout.readline() == "stopping\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 1


def test_grace_ends(program: list[subprocess.Popen[str]]) -> None:
    process = start(program, "stuck", "0.01")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 1


def test_what_serving_raises_is_raised() -> None:
    async def serve(stopping: asyncio.Event) -> None:
        raise RuntimeError("no port")

    with pytest.raises(RuntimeError, match="no port"):
        run(serve)


def test_serving_may_end_by_itself() -> None:
    async def serve(stopping: asyncio.Event) -> None:
        return None

    assert run(serve) == 0


def test_uvloop_is_chosen() -> None:
    loop = new_loop()
    assert type(loop).__module__.startswith("uvloop")
    loop.close()


def test_readiness_in_a_file(tmp_path: Path) -> None:
    announce({"front_door": "127.0.0.1:443"}, file=tmp_path / "ready")
    assert (tmp_path / "ready").read_text() == '{"front_door":"127.0.0.1:443"}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["ready"]


def test_a_starter_that_is_gone_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    announce({"a": 1}, fd=writer)
    assert "readiness could not be told" in caplog.text
    with pytest.raises(OSError):
        os.close(writer)


def test_settling_freezes_what_lives() -> None:
    before = gc.get_threshold()
    try:
        unsettle()
        assert not gc.isenabled()
        settle()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 1000
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
        gc.enable()


def test_nothing_runs_at_import() -> None:
    assert running.SIGNALS == (signal.SIGTERM, signal.SIGINT)
