"""What was acknowledged is there after SIGKILL: of the writing process, and of the whole PostgreSQL server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec
import pytest

from keyfob.store.records import Records

WRITER = Path(__file__).with_name("writer_process.py")
ENOUGH = 400


class Numbered(msgspec.Struct):
    number: int = 0
    padding: str = ""


@contextmanager
def writer(kind: str, target: str) -> Any:
    """The writing process, killed at the end whatever happens."""
    with subprocess.Popen(
        [sys.executable, str(WRITER), kind, target], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def acknowledged(process: subprocess.Popen[str], stop: Callable[[], None]) -> list[int]:
    """Calls `stop` after enough acknowledgements; returns all, also those on their way by then."""
    assert process.stdout is not None
    lines: IO[str] = process.stdout
    numbers = [int(line) for line, _ in zip(lines, range(ENOUGH), strict=False)]
    if len(numbers) < ENOUGH:
        assert process.stderr is not None
        pytest.fail(process.stderr.read())
    stop()
    return numbers + [int(line) for line in lines]


async def stored_numbers(database: Any) -> list[int]:
    from keyfob.store.migrations import migrations_of

    records = Records("numbered", Numbered)
    store = await database.connect(migrations_of("keyfob.store"))
    try:
        found = await records.list(store)
        assert [stored.key for stored in found] == [f"{stored.value.number:08}" for stored in found]
        assert {len(stored.value.padding) - stored.value.number % 3000 for stored in found} == {0}
        indexed = await store.fetch("SELECT key FROM record_index ORDER BY key")
        assert [row[0] for row in indexed] == [stored.key for stored in found]
        async with store.transaction() as tx:  # and it can be written on
            await records.insert(tx, "later", Numbered())
        return [stored.value.number for stored in found]
    finally:
        await store.close()


def test_every_acknowledged_write_survives_the_death_of_the_writer(database: Any) -> None:
    with writer(database.kind, database.target) as process:
        numbers = acknowledged(process, process.kill)
    database.check()
    stored = asyncio.run(stored_numbers(database))
    assert len(numbers) == len(set(numbers)) >= ENOUGH
    assert sorted(set(numbers) - set(stored)) == []
    assert len(stored) <= len(numbers) + 16  # at most what each task had under way


@pytest.mark.postgres
def test_every_acknowledged_write_survives_the_death_of_postgres(start_postgres: Any, monkeypatch: Any) -> None:
    from types import SimpleNamespace

    from keyfob.store.postgres import open_postgres

    server = start_postgres()
    dsn = server.create_database()
    with writer("postgres", dsn) as process:
        numbers = acknowledged(process, server.kill)
        assert process.wait() == 3
    server.start()
    database = SimpleNamespace(connect=lambda migrations: open_postgres(dsn, migrations))
    stored = asyncio.run(stored_numbers(database))
    assert len(numbers) >= ENOUGH
    assert sorted(set(numbers) - set(stored)) == []
