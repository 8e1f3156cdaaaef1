"""The application: builds every part, opens its sockets, and runs until it is told to stop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from keyfob import __version__
from keyfob.settings import Settings

__all__ = ["serve"]


def serve(settings: Settings, *, ready_fd: int | None = None, on_ready: Callable[[], None] | None = None) -> None:
    """Runs a server until SIGTERM or SIGINT. Raises `Problem` when it cannot start.

    `ready_fd` is an inherited descriptor that gets one JSON line once the server listens.
    """
    from keyfob.servers.log import configure
    from keyfob.servers.run import run, unsettle

    unsettle()
    configure(settings.log)

    async def work(stopping: asyncio.Event) -> None:
        await _work(settings, stopping, ready_fd, on_ready)

    run(work)


async def _work(
    settings: Settings, stopping: asyncio.Event, ready_fd: int | None, on_ready: Callable[[], None] | None
) -> None:
    from keyfob.app import folder
    from keyfob.app.parts import build
    from keyfob.clock import SystemClock, SystemIds
    from keyfob.servers.run import announce, settle

    folder.prepare(settings)
    lock = folder.occupy(settings)
    app = await build(settings, clock=SystemClock(), ids=SystemIds())
    try:
        await app.start()
        facts = {"pid": os.getpid(), "address": settings.address, "port": app.port, "version": __version__}
        facts["proxy"] = app.hosts.proxy
        announce(facts, file=settings.server_file)
        announce(facts, fd=ready_fd)
        settle()
        if on_ready is not None:
            await asyncio.to_thread(on_ready)
        await stopping.wait()
    finally:
        settings.server_file.unlink(missing_ok=True)
        await app.stop()
        lock.release()
