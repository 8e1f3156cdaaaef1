"""What only PostgreSQL does: several nodes, notices between them, a server that goes away."""

# ruff: noqa: PT012 (it is a whole transaction that must raise)

from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec
import pytest

from keyfob.errors import Conflict, InvalidInput, Unavailable
from keyfob.store.migrations import Step, migrations_of
from keyfob.store.port import EVERYTHING, Store
from keyfob.store.postgres import open_postgres
from keyfob.store.records import Records

pytestmark = pytest.mark.postgres
SCHEMA = [Step("test", 1, "CREATE TABLE counters (name TEXT PRIMARY KEY, count BIGINT NOT NULL)")]
PATIENCE = 20
"""Seconds until a test gives up waiting for what normally takes a millisecond."""


class Value(msgspec.Struct):
    text: str = ""


VALUES = Records("value", Value)


@pytest.fixture
async def nodes(postgres: Any) -> tuple[Store, Store]:
    migrations = [*migrations_of("keyfob.store"), *SCHEMA]
    return await postgres.open(migrations), await postgres.open(migrations)


def heard_by(store: Store, topic: str) -> asyncio.Queue[str]:
    queue: asyncio.Queue[str] = asyncio.Queue()
    store.watch(topic, queue.put_nowait)
    return queue


async def next_of(queue: asyncio.Queue[str]) -> str:
    async with asyncio.timeout(PATIENCE):
        return await queue.get()


async def change(store: Store, *keys: str, topic: str = "topic") -> None:
    async with store.transaction() as tx:
        for key in keys:
            tx.changed(topic, key)


async def listener(store: Store) -> int:
    """The server's process behind the connection of some node that listens."""
    rows = await store.fetch("SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%' ORDER BY backend_start")
    return int(rows[-1][0])


async def test_a_change_on_one_node_reaches_the_watchers_of_the_other(nodes: tuple[Store, Store]) -> None:
    here, there = nodes
    mine, theirs = heard_by(here, VALUES.topic), heard_by(there, VALUES.topic)
    async with here.transaction() as tx:
        await VALUES.insert(tx, "ключ 'x'", Value("new"))
    assert mine.get_nowait() == "ключ 'x'"
    assert await next_of(theirs) == "ключ 'x'"
    found = await VALUES.get(there, "ключ 'x'")
    assert found is not None
    assert found.value == Value("new")
    async with there.transaction() as tx:
        await VALUES.delete(tx, "ключ 'x'")
    assert theirs.get_nowait() == await next_of(mine) == "ключ 'x'"
    assert mine.empty()
    assert theirs.empty()


async def test_notices_keep_their_order_and_are_told_once(nodes: tuple[Store, Store]) -> None:
    here, there = nodes
    mine, theirs = heard_by(here, "topic"), heard_by(there, "topic")
    await change(here, "a", "b", "a")
    await change(here, "c")
    await change(there, "d")
    assert [await next_of(theirs) for _ in range(4)] in (list("abcd"), list("dabc"), list("adbc"), list("abdc"))
    assert [await next_of(mine) for _ in range(4)] == list("abcd")
    await change(there, "last")  # all notices before it have come by now
    assert await next_of(mine) == await next_of(theirs) == "last"
    assert mine.empty()
    assert theirs.empty()


async def test_changes_that_do_not_fit_a_notice(nodes: tuple[Store, Store]) -> None:
    here, there = nodes
    mine, theirs = heard_by(here, "topic"), heard_by(there, "topic")
    keys = [f"{number:04}" for number in range(2000)]
    await change(here, *keys)
    assert [mine.get_nowait() for _ in keys] == keys
    assert await next_of(theirs) == EVERYTHING
    exactly_too_big = "é" * 4000
    await change(here, exactly_too_big)
    assert await next_of(theirs) == EVERYTHING
    await change(here, "fits")
    assert await next_of(theirs) == "fits"
    async with here.transaction() as tx:
        for number in range(2000):
            tx.changed(f"topic {number}", "key")
    assert await next_of(theirs) == EVERYTHING


async def test_a_notice_that_cannot_be_read(nodes: tuple[Store, Store]) -> None:
    here, there = nodes
    theirs = heard_by(there, "topic")
    async with here.transaction() as tx:
        await tx.fetch("SELECT pg_notify('keyfob_changes', 'hello')")
    assert await next_of(theirs) == EVERYTHING


async def test_losing_the_listening_connection(nodes: tuple[Store, Store]) -> None:
    here, there = nodes
    mine, theirs = heard_by(here, "topic"), heard_by(there, "topic")
    also = heard_by(there, "other topic")
    lost = await listener(here)
    assert await here.fetch("SELECT pg_terminate_backend(?)", lost) == [(True,)]
    assert await next_of(theirs) == EVERYTHING
    assert await next_of(also) == EVERYTHING
    assert mine.empty()
    await change(here, "after")  # and it hears again
    assert await next_of(theirs) == "after"
    assert await listener(here) != lost


async def test_no_update_is_lost_among_writers_of_several_nodes(nodes: tuple[Store, Store]) -> None:
    async with nodes[0].transaction() as tx:
        await tx.execute("INSERT INTO counters (name, count) VALUES ('shared', 0)")

    async def add_one(store: Store) -> None:
        async with store.transaction() as tx:
            count = (await tx.fetch("SELECT count FROM counters"))[0][0]
            await tx.execute("UPDATE counters SET count = ?", count + 1)

    await asyncio.gather(*(add_one(nodes[number % 2]) for number in range(60)))
    assert await nodes[0].fetch("SELECT count FROM counters") == [(60,)]


