"""Which faults come when: drawn from a seed, so that a plan can be played again. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What happens, as it is shown."""

    KILL = "worker killed"
    RESTART = "worker stopped, another started"
    SLEEP = "worker asleep"
    CHANGE = "worker joins or leaves"
    POSTGRES_KILL = "Postgres killed and started"
    POSTGRES_SLEEP = "Postgres asleep"
    POSTGRES_RESET = "connections to Postgres reset"
    KAFKA_KILL = "Kafka killed and started"
    KAFKA_STOP = "Kafka stopped and started"
    KAFKA_SLEEP = "Kafka asleep"
    KAFKA_RESET = "connections to Kafka reset"
    POISON = "poison"


LASTS = {
    Fault.SLEEP: (1.0, 20.0),  # beyond the session's 10 s its partitions are given away
    Fault.POSTGRES_SLEEP: (1.0, 10.0),
    Fault.POSTGRES_RESET: (2.0, 6.0),
    Fault.KAFKA_SLEEP: (1.0, 10.0),
    Fault.KAFKA_RESET: (2.0, 6.0),
}
"""Shortest and longest, in seconds; what is not here is over at once."""
APART = 5.0, 25.0
"""Seconds from the beginning of a fault to that of the next: they may overlap."""
ALONE = 30.0
"""Seconds at the beginning in which the worker whose memory is watched has all the load: it never needs more later."""
QUIET = 40.0
"""Seconds without a fault at the beginning, so that the first is met by workers at work."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault to come; `at` counts from the beginning of the run. `pick`, in [0, 1), says which worker."""

    at: float
    fault: Fault
    seconds: float
    pick: float


def planned(seed: int, seconds: float) -> Iterator[Planned]:
    """The faults of a run of this length, in order: every kind once in random order, then every kind again."""
    rng = random.Random(seed)
    at, kinds = QUIET, list[Fault]()
    while at < seconds:
        kinds = kinds or rng.sample(list(Fault), len(Fault))
        fault = kinds.pop()
        yield Planned(at, fault, rng.uniform(*LASTS.get(fault, (0.0, 0.0))), rng.random())
        at += rng.uniform(*APART)
