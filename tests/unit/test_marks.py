"""Which letters are done with, kept beside a committed offset."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.consumer.marks import Marks, read_marks


@pytest.mark.rule("R14.4")
def test_what_is_done_without_a_gap_moves_the_position_and_the_rest_is_kept_in_pieces() -> None:
    marks = Marks(10).having([(10, 11), (14, 14), (15, 17), (20, 20)])
    assert (marks.position, marks.pieces, marks.text) == (12, ((14, 17), (20, 20)), "1:2+4,2+1")
    assert [offset for offset in range(9, 23) if offset in marks] == [9, 10, 11, 14, 15, 16, 17, 20]
    filled = marks.having([(12, 13), (18, 18)])
    assert (filled.position, filled.pieces, filled.text) == (19, ((20, 20),), "1:1+1")
    assert filled.having([(19, 19)]) == Marks(21)


@pytest.mark.rule("R14.4")
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5)), max_size=12), st.integers(0, 40))
def test_what_was_written_is_read_as_it_was(stretches: list[tuple[int, int]], position: int) -> None:
    done = [(first, first + more) for first, more in stretches]
    marks = Marks(position).having(done)
    assert read_marks(marks.position, marks.text) == marks
    expected = set(range(position)) | {offset for first, last in done for offset in range(first, last + 1)}
    assert {offset for offset in range(70) if offset in marks} == expected


@pytest.mark.parametrize("text", [None, "", "any text", "1:1", "1:1+", "2:1+1", "1:1+1,"])
def test_what_others_wrote_beside_an_offset_marks_nothing(text: str | None) -> None:
    assert read_marks(7, text) == Marks(7)
    assert read_marks(-1, text) == Marks(0)


@pytest.mark.rule("R14.4")
def test_more_pieces_than_the_broker_keeps_do_not_fit() -> None:
    assert Marks(0).having((n, n) for n in range(1, 1001, 2)).fits
    assert not Marks(0).having((n, n) for n in range(1, 5001, 2)).fits
