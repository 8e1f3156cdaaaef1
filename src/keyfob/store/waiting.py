"""Waiting for work that must not be abandoned half way, such as a commit."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

T = TypeVar("T")


async def settle(future: asyncio.Future[Any]) -> asyncio.CancelledError | None:
    """Waits until `future` is done, even when the waiting task is cancelled meanwhile.

    Returns that cancellation, which the caller must raise once it has tidied up. The outcome stays in `future`.
    """
    cancelled = None
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled


async def to_the_end(future: asyncio.Future[T]) -> T:
    """The result of `future`. A cancellation of the waiting task is raised only after `future` is done."""
    cancelled = await settle(future)
    if cancelled is not None:
        if not future.cancelled():
            future.exception()  # seen here, or asyncio would report it as never retrieved
        raise cancelled
    return future.result()
