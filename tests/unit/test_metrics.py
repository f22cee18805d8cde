"""Each metric moves by what it counts. `CASES` has one for each of the list: a new metric needs a new case."""

from __future__ import annotations

import asyncio
import platform
import ssl
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

import asyncpg
import pytest
from aiokafka import TopicPartition

from app.consumer.intake import Intake
from app.errors import Conflict, DataFault, Transient
from app.model import Position
from app.store.faults import away
from app.telemetry import Behind, Health, Metrics, PoolUse, configure_logging
from app.telemetry.health import PARTS
from app.telemetry.names import METRICS, PREFIX, RETRIES, STAGES
from app.topics import DAY_MS
from tests.conftest import own_settings
from tests.integration.test_wiring import broker_of
from tests.metrics import PAGE, page
from tests.support import body, until
from tests.unit.making import record as made
from tests.unit.making_store import Memory, Passes, events, moved, pipeline
from tests.unit.test_housekeeping import OLD, Store, housekeeping
from tests.unit.test_worker import answer, bench
from tests.unit.test_worker import record as at_offset


@pytest.fixture(autouse=True)
def _quiet() -> None:
    configure_logging("console", "error")


# --- what makes them move: each gives the metrics after it


async def two_created_one_refused_one_again() -> Metrics:
    worker = pipeline(Memory())
    differs = made(body(customer="cus_9"), key=b"cus_2", offset=5)
    await worker.process([*events("1"), differs, *events("3", city=7)], Passes())
    await worker.process(events("1"), Passes())
    return worker.metrics


async def rows_moved_once() -> Metrics:
    memory = Memory()
    await pipeline(memory).process(events("1"), Passes())
    memory.meanwhile = [moved(memory, "cus_1")]
    worker = pipeline(memory)
    await worker.process(events("2", customer="cus_1", phone="+44 20 7946 0001"), Passes())
    return worker.metrics


async def away_twice() -> Metrics:
    memory = Memory(raises={"read": [Transient("postgres: no answer in time", "timeout"), Transient("?", "a value")]})
    worker = pipeline(memory)
    await worker.process(events("1"), Passes())
    return worker.metrics


async def expired_unread() -> Metrics:
    metrics, partition = Metrics(), TopicPartition("t", 0)
    intake = Intake(own_settings("nowhere:1", "postgresql://nowhere"), Health(), metrics)

    async def given(value: Any) -> Any:
        return value

    intake.committed = lambda _: given(3)  # type: ignore[method-assign]
    intake.beginning_offsets = lambda _: given({partition: 8})  # type: ignore[method-assign]
    await intake._look_for_gaps({partition: [at_offset(9)]})
    intake._closed = True  # nothing was started, so there is nothing to stop
    return metrics


async def joined_twice() -> Metrics:
    metrics = Metrics()
    broker = broker_of(own_settings("nowhere:1", "postgresql://nowhere"), metrics=metrics)
    broker.joined([TopicPartition("t", 0)])
    broker.joined([])
    return metrics


async def three_answered_of_a_batch() -> Metrics:
    async with bench() as at:
        await at.offer(at_offset(0), at_offset(1), at_offset(2, partition=1))
        await until(lambda: at.intake.committed)
        return at.worker.metrics


async def two_dead_letters_one_of_them_late() -> Metrics:
    async def fail(records: Any, gate: Any) -> Any:
        gate.pass_to_commit()
        return [answer(record)._replace(status=500, dead_letter=record.position.offset > 0) for record in records]

    async with bench(fail) as at:
        at.publisher.refused = {2}
        await at.offer(at_offset(0), at_offset(1), at_offset(2))
        await until(lambda: at.health.missing)
        assert at.worker.metrics.registry.get_sample_value(f"{PREFIX}dead_letters_total") == 1
        assert at.worker.metrics.registry.get_sample_value(f"{PREFIX}stopped_partitions") == 1  # and 0 at the end
        at.publisher.refused = set()
        await until(lambda: at.health.ready)
        return at.worker.metrics


async def answered_after() -> Metrics:
    metrics = Metrics(clock=lambda: 100.0)
    metrics.published([Position("t", 0, n, made) for n, made in enumerate([99_800, 98_000, 40_000, -1, 500_000])])
    return metrics


async def looked_up() -> Metrics:
    metrics, health = Metrics(), Health()
    health.ok("kafka")
    health.waits("partition t/1", "stopped")
    health.waits("partition t/2", "stopped")
    metrics.observed.health = health
    metrics.observed.pool = lambda: PoolUse(1, 2, 4)
    metrics.observed.behind = lambda: [Behind(0, 0, 0.0), Behind(7, 12, 3.5)]
    return metrics


async def two_removed() -> Metrics:
    store = Store([[OLD, OLD]])
    tidy = housekeeping(store, DAY_MS)
    await tidy.once()
    return tidy.metrics


Case = tuple[Callable[[], Awaitable[Metrics]], dict[str, float]]

