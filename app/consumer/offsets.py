"""Which offsets may be committed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from app.model import Position

Partition = tuple[str, int]


def partition_of(position: Position) -> Partition:
    """The topic and partition of a position."""
    return position.topic, position.partition


def committable(positions: Sequence[Position], unpublished: Collection[Position]) -> dict[Partition, int]:
    """The next offset to read of each partition, after the longest gapless prefix whose answers are published.

    Args:
        positions: of a whole batch, each partition in the order of its offsets.
        unpublished: those whose answer or dead letter was not acknowledged.
    """
    offsets: dict[Partition, int] = {}
    if not unpublished:
        return {position[:2]: position.offset + 1 for position in positions}
    stopped: set[Partition] = set()
    for position in positions:
        partition = partition_of(position)
        if position in unpublished:
            stopped.add(partition)
        elif partition not in stopped:
            offsets[partition] = position.offset + 1
    return offsets
