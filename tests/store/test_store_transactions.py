"""What the port promises of transactions and watchers, on both databases."""

# ruff: noqa: PT012 (it is a whole transaction that must raise)

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from keyfob.errors import Conflict, Unavailable
from keyfob.store.migrations import Step
from keyfob.store.port import Store

COUNTERS = [Step("test", 1, "CREATE TABLE counters (name TEXT PRIMARY KEY, count BIGINT NOT NULL, note BLOB)")]
INSERT = "INSERT INTO counters (name, count) VALUES (?, ?)"


@pytest.fixture
async def counters(databases: Any) -> Store:
    opened: Store = await databases.open(COUNTERS)
    return opened


async def add(store: Store, name: str, count: int = 0) -> None:
    async with store.transaction() as tx:
        await tx.execute(INSERT, name, count)


async def names(store: Store) -> list[str]:
    return [row[0] for row in await store.fetch("SELECT name FROM counters ORDER BY name")]


async def test_rows_and_counts(counters: Store) -> None:
    async with counters.transaction() as tx:
        assert await tx.execute("INSERT INTO counters (name, count, note) VALUES (?, ?, ?)", "a?", 2**40, b"\0?") == 1
        assert await tx.execute(INSERT, "b", 2) == 1
        assert await tx.execute("UPDATE counters SET count = count + 1") == 2
        assert await tx.execute("DELETE FROM counters WHERE name = ?", "nobody") == 0
        returned = await tx.fetch("UPDATE counters SET count = 7 WHERE name = 'b' RETURNING name, count")
    assert returned == [("b", 7)]
    rows = await counters.fetch("SELECT name, count, note FROM counters WHERE name = ? -- or ?\n AND 'a?' = name", "a?")
    assert rows == [("a?", 2**40 + 1, b"\0?")]
    assert await counters.fetch("SELECT note FROM counters WHERE name = ?", "b") == [(None,)]


async def test_exception_undoes_everything_and_nothing_else(counters: Store) -> None:
    await add(counters, "kept")
    with pytest.raises(ZeroDivisionError):
        async with counters.transaction() as tx:
            await tx.execute(INSERT, "lost", 1)
            await tx.execute("DELETE FROM counters WHERE name = ?", "kept")
            raise ZeroDivisionError
    assert await names(counters) == ["kept"]


async def test_failing_neighbours_do_not_disturb_the_others(counters: Store) -> None:
    async def one(number: int) -> None:
        async with counters.transaction() as tx:
            await tx.execute(INSERT, f"{number:02}", number)
            if number % 3 == 0:
                raise ZeroDivisionError

    outcomes = await asyncio.gather(*map(one, range(30)), return_exceptions=True)
    assert [isinstance(outcome, ZeroDivisionError) for outcome in outcomes] == [n % 3 == 0 for n in range(30)]
    assert await names(counters) == [f"{n:02}" for n in range(30) if n % 3]


async def test_readers_see_only_what_is_committed(counters: Store) -> None:
    async with counters.transaction() as tx:
        await tx.execute(INSERT, "new", 1)
        assert await tx.fetch("SELECT name FROM counters") == [("new",)]
        assert await names(counters) == []
    assert await names(counters) == ["new"]


async def test_store_itself_cannot_write(counters: Store) -> None:
    with pytest.raises((RuntimeError, Unavailable)):
        await counters.fetch("INSERT INTO counters (name, count) VALUES ('x', 1) RETURNING name")
    assert await names(counters) == []


async def test_failed_statement_dooms_its_transaction_even_when_caught(counters: Store) -> None:
    await add(counters, "there")
    with pytest.raises(Conflict):
        async with counters.transaction() as tx:
            await tx.execute(INSERT, "before", 1)
            with pytest.raises(Conflict):
                await tx.execute(INSERT, "there", 1)
            with pytest.raises(Conflict):
                await tx.execute(INSERT, "after", 1)
    assert await names(counters) == ["there"]
    await add(counters, "later")
    assert await names(counters) == ["later", "there"]


