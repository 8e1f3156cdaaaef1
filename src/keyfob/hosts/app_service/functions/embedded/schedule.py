"""When a timer trigger fires: NCRONTAB expressions and time spans.

Six fields: second, minute, hour, day, month, day of week; five mean second 0. Day and day of week must both hold,
unlike in cron (learn.microsoft.com, functions-bindings-timer; the rules are those of the NCrontab library it names).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

# fmt: off
_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)
# fmt: on
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2})(?::(\d{2}))?")
_SETTING = re.compile(r"%([^%]+)%")
_SEARCHED = timedelta(days=366 * 8)
"""29 February on a given day of the week comes within 28 years; nobody schedules that."""


class _Field(NamedTuple):
    name: str
    first: int
    last: int
    names: Sequence[str] = ()


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 6, _DAYS),
)


class Every(NamedTuple):
    """A time span between two runs."""

    span: timedelta

    def after(self, moment: datetime) -> datetime:
        return moment + self.span


class Cron(NamedTuple):
    """For each field the values that fire."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""

    def after(self, moment: datetime) -> datetime:
        """The first time that fires, later than `moment`. Raises ValueError when there is none."""
        at = moment.replace(microsecond=0) + timedelta(seconds=1)
        end = moment + _SEARCHED
        while at <= end:
            midnight = at.replace(hour=0, minute=0, second=0)
            if at.month not in self.months:
                at = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
            elif at.day not in self.days or at.isoweekday() % 7 not in self.weekdays:
                at = midnight + timedelta(days=1)
            elif at.hour not in self.hours:
                at = at.replace(minute=0, second=0) + timedelta(hours=1)
            elif at.minute not in self.minutes:
                at = at.replace(second=0) + timedelta(minutes=1)
            elif at.second not in self.seconds:
                at += timedelta(seconds=1)
            else:
                return at
        raise ValueError("the schedule never fires")


def parse_schedule(text: str, settings: Mapping[str, str]) -> Cron | Every:
    """`0 */5 * * * *`, `00:05:00`, or `%NAME%` for the app setting that holds one. Raises ValueError, a sentence."""
    wanted = _SETTING.fullmatch(text.strip())
    if wanted:
        if wanted[1] not in settings:
            raise ValueError(f"'{text}' does not resolve to a value: there is no app setting '{wanted[1]}'")
        text = settings[wanted[1]]
    text = text.strip()
    if span := _SPAN.fullmatch(text):
        days, hours, minutes, seconds = (int(part or 0) for part in span.groups())
        every = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if not every:
            raise ValueError(f"'{text}' is no time between two runs")
        return Every(every)
    parts = text.split()
    if len(parts) == len(_FIELDS) - 1:
        parts.insert(0, "0")
    if len(parts) != len(_FIELDS):
        raise ValueError(f"the schedule expression '{text}' has {len(parts)} fields, not 5 or 6")
    return Cron(*(_parse_field(part, field) for part, field in zip(parts, _FIELDS, strict=True)))


def _parse_field(text: str, field: _Field) -> frozenset[int]:
    values: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        if slash and not (step.isascii() and step.isdigit() and int(step)):
            raise ValueError(f"'{part}' is no {field.name}")
        first, dash, last = span.partition("-")
        if span == "*":
            low, high = field.first, field.last
        else:
            low = _value(first, field)
            high = _value(last, field) if dash else (field.last if slash else low)
        if low > high:
            raise ValueError(f"'{part}' is no {field.name}: it runs backwards")
        values.update(range(low, high + 1, int(step or 1)))
    return frozenset(values)


def _value(text: str, field: _Field) -> int:
    if text.isascii() and text.isdigit() and field.first <= int(text) <= field.last:
        return int(text)
    low = text.lower()
    found = [number for number, name in enumerate(field.names, field.first) if len(low) >= 3 and name.startswith(low)]
    if len(found) == 1:
        return found[0]
    raise ValueError(f"'{text}' is no {field.name} ({field.first} to {field.last})")
