"""Running the process: the event loop, signals, readiness, and the collector's peace."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger("keyfob.run")

Serve = Callable[[asyncio.Event], Awaitable[None]]
"""Serves until the event is set, then puts things away and returns."""

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed (it is not on Windows), else the standard one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def run(serve: Serve, *, grace: float = 10.0) -> int:
    """Runs `serve` to its end and gives the exit status.

    The first SIGTERM or SIGINT sets the event; `serve` then has `grace` seconds. A second signal, or the end of the
    grace time, cancels it: the status is then 1. What `serve` raises is raised here.
    """
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_run(serve, grace))


async def _run(serve: Serve, grace: float) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    cut = asyncio.Event()

    def on_signal(number: int) -> None:
        name = signal.Signals(number).name
        if stopping.is_set():
            log.warning("second signal (%s): stopping at once", name)
            cut.set()
        else:
            log.info("%s: stopping, at most %g s are left for work at hand", name, grace)
            stopping.set()
            loop.call_later(grace, cut.set)

    for number in SIGNALS:
        with contextlib.suppress(NotImplementedError):  # Windows: KeyboardInterrupt does it
            loop.add_signal_handler(number, on_signal, number)
    task = asyncio.ensure_future(serve(stopping))
    cutting = asyncio.ensure_future(cut.wait())
    try:
        await asyncio.wait({task, cutting}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return 0
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return 1
    finally:
        cutting.cancel()
        for number in SIGNALS:
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)


def announce(facts: Mapping[str, Any], *, fd: int | None = None, file: Path | None = None) -> None:
    """Tells whoever started us that we serve: one JSON line into an inherited descriptor (which is then closed), or
    a file that appears whole."""
    line = json.dumps(dict(facts), separators=(",", ":")).encode() + b"\n"
    if fd is not None:
        try:
            view = memoryview(line)
            while view:
                view = view[os.write(fd, view) :]
        except OSError as error:  # the starter has gone: that is no reason not to serve
            log.warning("readiness could not be told: %s", error.strerror)
        with contextlib.suppress(OSError):
            os.close(fd)
    if file is not None:
        descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(descriptor, "wb") as out:
            out.write(line)
        os.replace(temporary, file)


def unsettle() -> None:
    """Called before anything is built: nearly all of it stays, so the collector would look at it in vain, again and
    again."""
    gc.disable()


def settle() -> None:
    """Called once everything is built: what lives now lives for ever, so the collector need not look at it again,
    and a server's short-lived values are freed by counting references anyway.

    Nothing is collected first: after a start there are some 800 objects to free, and looking for them takes 25 ms.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    gc.enable()
