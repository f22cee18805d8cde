"""Removes stored answers once no record that could ask for them can be read: little by little, beside the work."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from app.errors import WorkerError
from app.settings import Settings
from app.telemetry import Metrics, log

EVERY_SECONDS: Final = 600.0
MOST: Final = 1000
"""Answers in one transaction: it takes some milliseconds, and nobody waits for its rows."""
SHARE: Final = 0.1
"""How much of the time may be spent on it, so that the requests do not feel it."""
SHORTEST_PAUSE: Final = 0.05
_BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)


class Answers(Protocol):
    """What this needs of `store.Store`."""

    async def remove_answers(self, topic: str, since: datetime, before: datetime, most: int) -> list[datetime] | None:
        """See there."""


@dataclass(slots=True)
class Housekeeping:
    """Removes what is due, every ten minutes; several workers take turns.

    `readable_ms` says for how long a request or dead letter may be read (None: for ever, or not known); it is asked
    anew each time, for the configuration of a topic may change.
    """

    store: Answers
    readable_ms: Callable[[], Awaitable[int | None]]
    settings: Settings
    metrics: Metrics
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _told: str = ""

    async def run(self) -> None:
        """Until cancelled. Does nothing where answers are kept for ever."""
        if self.settings.answer_retention_days is None:
            return
        while True:
            await asyncio.sleep(EVERY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - apart from other workers
            await self.once()

    async def once(self) -> int:
        """Remove everything that is due now; how many answers that were. A server that is away is left alone."""
        removed = 0
        try:
            before = await self._before()
            if before is not None:
                removed = await self._remove(before)
                self._tell("")
        except WorkerError as error:
            self._tell(str(error))
        except Exception as error:  # noqa: BLE001 - a task that ends would never remove anything again, and not say so
            self._tell(f"unexpected {type(error).__name__}")
        if removed:
            log.info("answers_removed", count=removed)
        return removed

    async def _before(self) -> datetime | None:
        """The answers that were given before this time may go."""
        assert self.settings.answer_retention_days is not None
        readable = await self.readable_ms()
        if readable is None:
            self._tell("requests or dead letters may be read for ever, or for a time that this user may not learn")
            return None
        kept = max(timedelta(days=self.settings.answer_retention_days), timedelta(milliseconds=readable))
        return self.clock() - kept

    async def _remove(self, before: datetime) -> int:
        loop, topic, since, removed = asyncio.get_running_loop(), self.settings.request_topic, _BEGINNING, 0
        while True:
            began = loop.time()
            times = await self.store.remove_answers(topic, since, before, MOST)
            if times is None:  # another worker is at it
                return removed
            removed += len(times)
            self.metrics.answers_removed.inc(len(times))
            if len(times) < MOST:
                return removed
            since = max(times)
            await asyncio.sleep(max(SHORTEST_PAUSE, (loop.time() - began) * (1 / SHARE - 1)))

    def _tell(self, cause: str) -> None:
        """Say once why nothing is removed."""
        if cause and cause != self._told:
            log.warning("answers_not_removed", cause=cause)
        self._told = cause