async def test_wrong_sql_is_our_mistake_and_not_the_worlds(counters: Store) -> None:
    with pytest.raises(RuntimeError, match="nowhere"):
        await counters.fetch("SELECT 1 FROM nowhere")
    with pytest.raises(RuntimeError, match="nowhere"):
        async with counters.transaction() as tx:
            await tx.execute("DELETE FROM nowhere")
    await add(counters, "fine")


async def test_transactions_do_not_nest(counters: Store) -> None:
    with pytest.raises(RuntimeError, match="nest"):
        async with counters.transaction() as tx:
            await tx.execute(INSERT, "outer", 1)
            async with counters.transaction():
                pass
    assert await names(counters) == []
    await add(counters, "fine")


async def test_transaction_is_of_no_use_after_its_end(counters: Store) -> None:
    async with counters.transaction() as tx:
        pass
    with pytest.raises(RuntimeError, match="ended"):
        await tx.execute(INSERT, "late", 1)
    with pytest.raises(RuntimeError, match="ended"):
        tx.changed("topic", "key")
    with pytest.raises(ZeroDivisionError):
        async with counters.transaction() as tx:
            raise ZeroDivisionError
    with pytest.raises(RuntimeError, match="ended"):
        await tx.fetch("SELECT 1")


async def test_no_update_is_lost_among_concurrent_writers(counters: Store) -> None:
    await add(counters, "shared", 0)

    async def add_one() -> None:
        async with counters.transaction() as tx:
            count = (await tx.fetch("SELECT count FROM counters WHERE name = 'shared'"))[0][0]
            await asyncio.sleep(0)
            await tx.execute("UPDATE counters SET count = ? WHERE name = 'shared'", count + 1)

    await asyncio.gather(*(add_one() for _ in range(120)))
    assert await counters.fetch("SELECT count FROM counters") == [(120,)]


async def test_many_tasks_find_their_own_write_on_leaving(counters: Store) -> None:
    async def one(number: int) -> list[tuple[int]]:
        await add(counters, f"{number}", number)
        return list(await counters.fetch("SELECT count FROM counters WHERE name = ?", f"{number}"))

    assert await asyncio.gather(*map(one, range(200))) == [[(number,)] for number in range(200)]


async def test_watchers_hear_in_order_before_the_transaction_returns(counters: Store) -> None:
    heard: list[tuple[str, str]] = []
    counters.watch("colour", lambda key: heard.append(("first", key)))
    counters.watch("colour", lambda key: heard.append(("second", key)))
    counters.watch("shape", lambda key: heard.append(("shape", key)))
    async with counters.transaction() as tx:
        tx.changed("colour", "red")
        tx.changed("shape", "round")
        tx.changed("colour", "blue")
        tx.changed("colour", "red")
        tx.changed("nobody listens", "x")
        assert heard == []
    both = [(who, key) for key in ("red", "blue") for who in ("first", "second")]
    assert heard == [*both[:2], ("shape", "round"), *both[2:]]
    # and a notice that comes back from the database is not told a second time
    async with counters.transaction() as tx:
        tx.changed("shape", "square")
    assert heard[5:] == [("shape", "square")]


async def test_watchers_find_what_was_committed(counters: Store) -> None:
    found: list[asyncio.Task[list[str]]] = []
    counters.watch("counters", lambda _: found.append(asyncio.ensure_future(names(counters))))
    async with counters.transaction() as tx:
        await tx.execute(INSERT, "new", 1)
        tx.changed("counters", "new")
    assert await found[0] == ["new"]


async def test_watchers_do_not_hear_of_what_was_undone(counters: Store) -> None:
    heard: list[str] = []
    counters.watch("topic", heard.append)
    with pytest.raises(ZeroDivisionError):
        async with counters.transaction() as tx:
            tx.changed("topic", "lost")
            raise ZeroDivisionError
    async with counters.transaction() as tx:
        tx.changed("topic", "kept")
    assert heard == ["kept"]


