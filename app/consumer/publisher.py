"""Publication: answers and dead letters, each known to be acknowledged or not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from app.consumer.connection import REQUEST_LIMIT_MS, connection
from app.consumer.reasons import why_not_reached
from app.model import Answer, Position
from app.response import answer_headers, letter_headers
from app.settings import MEBIBYTE, Settings
from app.waiting import ended, within

TOPIC_LIMIT: Final = 3.0
"""Seconds to find out whether a topic is there."""
PUBLISH_LIMIT: Final = 2.5 * REQUEST_LIMIT_MS / 1000
"""Seconds for all answers of a batch; what is not acknowledged by then is tried again."""
STOP_LIMIT: Final = 2.0
"""Seconds in which a producer that was replaced may still deliver what it was given."""
CLOSE_LIMIT: Final = 1.0
"""The same when the worker stops."""
LARGEST_RECORD: Final = 64 * MEBIBYTE
"""The broker decides what is too large, so that one refusal looks like the other."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Outgoing:
    """One record to publish, and the place of the record that it answers."""

    position: Position
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]

    def __repr__(self) -> str:
        return f"Outgoing({self.position.id} to {self.topic})"


def outgoing(answer: Answer, settings: Settings) -> list[Outgoing]:
    """The records that an answer consists of: itself, and the dead letter if there must be one."""
    topic = settings.completed_topic if answer.status == 200 else settings.failed_topic
    place, given = answer.record.position, answer.record.key
    key = answer.customer.encode() if answer.customer is not None else given
    records = [Outgoing(place, topic, key, answer.value, answer_headers(answer, topic))]
    if answer.dead_letter:
        headers = letter_headers(answer, settings.group_id)
        records.append(Outgoing(place, settings.dlq_topic, given, answer.record.value, headers))
    return records


class Publisher:
    """An idempotent producer that is replaced whenever it may have been spoiled."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._missing: set[str] = set()

    async def publish(self, records: Sequence[Outgoing], *, probe: bool = False) -> dict[Outgoing, str]:
        """Publish in order, and wait for every acknowledgement.

        Args:
            records: those of one key in the order in which they must appear.
            probe: look again for topics that were missing, which takes time, instead of taking it as known.

        Returns:
            The records that were not acknowledged, each with the cause. They may yet have been written.
        """
        if not records:
            return {}
        try:
            producer = await self._ready()
        except (KafkaError, OSError, TimeoutError) as error:
            return dict.fromkeys(records, cause_of(error))
        failed = await self._without_topic(producer, records, probe=probe)
        spoiled = await self._send(producer, [record for record in records if record not in failed], failed)
        if spoiled and self._producer is producer:
            self._producer = None
            self._close_later(producer)
        return failed

    async def _send(self, producer: AIOKafkaProducer, records: Sequence[Outgoing], failed: dict[Outgoing, str]) -> bool:
        """Send these, add to `failed`, and say whether the producer may have lost count of what it sent."""
        waiting: dict[Outgoing, asyncio.Future[Any]] = {}
        unsent = list(reversed(records))
        try:
            async with asyncio.timeout(PUBLISH_LIMIT):
                while unsent:
                    record = unsent[-1]
                    waiting[record] = await producer.send(
                        record.topic, record.value, key=record.key, headers=record.headers
                    )
                    unsent.pop()
                await asyncio.wait(waiting.values()) if waiting else None
        except (KafkaError, OSError, TimeoutError) as error:
            failed.update(dict.fromkeys(unsent, cause_of(error)))
        for record, future in waiting.items():
            if not future.done():
                failed[record] = "kafka: no acknowledgement in time"
            elif (problem := future.exception()) is not None:
                failed[record] = cause_of(problem, record.topic)
                if isinstance(problem, UnknownTopicOrPartitionError | TopicAuthorizationFailedError):
                    self._missing.add(record.topic)
        return any(record in failed for record in records)

    async def _without_topic(
        self, producer: AIOKafkaProducer, records: Sequence[Outgoing], *, probe: bool
    ) -> dict[Outgoing, str]:
        """The records whose topic is not there, so that waiting for it does not hold up the others."""
        causes: dict[str, str] = {}
        for topic in {record.topic for record in records}:
            if topic in self._missing and not probe:
                causes[topic] = f"topic {topic} is missing or may not be written"
                continue
            try:
                await within(producer.partitions_for(topic), TOPIC_LIMIT)
                self._missing.discard(topic)
            except TimeoutError:
                self._missing.add(topic)
                causes[topic] = f"topic {topic} is missing; run: patient-upsert setup"
            except KafkaError as error:
                self._missing.add(topic)
                causes[topic] = cause_of(error, topic)
        return {record: causes[record.topic] for record in records if record.topic in causes}

    async def probe(self, topics: Sequence[str]) -> dict[str, str]:
        """Whether Kafka answers and has these topics: what is wrong, by part. Empty when all is well."""
        try:
            producer = await self._ready()
            for topic in topics:
                producer.client.add_topic(topic)
            if not await within(producer.client.force_metadata_update(), REQUEST_LIMIT_MS / 1000):
                return {"kafka": "kafka: no broker answers"}
        except (KafkaConnectionError, TimeoutError):
            return {"kafka": f"kafka: {await why_not_reached(self._settings)}"}
        except (KafkaError, OSError) as error:
            return {"kafka": cause_of(error)}
        there = producer.client.cluster.topics()
        missing = sorted(set(topics) - set(there))
        return {"topics": f"missing: {', '.join(missing)}; run: patient-upsert setup"} if missing else {}

    async def _ready(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **connection(self._settings),
                    acks="all",
                    enable_idempotence=True,
                    max_request_size=LARGEST_RECORD,
                    max_batch_size=256 * 1024,
                )
                try:
                    await within(producer.start(), REQUEST_LIMIT_MS / 1000)
                except BaseException:
                    self._close_later(producer)
                    raise
                self._producer = producer
            return self._producer

    def _close_later(self, producer: AIOKafkaProducer, limit: float = STOP_LIMIT) -> None:
        task = asyncio.create_task(_close(producer, limit))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Let go of the producer, within a few seconds even when Kafka is away."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            self._close_later(producer, CLOSE_LIMIT)
        if self._closing:
            await asyncio.wait(self._closing, timeout=2 * CLOSE_LIMIT)


async def _close(producer: AIOKafkaProducer, limit: float) -> None:
    """Stop a producer that may have batches which nobody will take any more: by itself it would wait for them."""
    stopping = asyncio.create_task(producer.stop())
    done, _ = await asyncio.wait({stopping}, timeout=limit)
    if not done:
        sender = producer._sender.sender_task
        if sender is not None:
            sender.cancel()
        await asyncio.wait({stopping}, timeout=limit)
        await ended([stopping], limit)
    elif stopping.exception() is not None:
        await producer.client.close()


def cause_of(error: BaseException, topic: str | None = None) -> str:
    """What to say of an error of the client: its kind, never its text."""
    if isinstance(error, MessageSizeTooLargeError):
        return f"topic {topic} refuses the record as too large; raise its max.message.bytes"
    if isinstance(error, UnknownTopicOrPartitionError):
        return f"topic {topic} is missing; run: patient-upsert setup"
    if isinstance(error, TopicAuthorizationFailedError):
        return f"topic {topic} may not be written; grant this user Write on it"
    return f"kafka: {type(error).__name__}"
