"""Every decision the guard takes: who asked for what, where, the verdict and its reason.

Bounded three times over: the last allowed ones and the last denied ones in memory, apart, so that a busy reader does
not push a refusal out; and the denied ones in the store, in as many rows, reused round and round. What is kept is
never a token: only what the guard made of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

from keyfob.access.decide import Ungranted
from keyfob.clock import Ids
from keyfob.declare import Action, Allowed, Caller, Decision, Denied
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store
from keyfob.store.records import Records

_log = logging.getLogger(__name__)
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


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """How many denials were ever written, and over how many rows."""

    written: int = 0
    size: int = 0


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
HEADS = Records("access.decision_log", Head)
_HEAD = "head"
_PRINCIPAL_TYPES = {"app": "ServicePrincipal", "user": "User"}
"""By the token's `idtyp`."""


class DecisionLog:
    """`size`: how many allowed and how many denied decisions are kept."""

    def __init__(self, store: Store, ids: Ids, *, size: int = 10_000) -> None:
        self._store = store
        self._size = size
        self._run = ids.token(6)
        self._count = 0
        self._allowed: deque[_Line] = deque(maxlen=size)
        self._denied: deque[_Line] = deque(maxlen=size)
        self._unwritten: deque[_Line] = deque(maxlen=size)
        self._writing = asyncio.Lock()

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
            self._unwritten.append(line)

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

    async def flush(self) -> None:
        """Writes the denials not yet in the store, in one transaction. They stay queued when that fails."""
        async with self._writing:
            batch = list(self._unwritten)
            if not batch:
                return
            async with self._store.transaction() as tx:
                stored = await HEADS.get(tx, _HEAD)
                head = stored.value if stored else Head(size=self._size)
                if head.size != self._size:
                    for row in await ENTRIES.list(tx, after=_row(self._size - 1)):
                        await ENTRIES.delete(tx, row.key)
                for place, line in enumerate(batch, head.written):
                    await ENTRIES.put(tx, _row(place % self._size), self._entry(line))
                await HEADS.put(tx, _HEAD, Head(written=head.written + len(batch), size=self._size))
            last = batch[-1][0]
            while self._unwritten and self._unwritten[0][0] <= last:
                self._unwritten.popleft()

    async def run(self, every: float = 1.0) -> None:
        """Flushes again and again, until cancelled; then once more is the caller's business."""
        while True:
            await asyncio.sleep(every)
            try:
                await self.flush()
            except Exception:
                _log.exception("refusals could not be written to the decision log; they are kept in memory")

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


def _row(number: int) -> str:
    return f"{number:08d}"


def _first(entries: Iterable[Entry], question: Question, limit: int) -> Iterator[Entry]:
    for entry in entries:
        if limit <= 0 or entry.time < question.since:
            return
        if question.fits(entry):
            limit -= 1
            yield entry
