"""Whether a worker's memory grew: the first fifth of a run against the last. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

WARM_UP = 0.1
WARM_UP_LEAST = 30
"""Samples at the beginning that do not count: this part of them, and at least so many."""
ALLOWED = 0.10
LEAST = 5
"""Without this many samples after the warm-up there is nothing to compare."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Means of the resident memory in bytes, of each fifth of a run."""

    fifths: tuple[float, ...]

    @property
    def first_fifth(self) -> float:
        return self.fifths[0]

    @property
    def last_fifth(self) -> float:
        return self.fifths[-1]

    @property
    def change(self) -> float:
        """By which part the last fifth is above the first."""
        return self.last_fifth / self.first_fifth - 1

    @property
    def steady(self) -> bool:
        """Whether the last fifth is within a tenth of the first."""
        return abs(self.last_fifth - self.first_fifth) <= ALLOWED * self.first_fifth


def compared(samples: Sequence[int]) -> Memory | None:
    """First and last fifth of what was sampled once a second, after the warm-up; None: too few samples."""
    counted = samples[max(WARM_UP_LEAST, int(len(samples) * WARM_UP)) :]
    if len(counted) < LEAST:
        return None
    fifth = len(counted) // 5
    starts = [len(counted) * number // 5 for number in range(4)]
    return Memory((*(fmean(counted[at : at + fifth]) for at in starts), fmean(counted[-fifth:])))
