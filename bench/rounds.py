"""What is run, how often and how large: steps in which the contestants take turns, so that what slows one slows all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Final

from bench import debezium, loads
from bench.arena import PARTITIONS, Arena, Ground, remembered
from bench.cost import peak_memory
from bench.errors import BenchError
from bench.floor import floor
from bench.kafka import produce
from bench.latency import WARM_UP_SECONDS, latency
from bench.loads import Load
from bench.measured import Results, Run
from bench.process import Process, naive, ours, removing, running
from bench.throughput import answered_so_far, cpu_of, follow, measure, rate_of_samples

CUSTOMERS: Final = 20_000
"""Rows before a run. Each is asked for about as often as in the mix of a real day; see docs/performance.md."""
MANY_PARTITIONS: Final = 64
OLD_ANSWERS: Final = 60_000
KINDS: Final = ("new", "update", "unchanged", "hot", "invalid")
SHARES: Final = {"quarter": 0.25, "half": 0.5, "three quarters": 0.75, "nine tenths": 0.9}
"""Of the highest throughput, for the latencies."""
SLOW: Final = 100.0
"""Requests a second."""
MILLION: Final = 1_000_000
PEER_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many requests, rounds and seconds."""

    rounds: int = 5
    """Of the mix."""
    other_rounds: int = 3
    mix: int = 60_000
    other: int = 30_000
    poison: int = 30_000
    floor: int = 30_000
    naive: int = 1_500
    latency_rounds: int = 3
    latency_seconds: float = 8.0
    tables: tuple[int, ...] = (200_000, MILLION)
    """Customers in further tables."""
    backlog: int = 0
    peers: int = 0
    """Records for Debezium; 0 leaves it out."""

    def scaled(self, share: float) -> Sizes:
        """The same with fewer of everything."""
        counts = ("mix", "other", "poison", "floor", "naive", "backlog", "peers")
        less = {name: max(20, round(getattr(self, name) * share)) if getattr(self, name) else 0 for name in counts}
        return replace(
            self,
            **less,
            tables=tuple(max(100, round(rows * share)) for rows in self.tables),
            latency_seconds=max(0.5, self.latency_seconds * min(share, 1)),
        )


USUAL: Final = Sizes()
QUICK: Final = Sizes(
    rounds=2, other_rounds=1, mix=15_000, other=10_000, poison=10_000, floor=10_000, naive=300, latency_rounds=1,
    latency_seconds=3, tables=(100_000,),
)  # fmt: skip


def full(sizes: Sizes) -> Sizes:
    """With the backlog of a million, the table of ten million and 100,000 poison records in a row."""
    return replace(sizes, tables=(*sizes.tables, 10 * MILLION), backlog=MILLION, poison=100_000)


def with_peers(sizes: Sizes) -> Sizes:
    """With Debezium, whose first ten seconds are warm-up."""
    return replace(sizes, peers=600_000)