CASES: dict[str, Case] = {
    "answers_total": (
        two_created_one_refused_one_again,
        {
            "answers_total outcome=created code=": 3,
            "answers_total outcome=rejected code=validation_failed": 1,
        },
    ),
    "replays_total": (two_created_one_refused_one_again, {"replays_total": 1}),
    "keys_that_differ_total": (two_created_one_refused_one_again, {"keys_that_differ_total": 1}),
    "dead_letters_total": (two_dead_letters_one_of_them_late, {"dead_letters_total": 2}),
    "conflicts_total": (rows_moved_once, {"conflicts_total": 1}),
    "retries_total": (
        away_twice,
        {"retries_total cause=timeout": 1, "retries_total cause=other": 1, "retries_total cause=login": 0},
    ),
    "records_expired_unread_total": (expired_unread, {"records_expired_unread_total": 5}),
    "rebalances_total": (joined_twice, {"rebalances_total": 2}),
    "answers_removed_total": (two_removed, {"answers_removed_total": 2}),
    "batch_records": (
        three_answered_of_a_batch,
        {
            "batch_records_count": 1,
            "batch_records_sum": 3,
            "batch_records_bucket le=2.0": 0,
            "stage_seconds_count stage=publish": 1,
            "stage_seconds_count stage=offsets": 1,
        },
    ),
    "stage_seconds": (
        rows_moved_once,
        {
            "stage_seconds_count stage=understand": 1,
            "stage_seconds_count stage=read": 2,
            "stage_seconds_count stage=plan": 2,
            "stage_seconds_count stage=write": 2,
            "stage_seconds_count stage=commit": 1,
            "stage_seconds_count stage=publish": 0,
            "stage_seconds_count stage=offsets": 0,
        },
    ),
    "answer_seconds": (
        answered_after,
        {
            "answer_seconds_bucket le=0.1": 1,
            "answer_seconds_bucket le=0.25": 2,
            "answer_seconds_bucket le=1.0": 2,
            "answer_seconds_bucket le=2.5": 3,
            "answer_seconds_bucket le=30.0": 3,
            "answer_seconds_bucket le=60.0": 4,
            "answer_seconds_bucket le=+Inf": 4,
            "answer_seconds_count": 4,
            "answer_seconds_sum": 62.2,
        },
    ),
    "oldest_unanswered_seconds": (
        looked_up,
        {"oldest_unanswered_seconds partition=0": 0, "oldest_unanswered_seconds partition=7": 3.5},
    ),
    "partition_lag": (looked_up, {"partition_lag partition=0": 0, "partition_lag partition=7": 12}),
    "assigned_partitions": (looked_up, {"assigned_partitions": 2}),
    "stopped_partitions": (two_dead_letters_one_of_them_late, {"stopped_partitions": 0}),
    "ready": (looked_up, {"ready": 0}),
    "waiting": (looked_up, {"waiting part=postgres": 1, "waiting part=kafka": 0, "waiting part=partition": 2}),
    "database_connections": (
        looked_up,
        {
            "database_connections state=busy": 1,
            "database_connections state=idle": 2,
            "database_connections state=limit": 4,
        },
    ),
    "build_info": (
        looked_up,
        {f"build_info version={version('patient-upsert')} python={platform.python_version()}": 1},
    ),
}


@pytest.mark.rule("R13.1", "R13.4")
@pytest.mark.parametrize("name", [metric.name.removeprefix(PREFIX) for metric in METRICS])
async def test_a_metric_moves_by_what_it_counts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert name in CASES, f"{name} is in the list and has no case here"
    real = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: real(min(seconds, 0.01)))
    case, expected = CASES[name]
    metrics = await case()
    found = {sample: _value(metrics, sample) for sample in expected}
    assert found == {sample: pytest.approx(value) for sample, value in expected.items()}


def _value(metrics: Metrics, sample: str) -> float | None:
    name, *labels = sample.split(" ")
    given = dict(label.split("=", 1) for label in labels)
    return metrics.registry.get_sample_value(PREFIX + name, given)


@pytest.mark.rule("R13.1")
async def test_the_page_of_metrics_holds_those_of_the_list_and_no_others() -> None:
    shown = {family.name for family in (await looked_up()).registry.collect() if family.name.startswith(PREFIX)}
    assert shown == {metric.name.removesuffix("_total") for metric in METRICS}
    assert {metric.name.removeprefix(PREFIX) for metric in METRICS} == set(CASES)


@pytest.mark.rule("R13.4")
async def test_parts_causes_and_stages_are_of_fixed_lists_whatever_happens() -> None:
    metrics = await looked_up()
    metrics.retried(ValueError("Ada Example"))
    metrics.retried(DataFault("x"))
    metrics.retried(Conflict("x"))
    found: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            for label, value in sample.labels.items():
                found.setdefault(label, set()).add(value)
    assert (found["cause"], found["part"], found["stage"]) == (set(RETRIES), set(PARTS), set(STAGES))


@pytest.mark.rule("R13.4")
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), "timeout"),
        (asyncpg.QueryCanceledError(), "timeout"),
        (ConnectionRefusedError(), "connection"),
        (asyncpg.ConnectionDoesNotExistError(), "connection"),
        (asyncpg.InterfaceError("Ada"), "connection"),
        (ssl.SSLError(), "tls"),
        (asyncpg.InvalidPasswordError(), "login"),
        (asyncpg.ReadOnlySQLTransactionError(), "read_only"),
        (asyncpg.DeadlockDetectedError(), "rolled_back"),
        (asyncpg.UndefinedTableError(), "schema"),
        (asyncpg.TooManyConnectionsError(), "resources"),
        (asyncpg.LockNotAvailableError(), "lock"),
        (asyncpg.AdminShutdownError(), "shutdown"),
        (asyncpg.InternalServerError(), "other"),
        (RuntimeError("Ada"), "other"),
    ],
)
def test_a_retry_is_counted_by_the_kind_of_its_error(error: Exception, kind: str) -> None:
    metrics = Metrics()
    metrics.retried(away(error))
    assert _value(metrics, f"retries_total cause={kind}") == 1


@pytest.mark.rule("R13.1")
def test_the_page_in_the_documents_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make metrics"
