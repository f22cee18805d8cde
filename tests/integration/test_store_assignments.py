"""Where assignments begin, as the database counts: what has died, what has ended in order, what moved."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.store import Store, open_store

GROUP, TOPIC = "group", "topic"


@pytest.fixture
async def store(worker_url: str) -> AsyncIterator[Store]:
    async with open_store(worker_url, pool_size=2, statement_cache=100) as opened:
        yield opened


async def begin(store: Store, head: int, tail: int, partition: int = 0) -> tuple[int, int]:
    """Deaths, and the end of the batch in which they lie."""
    return (await store.begin_assignment(GROUP, TOPIC, {partition: (head, tail)}))[partition]


@pytest.mark.rule("R6.86")
async def test_an_assignment_that_begins_where_the_last_one_died_is_told_so(store: Store) -> None:
    assert await begin(store, 5, 9) == (0, 9)
    assert await begin(store, 5, 7) == (1, 9)  # searched is the batch in which it died
    await store.touch_record(GROUP, TOPIC, 0, 5)
    assert await begin(store, 6, 20) == (0, 20)  # it has moved on


@pytest.mark.rule("R6.87")
async def test_deaths_on_a_record_that_was_touched_alone_are_counted_wherever_the_search_began(store: Store) -> None:
    await begin(store, 5, 9)
    assert await begin(store, 5, 9) == (1, 9)
    await store.touch_record(GROUP, TOPIC, 0, 5)
    await store.touch_record(GROUP, TOPIC, 0, 7)
    assert await begin(store, 7, 30) == (2, 9)
    await store.touch_record(GROUP, TOPIC, 0, 7)
    assert await begin(store, 7, 30) == (3, 9)


@pytest.mark.rule("R6.87")
async def test_deaths_on_one_record_are_not_counted_on_the_next(store: Store) -> None:
    await begin(store, 7, 9)
    for deaths in (1, 2, 3):
        assert await begin(store, 7, 9) == (deaths, 9)
        await store.touch_record(GROUP, TOPIC, 0, 7)
    await store.touch_record(GROUP, TOPIC, 0, 8)
    assert await begin(store, 8, 9) == (2, 9)


@pytest.mark.rule("R6.87")
async def test_records_that_were_not_touched_are_never_blamed_for_the_deaths_of_others(store: Store) -> None:
    await begin(store, 5, 9, partition=1)
    for _ in range(6):
        assert await begin(store, 5, 9, partition=1) == (1, 9)


@pytest.mark.rule("R6.86")
async def test_an_assignment_that_ended_in_order_leaves_no_suspicion(store: Store) -> None:
    await begin(store, 5, 9)
    await begin(store, 5, 9)
    await store.touch_record(GROUP, TOPIC, 0, 5)
    await store.end_assignment(GROUP, TOPIC, [0, 1])
    assert await begin(store, 5, 9) == (0, 9)


@pytest.mark.rule("R6.86")
async def test_a_search_that_is_over_leaves_no_suspicion(store: Store) -> None:
    await begin(store, 5, 5)
    assert await begin(store, 5, 5) == (1, 5)
    await store.touch_record(GROUP, TOPIC, 0, 5)
    await store.touch_record(GROUP, TOPIC, 0, None)
    assert await begin(store, 6, 6) == (0, 6)
    assert await begin(store, 5, 8) == (0, 8)  # offsets were set back


async def test_groups_topics_and_partitions_are_told_apart(store: Store) -> None:
    await begin(store, 5, 9)
    assert await store.begin_assignment("other", TOPIC, {0: (5, 9)}) == {0: (0, 9)}
    assert await store.begin_assignment(GROUP, "other", {0: (5, 9)}) == {0: (0, 9)}
    assert await store.begin_assignment(GROUP, TOPIC, {1: (5, 9), 0: (5, 9)}) == {1: (0, 9), 0: (1, 9)}
