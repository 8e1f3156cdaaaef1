"""Collections of records, on both databases."""

# ruff: noqa: PT012 (it is a whole transaction that must raise)

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec
import pytest

from keyfob.errors import Conflict, InvalidInput, PreconditionFailed, Problem
from keyfob.store.port import Store
from keyfob.store.records import Records, Stored


class Fruit(msgspec.Struct, frozen=True):
    name: str = ""
    colours: tuple[str, ...] = ()
    weight: float = 0.0


def index(fruit: Fruit) -> Mapping[str, str | Sequence[str]]:
    return {"name": fruit.name, "colour": fruit.colours}


@pytest.fixture
def fruits() -> Records[Fruit]:
    return Records("fruit", Fruit, index=index)


async def put(store: Store, fruits: Records[Fruit], *keys: str) -> None:
    async with store.transaction() as tx:
        for key in keys:
            await fruits.put(tx, key, Fruit(key))


def keys(found: Sequence[Stored[Fruit]]) -> list[str]:
    return [stored.key for stored in found]


async def test_insert_get_put_delete(both_stores: Store, fruits: Records[Fruit]) -> None:
    apple = Fruit("Äpfel", ("red", "green"), 0.1)
    async with both_stores.transaction() as tx:
        inserted = await fruits.insert(tx, "a", apple)
        assert await fruits.get(tx, "a") == inserted
        assert await fruits.get(both_stores, "a") is None
    assert inserted == Stored(apple, "a", inserted.etag)
    assert await fruits.get(both_stores, "a") == inserted
    async with both_stores.transaction() as tx:
        replaced = await fruits.put(tx, "a", Fruit("apple"))
    assert replaced.etag != inserted.etag
    assert await fruits.get(both_stores, "a") == replaced
    async with both_stores.transaction() as tx:
        assert await fruits.delete(tx, "a") is True
        assert await fruits.delete(tx, "a") is False
    assert await fruits.get(both_stores, "a") is None


async def test_insert_over_an_existing_key_is_a_conflict_that_the_body_may_catch(
    both_stores: Store, fruits: Records[Fruit]
) -> None:
    await put(both_stores, fruits, "a")
    async with both_stores.transaction() as tx:
        with pytest.raises(Conflict) as raised:
            await fruits.insert(tx, "a", Fruit("other"))
        await fruits.insert(tx, "b", Fruit("b"))
    assert raised.value.target == "a"
    assert [stored.value.name for stored in await fruits.list(both_stores)] == ["a", "b"]
    assert keys(await fruits.find(both_stores, "name", "other")) == []


async def test_if_match(both_stores: Store, fruits: Records[Fruit]) -> None:
    async with both_stores.transaction() as tx:
        first = await fruits.insert(tx, "a", Fruit("first"))
    async with both_stores.transaction() as tx:
        second = await fruits.put(tx, "a", Fruit("second"), if_match=first.etag)
    for etag in (first.etag, "", "*", second.etag.upper() + "x"):
        with pytest.raises(PreconditionFailed):
            async with both_stores.transaction() as tx:
                await fruits.put(tx, "a", Fruit("third"), if_match=etag)
        with pytest.raises(PreconditionFailed):
            async with both_stores.transaction() as tx:
                await fruits.delete(tx, "a", if_match=etag)
    with pytest.raises(PreconditionFailed):
        async with both_stores.transaction() as tx:
            await fruits.put(tx, "absent", Fruit(), if_match=second.etag)
    assert await fruits.list(both_stores) == [second]
    async with both_stores.transaction() as tx:
        assert await fruits.delete(tx, "absent", if_match=second.etag) is False
        assert await fruits.delete(tx, "a", if_match=second.etag) is True
    assert await fruits.list(both_stores) == []


async def test_etag_guards_against_lost_updates(both_stores: Store, fruits: Records[Fruit]) -> None:
    await put(both_stores, fruits, "shared")

    async def add_one() -> None:
        while True:
            found = await fruits.get(both_stores, "shared")
            assert found is not None
            try:
                async with both_stores.transaction() as tx:
                    heavier = Fruit(weight=found.value.weight + 1)
                    await fruits.put(tx, "shared", heavier, if_match=found.etag)
            except PreconditionFailed:
                continue
            return

    await asyncio.gather(*(add_one() for _ in range(12)))
    found = await fruits.get(both_stores, "shared")
    assert found is not None
    assert found.value.weight == 12


async def test_kinds_are_apart(both_stores: Store, fruits: Records[Fruit]) -> None:
    others = Records("other", Fruit, index=index)
    await put(both_stores, fruits, "a")
    async with both_stores.transaction() as tx:
        await others.insert(tx, "a", Fruit("a", weight=2))
        await others.insert(tx, "b", Fruit("b"))
        await fruits.delete(tx, "a")
    assert keys(await others.list(both_stores)) == ["a", "b"]
    assert keys(await others.find(both_stores, "name", "a")) == ["a"]
    assert await fruits.list(both_stores) == []
    assert await fruits.find(both_stores, "name", "a") == []


