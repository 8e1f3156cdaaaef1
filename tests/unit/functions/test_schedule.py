"""When timers fire."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.hosts.app_service.functions.embedded.schedule import Cron, Every, parse_schedule

START = datetime(2026, 2, 27, 22, 58, 59, 500_000)  # a Friday


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the table of learn.microsoft.com/azure/azure-functions/functions-bindings-timer, "NCRONTAB examples"
        ("0 */5 * * * *", "2026-02-27 23:00:00"),
        ("0 0 * * * *", "2026-02-27 23:00:00"),
        ("0 0 */2 * * *", "2026-02-28 00:00:00"),
        ("0 0 9-17 * * *", "2026-02-28 09:00:00"),
        ("0 30 9 * * *", "2026-02-28 09:30:00"),
        ("0 30 9 * * 1-5", "2026-03-02 09:30:00"),
        ("0 30 9 * Jan Mon", "2027-01-04 09:30:00"),
        ("0 5 * * * *", "2026-02-27 23:05:00"),
        ("1,17 * * * * *", "2026-02-27 22:59:01"),
        ("* * * * * *", "2026-02-27 22:59:00"),
        ("*/15 * * * *", "2026-02-27 23:00:00"),  # five fields
        ("0 0 0 29 2 *", "2028-02-29 00:00:00"),
        ("0 0 0 13 * fri", "2026-03-13 00:00:00"),  # both must hold
        ("0 0 0 31 * *", "2026-03-31 00:00:00"),
        ("30 59 22 27 2 *", "2026-02-27 22:59:30"),
        ("5/20 * * * * *", "2026-02-27 22:59:05"),
        ("0 0 0 1 sept-DECEMBER *", "2026-09-01 00:00:00"),
        ("0 0 0 * * sunday", "2026-03-01 00:00:00"),
        ("00:05:00", "2026-02-27 23:03:59.500000"),
        ("1.00:00", "2026-02-28 22:58:59.500000"),
        ("%WHEN%", "2026-02-27 23:00:00"),
    ],
)
def test_the_next_time(text: str, expected: str) -> None:
    assert str(parse_schedule(text, {"WHEN": "0 0 * * * *"}).after(START)) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "* * * *", "* * * * * * *", "60 * * * * *", "* * 24 * * *", "* * * 0 * *", "* * * * 13 *"),
        *("* * * * * 7", "5-1 * * * * *", "*/0 * * * * *", "*/x * * * * *", "a * * * * *", "* * * * ju *"),
        *("-1 * * * * *", "1- * * * * *", "%NONE%", "00:00:00", ", * * * * *", "١ * * * * *"),
    ],
)
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_schedule(text, {})


def test_one_that_never_fires() -> None:
    with pytest.raises(ValueError, match="never fires"):
        parse_schedule("0 0 0 31 2 *", {}).after(START)


def test_a_span_is_that_long() -> None:
    assert parse_schedule("2.03:04:05", {}) == Every(timedelta(days=2, hours=3, minutes=4, seconds=5))


moments = st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1))
small = st.integers(0, 59)


@given(moments, small, small, st.integers(0, 23), st.integers(1, 28), st.integers(1, 12))
def test_it_fires_at_the_first_moment_that_fits(
    moment: datetime, second: int, minute: int, hour: int, day: int, month: int
) -> None:
    found = parse_schedule(f"{second} {minute} {hour} {day} {month} *", {}).after(moment)
    assert (found.second, found.minute, found.hour, found.day, found.month) == (second, minute, hour, day, month)
    assert moment < found <= moment + timedelta(days=367)


@given(moments)
def test_each_second_means_each_second(moment: datetime) -> None:
    schedule = parse_schedule("* * * * * *", {})
    assert isinstance(schedule, Cron)
    assert timedelta() < schedule.after(moment) - moment <= timedelta(seconds=1)
