"""Timer triggers: one thread waits for the next, each run has a thread of its own, and none overlaps itself."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .discovery import AppError, Function, import_functions_library
from .invocation import Invoker
from .schedule import Cron, Every, parse_schedule

log = logging.getLogger("host")

TIMER = "timerTrigger"
REASON = "Timer fired at {}"
MONITORED = timedelta(minutes=1)
"""Schedules that fire more often are not kept over a restart, as on Azure."""

Now = Callable[[], datetime]


@dataclass
class _Timer:
    function: Function
    schedule: Cron | Every
    at_start: bool
    file: Path | None
    """Where its last and next times are kept, None when they are not."""

    next: datetime
    past_due: bool = False
    last: datetime | None = None
    busy: threading.Lock = field(default_factory=threading.Lock)


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
        self._library: Any = None
        self._stopped = threading.Event()
        self._writing = threading.Lock()
        self._timers = [self._made(one, settings, state) for one in functions if one.kind == TIMER and not one.disabled]

    @property
    def by_hand(self) -> Mapping[str, Callable[[], None]]:
        """Name of a function, in lower case → what runs it now."""
        return {one.function.name.lower(): lambda timer=one: self._run(timer, by_hand=True) for one in self._timers}  # type: ignore[misc]

    def run(self) -> None:
        """Until `stop`."""
        for timer in self._timers:
            log.info(
                "The next 5 occurrences of the '%s' schedule will be: %s",
                timer.function.name,
                ", ".join(self._occurrences(timer, 5)),
            )
            if timer.past_due or timer.at_start:
                self._begin(timer)
        while self._timers and not self._stopped.is_set():
            soonest = min(self._timers, key=lambda timer: timer.next)
            wait = (soonest.next - self._now()).total_seconds()
            if wait > 0:
                self._stopped.wait(min(wait, 3600))
                continue
            soonest.past_due = False
            self._begin(soonest)
            soonest.next = self._after(soonest.schedule, self._now())
            self._keep(soonest)

    def stop(self) -> None:
        self._stopped.set()

    def stopped(self, within: float) -> bool:
        """Whether `stop` was called, waiting for it at most so many seconds: a signal's handler runs in between."""
        return self._stopped.wait(within)

    def _begin(self, timer: _Timer) -> None:
        threading.Thread(target=self._run, args=(timer,), name=timer.function.name, daemon=True).start()

    def _run(self, timer: _Timer, *, by_hand: bool = False) -> None:
        if not timer.busy.acquire(blocking=False):
            log.warning("'%s' is still running: this occurrence is skipped", timer.function.name)
            return
        try:
            library = self._library = self._library or import_functions_library()
            request = library.timer.TimerRequest(
                past_due=timer.past_due and not by_hand,
                schedule_status={
                    "Last": _text(timer.last),
                    "Next": _text(timer.next),
                    "LastUpdated": _text(timer.last),
                },
                schedule={"AdjustForDST": True},
            )
            started = self._now()
            reason = "This function was programmatically called." if by_hand else REASON.format(started.isoformat())
            try:
                self._invoker.run(timer.function, reason, request)
            except Exception:
                return  # logged; the schedule goes on
            finally:
                timer.last, timer.past_due = started, False
                self._keep(timer)
        finally:
            timer.busy.release()

    def _made(self, function: Function, settings: Mapping[str, str], state: Path) -> _Timer:
        trigger = function.trigger
        try:
            schedule = parse_schedule(str(trigger.get("schedule", "")), settings)
            following = self._after(schedule, self._now())
            often = self._after(schedule, following) - following < MONITORED
        except ValueError as error:
            raise AppError(f"The schedule of '{function.name}' cannot be used: {error}.") from None
        monitored = not often and trigger.get("useMonitor") is not False
        timer = _Timer(
            function=function,
            schedule=schedule,
            at_start=trigger.get("runOnStartup") is True,
            file=state / f"{function.name}.json" if monitored else None,
            next=following,
        )
        kept = _read(timer.file)
        timer.last = kept.get("Last")
        missed = kept.get("Next")
        timer.past_due = missed is not None and missed <= self._now()
        if timer.past_due or missed is None:
            self._keep(timer)
        return timer

    def _keep(self, timer: _Timer) -> None:
        if timer.file is None:
            return
        timer.file.parent.mkdir(parents=True, exist_ok=True)
        content = {"Last": _text(timer.last), "Next": _text(timer.next), "LastUpdated": _text(self._now())}
        temporary = timer.file.with_suffix(".new")
        with self._writing:
            temporary.write_text(json.dumps(content), "utf-8")
            os.replace(temporary, timer.file)

    def _after(self, schedule: Cron | Every, moment: datetime) -> datetime:
        """On the clock of the app's time zone; by UTC else."""
        return schedule.after(moment.astimezone(self._zone).replace(tzinfo=None)).replace(tzinfo=self._zone)

    def _occurrences(self, timer: _Timer, count: int) -> list[str]:
        found, at = [], timer.next
        for _ in range(count):
            found.append(at.isoformat())
            at = self._after(timer.schedule, at)
        return found


def _zone(settings: Mapping[str, str]) -> ZoneInfo:
    name = settings.get("WEBSITE_TIME_ZONE") or settings.get("TZ") or "UTC"
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise AppError(f"WEBSITE_TIME_ZONE is '{name}', which is no time zone of this machine.") from None


def _read(file: Path | None) -> dict[str, datetime]:
    """What is kept and can be read."""
    if file is None:
        return {}
    try:
        content = json.loads(file.read_text("utf-8"))
        return {name: datetime.fromisoformat(content[name]) for name in ("Last", "Next") if content.get(name)}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
