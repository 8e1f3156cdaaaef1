"""How changes travel between nodes, without a database."""

from __future__ import annotations

import msgspec
import pytest

from keyfob.store.port import EVERYTHING
from keyfob.store.postgres_changes import ChangeFeed, Notice, payload_of
from keyfob.store.watchers import Watchers


def read(payload: str) -> Notice:
    assert len(payload.encode()) < 8000
    return msgspec.json.decode(payload, type=Notice)


def test_a_notice_that_fits_travels_whole() -> None:
    notice = Notice("node-1", (("topic", "ключ"), ("other", 'a"b\n')))
    assert read(payload_of(notice)) == notice


@pytest.mark.parametrize("length", [7900, 7970, 7971, 7972, 7973, 7974, 7975, 7976, 8000, 100_000])
def test_whatever_its_length_it_fits(length: int) -> None:
    notice = Notice("n", (("topic", "x" * length),))
    travelled = read(payload_of(notice))
    assert travelled == notice or travelled.changes == (("topic", EVERYTHING),)
    assert (travelled == notice) == (len(msgspec.json.encode(notice)) < 8000)


def test_too_many_topics_become_everything() -> None:
    notice = Notice("n", tuple((f"topic {number}", "key") for number in range(3000)))
    assert read(payload_of(notice)).changes == ((EVERYTHING, EVERYTHING),)


async def feed() -> tuple[ChangeFeed, list[tuple[str, str]]]:
    heard: list[tuple[str, str]] = []
    watchers = Watchers()
    watchers.add("a", lambda key: heard.append(("a", key)))
    watchers.add("b", lambda key: heard.append(("b", key)))

    async def connect() -> None:
        raise AssertionError

    return ChangeFeed(connect, watchers), heard


async def test_own_notices_are_told_once() -> None:
    own, heard = await feed()
    notice = own.announce([("a", "1"), ("b", "2")])
    own._hear(None, 0, "", payload_of(notice))  # may come before the COMMIT is answered
    assert heard == []
    own.tell(notice)
    assert heard == [("a", "1"), ("b", "2")]


async def test_foreign_notices_are_told() -> None:
    own, heard = await feed()
    foreign = (await feed())[0].announce([("a", "1"), ("c", "3")])
    own._hear(None, 0, "", payload_of(foreign))
    assert heard == [("a", "1")]
    own._hear(None, 0, "", payload_of(Notice("n", ((EVERYTHING, EVERYTHING),))))
    assert heard[1:] == [("a", EVERYTHING), ("b", EVERYTHING)]


@pytest.mark.parametrize("payload", ["", "hello", "{}", "[1]", '["x", [["a"]]]'])
async def test_what_cannot_be_read_may_be_anything(payload: str) -> None:
    own, heard = await feed()
    own._hear(None, 0, "", payload)
    assert heard == [("a", EVERYTHING), ("b", EVERYTHING)]


async def test_a_commit_of_unknown_outcome_is_told_now_and_when_its_notice_comes() -> None:
    own, heard = await feed()
    uncertain, undone = own.announce([("a", "1")]), own.announce([("b", "2")])
    own.withdraw(uncertain, uncertain=True)
    own.withdraw(undone, uncertain=False)
    assert heard == [("a", "1")]
    own._hear(None, 0, "", payload_of(uncertain))
    assert heard == [("a", "1"), ("a", "1")]
