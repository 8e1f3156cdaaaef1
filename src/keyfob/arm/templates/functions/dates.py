"""Dates: ISO 8601 in, .NET's format strings out."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import Any

from keyfob.arm.templates.expressions import ExpressionError
from keyfob.arm.templates.functions.table import integer, pure, text

_DURATION = re.compile(
    r"(-)?P(?:(\d{1,5})Y)?(?:(\d{1,6})M)?(?:(\d{1,6})W)?(?:(\d{1,7})D)?"
    r"(?:T(?:(\d{1,8})H)?(?:(\d{1,9})M)?(?:(\d{1,10}(?:\.\d+)?)S)?)?"
)
_STANDARD = {
    "d": "M/d/yyyy",
    "D": "dddd, MMMM d, yyyy",
    "f": "dddd, MMMM d, yyyy h:mm tt",
    "F": "dddd, MMMM d, yyyy h:mm:ss tt",
    "g": "M/d/yyyy h:mm tt",
    "G": "M/d/yyyy h:mm:ss tt",
    "m": "MMMM d",
    "M": "MMMM d",
    "o": "yyyy-MM-ddTHH:mm:ss.fffffffK",
    "O": "yyyy-MM-ddTHH:mm:ss.fffffffK",
    "r": "ddd, dd MMM yyyy HH:mm:ss 'GMT'",
    "R": "ddd, dd MMM yyyy HH:mm:ss 'GMT'",
    "s": "yyyy-MM-ddTHH:mm:ss",
    "t": "h:mm tt",
    "T": "h:mm:ss tt",
    "u": "yyyy-MM-dd HH:mm:ss'Z'",
    "U": "dddd, MMMM d, yyyy h:mm:ss tt",
    "y": "MMMM yyyy",
    "Y": "MMMM yyyy",
}
_PART = re.compile(r"'([^']*)'|\"([^\"]*)\"|\\(.)|y+|M+|d+|H+|h+|m+|s+|f+|F+|t+|z+|K|.", re.DOTALL)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def shown(when: datetime, how: str) -> str:
    """A moment in UTC by a .NET format string, standard (`u`) or custom (`yyyy-MM-dd`)."""
    pattern = _STANDARD.get(how, how)
    return "".join(_shown(when, found) for found in _PART.finditer(pattern))


def _shown(when: datetime, found: re.Match[str]) -> str:
    part = found[0]
    if part[0] in "'\"\\":
        return found[1] or found[2] or found[3] or ""
    size, first = len(part), part[0]
    hour = when.hour % 12 or 12
    numbers = {"H": when.hour, "h": hour, "m": when.minute, "s": when.second}
    if first in numbers:
        return f"{numbers[first]:0{min(size, 2)}d}"
    if first == "y":
        return f"{when.year % 100:0{size}d}" if size <= 2 else f"{when.year:0{size}d}"
    if first == "M":
        name = _MONTHS[when.month - 1]
        return f"{when.month:0{size}d}" if size <= 2 else name[:3] if size == 3 else name
    if first == "d":
        name = _DAYS[when.weekday()]
        return f"{when.day:0{size}d}" if size <= 2 else name[:3] if size == 3 else name
    if first in "fF":
        digits = f"{when.microsecond:06d}0"[:size]
        return digits if first == "f" else digits.rstrip("0")
    if first == "t":
        return ("AM" if when.hour < 12 else "PM")[:size]
    if first == "z":
        return "+00:00" if size > 2 else "+00" if size == 2 else "+0"
    return "Z" if first == "K" else part


def moment(function: str, value: Any) -> datetime:
    given = text(function, value).strip()
    for read in (datetime.fromisoformat, _compact, _american):
        try:
            when = read(given)
        except ValueError:
            continue
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    raise ExpressionError(
        f"The template language function '{function}' expects an ISO 8601 date and time. The provided value "
        f"'{given[:100]}' is not valid."
    )


def _compact(given: str) -> datetime:
    return datetime.strptime(given, "%Y%m%dT%H%M%SZ")


def _american(given: str) -> datetime:
    return datetime.strptime(given, "%m/%d/%Y %I:%M:%S %p")


def _add(base: Any, duration: Any, how: Any = "G") -> str:
    when, given = moment("dateTimeAdd", base), text("dateTimeAdd", duration)
    found = _DURATION.fullmatch(given)
    if not found or not any(found.groups()[1:]):
        raise ExpressionError(
            "The template language function 'dateTimeAdd' expects its second parameter to be an ISO 8601 duration. The "
            f"provided value '{given[:100]}' is not valid."
        )
    sign = -1 if found[1] else 1
    years, months, weeks, days, hours, minutes = (sign * int(part or 0) for part in found.groups()[1:7])
    try:
        month = when.year * 12 + when.month - 1 + years * 12 + months
        year, month = month // 12, month % 12 + 1
        when = when.replace(year=year, month=month, day=min(when.day, monthrange(year, month)[1]))
        seconds = sign * float(found[8] or 0)
        when += timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    except (ValueError, OverflowError):
        raise ExpressionError("The template language function 'dateTimeAdd' result is out of range.") from None
    return shown(when, text("dateTimeAdd", how))


def _from_epoch(seconds: Any) -> str:
    try:
        return shown(datetime.fromtimestamp(integer("dateTimeFromEpoch", seconds), UTC), "yyyy-MM-ddTHH:mm:ssZ")
    except (ValueError, OverflowError, OSError):
        raise ExpressionError("The template language function 'dateTimeFromEpoch' result is out of range.") from None


FUNCTIONS = pure(
    {
        "dateTimeAdd": (2, 3, _add),
        "dateTimeFromEpoch": (1, 1, _from_epoch),
        "dateTimeToEpoch": (1, 1, lambda v: int(moment("dateTimeToEpoch", v).timestamp())),
    }
)
