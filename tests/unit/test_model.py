"""The values that travel through the rooms."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from app.model import Position, Record, quick


@quick
@dataclass(frozen=True, slots=True)
class Value:
    first: int
    second: str = "two"
    third: list[int] = field(default_factory=list)


def test_a_quick_value_is_made_compared_and_changed_like_any_dataclass() -> None:
    assert (Value(1).first, Value(1).second, Value(1).third) == (1, "two", [])
    assert Value(1, third=[3]) == Value(1, "two", [3]) != Value(1)
    assert Value(1).third is not Value(1).third
    assert replace(Value(1), second="other") == Value(1, "other")
    assert repr(Value(1)) == "Value(first=1, second='two', third=[])"


def test_a_quick_value_takes_no_argument_that_it_does_not_know_and_has_slots() -> None:
    with pytest.raises(TypeError):
        Value(1, fourth=4)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Value()  # type: ignore[call-arg]
    assert not hasattr(Value(1), "__dict__")


def test_a_record_tells_its_size_in_bytes_its_topic_and_in_its_repr_its_place_alone() -> None:
    record = Record(Position("t", 1, 2, 3), b"key", b"value", (("name", b"header"), ("none", None)))
    assert record.size == 3 + 5 + 4 + 6 + 4
    assert record.topic == "t"
    assert repr(record) == "Record(t/1/2@3)"
