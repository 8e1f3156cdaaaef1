"""Collections of values over the SQL port: one implementation for both databases.

A value is a msgspec Struct, stored as JSON under a kind and a key. Stored values outlive versions of the program, so
every field of such a Struct has a default.
"""

from __future__ import annotations

import builtins
import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from keyfob.errors import Conflict, InvalidInput, PreconditionFailed, Problem
from keyfob.store.port import Row, Session, Transaction

T = TypeVar("T")
_LONGEST = 2048
"""Bytes of a key or an index value."""
_LONGEST_AS_IS = 512
"""Bytes of an index value that stands in the index itself; of longer ones their hash does: PostgreSQL's index entries,
of which the key is a part, end at 2,704."""


@dataclass(frozen=True, slots=True)
class Stored(Generic[T]):
    """A value as it is in the store. The etag is opaque and new at each write."""

    value: T
    key: str
    etag: str


class Records(Generic[T]):
    """The collection `kind`. Writes announce their key under the topic `kind`.

    `index` tells what a value can be found by: names, each with one or several values. Keys are compared exactly and
    ordered by their UTF-8 bytes; who wants case-insensitive keys folds them first.
    """

    def __init__(
        self,
        kind: str,
        type: type[T],
        *,
        index: Callable[[T], Mapping[str, str | Sequence[str]]] | None = None,
    ) -> None:
        self.kind = kind
        self._index = index
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(type)

    @property
    def topic(self) -> str:
        return self.kind

    async def get(self, session: Session, key: str) -> Stored[T] | None:
        rows = await session.fetch(
            "SELECT key, etag, value FROM records WHERE kind = ? AND key = ?", self.kind, _checked(key)
        )
        return self._stored(rows[0]) if rows else None

    async def list(
        self, session: Session, *, prefix: str = "", after: str = "", limit: int | None = None
    ) -> builtins.list[Stored[T]]:
        """Those whose key begins with `prefix` and comes after `after`, in the order of their keys."""
        where, arguments = _range("key", prefix, after, limit)
        sql = f"SELECT key, etag, value FROM records WHERE kind = ?{where}"
        return [self._stored(row) for row in await session.fetch(sql, self.kind, *arguments)]

    async def find(
        self,
        session: Session,
        index: str,
        value: str,
        *,
        prefix: str = "",
        after: str = "",
        limit: int | None = None,
    ) -> builtins.list[Stored[T]]:
        """Those that the index function gave `value` under the name `index`, in the order of their keys; `prefix`,
        `after` and `limit` as in `list`."""
        where, arguments = _range("i.key", prefix, after, limit)
        rows = await session.fetch(
            "SELECT r.key, r.etag, r.value FROM record_index i JOIN records r ON r.kind = i.kind AND r.key = i.key "
            f"WHERE i.kind = ? AND i.name = ? AND i.value = ?{where}",
            self.kind,
            index,
            _indexed(value),
            *arguments,
        )
        return [self._stored(row) for row in rows]

    async def count(self, session: Session, index: str, value: str) -> int:
        """How many `find` would give."""
        rows = await session.fetch(
            "SELECT COUNT(*) FROM record_index WHERE kind = ? AND name = ? AND value = ?",
            self.kind,
            index,
            _indexed(value),
        )
        return int(rows[0][0])

    async def insert(self, tx: Transaction, key: str, value: T) -> Stored[T]:
        """Raises Conflict when the key exists; the transaction may go on."""
        etag = _new_etag()
        touched = await tx.execute(
            "INSERT INTO records (kind, key, etag, value) VALUES (?, ?, ?, ?) ON CONFLICT (kind, key) DO NOTHING",
            self.kind,
            _checked(key),
            etag,
            self._encoder.encode(value),
        )
        if not touched:
            raise Conflict(f"{self.kind} {key} exists already", target=key)
        await self._write_index(tx, key, value)
        tx.changed(self.topic, key)
        return Stored(value, key, etag)

    async def put(self, tx: Transaction, key: str, value: T, *, if_match: str | None = None) -> Stored[T]:
        """Writes it, new or not. With `if_match`: only over the value with that etag, else PreconditionFailed."""
        etag = _new_etag()
        encoded = self._encoder.encode(value)
        if if_match is None:
            await tx.execute(
                "INSERT INTO records (kind, key, etag, value) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (kind, key) DO UPDATE SET etag = excluded.etag, value = excluded.value",
                self.kind,
                _checked(key),
                etag,
                encoded,
            )
        else:
            touched = await tx.execute(
                "UPDATE records SET etag = ?, value = ? WHERE kind = ? AND key = ? AND etag = ?",
                etag,
                encoded,
                self.kind,
                _checked(key),
                if_match,
            )
            if not touched:
                raise self._mismatch(key)
        if self._index is not None:
            await tx.execute("DELETE FROM record_index WHERE kind = ? AND key = ?", self.kind, key)
        await self._write_index(tx, key, value)
        tx.changed(self.topic, key)
        return Stored(value, key, etag)

    async def delete(self, tx: Transaction, key: str, *, if_match: str | None = None) -> bool:
        """Whether there was one. With `if_match`: PreconditionFailed when there is one with another etag."""
        if if_match is not None:
            found = await tx.fetch("SELECT etag FROM records WHERE kind = ? AND key = ?", self.kind, _checked(key))
            if found and found[0][0] != if_match:
                raise self._mismatch(key)
        touched = await tx.execute("DELETE FROM records WHERE kind = ? AND key = ?", self.kind, _checked(key))
        if touched:  # its index entries go with it, by the foreign key
            tx.changed(self.topic, key)
        return touched > 0

    async def _write_index(self, tx: Transaction, key: str, value: T) -> None:
        entries = list(self._entries(value))
        if entries:
            await tx.execute(
                "INSERT INTO record_index (kind, name, value, key) VALUES "
                + ", ".join(["(?, ?, ?, ?)"] * len(entries)),
                *[column for name, found in entries for column in (self.kind, name, found, key)],
            )

    def _entries(self, value: T) -> Iterator[tuple[str, str]]:
        for name, found in (self._index(value) if self._index is not None else {}).items():
            for one in (found,) if isinstance(found, str) else dict.fromkeys(found):
                yield name, _indexed(one)

    def _stored(self, row: Row) -> Stored[T]:
        key, etag, value = row
        try:
            return Stored(self._decoder.decode(value), key, etag)
        except msgspec.DecodeError as error:
            raise Problem(f"the stored {self.kind} {key} cannot be read: {error}", target=key) from error

    def _mismatch(self, key: str) -> PreconditionFailed:
        return PreconditionFailed(f"{self.kind} {key} has changed meanwhile, or is gone", target=key)


