"""Bodies that are still being made when their head is sent."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import AsyncGenerator
from typing import Any

from keyfob.wire.http import Reply, Request


async def counting(count: int, ended: threading.Event | None = None) -> AsyncGenerator[bytes, None]:
    try:
        for number in range(count):
            yield b"%d\n" % number
            await asyncio.sleep(0)
    finally:
        if ended is not None:
            ended.set()


def streaming(parts: Any) -> Any:
    async def handler(request: Request) -> Reply:
        return Reply(200, stream=parts(), content_type="text/plain")

    return handler


def test_a_standard_client_reads_it_and_keeps_its_connection(edge: Any) -> None:
    host, port = edge.listen(streaming(lambda: counting(3))).address
    client = http.client.HTTPConnection(host, port, timeout=60)
    for _ in range(2):
        client.request("GET", "/")
        reply = client.getresponse()
        assert reply.getheader("Transfer-Encoding") == "chunked"
        assert reply.getheader("Content-Length") is None
        assert reply.read() == b"0\n1\n2\n"
    client.close()


def test_http_10_reads_to_the_end_of_the_connection(edge: Any) -> None:
    peer = edge.peer(edge.listen(streaming(lambda: counting(2))))
    peer.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    status, headers, _ = peer.reply()
    assert (status, headers.get("transfer-encoding"), headers["connection"]) == (200, None, "close")
    while b"1\n" not in peer.held:
        peer.held += peer.sock.recv(100)
    assert peer.held == b"0\n1\n"
    assert peer.sock.recv(1) == b""


def test_the_first_part_is_there_before_the_last_is_made(edge: Any) -> None:
    gate = asyncio.Event()

    async def parts() -> AsyncGenerator[bytes, None]:
        yield b"early"
        await gate.wait()
        yield b"late"

    peer = edge.peer(edge.listen(streaming(parts)))
    peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").reply()
    while b"early" not in peer.held:
        peer.held += peer.sock.recv(100)
    assert b"late" not in peer.held
    edge.call(gate.set)
    while b"0\r\n\r\n" not in peer.held:
        peer.held += peer.sock.recv(100)
    assert peer.held == b"5\r\nearly\r\n4\r\nlate\r\n0\r\n\r\n"


def test_a_reader_that_goes_ends_the_making(edge: Any) -> None:
    ended = threading.Event()

    async def parts() -> AsyncGenerator[bytes, None]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            ended.set()

    peer = edge.peer(edge.listen(streaming(parts)))
    peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").reply()
    peer.sock.close()
    assert ended.wait(60)


def test_no_faster_than_the_client_reads(edge: Any) -> None:
    made: list[int] = []

    async def parts() -> AsyncGenerator[bytes, None]:
        for number in range(400):
            made.append(number)
            yield b"x" * 100_000

    peer = edge.peer(edge.listen(streaming(parts)))
    peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").reply()
    assert len(made) < 400, "40 MB fit into no socket's buffer"
    while not peer.held.endswith(b"0\r\n\r\n"):
        peer.held = peer.held[-5:] + peer.sock.recv(1 << 20)
    assert len(made) == 400


def test_head_gets_the_head(edge: Any) -> None:
    ended = threading.Event()
    peer = edge.peer(edge.listen(streaming(lambda: counting(2, ended))))
    peer.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\nHEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    for _ in range(2):
        assert peer.reply(bodiless=True)[0] == 200
    assert peer.held == b""


def test_a_body_that_breaks_off_is_not_taken_for_whole(edge: Any, caplog: Any) -> None:
    async def parts() -> AsyncGenerator[bytes, None]:
        yield b"half"
        raise ValueError("gone")

    host, port = edge.listen(streaming(parts)).address
    client = http.client.HTTPConnection(host, port, timeout=60)
    client.request("GET", "/")
    try:
        client.getresponse().read()
    except (http.client.IncompleteRead, ConnectionError):
        pass
    else:
        raise AssertionError("it looked whole")
    finally:
        client.close()
    assert "a body broke off" in caplog.text