Said = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do."""

    name: str
    do: Callable[[Said], None]


@dataclass(frozen=True, slots=True)
class Bench:
    """The servers that all share, and the results as they come."""

    ground: Ground
    servers: dict[str, int]
    sizes: Sizes
    results: Results

    def steps(self) -> Iterator[Step]:
        """Everything, in its order."""
        sizes = self.sizes
        for number in range(1, sizes.rounds + 1):
            yield Step(f"floor, round {number}", partial(self._floor, number))
            yield Step(f"naive, round {number}", partial(self._naive, number))
            yield Step(f"mix and replay, round {number}", partial(self._mix, number))
            if number <= sizes.other_rounds:
                for kind in KINDS:
                    yield Step(f"{kind}, round {number}", partial(self._kind, number, kind))
                yield Step(f"poison, round {number}", partial(self._poison, number))
                yield Step(f"{MANY_PARTITIONS} partitions, round {number}", partial(self._partitions, number))
                yield Step(f"mix while answers are removed, round {number}", partial(self._removing, number))
        for rows in sizes.tables:
            for number in range(1, sizes.other_rounds + 1):
                yield Step(f"table of {rows:,} customers, round {number}", partial(self._table, rows, number))
            yield Step(f"dropping {rows:,} customers", partial(self._drop, rows))
        for number in range(1, sizes.latency_rounds + 1):
            yield Step(f"latency of naive, round {number}", partial(self._latency, number, "naive"))
            yield Step(f"latency, round {number}", partial(self._latency, number, "ours"))
        for number in range(1, PEER_ROUNDS + 1) if sizes.peers else ():
            yield Step(f"mix, two workers, round {number}", partial(self._two_workers, number))
            for form in debezium.FORMS:
                yield Step(f"debezium, {form}, round {number}", partial(self._debezium, number, form))
        if sizes.backlog:
            yield Step(f"backlog of {sizes.backlog:,}", self._backlog)

    def _floor(self, number: int, said: Said) -> None:
        del said
        load = self._load(number, self.sizes.floor)
        self.results.runs.append(floor(self.ground, load, customers=CUSTOMERS, number=number))

    def _naive(self, number: int, said: Said) -> None:
        load = self._load(number, self.sizes.naive)
        with self._produced(load, said) as arena, running(arena, naive()) as process:
            self._measure(arena, load, process, said, contestant="naive", number=number)
            process.stop()

    def _mix(self, number: int, said: Said) -> None:
        """The mix; then the same records again, for another group."""
        load = self._load(number, self.sizes.mix)
        with self._produced(load, said) as arena:
            with running(arena, ours()) as process:
                self._measure(arena, load, process, said, number=number)
                process.stop()
            after = answered_so_far(arena)
            again = arena.under(f"{arena.settings.group_id}.again")
            with running(again, ours()) as process:
                self._measure(again, load, process, said, number=number, name="replay", after=after)
                process.stop()

    def _kind(self, number: int, kind: str, said: Said) -> None:
        load = loads.uniform(kind, self.sizes.other, customers=CUSTOMERS, seed=f"{number}")
        self._once(load, number, said)

    def _poison(self, number: int, said: Said) -> None:
        self._once(loads.uniform("poison", self.sizes.poison, customers=CUSTOMERS, seed=f"{number}"), number, said)

    def _removing(self, number: int, said: Said) -> None:
        """Answers of long ago are removed all the while."""
        load = self._load(number, self.sizes.other)
        with self._produced(load, said) as found:
            arena = Arena(found.settings.model_copy(update={"answer_retention_days": 1}))
            before = asyncio.run(remembered(arena.settings, OLD_ANSWERS))
            with running(arena, removing()) as process:
                self._measure(arena, load, process, said, number=number, name="mix, answers removed")
                left = asyncio.run(remembered(arena.settings))
                process.stop()
            if not 0 < left < before:
                raise BenchError(f"of {before:,} old answers {left:,} were left: they were not removed all the while")

    def _partitions(self, number: int, said: Said) -> None:
        load = self._load(number, self.sizes.other)
        self._once(load, number, said, partitions=MANY_PARTITIONS, name=f"mix, {MANY_PARTITIONS} partitions")

    def _once(self, load: Load, number: int, said: Said, *, partitions: int = PARTITIONS, name: str = "") -> None:
        with self._produced(load, said, partitions=partitions) as arena, running(arena, ours()) as process:
            self._measure(arena, load, process, said, number=number, name=name)
            process.stop()

    def _table(self, rows: int, number: int, said: Said) -> None:
        """Updates are spread over the whole table. Each round leaves its rows in it: a copy would take minutes."""
        said(f"filling {rows:,} rows" if number == 1 else "producing")
        load = loads.mix(self.sizes.other, customers=rows, seed=f"table {number}")
        with self.ground.on_template(customers=rows) as arena:
            produce(arena.settings, load.make())
            with running(arena, ours()) as process:
                self._measure(arena, load, process, said, number=number, name="mix, larger table", customers=rows)
                process.stop()

    def _drop(self, rows: int, said: Said) -> None:
        del said
        self.ground.drop(rows)

    def _two_workers(self, number: int, said: Said) -> None:
        """As many workers as Debezium has tasks."""
        load = self._load(number, self.sizes.mix)
        with self._produced(load, said) as arena, running(arena, ours(debezium.TASKS)) as process:
            contestant = f"ours, {debezium.TASKS} workers"
            self._measure(arena, load, process, said, number=number, contestant=contestant)
            process.stop()

    def _debezium(self, number: int, form: str, said: Said) -> None:
        with_schema = debezium.FORMS[form]
        load = debezium.rows(self.sizes.peers, customers=CUSTOMERS, with_schema=with_schema)
        with self._produced(load, said) as arena:
            debezium.prepare(arena)
            theirs = debezium.group(arena)
            with running(theirs, debezium.sink(arena, with_schema=with_schema)) as process:
                samples = follow(theirs, load, process, self.servers, _counted(said, load))
                run = Run(
                    contestant=f"debezium, {form}",
                    load=load.name,
                    round=number,
                    requests=load.count,
                    rate=rate_of_samples(samples, debezium.WARM_UP),
                    cpu=cpu_of(samples, debezium.WARM_UP),
                    peak_memory=peak_memory(process.pid),
                    rows=CUSTOMERS,
                )
                self.results.runs.append(run)
                process.stop()

    def _backlog(self, said: Said) -> None:
        load = loads.mix(self.sizes.backlog, customers=CUSTOMERS, seed="backlog", name="backlog")
        self._once(load, 1, said)

    def _latency(self, number: int, contestant: str, said: Said) -> None:
        rates = [run.rate for run in self.results.runs if (run.contestant, run.load) == ("ours", "mix")]
        highest = min(median(rates), 2 * self.sizes.mix)  # a load of a single burst tells no rate
        # nothing is told by less than the slow rate, which only loads of a few hundred requests come to
        shares = {name: max(share * highest, SLOW) for name, share in SHARES.items()} if contestant != "naive" else {}
        seconds = WARM_UP_SECONDS + self.sizes.latency_seconds
        command = naive() if contestant == "naive" else ours()
        with self.ground.arena(customers=CUSTOMERS) as arena, running(arena, command) as process:
            self._warmed_up(arena, process, said)
            for level, rate in {"100/s": SLOW, **shares}.items():
                said(f"{rate:,.0f} requests a second")
                count = round(rate * seconds)
                asks = loads.mix(count, customers=CUSTOMERS, seed=f"latency {number} {level}").make()
                found = latency(arena, asks, process, rate=rate, contestant=contestant, number=number, level=level)
                self.results.latencies.append(found)
            process.stop()

    def _warmed_up(self, arena: Arena, process: Process, said: Said) -> None:
        """Wait until the first answers came: connections are made, modules are loaded."""
        load = loads.mix(100, customers=CUSTOMERS, seed="first")
        produce(arena.settings, load.make())
        measure(arena, load, process, {}, contestant="", number=0, customers=CUSTOMERS, said=_counted(said, load))

    @contextmanager
    def _produced(self, load: Load, said: Said, *, partitions: int = PARTITIONS) -> Iterator[Arena]:
        said("producing")
        with self.ground.arena(customers=CUSTOMERS, partitions=partitions) as arena:
            produce(arena.settings, load.make())
            yield arena

    def _measure(
        self,
        arena: Arena,
        load: Load,
        process: Process,
        said: Said,
        *,
        number: int,
        contestant: str = "ours",
        name: str = "",
        customers: int = CUSTOMERS,
        after: dict[tuple[str, int], int] | None = None,
    ) -> None:
        run = measure(
            arena,
            load,
            process,
            self.servers,
            contestant=contestant,
            number=number,
            customers=customers,
            name=name,
            after=after,
            said=_counted(said, load),
        )
        self.results.runs.append(run)

    def _load(self, number: int, count: int) -> Load:
        """The mix of a round; shorter ones are another mix, since order and shares come from the count."""
        return loads.mix(count, customers=CUSTOMERS, seed=f"{number}")


def _counted(said: Said, load: Load) -> Callable[[int], None]:
    return lambda done: said(f"{done:,} of {load.count:,}")
