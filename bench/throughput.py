"""How fast a contestant answers what lies there already: by the broker's clock, so that the bench takes no part."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from bench.arena import Arena
from bench.cost import WHO, cpu_seconds, peak_memory
from bench.errors import BenchError
from bench.kafka import Progress, answer_times, ends, reader
from bench.loads import Load
from bench.measured import Run
from bench.process import Process

WARM_UP: Final = 0.1
"""The share of the answers that is not counted: connections, first plans, JIT of the broker."""
BURST: Final = 1000
"""Answers that come at once: the worker's largest batch."""
STALL_LIMIT: Final = 120.0
LOOK_EVERY: Final = 0.1
_FOR: Final = 100_000


@dataclass(frozen=True, slots=True)
class Sample:
    """How far it was at some time, and what it had cost until then."""

    at: float
    """Seconds of a clock that only goes forward."""
    done: int
    cpu: dict[str, float]


def rate_of(times: Sequence[int]) -> float:
    """Answers a second after the warm-up, from the sorted milliseconds at which the broker took them.

    Answers come in bursts, one a batch. Counting begins with the longest pause near the end of the warm-up: from the
    middle of a burst on, its rest would be counted without the time that it took.
    """
    warm = int(len(times) * WARM_UP)
    near = range(warm, min(warm + max(BURST, warm), len(times) - 1))
    if not near:
        return 0.0
    last = max(near, key=lambda place: times[place + 1] - times[place])
    spent = times[-1] - times[last]
    return (len(times) - 1 - last) * 1000 / spent if spent else 0.0


def cpu_of(samples: Sequence[Sample], warm_up: float = WARM_UP) -> dict[str, float]:
    """CPU seconds for 100,000 requests, the warm-up left out."""
    first, last = _counted(samples, warm_up)
    counted = last.done - first.done
    if not counted:
        return {}
    return {who: (last.cpu[who] - first.cpu[who]) * _FOR / counted for who in last.cpu}


def rate_of_samples(samples: Sequence[Sample], warm_up: float) -> float:
    """Records a second after the warm-up, for a contestant without answers."""
    first, last = _counted(samples, warm_up)
    return (last.done - first.done) / (last.at - first.at) if last.at > first.at else 0.0


def _counted(samples: Sequence[Sample], warm_up: float) -> tuple[Sample, Sample]:
    """Where counting begins and ends."""
    last = samples[-1]
    return next(sample for sample in samples if sample.done >= last.done * warm_up), last


def measure(
    arena: Arena,
    load: Load,
    process: Process,
    servers: Mapping[str, int],
    *,
    contestant: str,
    number: int,
    customers: int,
    name: str = "",
    after: dict[tuple[str, int], int] | None = None,
    said: Callable[[int], None] = lambda _: None,
) -> Run:
    """Watch a contestant until it has answered this load, which lies in the request topic.

    Args:
        arena: where it works.
        load: what it must answer.
        process: the contestant.
        servers: process ids of Postgres and Kafka.
        contestant: how it is called in the results.
        number: of the round.
        customers: how many stood in the table before.
        name: how the load is called in the results.
        after: where the answers to this load begin; by default with the first.
        said: told how many are answered.

    Raises:
        BenchError: it ended, it stalled, or the answers are not those that the load must get.
    """
    samples = follow(arena, load, process, dict(servers), said)
    good, bad = answer_times(arena.settings, after)
    if (len(good), len(bad)) != (load.count - load.wrong, load.wrong):
        raise BenchError(
            f"{contestant}, {load.name}: {len(good)} answers 200 and {len(bad)} others, "
            f"not {load.count - load.wrong} and {load.wrong}"
        )
    return Run(
        contestant=contestant,
        load=name or load.name,
        round=number,
        requests=load.count,
        rate=rate_of(sorted([*good, *bad])),
        cpu=cpu_of(samples),
        peak_memory=peak_memory(process.pid),
        rows=customers,
    )


def follow(
    arena: Arena, load: Load, process: Process, servers: dict[str, int], said: Callable[[int], None]
) -> list[Sample]:
    """Look often, until all is answered; a sample whenever something was."""
    samples: list[Sample] = []
    moved = time.monotonic()
    pids = {who: pid for who, pid in {"worker": process.pid, **servers}.items() if who in WHO}
    with closing(Progress(arena.settings)) as progress:
        while True:
            process.check()
            done = progress.done()
            if not samples or done > samples[-1].done:
                samples.append(Sample(time.monotonic(), done, cpu_seconds(pids)))
                moved = time.monotonic()
                said(done)
            if done >= load.count:
                return samples
            if time.monotonic() - moved > STALL_LIMIT:
                raise BenchError(f"nothing was answered for {STALL_LIMIT:.0f} s\n{process.last_lines()}")
            time.sleep(LOOK_EVERY)


def answered_so_far(arena: Arena) -> dict[tuple[str, int], int]:
    """Where the answer topics end now."""
    consumer = reader(arena.settings)
    try:
        return ends(consumer, arena.settings, [arena.settings.completed_topic, arena.settings.failed_topic])
    finally:
        consumer.close()
