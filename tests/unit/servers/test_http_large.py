"""Bodies that are too large for memory: where a door takes them, they come as a file."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from keyfob.servers.http import HttpServer, Limits
from keyfob.wire.http import Reply, Request

LIMITS = Limits(body=1_000, large=50_000, files=1)


class Place:
    def __init__(self) -> None:
        self.server = HttpServer(limits=LIMITS)
        self.files: list[object] = []
        self.go = asyncio.Event()
        self.go.set()

    async def answer(self, request: Request) -> Reply:
        await self.go.wait()
        self.files.append(request.file)
        body = request.file.read() if request.file is not None else request.body
        return Reply.json({"size": len(body), "file": request.file is not None, "rest": len(request.body)})

    async def start(self) -> None:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        listening = await self.server.listen(
            sock=sock, handler=self.answer, large=lambda target, fields: target == b"/large"
        )
        self.address = listening.address

    async def send(self, path: str, size: int, *, chunked: bool = False) -> bytes:
        reader, writer = await asyncio.open_connection(*self.address)
        length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
        writer.write(b"POST %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%b\r\n\r\n" % (path.encode(), length))
        data = b"x" * size
        for part in [data[at : at + 900] for at in range(0, size, 900)]:
            writer.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
        if chunked:
            writer.write(b"0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    made = Place()
    await made.start()
    yield made
    await made.server.shutdown(1.0)


@pytest.mark.parametrize("chunked", [False, True])
async def test_what_is_above_the_limit_comes_as_a_file_that_is_closed_with_the_answer(
    place: Place, chunked: bool
) -> None:
    answer = await place.send("/large", 40_000, chunked=chunked)
    assert b'{"size":40000,"file":true,"rest":0}' in answer
    assert place.files[0].closed  # type: ignore[attr-defined]
    assert b'{"size":900,"file":false,"rest":900}' in await place.send("/large", 900, chunked=chunked)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("path", "size"), [("/other", 2_000), ("/large", 60_000)])
async def test_other_requests_and_still_larger_bodies_are_refused(
    place: Place, path: str, size: int, chunked: bool
) -> None:
    assert b" 413 " in (await place.send(path, size, chunked=chunked)).split(b"\r\n")[0]
    assert all(file.closed for file in place.server.edge.files) or not place.files


async def test_only_so_many_arrive_at_a_time(place: Place) -> None:
    place.go.clear()
    first = asyncio.create_task(place.send("/large", 40_000))
    while not any(not file.closed for file in place.server.edge.files):
        await asyncio.sleep(0.01)
    assert b" 503 " in (await place.send("/large", 40_000)).split(b"\r\n")[0]
    place.go.set()
    assert b'"size":40000' in await first
    assert b'"size":40000' in await place.send("/large", 40_000)
