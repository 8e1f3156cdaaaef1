"""Deployments that are built when they are needed: by whoever deploys, or because some were left."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from keyfob.arm.templates.later import LaterDeployments
from keyfob.arm.templates.records import RECORDS, Deployment
from keyfob.store.port import Store


class Looking:
    """What `service.Deployments` is to its holder."""

    def __init__(self, **parts: Any) -> None:
        self.parts = parts
        self.runs = asyncio.Event()

    async def run(self) -> None:
        self.runs.set()


@pytest.fixture
def later(store: Store, monkeypatch: pytest.MonkeyPatch) -> LaterDeployments:
    monkeypatch.setattr("keyfob.arm.templates.service.Deployments", Looking)
    return LaterDeployments(store=store, alone=True)


async def test_whoever_deploys_has_them_built_once(later: LaterDeployments, store: Store) -> None:
    task = asyncio.create_task(later.run())
    for _ in range(5):
        await asyncio.sleep(0)
    assert later._built is None
    made: Any = later()
    assert later() is made
    assert made.parts == {"store": store, "alone": True}
    await asyncio.wait_for(made.runs.wait(), 60)
    await task


async def test_what_was_left_is_looked_after_without_being_asked_for(later: LaterDeployments, store: Store) -> None:
    async with store.transaction() as tx:
        await RECORDS.put(tx, "/subscriptions/s/…/d", Deployment(id="/subscriptions/s/…/d", state="Running"))
    await asyncio.wait_for(later.run(), 60)
    made: Any = later._built
    assert made.runs.is_set()


async def test_and_what_another_node_leaves(later: LaterDeployments, store: Store) -> None:
    task = asyncio.create_task(later.run(every=0.01))
    for _ in range(5):
        await asyncio.sleep(0)
    assert later._built is None
    async with store.transaction() as tx:
        await RECORDS.put(tx, "/subscriptions/s/…/d", Deployment(id="/subscriptions/s/…/d", state="Running"))
    await asyncio.wait_for(task, 60)
    assert later._built is not None


async def test_a_store_that_does_not_answer_is_asked_again(
    later: LaterDeployments, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await store.close()
    with caplog.at_level("CRITICAL"):
        task = asyncio.create_task(later.run(every=0.01))
        for _ in range(5):
            await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
