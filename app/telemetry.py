"""What can be seen of the worker: its health, its metrics and its log. Nothing here holds personal data."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any, Final, Literal

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

log: structlog.stdlib.BoundLogger = structlog.get_logger("patient_upsert")

LOOP_LIMIT: Final = 60.0
"""Seconds without a turn of the consume loop after which the process counts as stuck."""


def configure_logging(form: Literal["json", "console"], level: str) -> None:
    """Send the log of the worker to standard error, and keep quiet what libraries say.

    Texts of drivers can hold values of a request, so of the libraries only the fact that they complained is of use, and
    that the worker tells itself.
    """
    rank = logging.getLevelNamesMapping()[level.upper()]
    renderer: Any = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(rank),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    for name in ("aiokafka", "faststream", "asyncpg", "asyncio", "alembic", "uvicorn"):
        library = logging.getLogger(name)
        library.handlers = [logging.NullHandler()]
        library.propagate = False


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


class Metrics:
    """The counters of one worker."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.answers = Counter(
            "patient_upsert_answers",
            "Answers given, by outcome and error code",
            ["outcome", "code"],
            registry=self.registry,
        )
        self.replays = Counter("patient_upsert_replays", "Answers that came from the store", registry=self.registry)
        self.key_differs = Counter(
            "patient_upsert_keys_that_differ",
            "Records whose key is not their customer",
            registry=self.registry,
        )
        self.conflicts = Counter(
            "patient_upsert_conflicts", "Batches read again because rows had moved", registry=self.registry
        )
        self.expired = Counter(
            "patient_upsert_records_expired_unread",
            "Records that left the topic before they were read",
            registry=self.registry,
        )
        self.answers_removed = Counter(
            "patient_upsert_answers_removed", "Stored answers removed by their age", registry=self.registry
        )
        self.stopped_partitions = Gauge(
            "patient_upsert_stopped_partitions",
            "Partitions that wait for an answer to be publishable",
            registry=self.registry,
        )
