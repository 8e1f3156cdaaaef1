"""Authorization codes, device codes and refresh tokens: kept under a hash, expiring, bounded.

A code is `<expiry>.<random>`: the expiry leads the stored key as well, so that what is dead stands first in key order
and is swept a little at every write. Changing a code's expiry changes its hash, so it cannot be lengthened.
"""

from __future__ import annotations

import secrets as chance
from hashlib import sha256
from typing import Literal

import msgspec

from keyfob.clock import Clock, Ids
from keyfob.directory.aadsts import Refused
from keyfob.directory.keys import b64url
from keyfob.directory.model import Pending
from keyfob.directory.records import PENDING
from keyfob.store.port import Store, Transaction

LIVES = {"code": 600.0, "device": 900.0, "refresh": 90 * 86_400.0}
"""Seconds."""
MOST_WAITING = 2_000
"""Device codes waiting at once: anybody may ask for one."""
GRACE = 600.0
"""A refresh token that was used stays good this long: parallel processes share a cache, and answers get lost."""
USER_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ23456789"
_SWEPT = 50
_LONGEST = 256


class PendingStore:
    def __init__(self, *, store: Store, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids

    async def put(self, pending: Pending) -> str:
        """Stores it for its kind's lifetime and gives the code. Raises `Refused` when too many wait."""
        now = self._clock.now()
        expires = now + LIVES[pending.kind]
        code = f"{int(expires):x}.{self._ids.token(48)}"
        key = _key(pending.kind, code)
        if key is None:
            raise AssertionError("a code of our own making has a key")
        async with self._store.transaction() as tx:
            await self._sweep(tx, pending.kind, now)
            if pending.kind == "device":
                waiting = await PENDING.list(tx, prefix="device/", limit=MOST_WAITING)
                if len(waiting) >= MOST_WAITING:
                    raise Refused(90055)
            await PENDING.insert(tx, key, msgspec.structs.replace(pending, issued=now, expires=expires))
        return code

    async def get(self, kind: str, code: str) -> Pending | None:
        """What the code stands for, dead or alive: the caller tells expired from unknown."""
        key = _key(kind, code)
        row = await PENDING.get(self._store, key) if key else None
        return row.value if row else None

    async def by_user_code(self, user_code: str) -> tuple[str, Pending] | None:
        """A device code by what the user types: its key and value."""
        text = "".join(user_code.split()).replace("-", "").upper()
        if not text or len(text) > 32:
            return None
        for row in await PENDING.find(self._store, "user_code", text):
            return row.key, row.value
        return None

    async def decide(
        self, key: str, *, status: Literal["approved", "declined"], user_id: str = "", tenant_id: str = ""
    ) -> bool:
        """Approves or declines a waiting device code. False when it waits no more."""
        async with self._store.transaction() as tx:
            row = await PENDING.get(tx, key)
            if row is None or row.value.status != "waiting" or row.value.expires <= self._clock.now():
                return False
            changed = msgspec.structs.replace(
                row.value,
                status=status,
                user_id=user_id,
                tenant_id=tenant_id,
            )
            await PENDING.put(tx, key, changed)
            return True

    async def spend(self, kind: str, code: str) -> Pending | None:
        """Marks it used and gives it as it was before; of two at once, one sees `status` "spent"."""
        key = _key(kind, code)
        if key is None:
            return None
        async with self._store.transaction() as tx:
            row = await PENDING.get(tx, key)
            if row is None:
                return None
            if row.value.status != "spent":
                await PENDING.put(tx, key, msgspec.structs.replace(row.value, status="spent", polled=self._clock.now()))
            return row.value

    async def revoke_family(self, family: str) -> int:
        """Removes every refresh token of one sign-in: one of them was used twice."""
        if not family:
            return 0
        async with self._store.transaction() as tx:
            rows = await PENDING.find(tx, "family", family)
            for row in rows:
                await PENDING.delete(tx, row.key)
        return len(rows)

    async def _sweep(self, tx: Transaction, kind: str, now: float) -> None:
        for row in await PENDING.list(tx, prefix=f"{kind}/", limit=_SWEPT):
            if row.value.expires > now:
                break
            await PENDING.delete(tx, row.key)


def new_user_code() -> str:
    """Nine letters and digits that are hard to confuse."""
    return "".join(chance.choice(USER_CODE_LETTERS) for _ in range(9))


def _key(kind: str, code: str) -> str | None:
    expiry, dot, rest = code.partition(".")
    if not dot or not rest or len(code) > _LONGEST or not code.isascii() or not 0 < len(expiry) <= 10:
        return None
    digest = b64url(sha256(code.encode()).digest())
    return f"{kind}/{expiry:0>10}/{digest}"
