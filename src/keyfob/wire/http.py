"""HTTP as values: what a server hands inwards and gets back. No sockets, no framework."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import parse_qsl, unquote

import msgspec

JSON = "application/json; charset=utf-8"

_encode_json = msgspec.json.Encoder().encode


class Fields:
    """Names and values in order, looked up without regard to case: headers, and query parameters."""

    __slots__ = ("_first", "pairs")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs = tuple(pairs)
        first: dict[str, str] = {}
        for name, value in self.pairs:
            first.setdefault(name.lower(), value)
        self._first = first

    def get(self, name: str, default: str | None = None) -> str | None:
        return self._first.get(name.lower(), default)

    def __getitem__(self, name: str) -> str:
        return self._first[name.lower()]

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._first

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self.pairs)

    def repeated(self) -> str | None:
        """The first name that occurs twice, lower-case, or None."""
        seen: set[str] = set()
        for name, _ in self.pairs:
            low = name.lower()
            if low in seen:
                return low
            seen.add(low)
        return None

    def __repr__(self) -> str:  # values may be secrets
        return f"Fields({', '.join(self._first)})"


@dataclass(frozen=True, slots=True)
class Request:
    """One request, parsed once at the edge.

    `path` is percent-decoded with runs of slashes collapsed (`//metadata/endpoints` is what clients send) and no
    trailing slash except for the root; `raw_path` and `raw_query` are as received. `host` is lower-case without port.
    `listener` names the socket that accepted it: the caller's identity on host endpoints, "" on the front door.
    """

    method: str
    path: str
    query: Fields
    headers: Fields
    body: bytes = b""
    file: IO[bytes] | None = field(default=None, compare=False, repr=False)
    """A body that is too large for memory, instead of `body`: read from its beginning, closed with the answer."""
    host: str = ""
    port: int | None = None
    scheme: str = "https"
    raw_path: str = ""
    raw_query: str = ""
    listener: str = ""
    peer: str = ""
    request_id: str = ""

    @property
    def url(self) -> str:
        """Scheme, authority and path as the client addressed them, without the query."""
        default = 443 if self.scheme == "https" else 80
        port = "" if self.port in (None, default) else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.raw_path or self.path}"


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str | None = None
    stream: AsyncGenerator[bytes, None] | None = field(default=None, compare=False)
    """A body that is still being made, instead of `body`: sent piece by piece, chunked (RFC 9112 §7.1)."""

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> Reply:
        return cls(status, _encode_json(value), tuple(headers), JSON)

    @classmethod
    def text(cls, value: str, status: int = 200, content_type: str = "text/plain; charset=utf-8") -> Reply:
        return cls(status, value.encode(), (), content_type)

    def adding(self, *headers: tuple[str, str]) -> Reply:
        return Reply(self.status, self.body, self.headers + headers, self.content_type, self.stream)


def parse_target(target: str) -> tuple[str, str, Fields]:
    """`/a//b/?q=1` → (`/a/b`, `/a//b/`, query). Query values may arrive unescaped."""
    raw, _, query = target.partition("?")
    decoded = unquote(raw)
    path = "/" + "/".join(part for part in decoded.split("/") if part)
    return path, raw, Fields(parse_qsl(query, keep_blank_values=True))


def parse_host(value: str) -> tuple[str, int | None]:
    """`Example.com:443` → (`example.com`, 443); IPv6 literals keep their brackets."""
    host, separator, port = value.rpartition(":")
    if separator and port.isdigit() and not host.endswith(":") and (not value.endswith("]")):
        return host.lower(), int(port)
    return value.lower(), None


def form(body: bytes) -> Fields:
    """An `application/x-www-form-urlencoded` body. Raises `UnicodeDecodeError` when it is not UTF-8."""
    return Fields(parse_qsl(body.decode("utf-8"), keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Challenge:
    """A `WWW-Authenticate` value, parameters in order."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        inside = ", ".join(f'{name}="{value}"' for name, value in self.parameters.items())
        return f"{self.scheme} {inside}" if inside else self.scheme