ODD_KEYS = [
    "/subscriptions/1/rg",
    "/subscriptions/1/rg/a",
    "/subscriptions/1/rg/b",
    "/subscriptions/1/rg2/a",
    "/subscriptions/1/rG/a",
    "a_b",
    "a%b",
    "aXb",
    "a",
    "A",
    "a b",
    "a-b",
    "ab",
    "Z",
    "z",
    "é",
    "e\u0301",
    "ß",
    "ss",
    "中",
    "中文",
    "\ud7ff",
    "\ud7ffx",
    "\ue000",
    "\uffff",
    "\U00010000",
    "\U0010ffff",
    "\U0010ffffx",
    "'; DROP TABLE records; --",
    "?",
    "$1",
    "\\",
    '"',
]


async def test_listing_is_bytewise(both_stores: Store, fruits: Records[Fruit]) -> None:
    await put(both_stores, fruits, *ODD_KEYS)
    in_order = sorted(ODD_KEYS, key=lambda key: key.encode())
    assert keys(await fruits.list(both_stores)) == in_order
    prefixes = ["", "/subscriptions/1/rg/", "/subscriptions/1/rg", "a_", "a%", "a", "%", "_", "é", "e", "中", "nothing"]
    for prefix in [*prefixes, "\ud7ff", "\uffff", "\U0010ffff", "\U0010ffff\U0010ffff", "?", "'", "\\"]:
        expected = [key for key in in_order if key.startswith(prefix)]
        assert keys(await fruits.list(both_stores, prefix=prefix)) == expected, prefix
        for after in ["0", "a", "a%b", "zz", "中", "\U0010ffff"]:
            later = [key for key in expected if key > after]
            assert keys(await fruits.list(both_stores, prefix=prefix, after=after)) == later, (prefix, after)
            assert keys(await fruits.list(both_stores, prefix=prefix, after=after, limit=2)) == later[:2]


async def test_paging_meets_each_key_once(both_stores: Store, fruits: Records[Fruit]) -> None:
    await put(both_stores, fruits, *ODD_KEYS)
    seen: list[str] = []
    while page := await fruits.list(both_stores, after=seen[-1] if seen else "", limit=4):
        assert len(page) <= 4
        seen += keys(page)
    assert seen == sorted(ODD_KEYS)
    assert await fruits.list(both_stores, limit=0) == []


async def test_each_odd_key_is_only_itself(both_stores: Store, fruits: Records[Fruit]) -> None:
    await put(both_stores, fruits, *ODD_KEYS)
    for key in ODD_KEYS:
        found = await fruits.get(both_stores, key)
        assert found is not None
        assert found.value.name == key
        assert keys(await fruits.find(both_stores, "name", key)) == [key]


async def test_index_follows_every_write(both_stores: Store, fruits: Records[Fruit]) -> None:
    async with both_stores.transaction() as tx:
        await fruits.insert(tx, "b", Fruit("pear", ("green", "yellow", "green")))
        await fruits.insert(tx, "a", Fruit("apple", ("green", "red")))
        assert keys(await fruits.find(tx, "colour", "green")) == ["a", "b"]
        assert await fruits.find(both_stores, "colour", "green") == []
    assert keys(await fruits.find(both_stores, "colour", "green")) == ["a", "b"]
    assert keys(await fruits.find(both_stores, "colour", "Green")) == []
    assert keys(await fruits.find(both_stores, "name", "green")) == []
    async with both_stores.transaction() as tx:
        await fruits.put(tx, "a", Fruit("apple", ("brown",)))
    assert keys(await fruits.find(both_stores, "colour", "green")) == ["b"]
    assert keys(await fruits.find(both_stores, "colour", "brown")) == ["a"]
    with pytest.raises(ZeroDivisionError):
        async with both_stores.transaction() as tx:
            await fruits.delete(tx, "b")
            raise ZeroDivisionError
    assert keys(await fruits.find(both_stores, "colour", "yellow")) == ["b"]
    async with both_stores.transaction() as tx:
        await fruits.delete(tx, "b")
    assert await fruits.find(both_stores, "colour", "yellow") == []
    assert await both_stores.fetch("SELECT DISTINCT key FROM record_index") == [("a",)]


async def test_put_without_index_function_drops_nothing_of_others(both_stores: Store) -> None:
    plain: Records[Fruit] = Records("plain", Fruit)
    async with both_stores.transaction() as tx:
        await plain.insert(tx, "a", Fruit("a"))
        await plain.put(tx, "a", Fruit("b"))
    assert await plain.find(both_stores, "name", "b") == []
    found = await plain.get(both_stores, "a")
    assert found is not None
    assert found.value == Fruit("b")


