"""Awaiting with a limit, and ending tasks, such that no cancellation is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from typing import Any, Final, TypeVar

T = TypeVar("T")

AGAIN_SECONDS: Final = 0.5
"""What a cancelled task gets to clean up before it is cancelled again."""


async def within(awaitable: Awaitable[T], seconds: float | None) -> T:
    """The result of `awaitable`; TimeoutError after `seconds`.

    `asyncio.wait_for` of Python 3.11 swallows a cancellation that arrives together with the result, and whoever
    cancelled waits for ever (https://github.com/python/cpython/issues/86296). Ruff forbids it here.
    """
    async with asyncio.timeout(seconds):
        return await awaitable


async def ended(tasks: Collection[asyncio.Task[Any]], limit: float | None = None) -> None:
    """Cancel these until they have ended, or for `limit` seconds: code of others may swallow a cancellation."""
    loop = asyncio.get_running_loop()
    deadline = None if limit is None else loop.time() + limit
    while pending := {task for task in tasks if not task.done()}:
        for task in pending:
            task.cancel()
        left = AGAIN_SECONDS if deadline is None else min(AGAIN_SECONDS, deadline - loop.time())
        if left <= 0:
            return
        await asyncio.wait(pending, timeout=left)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not print it with whatever it holds
