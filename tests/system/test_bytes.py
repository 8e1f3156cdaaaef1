"""Bytes that are nearly HTTP, or nothing at all, over real sockets to a real server: in pieces, one upon another, too
many, cut off. What comes back is an answer that refuses, or an end; never a failure, and the next one is served."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

HANGING = 60.0
"""Seconds after which a server that neither answers nor closes is taken to hang: only a failing test waits for them."""
BYTES = settings(
    max_examples=100, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")

# --- what is sent

_HOSTS = (b"management.azure.com", b"login.microsoftonline.com", b"v.vault.azure.net", b"graph.microsoft.com",
          b"nowhere", b"169.254.169.254", b"127.0.0.1:1", b"[::1]", b"", b"a b", b"a,b", b"\xff",
          b"x" * 300)  # fmt: skip
_TARGETS = (b"/", b"*", b"/subscriptions?api-version=2022-12-01", b"/common/oauth2/token", b"http://a/b", b"a:443",
            b"[::1:443", b"", b"/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net",
            b"/%00%ff%", b"/metadata/instance?api-version=2021-02-01", b"/secrets/a?api-version=7.5",
            b"/" + b"a" * 70_000, b"/v1.0/users?$filter=%27", b"//", b"/\xc3\xa9", b"?",
            b"/?" + b"&a=b" * 5000)  # fmt: skip
_METHODS = (b"GET", b"PUT", b"POST", b"HEAD", b"DELETE", b"PATCH", b"OPTIONS", b"CONNECT", b"TRACE", b"PRI", b"",
            b"get", b"SUBSCRIBE", b"G\x00T")  # fmt: skip
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/11", b"", b"http/1.1")
_FIELDS = (b"Metadata: true", b"Connection: close", b"Connection: keep-alive, upgrade", b"Upgrade: h2c",
           b"Expect: 100-continue", b"Expect: pears", b"Content-Length: 5", b"Content-Length: 5", b"Content-Length: -1",
           b"Content-Length: 99999999999999999999", b"Content-Length: 20000000", b"Transfer-Encoding: chunked",
           b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding : chunked", b"Authorization: Bearer a.b.c",
           b"Authorization: Bearer \xff", b"Content-Type: application/json", b"X: " + b"y" * 70_000, b" folded", b":",
           b"X", b"X\x00: y", b"x-ms-client-request-id: \x80", b"Accept-Encoding: *;q=-1", b"TE: trailers")  # fmt: skip
_BODIES = (b"", b"{}", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\nX: y\r\n\r\n", b"5;a=b\r\nhel",
           b"-1\r\n\r\n", b"fffffffffffffffff\r\n", b"5\r\nhelloo\r\n0\r\n\r\n", b"0\r\n", b"\x00" * 1000,
           b"grant_type=" * 50, b"[" * 100_000)  # fmt: skip
_ENDS = (b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"")


@st.composite
def _message(draw: st.DrawFn) -> bytes:
    end = draw(st.sampled_from(_ENDS))
    line = b" ".join(
        (draw(st.sampled_from(_METHODS)), draw(st.sampled_from(_TARGETS)), draw(st.sampled_from(_VERSIONS)))
    )
    fields = draw(st.lists(st.sampled_from(_FIELDS), max_size=6))
    if draw(st.integers(0, 9)):
        fields.insert(0, b"Host: " + draw(st.sampled_from(_HOSTS)))
    if not draw(st.integers(0, 19)):
        fields += [b"H: v"] * draw(st.sampled_from((126, 127, 500, 5000)))
    return end.join((line, *fields, b"", draw(st.sampled_from(_BODIES))))


@dataclass(frozen=True)
class Said:
    """What one client sends, in which pieces, and how it ends: its side `shut`, the connection `close`d, `reset`, or
    left to the server to end (`stay`)."""

    data: bytes
    cuts: tuple[int, ...] = ()
    ending: str = "shut"

    def pieces(self) -> Iterator[bytes]:
        places = sorted({0, len(self.data), *(cut % (len(self.data) + 1) for cut in self.cuts)})
        for start, stop in itertools.pairwise(places):
            yield self.data[start:stop]


@st.composite
def _said(draw: st.DrawFn) -> Said:
    if draw(st.integers(0, 4)):
        data = bytearray(b"".join(draw(st.lists(_message(), min_size=1, max_size=4))))
        for _ in range(draw(st.integers(0, 3))):
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    else:
        data = bytearray(draw(st.binary(max_size=300)))
    cuts = draw(st.lists(st.integers(0, 2**17), max_size=6))
    return Said(bytes(data), tuple(cuts), draw(st.sampled_from(("shut", "shut", "close", "reset"))))


# --- to whom


class Plain:
    """A connection of which this side can be shut while the other still speaks."""

    def __init__(self, raw: socket.socket) -> None:
        self.raw = raw

    def send(self, data: bytes) -> None:
        self.raw.sendall(data)

    def rest(self, *, shut: bool) -> bytes:
        """All that comes until the server closes, which it does: a hanging one is a TimeoutError here."""
        came = b""
        try:
            if shut:
                self.raw.shutdown(socket.SHUT_WR)
            while part := self.raw.recv(1 << 16):
                came += part
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
        return came


class Tls(Plain):
    """The same inside TLS; the standard library's own socket cannot do that."""

    def __init__(self, raw: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(raw)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="management.azure.com")
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(self._out.read())
                self._in.write(raw.recv(1 << 16))
        raw.sendall(self._out.read())

    def send(self, data: bytes) -> None:
        self._tls.write(data)
        self.raw.sendall(self._out.read())

    def rest(self, *, shut: bool) -> bytes:
        """As TLS has it, this side is shut by a `close_notify`."""
        if shut:
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.raw.sendall(self._out.read())
        self._in.write(super().rest(shut=shut))
        came = b""
        with contextlib.suppress(ssl.SSLError):  # no more of it
            while part := self._tls.read(1 << 16):
                came += part
        return came


