"""The proxy that leads nowhere but here."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from typing import Any

import pytest

from keyfob.servers.http import Limits, Listening
from keyfob.servers.proxy import listen_proxy
from keyfob.wire.http import Reply, Request

OURS = ("acct.vault.azure.net", "169.254.169.254", "localhost")


async def say(request: Request) -> Reply:
    return Reply.json([request.scheme, request.listener, request.host, request.path, request.peer])


@pytest.fixture
def proxy(edge: Any, server_tls: ssl.SSLContext) -> Listening:
    server = edge.server(Limits(handshake=5))
    doors = {
        443: edge.listen(say, server=server, tls=server_tls, listener="front"),
        80: edge.listen(say, server=server, listener="plain front"),
    }
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    listening: Listening = edge.run(
        listen_proxy(server, sock=sock, allowed=OURS.__contains__, doors=doors, handler=say, listener="proxy")
    )
    return listening


def tunnel(edge: Any, proxy: Listening, authority: bytes) -> Any:
    return edge.peer(proxy).send(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (authority, authority))


def secured(peer: Any, context: ssl.SSLContext, name: str) -> Any:
    peer.sock = context.wrap_socket(peer.sock, server_hostname=name)
    return peer


def test_a_tunnel_to_our_name_ends_in_the_front_door(edge: Any, proxy: Listening, client_tls: ssl.SSLContext) -> None:
    peer = tunnel(edge, proxy, b"acct.vault.azure.net:443")
    assert peer.reply(bodiless=True)[0] == 200
    secured(peer, client_tls, "acct.vault.azure.net")
    for _ in range(2):
        status, _, body = peer.send(b"GET /secrets/a HTTP/1.1\r\nHost: acct.vault.azure.net\r\n\r\n").reply()
        assert status == 200
        assert json.loads(body) == ["https", "front", "acct.vault.azure.net", "/secrets/a", "127.0.0.1"]


def test_the_standard_client_through_the_proxy(edge: Any, proxy: Listening, client_tls: ssl.SSLContext) -> None:
    for _ in range(20):  # its request often arrives with the end of the handshake
        client = http.client.HTTPSConnection(*proxy.address, timeout=10, context=client_tls)
        client.set_tunnel("acct.vault.azure.net", 443)
        client.request("GET", "/x")
        assert json.loads(client.getresponse().read())[1] == "front"
        client.close()
    edge.until(lambda: not edge.servers[0].edge.connections)


def test_certificates_are_checked_inside_the_tunnel(edge: Any, proxy: Listening) -> None:
    peer = tunnel(edge, proxy, b"localhost:443")
    assert peer.reply(bodiless=True)[0] == 200
    with pytest.raises(ssl.SSLError):
        ssl.create_default_context().wrap_socket(peer.sock, server_hostname="localhost")
    edge.until(lambda: not edge.servers[0].edge.tasks)


def test_a_plain_tunnel(edge: Any, proxy: Listening) -> None:
    peer = tunnel(edge, proxy, b"169.254.169.254:80")
    assert peer.reply(bodiless=True)[0] == 200
    assert json.loads(peer.send(b"GET /m HTTP/1.1\r\nHost: x\r\n\r\n").reply()[2])[1] == "plain front"


@pytest.mark.parametrize(
    "authority", [b"example.com:443", b"acct.vault.azure.net:22", b"acct.vault.azure.net.evil:443"]
)
def test_nothing_leaves_this_machine(edge: Any, proxy: Listening, authority: bytes) -> None:
    peer = tunnel(edge, proxy, authority)
    status, _, body = peer.reply()
    assert status == 403
    assert json.loads(body)["error"]["message"].endswith("is not served here, and nothing leaves this machine.")
    assert peer.ended()


@pytest.mark.parametrize("authority", [b"localhost", b"localhost:0", b"localhost:99999", b":443"])
def test_connect_names_a_host_and_a_port(edge: Any, proxy: Listening, authority: bytes) -> None:
    assert tunnel(edge, proxy, authority).reply()[0] == 400


def test_bytes_before_the_answer_are_refused(edge: Any, proxy: Listening) -> None:
    peer = edge.peer(proxy).send(b"CONNECT localhost:443 HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03\x01")
    assert peer.reply()[0] == 400


def test_connect_is_not_pipelined(edge: Any, proxy: Listening) -> None:
    get = b"GET http://localhost/ HTTP/1.1\r\nHost: x\r\n\r\n"
    peer = edge.peer(proxy).send(get + b"CONNECT localhost:443 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert peer.reply()[0] == 200
    assert peer.reply()[0] == 400


def test_absolute_requests_go_to_the_proxys_handler(edge: Any, proxy: Listening) -> None:
    peer = edge.peer(proxy)
    peer.send(b"GET http://169.254.169.254/metadata?x=1 HTTP/1.1\r\nHost: proxy.local\r\n\r\n")
    status, _, body = peer.reply()
    assert (status, json.loads(body)) == (200, ["http", "proxy", "169.254.169.254", "/metadata", "127.0.0.1"])
    peer.send(b"GET http://example.com/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert peer.reply()[0] == 403


def test_a_tunnel_without_a_handshake_is_cut(edge: Any, server_tls: ssl.SSLContext) -> None:
    server = edge.server(Limits(handshake=0.05))
    doors = {443: edge.listen(say, server=server, tls=server_tls)}
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    proxy = edge.run(listen_proxy(server, sock=sock, allowed=lambda host: True, doors=doors, handler=say))
    peer = tunnel(edge, proxy, b"a:443")
    assert peer.reply(bodiless=True)[0] == 200
    assert peer.ended()
    edge.until(lambda: not server.edge.tasks)
