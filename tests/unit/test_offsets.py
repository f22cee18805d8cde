"""Which offsets may be committed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.consumer.offsets import committable, partition_of
from app.model import Position


def at(partition: int, offset: int, topic: str = "t") -> Position:
    return Position(topic, partition, offset, 1000 + offset)


@pytest.mark.rule("R6.13")
def test_after_a_published_batch_the_next_offset_to_read_is_committed() -> None:
    assert committable([at(0, 5), at(1, 8), at(0, 6)], []) == {("t", 0): 7, ("t", 1): 9}
    assert committable([], []) == {}


@pytest.mark.rule("R6.13")
def test_gaps_in_the_offsets_are_none_in_the_batch() -> None:
    assert committable([at(0, 5), at(0, 9)], []) == {("t", 0): 10}


@pytest.mark.rule("R6.13")
def test_what_is_not_published_stops_its_partition_and_no_other() -> None:
    batch = [at(0, 5), at(0, 6), at(1, 1), at(0, 7), at(2, 3), at(1, 2), at(0, 5, "u")]
    assert committable(batch, {at(0, 6), at(2, 3)}) == {("t", 0): 6, ("t", 1): 3, ("u", 0): 6}


@pytest.mark.rule("R6.13")
def test_a_position_is_told_from_one_of_a_recreated_topic() -> None:
    assert committable([at(0, 5)], {Position("t", 0, 5, 1)}) == {("t", 0): 6}
    assert partition_of(at(3, 5, "u")) == ("u", 3)


@pytest.mark.rule("R6.13")
@given(
    records=st.lists(st.tuples(st.sampled_from("tu"), st.integers(0, 2), st.integers(1, 3)), max_size=12),
    data=st.data(),
)
def test_what_is_committed_is_the_longest_gapless_prefix(
    records: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    end: dict[tuple[str, int], int] = {}
    batch = []
    for topic, partition, step in records:
        end[topic, partition] = end.get((topic, partition), 40) + step
        batch.append(at(partition, end[topic, partition], topic))
    unpublished = data.draw(st.sets(st.sampled_from(batch)) if batch else st.just(set()))
    expected = {}
    for topic, partition in end:
        own = [position for position in batch if (position.topic, position.partition) == (topic, partition)]
        holes = [position.offset for position in own if position in unpublished]
        before = [position.offset for position in own if position.offset < min(holes, default=10**9)]
        if before:
            expected[topic, partition] = before[-1] + 1
    assert committable(batch, unpublished) == expected
