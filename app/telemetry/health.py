"""Health: whether the worker is alive and ready, and what it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from app.telemetry.logs import log

LOOP_LIMIT: Final = 60.0
"""Seconds without a turn of the consume loop after which the process counts as stuck."""

PARTS: Final = {
    "kafka": "No broker can be reached, or none lets the worker in",
    "topics": "A topic is missing",
    "postgres": "The database is away, lets nobody in, or has not the tables of this version",
    "group": "The worker has no place in the consumer group yet, or its consumer is made anew",
    "batch": "The batch in hand cannot be read, written or committed, and is tried again",
    "next batch": "The batch after it cannot be looked at, and is tried again",
    "callers": "The keys that tell callers apart cannot be had",
    "partition": "The partition has stopped at an answer or dead letter that cannot be published",
    "worker": "The worker has stopped for good, and nothing but a restart helps",
}
"""What can be missing, and what that means. A partition is told with its topic and number."""


class Health:
    """Whether the worker is alive and ready, and what it waits for. Each change of a part is logged once."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turned = clock()
        self._causes: dict[str, str] = {"kafka": "starting", "postgres": "starting"}

    def turned(self) -> None:
        """The consume loop went round once more."""
        self._turned = self._clock()

    def ok(self, part: str) -> None:
        """This part does its work."""
        if self._causes.pop(part, None) is not None:
            log.info("ready", part=part)

    def waits(self, part: str, cause: str) -> None:
        """This part cannot do its work for this reason (a text of ours); it is being tried again."""
        if self._causes.get(part) != cause:
            self._causes[part] = cause
            log.warning("waiting", part=part, cause=cause)

    def has(self, part: str) -> bool:
        """Whether this part does its work, as far as is known."""
        return part not in self._causes

    @property
    def live(self) -> bool:
        """False only when the consume loop is stuck, never because a server is away."""
        return self._clock() - self._turned < LOOP_LIMIT

    @property
    def ready(self) -> bool:
        """Whether records are being answered, all of them."""
        return not self._causes

    @property
    def missing(self) -> dict[str, str]:
        """What is waited for, by part."""
        return dict(self._causes)

    @property
    def waiting(self) -> dict[str, int]:
        """How many of each of `PARTS` are waited for: partitions together, so that the names have a bound."""
        counts = dict.fromkeys(PARTS, 0)
        for part in self._causes:
            name = "partition" if part.startswith("partition ") else part
            counts[name] = counts.get(name, 0) + 1
        return counts
