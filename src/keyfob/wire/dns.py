"""DNS as bytes (RFC 1035, EDNS0 of RFC 6891), as much as a responder for a handful of names needs. No sockets.

`answer` takes one message and gives one, or None where silence is right. It never raises on what arrives and never
follows a compression pointer forwards.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

Lookup = Callable[[str], str | None]
"""A lower-case name without its last dot → its address (IPv4 or IPv6 text), "" for a name without an address, None
for no such name."""

MAX_UDP = 1232
"""What we say we take by UDP (the value agreed at DNS flag day 2020)."""

TTL = 60
"""Seconds. Short: a name may begin to mean something else when a resource is created."""


class Type(IntEnum):
    A = 1
    AAAA = 28
    OPT = 41
    ANY = 255


class Code(IntEnum):
    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


_HEADER = struct.Struct("!6H")
_QUESTION_TAIL = struct.Struct("!2H")
_RECORD_TAIL = struct.Struct("!2HIH")
_RESPONSE, _AUTHORITATIVE, _RECURSION_WANTED, _RECURSION_HAD = 0x8000, 0x0400, 0x0100, 0x0080
_CLASS_IN, _CLASS_ANY = 1, 255
_NAME_POINTER = b"\xc0\x0c"  # to the question's name, right behind the header


class BadMessage(ValueError):
    """Not DNS, or cut off."""


@dataclass(frozen=True, slots=True)
class Question:
    name: str
    """Lower-case, without the last dot; a dot inside a label is written `\\046` (RFC 4343)."""
    labels: tuple[bytes, ...]
    """As received: clients check that the case of their question comes back."""
    type: int
    klass: int


@dataclass(frozen=True, slots=True)
class Query:
    id: int
    opcode: int
    recursion_wanted: bool
    question: Question
    edns_version: int | None
    """None: the client does not speak EDNS."""


def read_query(message: bytes) -> Query:
    """Raises `BadMessage`."""
    if len(message) < _HEADER.size:
        raise BadMessage("shorter than a header")
    ident, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(message)
    if flags & _RESPONSE or questions != 1:
        raise BadMessage("not one question")
    labels, at = read_name(message, _HEADER.size)
    if at + 4 > len(message):
        raise BadMessage("the question is cut off")
    kind, klass = _QUESTION_TAIL.unpack_from(message, at)
    version = _edns(message, at + 4, answers + authorities + additionals)
    question = Question(text_of(labels), labels, kind, klass)
    return Query(ident, flags >> 11 & 15, bool(flags & _RECURSION_WANTED), question, version)


def _edns(message: bytes, at: int, count: int) -> int | None:
    """The version in the OPT record among the `count` records behind the question."""
    version: int | None = None
    for _ in range(count):
        labels, at = read_name(message, at)
        if at + _RECORD_TAIL.size > len(message):
            raise BadMessage("a record is cut off")
        kind, _, ttl, length = _RECORD_TAIL.unpack_from(message, at)
        at += _RECORD_TAIL.size + length
        if at > len(message):
            raise BadMessage("a record is cut off")
        if kind == Type.OPT:
            if labels or version is not None:
                raise BadMessage("an OPT record that is not the one at the root")
            version = ttl >> 16 & 255
    return version


def read_name(message: bytes, at: int) -> tuple[tuple[bytes, ...], int]:
    """The labels at `at`, and where reading goes on. Pointers must lead backwards, each further than the last, so
    the walk ends; a name has at most 255 bytes. Raises `BadMessage`."""
    labels: list[bytes] = []
    after: int | None = None
    start, size = at, 1
    while True:
        if at >= len(message):
            raise BadMessage("a name is cut off")
        length = message[at]
        if length == 0:
            return tuple(labels), after if after is not None else at + 1
        if length >= 0xC0:
            if at + 2 > len(message):
                raise BadMessage("a pointer is cut off")
            target = (length & 0x3F) << 8 | message[at + 1]
            if not _HEADER.size <= target < start:
                raise BadMessage("a pointer that does not lead backwards")
            after = after if after is not None else at + 2
            at = start = target
            continue
        if length > 63 or at + 1 + length > len(message):
            raise BadMessage("a label of no known kind, or cut off")
        size += length + 1
        if size > 255:
            raise BadMessage("a name of more than 255 bytes")
        labels.append(message[at + 1 : at + 1 + length])
        at += 1 + length


def text_of(labels: tuple[bytes, ...]) -> str:
    return ".".join("".join(_character(byte) for byte in label) for label in labels)


def _character(byte: int) -> str:
    if 0x21 <= byte <= 0x7E and byte not in b".\\":
        return chr(byte).lower()
    return f"\\{byte:03d}"


def answer(query: bytes, lookup: Lookup) -> bytes | None:
    """One response; None for what is not a question at all (a response, or less than a header)."""
    if len(query) < _HEADER.size or query[2] & 0x80:
        return None
    try:
        asked = read_query(query)
    except BadMessage:
        ident, flags = struct.unpack_from("!2H", query)
        return _HEADER.pack(ident, _RESPONSE | flags & 0x7900 | Code.FORMERR, 0, 0, 0, 0)
    if asked.opcode != 0:
        return _respond(asked, Code.NOTIMP)
    if asked.edns_version:
        return _respond(asked, Code.BADVERS)
    if asked.question.klass not in (_CLASS_IN, _CLASS_ANY):
        return _respond(asked, Code.REFUSED)
    try:
        found = lookup(asked.question.name)
        address = ipaddress.ip_address(found) if found else None
    except Exception:  # whatever the lookup did: the client must hear something, or it waits five seconds
        return _respond(asked, Code.SERVFAIL)
    if found is None:
        return _respond(asked, Code.NXDOMAIN)
    if address is None or asked.question.type not in (Type.ANY, Type.A if address.version == 4 else Type.AAAA):
        return _respond(asked, Code.NOERROR)
    return _respond(asked, Code.NOERROR, address.packed)


def _respond(asked: Query, code: Code, address: bytes | None = None) -> bytes:
    flags = _RESPONSE | asked.opcode << 11 | _AUTHORITATIVE | _RECURSION_HAD | (code & 15)
    # "recursion available" although nothing recurses: Go's resolver takes an empty answer without it for a lame server
    flags |= _RECURSION_WANTED if asked.recursion_wanted else 0
    question = asked.question
    out = [_HEADER.pack(asked.id, flags, 1, address is not None, 0, asked.edns_version is not None)]
    out += [bytes([len(label)]) + label for label in question.labels]
    out.append(b"\0" + _QUESTION_TAIL.pack(question.type, question.klass))
    if address is not None:
        kind = Type.A if len(address) == 4 else Type.AAAA
        out.append(_NAME_POINTER + _RECORD_TAIL.pack(kind, _CLASS_IN, TTL, len(address)) + address)
    if asked.edns_version is not None:
        out.append(b"\0" + _RECORD_TAIL.pack(Type.OPT, MAX_UDP, (code >> 4) << 24, 0))
    return b"".join(out)


# --- TCP: each message behind its length in two bytes ---


def frame(message: bytes) -> bytes:
    return struct.pack("!H", len(message)) + message


class Frames:
    """Cuts a TCP stream into messages. Holds at most one incomplete message (64 kB)."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        held = self._held + data
        at = 0
        try:
            while len(held) - at >= 2:
                size = held[at] << 8 | held[at + 1]
                if len(held) - at - 2 < size:
                    return
                at += 2 + size
                yield held[at - size : at]
        finally:
            self._held = held[at:]
