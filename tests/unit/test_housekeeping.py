"""When stored answers are removed, decided over a store that only notes what it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

import app.housekeeping
from app.errors import Transient
from app.housekeeping import Housekeeping
from app.settings import Settings
from app.telemetry import Metrics
from app.topics import DAY_MS
from app.waiting import within
from tests.support import PATIENCE

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OLD = datetime(2025, 1, 1, tzinfo=UTC)
SETTINGS = Settings(database_url="postgresql://x", kafka_bootstrap_servers="x", answer_retention_days=20)


@dataclass
class Store:
    """Gives what it was prepared with, one after the other."""

    gives: list[Sequence[datetime] | Exception | None] = field(default_factory=list)
    asked: list[tuple[str, datetime, datetime, int]] = field(default_factory=list)

    async def remove_answers(self, topic: str, since: datetime, before: datetime, most: int) -> list[datetime] | None:
        self.asked.append((topic, since, before, most))
        given = self.gives.pop(0) if self.gives else []
        if isinstance(given, Exception):
            raise given
        return None if given is None else list(given)


def housekeeping(store: Store, *readable: int | Exception | None, settings: Settings = SETTINGS) -> Housekeeping:
    left = list(readable)

    async def readable_ms() -> int | None:
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        return found

    return Housekeeping(store, readable_ms, settings, Metrics(), clock=lambda: NOW)


@pytest.mark.rule("R14.8")
@pytest.mark.parametrize(("readable_days", "kept_days"), [(15, 20), (38, 38)])
async def test_answers_go_once_they_are_older_than_was_set_and_than_every_record(
    readable_days: int, kept_days: int
) -> None:
    store = Store([[OLD]])
    assert await housekeeping(store, readable_days * DAY_MS).once() == 1
    ((topic, since, before, most),) = store.asked
    assert (topic, before, most) == ("patient.upsert.requested", NOW - timedelta(days=kept_days), 1000)
    assert since < OLD


@pytest.mark.rule("R14.8")
async def test_they_go_part_by_part_each_beginning_where_the_one_before_it_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app.housekeeping, "MOST", 2)
    monkeypatch.setattr(app.housekeeping, "SHORTEST_PAUSE", 0)
    later = OLD + timedelta(hours=1)
    store = Store([[later, OLD], [later, later], [later]])
    tidy = housekeeping(store, DAY_MS)
    assert await tidy.once() == 5
    assert [since for _, since, _, _ in store.asked[1:]] == [later, later]
    assert tidy.metrics.registry.get_sample_value("patient_upsert_answers_removed_total") == 5


@pytest.mark.rule("R14.9")
async def test_while_a_topic_is_kept_for_ever_nothing_goes_and_that_is_said_once() -> None:
    store = Store()
    tidy = housekeeping(store, None)
    with capture_logs() as logged:
        assert [await tidy.once(), await tidy.once()] == [0, 0]
    assert store.asked == []
    assert [line["event"] for line in logged] == ["answers_not_removed"]


@pytest.mark.rule("R14.10")
async def test_another_worker_at_it_and_a_server_away_leave_it_for_later() -> None:
    store = Store([None, Transient("postgres: connection lost or refused"), [OLD]])
    tidy = housekeeping(store, DAY_MS, DAY_MS, Transient("kafka: no broker answers"), DAY_MS)
    with capture_logs() as logged:
        assert [await tidy.once() for _ in range(4)] == [0, 0, 0, 1]
    assert [line.get("cause") for line in logged] == [
        "postgres: connection lost or refused",
        "kafka: no broker answers",
        None,
    ]


@pytest.mark.rule("R14.8")
async def test_without_the_setting_nothing_is_ever_asked() -> None:
    store = Store()
    settings = SETTINGS.model_copy(update={"answer_retention_days": None})
    await within(housekeeping(store, DAY_MS, settings=settings).run(), PATIENCE)
    assert store.asked == []


@pytest.mark.rule("R14.10")
async def test_what_nobody_foresaw_is_told_by_its_class_and_tried_again_later() -> None:
    tidy = housekeeping(Store([RuntimeError("a value"), [OLD]]), FileNotFoundError("ca.pem"), DAY_MS)
    with capture_logs() as log:
        assert [await tidy.once(), await tidy.once(), await tidy.once()] == [0, 0, 1]
    told = [entry["cause"] for entry in log if entry["event"] == "answers_not_removed"]
    assert told == ["unexpected FileNotFoundError", "unexpected RuntimeError"]
