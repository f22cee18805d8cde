"""The metrics of one worker. They move once a batch: one call a record would cost a tenth of the throughput."""

from __future__ import annotations

import platform
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from operator import attrgetter
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

from app.model import Answer, Position, Record
from app.telemetry import names
from app.telemetry.observed import MILLISECONDS, Ages, Observed
from app.telemetry.traces import Traces

_outcome: Final = attrgetter("outcome", "error")
_replayed: Final = attrgetter("replayed")
_timestamp: Final = attrgetter("timestamp")


class Metrics:
    """Counters and durations, and where the rest is looked up (`observed`). `clock` gives Unix seconds.

    With `traces`, batches and stages are spans as well.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series a counter, which says when this process began
        self._clock = clock
        self.registry = CollectorRegistry()
        self.traces: Traces | None = None
        self.observed = Observed()
        self.answers = self._counter(names.ANSWERS)
        self.replays = self._counter(names.REPLAYS)
        self.key_differs = self._counter(names.KEY_DIFFERS)
        self.dead_letters = self._counter(names.DEAD_LETTERS)
        self.conflicts = self._counter(names.CONFLICTS)
        self.retries = self._counter(names.RETRIES_TOTAL)
        self.expired = self._counter(names.EXPIRED)
        self.rebalances = self._counter(names.REBALANCES)
        self.answers_removed = self._counter(names.REMOVED)
        self.stopped_partitions = self._gauge(names.STOPPED)
        self._batch_records = self._histogram(names.BATCH_RECORDS)
        stages = self._histogram(names.STAGE_SECONDS)
        self._stages = {stage: stages.labels(stage) for stage in names.STAGES}
        self._answer_seconds = Ages(names.ANSWER_SECONDS)
        self._gauge(names.BUILD).labels(version("patient-upsert"), platform.python_version()).set(1)
        for cause in names.RETRIES:  # there from the start, so that the first one is seen as an increase
            self.retries.labels(cause)
        self.registry.register(self._answer_seconds)
        self.registry.register(self.observed)
        ProcessCollector(registry=self.registry)

    def decided(self, answers: Sequence[Answer]) -> None:
        """These were decided, and their effects are committed."""
        for (outcome, error), count in Tally(map(_outcome, answers)).items():
            self.answers.labels(outcome.value, error or "").inc(count)
        self.replays.inc(sum(map(_replayed, answers)))

    def retried(self, error: BaseException | None) -> None:
        """Something is tried again because of this."""
        kind = getattr(error, "kind", "other")
        self.retries.labels(kind if kind in names.RETRIES else "other").inc()

    def published(self, positions: Sequence[Position]) -> None:
        """The answers to the records at these positions are acknowledged now."""
        self._answer_seconds.observe(int(self._clock() * MILLISECONDS), map(_timestamp, positions))

    @contextmanager
    def batch(self, records: Sequence[Record], group: str) -> Iterator[None]:
        """These are processed together within."""
        self._batch_records.observe(len(records))
        if self.traces is None:
            yield
            return
        with self.traces.batch(records, group):
            yield

    @contextmanager
    def stage(self, name: str, records: int | None = None) -> Iterator[None]:
        """One of `names.STAGES`, of so many records, takes place within."""
        began = time.perf_counter()
        try:
            if self.traces is None:
                yield
            else:
                with self.traces.stage(name, records):
                    yield
        finally:
            self._stages[name].observe(time.perf_counter() - began)

    def _counter(self, metric: names.Metric) -> Counter:
        return Counter(metric.name, metric.meaning, list(metric.labels), registry=self.registry)

    def _gauge(self, metric: names.Metric) -> Gauge:
        return Gauge(metric.name, metric.meaning, list(metric.labels), registry=self.registry)

    def _histogram(self, metric: names.Metric) -> Histogram:
        labels: Any = list(metric.labels)
        return Histogram(metric.name, metric.meaning, labels, registry=self.registry, buckets=metric.buckets)
