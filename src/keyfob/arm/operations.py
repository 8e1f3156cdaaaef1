"""Long-running operations: a table of states, stored, and resumed by whoever starts next.

    Accepted ──start──▶ Running ──succeed──▶ Succeeded
       │                   ├──────fail─────▶ Failed        what was to be done was refused
       └────preempt────▶ Canceled ◀─preempt┘                a newer operation took the resource over

An operation is begun in the transaction of the request that asks for it. What it does at its end (`perform`) happens
in one transaction with its last state, so a crash leaves it either unfinished, to be done again, or done.

Some stand for work that goes on outside (`works`, `carry_out`): a script that runs. They end when that does, and fail
at `due`. Such work is not done twice: one whose process has ended has failed.

Every node of a shared database hears of every operation. The one where it began ends it; when that one is silent at
the time, the next that looks does: transactions are alone among all nodes, so it is done once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Any

import msgspec

from keyfob.arm.model import LongOperation, OperationError
from keyfob.arm.resources import OPERATIONS
from keyfob.clock import Clock, Ids, iso
from keyfob.declare import Work
from keyfob.errors import Conflict, Problem
from keyfob.store.port import EVERYTHING, Store, Transaction

_log = logging.getLogger(__name__)
_KEPT = 86_400.0
"""Seconds that the outcome of an operation can be asked for."""
_COURTESY = 2.0
"""Seconds that a node has to end what it began before another does: else both would try each time."""


class State(StrEnum):
    ACCEPTED = "Accepted"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELED = "Canceled"


class Event(StrEnum):
    START = "start"
    SUCCEED = "succeed"
    FAIL = "fail"
    PREEMPT = "preempt"


TABLE: Mapping[tuple[State, Event], State] = {
    (State.ACCEPTED, Event.START): State.RUNNING,
    (State.ACCEPTED, Event.PREEMPT): State.CANCELED,
    (State.RUNNING, Event.SUCCEED): State.SUCCEEDED,
    (State.RUNNING, Event.FAIL): State.FAILED,
    (State.RUNNING, Event.PREEMPT): State.CANCELED,
}
TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELED})


class Preempted(Problem):
    """A newer operation works on the resource."""

    status = 409
    code = "OperationPreempted"

    def __init__(self) -> None:
        super().__init__("Operation execution has been preempted by a more recent operation.")


Perform = Callable[[Transaction, LongOperation], Awaitable[None]]
"""Does what the operation is for. Raises `Preempted`, or any other `Problem` when it cannot be done."""
GiveUp = Callable[[Transaction, LongOperation], Awaitable[None]]
"""Told after a failure, so that the resource does not stay in between."""


class Operations:
    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        ids: Ids,
        seconds: float,
        perform: Perform,
        give_up: GiveUp,
        alone: bool = False,
    ) -> None:
        """`seconds` is how long each takes. 0: it is done by the next request, or at once in the background. `alone`:
        no other process works on this store."""
        self._store = store
        self._clock = clock
        self._ids = ids
        self._seconds = seconds
        self._perform = perform
        self._give_up = give_up
        self._due: dict[str, float] = {}
        self._more = asyncio.Event()
        store.watch(OPERATIONS.topic, self._changed)
        self._begun: dict[str, float] = {}
        self._heard: set[str] = set()
        self._alone = alone
        self._works: set[asyncio.Task[None]] = set()

    @property
    def retry_after(self) -> int:
        """Seconds for the `Retry-After` header. Never 0: azure-core 1.x takes that for absent and waits 30 s."""
        return max(1, min(15, round(self._seconds)))

    async def begin(self, tx: Transaction, operation: LongOperation, work: Work | None = None) -> LongOperation:
        """Stores a new operation; `id`, `state`, `began`, `due` and `works` are set here. What works is to be given to
        `carry_out` after the commit."""
        now = self._clock.now()
        due = now + (self._seconds if work is None else work.seconds)
        begun = msgspec.structs.replace(
            operation, id=self._ids.guid(), state=State.ACCEPTED, began=now, due=due, works=work is not None
        )
        await OPERATIONS.insert(tx, begun.id, begun)
        self._begun[begun.id] = begun.due
        return begun

    def carry_out(self, operation: LongOperation, work: Awaitable[Any]) -> None:
        """Does the work of an operation that was begun and committed, and ends the operation with it."""
        task = asyncio.get_running_loop().create_task(self._carry_out(operation.id, work), name="work of an operation")
        self._works.add(task)
        task.add_done_callback(self._works.discard)

    async def _carry_out(self, id: str, work: Awaitable[Any]) -> None:
        try:
            result = await work
        except asyncio.CancelledError:
            await self._end(id, Event.FAIL, _interrupted())
            raise
        except Problem as problem:
            await self._end(id, Event.FAIL, problem)
        except Exception:
            _log.exception("the work of operation %s failed", id)
            await self._end(id, Event.FAIL, Problem("The operation failed because of an unexpected error."))
        else:
            await self._finish(id, done=True, result=result)

    async def start(self) -> None:
        """What an earlier process worked at when it ended has failed."""
        if not self._alone:
            return  # another node may be at it; else it fails when it is due
        for row in await OPERATIONS.find(self._store, "unfinished", "yes"):
            if row.value.works:
                await self._end(row.key, Event.FAIL, _interrupted())

    async def stop(self) -> None:
        """Gives up what is being worked at."""
        works = list(self._works)
        for task in works:
            task.cancel()
        await asyncio.gather(*works, return_exceptions=True)

    def _changed(self, key: str) -> None:
        """After the commit of what began here: only now is there something to finish. Of what any node began, moved on
        or ended, the background reads."""
        due = self._begun.pop(key, None)
        if due is not None:
            self._due[key] = due
        else:
            self._heard.add(key)
        self._more.set()

    async def look(self, id: str) -> LongOperation | None:
        """Its state now, moved on if its time has come."""
        row = await OPERATIONS.get(self._store, id)
        if row is None or row.value.state in TERMINAL:
            return row.value if row else None
        if row.value.due <= self._clock.now():
            await self._finish(id)
        elif row.value.state == State.ACCEPTED:
            await self._start(id)
        row = await OPERATIONS.get(self._store, id)
        return row.value if row else None

    async def settle(self) -> None:
        """Finishes every operation that is due. Cheap when there is none: each request does this first."""
        if not self._due:
            return
        now = self._clock.now()
        for id in [id for id, due in self._due.items() if due <= now]:
            await self._finish(id)

    async def resume(self) -> int:
        """Takes up what an earlier process, or another node, left unfinished. How many there are."""
        for row in await OPERATIONS.find(self._store, "unfinished", "yes"):
            self._due.setdefault(row.key, row.value.due)
        return len(self._due)

    async def listen(self) -> None:
        """Learns what became of the operations that were heard of: other nodes begin and end them too."""
        heard, self._heard = self._heard, set()
        if EVERYTHING in heard:
            await self.resume()
        for key in heard - {EVERYTHING}:
            row = await OPERATIONS.get(self._store, key)
            if row is None or row.value.state in TERMINAL:
                self._due.pop(key, None)
            else:
                self._due.setdefault(key, row.value.due + _COURTESY)

    async def prune(self) -> int:
        """Forgets operations that ended more than a day ago. How many."""
        old = [
            row.key
            for row in await OPERATIONS.list(self._store)
            if row.value.ended and row.value.ended + _KEPT < self._clock.now()
        ]
        for start in range(0, len(old), 500):
            async with self._store.transaction() as tx:
                for key in old[start : start + 500]:
                    await OPERATIONS.delete(tx, key)
        return len(old)

    async def run(self, *, every: float = 30.0) -> None:
        """The background: finishes operations when they are due, and looks now and then for abandoned ones."""
        pruned = resumed = float("-inf")
        while True:
            self._more.clear()
            now = self._clock.now()
            try:
                if pruned + _KEPT / 24 <= now:
                    pruned = now
                    await self.prune()
                if resumed + every <= now:
                    resumed = now
                    await self.resume()
                await self.listen()
                await self.settle()
            except Exception:
                _log.exception("long-running operations could not be looked after; they will be in a moment")
            if self._more.is_set():
                continue
            now = self._clock.now()
            wait = min([every, *(due - now for due in self._due.values())])
            if wait <= 0:  # one that is due could not be finished: not at once again
                await asyncio.sleep(1)
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self._more.wait(), wait)

    async def _start(self, id: str) -> None:
        async with self._store.transaction() as tx:
            row = await OPERATIONS.get(tx, id)
            if row is not None and row.value.state == State.ACCEPTED:
                await OPERATIONS.put(tx, id, _moved(row.value, Event.START))

    async def _finish(self, id: str, *, done: bool = False, result: Any = None) -> None:
        """`done`: the work that it stands for, with its result."""
        try:
            async with self._store.transaction() as tx:
                operation = await self._unfinished(tx, id)
                if operation is None:
                    self._due.pop(id, None)
                    return
                if operation.works and not done:
                    raise Conflict("The operation was not done in the time it has.", code="OperationTimedOut")
                await self._perform(tx, operation)
                moved = _moved(operation, Event.SUCCEED, ended=self._clock.now(), result=result)
                await OPERATIONS.put(tx, id, moved)
        except Preempted as preempted:
            await self._end(id, Event.PREEMPT, preempted)
        except Problem as problem:
            if problem.status >= 500:  # the store, not the operation: it stays unfinished
                _log.warning("operation %s waits: %s", id, problem.message)
                return
            await self._end(id, Event.FAIL, problem)
        except Exception:  # a fault of ours must not hold up every request that comes after
            _log.exception("operation %s failed", id)
            await self._end(id, Event.FAIL, Problem("The operation failed because of an unexpected error."))
        self._due.pop(id, None)

    async def _end(self, id: str, event: Event, problem: Problem) -> None:
        async with self._store.transaction() as tx:
            operation = await self._unfinished(tx, id)
            if operation is None:
                return
            error = _told(problem)
            await OPERATIONS.put(tx, id, _moved(operation, event, ended=self._clock.now(), error=error))
            if event is Event.FAIL:
                await self._give_up(tx, operation)

    async def _unfinished(self, tx: Transaction, id: str) -> LongOperation | None:
        """The operation, running; None when somebody finished it meanwhile."""
        row = await OPERATIONS.get(tx, id)
        if row is None or row.value.state in TERMINAL:
            return None
        return _moved(row.value, Event.START) if row.value.state == State.ACCEPTED else row.value


def _interrupted() -> Conflict:
    return Conflict("The server ended while it worked at the operation.", code="OperationInterrupted")


def _moved(operation: LongOperation, event: Event, **more: Any) -> LongOperation:
    """The next state by the table; KeyError would be a bug of ours."""
    return msgspec.structs.replace(operation, state=TABLE[State(operation.state), event], **more)


def status_document(operation: LongOperation, id: str) -> dict[str, Any]:
    """What `Azure-AsyncOperation` URLs answer. `id` is the path of that URL."""
    state = State(operation.state)
    document: dict[str, Any] = {
        "id": id,
        "name": operation.id,
        "status": str(state) if state in TERMINAL else "InProgress",
        "startTime": iso(operation.began),
        "resourceId": operation.resource_id,
    }
    if state in TERMINAL:
        document["endTime"] = iso(operation.ended)
    if state is State.SUCCEEDED:
        document["percentComplete"] = 100.0
    if operation.result is not None:
        document["properties"] = {"output": operation.result}
    if operation.error is not None:
        document["error"] = _shown(operation.error)
    return document


def _told(problem: Problem) -> OperationError:
    return OperationError(
        code=problem.code,
        message=problem.message,
        target=problem.target or "",
        details=tuple(_told(one) for one in problem.details),
    )


def _shown(error: OperationError) -> dict[str, Any]:
    shown: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.target:
        shown["target"] = error.target
    if error.details:
        shown["details"] = [_shown(one) for one in error.details]
    return shown
