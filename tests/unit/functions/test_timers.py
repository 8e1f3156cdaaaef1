"""When timer functions run, what they are told, and what is kept."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("azure.functions", reason="azure-functions is not installed")

from keyfob.hosts.app_service.functions.embedded.discovery import AppError, discover
from keyfob.hosts.app_service.functions.embedded.invocation import Invoker
from keyfob.hosts.app_service.functions.embedded.timers import NEVER, Timers

TICK = """
import threading
import azure.functions as func
app = func.FunctionApp()
ran, told = [], []
gate = threading.Event()
gate.set()

@app.timer_trigger(schedule={schedule!r}, arg_name="timer", run_on_startup={start})
def tick(timer: func.TimerRequest) -> None:
    told.append((timer.schedule_status, timer.schedule))
    ran.append(timer.past_due)
    gate.wait()
"""
HOURLY = "0 0 * * * *"


class Times:
    """A clock that a test moves; the waiting of the timers' threads is not on it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def timers(
    folder: Path, times: Times, *, start: bool = False, schedule: str = HOURLY, **settings: str
) -> tuple[Timers, Any]:
    """And the app's module."""
    sys.modules.pop("function_app", None)
    (folder / "function_app.py").write_text(TICK.format(schedule=schedule, start=start))
    found = discover(folder, settings)
    made = Timers(functions=found, settings=settings, state=folder / "state", invoker=Invoker(), now=times)
    return made, sys.modules["function_app"]


def running(made: Timers) -> threading.Thread:
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    return thread


def end(made: Timers, thread: threading.Thread) -> None:
    made.stop()
    thread.join()


def until(true: Callable[[], bool]) -> None:
    event = threading.Event()
    while not true():
        event.wait(0.01)


def kept(folder: Path) -> Any:
    return json.loads((folder / "state" / "tick.json").read_text())


def test_a_timer_fired_by_hand_leaves_its_schedule_alone(folder: Path) -> None:
    made, app = timers(folder, Times())
    before = kept(folder)
    made.by_hand["tick"]()
    assert app.ran == [False]
    assert kept(folder) == before


def test_run_on_startup(folder: Path) -> None:
    made, app = timers(folder, Times(), start=True)
    thread = running(made)
    until(lambda: app.ran == [False])
    end(made, thread)


def test_what_was_missed_runs_at_once_and_says_so(folder: Path) -> None:
    times = Times()
    timers(folder, times)
    assert kept(folder)["Next"] == "2026-01-01T13:00:00+00:00"
    times.now += timedelta(hours=1, minutes=5)
    made, app = timers(folder, times)
    thread = running(made)
    until(lambda: app.ran == [True])
    until(lambda: kept(folder)["Next"] == "2026-01-01T14:00:00+00:00")
    end(made, thread)


def test_it_fires_when_its_time_has_come_and_is_told_of_its_times(folder: Path) -> None:
    times = Times()
    made, app = timers(folder, times)
    times.now += timedelta(minutes=59, seconds=59, milliseconds=900)
    thread = running(made)
    times.now += timedelta(milliseconds=200)
    until(lambda: app.ran == [False])
    end(made, thread)
    status = {"Last": NEVER, "Next": "2026-01-01T13:00:00+00:00", "LastUpdated": "2026-01-01T12:00:00+00:00"}
    assert app.told == [(status, {"AdjustForDST": True})]


def test_a_time_that_comes_while_it_runs_is_kept_once(folder: Path) -> None:
    times = Times()
    made, app = timers(folder, times)
    app.gate.clear()
    times.now += timedelta(hours=1)
    thread = running(made)
    until(lambda: len(app.ran) == 1)
    times.now += timedelta(hours=3, minutes=30)  # three times pass
    app.gate.set()
    until(lambda: kept(folder)["Next"] == "2026-01-01T17:00:00+00:00")
    end(made, thread)
    assert app.ran == [False, False]


def test_a_schedule_that_was_changed_meanwhile_counts_from_the_last_run(folder: Path) -> None:
    times = Times()
    timers(folder, times)
    times.now += timedelta(minutes=30)
    made, app = timers(folder, times, schedule="0 15 * * * *")
    assert kept(folder)["Next"] == "2026-01-01T12:15:00+00:00"  # missed by the schedule of now
    times.now -= timedelta(minutes=20)
    timers(folder, times, schedule="0 0 */6 * * *")
    assert kept(folder)["Next"] == "2026-01-01T18:00:00+00:00"
    del made, app


def test_what_fires_each_minute_or_more_often_is_not_kept(folder: Path) -> None:
    for schedule in ("* * * * * *", "0,59 0 * * * *", "00:00:30"):
        made, app = timers(folder, Times(), schedule=schedule)
        made.by_hand["tick"]()
        assert app.told[0][0] == {}
        assert not (folder / "state").exists()
    assert app.told[0][1] == {"AdjustForDST": False}


def test_schedules_follow_the_time_zone_of_the_app(folder: Path) -> None:
    timers(folder, Times(), schedule="%WHEN%", WEBSITE_TIME_ZONE="Asia/Tokyo", WHEN="0 0 9 * * *")
    assert datetime.fromisoformat(kept(folder)["Next"]) == datetime(2026, 1, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["Mars/Base", "../etc/passwd"])
def test_a_time_zone_that_is_none(folder: Path, zone: str) -> None:
    with pytest.raises(AppError, match="no time zone"):
        timers(folder, Times(), WEBSITE_TIME_ZONE=zone)


@pytest.mark.parametrize("content", ["{", "[]", '{"Last": 3}', '{"Last": "2026-01-01T12:00:00"}'])
def test_a_state_file_that_cannot_be_read_is_begun_anew(folder: Path, content: str) -> None:
    (folder / "state").mkdir()
    (folder / "state" / "tick.json").write_text(content)
    timers(folder, Times())
    assert kept(folder)["Next"] == "2026-01-01T13:00:00+00:00"
