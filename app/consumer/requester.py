"""The other side of the worker: publishes requests and awaits their answers. For the command line and the demo."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from app.consumer.connection import REQUEST_LIMIT_MS, connection
from app.consumer.publisher import LARGEST_RECORD, cause_of
from app.consumer.reasons import connecting
from app.errors import SetupNeeded, Transient
from app.model import Headers
from app.settings import Settings
from app.waiting import within

_POLL_MS: Final = 200
_STOP_LIMIT: Final = 5.0


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
    heard_from: dict[str, int] = field(default_factory=dict)
    """Where listening began: the offset by `topic/partition`."""

    @property
    def listens(self) -> bool:
        """Whether answers are read at all."""
        return self._consumer is not None

    async def send(self, request: Outbound) -> asyncio.Future[Any]:
        """Publish one request; the future gives its place once it is acknowledged.

        Raises:
            Transient: Kafka is away. SetupNeeded: the topic is missing.
        """
        with _translated(self.settings.request_topic):
            acknowledged: asyncio.Future[Any] = await self._producer.send(
                self.settings.request_topic, request.value, key=request.key, headers=list(request.headers)
            )
        return acknowledged

    def place(self, acknowledged: asyncio.Future[Any]) -> tuple[int, int]:
        """Partition and offset of a request, from the future that `send` gave, once that is done.

        Raises:
            Transient: Kafka did not take the request.
        """
        with _translated(self.settings.request_topic):
            placed = acknowledged.result()
        return placed.partition, placed.offset

    async def send_all(self, requests: Iterable[Outbound]) -> AsyncIterator[int]:
        """Publish these in order; yields how many are acknowledged so far, now and then."""
        futures: list[asyncio.Future[Any]] = []
        for request in requests:
            futures.append(await self.send(request))
            if len(futures) >= 1000:
                yield await self._acknowledged(futures)
        yield await self._acknowledged(futures)

    async def _acknowledged(self, futures: list[asyncio.Future[Any]]) -> int:
        with _translated(self.settings.request_topic):
            self.sent += [(placed.partition, placed.offset) for placed in await asyncio.gather(*futures)]
        futures.clear()
        return len(self.sent)

    async def receive(self) -> int:
        """Take what has come meanwhile; how many of the sent requests are answered."""
        for place, inbound in await self.take(_POLL_MS / 1000):
            self.answered.setdefault(place, []).append(inbound)
        return sum(place in self.answered for place in self.sent)

    async def take(self, seconds: float) -> list[tuple[tuple[int, int], Inbound]]:
        """The answers that have come meanwhile, each with the place of its request; keeps nothing of them.

        Waits up to so many seconds for the first.
        """
        assert self._consumer is not None
        with _translated():
            found = await self._consumer.getmany(timeout_ms=int(seconds * 1000))
        taken = []
        for raw in (record for records in found.values() for record in records):
            inbound = Inbound(
                raw.topic, raw.partition, raw.offset, raw.timestamp, raw.key, raw.value, tuple(raw.headers)
            )
            place = inbound.answers
            if place is not None and inbound.header("request-topic") == self.settings.request_topic:
                taken.append((place, inbound))
        return taken


@contextlib.asynccontextmanager
async def open_requester(
    settings: Settings, *, listen: bool = True, since: Mapping[str, int] | None = None
) -> AsyncIterator[Requester]:
    """Connect as a producer, and unless `listen` is false as a reader of all answers from now on.

    `since` is the `heard_from` of an earlier requester: answers are read again from there.

    Raises:
        Transient: Kafka is away. SetupNeeded: a topic is missing.
    """
    async with contextlib.AsyncExitStack() as stack:
        with _translated():
            producer = AIOKafkaProducer(
                **connection(settings), acks="all", enable_idempotence=True, max_request_size=LARGEST_RECORD
            )
            stack.push_async_callback(_stop, producer)
            async with connecting(settings):
                await within(producer.start(), REQUEST_LIMIT_MS / 1000)
            await _has_topic(producer, settings.request_topic)
            requester = Requester(settings, producer, await _listener(stack, settings) if listen else None)
            if requester._consumer is not None:
                requester.heard_from = await _seek(requester._consumer, since)
        yield requester


async def _stop(producer: AIOKafkaProducer) -> None:
    """Stop it within a few seconds: with Kafka away, it would wait for its acknowledgements for ever."""
    with contextlib.suppress(TimeoutError):
        await within(producer.stop(), _STOP_LIMIT)


async def _listener(stack: contextlib.AsyncExitStack, settings: Settings) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(
        **connection(settings), isolation_level="read_committed", auto_offset_reset="earliest", enable_auto_commit=False
    )
    stack.push_async_callback(consumer.stop)
    await within(consumer.start(), REQUEST_LIMIT_MS / 1000)
    partitions: list[TopicPartition] = []
    for topic in (settings.completed_topic, settings.failed_topic):
        numbers = await _partitions(consumer, topic)
        partitions += [TopicPartition(topic, number) for number in sorted(numbers)]
    consumer.assign(partitions)
    return consumer


async def _seek(consumer: AIOKafkaConsumer, since: Mapping[str, int] | None) -> dict[str, int]:
    """Go to the ends, or to where another listened from; partitions that it did not know are read from their begin."""
    heard_from = {}
    for there, end in (await consumer.end_offsets(list(consumer.assignment()))).items():
        name = f"{there.topic}/{there.partition}"
        heard_from[name] = end if since is None else since.get(name, 0)
        consumer.seek(there, heard_from[name])
    return heard_from


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> Sequence[int]:
    await consumer._client.add_topic(topic)
    numbers = consumer.partitions_for_topic(topic)
    if not numbers:
        raise SetupNeeded(f"topic {topic} is missing; run: patient-upsert setup")
    return list(numbers)


async def _has_topic(producer: AIOKafkaProducer, topic: str) -> None:
    try:
        await within(producer.partitions_for(topic), 3)
    except TimeoutError:
        raise SetupNeeded(f"topic {topic} is missing; run: patient-upsert setup") from None


@contextlib.contextmanager
def _translated(topic: str | None = None) -> Iterator[None]:
    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        raise Transient(cause_of(error, topic)) from None
