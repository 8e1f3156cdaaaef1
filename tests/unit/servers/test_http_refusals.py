"""What the edge does not let in: ambiguous, oversized, slow, rude."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import ssl
from typing import Any

import pytest

from keyfob.servers.http import Limits
from keyfob.wire.http import Reply, Request

GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


class Counting:
    """A handler that remembers what reached it."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def __call__(self, request: Request) -> Reply:
        self.paths.append(request.path)
        return Reply.text("in")


MALFORMED = {
    "no such method": b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS to a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no such version": b"GET / HTTP/1.2\r\nHost: x\r\n\r\n",
    "relative target": b"GET foo HTTP/1.1\r\nHost: x\r\n\r\n",
    "space in target": b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "control in target": b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
    "raw bytes in target": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
    "fragment": b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n",
    "asterisk": b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    "other scheme": b"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "userinfo": b"GET http://a@x/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
    "bare line feed": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\nY: b\r\n\r\n",
    "line feeds only": b"GET / HTTP/1.1\nHost: x\n\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: x\r\nX\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\nHost: x\r\nX : a\r\n\r\n",
    "nameless header": b"GET / HTTP/1.1\r\nHost: x\r\n: a\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
    "Host is a path": b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n",
    "Host with a space": b"GET / HTTP/1.1\r\nHost: x y\r\n\r\n",
    "Host with userinfo": b"GET / HTTP/1.1\r\nHost: a@x\r\n\r\n",
}

SMUGGLING = {
    "CL and TE": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "TE and CL": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n",
    "the same length twice": b"Content-Length: 5\r\nContent-Length: 5\r\n",
    "a list of lengths": b"Content-Length: 5, 5\r\n",
    "signed length": b"Content-Length: +5\r\n",
    "negative length": b"Content-Length: -1\r\n",
    "hexadecimal length": b"Content-Length: 0x5\r\n",
    "empty length": b"Content-Length:\r\n",
    "length beyond 64 bits": b"Content-Length: 99999999999999999999999\r\n",
    "space before the colon": b"Transfer-Encoding : chunked\r\n",
    "vertical tab": b"Transfer-Encoding: \x0bchunked\r\n",
    "unknown coding": b"Transfer-Encoding: xchunked\r\n",
    "gzip": b"Transfer-Encoding: gzip\r\n",
    "gzip, chunked": b"Transfer-Encoding: gzip, chunked\r\n",
    "chunked, gzip": b"Transfer-Encoding: chunked, gzip\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "chunked with parameters": b"Transfer-Encoding: chunked;q=1\r\n",
    "empty coding": b"Transfer-Encoding:\r\n",
}

BAD_CHUNKS = {
    "size is not hexadecimal": b"zz\r\nhello\r\n0\r\n\r\n",
    "size is signed": b"+5\r\nhello\r\n0\r\n\r\n",
    "data longer than the size": b"5\r\nhelloXX\r\n0\r\n\r\n",
    "line feeds only": b"5\nhello\n0\n\n",
    "size beyond 64 bits": b"ffffffffffffffffff\r\nhello",
}


@pytest.mark.parametrize("message", MALFORMED.values(), ids=MALFORMED)
def test_malformed_requests_are_refused_and_the_connection_ends(edge: Any, message: bytes) -> None:
    handler = Counting()
    peer = edge.peer(edge.listen(handler))
    status, headers, body = peer.send(message).reply()
    assert status == 400
    assert json.loads(body)["error"]["code"] == "BadRequest"
    assert headers["connection"] == "close"
    assert peer.ended()
    assert handler.paths == []


@pytest.mark.parametrize("framing", SMUGGLING.values(), ids=SMUGGLING)
def test_ambiguous_framing_is_refused(edge: Any, framing: bytes) -> None:
    handler = Counting()
    peer = edge.peer(edge.listen(handler))
    peer.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n5\r\nhello\r\n0\r\n\r\n" + GET)
    assert peer.reply()[0] == 400
    assert peer.ended()
    assert handler.paths == []


@pytest.mark.parametrize("chunks", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_bad_chunks_are_refused(edge: Any, chunks: bytes) -> None:
    handler = Counting()
    peer = edge.peer(edge.listen(handler))
    peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + GET)
    assert peer.reply()[0] in (400, 413)
    assert peer.ended()
    assert handler.paths == []


