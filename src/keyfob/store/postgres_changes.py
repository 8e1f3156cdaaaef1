"""How nodes that share a PostgreSQL hear of each other's changes: NOTIFY in the writer's transaction, LISTEN here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from keyfob.store.port import EVERYTHING
from keyfob.store.watchers import Change, Watchers

CHANNEL = "keyfob_changes"
_LARGEST = 7999
"""Bytes: PostgreSQL refuses a payload of 8,000."""
_HEARTBEAT = 30.0
_LONGEST_PAUSE = 5.0


class Notice(msgspec.Struct, array_like=True, frozen=True):
    """What travels: which transaction, and its changes."""

    id: str
    changes: tuple[Change, ...]


def payload_of(notice: Notice) -> str:
    """Changes that do not fit become one EVERYTHING for each of their topics."""
    encoded = msgspec.json.encode(notice)
    if len(encoded) > _LARGEST:
        topics = dict.fromkeys(topic for topic, _ in notice.changes)
        encoded = msgspec.json.encode(Notice(notice.id, tuple((topic, EVERYTHING) for topic in topics)))
    if len(encoded) > _LARGEST:
        encoded = msgspec.json.encode(Notice(notice.id, ((EVERYTHING, EVERYTHING),)))
    return encoded.decode()


class ChangeFeed:
    """Listens on a connection of its own, and gets a new one whenever it is lost."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], watchers: Watchers) -> None:
        self._connect = connect
        self._watchers = watchers
        self._node = secrets.token_hex(6)
        self._transactions = 0
        self._own: set[str] = set()
        self._dropped = asyncio.Event()
        self._connection: Any = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Hears every change committed from now on."""
        await self._listen()
        self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def stop(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
        if self._connection is not None:
            try:
                await self._connection.close(timeout=1)
            except Exception:
                self._connection.terminate()

    def announce(self, changes: Iterable[Change]) -> Notice:
        """A notice of this node, which `_hear` will know as told already."""
        self._transactions += 1
        notice = Notice(f"{self._node}-{self._transactions}", tuple(changes))
        self._own.add(notice.id)
        return notice

    def tell(self, notice: Notice) -> None:
        self._watchers.tell(notice.changes)

    def withdraw(self, notice: Notice, *, uncertain: bool) -> None:
        """The commit failed. If it may have succeeded all the same, the watchers had better hear of it, now and
        when the notice arrives."""
        self._own.discard(notice.id)
        if uncertain:
            self.tell(notice)

    def _hear(self, _connection: Any, _process: int, _channel: str, payload: str) -> None:
        try:
            notice = msgspec.json.decode(payload, type=Notice)
        except msgspec.DecodeError:
            self._watchers.tell_everything()  # a node of another version, or a curious person with psql
            return
        if notice.id in self._own:
            self._own.discard(notice.id)
        elif (EVERYTHING, EVERYTHING) in notice.changes:
            self._watchers.tell_everything()
        else:
            self.tell(notice)

    async def _listen(self) -> None:
        connection = await self._connect()
        dropped = asyncio.Event()
        connection.add_termination_listener(lambda _: dropped.set())
        try:
            await connection.add_listener(CHANNEL, self._hear)
        except BaseException:
            connection.terminate()
            raise
        self._connection, self._dropped = connection, dropped
        if connection.is_closed():
            dropped.set()

    async def _keep(self) -> None:
        while True:
            await self._until_dropped()
            logging.getLogger("keyfob.store").warning("lost the connection that hears of other nodes' changes")
            await self._listen_again()
            self._own.clear()  # notices of the lost connection will not come
            self._watchers.tell_everything()

    async def _until_dropped(self) -> None:
        """Asks now and then, since a connection can be dead without anybody having said so."""
        while not self._dropped.is_set():
            try:
                async with asyncio.timeout(_HEARTBEAT):
                    await self._dropped.wait()
            except TimeoutError:
                try:
                    await self._connection.fetchval("SELECT 1", timeout=_HEARTBEAT)
                except Exception:
                    self._connection.terminate()
                    self._dropped.set()

    async def _listen_again(self) -> None:
        pause = 0.05
        while True:
            try:
                await self._listen()
            except Exception as error:
                logging.getLogger("keyfob.store").info("PostgreSQL is not reachable yet: %s", type(error).__name__)
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 (so that nodes do not come in step)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                return
