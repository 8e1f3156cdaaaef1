"""Every decision the guard takes: who asked for what, where, the verdict and its reason.

Bounded three times over: the last allowed ones and the last denied ones in memory, apart, so that a busy reader does
not push a refusal out; and the denied ones in the store, in as many rows, reused round and round. What is kept is
never a token: only what the guard made of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

from keyfob.access.decide import Ungranted
from keyfob.clock import Ids
from keyfob.declare import Action, Allowed, Caller, Decision, Denied
from keyfob.resource_id import ResourceId
from keyfob.store.bounded_log import BoundedLog
from keyfob.store.port import Store
from keyfob.store.records import Records

_Line = tuple[int, float, str, Caller, Action, ResourceId, Decision, str]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One decision. `time` is epoch seconds; `reason` of an allowed one names the role and where it was given."""

    id: str
    time: float = 0.0
    request_id: str = ""
    tenant_id: str = ""
    principal_id: str = ""
    principal_name: str = ""
    principal_type: str = ""
    """`User` or `ServicePrincipal`, as the token says; "" where it does not."""
    action: str = ""
    data: bool = False
    scope: str = ""
    allowed: bool = False
    reason: str = ""
    by: str = ""
    """The assignment or policy that allowed it."""
    curable: bool = False
    """Denied, and a role would have allowed it."""
    deny_assignment: str = ""
    looked_at: tuple[str, ...] = ()
    service: str = ""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for; empty values do not narrow. `since` is epoch seconds."""

    tenant_id: str = ""
    request_id: str = ""
    principal_id: str = ""
    allowed: bool | None = None
    since: float = 0.0

    def fits(self, entry: Entry) -> bool:
        return (
            (not self.tenant_id or entry.tenant_id == self.tenant_id)
            and (not self.request_id or entry.request_id == self.request_id)
            and (not self.principal_id or entry.principal_id == self.principal_id)
            and (self.allowed is None or entry.allowed is self.allowed)
            and entry.time >= self.since
        )


ENTRIES = Records("access.decisions", Entry)
"""Denials, under the number of their row."""
_PRINCIPAL_TYPES = {"app": "ServicePrincipal", "user": "User"}
"""By the token's `idtyp`."""


class DecisionLog:
    """`size`: how many allowed and how many denied decisions are kept."""

    def __init__(self, store: Store, ids: Ids, *, size: int = 10_000) -> None:
        self._store = store
        self._run = ids.token(6)
        self._count = 0
        self._allowed: deque[_Line] = deque(maxlen=size)
        self._denied: deque[_Line] = deque(maxlen=size)
        self._kept = BoundedLog(store, ENTRIES, head="access.decision_log", size=size, row=self._entry)
        self.flush, self.run = self._kept.flush, self._kept.run

    def add(
        self,
        now: float,
        request_id: str,
        caller: Caller,
        action: Action,
        scope: ResourceId,
        decision: Decision,
        service: str,
    ) -> None:
        """On hot paths: one append."""
        self._count += 1
        line = (self._count, now, request_id, caller, action, scope, decision, service)
        if type(decision) is Allowed:
            self._allowed.append(line)
        else:
            self._denied.append(line)
            self._kept.add(line)

    def since(self, number: int) -> tuple[int, list[tuple[Caller, bool]]]:
        """How many there were so far, and those after that many, as far as they are still in memory: who, and whether
        it was allowed."""
        found: list[tuple[Caller, bool]] = []
        for ring, allowed in ((self._allowed, True), (self._denied, False)):
            for line in reversed(ring):
                if line[0] <= number:
                    break
                found.append((line[3], allowed))
        return self._count, found

    async def find(self, question: Question, limit: int = 100) -> list[Entry]:
        """The newest first, from memory and, of denials, from the store."""
        wanted: list[Entry] = []
        for ring, allowed in ((self._allowed, True), (self._denied, False)):
            if question.allowed in (None, allowed):
                wanted += _first(map(self._entry, reversed(ring)), question, limit)
        if question.allowed is not True:
            known = {self._id(line[0]) for line in self._denied}
            stored = [row.value for row in await ENTRIES.list(self._store)]
            wanted += [entry for entry in stored if entry.id not in known and question.fits(entry)]
        wanted.sort(key=lambda entry: entry.time, reverse=True)
        return wanted[:limit]

    def _id(self, number: int) -> str:
        return f"{self._run}-{number}"

    def _entry(self, line: _Line) -> Entry:
        number, now, request_id, caller, action, scope, decision, service = line
        entry = Entry(
            id=self._id(number),
            time=now,
            request_id=request_id,
            tenant_id=caller.tenant_id,
            principal_id=caller.principal_id,
            principal_name=caller.name,
            principal_type=_PRINCIPAL_TYPES.get(caller.claims.get("idtyp", ""), ""),
            action=action.name,
            data=action.data,
            scope=str(scope),
            service=service,
        )
        if isinstance(decision, Denied):
            return msgspec.structs.replace(
                entry,
                reason=decision.reason,
                curable=isinstance(decision, Ungranted),
                deny_assignment=decision.deny_assignment,
                looked_at=decision.looked_at,
            )
        return msgspec.structs.replace(entry, allowed=True, by=decision.by, reason=_granted(decision))


def _granted(decision: Allowed) -> str:
    if not decision.role:
        return decision.by
    return f"{decision.role} at {decision.scope}" if decision.scope else decision.role


def _first(entries: Iterable[Entry], question: Question, limit: int) -> Iterator[Entry]:
    for entry in entries:
        if limit <= 0 or entry.time < question.since:
            return
        if question.fits(entry):
            limit -= 1
            yield entry
