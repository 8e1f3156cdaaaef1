"""HTTP/1.1 heads to requests, replies to bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.wire.http import Reply, Request
from keyfob.wire.http1 import Malformed, UnsafeHeader, read_authority, read_request, without_upgrade, write_reply

HOST = (b"host", b"Example.com:8080")


def read(target: bytes, *fields: tuple[bytes, bytes], method: bytes = b"GET", version: str = "1.1") -> Request:
    return read_request(method, target, fields or (HOST,), b"", version=version)


def test_origin_form() -> None:
    request = read(b"/a%2Fb/?q=1")
    assert (request.path, request.raw_path, request.host, request.port) == ("/a/b", "/a%2Fb/", "example.com", 8080)
    assert request.query.pairs == (("q", "1"),)


@pytest.mark.parametrize(
    ("target", "host", "port", "path", "query"),
    [
        (b"http://Other.net/x?y=1", "other.net", None, "/x", (("y", "1"),)),
        (b"HTTPS://other.net:444", "other.net", 444, "/", ()),
        (b"http://[::1]:80/x", "[::1]", 80, "/x", ()),
        (b"http://other.net?y=1", "other.net", None, "/", (("y", "1"),)),
    ],
)
def test_absolute_form_names_the_host(
    target: bytes, host: str, port: int | None, path: str, query: tuple[tuple[str, str], ...]
) -> None:
    request = read(target)
    assert (request.host, request.port, request.path, request.query.pairs) == (host, port, path, query)
    assert "example.com" not in request.headers["host"].lower()


def test_asterisk_form() -> None:
    assert read(b"*", method=b"OPTIONS").path == "*"
    with pytest.raises(Malformed):
        read(b"*")


@pytest.mark.parametrize("target", [b"ftp://x/", b"http:///x", b"http://u@x/", b"x:443", b"http://[::1/", b"/a#b", b""])
def test_other_targets_are_malformed(target: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        read(target)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "value", [b"a b", b"a/b", b"a@b", b"a:b", b"a:1:2", b"[::1", b"::1", b"a\\b", b"a,b\x00", b"\xe9", b'a"']
)
def test_hosts_that_are_none(value: bytes) -> None:
    with pytest.raises(Malformed):
        read(b"/", (b"host", value))


@pytest.mark.parametrize("value", [b"", b"a", b"a_b.c", b"1.2.3.4:80", b"[::1]", b"[fe80::1]:443", b"a:"])
def test_hosts_that_are_some(value: bytes) -> None:
    read(b"/", (b"host", value))


def test_exactly_one_host() -> None:
    for fields in (((b"accept", b"x"),), (HOST, HOST)):
        with pytest.raises(Malformed):
            read(b"/", *fields)
    assert read(b"/", (b"accept", b"x"), version="1.0").host == ""
    with pytest.raises(Malformed) as caught:
        read(b"/", HOST, version="2.0")
    assert caught.value.status == 505


def test_connect_targets() -> None:
    assert read_authority(b"Acct.Vault.azure.net:443") == ("acct.vault.azure.net", 443)
    for bad in (b"a", b"a:", b"a:0", b"a:65536", b":443", b"a b:443"):
        with pytest.raises(Malformed):
            read_authority(bad)


def test_a_reply_byte_by_byte() -> None:
    reply = Reply(201, b"{}", (("ETag", '"1"'),), "application/json")
    assert write_reply(reply, date=b"Date: d\r\n", server="S", close=True) == (
        b'HTTP/1.1 201 Created\r\nETag: "1"\r\nContent-Type: application/json\r\nContent-Length: 2\r\n'
        b"Server: S\r\nDate: d\r\nConnection: close\r\n\r\n{}"
    )


def test_a_status_without_a_name() -> None:
    assert write_reply(Reply(449)).startswith(b"HTTP/1.1 449 \r\n")


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_body_where_none_may_be(status: int, method: str) -> None:
    written = write_reply(Reply(status, b"body"), method=method)
    assert written.endswith(b"\r\n\r\n")
    assert b"Content-Length" not in written


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_header_leaves_its_line(name: str, value: str) -> None:
    try:
        written = write_reply(Reply(200, b"", ((name, value),)))
    except UnsafeHeader:
        return
    head = written.partition(b"\r\n\r\n")[0]
    assert written.endswith(b"\r\n\r\n")
    assert head.count(b"\r\n") == head.count(b"\n") <= 2


@given(st.binary(max_size=60), st.binary(max_size=30))
def test_targets_and_hosts_never_raise_anything_else(target: bytes, host: bytes) -> None:
    ascii_target = bytes(byte & 0x7F for byte in target)  # llhttp lets nothing else through
    try:
        request = read(ascii_target, (b"host", host))
    except Malformed:
        return
    assert request.raw_path.startswith("/")


def test_a_head_without_its_offer_of_another_protocol() -> None:
    fields = [
        (b"host", b"a"),
        (b"connection", b"Upgrade, HTTP2-Settings"),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AAEAAEAA"),
        (b"accept", b"*/*"),
        (b"content-length", b"2"),
    ]
    assert without_upgrade(b"POST", b"/x?y=1", "1.1", fields) == (
        b"POST /x?y=1 HTTP/1.1\r\nhost: a\r\naccept: */*\r\ncontent-length: 2\r\n\r\n"
    )
    closing = [(b"host", b"a"), (b"connection", b"upgrade ,Close"), (b"upgrade", b"x")]
    assert without_upgrade(b"GET", b"/", "1.0", closing) == b"GET / HTTP/1.0\r\nhost: a\r\nConnection: close\r\n\r\n"
