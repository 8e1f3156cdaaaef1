"""Slows guessing down: too many failures for one name within a while, and it is refused for that while."""

from __future__ import annotations

from keyfob.clock import Clock

_FAILURES = 10
_WHILE = 60.0
_NAMES = 10_000


class Throttle:
    """In memory and per node: it makes guessing slow, it is no record. A success clears the name."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._failures: dict[str, tuple[int, float]] = {}

    def locked(self, name: str) -> bool:
        count, since = self._failures.get(name, (0, 0.0))
        return count >= _FAILURES and self._clock.now() - since < _WHILE

    def failed(self, name: str) -> None:
        now = self._clock.now()
        count, since = self._failures.get(name, (0, now))
        if now - since >= _WHILE:
            count = 0
        if name not in self._failures and len(self._failures) >= _NAMES:
            self._failures.pop(next(iter(self._failures)))
        self._failures[name] = (count + 1, now)

    def succeeded(self, name: str) -> None:
        self._failures.pop(name, None)

    def too_soon(self, name: str, seconds: float) -> bool:
        """Whether the last call for this name was less than that ago; remembers this one."""
        now = self._clock.now()
        _, last = self._failures.get(name, (0, float("-inf")))
        self._failures.pop(name, None)
        if len(self._failures) >= _NAMES:
            self._failures.pop(next(iter(self._failures)))
        self._failures[name] = (0, now)
        return now - last < seconds
