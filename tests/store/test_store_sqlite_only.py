"""What only SQLite does: group commit on one connection, the lock on the data directory, files that are broken."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keyfob.errors import Conflict, Unavailable
from keyfob.store.migrations import Step, migrations_of
from keyfob.store.port import Store
from keyfob.store.records import Records
from keyfob.store.sqlite import SqliteStore, open_sqlite

SCHEMA = [
    Step(
        "test",
        1,
        """
        CREATE TABLE names (name TEXT PRIMARY KEY);
        CREATE TABLE friends (name TEXT REFERENCES names (name) DEFERRABLE INITIALLY DEFERRED);
        CREATE TRIGGER fatal BEFORE INSERT ON names WHEN new.name = 'fatal'
        BEGIN
          SELECT RAISE(ROLLBACK, 'as when the disk is full');
        END;
        """,
    )
]


@pytest.fixture
async def opened(sqlite: Any) -> SqliteStore:
    store: SqliteStore = await sqlite.open(SCHEMA)
    return store


async def add(store: Store, name: str, table: str = "names") -> None:
    async with store.transaction() as tx:
        await tx.execute(f"INSERT INTO {table} (name) VALUES (?)", name)
        tx.changed("names", name)


async def names(store: Store) -> list[str]:
    return [row[0] for row in await store.fetch("SELECT name FROM names ORDER BY name")]


async def test_finished_transactions_share_one_commit(opened: SqliteStore) -> None:
    commits: list[str] = []
    opened._writer.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    await asyncio.gather(*(add(opened, f"{n:02}") for n in range(50)))
    assert commits == ["COMMIT"]
    assert len(await names(opened)) == 50


async def test_a_commit_that_fails_acknowledges_nobody(opened: SqliteStore) -> None:
    heard: list[str] = []
    opened.watch("names", heard.append)
    outcomes = await asyncio.gather(
        add(opened, "innocent"), add(opened, "of nobody", "friends"), add(opened, "late"), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
    assert len({id(outcome) for outcome in outcomes}) == 3
    assert await names(opened) == []
    assert heard == []
    await add(opened, "next")
    assert await names(opened) == heard == ["next"]


async def test_a_commit_that_fails_for_a_cancelled_transaction(opened: SqliteStore) -> None:
    task = asyncio.create_task(add(opened, "of nobody", "friends"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await add(opened, "next")
    assert await names(opened) == ["next"]


async def test_when_sqlite_undoes_the_whole_group_all_of_it_hears(opened: SqliteStore) -> None:
    heard: list[str] = []
    opened.watch("names", heard.append)
    outcomes = await asyncio.gather(
        add(opened, "waiting"), add(opened, "fatal"), add(opened, "next"), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [Unavailable, Conflict, type(None)]
    assert await names(opened) == heard == ["next"]


async def test_a_body_that_goes_on_after_its_group_is_lost_writes_nothing(opened: SqliteStore) -> None:
    async def catch_and_go_on() -> None:
        async with opened.transaction() as tx:
            with pytest.raises(Conflict):
                await tx.execute("INSERT INTO names VALUES ('fatal')")
            with pytest.raises(Conflict):  # and not: written outside of any transaction
                await tx.execute("INSERT INTO names VALUES ('stray')")

    outcomes = await asyncio.gather(add(opened, "waiting"), catch_and_go_on(), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable, Conflict]
    assert await names(opened) == []
    await add(opened, "later")
    assert await names(opened) == ["later"]


async def test_a_full_disk(opened: SqliteStore) -> None:
    await add(opened, "before")
    opened._writer.execute("PRAGMA max_page_count = 12")
    with pytest.raises(Unavailable, match="full"):
        await add(opened, "x" * 100_000)
    opened._writer.execute("PRAGMA max_page_count = 100000")
    await add(opened, "x" * 100_000)
    assert len(await names(opened)) == 2


async def test_a_transaction_that_failed_knows_that_what_it_saw_is_committed(opened: SqliteStore) -> None:
    async def late() -> list[str]:
        with pytest.raises(Conflict):
            await add(opened, "same")
        return await names(opened)

    async def caught() -> list[str]:
        with pytest.raises(Conflict):  # noqa: PT012 (it is a whole transaction that must raise)
            async with opened.transaction() as tx:
                with pytest.raises(Conflict):
                    await tx.execute("INSERT INTO names VALUES ('same')")
        return await names(opened)

    for failing in (late, caught):
        found = (await asyncio.gather(add(opened, "same"), failing()))[1]
        assert found == ["same"]
        async with opened.transaction() as tx:
            await tx.execute("DELETE FROM names")


async def test_another_program_that_writes_is_waited_for_without_stopping_the_loop(
    opened: SqliteStore, sqlite: Any
) -> None:
    shell = sqlite3.connect(sqlite.target, isolation_level=None)
    shell.execute("BEGIN IMMEDIATE")
    shell.execute("INSERT INTO names VALUES ('from the shell')")
    adding = asyncio.create_task(add(opened, "mine"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not adding.done()
    assert await names(opened) == []
    shell.execute("COMMIT")
    shell.close()
    await adding
    assert await names(opened) == ["from the shell", "mine"]


async def test_cancelled_while_another_program_writes(opened: SqliteStore, sqlite: Any) -> None:
    shell = sqlite3.connect(sqlite.target, isolation_level=None)
    shell.execute("BEGIN IMMEDIATE")
    adding = asyncio.create_task(add(opened, "cancelled"))
    for _ in range(10):
        await asyncio.sleep(0)
    adding.cancel()
    shell.execute("ROLLBACK")
    with pytest.raises(asyncio.CancelledError):
        await adding
    shell.execute("INSERT INTO names VALUES ('from the shell')")  # the writers' lock was given back
    shell.close()
    await add(opened, "next")
    assert await names(opened) == ["from the shell", "next"]


async def test_two_servers_on_one_data_directory(opened: SqliteStore, sqlite: Any) -> None:
    with pytest.raises(Conflict, match=f"another Keyfob server \\(process {os.getpid()}\\) is using") as refused:
        await open_sqlite(Path(sqlite.target), SCHEMA)
    assert refused.value.code == "DataDirectoryInUse"
    await add(opened, "undisturbed")
    await opened.close()
    assert await names(await sqlite.open(SCHEMA)) == ["undisturbed"]


async def test_nobody_else_may_read_the_files(opened: SqliteStore, sqlite: Any) -> None:
    await add(opened, "x")
    folder = Path(sqlite.target).parent
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.name: file.stat().st_mode & 0o077 for file in folder.iterdir()} == dict.fromkeys(
        ("keyfob.db", "keyfob.db-wal", "keyfob.db-shm", "keyfob.db.lock"), 0
    )


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "keyfob.db"
    path.write_bytes(b"this is not a database " * 1000)
    for _ in range(2):  # the second time: the lock was given back
        with pytest.raises(Unavailable, match=r"keyfob\.db cannot be used: file is not a database"):
            await open_sqlite(path, SCHEMA)


async def test_a_damaged_database(tmp_path: Path) -> None:
    class Value(msgspec.Struct):
        text: str = ""

    path, values = tmp_path / "keyfob.db", Records("value", Value)
    store = await open_sqlite(path, migrations_of("keyfob.store"))
    async with store.transaction() as tx:
        for number in range(500):
            await values.insert(tx, f"{number}", Value("x" * 100))
    await store.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(6 * 4096)
        file.write(b"\xff" * (size - 6 * 4096))
    store = await open_sqlite(path, migrations_of("keyfob.store"))
    try:
        with pytest.raises(Unavailable, match="malformed"):
            await values.list(store)
        with pytest.raises(Unavailable, match="malformed"):
            async with store.transaction() as tx:
                await values.list(tx)
    finally:
        await store.close()


@contextmanager
def as_an_ordinary_user() -> Iterator[None]:
    """Root may write anything; so be nobody for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """One that every user can reach, which pytest's own cannot be."""
    with tempfile.TemporaryDirectory(prefix="keyfob-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


async def test_a_database_that_cannot_be_written(shared_folder: Path) -> None:
    path = shared_folder / "keyfob.db"
    await (await open_sqlite(path, SCHEMA)).close()
    lock = path.with_name("keyfob.db.lock")
    path.chmod(0o444)
    lock.chmod(0o444)
    os.chmod(shared_folder, 0o555)
    with as_an_ordinary_user(), pytest.raises(Unavailable, match="cannot write in the data directory"):
        await open_sqlite(path, SCHEMA)
    lock.chmod(0o666)
    with as_an_ordinary_user(), pytest.raises(Unavailable, match=r"keyfob\.db cannot be written"):
        await open_sqlite(path, SCHEMA)
    path.chmod(0o666)  # the file may be written, its folder not: SQLite cannot make its log
    with as_an_ordinary_user(), pytest.raises(Unavailable, match=r"keyfob\.db cannot be used"):
        await open_sqlite(path, SCHEMA)


async def test_a_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="cannot make the data directory"):
        await open_sqlite(tmp_path / "file" / "data" / "keyfob.db", SCHEMA)
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(Unavailable, match=r"folder\.db cannot be written"):
        await open_sqlite(tmp_path / "folder.db", SCHEMA)
