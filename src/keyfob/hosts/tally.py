"""What is counted of each host: tokens asked for, and decisions about the programs that came with them.

Nothing here is on a hot path but one addition. A token that is answered from memory adds one to the host's count;
when it was is written once a second, with the reply that changes then anyway. Decisions are not counted when they are
taken: a sweep each second reads what the decision log has got meanwhile, and asks each token whose it is. Where more
decisions fall in a second than the log keeps, the rest is counted as nobody's.

A token of a scale set's identity does not say which instance asked for it: those decisions count for the set.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from keyfob.access.log import DecisionLog
from keyfob.errors import InvalidInput
from keyfob.resource_id import ResourceId

KEPT = 20_000
"""Hosts that are counted; those that were first heard of longest ago go first."""


class Count:
    """Of one host, since the server started. A request is `refused` when it was understood and got no token."""

    __slots__ = ("allowed", "client_id", "denied", "given", "last", "refused", "resource")

    def __init__(self) -> None:
        self.given = 0
        self.refused = 0
        self.allowed = 0
        self.denied = 0
        self.last = 0.0
        """Epoch seconds of the last token, to the second."""
        self.resource = ""
        """What that token is for."""
        self.client_id = ""

    def gave(self, now: float, resource: str, client_id: str) -> None:
        self.given += 1
        self.seen(now, resource, client_id)

    def seen(self, now: float, resource: str, client_id: str) -> None:
        self.last = now
        self.resource = resource
        self.client_id = client_id


class Tally:
    """One per process."""

    def __init__(self, log: DecisionLog | None = None) -> None:
        self._log = log
        self._counts: dict[str, Count] = {}
        self._swept = 0
        self._places: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        self.others = Count()
        """Decisions about people and applications."""
        self.missed = 0
        """Decisions that nobody saw in time."""

    def of(self, host_key: str) -> Count:
        """The host's own, to add to."""
        found = self._counts.get(host_key)
        if found is None:
            while len(self._counts) >= KEPT:
                del self._counts[next(iter(self._counts))]
            found = self._counts[host_key] = Count()
        return found

    def look(self, host_key: str) -> Count:
        """As `of`, without making one."""
        return self._counts.get(host_key) or Count()

    def sweep(self) -> None:
        """Counts the decisions since the last time."""
        if self._log is None:
            return
        latest, lines = self._log.since(self._swept)
        self.missed += latest - self._swept - len(lines)
        self._swept = latest
        for caller, allowed in lines:
            count = self._whose(caller.claims)
            if allowed:
                count.allowed += 1
            else:
                count.denied += 1

    def _whose(self, claims: Mapping[str, Any]) -> Count:
        # the host that a user-assigned identity was asked by; a system-assigned one is its host's
        text = claims.get("xms_az_rid") or claims.get("xms_mirid")
        if not isinstance(text, str):
            return self.others
        key = self._places.get(text)
        if key is None:
            try:
                key = ResourceId.parse(text).key
            except InvalidInput:
                return self.others
            if len(self._places) >= KEPT:
                self._places.clear()
            self._places[text] = key
        return self.of(key)

    # --- as part of a server

    async def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="tally")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self, every: float = 1.0) -> None:
        while True:
            await asyncio.sleep(every)
            self.sweep()
