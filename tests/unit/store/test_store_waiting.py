"""Waiting that a cancellation cannot cut short, and taking turns."""

from __future__ import annotations

import asyncio

import pytest

from keyfob.store.waiting import to_the_end
from keyfob.store.writing import Turn


async def test_result_and_error() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(to_the_end(future))
    await asyncio.sleep(0)
    assert not waiting.done()
    future.set_result(7)
    assert await waiting == 7
    failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    failed.set_exception(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await to_the_end(failed)


@pytest.mark.parametrize("failing", [False, True])
async def test_cancelled_twice_and_still_waiting(failing: bool) -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(to_the_end(future))
    for _ in range(2):
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
    if failing:
        future.set_exception(ZeroDivisionError())
    else:
        future.set_result(7)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not future.cancelled()


async def test_a_timeout_around_it_comes_late_but_comes() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.02, future.set_result, None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await to_the_end(future)
    assert future.done()


async def test_turns_are_taken_in_order() -> None:
    turn, order = Turn(), []

    async def one(number: int) -> None:
        await turn.take()
        order.append(number)
        await asyncio.sleep(0)
        turn.give()

    await asyncio.gather(*map(one, range(10)))
    assert order == list(range(10))


async def test_a_turn_is_not_taken_twice_by_one_task() -> None:
    turn = Turn()
    await turn.take()
    with pytest.raises(RuntimeError, match="nest"):
        await turn.take()
    turn.give()
    await turn.take()


async def test_taking_it_regardless_of_a_cancellation() -> None:
    turn = Turn()
    await turn.take()
    taking = asyncio.create_task(turn.take_regardless())
    await asyncio.sleep(0)
    taking.cancel()
    await asyncio.sleep(0)
    assert not taking.done()
    turn.give()
    assert isinstance(await taking, asyncio.CancelledError)
    late = asyncio.create_task(turn.take())
    await asyncio.sleep(0)
    assert not late.done()  # it was taken, though cancelled
    turn.give()
    await late
