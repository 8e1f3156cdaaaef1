"""The store in PostgreSQL, for several nodes that share one state.

Transactions are alone across all nodes, as the port promises: each takes one advisory lock, which its commit gives
back. Reads see committed data only and come from a pool that cannot write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from keyfob.errors import Conflict, InvalidInput, Problem, Unavailable
from keyfob.store import postgres_dialect
from keyfob.store.migrations import migrate
from keyfob.store.port import Migration, Row, Watcher
from keyfob.store.postgres_changes import CHANNEL, ChangeFeed, payload_of
from keyfob.store.waiting import to_the_end
from keyfob.store.watchers import Watchers
from keyfob.store.writing import Turn, Writing

_WRITERS = 0x6B6579666F62  # "keyfob": the advisory lock that writers hold
_BEGIN = f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({_WRITERS})"
_READERS = 8
_CONNECT = 10.0
_STATEMENT = 30.0
_MIGRATION = 3600.0
"""Seconds to wait: for a connection; for a statement or the writers' lock; for a schema step of any node."""

_SETTINGS = {
    "application_name": "keyfob",
    "synchronous_commit": "on",  # a server may be set to acknowledge what is not on its disk yet
    "idle_in_transaction_session_timeout": "60s",  # a node that hangs in a transaction must not stop the others
}


async def open_postgres(dsn: str, migrations: Sequence[Migration]) -> PostgresStore:
    """Connects, and brings the schema up to date.

    Raises Unavailable when the database cannot be reached or asyncpg is not installed, Conflict when it is newer than
    the program, InvalidInput when the address cannot be understood or the database does not hold UTF-8.
    """
    try:
        import asyncpg
    except ImportError:
        raise Unavailable(
            "PostgreSQL needs the asyncpg package: pip install 'keyfob[postgres]'", code="MissingDependency"
        ) from None
    store = PostgresStore(asyncpg, dsn)
    try:
        await store.start(migrations)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
        await store.close()
        raise explained(error) from error
    except BaseException:
        await store.close()
        raise
    return store


class PostgresStore:
    """See `keyfob.store.port.Store`. `driver` is the asyncpg module."""

    def __init__(self, driver: Any, dsn: str) -> None:
        self._driver = driver
        self._dsn = dsn
        self._readers: Any = None
        self._writer: Any = None
        self._watchers = Watchers()
        self.changes = ChangeFeed(self._connect, self._watchers)
        self._turn = Turn()
        self._translated: dict[str, str] = {}
        self._closed = False

    async def start(self, migrations: Sequence[Migration]) -> None:
        await self._try_address()
        self._readers = await self._pool()
        await migrate(lambda: _Scope(self, _MIGRATION), migrations)
        await self.changes.start()

    async def _try_address(self) -> None:
        try:
            connection = await self._connect()
        except ValueError:  # asyncpg.ClientConfigurationError is one
            raise InvalidInput(
                "the PostgreSQL address cannot be understood: expected postgresql://user:password@host:port/database"
            ) from None  # the address holds a password
        try:
            encoding = await connection.fetchval("SHOW server_encoding")
        finally:
            await connection.close(timeout=_CONNECT)
        if encoding != "UTF8":
            raise InvalidInput(f"the PostgreSQL database holds {encoding} text: Keyfob needs one made with UTF8")

    async def _pool(self) -> Any:
        async def keep(_connection: Any) -> None:
            """Sessions are never changed: resetting each before its next use would cost a round trip."""

        return await self._driver.create_pool(
            self._dsn,
            min_size=0,
            max_size=_READERS,
            timeout=_CONNECT,
            command_timeout=_STATEMENT,
            server_settings={**_SETTINGS, "default_transaction_read_only": "on"},
            reset=keep,
        )

    async def _connect(self) -> Any:
        return await self._driver.connect(
            self._dsn, timeout=_CONNECT, command_timeout=_STATEMENT, server_settings=_SETTINGS
        )

    def translated(self, sql: str) -> str:
        found = self._translated.get(sql)
        if found is None:
            if len(self._translated) >= 2000:
                self._translated.clear()
            found = self._translated[sql] = postgres_dialect.query(sql)
        return found

    async def fetch(self, sql: str, *arguments: Any) -> Sequence[Row]:
        self._refuse_if_closed()
        try:
            async with self._readers.acquire(timeout=_STATEMENT) as connection:
                try:
                    return [tuple(row) for row in await connection.fetch(self.translated(sql), *arguments)]
                except self._driver.InternalClientError:
                    connection.terminate()  # its protocol is out of step: nobody may get it again
                    raise
        except Exception as error:
            self._refuse_if_closed()
            raise explained(error) from error

    def transaction(self) -> _Scope:
        return _Scope(self, _STATEMENT)

    def watch(self, topic: str, watcher: Watcher) -> None:
        self._watchers.add(topic, watcher)

    async def close(self) -> None:
        """Waits for the transaction that has begun; later ones are refused."""
        if self._closed:
            return
        self._closed = True
        cancelled = await self._turn.take_regardless()
        self._turn.give()
        await self.changes.stop()
        for connections in (self._writer, self._readers):
            if connections is not None:
                try:
                    async with asyncio.timeout(_CONNECT):
                        await connections.close()
                except (OSError, self._driver.PostgresError, self._driver.InterfaceError):
                    connections.terminate()
        if cancelled is not None:
            raise cancelled

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise Unavailable("the store is closed")

    async def begin(self, patience: float) -> PostgresTransaction:
        """Waits for its turn on this node, then among all nodes; holds both until `finish` or `undo`."""
        self._refuse_if_closed()
        await self._turn.take()
        try:
            self._refuse_if_closed()
            if self._writer is None or self._writer.is_closed():
                self._writer = await self._connect()
            try:
                await self._writer.execute(_BEGIN, timeout=patience)
            except BaseException:
                await self._roll_back()
                raise
        except BaseException as error:
            self._turn.give()
            if isinstance(error, Exception) and not isinstance(error, Problem):
                raise explained(error) from error
            raise
        return PostgresTransaction(self, self._writer, patience)

    async def undo(self, transaction: PostgresTransaction) -> None:
        transaction.ended = True
        try:
            await self._roll_back()
        finally:
            self._turn.give()

    async def finish(self, transaction: PostgresTransaction) -> None:
        """Returns when what the body wrote is on the server's disk and the watchers of this node have been told."""
        if transaction.failure is not None:
            await self.undo(transaction)
            raise transaction.failure
        transaction.ended = True
        try:
            # a task, so that a cancellation cannot interrupt the COMMIT and leave its outcome unknown
            await to_the_end(asyncio.get_running_loop().create_task(self._commit(transaction)))
        finally:
            self._turn.give()

    async def _commit(self, transaction: PostgresTransaction) -> None:
        notice = self.changes.announce(transaction.changes) if transaction.changes else None
        committing = committed = False
        try:
            if notice is not None:
                await self._writer.execute("SELECT pg_notify($1, $2)", CHANNEL, payload_of(notice))
            committing = True
            committed = await self._writer.execute("COMMIT") == "COMMIT"
        except BaseException as error:
            if notice is not None:
                self.changes.withdraw(notice, uncertain=committing)
            if isinstance(error, Exception):
                raise explained(error) from error
            raise
        finally:
            if not committed:
                await self._roll_back()
        if not committed:  # PostgreSQL answers ROLLBACK to the COMMIT of a transaction that it had given up before
            raise Unavailable("the change was not stored: PostgreSQL rolled it back", code="DatabaseUnusable")
        if notice is not None:
            self.changes.tell(notice)

    async def _roll_back(self) -> None:
        """Leaves the connection without a transaction, or closed. A cancellation waits for it."""
        await to_the_end(asyncio.get_running_loop().create_task(self._leave_transaction()))

    async def _leave_transaction(self) -> None:
        """Always asks: after an interrupted statement the connection itself does not know its state yet."""
        try:
            await self._writer.execute("ROLLBACK", timeout=_CONNECT)
        except Exception:
            self._writer.terminate()


