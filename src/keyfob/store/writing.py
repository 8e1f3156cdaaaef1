"""What a transaction remembers while its body runs, alike in both databases."""

from __future__ import annotations

import asyncio

from keyfob.store.watchers import Change


class Writing:
    """The changes to announce, and whether the transaction can still succeed.

    A statement that failed or was interrupted dooms its transaction, also when the body goes on: PostgreSQL would
    answer such a COMMIT with a silent ROLLBACK, SQLite may have undone earlier statements already.
    """

    def __init__(self) -> None:
        self.changes: dict[Change, None] = {}
        self.failure: Exception | None = None
        self.ended = False

    def changed(self, topic: str, key: str) -> None:
        self.check()
        self.changes[topic, key] = None

    def check(self) -> None:
        if self.ended:
            raise RuntimeError("this transaction has ended")
        if self.failure is not None:
            raise self.failure


class Turn:
    """One body at a time, in the order of arrival. Knows its holder, so that nesting is an error and not a deadlock."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._holder: asyncio.Task[object] | None = None

    async def take(self) -> None:
        if self._holder is not None and self._holder is asyncio.current_task():
            raise RuntimeError("transactions do not nest")
        await self._lock.acquire()
        self._holder = asyncio.current_task()

    async def take_regardless(self) -> asyncio.CancelledError | None:
        """Takes the turn even when the waiting task is cancelled, and returns that cancellation."""
        cancelled = None
        while True:
            try:
                await self.take()
            except asyncio.CancelledError as error:
                cancelled = error
            else:
                return cancelled

    def give(self) -> None:
        self._holder = None
        self._lock.release()
