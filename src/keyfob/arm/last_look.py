"""What came between the checks of a request and its write: it wins.

A request is checked first (may they, is it locked) and then waits for its transaction, behind those of all nodes. So
the first transaction that it begins asks again, of what that transaction sees. Nobody who writes can forget it: it is
the store itself that asks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

from keyfob.store.port import Session, Store, Transaction, Watcher

Look = Callable[[Session], Awaitable[None]]
"""Raises the `Problem` that stands in the way now."""


class AskingStore:
    """The store that all parts of a server are given; whoever reads it has the one inside."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asking: ContextVar[list[Look]] = ContextVar("asking")
        self.fetch = store.fetch

    @contextmanager
    def asking(self, look: Look) -> Iterator[None]:
        """The first transaction that is begun meanwhile, by this task, asks `look`. Tasks that it leaves behind do not:
        what they do has been asked about, or is no longer the request's."""
        left = [look]
        token = self._asking.set(left)
        try:
            yield
        finally:
            left.clear()
            self._asking.reset(token)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with self._store.transaction() as tx:
            left = self._asking.get(None)
            if left:
                await left.pop()(tx)
            yield tx

    def watch(self, topic: str, watcher: Watcher) -> None:
        self._store.watch(topic, watcher)

    async def close(self) -> None:
        await self._store.close()


def asking(store: Store) -> AskingStore:
    """The store itself where it asks already."""
    return store if isinstance(store, AskingStore) else AskingStore(store)
