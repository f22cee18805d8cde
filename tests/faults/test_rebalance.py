"""Two workers of one group: partitions move under load, and every request is answered once in effect, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest
from faststream.asgi import AsgiFastStream

from app.consumer import UpsertBroker
from app.consumer.publisher import Outgoing
from app.consumer.requester import Outbound
from app.consumer.worker import Worker
from app.settings import Settings
from tests.faults.broker_side import all_answered, answers, committed, foreign, members
from tests.roles import as_owner
from tests.support import page, plain, ready, running, until

CUSTOMERS = 30


def worker_of(app: AsgiFastStream) -> Worker:
    broker = app.broker
    assert isinstance(broker, UpsertBroker)
    assert broker.worker is not None
    return broker.worker


def load(turn: int) -> list[Outbound]:
    """Ten requests of each customer, told apart by their city."""
    return [plain(f"cus_{number % CUSTOMERS}", city=f"City {turn}-{number}") for number in range(10 * CUSTOMERS)]


async def stored(settings: Settings) -> int:
    """How many effects there are."""
    connection = await asyncpg.connect(as_owner(settings))
    count = await connection.fetchval("select count(*) from requests")
    await connection.close()
    return int(count)


async def busy(app: AsgiFastStream) -> bool:
    _, text = await page(app, "/metrics")
    return 'patient_upsert_answers_total{code=""' in text


@pytest.mark.rule("R6.80")
async def test_while_a_worker_joins_and_leaves_under_load_every_request_has_one_effect_and_the_order_stays(
    settings: Settings,
) -> None:
    settings = settings.model_copy(update={"batch_max_records": 20})
    producer, sent = foreign(settings), []
    places: list[tuple[int, int]] = []
    async with running(settings) as one:
        await ready(one)
        for turn in range(3):
            requests = load(turn)
            sent += requests
            places += await producer.send(settings, *requests)
        await until(lambda: busy(one))
        async with running(settings) as two:
            await ready(two)

            async def both() -> bool:
                return await members(settings) == 2

            await until(both)
            requests = load(3)
            sent += requests
            places += await producer.send(settings, *requests)
            await until(lambda: busy(two))
        requests = load(4)
        sent += requests
        places += await producer.send(settings, *requests)
        given = await all_answered(settings, *places)

        async def all_committed() -> bool:
            ends = {part: max(offset for at, offset in places if at == part) + 1 for part, _ in places}
            return await committed(settings) == ends

        await until(all_committed)
    assert set(given) == set(places)
    assert await stored(settings) == len(places)
    newest: dict[str, str] = {}
    created = 0
    for place, request in sorted(zip(places, sent, strict=True), key=lambda pair: pair[0]):
        assert len({answer.record.value for answer in given[place]}) == 1
        answer = given[place][0]
        customer = (request.key or b"").decode()
        assert answer.response["customer"] == customer
        assert answer.response["city"].encode() in (request.value or b"")
        assert newest.get(customer, "") < answer.response["updated_at"]
        newest[customer] = answer.response["updated_at"]
        created += answer.outcome == "created"
    assert created == CUSTOMERS


class HeldPublisher:
    """Stands before the publisher of a worker until it is let go."""

    def __init__(self, app: AsgiFastStream) -> None:
        self.asked, self.open = asyncio.Event(), asyncio.Event()
        publisher = worker_of(app).publisher
        self._publish = publisher.publish
        publisher.publish = self.publish  # type: ignore[method-assign]

    async def publish(self, records: Sequence[Outgoing], *, probe: bool = False) -> dict[Outgoing, str]:
        self.asked.set()
        await self.open.wait()
        return await self._publish(records, probe=probe)


@pytest.mark.rule("R6.74")
async def test_a_batch_that_is_committed_when_another_worker_joins_is_published_by_the_one_that_has_it(
    settings: Settings,
) -> None:
    async with running(settings) as one:
        await ready(one)
        held, worker = HeldPublisher(one), worker_of(one)
        places = await foreign(settings).send(settings, *(plain(f"cus_{number}") for number in range(9)), partition=0)
        await held.asked.wait()
        async with running(settings) as two:
            await until(lambda: worker._revoking)
            held.open.set()
            await ready(two)
            given = await all_answered(settings, *places)
    assert {place: [answer.record.header("replayed") for answer in found] for place, found in given.items()} == {
        place: [None] for place in places
    }


@pytest.mark.rule("R6.73")
async def test_a_batch_that_is_not_committed_when_another_worker_joins_is_abandoned_and_taken_by_its_next_owner(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    connection: Any = await asyncpg.connect(as_owner(settings))
    async with running(settings) as one:
        await ready(one)
        async with connection.transaction():
            await connection.execute("lock table customers in access exclusive mode")
            producer = foreign(settings)
            places = await producer.send(settings, *(plain(f"cus_{number}") for number in range(9)), partition=0)
            worker = worker_of(one)
            await until(lambda: worker._in_hand)
            async with running(settings) as two:
                await until(lambda: worker.intake is not None and worker.intake.epoch)
                assert await answers(settings) == {}

                async def both() -> bool:
                    return await members(settings) == 2

                await until(both)
                await connection.execute("select 1")
                await connection.execute("commit")
                await connection.execute("begin")
                given = await all_answered(settings, *places)
                await ready(two)
    await connection.close()
    assert {place: len(found) for place, found in given.items()} == dict.fromkeys(places, 1)
    assert await stored(settings) == len(places)