async def test_watchers_hear_each_written_key(both_stores: Store, fruits: Records[Fruit]) -> None:
    heard: list[str] = []
    both_stores.watch(fruits.topic, heard.append)
    assert fruits.topic == "fruit"
    await put(both_stores, fruits, "a", "b")
    async with both_stores.transaction() as tx:
        await fruits.delete(tx, "nothing")
        await fruits.delete(tx, "a")
    async with both_stores.transaction() as tx:
        with pytest.raises(Conflict):
            await fruits.insert(tx, "b", Fruit())
    assert heard == ["a", "b", "a"]


@pytest.mark.parametrize("key", ["", "a\x00b", "\ud800", "x" * 2049, "é" * 1025])
async def test_keys_that_cannot_be_stored(both_stores: Store, fruits: Records[Fruit], key: str) -> None:
    async with both_stores.transaction() as tx:
        for attempt in (fruits.insert(tx, key, Fruit()), fruits.put(tx, key, Fruit()), fruits.delete(tx, key)):
            with pytest.raises(InvalidInput):
                await attempt
    with pytest.raises(InvalidInput):
        await fruits.get(both_stores, key)
    assert await fruits.list(both_stores) == []


async def test_longest_key_and_index_value(both_stores: Store, fruits: Records[Fruit]) -> None:
    import random

    incompressible = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=2048))
    await put(both_stores, fruits, incompressible)
    assert keys(await fruits.find(both_stores, "name", incompressible)) == [incompressible]
    with pytest.raises(InvalidInput):
        async with both_stores.transaction() as tx:
            await fruits.insert(tx, "a", Fruit("x" * 2049))
    assert len(await fruits.list(both_stores)) == 1


async def test_values_of_other_versions(both_stores: Store, fruits: Records[Fruit]) -> None:
    async with both_stores.transaction() as tx:
        sql = "INSERT INTO records (kind, key, etag, value) VALUES ('fruit', ?, 'e', ?)"
        await tx.execute(sql, "older", b'{"name":"apple"}')
        await tx.execute(sql, "newer", b'{"name":"pear","sort":"Conference"}')
        await tx.execute(sql, "strange", b'{"name":7}')
    assert await fruits.get(both_stores, "older") == Stored(Fruit("apple"), "older", "e")
    assert await fruits.get(both_stores, "newer") == Stored(Fruit("pear"), "newer", "e")
    with pytest.raises(Problem, match="strange"):
        await fruits.get(both_stores, "strange")


async def test_listing_a_prefix_uses_the_index(store: Store) -> None:
    plan = await store.fetch(
        "EXPLAIN QUERY PLAN SELECT key FROM records WHERE kind = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?",
        *("fruit", "a", "b", 10),
    )
    assert "SEARCH records USING" in plan[0][3]
    assert "kind=? AND key>? AND key<?" in plan[0][3]
    assert len(plan) == 1  # no sorting afterwards


async def test_what_is_found_can_be_taken_in_parts(both_stores: Store, fruits: Records[Fruit]) -> None:
    async with both_stores.transaction() as tx:
        for name in ("a/1", "a/2", "a/3", "a0", "b/1"):
            await fruits.put(tx, name, Fruit(name, ("green",)))
        await fruits.put(tx, "a/4", Fruit("a/4", ("red",)))
    assert keys(await fruits.find(both_stores, "colour", "green", prefix="a/")) == ["a/1", "a/2", "a/3"]
    assert keys(await fruits.find(both_stores, "colour", "green", prefix="a/", after="a/1")) == ["a/2", "a/3"]
    assert keys(await fruits.find(both_stores, "colour", "green", after="a/1", limit=2)) == ["a/2", "a/3"]
    assert keys(await fruits.find(both_stores, "colour", "green", prefix="b/", after="a/2")) == ["b/1"]
    assert keys(await fruits.find(both_stores, "colour", "red", prefix="a/", limit=9)) == ["a/4"]


async def test_counting_is_finding_without_reading(both_stores: Store, fruits: Records[Fruit]) -> None:
    async with both_stores.transaction() as tx:
        for key, colours in (("a", ("red",)), ("b", ("red", "green", "red")), ("c", ())):
            await fruits.put(tx, key, Fruit(key, colours))
        assert await fruits.count(tx, "colour", "red") == 2
        assert await fruits.count(both_stores, "colour", "red") == 0
    assert await fruits.count(both_stores, "colour", "green") == 1
    assert await fruits.count(both_stores, "colour", "blue") == 0
    async with both_stores.transaction() as tx:
        await fruits.delete(tx, "a")
        assert await fruits.count(tx, "colour", "red") == 1
