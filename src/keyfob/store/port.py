"""The store port: what both databases offer, and all that the rest of the code may use.

SQL is written once, for both: `?` placeholders, types `TEXT`, `BIGINT`, `BYTEA`/`BLOB` spelled `BLOB`, text compared
bytewise, `INSERT … ON CONFLICT`, `RETURNING`. SQL lives in `store/` and in a folder's `queries.py`, nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

Row = tuple[Any, ...]
Watcher = Callable[[str], None]
EVERYTHING = "*"
"""The key a watcher is called with when notifications may have been lost: forget all you remember."""


class Session(Protocol):
    """Somewhere to read: the store itself (committed data) or a transaction (its own writes too)."""

    async def fetch(self, sql: str, *arguments: Any) -> Sequence[Row]: ...


class Transaction(Session, Protocol):
    """Writes that become durable together, or not at all."""

    async def execute(self, sql: str, *arguments: Any) -> int:
        """Returns how many rows it touched."""
        ...

    def changed(self, topic: str, key: str) -> None:
        """After the commit every watcher of `topic`, on every node, is called with `key`.

        On this node the watchers have run before the transaction's `async with` ends.
        """
        ...


class Store(Session, Protocol):
    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Serialised with other writers, on every node. Leaving the block normally returns only when the commit is
        durable; leaving it by an exception undoes everything. Transactions do not nest.

        A statement that fails dooms the transaction: leaving the block raises its error again, even when the body
        caught it. A cancellation that comes during the commit is raised after it: then the change is stored.
        """
        ...

    def watch(self, topic: str, watcher: Watcher) -> None:
        """Calls `watcher(key)` on the event loop for each committed change, or with `EVERYTHING`."""
        ...

    async def close(self) -> None: ...


class Migration(Protocol):
    """A numbered step of one component's schema."""

    @property
    def component(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def sql(self) -> str: ...
