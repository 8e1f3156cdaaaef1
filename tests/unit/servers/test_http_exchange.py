"""What goes in as a request and comes out as an answer."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from keyfob.servers.http import Limits
from keyfob.wire.http import Reply, Request

GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


def test_a_request_becomes_a_value(edge: Any) -> None:
    listening = edge.listen(listener="vm-1")
    peer = edge.peer(listening)
    peer.send(
        b"GET //a%20b//c?x=1&y=%2F&x= HTTP/1.1\r\nHost: Acct.Vault.azure.NET:8443\r\nX-Two: a\r\nx-two: b\r\n\r\n"
    )
    status, headers, body = peer.reply()
    seen = json.loads(body)
    assert status == 200
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert seen.pop("request_id")
    assert seen == {
        "method": "GET",
        "path": "/a b/c",
        "raw_path": "//a%20b//c",
        "query": [["x", "1"], ["y", "/"], ["x", ""]],
        "headers": [["host", "Acct.Vault.azure.NET:8443"], ["x-two", "a"], ["x-two", "b"]],
        "body": "",
        "host": "acct.vault.azure.net",
        "port": 8443,
        "scheme": "http",
        "listener": "vm-1",
        "peer": "127.0.0.1",
    }


def test_request_ids_are_guids_and_differ(edge: Any) -> None:
    peer = edge.peer(edge.listen())
    first = json.loads(peer.send(GET).reply()[2])["request_id"]
    second = json.loads(peer.send(GET).reply()[2])["request_id"]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}", first)
    assert first != second


def test_the_standard_client_keeps_its_connection(edge: Any) -> None:
    host, port = edge.listen().address
    client = http.client.HTTPConnection(host, port, timeout=10)
    for body in (b"", b"one", b"two" * 1000):
        client.request("POST", "/x", body=body)
        answer = client.getresponse()
        assert json.loads(answer.read())["body"].encode() == body
        assert not answer.will_close
    client.close()


def test_date_and_server_are_sent_and_date_follows_the_sweep(edge: Any) -> None:
    peer = edge.peer(edge.listen())
    _, headers, _ = peer.send(GET).reply()
    assert headers["date"] == "Wed, 28 Nov 2018 10:00:00 GMT"
    assert headers["server"] == "Keyfob"
    edge.later(2)
    assert peer.send(GET).reply()[1]["date"] == "Wed, 28 Nov 2018 10:00:02 GMT"


def test_what_a_handler_says_about_server_and_date_stays(edge: Any) -> None:
    async def handler(request: Request) -> Reply:
        return Reply(200, b"", (("Server", "IMDS/150.870.65.1854"), ("Date", "then")))

    _, headers, _ = edge.peer(edge.listen(handler)).send(GET).reply()
    assert headers["server"] == "IMDS/150.870.65.1854"
    assert headers["date"] == "then"


def test_a_handlers_framing_is_not_believed(edge: Any) -> None:
    async def handler(request: Request) -> Reply:
        return Reply(200, b"four", (("Content-Length", "2"), ("Transfer-Encoding", "chunked")))

    peer = edge.peer(edge.listen(handler))
    status, headers, body = peer.send(GET).reply()
    assert (status, body, headers["content-length"]) == (200, b"four", "4")
    assert "transfer-encoding" not in headers
    assert peer.send(GET).reply()[2] == b"four"


# --- bodies in ---


@pytest.mark.parametrize("split", [False, True])
def test_chunked_bodies(edge: Any, split: bool) -> None:
    peer = edge.peer(edge.listen())
    message = (
        b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
        b"5;ext=1\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nX-Trailer: t\r\n\r\n"
    )
    for piece in [message[i : i + 1] for i in range(len(message))] if split else [message]:
        peer.send(piece)
    seen = json.loads(peer.reply()[2])
    assert seen["body"] == "hello world"
    assert "x-trailer" not in dict(seen["headers"])
    assert json.loads(peer.send(GET).reply()[2])["body"] == ""


def test_a_body_as_large_as_allowed_comes_through_and_back(edge: Any) -> None:
    size = 16 * 1024 * 1024

    async def handler(request: Request) -> Reply:
        return Reply(200, request.body)

    peer = edge.peer(edge.listen(handler))
    blob = bytes(range(256)) * (size // 256)
    peer.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + blob)
    status, _, body = peer.reply()
    assert status == 200
    assert body == blob


def test_expect_100_continue_is_answered_before_the_body(edge: Any) -> None:
    peer = edge.peer(edge.listen())
    peer.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert peer.reply()[0] == 100
    status, _, body = peer.send(b"ok").reply()
    assert (status, json.loads(body)["body"]) == (200, "ok")


def test_a_pipelined_expectation_waits_for_its_turn(edge: Any) -> None:
    gate = asyncio.Event()

    async def handler(request: Request) -> Reply:
        if request.path == "/first":
            await gate.wait()
        return Reply(200, request.path.encode() + request.body)

    peer = edge.peer(edge.listen(handler))
    peer.send(b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n")
    peer.send(b"PUT /second HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    edge.call(gate.set)
    assert peer.reply()[2] == b"/first"
    assert peer.reply()[0] == 100
    assert peer.send(b"ok").reply()[2] == b"/secondok"


def test_http_10_clients_get_no_100(edge: Any) -> None:
    peer = edge.peer(edge.listen())
    peer.send(b"PUT / HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok")
    assert peer.reply()[0] == 200


# --- replies without a body ---


def test_head_has_the_length_and_not_the_body(edge: Any) -> None:
    async def handler(request: Request) -> Reply:
        return Reply.text("hello")

    peer = edge.peer(edge.listen(handler))
    status, headers, _ = peer.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").reply(bodiless=True)
    assert (status, headers["content-length"]) == (200, "5")
    assert peer.send(GET).reply()[2] == b"hello"  # nothing was left in between


def test_head_may_say_a_length_of_its_own(edge: Any) -> None:
    async def handler(request: Request) -> Reply:
        return Reply(200, b"", (("Content-Length", "4096"),))

    peer = edge.peer(edge.listen(handler))
    assert peer.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").reply(bodiless=True)[1]["content-length"] == "4096"
    assert peer.send(GET).reply()[1]["content-length"] == "0"


@pytest.mark.parametrize("status", [204, 304])
def test_bodiless_statuses(edge: Any, status: int) -> None:
    async def handler(request: Request) -> Reply:
        return Reply(status, b"must not be seen")

    peer = edge.peer(edge.listen(handler))
    for _ in range(2):
        seen, headers, _ = peer.send(GET).reply()
        assert seen == status
        assert "content-length" not in headers


# --- the connection's end ---


def test_connection_close_is_obeyed_and_said(edge: Any) -> None:
    peer = edge.peer(edge.listen())
    status, headers, _ = peer.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").reply()
    assert (status, headers["connection"]) == (200, "close")
    assert peer.ended()


def test_a_handler_may_close(edge: Any) -> None:
    async def handler(request: Request) -> Reply:
        return Reply(200, b"bye", (("Connection", "close"),))

    peer = edge.peer(edge.listen(handler))
    assert peer.send(GET).reply()[1]["connection"] == "close"
    assert peer.ended()


def test_http_10(edge: Any) -> None:
    listening = edge.listen()
    peer = edge.peer(listening)
    assert peer.send(b"GET / HTTP/1.0\r\n\r\n").reply()[0] == 200
    assert peer.ended()
    stays = edge.peer(listening)
    for _ in range(2):
        stays.send(b"GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
        assert stays.reply()[1]["connection"] == "keep-alive"


def test_a_client_that_shut_its_side_still_gets_its_answer(edge: Any) -> None:
    gate = asyncio.Event()

    async def handler(request: Request) -> Reply:
        await gate.wait()
        return Reply.text("late")

    listening = edge.listen(handler)
    peer = edge.peer(listening)
    peer.send(GET)
    peer.sock.shutdown(socket.SHUT_WR)
    edge.call(gate.set)
    assert peer.reply()[2] == b"late"
    assert peer.ended()


def test_what_follows_the_last_request_is_not_answered(edge: Any) -> None:
    asked: list[str] = []

    async def handler(request: Request) -> Reply:
        asked.append(request.path)
        return Reply.text("x")

    peer = edge.peer(edge.listen(handler))
    peer.send(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n")
    assert peer.reply()[0] == 200
    assert peer.ended()
    assert asked == ["/a"]


# --- pipelining ---


def test_answers_come_in_order_and_requests_run_one_at_a_time(edge: Any) -> None:
    gates = {"/a": asyncio.Event(), "/b": asyncio.Event()}
    running: list[str] = []

    async def handler(request: Request) -> Reply:
        running.append(request.path)
        if request.path in gates:
            await gates[request.path].wait()
        return Reply.text(request.path)

    peer = edge.peer(edge.listen(handler))
    peer.send(b"".join(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % name for name in (b"a", b"b", b"c")))
    edge.until(lambda: running == ["/a"])
    edge.call(gates["/b"].set)
    edge.call(gates["/a"].set)
    assert [peer.reply()[2] for _ in range(3)] == [b"/a", b"/b", b"/c"]
    assert running == ["/a", "/b", "/c"]


def test_reading_stops_while_a_request_is_worked_on(edge: Any) -> None:
    gate = asyncio.Event()

    async def handler(request: Request) -> Reply:
        await gate.wait()
        return Reply(200, b"%d" % len(request.body))

    listening = edge.listen(handler)
    peer = edge.peer(listening)
    peer.send(GET)
    edge.until(lambda: len(edge.servers[0].edge.tasks) == 1)
    peer.sock.settimeout(0.2)
    sent = 0
    big = b"x" * 65536

    def send(data: bytes) -> int:
        try:
            return int(peer.sock.send(data))
        except TimeoutError:
            return 0

    peer.sock.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 15728640\r\n\r\n")
    while sent < 15728640 and (taken := send(big)):  # until the buffers of the kernel are full
        sent += taken
    assert sent < 15728640
    peer.sock.settimeout(10)
    edge.call(gate.set)
    assert peer.reply()[2] == b"0"
    while sent < 15728640:
        sent += peer.sock.send(big[: 15728640 - sent])
    assert peer.reply()[2] == b"15728640"


# --- the hot way ---


def test_hot_answers_before_the_handler_and_gets_a_date(edge: Any) -> None:
    seen: list[tuple[bytes, list[tuple[bytes, bytes]]]] = []

    def hot(target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes | None:
        seen.append((target, list(headers)))
        return b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhot" if target == b"/hot?x" else None

    peer = edge.peer(edge.listen(hot=hot))
    status, headers, body = peer.send(b"GET /hot?x HTTP/1.1\r\nHost: h\r\nMetadata: true\r\n\r\n").reply()
    assert (status, body, headers["date"]) == (200, b"hot", "Wed, 28 Nov 2018 10:00:00 GMT")
    assert seen == [(b"/hot?x", [(b"host", b"h"), (b"metadata", b"true")])]
    assert json.loads(peer.send(GET).reply()[2])["path"] == "/"
    assert peer.send(b"GET /hot?x HTTP/1.1\r\nHost: h\r\n\r\n" * 3).reply()[2] == b"hot"
    assert peer.reply()[2] == peer.reply()[2] == b"hot"


@pytest.mark.parametrize(
    "message",
    [
        b"POST /hot HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        b"GET /hot HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
        b"GET http://h/hot HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /hot HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        b"GET /hot HTTP/1.0\r\n\r\n",
        b"GET /hot HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n",
        b"GET /hot HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
        b"GET /hot HTTP/1.1\r\n\r\n",
    ],
)
def test_hot_is_only_for_plain_gets(edge: Any, message: bytes) -> None:
    peer = edge.peer(edge.listen(hot=lambda target, headers: b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhot"))
    assert peer.send(message).reply()[2] != b"hot"


def test_hot_is_for_clients_that_say_keep_alive_too(edge: Any) -> None:
    peer = edge.peer(edge.listen(hot=lambda target, headers: b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhot"))
    message = b"GET /hot HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n"
    assert peer.send(message).reply()[2] == peer.send(message).reply()[2] == b"hot"


def test_hot_waits_behind_a_slow_request(edge: Any) -> None:
    gate = asyncio.Event()

    async def handler(request: Request) -> Reply:
        if request.path == "/slow":
            await gate.wait()
        return Reply.text("slow way")

    hot = {b"/hot": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhot"}
    peer = edge.peer(edge.listen(handler, hot=lambda target, _: hot.get(target)))
    peer.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\nGET /hot HTTP/1.1\r\nHost: x\r\n\r\n")
    edge.call(gate.set)
    assert [peer.reply()[2], peer.reply()[2]] == [b"slow way", b"slow way"]
    assert peer.send(b"GET /hot HTTP/1.1\r\nHost: x\r\n\r\n").reply()[2] == b"hot"


def test_a_broken_hot_answer_falls_back(edge: Any, caplog: pytest.LogCaptureFixture) -> None:
    def hot(target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes | None:
        raise RuntimeError("cache")

    assert edge.peer(edge.listen(hot=hot)).send(GET).reply()[0] == 200
    assert "the slow way is taken" in caplog.text


# --- errors of our own ---


def test_a_failing_handler_says_nothing_and_is_logged(edge: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request) -> Reply:
        if request.path == "/bad":
            raise RuntimeError("the reason, which is ours")
        return Reply.text("fine")

    peer = edge.peer(edge.listen(handler, listener="vm-1"))
    with caplog.at_level(logging.ERROR, "keyfob.http"):
        status, headers, body = peer.send(b"GET /bad?code=secret HTTP/1.1\r\nHost: x\r\n\r\n").reply()
    assert status == 500
    error = json.loads(body)["error"]
    assert error["code"] == "InternalServerError"
    assert headers["x-ms-request-id"] in error["message"]
    assert b"reason" not in body
    assert b"Traceback" not in body
    record = next(record for record in caplog.records if record.message == "a request failed")
    assert record.__dict__["request_id"] == headers["x-ms-request-id"]
    assert (record.__dict__["path"], record.__dict__["listener"]) == ("/bad", "vm-1")
    assert peer.send(GET).reply()[2] == b"fine"


@pytest.mark.parametrize(
    ("name", "value"),
    [("X-A", "a\r\nSet-Cookie: b"), ("X-A", "a\nb"), ("X-A", "a\0b"), ("X A", "b"), ("X:A", "b"), ("X-A", "\u20ac")],
)
def test_a_reply_header_cannot_leave_its_line(edge: Any, name: str, value: str) -> None:
    async def handler(request: Request) -> Reply:
        return Reply(200, b"x", ((name, value),))

    peer = edge.peer(edge.listen(handler))
    status, headers, _ = peer.send(GET).reply()
    assert status == 500
    assert "set-cookie" not in headers
    assert peer.send(GET).reply()[0] == 500


def test_a_handler_that_gives_no_reply_is_a_500(edge: Any) -> None:
    async def handler(request: Request) -> Reply:
        return None  # type: ignore[return-value]

    assert edge.peer(edge.listen(handler)).send(GET).reply()[0] == 500


# --- other ways in ---


def test_a_unix_socket(edge: Any, tmp_path: Path) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "s"))
    listening = edge.listen(sock=sock)
    assert listening.address == (str(tmp_path / "s"), 0)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(str(tmp_path / "s"))
    client.sendall(GET)
    assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 OK\r\n")
    client.close()


def test_an_upgrade_offer_is_ignored_and_the_body_kept(edge: Any) -> None:
    """Java's HttpClient sends this by default."""
    peer = edge.peer(edge.listen())
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
    message = b"POST /t HTTP/1.1\r\n" + offer + b"Host: x\r\nContent-Length: 4\r\n\r\nbody"
    for _ in range(2):
        status, _, body = peer.send(message + message).reply()
        assert status == 200
        assert json.loads(body)["body"] == "body"
        assert json.loads(peer.reply()[2])["body"] == "body"
    chunked = b"POST /t HTTP/1.1\r\n" + offer + b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
    assert json.loads(peer.send(chunked).reply()[2])["body"] == "body"
    closing = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close, upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert peer.send(closing).reply()[1]["connection"] == "close"
    assert peer.ended()


def test_an_upgrade_offer_does_not_dodge_the_body_limit(edge: Any) -> None:
    peer = edge.peer(edge.listen(limits=Limits(body=3)))
    peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 4\r\n\r\nbody")
    assert peer.reply()[0] == 413


def test_connect_is_refused_where_there_is_no_proxy(edge: Any) -> None:
    peer = edge.peer(edge.listen())
    assert peer.send(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n").reply()[0] == 405
    assert peer.ended()