def refused_at_most(came: bytes, said: Said) -> None:
    assert not came or came.startswith(b"HTTP/1.1 "), (said, came[:200])
    for status in map(int, _STATUS.findall(came)):
        assert status < 500 or status == 505, (said, came[:500])


class Target:
    """One listener of a server that runs, and the log that it must keep clean."""

    def __init__(self, address: tuple[str, int], log: Path, works: Callable[[], None]) -> None:
        self.address, self.log, self.works = address, log, works

    def try_one(self, said: Said, tls: ssl.SSLContext | None = None) -> bytes:
        """What came back; nothing is read where the client does not wait for it."""
        came = b""
        with socket.create_connection(self.address, timeout=HANGING) as raw:
            line = Tls(raw, tls) if tls is not None else Plain(raw)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before the end
                for piece in said.pieces():
                    line.send(piece)
            if said.ending == "reset":
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif said.ending != "close":
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    came = line.rest(shut=said.ending == "shut")
        return came

    def clean(self) -> None:
        """It serves, and it has not met anything that it did not expect."""
        self.works()
        text = self.log.read_text(errors="replace")
        assert "Traceback" not in text, text[-3000:]
        bad = [
            line
            for line in text.splitlines()
            if line.startswith("{") and _level(line) in ("warning", "error", "critical")
        ]
        assert not bad, bad[:3]


def _level(line: str) -> str:
    try:
        return str(json.loads(line).get("level"))
    except ValueError:
        return ""


@pytest.fixture(scope="module")
def server(node: Callable[..., Any]) -> Any:
    made = node()
    arm = made.arm()
    arm.must("PUT", made.group("bytes"), {"location": "westeurope"})
    body = {"location": "westeurope", "identity": {"type": "SystemAssigned"}}
    arm.must("PUT", made.machine("bytes", "vm"), body)
    opened = arm.must("POST", f"{made.machine('bytes', 'vm')}/providers/Keyfob.Hosts/openEndpoint")
    made.endpoint_of_vm, made.proxy = opened["endpoint"], opened["variables"]["HTTPS_PROXY"]
    return made


