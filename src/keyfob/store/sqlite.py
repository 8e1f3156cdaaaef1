"""The store in one SQLite file.

Reads run on the event loop with a connection of their own: a point read costs some 6 µs, a thread hop 100. Writes
share one connection. Bodies of transactions run on the loop, one after another, each inside a SAVEPOINT; those that
have finished by the time the commit's turn comes share one COMMIT, and so one fsync, in a thread of its own.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from keyfob.errors import Conflict, Problem, Unavailable
from keyfob.store.file_lock import FileLock
from keyfob.store.migrations import migrate
from keyfob.store.port import Migration, Row, Watcher
from keyfob.store.waiting import settle, to_the_end
from keyfob.store.watchers import Change, Watchers
from keyfob.store.writing import Turn, Writing

_PATIENCE = 5.0
"""Seconds to wait for another program (a shell, a backup) that holds the database."""


async def open_sqlite(path: Path, migrations: Sequence[Migration]) -> SqliteStore:
    """Opens or creates the file, and brings its schema up to date.

    Raises Conflict when another server has it open or the database is newer than the program, Unavailable when it
    cannot be read, written or is not a database.
    """
    store = SqliteStore(path)
    try:
        await migrate(store.transaction, migrations)
    except BaseException:
        await store.close()
        raise
    return store


class SqliteStore:
    """See `keyfob.store.port.Store`. Belongs to the event loop that first uses it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = _lock_for(path)
        try:
            self._writer = _connect(path, 0)
            self._reader = _connect(path, 1, "PRAGMA query_only = ON")
        except sqlite3.Error as error:
            self._lock.release()
            raise Unavailable(f"the database {path} cannot be used: {error}", code="DatabaseUnusable") from error
        except BaseException:
            self._lock.release()
            raise
        self._thread = ThreadPoolExecutor(1, "keyfob-commit")
        self._watchers = Watchers()
        self._turn = Turn()
        self._waiting: list[tuple[asyncio.Future[None], Iterable[Change]]] = []
        self._committing: asyncio.Task[None] | None = None
        self._closed = False

    async def fetch(self, sql: str, *arguments: Any) -> Sequence[Row]:
        try:
            return self._reader.execute(sql, arguments).fetchall()
        except sqlite3.Error as error:
            self._refuse_if_closed()
            raise explained(error) from error

    def transaction(self) -> _Scope:
        return _Scope(self)

    def watch(self, topic: str, watcher: Watcher) -> None:
        self._watchers.add(topic, watcher)

    async def close(self) -> None:
        """Waits for transactions that have begun; later ones are refused."""
        if self._closed:
            return
        self._closed = True
        cancelled = await self._turn.take_regardless()
        try:
            cancelled = await self._commit_waiting() or cancelled
            closing = asyncio.get_running_loop().run_in_executor(self._thread, self._close_connections)
            cancelled = await settle(closing) or cancelled
        finally:
            self._turn.give()
            self._thread.shutdown(wait=False)
            self._lock.release()
        if self._committing is not None:  # it has nothing left to do, but must not outlive its loop
            cancelled = await settle(self._committing) or cancelled
        if cancelled is not None:
            raise cancelled
        closing.result()

    def _close_connections(self) -> None:
        self._reader.close()
        self._writer.close()  # the last one to close writes the log back into the file

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise Unavailable("the store is closed")

    async def begin(self) -> SqliteTransaction:
        """Waits for its turn, and holds it until `finish` or `undo`."""
        self._refuse_if_closed()
        await self._turn.take()
        try:
            self._refuse_if_closed()
            if not self._writer.in_transaction:
                await self._begin_group()
            self._writer.execute("SAVEPOINT body")
        except BaseException as error:
            self._drop_group_if_empty()
            self._turn.give()
            if isinstance(error, sqlite3.Error):
                raise explained(error) from error
            raise
        return SqliteTransaction(self._writer, self._lose_group)

    async def _begin_group(self) -> None:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if _primary_code(error) != sqlite3.SQLITE_BUSY:
                raise
            await to_the_end(asyncio.get_running_loop().run_in_executor(self._thread, self._begin_patiently))

    def _begin_patiently(self) -> None:
        self._writer.execute(f"PRAGMA busy_timeout = {int(_PATIENCE * 1000)}")
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        finally:
            self._writer.execute("PRAGMA busy_timeout = 0")

    def undo(self, transaction: SqliteTransaction) -> None:
        """Takes back what the body wrote, and nothing else. Never waits, so it cannot be cancelled."""
        transaction.ended = True
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK TO body")
                self._writer.execute("RELEASE body")
        except sqlite3.Error as error:
            self._lose_group(error)
        finally:
            self._drop_group_if_empty()
            self._turn.give()

    async def seen(self) -> None:
        """Waits until everything that a body could see is committed, or gone.

        After a transaction that failed, because of what another of its group wrote. Its caller may now read that from
        the store; and one that reads an etag and tries again would otherwise do so for ever, as reads never wait.
        """
        if self._waiting:
            cancelled = await settle(self._waiting[-1][0])
            if cancelled is not None:
                raise cancelled

    async def finish(self, transaction: SqliteTransaction) -> None:
        """Returns when what the body wrote is on the disk and the watchers have been told."""
        if transaction.failure is not None:
            self.undo(transaction)
            await self.seen()
            raise transaction.failure
        try:
            self._writer.execute("RELEASE body")
        except sqlite3.Error as error:
            self.undo(transaction)
            raise explained(error) from error
        transaction.ended = True
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[None] = loop.create_future()
        self._waiting.append((durable, transaction.changes))
        if len(self._waiting) == 1:
            self._committing = loop.create_task(self._commit_in_turn())
        self._turn.give()
        await to_the_end(durable)

    async def _commit_in_turn(self) -> None:
        """The turn is first come first served: bodies that queued before this commit still get into it."""
        cancelled = await self._turn.take_regardless()
        try:
            cancelled = await self._commit_waiting() or cancelled
        finally:
            self._turn.give()
        if cancelled is not None:
            raise cancelled

    async def _commit_waiting(self) -> asyncio.CancelledError | None:
        """Makes the group durable and tells everybody in it. Needs the turn. Returns a cancellation that came."""
        group, self._waiting = self._waiting, []
        if not group:
            return None
        commit = asyncio.get_running_loop().run_in_executor(self._thread, self._commit)
        cancelled = await settle(commit)
        error = commit.exception()
        for durable, changes in group:
            if error is None:
                self._watchers.tell(changes)
                durable.set_result(None)
            else:
                durable.set_exception(_not_durable(error))
        return cancelled

    def _commit(self) -> None:
        try:
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise

    def _lose_group(self, error: sqlite3.Error) -> None:
        """SQLite undid the whole group (a full disk, say): those who wait for its commit must hear of it."""
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")
        group, self._waiting = self._waiting, []
        for durable, _ in group:
            durable.set_exception(_not_durable(error))

    def _drop_group_if_empty(self) -> None:
        if not self._waiting and self._writer.in_transaction:
            self._writer.execute("ROLLBACK")


