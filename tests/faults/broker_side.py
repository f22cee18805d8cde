"""What tests do to the broker beside the worker: look into topics, change them, publish what no client would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.producer.message_accumulator import BatchBuilder
from confluent_kafka import ConsumerGroupTopicPartitions, Producer
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.cimpl import NewTopic

from app.consumer.connection import connection
from app.consumer.requester import Inbound, Outbound, Requester
from app.consumer.topics import create_topics
from app.settings import Settings
from app.waiting import within
from tests.support import PATIENCE, Answered, answered, until

LIMIT = 60.0
"""Seconds for one question to the broker."""


async def everything(settings: Settings, topic: str) -> list[Inbound]:
    """All committed records of a topic, each partition in its order."""
    async with _consumer(settings) as consumer:
        partitions = await _assign(consumer, topic)
        ends = await consumer.end_offsets(partitions)
        found: list[Inbound] = []
        async with asyncio.timeout(PATIENCE):
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                found += await _more(consumer)
    return found


async def _assign(consumer: AIOKafkaConsumer, *topics: str) -> list[TopicPartition]:
    partitions = []
    for topic in topics:
        numbers = await until(partial(_numbers, consumer, topic))
        partitions += [TopicPartition(topic, number) for number in sorted(numbers)]
    consumer.assign(partitions)
    return partitions


async def _numbers(consumer: AIOKafkaConsumer, topic: str) -> Collection[int]:
    """The partitions; none while a broker that was away is not yet taken back by its cluster."""
    await consumer._client.add_topic(topic)
    await consumer._client.force_metadata_update()
    return consumer.partitions_for_topic(topic) or ()


async def _more(consumer: AIOKafkaConsumer) -> list[Inbound]:
    return [
        Inbound(raw.topic, raw.partition, raw.offset, raw.timestamp, raw.key, raw.value, tuple(raw.headers))
        for records in (await consumer.getmany(timeout_ms=100)).values()
        for raw in records
    ]


async def answers(settings: Settings) -> dict[tuple[int, int], list[Answered]]:
    """All answers on both topics, by the place of the request."""
    found: dict[tuple[int, int], list[Answered]] = {}
    for topic in (settings.completed_topic, settings.failed_topic):
        for record in await everything(settings, topic):
            assert record.answers is not None
            found.setdefault(record.answers, []).append(answered(record))
    return found


@asynccontextmanager
async def _consumer(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        **connection(settings), isolation_level="read_committed", auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def committed(settings: Settings) -> dict[int, int]:
    """The committed offsets of the group on the request topic; partitions without one are left out."""
    asked = [ConsumerGroupTopicPartitions(settings.group_id)]
    answer = await _done(settings, lambda admin: admin.list_consumer_group_offsets(asked)[settings.group_id])
    return {place.partition: place.offset for place in answer.topic_partitions if place.offset >= 0}


async def until_committed(settings: Settings, **expected: int) -> None:
    """Await that these partitions, as in `p0=3`, are committed so far."""

    async def there() -> bool:
        found = await committed(settings)
        return all(found.get(int(name[1:])) == offset for name, offset in expected.items())

    await until(there)


def _admin(settings: Settings) -> AdminClient:
    return AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers, "log_level": 0})


async def _done(settings: Settings, begin: Callable[[AdminClient], Future[Any]]) -> Any:
    admin = _admin(settings)  # held until the answer is there: with it goes its thread
    return await within(asyncio.wrap_future(begin(admin)), LIMIT)


async def delete_topic(settings: Settings, topic: str) -> None:
    """Delete a topic, and await that nobody knows it any more."""
    await _done(settings, lambda admin: admin.delete_topics([topic])[topic])
    admin = _admin(settings)

    def gone() -> bool:
        return topic not in admin.list_topics(timeout=LIMIT).topics

    await until(lambda: asyncio.to_thread(gone))


async def remake_topic(settings: Settings, topic: str) -> None:
    """Delete a topic and make it again, faster than anyone looks."""
    new = NewTopic(topic, settings.topic_partitions)

    def make(admin: AdminClient) -> Future[Any]:
        admin.delete_topics([topic])[topic].result(LIMIT)
        return admin.create_topics([new])[topic]

    await _done(settings, make)


async def make_topics(settings: Settings) -> None:
    """Create the topics that are missing, and await that they can be used."""
    await create_topics(settings)
    admin = _admin(settings)
    names = (settings.request_topic, settings.completed_topic, settings.failed_topic, settings.dlq_topic)

    def usable() -> bool:
        topics = admin.list_topics(timeout=LIMIT).topics
        found = [topics[name].partitions.values() for name in names if name in topics]
        return len(found) == len(names) and all(part.leader >= 0 for parts in found for part in parts)

    await until(lambda: asyncio.to_thread(usable))


async def configure(settings: Settings, topic: str, **values: str) -> None:
    """Change the configuration of a topic."""
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in values.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    await _done(settings, lambda admin: admin.incremental_alter_configs([resource])[resource])


def _rules(kind: ResourceType, name: str, operation: AclOperation) -> list[tuple[Any, ...]]:
    """All rights but one. Without logins everybody has the same name; a thing with a rule has no rights by default."""
    everybody = kind, name, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*"
    return [(*everybody, AclOperation.ALL, AclPermissionType.ALLOW), (*everybody, operation, AclPermissionType.DENY)]


async def deny(settings: Settings, kind: ResourceType, name: str, operation: AclOperation) -> None:
    """Take a right away from everybody."""
    bindings = [AclBinding(*rule) for rule in _rules(kind, name, operation)]
    admin = _admin(settings)  # held, as above
    for future in admin.create_acls(bindings).values():
        await within(asyncio.wrap_future(future), LIMIT)


async def permit(settings: Settings, kind: ResourceType, name: str, operation: AclOperation) -> None:
    """Give back what `deny` took."""
    filters = [AclBindingFilter(*rule) for rule in _rules(kind, name, operation)]
    admin = _admin(settings)  # held, as above
    for future in admin.delete_acls(filters).values():
        assert len(await within(asyncio.wrap_future(future), LIMIT)) == 1


async def expire(settings: Settings, partition: int, before: int) -> None:
    """Remove the records of a request partition before this offset, as retention does."""
    place = Place(settings.request_topic, partition, before)
    await _done(settings, lambda admin: next(iter(admin.delete_records([place]).values())))


@dataclass(frozen=True, slots=True)
class Foreign:
    """A producer of another make: librdkafka's."""

    producer: Producer

    async def send(
        self, settings: Settings, *requests: Outbound, partition: int | None = None
    ) -> list[tuple[int, int]]:
        """Publish these in order, without a look at what this worker would like; their places."""
        placed: dict[int, tuple[int, int]] = {}

        def noting(number: int) -> Callable[[Any, Any], None]:
            def told(error: Any, message: Any) -> None:
                assert error is None, error
                placed[number] = message.partition(), message.offset()

            return told

        where: dict[str, Any] = {} if partition is None else {"partition": partition}
        for number, request in enumerate(requests):
            headers: Any = list(request.headers)
            self.producer.produce(
                settings.request_topic, request.value, request.key, headers=headers, on_delivery=noting(number), **where
            )
        assert await asyncio.to_thread(self.producer.flush, PATIENCE) == 0, "requests were never acknowledged"
        return [placed[number] for number in range(len(requests))]


