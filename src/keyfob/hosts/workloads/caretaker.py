"""What the server keeps for a machine goes with it: its sandboxes when it stops, its files when it is deleted."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from keyfob.arm.resources import RESOURCES
from keyfob.hosts.kinds import SCALE_SET_INSTANCE, VIRTUAL_MACHINE, kind_of, runs
from keyfob.hosts.workloads.workshop import Workshop
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store

_log = logging.getLogger(__name__)
MACHINES = (VIRTUAL_MACHINE, SCALE_SET_INSTANCE)


class Caretaker:
    """Follows the machines, of which no other part runs programs for long."""

    def __init__(self, *, store: Store, workshop: Workshop) -> None:
        self._store = store
        self._workshop = workshop
        self._changed: set[str] = set()
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        store.watch(RESOURCES.topic, self._hear)

    async def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="caretaker")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def _hear(self, key: str) -> None:
        if "/virtualmachine" in key and kind_of(ResourceId.parse(key).type) in MACHINES:
            self._changed.add(key)
            self._more.set()

    async def _run(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            changed, self._changed = self._changed, set()
            for key in changed:
                try:
                    await self._look_after(ResourceId.parse(key))
                except Exception:
                    _log.exception("what is kept for %s could not be looked after", key)

    async def _look_after(self, host_id: ResourceId) -> None:
        row = await RESOURCES.get(self._store, host_id.key)
        kind = kind_of(host_id.type)
        if row is not None and kind is not None and runs(kind, row.value.properties):
            return
        await self._workshop.end(host_id)
        if row is None:
            self._workshop.forget(host_id)
