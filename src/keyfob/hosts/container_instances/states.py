"""What is seen of a group while it runs, as it is kept and as it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from keyfob.arm.shapes import items, mapping
from keyfob.clock import iso

EVENTS_KEPT = 50

RUNNING, WAITING, TERMINATED = "Running", "Waiting", "Terminated"
PENDING, STOPPED, SUCCEEDED, FAILED = "Pending", "Stopped", "Succeeded", "Failed"

STATE = "keyfob.state"
"""The stored property that says whether the group is to run: `Running` or `Stopped`."""

GENERATION = "keyfob.generation"
"""The stored property that is another one whenever the containers are to start anew."""


class Moment(msgspec.Struct, frozen=True, omit_defaults=True):
    """A state of one container."""

    state: str = WAITING
    detail: str = ""
    started: float = 0.0
    finished: float = 0.0
    code: int | None = None


class Event(msgspec.Struct, omit_defaults=True):
    name: str = ""
    message: str = ""
    type: str = "Normal"
    count: int = 1
    first: float = 0.0
    last: float = 0.0


class Seen(msgspec.Struct, omit_defaults=True):
    """One container."""

    current: Moment = Moment()
    previous: Moment | None = None
    restarts: int = 0
    events: list[Event] = []

    def become(self, moment: Moment) -> None:
        if self.current.state != WAITING:
            self.previous = self.current
        self.current = moment


class SeenGroup(msgspec.Struct, omit_defaults=True):
    """A group. `place` is where it runs: the name of an engine, or `processes`."""

    generation: int = 0
    state: str = PENDING
    place: str = ""
    events: list[Event] = []
    containers: dict[str, Seen] = {}

    def of(self, name: str) -> Seen:
        return self.containers.setdefault(name, Seen())


def note(events: list[Event], name: str, message: str, now: float, *, warning: bool = False) -> None:
    """One that says the same again is counted, not repeated."""
    for event in events:
        if (event.name, event.message) == (name, message):
            event.count += 1
            event.last = now
            return
    events.append(Event(name, message, "Warning" if warning else "Normal", 1, now, now))
    del events[:-EVENTS_KEPT]


def shown(
    stored: Mapping[str, Any], properties: dict[str, Any], changed: float, seen: SeenGroup | None
) -> dict[str, Any]:
    """The properties with every instance view. `seen` None: nobody runs this group here, so what is wanted counts."""
    wanted = str(stored.get(STATE, RUNNING))
    if seen is None:
        seen = SeenGroup(stored.get(GENERATION, 0), wanted)
        moment = Moment(RUNNING if wanted == RUNNING else TERMINATED, "", changed)
        seen.containers = {str(one.get("name")): Seen(moment) for one in items(properties.get("containers"))}
    elif wanted != RUNNING:
        seen = msgspec.structs.replace(seen, state=STOPPED)
    elif seen.generation != stored.get(GENERATION, 0):
        seen = SeenGroup(seen.generation, PENDING, events=seen.events)
    result = {**properties, "instanceView": {"events": _events(seen.events), "state": seen.state}}
    for word in ("containers", "initContainers"):
        result[word] = [_with_view(one, seen) for one in items(properties.get(word))]
    return result


def _with_view(one: Mapping[str, Any], group: SeenGroup) -> dict[str, Any]:
    seen = group.containers.get(str(one.get("name")), Seen())
    view: dict[str, Any] = {"restartCount": seen.restarts, "currentState": _moment(seen.current)}
    if seen.previous is not None:
        view["previousState"] = _moment(seen.previous)
    view["events"] = _events(seen.events)
    return {**one, "properties": {**mapping(one.get("properties")), "instanceView": view}}


def _moment(moment: Moment) -> dict[str, Any]:
    shown: dict[str, Any] = {"state": moment.state, "detailStatus": moment.detail}
    if moment.started:
        shown["startTime"] = iso(moment.started)
    if moment.code is not None:
        shown["exitCode"] = moment.code
    if moment.finished:
        shown["finishTime"] = iso(moment.finished)
    return shown


def _events(events: list[Event]) -> list[dict[str, Any]]:
    return [
        {
            "count": event.count,
            "firstTimestamp": iso(event.first),
            "lastTimestamp": iso(event.last),
            "name": event.name,
            "message": event.message,
            "type": event.type,
        }
        for event in events
    ]
