"""A log of bounded length in the store: rows that are used round and round, written in batches in the background.

Whoever adds to it does not wait: one append. A server that is killed loses what was added since the last batch, one
that is stopped writes it. Nodes that share a store share the rows.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from keyfob.store.port import Store
from keyfob.store.records import Records

_log = logging.getLogger(__name__)
_HEAD = "head"
Q = TypeVar("Q")
T = TypeVar("T")


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows were ever written, and over how many."""

    written: int = 0
    size: int = 0


class BoundedLog(Generic[Q, T]):
    """What is added, a `Q`, becomes a row, a `T`, when it is written: the hot path does no more than it must."""

    def __init__(self, store: Store, rows: Records[T], *, head: str, size: int, row: Callable[[Q], T]) -> None:
        """`head` is the kind that keeps count. `size`: how many rows there are at most, and how many may wait."""
        self._store = store
        self._rows = rows
        self._heads = Records(head, Head)
        self._size = size
        self._row = row
        self._added = 0
        self._unwritten: deque[tuple[int, Q]] = deque(maxlen=size)
        self._writing = asyncio.Lock()

    def add(self, item: Q) -> None:
        self._added += 1
        self._unwritten.append((self._added, item))

    async def flush(self) -> None:
        """Writes what is not yet in the store, in one transaction. It stays queued when that fails."""
        async with self._writing:
            batch = list(self._unwritten)
            if not batch:
                return
            async with self._store.transaction() as tx:
                stored = await self._heads.get(tx, _HEAD)
                head = stored.value if stored else Head(size=self._size)
                if head.size != self._size:
                    for left in await self._rows.list(tx, after=_key(self._size - 1)):
                        await self._rows.delete(tx, left.key)
                for place, (_, item) in enumerate(batch, head.written):
                    await self._rows.put(tx, _key(place % self._size), self._row(item))
                await self._heads.put(tx, _HEAD, Head(written=head.written + len(batch), size=self._size))
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
                _log.exception("%s could not be written; what is new is kept in memory", self._rows.kind)


def _key(number: int) -> str:
    return f"{number:08d}"
