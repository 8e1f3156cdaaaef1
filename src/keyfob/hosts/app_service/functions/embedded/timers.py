"""Timer triggers: each has a thread of its own, which waits for the next time, runs the function, and waits again.

So no run overlaps the one before: a time that comes while the function runs is kept, once, and follows at once. This is
what azure-webjobs-sdk-extensions does (TimerListener.cs, ScheduleMonitor.cs), with a file in place of a blob.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .discovery import TIMER, AppError, Function, import_functions_library
from .invocation import Failed, Invoker
from .logs import HOST
from .schedule import Cron, Every, parse_schedule

log = logging.getLogger(HOST)

REASON = "Timer fired at {}"
BY_HAND = "This function was programmatically called."
MONITORED = timedelta(minutes=1)
"""Schedules that fire more often are not kept over a restart, as on Azure."""
LOOKED_AT = 5
"""Coming times that are logged, and that tell how often it fires."""
NEVER = "0001-01-01T00:00:00+00:00"
"""What a function is told of times that never were."""

Now = Callable[[], datetime]


@dataclass
class _Timer:
    function: Function
    schedule: Cron | Every
    at_start: bool
    file: Path | None
    """Where its times are kept, None when they are not."""

    next: datetime
    last: datetime | None = None
    """When it was fired by its schedule."""
    updated: datetime | None = None
    past_due: bool = False
    """A time was missed while nobody was there."""


class Timers:
    """Raises AppError for a schedule that is none. `now` gives times with a zone."""

    def __init__(
        self,
        *,
        functions: Sequence[Function],
        settings: Mapping[str, str],
        state: Path,
        invoker: Invoker,
        now: Now = lambda: datetime.now(UTC),
    ) -> None:
        self._now = now
        self._zone = _zone(settings)
        self._invoker = invoker
        self._stopped = threading.Event()
        self._timers = [self._made(one, settings, state) for one in functions if one.kind == TIMER and not one.disabled]

    @property
    def by_hand(self) -> Mapping[str, Callable[[], None]]:
        """Name of a function, in lower case → what runs it now: beside its schedule, which does not change by it."""
        return {one.function.name.lower(): lambda timer=one: self._call(timer, BY_HAND) for one in self._timers}  # type: ignore[misc]

    def run(self) -> None:
        """Until `stop`."""
        for timer in self._timers:
            log.info(
                "The next %s occurrences of the '%s' schedule will be: %s",
                LOOKED_AT,
                timer.function.name,
                ", ".join(one.isoformat() for one in self._occurrences(timer.schedule, timer.next)),
            )
            threading.Thread(target=self._tend, args=(timer,), name=timer.function.name, daemon=True).start()
        self._stopped.wait()

    def stop(self) -> None:
        self._stopped.set()

    def stopped(self, within: float) -> bool:
        """Whether `stop` was called, waiting for it at most so many seconds: a signal's handler runs in between."""
        return self._stopped.wait(within)

    # --- one timer

    def _tend(self, timer: _Timer) -> None:
        about = {"function": timer.function.name}
        if timer.past_due:
            log.info("Function '%s' is past due on startup. Executing now.", timer.function.name, extra=about)
            self._fire(timer)
        elif timer.at_start:
            log.info("Function '%s' is configured to run on startup. Executing now.", timer.function.name, extra=about)
            self._fire(timer)
        while not self._stopped.is_set():
            wait = (timer.next - self._now()).total_seconds()
            if wait > 0:
                self._stopped.wait(min(wait, 3600))
            else:
                self._fire(timer)

    def _fire(self, timer: _Timer) -> None:
        at = self._now()
        self._call(timer, REASON.format(at.isoformat()), past_due=timer.past_due)
        timer.past_due = False
        timer.last = timer.updated = at
        timer.next = self._after(timer.schedule, at)
        _keep(timer)

    def _call(self, timer: _Timer, reason: str, *, past_due: bool = False) -> None:
        status = {"Last": _text(timer.last), "Next": _text(timer.next), "LastUpdated": _text(timer.updated)}
        request = import_functions_library().timer.TimerRequest(
            past_due=past_due,
            schedule_status=status if timer.file is not None else {},
            schedule={"AdjustForDST": isinstance(timer.schedule, Cron)},
        )
        try:
            self._invoker.run(timer.function, reason, request)
        except Failed:
            return  # logged; the schedule goes on

    def _made(self, function: Function, settings: Mapping[str, str], state: Path) -> _Timer:
        trigger, now = function.trigger, self._now()
        try:
            schedule = parse_schedule(str(trigger.get("schedule", "")), settings)
            coming = self._occurrences(schedule, self._after(schedule, now))
        except ValueError as error:
            raise AppError(f"The schedule of '{function.name}' cannot be used: {error}.") from None
        often = any(later - sooner < MONITORED for sooner, later in itertools.pairwise(coming))
        monitored = not often and trigger.get("useMonitor") is not False
        timer = _Timer(
            function=function,
            schedule=schedule,
            at_start=trigger.get("runOnStartup") is True,
            file=state / f"{function.name}.json" if monitored else None,
            next=coming[0],
            updated=now,
        )
        if timer.file is not None:
            self._recall(timer, _read(timer.file), now)
        return timer

    def _recall(self, timer: _Timer, kept: Mapping[str, datetime], now: datetime) -> None:
        """What was kept says whether a time was missed. Where the schedule is another by now, what it would have said
        after the last run counts."""
        since = kept.get("Last") or kept.get("LastUpdated")
        if since is not None:
            timer.last, timer.updated = kept.get("Last"), kept.get("LastUpdated") or now
            timer.next = self._after(timer.schedule, since)
            timer.past_due = timer.next < now
        _keep(timer)

    def _after(self, schedule: Cron | Every, moment: datetime) -> datetime:
        """On the clock of the app's time zone; by UTC else."""
        return schedule.after(moment.astimezone(self._zone).replace(tzinfo=None)).replace(tzinfo=self._zone)

    def _occurrences(self, schedule: Cron | Every, first: datetime) -> list[datetime]:
        found = [first]
        while len(found) < LOOKED_AT:
            found.append(self._after(schedule, found[-1]))
        return found


def _zone(settings: Mapping[str, str]) -> ZoneInfo:
    name = settings.get("WEBSITE_TIME_ZONE") or settings.get("TZ") or "UTC"
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise AppError(f"WEBSITE_TIME_ZONE is '{name}', which is no time zone of this machine.") from None


def _read(file: Path) -> dict[str, datetime]:
    """What is kept and can be read."""
    try:
        content = json.loads(file.read_text("utf-8"))
        found = {name: datetime.fromisoformat(content[name]) for name in ("Last", "LastUpdated") if content.get(name)}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    return {name: moment for name, moment in found.items() if moment.tzinfo is not None and moment.year > 1}


def _keep(timer: _Timer) -> None:
    """Whole or not at all."""
    if timer.file is None:
        return
    timer.file.parent.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "Last": _text(timer.last),
        "Next": _text(timer.next),
        "LastUpdated": _text(timer.updated),
    }
    temporary = timer.file.with_suffix(".new")
    temporary.write_text(json.dumps(content), "utf-8")
    os.replace(temporary, timer.file)


def _text(moment: datetime | None) -> str:
    return NEVER if moment is None else moment.isoformat()
