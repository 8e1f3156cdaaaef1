"""The DNS responder on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from keyfob.servers import dns
from keyfob.servers.dns import DnsServer
from keyfob.wire.dns import frame

ADDRESS = b"\x0a\x01\x02\x03"


def question(name: bytes, ident: int = 7) -> bytes:
    labels = b"".join(bytes([len(label)]) + label for label in name.split(b"."))
    return struct.pack("!6H", ident, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


@pytest.fixture
def responder(edge: Any) -> Iterator[tuple[DnsServer, tuple[str, int], tuple[str, int]]]:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    tcp = socket.socket()
    tcp.bind(("127.0.0.1", 0))
    addresses = udp.getsockname(), tcp.getsockname()
    server = DnsServer(lambda name: "10.1.2.3" if name.endswith("vault.azure.net") else None)
    edge.run(server.listen(udp=udp, tcp=tcp))
    yield server, *addresses
    edge.call(server.close)
    edge.run(asyncio.sleep(0))
    edge.until(lambda: not server._clients)


def connected(kind: int, address: tuple[str, int]) -> socket.socket:
    client = socket.socket(socket.AF_INET, kind)
    client.settimeout(10)
    client.connect(address)
    return client


def test_udp(responder: Any) -> None:
    with connected(socket.SOCK_DGRAM, responder[1]) as client:
        client.send(b"not dns")
        client.send(question(b"a.vault.azure.net", 1))
        reply = client.recv(4096)
        assert reply[:2] == b"\0\x01"
        assert reply.endswith(ADDRESS)
        client.send(question(b"www.example.com", 2))
        assert client.recv(4096)[3] & 15 == 3


def test_tcp_with_several_questions_and_odd_cuts(responder: Any) -> None:
    stream = frame(question(b"a.vault.azure.net", 1)) + frame(question(b"b.example", 2))
    with connected(socket.SOCK_STREAM, responder[2]) as client, client.makefile("rb") as file:
        for at in range(0, len(stream), 9):
            client.sendall(stream[at : at + 9])
        first = file.read(int.from_bytes(file.read(2), "big"))
        second = file.read(int.from_bytes(file.read(2), "big"))
    assert first.endswith(ADDRESS)
    assert second[3] & 15 == 3


def test_the_system_resolver_format_of_a_closed_server(edge: Any, responder: Any) -> None:
    with connected(socket.SOCK_STREAM, responder[2]) as client:
        client.sendall(frame(question(b"a.vault.azure.net")))
        assert client.recv(4096)
        edge.call(responder[0].close)
        assert client.recv(1) == b""


def test_a_silent_tcp_client_is_let_go(edge: Any, responder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "TCP_IDLE", 0.01)
    with connected(socket.SOCK_STREAM, responder[2]) as client, contextlib.suppress(ConnectionResetError):
        assert client.recv(1) == b""


def test_too_many_tcp_clients(edge: Any, responder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "TCP_CLIENTS", 1)
    with connected(socket.SOCK_STREAM, responder[2]) as first:
        edge.until(lambda: len(responder[0]._clients) == 1)
        with connected(socket.SOCK_STREAM, responder[2]) as second, contextlib.suppress(ConnectionResetError):
            assert second.recv(1) == b""
        first.sendall(frame(question(b"a.vault.azure.net")))
        assert first.recv(4096).endswith(ADDRESS)