async def test_one_of_two_nodes_inserts(nodes: tuple[Store, Store]) -> None:
    async def insert(store: Store, key: str) -> bool:
        try:
            async with store.transaction() as tx:
                await VALUES.insert(tx, key, Value())
        except Conflict:
            return False
        return True

    for key in map(str, range(20)):
        assert sorted(await asyncio.gather(*(insert(node, key) for node in nodes))) == [False, True]


async def test_an_interrupted_statement_dooms_its_transaction(nodes: tuple[Store, Store]) -> None:
    here, there = nodes
    with pytest.raises(Unavailable, match="interrupted"):
        async with here.transaction() as tx:
            await VALUES.insert(tx, "lost", Value())
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await tx.fetch("SELECT pg_sleep(60)")
    async with here.transaction() as tx:
        await VALUES.insert(tx, "next", Value())
    assert [stored.key for stored in await VALUES.list(there)] == ["next"]


async def test_cancelled_while_another_node_writes(nodes: tuple[Store, Store]) -> None:
    here, there = nodes
    async with there.transaction() as tx:
        waiting = asyncio.create_task(change(here, "x"))
        while not await there.fetch("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            pass
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await VALUES.insert(tx, "there", Value())
    async with here.transaction() as tx:
        await VALUES.insert(tx, "here", Value())
    assert [stored.key for stored in await VALUES.list(there)] == ["here", "there"]


async def test_losing_the_connection_in_a_transaction(nodes: tuple[Store, Store]) -> None:
    here, there = nodes
    mine = heard_by(here, "topic")
    with pytest.raises(Unavailable):
        async with here.transaction() as tx:
            await VALUES.insert(tx, "lost", Value())
            tx.changed("topic", "lost")
            own = (await tx.fetch("SELECT pg_backend_pid()"))[0][0]
            await there.fetch("SELECT pg_terminate_backend(?, 10000)", own)
    assert {mine.get_nowait() for _ in range(mine.qsize())} <= {"lost"}
    async with here.transaction() as tx:
        await VALUES.insert(tx, "next", Value())
    assert [stored.key for stored in await VALUES.list(here)] == ["next"]


async def test_a_server_that_dies_and_comes_back(start_postgres: Any) -> None:
    server = start_postgres()
    store = await open_postgres(server.create_database(), migrations_of("keyfob.store"))
    heard = heard_by(store, VALUES.topic)
    async with store.transaction() as tx:
        await VALUES.insert(tx, "before", Value())
    assert heard.get_nowait() == "before"
    server.kill()
    with pytest.raises(Unavailable):
        await store.fetch("SELECT 1")
    with pytest.raises(Unavailable):
        await change(store, "x")
    await asyncio.to_thread(server.start)
    assert await next_of(heard) == EVERYTHING
    async with store.transaction() as tx:
        await VALUES.insert(tx, "after", Value())
    assert [stored.key for stored in await VALUES.list(store)] == ["after", "before"]
    await store.close()


async def test_a_database_that_cannot_be_opened(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    migrations = migrations_of("keyfob.store")
    with pytest.raises(Unavailable, match="does not exist"):
        await open_postgres(postgres_dsn.replace("/postgres", "/nowhere"), migrations)
    with pytest.raises(Unavailable, match="reached"):
        await open_postgres("postgresql://keyfob:s3cret@127.0.0.1:1/x", migrations)
    with pytest.raises(InvalidInput) as refused:
        await open_postgres("mysql://keyfob:s3cret@127.0.0.1:1/x", migrations)
    assert "s3cret" not in str(refused.value)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(Unavailable, match=r"pip install 'keyfob\[postgres\]'"):
        await open_postgres(postgres_dsn, migrations)


async def test_a_database_of_another_encoding(postgres_dsn: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    await connection.close()
    with pytest.raises(InvalidInput, match="LATIN1"):
        await open_postgres(postgres_dsn.replace("/postgres", "/latin"), migrations_of("keyfob.store"))


async def test_messages_do_not_quote_stored_values(nodes: tuple[Store, Store]) -> None:
    with pytest.raises(Conflict) as raised:
        async with nodes[0].transaction() as tx:
            for _ in range(2):
                await tx.execute("INSERT INTO counters (name, count) VALUES ('very private', 0)")
    assert "private" not in str(raised.value)


async def test_prefix_listing_is_backed_by_the_index(nodes: tuple[Store, Store]) -> None:
    async with nodes[0].transaction() as tx:
        await tx.execute("SET LOCAL enable_seqscan = off")
        await tx.execute("SET LOCAL enable_bitmapscan = off")
        plan = await tx.fetch(
            "EXPLAIN SELECT key FROM records WHERE kind = 'a' AND key >= 'b' AND key < 'c' ORDER BY key LIMIT 3"
        )
    text = "\n".join(row[0] for row in plan)
    assert "Index Cond: ((kind = 'a'::text) AND (key >= 'b'::text) AND (key < 'c'::text))" in text
    assert "Sort" not in text


async def test_a_commit_that_postgres_answers_with_a_rollback_is_not_acknowledged(nodes: tuple[Store, Store]) -> None:
    import asyncpg

    here, there = nodes
    with pytest.raises(Unavailable, match="rolled it back"):
        async with here.transaction() as tx:
            await tx.execute("INSERT INTO counters (name, count) VALUES ('lost', 1)")
            with pytest.raises(asyncpg.PostgresError):  # behind the transaction's back
                await tx._connection.execute("nonsense")  # type: ignore[attr-defined]
    async with here.transaction() as tx:
        await tx.execute("INSERT INTO counters (name, count) VALUES ('next', 1)")
    assert await there.fetch("SELECT name FROM counters") == [("next",)]
