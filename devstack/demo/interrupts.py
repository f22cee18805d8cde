"""Ctrl-C and its like: raised where they can be handled, held where a process or a file would be left behind."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
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


def run_interruptible(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """`asyncio.run` that one of the signals ends by cancelling, and then raises KeyboardInterrupt.

    Raised in the middle of the event loop, it would leave connections that complain when they are collected.
    """
    came = False

    async def main() -> _Result:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def interrupt() -> None:
            nonlocal came
            came = True
            if task is not None:
                task.cancel()

        for number in _SIGNALS:
            loop.add_signal_handler(number, interrupt)
        try:
            return await coroutine
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
            ignore_interrupts() if came else raise_interrupts()

    try:
        result = asyncio.run(main())
    except asyncio.CancelledError:
        if not came:
            raise
    if came:
        raise KeyboardInterrupt
    return result