def _range(column: str, prefix: str, after: str, limit: int | None) -> tuple[str, builtins.list[str | int]]:
    """The rest of a WHERE with its order, and the arguments. Python orders text by code points, which is the order of
    its UTF-8 bytes."""
    sql, arguments = "", list[str | int]()
    if prefix and prefix > after:
        sql += f" AND {column} >= ?"
        arguments.append(_checked(prefix))
    elif after:
        sql += f" AND {column} > ?"
        arguments.append(_checked(after))
    end = end_of(prefix)
    if end is not None:
        sql += f" AND {column} < ?"
        arguments.append(end)
    sql += f" ORDER BY {column}"
    if limit is not None:
        sql += " LIMIT ?"
        arguments.append(limit)
    return sql, arguments


def end_of(prefix: str) -> str | None:
    """The least text that comes after every text beginning with `prefix`; None when there is no such text."""
    while prefix:
        last = ord(prefix[-1])
        if last < 0x10FFFF:
            return prefix[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)  # no surrogates: they have no UTF-8
        prefix = prefix[:-1]
    return None


def _new_etag() -> str:
    return secrets.token_hex(8)


def _indexed(value: str) -> str:
    encoded = _checked(value, "index value").encode()
    return value if len(encoded) <= _LONGEST_AS_IS else f"sha256:{hashlib.sha256(encoded).hexdigest()}"


def _checked(text: str, what: str = "key") -> str:
    """Text that both databases can store and index. Raises InvalidInput."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInput(f"a {what} holds a character that is not text") from None
    if size > _LONGEST:
        raise InvalidInput(f"a {what} of {size} bytes is too long: {_LONGEST} are allowed")
    if "\x00" in text or (not text and what == "key"):
        raise InvalidInput(f"a {what} may not be empty or hold a null character")
    return text
