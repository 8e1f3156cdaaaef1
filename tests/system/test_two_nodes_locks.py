"""Two nodes and what forbids a write: once it is acknowledged on one, nothing is written on the other any more."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

pytestmark = pytest.mark.postgres
LOCKS = "providers/Microsoft.Authorization/locks"
WRITERS = 4
ROUNDS = 8
ATTEMPTS = 40
"""Requests of each writer after a lock was seen: none may get through."""


@pytest.fixture(scope="module")
def nodes(node: Callable[..., Any], postgres_server: Any) -> tuple[Any, Any]:
    database = postgres_server.create_database()
    first = node(database=database)
    second = node(database=database, like=first)
    first.arm().must("PUT", first.group("g"), {"location": "westeurope"})
    return first, second


@pytest.fixture
def writers(nodes: tuple[Any, Any]) -> Iterator[list[Any]]:
    """Connections of the second node."""
    yield [nodes[1].arm() for _ in range(WRITERS)]
    nodes[1].hang_up()


def test_a_lock_of_one_node_freezes_what_the_other_is_writing(nodes: tuple[Any, Any], writers: list[Any]) -> None:
    """They write without pause. Whatever had passed its checks when the lock came must not be written after it."""
    first, _ = nodes
    on_a = first.arm()
    identity = first.identity("g", "frozen")
    on_a.must("PUT", identity, {"location": "westeurope"})
    lock = f"{identity}/{LOCKS}/still?api-version=2020-05-01"

    def write(line: Any, locked: Event) -> tuple[int, int]:
        """How many were written in all, and how many requests that began after the lock was seen."""
        written = late = tried = 0
        while tried < ATTEMPTS:
            seen = locked.is_set()
            answer = line.call("PATCH", identity, {"tags": {"by": uuid.uuid4().hex}})
            assert answer.status in (200, 409), answer.body
            written += answer.status == 200
            late += seen and answer.status == 200
            tried += seen
        return written, late

    for _ in range(ROUNDS):
        locked = Event()
        with ThreadPoolExecutor(WRITERS) as pool:
            busy = [pool.submit(write, line, locked) for line in writers]
            before = on_a.must("GET", identity)["tags"]
            while on_a.must("GET", identity)["tags"] == before:
                assert not any(one.done() for one in busy)
            locked_at = on_a.must("PUT", lock, {"properties": {"level": "ReadOnly"}})["systemData"]["createdAt"]
            locked.set()
            ended = [one.result() for one in busy]
        # both are times of transactions, which are alone among the nodes
        assert on_a.must("GET", identity)["systemData"]["lastModifiedAt"] < locked_at
        assert [late for _, late in ended] == [0] * WRITERS
        assert sum(written for written, _ in ended)
        on_a.must("DELETE", lock)


def test_nothing_is_left_under_a_lock_that_came_before_a_group_went(nodes: tuple[Any, Any]) -> None:
    """A lock and the deletion of the group around it, at once, on two nodes: one of them is refused."""
    first, second = nodes
    on_a, on_b = first.arm(), second.arm()
    for n in range(ROUNDS):
        group = first.group(f"going-{n}")
        on_a.must("PUT", group, {"location": "westeurope"})
        identity = first.identity(f"going-{n}", "inside")
        on_a.must("PUT", identity, {"location": "westeurope"})
        lock = f"{identity}/{LOCKS}/keep?api-version=2020-05-01"
        with ThreadPoolExecutor(2) as pool:
            locking = pool.submit(on_a.call, "PUT", lock, {"properties": {"level": "CanNotDelete"}})
            going = pool.submit(on_b.call, "DELETE", group)
            locked, gone = locking.result(), going.result()
        assert (locked.status, gone.status) in ((201, 409), (404, 202), (409, 202)), (locked.body, gone.body)
        if locked.status == 201:
            assert on_b.must("GET", identity)["name"] == "inside"
        else:
            assert on_a.settled(group, within=90).status == 404
    first.hang_up()
    second.hang_up()
