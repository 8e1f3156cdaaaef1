"""Logs as engines write them."""

from __future__ import annotations

import json
from pathlib import Path

from keyfob.clock import FakeClock
from keyfob.hosts.container_instances.engine_logs import AT_ONCE, EngineLog, parse
from keyfob.hosts.workloads.logs import LONGEST, ProgramLog


def test_lines_of_podman_and_docker() -> None:
    part = parse("2026-11-23T10:17:22.745803851+02:00 stderr F what  it says")
    assert part is not None
    assert part == ("2026-11-23T08:17:22.745Z", "err", "what  it says", True)
    row = {"log": "a line\n", "stream": "stdout", "time": "2026-11-23T08:17:22.7Z"}
    assert parse(json.dumps(row)) == ("2026-11-23T08:17:22.700Z", "out", "a line", True)
    assert parse(json.dumps({**row, "log": "half"})) == ("2026-11-23T08:17:22.700Z", "out", "half", False)
    for line in ("", "{", "[]", "{}", '{"log": 1, "stream": 2}', "no such line", "2026 stdin F x"):
        assert parse(line) is None


def test_a_log_that_grows_is_read_on(tmp_path: Path, clock: FakeClock) -> None:
    file, printed = tmp_path / "engine", ProgramLog(tmp_path / "log", clock)
    log = EngineLog(file, printed)
    log.pour()  # there is none yet
    at = "2026-11-23T08:17:22.000000000+00:00"
    file.write_text(f"{at} stdout F one\n{at} stdout P tw")
    log.pour()
    assert [line.text for line in printed.tail()] == ["one"]
    with file.open("a") as more:
        more.write(f"o a\n{at} stderr F between\n{at} stdout F nd a half\n{at} stdout P unfinished\n")
    log.pour()
    log.pour()
    assert [(line.stream, line.text) for line in printed.tail()] == [
        ("out", "one"),
        ("err", "between"),
        ("out", "two and a half"),
    ]
    log.pour(last=True)
    last = printed.tail()[-1]
    assert (last.text, printed.tail()[0].at) == ("unfinished", "2026-11-23T08:17:22.000Z")


def test_a_flood_is_not_read_whole(tmp_path: Path, clock: FakeClock) -> None:
    file, printed = tmp_path / "engine", ProgramLog(tmp_path / "log", clock)
    line = "2026-11-23T08:17:22.000000000+00:00 stdout {} {}\n".format
    file.write_text(line("F", "the first") + line("F", "x" * 200) * (AT_ONCE // 200) + line("F", "the last"))
    log = EngineLog(file, printed)
    log.pour()
    found = [one.text for one in printed.tail()]
    assert (found[-1], "the first" in found) == ("the last", False)


def test_a_line_without_an_end_is_cut(tmp_path: Path, clock: FakeClock) -> None:
    file, printed = tmp_path / "engine", ProgramLog(tmp_path / "log", clock)
    file.write_text("2026-11-23T08:17:22.000000000+00:00 stdout P abcd\n" * LONGEST)
    EngineLog(file, printed).pour()
    assert {len(one.text) for one in printed.tail()} == {LONGEST}
    assert len(printed.tail()) == 3


def test_a_file_that_the_engine_began_anew(tmp_path: Path, clock: FakeClock) -> None:
    file, printed = tmp_path / "engine", ProgramLog(tmp_path / "log", clock)
    at = "2026-11-23T08:17:22.000000000+00:00"
    log = EngineLog(file, printed)
    file.write_text(f"{at} stdout F one\n{at} stdout F two\n")
    log.pour()
    (tmp_path / "new").write_text(f"{at} stdout F three\n")
    (tmp_path / "new").replace(file)
    log.pour()
    assert [line.text for line in printed.tail()] == ["one", "two", "three"]
