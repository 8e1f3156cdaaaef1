"""The host's own HTTP server: bodies by length and in chunks, clients that wait for leave, any method."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.hosts.app_service.functions.embedded import web
from keyfob.hosts.app_service.functions.embedded.web import Answer, Asked, BadBody, read_body, serve


class Echo:
    """In a Site's place."""

    def answer(self, asked: Asked) -> Answer:
        return Answer(200, f"{asked.method} {len(asked.body)} {asked.body[:20]!r}".encode())


@pytest.fixture
def port() -> Iterator[int]:
    site: Any = Echo()
    server = serve(site, 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def exchange(port: int, *parts: bytes) -> bytes:
    """All that comes until the server closes; each part waits until something came for the one before."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        got = b""
        for number, part in enumerate(parts):
            if number:
                got += connection.recv(65536)
            connection.sendall(part)
        while more := connection.recv(65536):
            got += more
    return got


HEAD = b"Host: x\r\nConnection: close\r\n"


def test_any_method(port: int) -> None:
    assert exchange(port, b"PROPFIND /api/x HTTP/1.1\r\n" + HEAD + b"\r\n").endswith(b"PROPFIND 0 b''")


def test_an_answer_to_head_has_a_length_and_no_body(port: int) -> None:
    got = exchange(port, b"HEAD / HTTP/1.1\r\n" + HEAD + b"\r\n")
    assert b"Content-Length: 10\r\n" in got
    assert got.endswith(b"\r\n\r\n")


def test_chunks(port: int) -> None:
    body = b"3\r\nabc\r\n5;x=y\r\ndefgh\r\n0\r\nTrailer: t\r\n\r\n"
    got = exchange(port, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HEAD + b"\r\n" + body)
    assert got.endswith(b"POST 8 b'abcdefgh'")


def test_a_client_that_expects_leave_gets_it(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n" + HEAD + b"\r\n"
    got = exchange(port, head, b"abc")
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert got.endswith(b"POST 3 b'abc'")


def test_a_large_body_that_comes_slowly(port: int) -> None:
    size = 3_000_000
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"PUT / HTTP/1.1\r\nContent-Length: %d\r\n" % size + HEAD + b"\r\n")
        for _ in range(3):
            connection.sendall(b"a" * (size // 3))
        got = b""
        while more := connection.recv(65536):
            got += more
    assert b"PUT 3000000" in got


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"Content-Length: -1", 400),
        (b"Content-Length: x", 400),
        (b"Content-Length: 1\r\nContent-Length: 2", 400),
        (b"Content-Length: 99999999999", 413),
        (b"Content-Length: 9999999999999999999", 413),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 1", 400),
        (b"Transfer-Encoding: gzip", 501),
        (b"Transfer-Encoding: gzip, chunked", 501),
    ],
)
def test_bodies_that_are_refused(port: int, fields: bytes, status: int) -> None:
    got = exchange(port, b"POST / HTTP/1.1\r\n" + fields + b"\r\n" + HEAD + b"\r\n")
    assert got.startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("body", [b"", b"x", b"-1\r\n", b"5\r\nabc", b"3\r\nabcdef\r\n0\r\n\r\n", b"0\r\n", b"1_0\r\n"])
def test_chunks_that_are_none(body: bytes) -> None:
    with pytest.raises(BadBody) as bad:
        read_body(["chunked"], None, io.BytesIO(body))
    assert bad.value.status == 400


def test_chunks_are_bounded_too(monkeypatch: Any) -> None:
    monkeypatch.setattr(web, "LARGEST", 4)
    with pytest.raises(BadBody) as bad:
        read_body(["chunked"], None, io.BytesIO(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"))
    assert bad.value.status == 413


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
def test_any_chunks_are_put_together(parts: list[bytes]) -> None:
    sent = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    assert read_body(["chunked"], None, io.BytesIO(sent)) == b"".join(parts)
