"""Deployments, imported and built when they are first needed: a server starts without the template language."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from keyfob.arm.templates.records import RECORDS
from keyfob.errors import Problem
from keyfob.store.port import Store

if TYPE_CHECKING:
    from keyfob.arm.templates.service import Deployments

_log = logging.getLogger(__name__)


class LaterDeployments:
    """Calling it gives them. `run` is their background task."""

    def __init__(self, *, store: Store, **parts: Any) -> None:
        """What `service.Deployments` takes."""
        self._store = store
        self._parts: Mapping[str, Any] = parts
        self._built: Deployments | None = None
        self._needed = asyncio.Event()

    def __call__(self) -> Deployments:
        if self._built is None:
            from keyfob.arm.templates.service import Deployments

            self._built = Deployments(store=self._store, **self._parts)
            self._needed.set()
        return self._built

    async def run(self, *, every: float = 15.0) -> None:
        """Until somebody deploys: looks now and then for what an earlier process, or another node, has left."""
        while self._built is None and not await self._left_behind():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._needed.wait(), every)
        await self().run()

    async def _left_behind(self) -> bool:
        try:
            return bool(await RECORDS.find(self._store, "active", "yes", limit=1))
        except Problem as problem:
            _log.warning("deployments could not be looked for: %s", problem.message)
            return False
