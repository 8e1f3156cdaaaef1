"""Schemas in steps, on both databases."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from keyfob.errors import Conflict
from keyfob.store.migrations import Step, migrations_of

CREATE = Step("zoo", 1, "CREATE TABLE animals (name TEXT PRIMARY KEY);\n-- a remark; with a semicolon\n")
ADD = Step(
    "zoo", 2, "ALTER TABLE animals ADD COLUMN legs BIGINT; UPDATE animals SET legs = 4 WHERE name <> 'a;b' /* ? ; */;"
)


async def test_fresh_then_upgraded_then_the_same_again(databases: Any) -> None:
    old = await databases.open([CREATE])
    async with old.transaction() as tx:
        await tx.execute("INSERT INTO animals (name) VALUES ('cow'), ('a;b')")
    await old.close()
    for _ in range(2):
        new = await databases.open([ADD, CREATE])
        assert await new.fetch("SELECT name, legs FROM animals ORDER BY name") == [("a;b", None), ("cow", 4)]
        versions = await new.fetch("SELECT component, version, applied FROM schema_versions ORDER BY version")
        assert [row[:2] for row in versions] == [("zoo", 1), ("zoo", 2)]
        assert all(row[2].startswith("20") for row in versions)
        await new.close()


async def test_components_count_for_themselves(databases: Any) -> None:
    await (await databases.open([CREATE])).close()
    plants = Step("garden", 1, "CREATE TABLE plants (name TEXT)")
    both = await databases.open([plants, CREATE, ADD])
    assert await both.fetch("SELECT component, version FROM schema_versions ORDER BY component, version") == [
        ("garden", 1),
        ("zoo", 1),
        ("zoo", 2),
    ]
    await both.close()
    await (await databases.open([CREATE, ADD])).close()  # a component unknown to the program stays as it is


async def test_a_database_newer_than_the_program_is_refused(databases: Any) -> None:
    await (await databases.open([CREATE, ADD])).close()
    with pytest.raises(Conflict, match="newer than this program: its zoo schema has version 2") as refused:
        await databases.open([CREATE])
    assert refused.value.code == "DatabaseTooNew"
    await (await databases.open([CREATE, ADD])).close()  # and nothing is left locked


async def test_a_failing_step_leaves_nothing_of_itself(databases: Any) -> None:
    broken = Step("zoo", 2, "CREATE TABLE cages (name TEXT); CREATE TABLE animals (name TEXT)")
    with pytest.raises(RuntimeError, match="animals"):
        await databases.open([CREATE, broken])
    mended = await databases.open([CREATE, Step("zoo", 2, "CREATE TABLE cages (name TEXT)")])
    assert await mended.fetch("SELECT name FROM cages") == []


@pytest.mark.parametrize("versions", [(2,), (1, 1), (1, 3), (0, 1)])
async def test_numbers_that_do_not_run(databases: Any, versions: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not run"):
        await databases.open([Step("zoo", version, "CREATE TABLE t (a TEXT)") for version in versions])


async def test_text_is_ordered_by_bytes_and_blobs_hold_any_byte(databases: Any) -> None:
    step = Step("zoo", 1, "CREATE TABLE t (a TEXT NOT NULL, \"TEXT\" BLOB, c TEXT DEFAULT 'TEXT BLOB')")
    store = await databases.open([step])
    words = ["b", "B", "a", "é", "Z", "a b", "a-b", "ab", "_", "\U0001f511"]
    async with store.transaction() as tx:
        for word in words:
            await tx.execute('INSERT INTO t (a, "TEXT") VALUES (?, ?)', word, bytes(range(256)))
    rows = await store.fetch('SELECT a, "TEXT", c FROM t ORDER BY a')
    assert [row[0] for row in rows] == sorted(words, key=str.encode)
    assert {row[1:] for row in rows} == {(bytes(range(256)), "TEXT BLOB")}
    assert await store.fetch("SELECT MAX(a) FROM t") == [("\U0001f511",)]


@pytest.mark.postgres
async def test_two_nodes_start_at_once(postgres: Any) -> None:
    steps = [CREATE, ADD, *(Step("zoo", n, f"CREATE TABLE more_{n} (a TEXT)") for n in range(3, 8))]
    stores = await asyncio.gather(*(postgres.open(steps) for _ in range(4)))
    assert await stores[0].fetch("SELECT COUNT(*), MAX(version) FROM schema_versions") == [(7, 7)]


def test_migrations_of_our_own_package() -> None:
    steps = migrations_of("keyfob.store")
    assert [(step.component, step.version) for step in steps] == [("store", n + 1) for n in range(len(steps))]
    assert "CREATE TABLE records" in steps[0].sql


def test_packages_with_wrong_schemas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def package(name: str, *files: str) -> str:
        schema = tmp_path / name / "schema"
        schema.mkdir(parents=True)
        (tmp_path / name / "__init__.py").touch()
        for file in files:
            (schema / file).write_text("SELECT 1;")
        return name

    monkeypatch.syspath_prepend(tmp_path)
    assert [s.version for s in migrations_of(package("good_schema", "0002-b.sql", "0001-a.sql", "README.md"))] == [1, 2]
    for name, files in {
        "misnamed_schema": ("0001-a.sql", "2.sql"),
        "gap_schema": ("0001-a.sql", "0003-c.sql"),
        "double_schema": ("0001-a.sql", "0001-b.sql"),
        "empty_schema": (),
    }.items():
        with pytest.raises(ValueError):
            migrations_of(package(name, *files))
