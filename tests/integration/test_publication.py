"""Publication on a real broker: in order, where others would put it, and each record acknowledged or named."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer

from app.consumer.connection import connection
from app.consumer.publisher import Outgoing, Publisher
from app.model import Position
from app.settings import Settings
from tests.faults.broker_side import configure, everything

COUNT = 4000
CUSTOMERS = 50


def outgoing(settings: Settings, offset: int, *, size: int = 700, topic: str | None = None) -> Outgoing:
    """A record of which the value begins with its offset."""
    key = b"cus_%d" % (offset % CUSTOMERS)
    headers: list[tuple[str, bytes | None]] = [("ce_id", b"%d" % offset), ("none", None)]
    value = b"%08d" % offset + b"v" * (size - 8)
    return Outgoing(Position("asked", 0, offset, 0), topic or settings.completed_topic, key, value, headers)


@asynccontextmanager
async def publishing(settings: Settings) -> AsyncIterator[Publisher]:
    publisher = Publisher(settings)
    try:
        yield publisher
    finally:
        await publisher.close()


async def by_customer(settings: Settings) -> dict[bytes | None, list[int]]:
    """The offsets that the values carry, by key, in the order in which the records lie."""
    found: dict[bytes | None, list[int]] = {}
    for record in await everything(settings, settings.completed_topic):
        found.setdefault(record.key, []).append(int((record.value or b"")[:8]))
    return found


def of_customer(number: int, offsets: Sequence[int]) -> list[int]:
    return [offset for offset in offsets if offset % CUSTOMERS == number]


async def test_many_records_are_published_in_the_order_of_each_key_with_their_headers(settings: Settings) -> None:
    async with publishing(settings) as publisher:
        assert await publisher.publish([outgoing(settings, offset) for offset in range(COUNT)]) == {}
    found = await by_customer(settings)
    assert found == {b"cus_%d" % n: list(range(n, COUNT, CUSTOMERS)) for n in range(CUSTOMERS)}
    for record in await everything(settings, settings.completed_topic):
        assert record.headers == (("ce_id", b"%d" % int((record.value or b"")[:8])), ("none", None))


async def test_an_answer_lies_in_the_partition_in_which_the_client_itself_would_put_it(settings: Settings) -> None:
    records = [outgoing(settings, offset) for offset in range(CUSTOMERS)]
    async with publishing(settings) as publisher:
        assert await publisher.publish(records) == {}
    producer = AIOKafkaProducer(**connection(settings))
    await producer.start()
    try:
        for record in records:
            await producer.send_and_wait(record.topic, record.value, key=record.key)
    finally:
        await producer.stop()
    places: dict[bytes | None, set[int]] = {}
    for found in await everything(settings, settings.completed_topic):
        places.setdefault(found.key, set()).add(found.partition)
    assert len(places) == CUSTOMERS
    assert all(len(of_key) == 1 for of_key in places.values())


@pytest.mark.parametrize("large", [0, 1234], ids=["first", "later"])  # the broker takes any number as a first one
async def test_what_a_topic_refuses_as_too_large_is_named_and_what_follows_it_comes_after_it(
    large: int, settings: Settings
) -> None:
    await configure(settings, settings.completed_topic, max_message_bytes="900000")
    records = [outgoing(settings, offset, size=950_000 if offset == large else 700) for offset in range(COUNT)]
    other = outgoing(settings, 0, topic=settings.failed_topic)
    async with publishing(settings) as publisher:
        failed = await publisher.publish([*records, other])
        assert failed[records[large]] == (
            f"topic {settings.completed_topic} refuses the record as too large; raise its max.message.bytes"
        )
        assert other not in failed
        assert len(failed) < COUNT  # the other partitions were not held up
        published = [record.position.offset for record in records if record not in failed]
        found = await by_customer(settings)
        for number in range(CUSTOMERS):  # nothing overtakes what was refused
            assert found.get(b"cus_%d" % number, []) == of_customer(number, published)
        first = min(record.position.offset for record in failed)
        assert of_customer(large % CUSTOMERS, published) == of_customer(large % CUSTOMERS, range(large))
        assert (first > 0) == (large > 0)
        await configure(settings, settings.completed_topic, max_message_bytes="1040000")
        rest = [record for record in records if record in failed]
        assert await publisher.publish(rest) == {}
    assert await by_customer(settings) == {b"cus_%d" % n: list(range(n, COUNT, CUSTOMERS)) for n in range(CUSTOMERS)}


async def test_records_that_are_too_large_together_go_out_in_smaller_pieces(settings: Settings) -> None:
    await configure(settings, settings.completed_topic, max_message_bytes="60000")
    rest = [outgoing(settings, offset) for offset in range(COUNT)]
    async with publishing(settings) as publisher:
        attempts = 0
        while rest:
            failed = await publisher.publish(rest)
            rest = [record for record in rest if record in failed]
            attempts += 1
            assert attempts < 10
        assert attempts > 1
        assert await publisher.publish([outgoing(settings, COUNT + offset) for offset in range(COUNT)]) == {}
    found = await by_customer(settings)
    assert found == {b"cus_%d" % n: of_customer(n, range(2 * COUNT)) for n in range(CUSTOMERS)}