class PostgresTransaction(Writing):
    def __init__(self, store: PostgresStore, connection: Any, patience: float) -> None:
        super().__init__()
        self._connection = connection
        self._store = store
        self._patience = patience

    async def fetch(self, sql: str, *arguments: Any) -> Sequence[Row]:
        self.check()
        with _Dooming(self):
            return [tuple(row) for row in await self._connection.fetch(self._store.translated(sql), *arguments)]

    async def execute(self, sql: str, *arguments: Any) -> int:
        self.check()
        with _Dooming(self):
            status: str = await self._connection.execute(self._store.translated(sql), *arguments)
        last = status.rpartition(" ")[2]  # "INSERT 0 1", "UPDATE 3", "CREATE TABLE"
        return int(last) if last.isdecimal() else 0

    async def script(self, sql: str) -> None:
        self.check()
        with _Dooming(self):
            await self._connection.execute(postgres_dialect.schema(sql), timeout=self._patience)


class _Dooming:
    """Any error or interruption of a statement dooms its transaction, as it does on the server."""

    def __init__(self, transaction: PostgresTransaction) -> None:
        self._transaction = transaction

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            self._transaction.failure = explained(error)
            raise self._transaction.failure from error
        if error is not None:  # the body may catch its cancellation, as it does under a timeout, and go on
            self._transaction.failure = Unavailable("a statement was interrupted: nothing of its transaction is kept")


class _Scope:
    def __init__(self, store: PostgresStore, patience: float) -> None:
        self._store = store
        self._patience = patience

    async def __aenter__(self) -> PostgresTransaction:
        self._transaction = await self._store.begin(self._patience)
        return self._transaction

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self._store.finish(self._transaction)
        else:
            await self._store.undo(self._transaction)


_UNAVAILABLE = frozenset({"08", "28", "3D", "53", "57", "58", "XX"})
"""SQLSTATE classes: connection, authorization, no such database, resources, operator, system, internal."""
_UNAVAILABLE_CODES = frozenset({"25006", "25P03", "42501", "55P03"})
"""Read-only server, idle in transaction too long, no privilege, lock not available."""


def explained(error: Exception) -> Exception:
    """What the caller must be told: a Problem of the world, or RuntimeError when it is our mistake, as wrong SQL is.

    The texts leave out PostgreSQL's DETAIL, which may quote stored values.
    """
    code = getattr(error, "sqlstate", None)
    if isinstance(code, str):
        message = getattr(error, "message", None) or str(error)
        if code.startswith("23"):
            return Conflict(f"the stored data do not allow this: {message}")
        if code.startswith("40"):
            return Conflict("another change was made at the same moment: try again", code="ConcurrentChange")
        if code[:2] in _UNAVAILABLE or code in _UNAVAILABLE_CODES:
            return Unavailable(f"the database cannot be used: {message}", code="DatabaseUnusable")
        return RuntimeError(f"the database does not understand this: {message}")
    if isinstance(error, OSError):  # TimeoutError is one
        return Unavailable(f"the database cannot be reached: {error or type(error).__name__}", code="DatabaseUnusable")
    text = str(error)
    if type(error).__name__ in {"InternalClientError", "ProtocolError"} or "clos" in text or "released" in text:
        # asyncpg.InterfaceError: "connection is closed", "pool is closing", "connection has been released back…"
        return Unavailable("the database cannot be used: the connection was lost", code="DatabaseUnusable")
    return RuntimeError(f"the database does not understand this: {error}")
