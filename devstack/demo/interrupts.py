"""Ctrl-C and its like: raised where they can be handled, held where a process or a file would be left behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

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
