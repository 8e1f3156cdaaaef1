"""Client secrets and passwords: made, hashed, verified.

scrypt with N=2^13, r=8, p=1: about 20 ms and 8 MB a check, off the event loop, few at a time. Secrets that we make
carry more than 200 bits, so the cost matters for passwords that people choose; it is the same for both.

A client that asks for a token every second would pay this each time, so a verified *client secret* is remembered for
ten minutes. What is remembered is an HMAC under a key that lives only in this process, over the stored hash and the
secret: removing or replacing the secret makes the memory unreachable, expiry is still checked by the caller, failures
are never remembered, and user passwords never pass through it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import secrets as chance
from collections import OrderedDict

from keyfob.clock import Clock

_N, _R, _P = 2**13, 8, 1
_MEMORY = 64 * 2**20
_AT_ONCE = 4
_REMEMBERED = 1_024
_REMEMBER_SECONDS = 600.0
_LONGEST = 1_024
SECRET_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~"


def new_secret() -> str:
    """40 characters, as Azure makes them; `8Q~` after the third lets scanners recognise it. The first is a letter or a
    digit: `az login -p -x…` would take it for an option."""
    body = chance.choice(SECRET_CHARACTERS[:62]) + "".join(chance.choice(SECRET_CHARACTERS) for _ in range(36))
    return f"{body[:3]}8Q~{body[3:]}"


def hash_secret(secret: str) -> str:
    """`scrypt$N$r$p$salt$hash`, base64."""
    salt = os.urandom(16)
    return "$".join(
        ("scrypt", str(_N), str(_R), str(_P), base64.b64encode(salt).decode(), _b64(_scrypt(secret, salt, _N, _R, _P)))
    )


def check_secret(secret: str, stored: str) -> bool:
    """Constant-time comparison; False for anything that is not one of our hashes."""
    parts = stored.split("$")
    if len(parts) != 6 or parts[0] != "scrypt" or len(secret) > _LONGEST:
        return False
    n, r, p, salt, digest = int(parts[1]), int(parts[2]), int(parts[3]), base64.b64decode(parts[4]), parts[5]
    return hmac.compare_digest(_b64(_scrypt(secret, salt, n, r, p)), digest)


def _scrypt(secret: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(secret.encode("utf-8", "surrogatepass"), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=32)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class SecretChecker:
    """Verifies secrets off the event loop."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._key = os.urandom(32)
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._good: OrderedDict[bytes, float] = OrderedDict()
        self._nobody = ""
        """What the password of a user who is not there is compared with; made at the first sign-in, not at start."""

    async def password(self, password: str, stored: str) -> bool:
        """An empty `stored` (no such user, no password) takes as long and is never right."""
        async with self._places:
            self._nobody = self._nobody or await asyncio.to_thread(hash_secret, "nobody")
            right = await asyncio.to_thread(check_secret, password, stored or self._nobody)
        return right and bool(stored)

    async def client_secret(self, secret: str, stored: str) -> bool:
        mark = self._mark(secret, stored)
        if self._good.get(mark, 0.0) > self._clock.now():
            return True
        async with self._places:
            right = await asyncio.to_thread(check_secret, secret, stored)
        if right:
            self._good.pop(mark, None)
            self._good[mark] = self._clock.now() + _REMEMBER_SECONDS
            if len(self._good) > _REMEMBERED:
                self._good.popitem(last=False)
        return right

    def remembers(self, secret: str, stored: str) -> bool:
        return self._good.get(self._mark(secret, stored), 0.0) > self._clock.now()

    def _mark(self, secret: str, stored: str) -> bytes:
        text = stored.encode() + b"\0" + secret.encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, text, "sha256")
