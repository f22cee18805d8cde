"""Producers that repeat themselves, contradict themselves, or send what nobody can read."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from aiokafka import AIOKafkaProducer

from app.consumer.connection import connection
from tests.faults import batches
from tests.faults.broker_side import edited_batch
from tests.faults.killing import DEADLY
from tests.faults.matrix.case import Case
from tests.faults.matrix.load import HOT, Asked, body, cloud_event, mixed, plain, with_key
from tests.faults.matrix.world import PATIENCE, World

REQUESTS = 1500
REFUSING = "alter table customers add constraint poison check (city not like '%poison%')"
"""Has the database refuse the first of `poisons`."""
PARTITIONS = 3


def an_id(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128)))


def identified(topic: str, rng: random.Random, number: int) -> Asked:
    """A request with an id of its own."""
    customer, data = f"cus_{rng.randrange(HOT)}", body(number)
    if rng.random() < 0.5:
        return with_key(topic, an_id(rng), customer, data)
    return cloud_event(an_id(rng), customer, data)


async def two_at_work(world: World, requests: Iterator[Asked], producers: int = 1) -> None:
    """Two workers answer these."""
    await world.start()
    await world.start()
    async with world.running(requests, 100, *(world.load.producer() for _ in range(producers))):
        await world.sent(REQUESTS)


def shuffled(requests: Iterator[Asked], rng: random.Random, window: int = 40) -> Iterator[Asked]:
    """The same requests, each up to some dozens of places from where it was."""
    waiting: list[Asked] = []
    for asked in requests:
        waiting.append(asked)
        if len(waiting) > window:
            yield waiting.pop(rng.randrange(len(waiting)))


async def thrice(world: World) -> None:
    """Every request three times, by three producers, to three partitions."""

    def requests() -> Iterator[Asked]:
        for number in itertools.count():
            asked = identified(world.settings.request_topic, world.rng, number)
            yield from (replace(asked, partition=partition) for partition in range(PARTITIONS))

    await two_at_work(world, shuffled(requests(), world.rng), producers=3)


async def reused(world: World) -> None:
    """One id for two contents, in any partitions."""

    def requests() -> Iterator[Asked]:
        for number in itertools.count():
            asked = identified(world.settings.request_topic, world.rng, number)
            other = asked.data | {"city": f"Kanarienvogel other {number}"}
            again = replace(asked, value=plain("", "", other).value, data=other)
            for each in (asked, again, asked):
                yield replace(each, partition=world.rng.randrange(PARTITIONS))

    await two_at_work(world, shuffled(requests(), world.rng))


def poisons(topic: str, number: int, prefix: str = "cus_") -> tuple[Asked, ...]:
    """What other workers choke on; the first is a value that the database refuses, which is a fault of ours."""
    data = body(number)
    good = plain(topic, f"{prefix}{number % HOT}", data)
    # of a customer of its own: a later request in the same batch would heal it before it reaches the database
    spoilt = plain(topic, f"{prefix}spoilt{number}", data | {"city": "Kanarienvogel poison"}, meant="failed")
    bad = replace(good, meant="refused")
    return (
        spoilt,
        replace(bad, value=b'{"firstName": "Kanarienvogel'),
        replace(bad, value=b"[" * 100_000),
        replace(bad, value=b'{"city": "Kanarienvogel\xff"}'),
        replace(bad, value=b""),
        replace(bad, key=b"\xff\xfe", customer=None),
        replace(bad, headers=(("idempotency-key", b"\xff\xfe"),), source=f"kafka:{topic}#{good.customer}"),
        replace(good, headers=(("x-trace", None), ("traceparent", None))),
        replace(good, headers=(("x-trace", b"\xff\xfe"),)),
    )


async def poison(world: World) -> None:
    """Poison in every hundredth place, of each kind in turn."""
    await world.execute(REFUSING)
    topic = world.settings.request_topic

    def requests() -> Iterator[Asked]:
        good = mixed(topic, world.rng)
        for number in itertools.count():
            kinds = poisons(topic, number)
            yield kinds[number // 100 % len(kinds)] if number % 100 == 50 else next(good)

    await two_at_work(world, requests())


async def undecodable(world: World) -> None:
    """Record batches with a header name that is not UTF-8, beside good records in the same batch."""
    await world.start()
    async with AIOKafkaProducer(**connection(world.settings)) as producer, world.running():
        for number in range(30):
            await world.working(10)
            await _spoilt_batch(world, producer, number)
        world.mark()
        await world.working(200)


async def _spoilt_batch(world: World, producer: AIOKafkaProducer, number: int) -> None:
    topic, partition = world.settings.request_topic, world.rng.randrange(PARTITIONS)
    first, last = (plain(topic, f"cus_{number}{which}", body(number)) for which in "ab")
    spoilt = replace(first, headers=(("zzqq", b"1"),), meant="refused", customer=None)
    spoil = partial(batches.replaced, old=b"zzqq", new=b"\xff\xfe\xfd\xfc")
    now = round(time.time() * 1000)
    batch = edited_batch(spoil, now, *((asked.key, asked.value, asked.headers) for asked in (first, spoilt, last)))
    sent = await producer.send_batch(batch, topic, partition=partition)
    offset = (await sent).offset
    for at, asked in enumerate((first, spoilt, last)):
        world.load.note(asked, (partition, offset + at), now)
    await asyncio.sleep(0)


async def hot(world: World) -> None:
    """One customer, without keys, in all partitions."""

    def requests() -> Iterator[Asked]:
        for number in itertools.count():
            data = body(number, customer="cus_hot")
            form = cloud_event(an_id(world.rng), "cus_hot", data) if number % 2 else None
            asked = form or plain(world.settings.request_topic, "cus_hot", data)
            yield replace(asked, key=None, partition=world.rng.randrange(PARTITIONS))

    await two_at_work(world, requests())


async def skewed(world: World) -> None:
    """Record timestamps and event times are hours off, in both directions."""
    hour = 3_600_000

    def requests() -> Iterator[Asked]:
        for number in itertools.count():
            now = round(time.time() * 1000)
            event_time = now + world.rng.randint(-3 * hour, 3 * hour) if world.rng.random() < 0.7 else None
            asked = cloud_event(an_id(world.rng), f"cus_{world.rng.randrange(HOT)}", body(number), time=event_time)
            yield replace(asked, timestamp=now + world.rng.randint(-2 * hour, 2 * hour))

    await two_at_work(world, requests())


async def kills(world: World) -> None:
    """A record that kills every process that touches it, in the middle of the others."""
    topic = world.settings.request_topic

    def requests() -> Iterator[Asked]:
        for number, asked in enumerate(mixed(topic, world.rng)):
            deadly = plain(topic, f"cus_{number % HOT}", body(number) | {"city": DEADLY}, meant="failed")
            yield deadly if number == 300 else asked

    def passed_by() -> bool:
        return any(request.place in world.tail.first for request in world.load.requests if request.meant == "failed")

    def died() -> bool:
        return world.workers[-1].child.poll() is not None

    async with world.running(requests()):
        await world.start(*KILLED)
        while not passed_by():
            await world.tail.until(lambda: passed_by() or died(), PATIENCE)
            if died():
                await world.died(world.workers[-1])
                await world.start(*KILLED)
        world.mark()
        await world.working(200)


KILLED = (sys.executable, "-m", "tests.faults.killing", "run")
CASES = (
    Case("input-thrice", "every request three times, to three partitions", thrice, in_suite=True),
    Case("input-reused", "one id for two contents", reused),
    Case("input-poison", "poison in every hundredth place", poison, in_suite=True),
    Case("input-undecodable", "headers that cannot be decoded", undecodable),
    Case("input-hot", "one hot customer, unkeyed, in all partitions", hot),
    Case("input-kills", "a record that kills every process that touches it", kills),
    Case("input-skewed", "clocks hours off", skewed),
)
