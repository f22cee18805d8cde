"""The other side of the worker: publishes requests and awaits their answers. For the command line and the demo."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from app.consumer.connection import REQUEST_LIMIT_MS, connection
from app.consumer.publisher import LARGEST_RECORD, cause_of
from app.errors import SetupNeeded, Transient
from app.model import Headers
from app.settings import Settings

_POLL_MS: Final = 200


@dataclass(frozen=True, slots=True, repr=False)
class Outbound:
    """A request to publish."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    def __repr__(self) -> str:
        return "Outbound()"


@dataclass(frozen=True, slots=True, repr=False)
class Inbound:
    """A record of an answer or dead letter topic as it came."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    def __repr__(self) -> str:
        return f"Inbound({self.topic}/{self.partition}/{self.offset})"

    def header(self, name: str) -> str | None:
        """The text of the header of this name, if there is one."""
        return next((value.decode() for key, value in self.headers if key == name and value is not None), None)

    @property
    def answers(self) -> tuple[int, int] | None:
        """Partition and offset of the request that this answers."""
        partition, offset = self.header("request-partition"), self.header("request-offset")
        return (int(partition), int(offset)) if partition is not None and offset is not None else None


@dataclass(slots=True)
class Requester:
    """Publishes to the request topic and reads the answers that come after it was opened.

    `sent` holds the place of each published request, `answered` all answers to them by that place.
    """

    settings: Settings
    _producer: AIOKafkaProducer
    _consumer: AIOKafkaConsumer | None
    sent: list[tuple[int, int]] = field(default_factory=list)
    answered: dict[tuple[int, int], list[Inbound]] = field(default_factory=dict)

    async def send(self, request: Outbound) -> asyncio.Future[Any]:
        """Publish one request; the future gives its place once it is acknowledged.

        Raises:
            Transient: Kafka is away. SetupNeeded: the topic is missing.
        """
        with _translated():
            acknowledged: asyncio.Future[Any] = await self._producer.send(
                self.settings.request_topic, request.value, key=request.key, headers=list(request.headers)
            )
        return acknowledged

    async def send_all(self, requests: Iterable[Outbound]) -> AsyncIterator[int]:
        """Publish these in order; yields how many are acknowledged so far, now and then."""
        futures: list[asyncio.Future[Any]] = []
        for request in requests:
            futures.append(await self.send(request))
            if len(futures) >= 1000:
                yield await self._acknowledged(futures)
        yield await self._acknowledged(futures)

    async def _acknowledged(self, futures: list[asyncio.Future[Any]]) -> int:
        with _translated():
            self.sent += [(placed.partition, placed.offset) for placed in await asyncio.gather(*futures)]
        futures.clear()
        return len(self.sent)

    async def receive(self) -> int:
        """Take what has come meanwhile; how many of the sent requests are answered."""
        assert self._consumer is not None
        with _translated():
            found = await self._consumer.getmany(timeout_ms=_POLL_MS)
        for raw in (record for records in found.values() for record in records):
            inbound = Inbound(
                raw.topic, raw.partition, raw.offset, raw.timestamp, raw.key, raw.value, tuple(raw.headers)
            )
            place = inbound.answers
            if place is not None and inbound.header("request-topic") == self.settings.request_topic:
                self.answered.setdefault(place, []).append(inbound)
        return sum(place in self.answered for place in self.sent)


@contextlib.asynccontextmanager
async def open_requester(settings: Settings, *, listen: bool = True) -> AsyncIterator[Requester]:
    """Connect as a producer, and unless `listen` is false as a reader of all answers from now on.

    Raises:
        Transient: Kafka is away. SetupNeeded: a topic is missing.
    """
    async with contextlib.AsyncExitStack() as stack:
        with _translated():
            producer = AIOKafkaProducer(
                **connection(settings), acks="all", enable_idempotence=True, max_request_size=LARGEST_RECORD
            )
            stack.push_async_callback(producer.stop)
            await asyncio.wait_for(producer.start(), REQUEST_LIMIT_MS / 1000)
            await _has_topic(producer, settings.request_topic)
            consumer = await _listen(stack, settings) if listen else None
        yield Requester(settings, producer, consumer)


async def _listen(stack: contextlib.AsyncExitStack, settings: Settings) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(
        **connection(settings), isolation_level="read_committed", auto_offset_reset="earliest", enable_auto_commit=False
    )
    stack.push_async_callback(consumer.stop)
    await asyncio.wait_for(consumer.start(), REQUEST_LIMIT_MS / 1000)
    partitions: list[TopicPartition] = []
    for topic in (settings.completed_topic, settings.failed_topic):
        numbers = await _partitions(consumer, topic)
        partitions += [TopicPartition(topic, number) for number in sorted(numbers)]
    consumer.assign(partitions)
    for partition, end in (await consumer.end_offsets(partitions)).items():
        consumer.seek(partition, end)
    return consumer


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> Sequence[int]:
    await consumer._client.add_topic(topic)
    numbers = consumer.partitions_for_topic(topic)
    if not numbers:
        raise SetupNeeded(f"topic {topic} is missing; run: patient-upsert setup")
    return list(numbers)


async def _has_topic(producer: AIOKafkaProducer, topic: str) -> None:
    try:
        await asyncio.wait_for(producer.partitions_for(topic), 3)
    except TimeoutError:
        raise SetupNeeded(f"topic {topic} is missing; run: patient-upsert setup") from None


@contextlib.contextmanager
def _translated() -> Any:
    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        raise Transient(cause_of(error)) from None
