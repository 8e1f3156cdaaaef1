"""What programs print."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from keyfob.clock import FakeClock
from keyfob.hosts.workloads import logs
from keyfob.hosts.workloads.logs import Line, ProgramLog, pipe_into

from .conftest import until


@pytest.fixture
def log(tmp_path: Path) -> ProgramLog:
    return ProgramLog(tmp_path / "a.log", FakeClock())


def texts(log: ProgramLog, lines: int | None = None) -> list[str]:
    return [line.text for line in log.tail(lines)]


def test_lines_have_time_and_stream(log: ProgramLog) -> None:
    log.write("out", "hello world")
    log.write("err", "")
    assert log.tail() == [
        Line("2023-11-14T22:13:20.000Z", "out", "hello world"),
        Line("2023-11-14T22:13:20.000Z", "err", ""),
    ]
    assert str(log.tail(2)[0]) == "2023-11-14T22:13:20.000Z hello world"
    assert texts(log, 1) == [""]
    assert texts(log, 0) == []


def test_a_text_of_several_lines_is_several_lines(log: ProgramLog) -> None:
    """As a refusal of Key Vault is, of which each would else be read as a time, a stream and the rest."""
    log.write("host", "Forbidden.\nCaller: appid=1\n\nVault: shop\n")
    assert [(line.stream, line.text) for line in log.tail()] == [
        ("host", "Forbidden."),
        ("host", "Caller: appid=1"),
        ("host", ""),
        ("host", "Vault: shop"),
    ]


def test_it_is_there_after_a_restart_and_nobody_elses(log: ProgramLog, tmp_path: Path) -> None:
    log.write("out", "kept ü \udcff")
    again = ProgramLog(tmp_path / "a.log", FakeClock())
    again.write("out", "more")
    assert texts(again) == ["kept ü ?", "more"]
    assert stat.S_IMODE((tmp_path / "a.log").stat().st_mode) == 0o600


def test_it_is_bounded(log: ProgramLog, tmp_path: Path) -> None:
    for number in range(400):
        log.write("out", f"{number} " + "x" * 10_000)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2 * logs.KEPT
    kept = [int(text.split()[0]) for text in texts(log)]
    assert kept == list(range(kept[0], 400))
    assert 100 <= len(kept) < 200


def test_clearing(log: ProgramLog, tmp_path: Path) -> None:
    log.write("out", "x" * logs.KEPT)
    log.write("out", "y")
    log.clear()
    assert (texts(log), list(tmp_path.iterdir())) == ([], [])


async def test_followers_hear_what_comes_after(log: ProgramLog) -> None:
    log.write("out", "before")
    heard: list[str] = []

    async def follow() -> None:
        async for line in log.follow():
            heard.append(line.text)
            if line.text == "last":
                return

    both = [asyncio.ensure_future(follow()) for _ in range(2)]
    await asyncio.sleep(0)
    for text in ("one", "last"):
        log.write("out", text)
    await asyncio.gather(*both)
    assert heard.count("one") == heard.count("last") == 2
    assert "before" not in heard


async def test_a_slow_follower_misses_the_oldest(log: ProgramLog) -> None:
    following = log.follow()
    first = asyncio.ensure_future(anext(following))
    await asyncio.sleep(0)
    for number in range(logs.BEHIND + 500):
        log.write("out", str(number))
    assert (await first).text == "500"
    await following.aclose()  # type: ignore[attr-defined]


async def test_a_pipe_becomes_lines(log: ProgramLog) -> None:
    descriptor = await pipe_into(log, "out")
    for part in (b"ab", b"c\r\nde", b"\n\n" + b"z" * (logs.LONGEST + 5), b"\nrest"):
        os.write(descriptor, part)
    os.close(descriptor)
    await until(lambda: "rest" in texts(log))
    assert texts(log) == ["abc", "de", "", "z" * logs.LONGEST, "zzzzz", "rest"]


class Pipe(asyncio.ReadTransport):
    """Counts how often somebody asked to be spared."""

    paused = resumed = 0

    def pause_reading(self) -> None:
        self.paused += 1

    def resume_reading(self) -> None:
        self.resumed += 1

    def is_closing(self) -> bool:
        return False


async def test_a_program_that_floods_its_log_waits(log: ProgramLog, tmp_path: Path) -> None:
    pipe, pouring = Pipe(), logs.Pouring(log, "out")
    pouring.connection_made(pipe)
    pouring.data_received(b"a line\n" * 10)
    assert pipe.paused == 0
    pouring.data_received(b"\n" * 70_000 + b"the last\n")
    assert (pipe.paused, pipe.resumed) == (1, 0)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2 * logs.KEPT
    assert texts(log, 1) == ["the last"]
    await until(lambda: pipe.resumed == 1)
