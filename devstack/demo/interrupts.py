"""Ctrl-C and its like: raised where they can be handled, held where a process or a file would be left behind."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, Final, TypeVar

_Result = TypeVar("_Result")
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def raise_interrupts() -> None:
    """From here on each of the signals raises KeyboardInterrupt, once."""
    for number in _SIGNALS:  # SIGINT too: a shell starts background jobs with it ignored
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    ignore_interrupts()
    raise KeyboardInterrupt


def ignore_interrupts() -> None:
    """From here on all is being taken down: a second Ctrl-C must not cut that short."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def held_interrupts() -> Iterator[None]:
    """Put an interruption off to the end of the block, where what the block made can be found again."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def run_interruptible(make: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
    """`asyncio.run` that one of the signals ends by cancelling, and then raises KeyboardInterrupt.

    Raised in the middle of the event loop, it would leave connections that complain when they are collected; while the
    loop is made or closed, coroutines that were never awaited. So it is only noted from before the loop until after it.
    """
    came = False
    stop: Callable[[], object] | None = None

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if not came and stop is not None:
            stop()
        came = True

    async def main() -> _Result:
        nonlocal stop
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        stop = partial(loop.call_soon_threadsafe, task.cancel)  # wakes the loop, which the cancelling alone would not
        try:
            if came:
                raise asyncio.CancelledError
            return await make()
        finally:
            stop = None

    for number in _SIGNALS:
        signal.signal(number, note)
    try:
        result = asyncio.run(main())
    except asyncio.CancelledError:
        if not came:
            raise
    finally:
        if came:
            ignore_interrupts()
        else:
            raise_interrupts()
    if came:
        raise KeyboardInterrupt
    return result
