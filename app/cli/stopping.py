"""Ending a long command in order when somebody presses Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class Signals:
    """SIGINT and SIGTERM ask the work that is under way to end; the second one ends it at once."""

    received: int | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Listen for them within the block."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._receive, number)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    async def pause(self, seconds: float) -> None:
        """So long, or until one of them comes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self.asked.wait()

    def _receive(self, number: int) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number
        self.asked.set()