def listener(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 0)


@pytest.fixture(scope="module")
def front(server: Any) -> Target:
    def works() -> None:
        server.arm().must("GET", "/subscriptions?api-version=2022-12-01")
        server.hang_up()

    address = (server.client.server["address"], server.client.server["port"])
    return Target(address, server.data / "keyfob.log", works)


@pytest.fixture(scope="module")
def endpoint(server: Any, host: Any) -> Target:
    def works() -> None:
        assert server.host(server.endpoint_of_vm).ask("GET", host.target(), headers=host.metadata).status == 200
        server.hang_up()

    return Target(listener(server.endpoint_of_vm), server.data / "keyfob.log", works)


@pytest.fixture(scope="module")
def proxy(server: Any, front: Target) -> Target:
    def works() -> None:
        with socket.create_connection(listener(server.proxy), timeout=HANGING) as raw:
            raw.sendall(CONNECT)
            assert raw.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
            context = ssl.create_default_context(cafile=str(server.data / "ca" / "ca.crt"))
            Tls(raw, context).send(GOOD)

    return Target(listener(server.proxy), front.log, works)


CONNECT = b"CONNECT management.azure.com:443 HTTP/1.1\r\nHost: management.azure.com:443\r\n\r\n"
GOOD = b"GET / HTTP/1.1\r\nHost: management.azure.com\r\n\r\n"


@BYTES
@given(said=_said())
@example(said=Said(GOOD * 400))
@example(said=Said(GOOD[:-2], (1, 2, 3, 4)))
@example(said=Said(b"\r\n" * 50_000))
def test_a_hosts_endpoint(endpoint: Target, said: Said) -> None:
    refused_at_most(endpoint.try_one(said), said)
    endpoint.clean()


@BYTES
@given(said=_said())
@example(said=Said(GOOD * 400))
@example(said=Said(b"POST /a/oauth2/token HTTP/1.1\r\nHost: login.microsoftonline.com\r\nContent-Length: 9\r\n\r\na=b"))
def test_the_front_door(front: Target, server: Any, said: Said) -> None:
    tls = ssl.create_default_context(cafile=str(server.data / "ca" / "ca.crt"))
    refused_at_most(front.try_one(said, tls), said)
    front.clean()


@BYTES
@given(said=_said(), connected=st.booleans())
@example(said=Said(b"\x16\x03\x01\xff\xff" + b"\0" * 70_000), connected=True)
@example(said=Said(b"CONNECT example.org:443 HTTP/1.1\r\nHost: a\r\n\r\n" + GOOD), connected=False)
@example(said=Said(b"CONNECT management.azure.com:99999 HTTP/1.1\r\nHost: a\r\n\r\n" + GOOD), connected=False)
def test_the_proxy(proxy: Target, said: Said, connected: bool) -> None:
    said = replace(said, data=(CONNECT if connected else b"") + said.data)
    refused_at_most(proxy.try_one(said), said)
    proxy.clean()


@BYTES
@given(said=_said())
@example(said=Said(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 600))
@example(said=Said(b"\x16\x03\x01\xff\xff" + b"\0" * 70_000))
@example(said=Said(b"\x80\x2e\x01\x00\x02"))
def test_what_is_no_tls(front: Target, said: Said) -> None:
    came = front.try_one(said)
    assert not came.startswith(b"HTTP/"), came[:100]
    front.clean()


@pytest.mark.parametrize("tls", [True, False])
def test_what_all_others_are_made_from_is_answered(front: Target, endpoint: Target, server: Any, tls: bool) -> None:
    last = GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    said = Said(GOOD * 2 + last, (1, 50, 60), "stay")
    context = ssl.create_default_context(cafile=str(server.data / "ca" / "ca.crt")) if tls else None
    came = (front if tls else endpoint).try_one(said, context)
    assert len(_STATUS.findall(came)) == 3
