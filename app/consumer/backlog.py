"""How far each partition is behind, from what the consumer knows already. Pure: times are arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.model import Position
from app.telemetry import Behind


@dataclass(slots=True)
class _Partition:
    fetched: list[Sequence[Position]] = field(default_factory=list)
    """What is not answered yet, as it was fetched; the first one in part perhaps."""
    answered: int = 0
    """The first offset that may be unanswered."""
    since: float | None = None
    """Unix seconds: what is not fetched yet was made after that, as far as is known."""
    position: int = 0
    end: int = 0

    def unanswered(self) -> list[Position]:
        return [place for places in self.fetched for place in places if place.offset >= self.answered]


class Backlog:
    """The records without a published answer, of the partitions of one assignment."""

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}

    def _of(self, number: int) -> _Partition:
        return self._partitions.setdefault(number, _Partition())

    def fetched(self, number: int, places: Sequence[Position]) -> None:
        """These were handed over, in their order; not empty."""
        partition = self._of(number)
        partition.fetched.append(places)
        partition.since = _later(partition.since, places[-1])

    def answered(self, number: int, offset: int) -> None:
        """Everything before this offset has a published answer."""
        partition = self._of(number)
        partition.answered = offset
        partition.fetched = [places for places in partition.fetched if places[-1].offset >= offset]

    def rewound(self, number: int, offset: int) -> None:
        """What was fetched from this offset on is dropped, and will be fetched again."""
        partition = self._of(number)
        again = [place for place in partition.unanswered() if place.offset >= offset]
        kept = [[place for place in places if place.offset < offset] for places in partition.fetched]
        partition.fetched = [places for places in kept if places]
        partition.position = min(partition.position, offset)
        if again:
            partition.since = _later(None, again[0])

    def looked(self, number: int, position: int, end: int | None, at: float) -> None:
        """The client has read up to `position`, and at this time (Unix seconds) the partition ended at `end`."""
        partition = self._of(number)
        partition.position, partition.end = position, position if end is None else max(end, position)
        if partition.since is None or position >= partition.end:  # what comes now came after that
            partition.since = at

    def behind(self, number: int, now: float) -> Behind:
        """How far this partition is behind, at this time (Unix seconds)."""
        partition = self._of(number)
        waiting = partition.unanswered()
        first = waiting[0].offset if waiting else partition.position
        times = [place.timestamp / 1000 for place in waiting if place.timestamp >= 0]
        if not times and (waiting or partition.position < partition.end):
            times = [now if partition.since is None else partition.since]
        age = max(0.0, now - min(times)) if times else 0.0
        return Behind(number, max(partition.end, waiting[-1].offset + 1 if waiting else 0) - first, age)

    def forget(self) -> None:
        """The assignment is gone."""
        self._partitions.clear()


def _later(since: float | None, place: Position) -> float | None:
    return since if place.timestamp < 0 else place.timestamp / 1000
