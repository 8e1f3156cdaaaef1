"""HTTP/1.1 as bytes, without sockets: a parsed head into a `Request`, a `Reply` into what goes on the wire.

The tokenising is llhttp's (in `servers`); here are the rules of RFC 9112 above it: which target forms there are, which
Host is meant, which reply has a body, and that no header value can break out of its line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import IO
from urllib.parse import urlsplit

from keyfob.wire.http import Fields, Reply, Request, parse_host, parse_target

RawFields = Sequence[tuple[bytes, bytes]]

_HOST = re.compile(r"(?:[A-Za-z0-9\-._~%!$&'()*+,;=]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_UNSAFE = re.compile(r"[\x00\r\n]")

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}

OK = _STATUS_LINES[200]
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

BODILESS = frozenset({204, 304})
"""Replies that never carry a body (RFC 9110 §6.4.1)."""

_OURS = frozenset({"content-length", "transfer-encoding", "connection"})
"""Framing belongs to the edge: what a handler says about it is not copied."""

_NOT_REPEATED = frozenset({b"connection", b"upgrade", b"http2-settings"})


class Malformed(Exception):
    """A request that has no one meaning. `status` is what to answer before closing the connection."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class UnsafeHeader(ValueError):
    """A reply header that would not stay on its line, or is no header. The value is not in the text."""


def read_request(
    method: bytes,
    target: bytes,
    fields: RawFields,
    body: bytes,
    *,
    file: IO[bytes] | None = None,
    version: str = "1.1",
    scheme: str = "http",
    listener: str = "",
    peer: str = "",
    request_id: str = "",
) -> Request:
    """The tokens of one message → a `Request`. `fields` have lower-case names. Raises `Malformed`.

    An absolute-form target (what an HTTP proxy's client sends) names the host; the Host header is then replaced by it
    (RFC 9112 §3.2.2).
    """
    if version not in ("1.1", "1.0"):
        raise Malformed(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
    hosts = [value for name, value in headers if name == "host"]
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        raise Malformed(400, "A request has exactly one Host header.")
    authority = hosts[0] if hosts else ""
    text = target.decode("ascii")
    if "#" in text:
        raise Malformed(400, "A request target has no fragment.")
    if not text.startswith("/") and text != "*":
        authority, text = _absolute(text)
        headers = [pair for pair in headers if pair[0] != "host"] + [("host", authority)]
    if not _HOST.fullmatch(authority):
        raise Malformed(400, "The Host header is not a host.")
    host, port = parse_host(authority)
    if text == "*":
        if method != b"OPTIONS":
            raise Malformed(400, "Only OPTIONS may ask about '*'.")
        path, raw, query = "*", "*", Fields()
    else:
        path, raw, query = parse_target(text)
    return Request(
        method=method.decode("ascii"),
        path=path,
        query=query,
        headers=Fields(headers),
        body=body,
        file=file,
        host=host,
        port=port,
        scheme=scheme,
        raw_path=raw,
        raw_query=text.partition("?")[2],
        listener=listener,
        peer=peer,
        request_id=request_id,
    )


def _absolute(target: str) -> tuple[str, str]:
    """`http://host:80/a?b` → (`host:80`, `/a?b`)."""
    try:
        parts = urlsplit(target)
        authority = parts.netloc
    except ValueError:
        raise Malformed(400, "The request target is not a URL.") from None
    if parts.scheme.lower() not in ("http", "https") or not authority or "@" in authority:
        raise Malformed(400, "The request target is neither a path nor an http URL.")
    return authority, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def read_authority(target: bytes) -> tuple[str, int]:
    """The target of CONNECT: `name:443` → (`name`, 443). Raises `Malformed`."""
    host, port = parse_host(target.decode("ascii"))
    if port is None or not 0 < port < 65536 or not host or not _HOST.fullmatch(host):
        raise Malformed(400, "CONNECT names a host and a port.")
    return host, port


def without_upgrade(method: bytes, target: bytes, version: str, fields: RawFields) -> bytes:
    """The head again, without its offer of another protocol; `fields` have lower-case names. A wish to close stays."""
    lines = [b"%b %b HTTP/%b\r\n" % (method, target, version.encode())]
    lines += [b"%b: %b\r\n" % pair for pair in fields if pair[0] not in _NOT_REPEATED]
    offered = {token.strip().lower() for name, value in fields if name == b"connection" for token in value.split(b",")}
    if b"close" in offered:
        lines.append(b"Connection: close\r\n")
    return b"".join((*lines, b"\r\n"))


def write_reply(
    reply: Reply,
    *,
    date: bytes = b"",
    server: str = "",
    method: str = "GET",
    close: bool = False,
    keep: bool = False,
    chunked: bool = True,
) -> bytes:
    """The whole answer in one piece, so that it becomes one write and one TLS record.

    Of a reply with a stream it is the head; `chunked` is false for HTTP/1.0, where the end of the connection is the
    end of the body. `date` is a ready header line or nothing; `close` and `keep` say what `Connection` says. A
    handler's own Content-Length counts only for HEAD, where the body it would describe is absent. Raises
    `UnsafeHeader`.
    """
    status = reply.status
    lines = [_STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n".encode()]
    length: str | None = None
    for name, value in reply.headers:
        low = name.lower()
        if low in _OURS:
            length = value if low == "content-length" else length
            close = close or (low == "connection" and value.lower() == "close")
            continue
        if low == "date":
            date = b""
        elif low == "server":
            server = ""
        lines.append(_line(name, value))
    if reply.content_type is not None:
        lines.append(_line("Content-Type", reply.content_type))
    if reply.stream is not None and status not in BODILESS and method != "HEAD":
        if chunked:
            lines.append(b"Transfer-Encoding: chunked\r\n")
    elif status not in BODILESS and status >= 200:
        chosen = length if method == "HEAD" and length is not None and length.isascii() and length.isdigit() else None
        lines.append(b"Content-Length: %b\r\n" % (chosen or str(len(reply.body))).encode())
    if server:
        lines.append(_line("Server", server))
    lines.append(date)
    if close:
        lines.append(b"Connection: close\r\n")
    elif keep:
        lines.append(b"Connection: keep-alive\r\n")
    lines.append(b"\r\n")
    if method != "HEAD" and status not in BODILESS and reply.stream is None:
        lines.append(reply.body)
    return b"".join(lines)


def _line(name: str, value: str) -> bytes:
    if not _NAME.fullmatch(name):
        raise UnsafeHeader("a reply header's name is not a token")
    if _UNSAFE.search(value):
        raise UnsafeHeader(f"the value of reply header {name} has a line break in it")
    try:
        return f"{name}: {value}\r\n".encode("latin-1")
    except UnicodeEncodeError:
        raise UnsafeHeader(f"the value of reply header {name} is not ISO-8859-1") from None
