"""What is looked up when somebody asks for the metrics: nothing is counted for it while records are processed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric

from app.telemetry import names
from app.telemetry.health import Health

MILLISECONDS: Final = 1000
"""Of a second."""


@dataclass(frozen=True, slots=True)
class Behind:
    """How far a partition is behind: offsets to its end, and seconds that its oldest unanswered record has waited."""

    partition: int
    lag: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class PoolUse:
    """Connections to the database."""

    busy: int
    idle: int
    limit: int


@dataclass(slots=True, eq=False)
class Observed:
    """The gauges whose value is asked for. What nobody provides is absent."""

    health: Health | None = None
    pool: Callable[[], PoolUse] | None = None
    behind: Callable[[], Sequence[Behind]] | None = None

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        if self.health is not None:
            yield _gauge(names.READY, [((), float(self.health.ready))])
            yield _gauge(names.WAITING, [((part,), count) for part, count in self.health.waiting.items()])
        if self.pool is not None:
            use = self.pool()
            yield _gauge(names.POOL, [(("busy",), use.busy), (("idle",), use.idle), (("limit",), use.limit)])
        if self.behind is not None:
            found = self.behind()
            yield _gauge(names.ASSIGNED, [((), len(found))])
            yield _gauge(names.LAG, [((str(each.partition),), each.lag) for each in found])
            yield _gauge(names.OLDEST_SECONDS, [((str(each.partition),), each.oldest_seconds) for each in found])


@dataclass(slots=True, eq=False)
class Ages:
    """A histogram of ages that takes those of a whole batch at once: prometheus-client takes them one by one."""

    metric: names.Metric
    _seconds: float = 0.0
    _counts: list[int] = field(init=False)
    """By bucket, those of the buckets before it included; the last one has all."""

    def __post_init__(self) -> None:
        self._counts = [0] * (len(self.metric.buckets) + 1)

    def observe(self, now: int, times: Iterable[int]) -> None:
        """Count the ages that these have now (all Unix milliseconds); a negative time is none, and not counted."""
        made = sorted(times)
        del made[: bisect_left(made, 0)]
        young = [len(made) - bisect_left(made, now - bound * MILLISECONDS) for bound in self.metric.buckets]
        self._counts = [count + more for count, more in zip(self._counts, [*young, len(made)], strict=True)]
        past = made[: bisect_left(made, now)]
        self._seconds += (now * len(past) - sum(past)) / MILLISECONDS

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        bounds = [*(str(bound) for bound in self.metric.buckets), "+Inf"]
        buckets = list(zip(bounds, map(float, self._counts), strict=True))
        yield HistogramMetricFamily(self.metric.name, self.metric.meaning, buckets=buckets, sum_value=self._seconds)


def _gauge(metric: names.Metric, values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    family = GaugeMetricFamily(metric.name, metric.meaning, labels=list(metric.labels))
    for labels, value in values:
        family.add_metric(list(labels), value)
    return family