class SqliteTransaction(Writing):
    def __init__(self, connection: sqlite3.Connection, group_lost: Callable[[sqlite3.Error], None]) -> None:
        super().__init__()
        self._connection = connection
        self._group_lost = group_lost

    async def fetch(self, sql: str, *arguments: Any) -> Sequence[Row]:
        return self._run(sql, arguments)[0]

    async def execute(self, sql: str, *arguments: Any) -> int:
        return max(0, self._run(sql, arguments)[1])

    async def script(self, sql: str) -> None:
        for statement in statements(sql):
            self._run(statement, ())

    def _run(self, sql: str, arguments: Sequence[Any]) -> tuple[Sequence[Row], int]:
        self.check()
        try:
            cursor = self._connection.execute(sql, arguments)
            return cursor.fetchall(), cursor.rowcount
        except sqlite3.Error as error:
            self.failure = explained(error)
            if not self._connection.in_transaction:
                self._group_lost(error)
            raise self.failure from error
        except Exception as error:
            self.failure = error
            raise


class _Scope:
    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def __aenter__(self) -> SqliteTransaction:
        self._transaction = await self._store.begin()
        return self._transaction

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self._store.finish(self._transaction)
        else:
            self._store.undo(self._transaction)
            if not isinstance(error, GeneratorExit):  # then nothing may wait any more
                await self._store.seen()


def statements(script: str) -> Iterator[str]:
    """The statements of a script. (`executescript` would commit the transaction it runs in.)"""
    statement = ""
    for piece in script.split(";"):
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def explained(error: sqlite3.Error) -> Exception:
    """What the caller must be told: a Problem of the world, or RuntimeError when it is our mistake, as wrong SQL is."""
    code = _primary_code(error)
    if code == sqlite3.SQLITE_CONSTRAINT:
        return Conflict(f"the stored data do not allow this: {error}")
    if code in _WORLDLY:
        return Unavailable(f"the database cannot be used: {error}", code="DatabaseUnusable")
    return RuntimeError(f"the database does not understand this: {error}")


_WORLDLY = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)


def _primary_code(error: sqlite3.Error) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _not_durable(error: BaseException) -> Problem:
    """One for each waiting transaction: a shared exception would gather the tracebacks of all."""
    problem = Unavailable(f"the change was not stored: {error}", code="DatabaseUnusable")
    problem.__cause__ = error
    return problem


def _lock_for(path: Path) -> FileLock:
    """Makes the folder and the file, readable by nobody else, since it holds signing keys."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"cannot make the data directory {path.parent}: {error.strerror}") from error
    lock = FileLock(path.with_name(path.name + ".lock"))
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        lock.release()
        raise Unavailable(
            f"the database {path} cannot be written: {error.strerror}", code="DatabaseUnusable"
        ) from error
    return lock


def _connect(path: Path, timeout: float, *more: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=timeout, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        connection.execute(f"PRAGMA busy_timeout = {int(_PATIENCE * 1000)}")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise Unavailable(f"{path} is on a file system without shared memory; SQLite's WAL mode needs it")
        for pragma in ("PRAGMA synchronous = FULL", "PRAGMA foreign_keys = ON", *more):
            connection.execute(pragma)
        connection.execute(f"PRAGMA busy_timeout = {int(timeout * 1000)}")
    except BaseException:
        connection.close()
        raise
    return connection
