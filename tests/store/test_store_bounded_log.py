"""A bounded log, on both databases."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
import pytest

from keyfob.store.bounded_log import BoundedLog
from keyfob.store.port import Store
from keyfob.store.records import Records


class Line(msgspec.Struct, frozen=True):
    text: str = ""


LINES = Records("lines", Line)


class Failing:
    """A store that cannot write for a while."""

    def __init__(self, store: Store, failures: int) -> None:
        self._store = store
        self.failures = failures
        self.wrote = asyncio.Event()

    def transaction(self) -> Any:
        if self.failures:
            self.failures -= 1
            raise OSError("disk full")
        self.wrote.set()
        return self._store.transaction()


def log_of(store: Any, size: int = 5) -> BoundedLog[str, Line]:
    return BoundedLog(store, LINES, head="lines.head", size=size, row=Line)


async def texts(store: Store) -> list[str]:
    return [row.value.text for row in await LINES.list(store)]


async def test_rows_are_used_round_and_round(both_stores: Store) -> None:
    log = log_of(both_stores)
    for number in range(12):
        log.add(str(number))
        if number % 3 == 2:
            await log.flush()
    assert await texts(both_stores) == ["10", "11", "7", "8", "9"]
    await log.flush()
    assert await texts(both_stores) == ["10", "11", "7", "8", "9"]


async def test_nodes_share_the_rows_and_write_none_twice(both_stores: Store) -> None:
    one, other = log_of(both_stores), log_of(both_stores)
    for log, number in ((one, 0), (other, 1), (one, 2), (other, 3)):
        log.add(str(number))
    await asyncio.gather(one.flush(), other.flush(), one.flush())
    assert sorted(await texts(both_stores)) == ["0", "1", "2", "3"]


async def test_a_smaller_one_leaves_no_more_rows_than_it_has(store: Store) -> None:
    log = log_of(store)
    for number in range(5):
        log.add(str(number))
    await log.flush()
    smaller = log_of(store, size=2)
    smaller.add("5")
    await smaller.flush()
    assert len(await texts(store)) == 2
    assert "5" in await texts(store)


async def test_a_row_is_made_when_it_is_written(store: Store) -> None:
    made: list[str] = []

    def row(text: str) -> Line:
        made.append(text)
        return Line(text)

    log = BoundedLog[str, Line](store, LINES, head="lines.head", size=5, row=row)
    log.add("one")
    assert not made
    await log.flush()
    assert made == ["one"]


async def test_what_could_not_be_written_is_written_later(store: Store) -> None:
    log = log_of(Failing(store, 1))
    log.add("one")
    log.add("two")
    with pytest.raises(OSError, match="disk full"):
        await log.flush()
    log.add("three")
    await log.flush()
    assert await texts(store) == ["one", "two", "three"]


async def test_of_too_many_that_wait_the_oldest_go(store: Store) -> None:
    log = log_of(store, size=3)
    for number in range(10):
        log.add(str(number))
    await log.flush()
    assert sorted(await texts(store)) == ["7", "8", "9"]


async def test_what_is_added_during_a_write_waits_for_the_next(store: Store) -> None:
    """Also when it pushes out what is being written."""

    def row(text: str) -> Line:
        if text == "one":
            for more in ("three", "four", "five"):
                log.add(more)
        return Line(text)

    log = BoundedLog[str, Line](store, LINES, head="lines.head", size=3, row=row)
    log.add("one")
    log.add("two")
    await log.flush()
    assert sorted(await texts(store)) == ["one", "two"]
    await log.flush()
    assert sorted(await texts(store)) == ["five", "four", "three"]


async def test_the_background_goes_on_after_a_failure(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    failing = Failing(store, 2)
    log = log_of(failing)
    log.add("one")
    with caplog.at_level("CRITICAL"):
        task = asyncio.create_task(log.run(every=0.001))
        await asyncio.wait_for(failing.wrote.wait(), 60)
        await log.flush()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert await texts(store) == ["one"]
