"""Requests whose very bytes were parsed before are not parsed again, and nothing else about them changes."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from keyfob.servers.connection import Connection
from keyfob.servers.edge import LONGEST_KNOWN, MOST_KNOWN, Door, Edge, Limits
from keyfob.servers.http import HttpServer
from keyfob.wire.http import Reply, Request

HOT = b"GET /hot HTTP/1.1\r\nHost: h\r\nMetadata: true\r\n\r\n"
OTHER = b"GET /hot?x HTTP/1.1\r\nHost: h\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /hot HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n\r\n\r\n"
GET = b"GET /hot HTTP/1.1\r\n"


def bound() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


class Wire(asyncio.Transport):
    """Takes down what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.half = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += b"" if self.closed else data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def can_write_eof(self) -> bool:
        return self.half

    def write_eof(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class House:
    """One listener, and what its hot function was asked."""

    def __init__(self, known: dict[bytes, Any] | None = None) -> None:
        self.asked: list[tuple[bytes, tuple[tuple[bytes, bytes], ...]]] = []
        self.cold = False
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhot"
        self.edge = Edge(Limits(), 0.0, b"Date: now\r\n", "", lambda: "id", lambda: None)
        self.door = Door(self.handler, self.hot, None, "", "http", {} if known is None else known)

    async def handler(self, request: Request) -> Reply:
        return Reply.text(f"slow {request.method} {request.path}")

    def hot(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes | None:
        self.asked.append((target, tuple(headers)))
        if self.cold or not target.startswith(b"/hot"):
            return None
        return self.answer

    def connect(self) -> tuple[Connection, Wire]:
        wire = Wire()
        connection = Connection(self.edge, self.door)
        connection.connection_made(wire)
        return connection, wire


class Never(dict[bytes, Any]):
    """Remembers nothing."""

    def get(self, key: bytes, default: Any = None) -> Any:
        return default


def test_the_second_time_it_is_known_on_every_connection() -> None:
    house = House()
    connection, wire = house.connect()
    connection.data_received(HOT)
    assert list(house.door.known) == [HOT]
    connection.data_received(HOT)
    another, other_wire = house.connect()
    another.data_received(HOT)
    answer = b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 3\r\n\r\nhot"
    assert wire.written == answer * 2
    assert other_wire.written == answer
    assert house.asked == [(b"/hot", ((b"host", b"h"), (b"metadata", b"true")))] * 3


async def test_when_hot_has_no_answer_any_more_it_takes_the_slow_way() -> None:
    house = House()
    connection, wire = house.connect()
    connection.data_received(HOT)
    house.cold = True
    wire.written = b""
    connection.data_received(HOT)
    await asyncio.gather(*house.edge.tasks)
    assert wire.written.endswith(b"slow GET /hot")


def test_the_end_of_a_request_is_not_taken_for_a_request() -> None:
    house = House()
    connection, wire = house.connect()
    connection.data_received(HOT)
    wire.written = b""
    connection.data_received(b"GE")
    connection.data_received(HOT)  # "GEGET /hot"
    assert wire.written.startswith(b"HTTP/1.1 400")


def test_only_whole_single_requests_without_credentials_are_remembered() -> None:
    for chunks in (
        [b"\r\n" + HOT + b"\r\n\r\n"],
        [HOT + HOT],
        [HOT + OTHER],
        [HOT[:10], HOT[10:]],
        [HOT[:-2], HOT[-2:]],
        [b"G", HOT[1:]],
        [HOT.replace(b"Metadata", b"AUTHORIZATION")],
        [OTHER.replace(b"?x", b"?" + b"x" * LONGEST_KNOWN)],
        [OTHER.replace(b"Host", b"Connection: close\r\nHost")],
        [SLOW],
        [POST],
    ):
        house = House()
        connection, _ = house.connect()
        if SLOW in chunks or POST in chunks or b"close" in chunks[0]:
            connection._busy = True  # nobody to serve them here
        for chunk in chunks:
            connection.data_received(chunk)
        assert house.door.known == {}, chunks


async def test_not_many_are_remembered_and_others_get_their_turn() -> None:
    house = House()
    server = HttpServer()
    listening = await server.listen(sock=bound(), handler=house.handler, hot=house.hot)
    door = listening.protocol().door
    connection = Connection(server.edge, door)
    connection.connection_made(Wire())
    for number in range(5 * MOST_KNOWN):
        connection.data_received(OTHER.replace(b"x", b"%d" % number))
    assert len(door.known) == MOST_KNOWN
    assert len(house.asked) == 5 * MOST_KNOWN
    server.sweep()
    connection.data_received(HOT)
    assert list(door.known) == [HOT]
    server.sweep()
    assert list(door.known) == [HOT]
    await server.shutdown(0.0)


async def test_the_date_moves_on_and_the_answer_changes() -> None:
    house = House()
    connection, wire = house.connect()
    for _ in range(3):
        connection.data_received(HOT)
    house.edge.date = b"Date: then\r\n"
    wire.written = b""
    connection.data_received(HOT)
    assert b"Date: then\r\n" in wire.written
    house.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"
    wire.written = b""
    connection.data_received(HOT)
    assert wire.written.endswith(b"new")


async def test_behind_a_slow_request_a_known_one_waits() -> None:
    house = House()
    connection, wire = house.connect()
    connection.data_received(HOT)
    wire.written = b""
    connection.data_received(SLOW)
    connection.data_received(HOT)
    assert wire.written == b""
    while house.edge.tasks:
        await asyncio.gather(*house.edge.tasks)
    bodies = [wire.written.find(word) for word in (b"slow GET /slow", b"slow GET /hot")]
    assert -1 not in bodies
    assert bodies == sorted(bodies)


def test_a_connection_that_ends_answers_nothing_more() -> None:
    house = House()
    connection, wire = house.connect()
    connection.data_received(HOT)
    wire.written = b""
    connection.finish()
    connection.data_received(HOT)
    assert wire.written == b""


async def test_a_client_that_does_not_read_gets_no_more_until_it_does() -> None:
    house = House()
    connection, wire = house.connect()
    connection.data_received(HOT)
    wire.written = b""
    connection.pause_writing()
    connection.data_received(HOT)
    assert wire.written == b""
    connection.resume_writing()
    await asyncio.gather(*house.edge.tasks)
    assert wire.written.endswith(b"slow GET /hot")


async def test_after_a_refusal_nothing_is_answered() -> None:
    house = House()
    connection, wire = house.connect()
    wire.half = True
    connection.data_received(HOT)
    connection.data_received(SLOW.replace(b"Host: h", b"Host: a b"))  # found to be malformed outside the parser
    await asyncio.gather(*house.edge.tasks)
    assert b"HTTP/1.1 400" in wire.written
    wire.written = b""
    connection.data_received(HOT)
    assert wire.written == b""


PIECES = (
    HOT,
    OTHER,
    SLOW,
    POST,
    HOT + OTHER,
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"GE",
    b"T /hot HTTP/1.1\r\n",
    b"Host: h\r\n\r\n",
)
PIECES += (
    b"Host: h\r\n\r\n",
    GET,
    GET + b"Host: h\r\n",
    HOT[:-1],
    HOT[:-2],
    HOT[:-4],
    POST[:-4],
    POST[:-2],
    HOT + b"GE",
    b"x: y\r\n\r\n",
)


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(PIECES), max_size=12))
@example([HOT, b"GE", HOT])
@example([HOT, HOT[:-2], b"\r\n", HOT])
@example([HOT, POST[:-4], HOT, HOT])
@example([HOT, b"\r\n\r\n", HOT, b"\r\n", HOT])
async def test_remembering_changes_nothing_that_can_be_seen(chunks: list[bytes]) -> None:
    seen = []
    for house in (House(), House(Never())):
        connection, wire = house.connect()
        for chunk in chunks:
            if not wire.closed:
                connection.data_received(chunk)
            while house.edge.tasks:
                await asyncio.gather(*house.edge.tasks)
        seen.append((wire.written, wire.closed, house.asked, connection._phase))
    assert seen[0] == seen[1]
