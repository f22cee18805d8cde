"""Load with a memory: requests of many customers and forms, each with what it means, where it came to lie, and when."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from confluent_kafka import Producer

from app.settings import Settings
from app.waiting import within
from tests.faults.checker import Place, Requested
from tests.faults.matrix.tail import SILENT

CANARIES = ("Kanarienvogel", "kanarienvogel", "5550199777")
HOT = 30
"""Customers that are asked for again and again; every fifth request is for a new one."""
FLUSH_LIMIT = 120.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to be sent, and what it means. `id` None: its place will be its id."""

    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes | None], ...]
    source: str
    id: str | None
    customer: str | None
    data: dict[str, Any]
    meant: Literal["applied", "refused", "failed"] = "applied"
    event_time: int | None = None
    partition: int | None = None
    timestamp: int | None = None


def body(number: int, **changes: Any) -> dict[str, Any]:
    """A valid body in the form in which answers show it; every value that could tell who it is sings."""
    return {
        "firstName": f"Kanarienvogel {number}",
        "lastName": "Kanarienvogel",
        "dateOfBirth": "1990-05-17",
        "gender": "female",
        "phone": "+1 5550199777",
        "email": f"kanarienvogel{number % 7}@clinic.local",
        "address": f"{number} Kanarienvogel Street",
        "address2": None,
        "city": f"Kanarienvogel {number}",
        "state": "",
        "postalCode": "N1 9GU",
        "country": "GB",
        **changes,
    }


def cloud_event(id: str, customer: str, data: dict[str, Any], *, time: int | None = None, **more: Any) -> Asked:
    """A CloudEvent in binary mode; `time` in Unix milliseconds."""
    headers: list[tuple[str, bytes | None]] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", id.encode()),
        ("ce_source", b"/matrix"),
        ("ce_type", b"patient.upsert.requested"),
        ("content-type", b"application/json"),
    ]
    if time is not None:
        stamp = datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds")
        headers.append(("ce_time", stamp.encode()))
    return Asked(
        customer.encode(), orjson.dumps(data), tuple(headers), "/matrix", id, customer, data, event_time=time, **more
    )


def with_key(topic: str, id: str, customer: str, data: dict[str, Any]) -> Asked:
    """Plain JSON with an idempotency key."""
    headers = (("idempotency-key", id.encode()),)
    return Asked(customer.encode(), orjson.dumps(data), headers, f"kafka:{topic}#{customer}", id, customer, data)


def plain(topic: str, customer: str, data: dict[str, Any], **more: Any) -> Asked:
    """Plain JSON, known by its place."""
    return Asked(customer.encode(), orjson.dumps(data), (), f"kafka:{topic}", None, customer, data, **more)


def mixed(topic: str, rng: random.Random, prefix: str = "cus_", hot: int = HOT) -> Iterator[Asked]:
    """All forms; a twentieth is refused, a twentieth repeats an earlier one. Customers are named with the prefix."""
    earlier: list[Asked] = []
    for number in itertools.count():
        new = number % 5 == 0
        customer = f"{prefix}new{number}" if new else f"{prefix}{rng.randrange(hot)}"
        data, id = body(number), str(uuid.UUID(int=rng.getrandbits(128)))
        dice = rng.random()
        if dice < 0.05 and earlier:
            yield rng.choice(earlier[-200:])
        elif dice < 0.10:
            yield plain(topic, customer, data | {"dateOfBirth": "3000-01-01"}, meant="refused")
        elif dice < 0.30:
            yield plain(topic, customer, data)
        else:
            asked = with_key(topic, id, customer, data) if dice < 0.55 else cloud_event(id, customer, data)
            earlier.append(asked)
            yield asked


@dataclass(slots=True)
class Load:
    """Sends requests at a rate until told to stop; `requests` holds those that Kafka has acknowledged."""

    settings: Settings
    requests: list[Requested] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def producer(self, **options: Any) -> Producer:
        """A producer that keeps the order of a key, as the design asks of producers."""
        defaults = {"linger.ms": 5, "enable.idempotence": True, "partitioner": "murmur2_random", "logger": SILENT}
        return Producer({"bootstrap.servers": self.settings.kafka_bootstrap_servers, **defaults, **options})

    def send(self, producer: Producer, asked: Asked) -> None:
        """Send one; noted once it is acknowledged."""
        where: dict[str, Any] = {} if asked.partition is None else {"partition": asked.partition}
        # Given, not asked for: for a batch that was sent again, librdkafka tells another one than the record has.
        timestamp = round(time.time() * 1000) if asked.timestamp is None else asked.timestamp
        producer.produce(
            self.settings.request_topic,
            asked.value,
            asked.key,
            headers=list(asked.headers),
            timestamp=timestamp,
            on_delivery=self._noting(asked, timestamp),
            **where,
        )
        producer.poll(0)

    def _noting(self, asked: Asked, timestamp: int) -> Callable[[Any, Any], None]:
        def told(error: Any, message: Any) -> None:
            if error is not None:
                self.refused.append(str(error))
                return
            self.note(asked, (message.partition(), message.offset()), timestamp)

        return told

    def note(self, asked: Asked, place: Place, timestamp: int) -> None:
        """Remember a request that lies there."""
        partition, offset = place
        id = asked.id or f"{self.settings.request_topic}/{partition}/{offset}@{timestamp}"
        self.requests.append(
            Requested(
                place=place,
                timestamp=timestamp,
                key=asked.key,
                value=asked.value,
                headers=asked.headers,
                source=asked.source,
                id=id,
                customer=asked.customer,
                data=asked.data,
                meant=asked.meant,
                event_time=asked.event_time,
            )
        )

    def expire(self, partition: int, before: int) -> None:
        """Remember that these records left the topic."""
        self.requests = [
            replace(request, expired=True) if request.place[0] == partition and request.place[1] < before else request
            for request in self.requests
        ]

    @asynccontextmanager
    async def running(self, requests: Iterator[Asked], rate: float, *producers: Producer) -> AsyncIterator[None]:
        """Load for as long as the block lasts; what was sent is acknowledged when it has ended."""
        producers = producers or (self.producer(),)

        async def produce() -> None:
            loop = asyncio.get_running_loop()
            began = loop.time()
            for number, (asked, producer) in enumerate(zip(requests, itertools.cycle(producers), strict=False)):
                self.send(producer, asked)
                if (ahead := began + number / rate - loop.time()) > 0:
                    await asyncio.sleep(ahead)

        producing = asyncio.create_task(produce())
        try:
            yield
        finally:
            producing.cancel()
            await asyncio.wait({producing})
            for producer in producers:
                await self.flushed(producer)
        if not producing.cancelled() and (error := producing.exception()) is not None:
            raise error

    async def flushed(self, producer: Producer) -> None:
        """Await the acknowledgement of all that was sent."""
        left = await within(asyncio.to_thread(producer.flush, FLUSH_LIMIT), FLUSH_LIMIT + 5)
        assert left == 0, f"{left} requests were never acknowledged"