def test_chunked_is_not_http_10(edge: Any) -> None:
    peer = edge.peer(edge.listen())
    peer.send(b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert peer.reply()[0] == 400
    assert peer.ended()


def test_http_2_as_a_version_is_a_505(edge: Any) -> None:
    peer = edge.peer(edge.listen())
    assert peer.send(b"GET / HTTP/2.0\r\nHost: x\r\n\r\n").reply()[0] == 505
    assert peer.ended()


def test_what_came_before_the_malformed_request_is_answered_first(edge: Any) -> None:
    peer = edge.peer(edge.listen(Counting()))
    peer.send(GET + b"nonsense\r\n\r\n" + GET)
    assert peer.reply()[2] == b"in"
    assert peer.reply()[0] == 400
    assert peer.ended()


# --- sizes ---


@pytest.mark.parametrize("pieces", [1, 40])
def test_a_head_that_is_too_large(edge: Any, pieces: int) -> None:
    handler = Counting()
    peer = edge.peer(edge.listen(handler, limits=Limits(head=4096)))
    peer.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ")
    for _ in range(pieces):
        peer.send(b"a" * (4200 // pieces))
    peer.send(b"\r\n\r\n")
    status, headers, _ = peer.reply()
    assert (status, headers["connection"]) == (431, "close")
    assert peer.ended()
    assert handler.paths == []


def test_a_head_just_small_enough_even_before_a_large_body(edge: Any) -> None:
    peer = edge.peer(edge.listen(limits=Limits(head=4096)))
    peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 4000 + b"\r\nContent-Length: 9000\r\n\r\n" + b"b" * 9000)
    assert peer.reply()[0] == 200


def test_a_target_that_is_too_large(edge: Any) -> None:
    peer = edge.peer(edge.listen(limits=Limits(head=4096)))
    assert peer.send(b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n").reply()[0] == 431


def test_too_many_headers(edge: Any) -> None:
    listening = edge.listen(limits=Limits(fields=10))
    few = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 9 + b"\r\n"
    assert edge.peer(listening).send(few).reply()[0] == 200
    many = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 10 + b"\r\n"
    assert edge.peer(listening).send(many).reply()[0] == 431


@pytest.mark.parametrize("expects", [b"", b"Expect: 100-continue\r\n"])
def test_a_length_that_is_too_large_is_refused_before_the_body(edge: Any, expects: bytes) -> None:
    handler = Counting()
    peer = edge.peer(edge.listen(handler, limits=Limits(body=10)))
    peer.send(b"PUT / HTTP/1.1\r\nHost: x\r\n" + expects + b"Content-Length: 11\r\n\r\n")
    status, headers, body = peer.reply()
    assert (status, headers["connection"]) == (413, "close")
    assert json.loads(body)["error"]["code"] == "RequestEntityTooLarge"
    assert handler.paths == []


def test_a_chunked_body_that_grows_too_large(edge: Any) -> None:
    peer = edge.peer(edge.listen(limits=Limits(body=10)))
    peer.send(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    peer.send(b"6\r\nsixsix\r\n")
    peer.send(b"6\r\nsixsix\r\n0\r\n\r\n")
    assert peer.reply()[0] == 413


@pytest.mark.parametrize("secure", [False, True])
def test_a_client_that_sends_everything_first_still_reads_the_413(
    edge: Any, secure: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    listening = edge.listen(limits=Limits(body=1000), tls=server_tls if secure else None)
    peer = edge.peer(listening, client_tls if secure else None, "localhost")
    size = 8 * 1024 * 1024
    try:
        peer.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    except OSError:
        if not secure:  # the loop's TLS stops reading once it closes; the answer is there all the same
            raise
    assert peer.reply()[0] == 413


def test_an_unknown_expectation(edge: Any) -> None:
    peer = edge.peer(edge.listen())
    peer.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: miracles\r\n\r\n")
    assert peer.reply()[0] == 417


# --- times: the clock is moved, nobody waits ---


def settled(edge: Any, count: int = 1) -> None:
    edge.until(lambda: len(edge.servers[0].edge.connections) == count)


def test_an_idle_connection_is_closed_after_its_time(edge: Any) -> None:
    peer = edge.peer(edge.listen(limits=Limits(idle=60)))
    assert peer.send(GET).reply()[0] == 200
    edge.later(59)
    assert peer.send(GET).reply()[0] == 200
    edge.later(59)
    assert peer.send(GET).reply()[0] == 200
    edge.later(61)
    assert peer.ended()


def test_a_connection_that_never_asks_is_closed(edge: Any) -> None:
    peer = edge.peer(edge.listen(limits=Limits(idle=60)))
    settled(edge)
    edge.later(61)
    assert peer.ended()


def test_a_head_that_drips_in_is_cut_however_lively_it_is(edge: Any) -> None:
    peer = edge.peer(edge.listen(limits=Limits(head_time=20)))
    peer.send(b"GET / HTTP/1.1\r\n")
    settled(edge)
    connection = next(iter(edge.servers[0].edge.connections))
    edge.until(lambda: connection._phase == 1)
    for i in range(4):
        peer.send(b"X-%d: y\r\n" % i)
        edge.later(4.9)
    edge.later(1)
    status, headers, _ = peer.reply()
    assert (status, headers["connection"]) == (408, "close")
    assert peer.ended()


def test_a_body_that_stalls_is_cut_and_one_that_flows_is_not(edge: Any) -> None:
    peer = edge.peer(edge.listen(limits=Limits(body_time=30)))
    peer.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
    settled(edge)
    connection = next(iter(edge.servers[0].edge.connections))
    for i in range(4):
        peer.send(b"x")
        edge.until(lambda i=i: connection._body_size == i + 1)
        edge.later(29)
    edge.later(2)
    assert peer.reply()[0] == 408


def test_a_handler_may_take_its_time(edge: Any) -> None:
    gate = asyncio.Event()

    async def handler(request: Request) -> Reply:
        await gate.wait()
        return Reply.text("done")

    peer = edge.peer(edge.listen(handler))
    peer.send(GET)
    edge.until(lambda: len(edge.servers[0].edge.tasks) == 1)
    edge.later(100_000)
    edge.call(gate.set)
    assert peer.reply()[2] == b"done"


def test_a_refused_client_that_goes_on_sending_is_cut(edge: Any) -> None:
    peer = edge.peer(edge.listen(limits=Limits(linger=2)))
    assert peer.send(b"nonsense\r\n\r\n").reply()[0] == 400
    peer.send(b"more")
    settled(edge)
    edge.later(3)
    settled(edge, 0)


def test_a_client_that_does_not_read_stops_being_served_and_is_cut(edge: Any) -> None:
    answered: list[int] = []
    big = b"x" * 100_000

    def hot(target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes | None:
        answered.append(1)
        return b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + big

    async def handler(request: Request) -> Reply:
        answered.append(1)
        return Reply(200, big)

    peer = edge.peer(edge.listen(handler, hot=hot, limits=Limits(write_time=60)))
    peer.send(GET * 2000)  # 200 MB of answers, if anybody were to read them
    settled(edge)
    connection = next(iter(edge.servers[0].edge.connections))
    edge.until(lambda: connection._blocked)
    assert len(answered) < 500
    edge.later(61)
    settled(edge, 0)


def test_a_client_that_reads_late_gets_everything_in_order(edge: Any) -> None:
    async def handler(request: Request) -> Reply:
        return Reply(200, b"%06d" % int(request.query["n"]) * 20_000)

    peer = edge.peer(edge.listen(handler))
    settled(edge)
    connection = next(iter(edge.servers[0].edge.connections))
    peer.send(b"".join(b"GET /?n=%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(100)))
    edge.until(lambda: connection._blocked)
    for n in range(100):
        assert peer.reply()[2] == b"%06d" % n * 20_000


def test_the_sweep_sleeps_without_connections(edge: Any) -> None:
    peer = edge.peer(edge.listen())
    server = edge.servers[0]
    assert peer.send(GET).reply()[0] == 200
    assert server._timer is not None
    peer.close()
    settled(edge, 0)
    edge.call(server._tick)
    assert server._timer is None


# --- clients that go away ---


def test_a_request_is_finished_even_if_its_client_is_gone(edge: Any) -> None:
    gate = asyncio.Event()
    finished: list[str] = []

    async def handler(request: Request) -> Reply:
        await gate.wait()
        finished.append(request.path)
        return Reply.text("to nobody")

    peer = edge.peer(edge.listen(handler))
    server = edge.servers[0]
    peer.send(b"PUT /stored HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n")
    edge.until(lambda: len(server.edge.tasks) == 1)
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # a reset, not a farewell
    peer.close()
    # reading is held, so the loss is noticed at the write at the latest
    edge.call(gate.set)
    edge.until(lambda: not server.edge.tasks and not server.edge.connections)
    assert finished[0] == "/stored"


def test_a_client_gone_in_the_middle_of_a_request_leaves_nothing(edge: Any) -> None:
    handler = Counting()
    listening = edge.listen(handler)
    for part in (b"GET / HT", b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"):
        edge.peer(listening).send(part).close()
    edge.until(lambda: not edge.servers[0].edge.connections)
    assert handler.paths == []


def test_noise_never_upsets_the_server(edge: Any) -> None:
    """Random mutations of good traffic; the fixture fails the test if anything reached the loop's error handler."""
    chance = random.Random(20181128)
    good = (
        b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
        b"Expect: 100-continue\r\n\r\n5\r\nhello\r\n0\r\n\r\nCONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n" + GET
    )
    listening = edge.listen(hot=lambda target, headers: None)
    for _ in range(150):
        noisy = bytearray(good)
        for _ in range(chance.randrange(6)):
            noisy[chance.randrange(len(noisy))] = chance.randrange(256)
        cut = chance.randrange(len(noisy))
        peer = edge.peer(listening)
        try:
            peer.send(bytes(noisy[:cut])).send(bytes(noisy[cut:]))
        except OSError:
            pass
        finally:
            peer.close()
    assert edge.peer(listening).send(GET).reply()[0] == 200
    edge.until(lambda: not edge.servers[0].edge.tasks)


# --- the end ---


def test_shutdown_lets_work_finish_and_closes_the_rest(edge: Any) -> None:
    gate = asyncio.Event()

    async def handler(request: Request) -> Reply:
        if request.path == "/slow":
            await gate.wait()
        return Reply.text("done")

    listening = edge.listen(handler)
    server = edge.servers[0]
    address = listening.address
    idle, busy = edge.peer(address), edge.peer(address)
    assert idle.send(GET).reply()[0] == 200
    busy.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    edge.until(lambda: len(server.edge.tasks) == 1)
    ending = asyncio.run_coroutine_threadsafe(server.shutdown(5), edge.loop)
    assert idle.ended()
    with pytest.raises(OSError):
        edge.peer(address).send(GET).reply()
    edge.call(gate.set)
    _, headers, body = busy.reply()
    assert (body, headers["connection"]) == (b"done", "close")
    assert busy.ended()
    ending.result(5)


def test_shutdown_without_grace_cuts(edge: Any) -> None:
    cut: list[str] = []

    async def handler(request: Request) -> Reply:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cut.append(request.path)
            raise
        return Reply.text("never")

    peer = edge.peer(edge.listen(handler))
    server = edge.servers[0]
    peer.send(GET)
    edge.until(lambda: len(server.edge.tasks) == 1)
    edge.run(server.shutdown(0))
    assert peer.ended()
    assert cut == ["/"]
    assert not server.edge.tasks


def test_closing_one_listener_leaves_the_others(edge: Any) -> None:
    server = edge.server()
    first = edge.listen(server=server, listener="vm-1")
    second = edge.listen(server=server, listener="vm-2")
    gone, stays = edge.peer(first), edge.peer(second)
    assert json.loads(gone.send(GET).reply()[2])["listener"] == "vm-1"
    assert json.loads(stays.send(GET).reply()[2])["listener"] == "vm-2"
    edge.call(first.close)
    edge.call(first.close)
    assert gone.ended()
    assert stays.send(GET).reply()[0] == 200
    edge.listen(server=server, listener="vm-3")
    assert [each.listener for each in server._listening] == ["vm-2", "vm-3"]
