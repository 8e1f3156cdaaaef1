"""Microsoft.Insights, as far as the activity log goes: what `az monitor activity-log list` asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from keyfob.access.guard import Guard
from keyfob.arm.extras.activity import ActivityLog, Event, facts, moment, shown
from keyfob.arm.listing import next_link, page_after
from keyfob.declare import Action, Call, Provider, Route, SignedIn, Target
from keyfob.errors import InvalidInput
from keyfob.resource_id import ROOT, ResourceId
from keyfob.wire.http import Reply

READ = Action("Microsoft.Insights/eventtypes/values/read")
VERSIONS = ("2014-04-01", "2015-04-01", "2017-03-01-preview")
PAGE = 200
CATEGORIES = ("Administrative", "Security", "ServiceHealth", "Alert", "Recommendation", "Policy")
_PART = re.compile(
    r"\s*(?P<name>[A-Za-z]+)\s+(?P<op>eq|ge|le|gt|lt)\s+(?:'(?P<quoted>(?:[^']|'')*)'|(?P<bare>[^\s']+))\s*(?:and\b|$)",
    re.IGNORECASE,
)
_NAMES = frozenset(
    [
        *("resourcegroupname", "resourceuri", "resourceid", "resourceprovider", "resourcetype", "correlationid"),
        *("caller", "status", "levels", "operationname", "eventchannels"),
    ]
)


class ActivityRoutes:
    def __init__(self, *, log: ActivityLog, guard: Guard) -> None:
        self._log = log
        self._guard = guard

    def provider(self) -> Provider:
        here = "providers/Microsoft.Insights"
        narrow = SignedIn("the filter says of which group or resource; that is where the caller needs the action")
        return Provider(
            namespace="Microsoft.Insights",
            registered=True,
            routes=(
                Route(
                    "GET",
                    f"/subscriptions/{{subscription}}/{here}/eventtypes/management/values",
                    narrow,
                    self.listed,
                    _subscription,
                    VERSIONS,
                ),
                Route("GET", f"/{here}/eventtypes/management/values", READ, self.above, _root, VERSIONS),
                Route(
                    "GET",
                    f"/{here}/eventcategories",
                    SignedIn("the names of the categories, the same for everybody"),
                    self.categories,
                    _root,
                    VERSIONS,
                ),
            ),
        )

    async def listed(self, call: Call) -> Reply:
        caller = call.caller
        assert caller is not None
        wanted = Wanted(call.request.query.get("$filter"))
        scope = ResourceId.subscription(call.parameters["subscription"])
        narrow = wanted.scope(scope)
        if narrow is not None and not await self._guard.allows(caller, READ, scope):
            scope = narrow
        await self._guard.authorize(caller, READ, scope, request_id=call.request.request_id)
        found = await self._log.find(caller.tenant_id, call.parameters["subscription"])
        return _page(call, [event for event in found if wanted(event) and _inside(scope, event)])

    async def above(self, call: Call) -> Reply:
        caller = call.caller
        assert caller is not None
        wanted = Wanted(call.request.query.get("$filter"))
        return _page(call, [event for event in await self._log.find(caller.tenant_id, "") if wanted(event)])

    async def categories(self, call: Call) -> Reply:
        return Reply.json({"value": [{"value": name, "localizedValue": name} for name in CATEGORIES]})


class Wanted:
    """A `$filter`: times, and comparisons joined by `and`. Raises `InvalidInput` for anything else."""

    def __init__(self, text: str | None) -> None:
        self._tests: list[Callable[[Event], bool]] = []
        self._equal: dict[str, str] = {}
        at, text = 0, (text or "").strip()
        while at < len(text):
            found = _PART.match(text, at)
            if found is None:
                raise _invalid(text)
            at = found.end()
            value = (found["quoted"] or "").replace("''", "'") if found["bare"] is None else found["bare"]
            self._add(text, found["name"].lower(), found["op"].lower(), value)

    def _add(self, text: str, name: str, op: str, value: str) -> None:
        if name == "eventtimestamp":
            when = moment(value)
            if when is None or op == "eq":
                raise _invalid(text)
            self._tests.append(_times(op, when))
        elif name in _NAMES and op == "eq":
            if name != "eventchannels":  # every event is of channel Operation
                self._equal[name] = value.lower()
        else:
            raise _invalid(text)

    def __call__(self, event: Event) -> bool:
        if not all(test(event) for test in self._tests):
            return False
        have = facts(event) if self._equal else {}
        return all(have[name].lower() == value for name, value in self._equal.items())

    def scope(self, subscription: ResourceId) -> ResourceId | None:
        """The group or resource in the subscription that it is about, None when it is about all."""
        try:
            for name in ("resourceuri", "resourceid"):
                if name in self._equal:
                    found = ResourceId.parse(self._equal[name])
                    return found if subscription.contains(found) else None
        except InvalidInput:
            return None
        group = self._equal.get("resourcegroupname")
        return ResourceId.group(subscription.segments[1], group) if group and "/" not in group else None


def _times(op: str, when: float) -> Callable[[Event], bool]:
    return {
        "ge": lambda event: event.time >= when,
        "gt": lambda event: event.time > when,
        "le": lambda event: event.time <= when,
        "lt": lambda event: event.time < when,
    }[op]


def _inside(scope: ResourceId, event: Event) -> bool:
    return scope.contains(ResourceId.parse(event.resource_id))


def _page(call: Call, events: list[Event]) -> Reply:
    """The newest first; a page goes on after an event's id."""
    after = page_after(call.request.query)
    if after:
        place = next((number for number, event in enumerate(events) if event.id == after), None)
        if place is None:
            raise InvalidInput("The $skipToken in the query string is not valid.", code="InvalidSkipToken")
        events = events[place + 1 :]
    rows = [shown(event) for event in events[:PAGE]]
    if select := call.request.query.get("$select"):
        names = {name.strip().lower() for name in select.split(",")}
        rows = [{name: value for name, value in row.items() if name.lower() in names} for row in rows]
    body: dict[str, object] = {"value": rows}
    if len(events) > PAGE:
        body["nextLink"] = next_link(call.request, events[PAGE - 1].id)
    return Reply.json(body)


def _subscription(parameters: Mapping[str, str], target: Target | None) -> ResourceId:
    return ResourceId.subscription(parameters["subscription"])


def _root(parameters: Mapping[str, str], target: Target | None) -> ResourceId:
    return ROOT


def _invalid(text: str) -> InvalidInput:
    return InvalidInput(f"Invalid $filter '{text[:200]}' specified in the query string.", code="BadRequest")
