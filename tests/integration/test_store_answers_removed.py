"""The removal of stored answers, in a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.errors import Transient
from app.model import Position, StoredAnswer, Writes
from app.store import open_store
from tests.integration.store_rows import admin, answer, stored

TOPIC = "patient.upsert.requested"
OLD = datetime(2025, 1, 1, tzinfo=UTC)
BEFORE = datetime(2025, 2, 1, tzinfo=UTC)


def given(name: str, days: int, topic: str = TOPIC) -> StoredAnswer:
    """An answer that was given so many days after OLD."""
    place = Position(topic, 0, days, 0)
    return answer(name)._replace(received_at=OLD + timedelta(days=days), position=place)


@pytest.mark.rule("R14.8", "R14.10")
async def test_the_oldest_answers_of_a_topic_go_first_and_the_younger_ones_and_others_stay(database_url: str) -> None:
    rows = [given("c", 2), given("a", 0), given("b", 1), given("other", 1, "other.topic"), given("young", 31)]
    async with open_store(database_url, pool_size=2, statement_cache=100) as store, admin(database_url) as connection:

        async def left() -> set[str]:
            return {row["id"] for row in await connection.fetch("select id from requests")}

        await stored(store, Writes(answers=tuple(rows)))
        assert sorted(await store.remove_answers(TOPIC, OLD, BEFORE, 2) or ()) == [OLD, OLD + timedelta(days=1)]
        assert await left() == {rows[0].id, rows[3].id, rows[4].id}
        async with store.transaction() as other:
            assert await other.remove_answers(TOPIC, OLD, BEFORE, 2) == [OLD + timedelta(days=2)]
            assert await store.remove_answers(TOPIC, OLD, BEFORE, 2) is None  # the other has not committed yet
        assert await store.remove_answers(TOPIC, OLD + timedelta(days=3), BEFORE, 2) == []
        assert await store.remove_answers(TOPIC, OLD, BEFORE, 2) == [OLD + timedelta(days=2)]
        assert await left() == {rows[3].id, rows[4].id}


@pytest.mark.rule("R14.1")
async def test_a_transaction_that_only_reads_cannot_write(database_url: str) -> None:
    async with open_store(database_url, pool_size=1, statement_cache=0) as store, store.transaction() as transaction:
        await transaction.only_read()
        await transaction.read([], ["cus_1"])
        with pytest.raises(Transient, match="25006"):
            await transaction.write(Writes(answers=(answer("r"),)))
