"""Requests into a sandbox: an ordinary server on loopback stands for the program."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from keyfob.hosts.workloads.forward import BadGateway, Dial, collected, forward
from keyfob.wire.http import Fields, Reply, Request

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[[Answer], Awaitable[Dial]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    servers: list[asyncio.Server] = []

    async def begin(answer: Answer) -> Dial:
        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await answer(reader, writer)
            writer.close()

        server = await asyncio.start_server(once, "127.0.0.1", 0)
        servers.append(server)
        address = server.sockets[0].getsockname()

        async def dial() -> socket.socket:
            sock = socket.socket()
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, address)
            return sock

        return dial

    yield begin
    for server in servers:
        server.close()


def saying(*parts: bytes, heard: list[bytes] | None = None) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if heard is not None:
            heard.append(head)
        for part in parts:
            writer.write(part)
            await writer.drain()

    return answer


def asking(method: str = "GET", **changes: object) -> Request:
    fields = {
        "method": method,
        "path": "/a b",
        "raw_path": "/a%20b/",
        "raw_query": "x&y=%2F",
        "query": Fields([("x", ""), ("y", "/")]),
        "headers": Fields(
            [
                ("host", "site.azurewebsites.net"),
                ("cookie", "a=1"),
                ("connection", "close"),
                ("x-forwarded-for", "9.9.9.9"),
            ]
        ),
        "host": "site.azurewebsites.net",
        "peer": "127.0.0.1",
        **changes,
    }
    return Request(**fields)  # type: ignore[arg-type]


async def body(reply: Reply) -> bytes:
    return reply.body if reply.stream is None else b"".join([part async for part in reply.stream])


async def test_the_program_sees_the_public_name_and_the_target_as_sent(serve: Serve) -> None:
    heard: list[bytes] = []
    dial = await serve(saying(b"HTTP/1.1 201 Created\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 2\r\n\r\nok", heard=heard))
    reply = await forward(asking(), dial)
    assert (reply.status, await body(reply)) == (201, b"ok")
    assert reply.headers == (("X-A", "1"), ("X-A", "2"))
    lines = heard[0].decode().split("\r\n")
    assert lines[0] == "GET /a%20b/?x&y=%2F HTTP/1.1"
    assert "Host: site.azurewebsites.net" in lines
    assert "cookie: a=1" in lines
    assert "X-Forwarded-For: 127.0.0.1" in lines
    assert "X-Forwarded-Proto: https" in lines
    assert not any("9.9.9.9" in line for line in lines), "whoever asks cannot say where from"


async def test_a_body_goes_in(serve: Serve) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Content-Length: 4\r\n" in head
        sent = await reader.readexactly(4)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + sent)

    assert (await forward(asking("POST", body=b"\x00\xffab"), await serve(answer))).body == b"\x00\xffab"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nabcde",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
    ],
)
async def test_every_framing(serve: Serve, answer: bytes) -> None:
    reply = await forward(asking(), await serve(saying(answer)))
    assert (reply.status, await body(reply)) == (200, b"abcde")
    assert reply.headers == ()


async def test_a_large_answer_streams(serve: Serve) -> None:
    piece = b"x" * 100_000
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    reply = await forward(asking(), await serve(saying(head, *[piece] * 10)))
    assert reply.stream is not None
    assert len(await body(reply)) == 1_000_000


async def test_head_and_bodiless_statuses(serve: Serve) -> None:
    reply = await forward(asking("HEAD"), await serve(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n")))
    assert (reply.body, reply.headers) == (b"", (("Content-Length", "77"),))
    assert (await forward(asking(), await serve(saying(b"HTTP/1.1 204 No Content\r\n\r\n")))).status == 204


@pytest.mark.parametrize("answer", [b"", b"hello there\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 80_000])
async def test_what_is_no_answer_is_a_bad_gateway(serve: Serve, answer: bytes) -> None:
    with pytest.raises(BadGateway):
        await forward(asking(), await serve(saying(answer)))


async def test_a_program_that_says_nothing(serve: Serve) -> None:
    gate = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()

    with pytest.raises(BadGateway, match="did not answer"):
        await forward(asking(), await serve(silent), patience=0.01)
    gate.set()


async def test_an_answer_that_breaks_off_is_no_whole_one(serve: Serve) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\nabc"
    reply = await forward(asking(), await serve(saying(head)))
    with pytest.raises(ConnectionResetError):
        await body(reply)


async def test_nobody_listens() -> None:
    async def dial() -> socket.socket:
        raise ConnectionRefusedError("nobody")

    with pytest.raises(ConnectionRefusedError):
        await forward(asking(), dial)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc",
    ],
)
async def test_an_answer_that_is_broken_off_or_becomes_something_else(serve: Serve, answer: bytes) -> None:
    dial = await serve(saying(answer))
    with pytest.raises(BadGateway):
        await forward(asking(), dial)


async def test_a_body_that_never_ends_is_not_waited_for(serve: Serve) -> None:
    done = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await done.wait()

    dial = await serve(answer)
    with pytest.raises(BadGateway):
        await asyncio.wait_for(forward(asking(), dial, patience=0.1), 60)
    done.set()


async def test_as_much_is_collected_as_may_be(serve: Serve) -> None:
    head = b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n"
    reply = await collected(await forward(asking(), await serve(saying(head, b"abc"))), 3)
    assert (reply.body, reply.stream, reply.headers) == (b"abc", None, (("X-A", "b"),))
    with pytest.raises(BadGateway, match="too large"):
        await collected(await forward(asking(), await serve(saying(head, b"abcd"))), 3)
