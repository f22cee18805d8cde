"""What was measured: values, as they are written to results.json."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Run:
    """One contestant through one load, in one round."""

    contestant: str
    load: str
    round: int
    requests: int
    rate: float
    """Answers a second, the first tenth left out."""
    cpu: dict[str, float] = field(default_factory=dict)
    """CPU seconds for 100,000 requests: of `worker`, `postgres` and `kafka`, as far as they are known; of the floor
    `store`, which is the driver."""
    peak_memory: int = 0
    """Bytes, of all its processes."""
    rows: int = 0
    """Customers that stood in the table before the run."""


@dataclass(frozen=True, slots=True)
class Latency:
    """One contestant at one rate, in one round. Milliseconds from the moment a request was due to its answer."""

    contestant: str
    rate: float
    """Requests a second that were sent, whatever came back."""
    round: int
    requests: int
    p50: float
    p99: float
    level: str = ""
    """Which rate it stands for: `100/s`, or a share of the highest throughput such as `half`."""


@dataclass(frozen=True, slots=True)
class Results:
    """Everything of one run of the bench."""

    machine: dict[str, str]
    options: dict[str, str]
    runs: list[Run] = field(default_factory=list)
    latencies: list[Latency] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was left out, and why."""
