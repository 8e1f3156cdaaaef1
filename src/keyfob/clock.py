"""Time and chance as arguments: the ports, the real ones, and the fakes that tests move by hand."""

from __future__ import annotations

import os
import secrets
import time
import uuid
from datetime import UTC, datetime
from typing import Protocol

_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
"""The digit of a GUID that says its variant (RFC 9562 §4.1), from a random one."""


class Clock(Protocol):
    """Epoch seconds, as a float."""

    def now(self) -> float: ...


class Ids(Protocol):
    """New identifiers and secrets."""

    def guid(self) -> str: ...

    def token(self, size: int = 32) -> str:
        """`size` random bytes as unpadded base64url."""
        ...


class SystemClock:
    def now(self) -> float:
        return time.time()


class SystemIds:
    def guid(self) -> str:
        """As `uuid.uuid4`, in a third of its time: hot paths name each request."""
        digits = os.urandom(16).hex()
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"

    def token(self, size: int = 32) -> str:
        return secrets.token_urlsafe(size)


class FakeClock:
    """A clock that stands until a test moves it."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self.time = start

    def now(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds


class CountingIds:
    """Predictable identifiers: the first GUID ends in …001."""

    def __init__(self) -> None:
        self.count = 0

    def guid(self) -> str:
        self.count += 1
        return str(uuid.UUID(int=self.count))

    def token(self, size: int = 32) -> str:
        self.count += 1
        return f"token-{self.count:0{max(1, size - 6)}d}"


def iso(seconds: float) -> str:
    """The form Resource Manager writes: `2018-11-28T10:00:00.0000000Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"
