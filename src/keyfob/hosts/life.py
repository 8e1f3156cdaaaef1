"""An endpoint belongs to one life of its host: who comes after it under the same name is another.

A program that was handed the endpoint of a machine may outlive the machine. When one of that name is made again, the
old endpoint must not speak for it, or the program would have an identity that nobody gave it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from keyfob.arm.resources import RESOURCES
from keyfob.errors import NotFound
from keyfob.resource_id import ResourceId
from keyfob.store.port import EVERYTHING, Store
from keyfob.wire.http import Reply, Request

Hot = Callable[[bytes, list[tuple[bytes, bytes]]], bytes | None]


class Life:
    """`over` says that the host was deleted, whatever has its name now."""

    __slots__ = ("born", "host_id", "over")

    def __init__(self, host_id: ResourceId, born: float) -> None:
        self.host_id = host_id
        self.born = born
        self.over = False

    def check(self) -> None:
        """Raises `NotFound`."""
        if self.over:
            raise NotFound(
                f"The host '{self.host_id}' was not found.", code="ResourceNotFound", target=str(self.host_id)
            )

    def quickly(self, hot: Hot) -> Hot:
        """Nothing is answered from memory in the name of one that is gone."""

        def answer(target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes | None:
            return None if self.over else hot(target, headers)

        return answer

    def slowly(
        self, handler: Callable[[Request], Awaitable[Reply]], refuse: Callable[[NotFound], Reply]
    ) -> Callable[[Request], Awaitable[Reply]]:
        async def answer(request: Request) -> Reply:
            try:
                self.check()
            except NotFound as problem:
                return refuse(problem)
            return await handler(request)

        return answer


class Lives:
    """The lives of all hosts that something was opened for; each change of one of them is looked at."""

    def __init__(self, store: Store, ended: Callable[[Life], None]) -> None:
        """`ended` is told of each life that is over, to let go of what belongs to it."""
        self._store = store
        self._ended = ended
        self._lives: dict[str, Life] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        store.watch(RESOURCES.topic, self._hear)

    def of(self, host_id: ResourceId, born: float) -> Life:
        """The one life of the host that is stored, made at `born`."""
        life = self._lives.get(host_id.key)
        if life is None or life.over or life.born != born:
            if life is not None:
                self._end(life)
            life = self._lives[host_id.key] = Life(host_id, born)
        return life

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hear(self, key: str) -> None:
        for life in list(self._lives.values()) if key == EVERYTHING else [self._lives.get(key)]:
            if life is not None:
                task = asyncio.get_running_loop().create_task(self._look(life), name="life of a host")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _look(self, life: Life) -> None:
        row = await RESOURCES.get(self._store, life.host_id.key)
        if row is None or row.value.created != life.born:
            self._end(life)

    def _end(self, life: Life) -> None:
        if not life.over:
            life.over = True
            if self._lives.get(life.host_id.key) is life:
                del self._lives[life.host_id.key]
            self._ended(life)
