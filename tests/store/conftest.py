"""The two databases of the suite, each as little as the suite needs to know of it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from keyfob.store.migrations import migrations_of
from keyfob.store.port import Migration, Store


class SqliteDatabase:
    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self.target = str(path)

    async def connect(self, migrations: Sequence[Migration]) -> Store:
        from keyfob.store.sqlite import open_sqlite

        return await open_sqlite(Path(self.target), migrations)

    def check(self) -> None:
        with sqlite3.connect(self.target) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()


class PostgresDatabase:
    kind = "postgres"

    def __init__(self, dsn: str) -> None:
        self.target = dsn

    async def connect(self, migrations: Sequence[Migration]) -> Store:
        from keyfob.store.postgres import open_postgres

        return await open_postgres(self.target, migrations)

    def check(self) -> None:
        """PostgreSQL recovers by itself or refuses to start; there is nothing to ask."""


class Databases:
    """Opens stores on one database, and closes those that a test left open."""

    def __init__(self, database: SqliteDatabase | PostgresDatabase) -> None:
        self.database = database
        self.kind = database.kind
        self.target = database.target
        self._opened: list[Store] = []

    async def open(self, migrations: Sequence[Migration] | None = None) -> Store:
        store = await self.database.connect(migrations_of("keyfob.store") if migrations is None else migrations)
        self._opened.append(store)
        return store

    async def close(self) -> None:
        for store in self._opened:
            await store.close()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Databases]:
    databases = Databases(SqliteDatabase(tmp_path / "data" / "keyfob.db"))
    yield databases
    await databases.close()


@pytest.fixture
async def postgres(postgres_database: str) -> AsyncIterator[Databases]:
    databases = Databases(PostgresDatabase(postgres_database))
    yield databases
    await databases.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> SqliteDatabase | PostgresDatabase:
    """Each database in turn, empty."""
    if request.param == "sqlite":
        return SqliteDatabase(tmp_path / "data" / "keyfob.db")
    return PostgresDatabase(request.getfixturevalue("postgres_database"))


@pytest.fixture
async def databases(database: SqliteDatabase | PostgresDatabase) -> AsyncIterator[Databases]:
    opened = Databases(database)
    yield opened
    await opened.close()
