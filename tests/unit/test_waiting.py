"""Awaiting with a limit, and ending tasks: a cancellation always reaches its task."""

from __future__ import annotations

import asyncio

import pytest

from app.waiting import ended, within


async def test_a_cancellation_that_comes_together_with_the_result_is_not_swallowed() -> None:
    result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(within(result, 10))
    await asyncio.sleep(0)
    result.set_result(1)
    waiting.cancel()
    await asyncio.wait({waiting}, timeout=5)
    assert waiting.cancelled()


async def test_what_takes_too_long_is_given_up() -> None:
    with pytest.raises(TimeoutError):
        await within(asyncio.Event().wait(), 0.001)


async def test_a_task_that_swallows_cancellations_is_cancelled_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.waiting.AGAIN_SECONDS", 0.001)
    swallowed = 0

    async def deaf() -> None:
        nonlocal swallowed
        while swallowed < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1

    tasks = [asyncio.create_task(deaf()), asyncio.create_task(asyncio.Event().wait())]
    await asyncio.sleep(0)
    await ended(tasks)
    assert swallowed == 3
    assert all(task.done() for task in tasks)


async def test_a_task_that_never_ends_is_left_after_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.waiting.AGAIN_SECONDS", 0.001)
    released = asyncio.Event()

    async def deaf() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await ended([task], 0.01)
    assert not task.done()
    released.set()
    await task