async def test_failing_watcher_harms_nobody(counters: Store, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []

    def fail(_key: str) -> None:
        raise ZeroDivisionError

    counters.watch("topic", fail)
    counters.watch("topic", heard.append)
    with caplog.at_level(logging.ERROR, "keyfob.store"):
        async with counters.transaction() as tx:
            tx.changed("topic", "key")
    assert heard == ["key"]
    assert "a watcher of topic failed" in caplog.text


async def test_cancelled_in_the_body(counters: Store) -> None:
    inside = asyncio.Event()

    async def hang() -> None:
        async with counters.transaction() as tx:
            await tx.execute(INSERT, "cancelled", 1)
            inside.set()
            await asyncio.Event().wait()

    hanging = asyncio.create_task(hang())
    await inside.wait()
    others = asyncio.gather(*(add(counters, f"{n}") for n in range(3)))
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    await others
    assert await names(counters) == ["0", "1", "2"]


async def test_cancelled_while_waiting_for_its_turn(counters: Store) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with counters.transaction() as tx:
            inside.set()
            await go_on.wait()
            await tx.execute(INSERT, "first", 1)

    running = asyncio.create_task(first())
    await inside.wait()
    second, third = asyncio.create_task(add(counters, "second")), asyncio.create_task(add(counters, "third"))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    go_on.set()
    await asyncio.gather(running, third)
    assert await names(counters) == ["first", "third"]


async def test_cancelled_while_waiting_for_the_commit(counters: Store) -> None:
    """Too late to undo: it is committed, the watchers hear, and then the cancellation goes on."""
    heard: list[str] = []
    counters.watch("topic", heard.append)
    written = asyncio.Event()

    async def write() -> None:
        async with counters.transaction() as tx:
            await tx.execute(INSERT, "late", 1)
            tx.changed("topic", "late")
            written.set()

    writing = asyncio.create_task(write())
    await written.wait()
    neighbour = asyncio.create_task(add(counters, "neighbour"))
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert heard == ["late"]
    assert "late" in await names(counters)
    await neighbour
    assert await names(counters) == ["late", "neighbour"]


async def test_cancellation_at_every_moment_leaves_a_working_store(counters: Store) -> None:
    for steps in range(12):
        task = asyncio.create_task(add(counters, f"{steps}"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await add(counters, f"after {steps}")
    assert [name for name in await names(counters) if name.startswith("after")] == sorted(
        f"after {steps}" for steps in range(12)
    )


async def test_closing_waits_for_the_running_transaction_and_refuses_later_ones(
    counters: Store, databases: Any
) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        async with counters.transaction() as tx:
            inside.set()
            await go_on.wait()
            await tx.execute(INSERT, "running", 1)

    running = asyncio.create_task(run())
    await inside.wait()
    queued = asyncio.create_task(add(counters, "queued"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(counters.close())
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(running, closing)
    with pytest.raises(Unavailable):
        await queued
    with pytest.raises(Unavailable):
        await counters.fetch("SELECT 1")
    with pytest.raises(Unavailable):
        await add(counters, "late")
    await counters.close()
    assert await names(await databases.open(COUNTERS)) == ["running"]


def test_a_loop_that_ends_in_the_middle_leaves_whole_transactions(database: Any) -> None:
    opened: list[Store] = []

    async def pair(store: Store, number: int) -> None:
        async with store.transaction() as tx:
            await tx.execute(INSERT, f"{number} a", number)
            await asyncio.sleep(0)
            await tx.execute(INSERT, f"{number} b", number)

    async def leave_early() -> None:
        store = await database.connect(COUNTERS)
        opened.append(store)
        started = [asyncio.create_task(pair(store, number)) for number in range(20)]
        await started[0]
        if database.kind == "postgres":  # its connections cannot outlive the loop
            for task in started:
                task.cancel()
            await store.close()

    async def count() -> list[Any]:
        store = await database.connect(COUNTERS)
        try:
            return list(await store.fetch("SELECT c.count, COUNT(*) FROM counters c GROUP BY c.count ORDER BY c.count"))
        finally:
            await store.close()

    asyncio.run(leave_early())
    asyncio.run(opened[0].close())
    rows = asyncio.run(count())
    assert rows[0] == (0, 2)
    assert {both for _, both in rows} == {2}
