"""Long outages under load, a restart in the middle of a batch, rights taken away: nothing lost, no hand needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._resource import ResourceType
from faststream.asgi import AsgiFastStream

from app.consumer.requester import Outbound
from app.settings import Settings
from devstack.servers import Control
from tests.faults.broker_side import all_answered, answers, deny, everything, foreign, log_lines, permit
from tests.faults.conftest import Ours
from tests.faults.test_servers_away import assert_in_order, assert_one_line_a_change
from tests.support import page, plain, ready, running, until, waits_for_a_lock

AWAY_SECONDS = 30.0


def request(number: int) -> Outbound:
    """One of 40 customers, told apart by its city."""
    return plain(f"cus_{number % 40}", city=f"City {number}")


@asynccontextmanager
async def load(settings: Settings) -> AsyncIterator[list[tuple[int, int]]]:
    """A hundred requests a second for as long as the block lasts; where they lie, once it has ended."""
    producer = Producer(
        {"bootstrap.servers": settings.kafka_bootstrap_servers, "linger.ms": 20, "enable.idempotence": True}
    )
    places: list[tuple[int, int]] = []
    failed: list[Any] = []

    def told(error: Any, message: Any) -> None:
        failed.append(error) if error else places.append((message.partition(), message.offset()))

    async def produce() -> None:
        for number in range(1_000_000):
            sent = request(number)
            producer.produce(settings.request_topic, sent.value, sent.key, on_delivery=told)
            producer.poll(0)
            await asyncio.sleep(0.01)

    producing = asyncio.create_task(produce())
    try:
        yield places
    finally:
        producing.cancel()
        await asyncio.wait({producing})
        left = await asyncio.to_thread(producer.flush, 60)
    assert left == 0
    assert failed == []


async def named(app: AsgiFastStream, part: str) -> None:
    """Await that the worker says that it waits for this part."""

    async def told() -> bool:
        status, content = await page(app, "/readyz")
        return status == 503 and any(part in name + cause for name, cause in content["waiting"].items())

    await until(told)


async def away(app: AsgiFastStream, control: Control, part: str) -> None:
    """Kill a server, watch the worker live without it for half a minute, and start it again."""
    end = time.monotonic() + AWAY_SECONDS
    await asyncio.to_thread(control.kill)
    await named(app, part)
    while time.monotonic() < end:
        assert (await page(app, "/livez"))[0] == 200
        await asyncio.sleep(0.2)
    assert (await page(app, "/readyz"))[0] == 503
    await asyncio.to_thread(control.start)
    await ready(app)


def assert_one_answer_each(given: dict[tuple[int, int], list[Any]], places: Sequence[tuple[int, int]]) -> None:
    """Every request has a 200, and however often it was published, it is the same."""
    assert set(given) == set(places)
    assert {answer.status for found in given.values() for answer in found} == {200}
    assert all(len({answer.record.value for answer in found}) == 1 for found in given.values())


@pytest.mark.rule("R6.79")
async def test_half_a_minute_without_postgres_and_then_without_kafka_under_load_costs_no_request(
    ours: Ours, own: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(own) as app:
        await ready(app)
        async with load(own) as places:
            await until(lambda: len(places) > 200)
            await away(app, ours.postgres, "postgres")
            before = len(places)
            await until(lambda: len(places) > before + 200)
            await away(app, ours.kafka, "kafka")
        given = await all_answered(own, *places)
    assert_one_answer_each(given, places)
    assert_in_order(given, places)
    assert await everything(own, own.dlq_topic) == []
    assert_one_line_a_change(log_lines(capsys))


@pytest.mark.rule("R6.79")
async def test_postgres_restarted_in_the_middle_of_a_batch_costs_no_request(ours: Ours, own: Settings) -> None:
    url = own.database_url.get_secret_value()
    producer = foreign(own)
    async with running(own) as app:
        await ready(app)
        first = await producer.send(own, *map(request, range(40)))
        await all_answered(own, *first)
        holder = await asyncpg.connect(url)
        await holder.execute("begin")
        await holder.execute("select from customers for update")
        behind = await producer.send(own, *map(request, range(40, 120)))
        await until(lambda: waits_for_a_lock(own))
        await asyncio.to_thread(ours.postgres.kill)
        await asyncio.to_thread(ours.postgres.start)
        given = await all_answered(own, *first, *behind)
        await ready(app)
    assert_one_answer_each(given, [*first, *behind])
    assert_in_order(given, [*first, *behind])
    assert await everything(own, own.dlq_topic) == []


@pytest.mark.rule("R6.79")
@pytest.mark.parametrize(
    ("kind", "which", "operation", "told"),
    [
        (ResourceType.TOPIC, "completed_topic", AclOperation.WRITE, "may not be written; grant this user Write on it"),
        (ResourceType.TOPIC, "request_topic", AclOperation.READ, "may not be read; grant this user Read on it"),
        (ResourceType.GROUP, "group_id", AclOperation.READ, "may not be used; grant this user Read on it"),
    ],
    ids=["to write answers", "to read requests", "to use the group"],
)
async def test_a_right_that_is_taken_away_is_named_and_work_goes_on_once_it_is_given_back(
    ours: Ours,
    own: Settings,
    kind: ResourceType,
    which: str,
    operation: AclOperation,
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    producer = foreign(own)
    async with running(own) as app:
        await ready(app)
        first = await producer.send(own, *map(request, range(40)))
        await all_answered(own, *first)
        await deny(own, kind, getattr(own, which), operation)
        first += await producer.send(own, *map(request, range(40, 80)))  # a part may have been on its way already
        await named(app, f"{getattr(own, which)} {told}")
        assert (await page(app, "/livez"))[0] == 200
        behind = await producer.send(own, *map(request, range(80, 120)))
        assert not set(await answers(own)) & set(behind)
        await permit(own, kind, getattr(own, which), operation)
        given = await all_answered(own, *first, *behind)
        await ready(app)
    assert_one_answer_each(given, [*first, *behind])
    assert_in_order(given, [*first, *behind])
    assert await everything(own, own.dlq_topic) == []
    assert_one_line_a_change(log_lines(capsys))
