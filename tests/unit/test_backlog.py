"""How far a partition is behind: fetched, answered, rewound, and what is not fetched yet."""

from __future__ import annotations

import pytest

from app.consumer.backlog import Backlog
from app.model import Position
from app.telemetry import Behind

NOW = 1000.0


def places(*offsets: int, made: int | None = None) -> list[Position]:
    """Made at as many seconds as their offset, unless told."""
    return [Position("t", 0, offset, offset * 1000 if made is None else made) for offset in offsets]


def backlog(*fetched: int, position: int, end: int, at: float = 0.0) -> Backlog:
    made = Backlog()
    if fetched:
        made.fetched(0, places(*fetched))
    made.looked(0, position, end, at)
    return made


@pytest.mark.rule("R13.2")
def test_the_oldest_record_that_was_fetched_and_not_answered_counts_until_it_is_answered() -> None:
    behind = backlog(900, 950, 990, position=991, end=1000)
    assert behind.behind(0, NOW) == Behind(0, 100, 100.0)
    behind.answered(0, 950)
    assert behind.behind(0, NOW) == Behind(0, 50, 50.0)
    assert behind.behind(0, NOW + 60) == Behind(0, 50, 110.0)
    behind.answered(0, 991)
    assert behind.behind(0, NOW) == Behind(0, 9, 10.0)  # no older than the last one that was fetched


@pytest.mark.rule("R13.2")
def test_a_partition_that_is_read_to_its_end_and_answered_is_not_behind() -> None:
    behind = backlog(900, position=901, end=901)
    behind.answered(0, 901)
    assert behind.behind(0, NOW) == Behind(0, 0, 0.0)


@pytest.mark.rule("R13.2")
def test_what_is_not_fetched_came_after_the_partition_was_last_seen_read_to_its_end() -> None:
    behind = backlog(5, position=6, end=6, at=700.0)
    behind.answered(0, 6)
    behind.looked(0, 6, 6, 990.0)
    behind.looked(0, 6, 9, 995.0)
    assert behind.behind(0, NOW) == Behind(0, 3, 10.0)
    assert behind.behind(0, NOW + 50) == Behind(0, 3, 60.0)
    behind.fetched(0, places(6, 7, 8, made=992_000))
    behind.looked(0, 9, 9, 996.0)
    assert behind.behind(0, NOW) == Behind(0, 3, 8.0)


@pytest.mark.rule("R13.2")
def test_a_record_from_the_future_does_not_hide_those_behind_it_that_are_not_fetched() -> None:
    behind = Backlog()
    behind.fetched(0, places(7, made=9_000_000))
    behind.looked(0, 8, 8, 940.0)
    behind.answered(0, 8)
    behind.looked(0, 8, 9, 950.0)
    assert behind.behind(0, NOW) == Behind(0, 1, 60.0)


@pytest.mark.rule("R13.2")
def test_records_that_nobody_has_seen_wait_since_the_first_look() -> None:
    assert backlog(position=0, end=10, at=940.0).behind(0, NOW) == Behind(0, 10, 60.0)


@pytest.mark.rule("R13.3")
def test_the_marks_of_transactions_are_no_lag_once_they_are_read() -> None:
    behind = backlog(900, 901, position=903, end=903)
    behind.answered(0, 902)
    assert behind.behind(0, NOW) == Behind(0, 0, 0.0)


@pytest.mark.rule("R13.2")
def test_what_is_rewound_is_as_old_as_it_was() -> None:
    behind = backlog(900, 910, 920, position=921, end=930, at=990.0)
    behind.answered(0, 910)
    behind.rewound(0, 915)
    assert behind.behind(0, NOW) == Behind(0, 20, 90.0)
    behind.answered(0, 915)
    assert behind.behind(0, NOW) == Behind(0, 15, 80.0)


def test_records_without_a_timestamp_wait_since_the_one_before_them_or_the_last_look() -> None:
    behind = Backlog()
    behind.looked(0, 0, 0, 970.0)
    behind.fetched(0, places(0, made=-1))
    behind.looked(0, 1, 1, 990.0)
    assert behind.behind(0, NOW).lag == 1
    assert behind.behind(0, NOW).oldest_seconds >= 10.0


def test_a_record_from_the_future_is_0_seconds_old_and_an_end_that_is_not_known_yet_is_no_lag() -> None:
    behind = Backlog()
    behind.fetched(0, places(7, made=2_000_000))
    behind.looked(0, 8, None, 990.0)
    assert behind.behind(0, NOW) == Behind(0, 1, 0.0)


def test_nothing_is_known_any_more_of_an_assignment_that_is_gone() -> None:
    behind = backlog(900, position=901, end=1000)
    behind.forget()
    assert behind.behind(0, NOW) == Behind(0, 0, 0.0)
