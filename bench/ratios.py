"""What the figures are held against: each ratio with what must be reached and what is aimed at. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.measured import Latency, Results, Run

MEGABYTE = 1_000_000
LARGE = 10_000_000
BACKLOG = 1_000_000


@dataclass(frozen=True, slots=True)
class Ratio:
    """One figure: the median over the rounds, with the lowest and the highest. None where nothing was measured."""

    name: str
    values: tuple[float, ...]
    must: float
    aim: float
    at_most: bool = False
    unit: str = ""

    @property
    def value(self) -> float | None:
        """The median."""
        return median(self.values) if self.values else None

    @property
    def verdict(self) -> str:
        """`aim`, `met`, `missed`, or `not measured`."""
        if (value := self.value) is None:
            return "not measured"
        if self._reaches(value, self.aim):
            return "aim"
        return "met" if self._reaches(value, self.must) else "missed"

    def _reaches(self, value: float, bound: float) -> bool:
        return value <= bound if self.at_most else value >= bound


def ratios(results: Results) -> list[Ratio]:
    """Every ratio, also those that were not measured."""
    runs, latencies = _of(results.runs), _of_latencies(results.latencies)
    mix, two = runs("ours", "mix"), runs("ours, 2 workers", "mix")
    schema, held = (runs(f"debezium, schema in {where}", "rows") for where in ("every message", "the converter"))
    fastest = max((schema, held), key=lambda found: median(_rates(found)) if found else 0.0)
    found = [
        Ratio("mix against naive", _over(mix, runs("naive", "mix")), 20, 100),
        Ratio("mix, one worker, against the same statements from memory", _over(mix, runs("floor", "mix")), 0.5, 0.8),
        Ratio("mix, two workers, against Debezium with the schema in every message", _over(two, schema), 0.6, 1.0),
        Ratio("mix, two workers, against Debezium at its fastest", _over(two, fastest), 0.4, 0.8),
        Ratio("CPU seconds of the worker for 100,000 requests of the mix", _worker_cpu(mix), 7, 4, True, " s"),
    ]
    for load in ("hot", "unchanged", "invalid", "replay"):
        found.append(Ratio(f"{load} against mix", _over(runs("ours", load), mix), 0.8, 1.2))
    found.append(Ratio("poison records against mix", _over(runs("ours", "poison"), mix), 0.5, 1.0))
    removed = runs("ours", "mix, answers removed")
    found.append(Ratio("mix while old answers are removed, against mix", _over(removed, mix), 0.85, 0.95))
    for level, quantile in (("p50", lambda one: one.p50), ("p99", lambda one: one.p99)):
        both = [latencies(contestant, "100/s") for contestant in ("ours", "naive")]
        name = f"{level} from request to answer at 100 a second against naive"
        found.append(Ratio(name, _divided(*(list(map(quantile, one)) for one in both)), 1.0, 0.7, True))
    slow, half = latencies("ours", "100/s"), latencies("ours", "half")
    p99s = _divided([one.p99 for one in half], [one.p99 for one in slow])
    backlog = [run for run in runs("ours", "backlog") if run.requests >= BACKLOG]
    large = [run for run in runs("ours", "mix, larger table") if run.rows >= LARGE]
    return [
        *found,
        Ratio("table of 10,000,000 customers against 20,000", _over(large, mix), 0.85, 0.95),
        Ratio("64 partitions against 6", _over(runs("ours", "mix, 64 partitions"), mix), 0.85, 0.95),
        Ratio("p99 at half of the highest throughput against p99 at 100 a second", p99s, 5, 3, True),
        Ratio(
            "peak memory of the worker with a backlog of 1,000,000",
            tuple(run.peak_memory / MEGABYTE for run in backlog),
            200,
            120,
            True,
            " MB",
        ),
    ]


def _of(runs: Sequence[Run]) -> Callable[[str, str], list[Run]]:
    def found(contestant: str, load: str) -> list[Run]:
        return sorted(
            (run for run in runs if (run.contestant, run.load) == (contestant, load)), key=lambda run: run.round
        )

    return found


def _of_latencies(latencies: Sequence[Latency]) -> Callable[[str, str], list[Latency]]:
    def found(contestant: str, level: str) -> list[Latency]:
        chosen = (one for one in latencies if (one.contestant, one.level) == (contestant, level))
        return sorted(chosen, key=lambda one: one.round)

    return found


def _rates(runs: Sequence[Run]) -> list[float]:
    return [run.rate for run in runs]


def _over(runs: Sequence[Run], others: Sequence[Run]) -> tuple[float, ...]:
    """Rate by rate where both ran in the same rounds, which takes out what slows both; else against the median."""
    by_round = {run.round: run.rate for run in others if run.rate}
    if not by_round:
        return ()
    typical = median(by_round.values())
    return tuple(run.rate / by_round.get(run.round, typical) for run in runs)


def _divided(values: Sequence[float], by: Sequence[float]) -> tuple[float, ...]:
    return tuple(one / other for one, other in zip(values, by, strict=False) if other)


def _worker_cpu(runs: Sequence[Run]) -> tuple[float, ...]:
    return tuple(run.cpu["worker"] for run in runs if "worker" in run.cpu)