def foreign(settings: Settings, **options: Any) -> Foreign:
    """A producer of librdkafka, with its own options, such as `compression.type`."""
    return Foreign(Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "linger.ms": 50, **options}))


async def publish_batch(settings: Settings, partition: int, raw: Callable[[bytes], bytes], *requests: Outbound) -> int:
    """Publish these as one record batch, its bytes changed by `raw` before they are sent; the first offset."""
    producer = AIOKafkaProducer(**connection(settings), max_batch_size=1 << 23, max_request_size=1 << 24)
    await producer.start()
    try:
        builder = edited_batch(raw, None, *((request.key, request.value, request.headers) for request in requests))
        sent = await producer.send_batch(builder, settings.request_topic, partition=partition)
        return int((await sent).offset)
    finally:
        await producer.stop()


def edited_batch(
    edit: Callable[[bytes], bytes],
    timestamp: int | None,
    *records: tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]],
) -> Any:
    """A record batch whose bytes are changed before they are sent."""
    builder: Any = _Edited(1 << 23, 0)  # type: ignore[no-untyped-call]
    builder.edit = edit
    for key, value, headers in records:
        assert builder.append(timestamp=timestamp, key=key, value=value, headers=list(headers))
    return builder


class _Edited(BatchBuilder):  # type: ignore[misc, unused-ignore]
    edit: Callable[[bytes], bytes]

    def _build(self) -> bytes:
        if self._buffer is None:
            self._buffer = self.edit(bytes(super()._build()))  # type: ignore[no-untyped-call]
        return bytes(self._buffer)


async def answers_at(requester: Requester, *places: tuple[int, int]) -> list[Answered]:
    """The last answer to what lies at each of these places, awaited."""
    async with asyncio.timeout(PATIENCE):
        while not all(place in requester.answered for place in places):
            await requester.receive()
    return [answered(requester.answered[place][-1]) for place in places]


async def members(settings: Settings) -> int:
    """How many members the group has, while it is stable; else 0."""
    admin = AIOKafkaAdminClient(**connection(settings))
    await admin.start()
    try:
        response: Any = (await admin.describe_consumer_groups([settings.group_id]))[0]
    finally:
        await admin.close()
    _, _, state, _, _, found, *_ = response.groups[0]
    return len(found) if state == "Stable" else 0


def log_of(settings: Settings) -> Settings:
    """The settings with a log that `log_lines` can read."""
    return settings.model_copy(update={"log_format": "json"})


def log_lines(capsys: pytest.CaptureFixture[str], event: str | None = None) -> list[Mapping[str, Any]]:
    """The lines that the worker logged since the last look."""
    found = []
    for line in capsys.readouterr().err.splitlines():
        if line.startswith("{"):
            found.append(json.loads(line))
    return [line for line in found if event in (None, line["event"])]


def value_of(records: Sequence[Inbound]) -> list[Any]:
    """The values of these records, parsed."""
    return [orjson.loads(record.value or b"null") for record in records]


async def rewind(settings: Settings, **offsets: int) -> None:
    """Set the committed offsets of the stopped group, by partition as in `p0=3`, so that records come again."""
    places = [Place(settings.request_topic, int(name[1:]), offset) for name, offset in offsets.items()]
    asked = [ConsumerGroupTopicPartitions(settings.group_id, places)]
    await _done(settings, lambda admin: admin.alter_consumer_group_offsets(asked)[settings.group_id])


async def all_answered(
    settings: Settings, *places: tuple[int, int], patience: float = PATIENCE
) -> dict[tuple[int, int], list[Answered]]:
    """Every answer there is, once each of these places has one."""
    missing = set(places)
    async with _consumer(settings) as consumer, asyncio.timeout(patience):
        await _assign(consumer, settings.completed_topic, settings.failed_topic)
        while missing:
            missing -= {record.answers for record in await _more(consumer) if record.answers is not None}
    return await answers(settings)
