"""Publication: answers and dead letters, each known to be acknowledged or not."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import murmur2

from app.compiled import part
from app.consumer.connection import REQUEST_LIMIT_MS, connection
from app.consumer.reasons import why_not_reached
from app.model import Answer, Position, quick
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
"""For clients that would decide themselves what is too large: the broker does, so that one refusal is as the other."""


PIECE_BYTES: Final = 768 * 1024
"""What goes to a partition at once, unless a single record is larger. A topic takes 1 MiB, if nobody set it lower."""
LEAST_PIECE_BYTES: Final = 16 * 1024
"""Where topics take less than that, pieces become smaller, but not more so."""
LONGEST_KEY: Final = MEBIBYTE
"""Bytes of a key that an answer bears."""
SHORT_KEY: Final = 128
"""Bytes of a key whose place is remembered."""


@quick
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
    key = answer.customer.encode() if answer.customer is not None else _bearable(given)
    records = [Outgoing(place, topic, key, answer.value, answer_headers(answer, topic))]
    if answer.dead_letter:
        headers = letter_headers(answer, settings.group_id)
        records.append(Outgoing(place, settings.dlq_topic, given, answer.record.value, headers))
    return records


def _bearable(key: bytes | None) -> bytes | None:
    """The key, unless no topic would take an answer that bears it: compressed, a request's may be megabytes."""
    return key if key is None or len(key) <= LONGEST_KEY else None


class Publisher:
    """An idempotent producer that is replaced whenever it may have been spoiled."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._missing: set[str] = set()
        self._piece_bytes = PIECE_BYTES

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
        rest = [record for record in records if record not in failed] if failed else records
        spoiled = await self._send(producer, _pieces(producer, rest), failed)
        if spoiled and self._producer is producer:
            self._producer = None
            self._close_later(producer)
        return failed

    async def _send(self, producer: AIOKafkaProducer, pieces: Iterable[_Piece], failed: dict[Outgoing, str]) -> bool:
        """Send these, add to `failed`, and say whether the producer may have lost count of what it sent.

        A piece is acknowledged or refused as a whole. After one that was refused no other of its partition is sent: the
        broker refuses a gap in the sequence numbers, but not one at the beginning.
        """
        waiting: dict[asyncio.Future[Any], _Piece] = {}
        last: dict[tuple[str, int], asyncio.Future[Any]] = {}
        unsent = deque(pieces)
        known, too_large = len(failed), False
        try:
            async with asyncio.timeout(PUBLISH_LIMIT):
                while unsent:
                    piece = unsent[0]
                    before = last.get((piece.topic, piece.partition))
                    if before is not None and (problem := await _outcome(before)) is not None:
                        failed.update(dict.fromkeys(piece.records, cause_of(problem, piece.topic)))
                        unsent.popleft()
                        continue
                    future = await producer.send_batch(piece.batch, piece.topic, partition=piece.partition)
                    future.add_done_callback(_look_at)
                    waiting[future], last[piece.topic, piece.partition] = unsent.popleft(), future
                await asyncio.wait(waiting) if waiting else None
        except (
            KafkaError,
            OSError,
            TimeoutError,
            AssertionError,
        ) as error:  # which the client says of a lost partition
            for piece in unsent:
                failed.update(dict.fromkeys(piece.records, cause_of(error)))
        for future, piece in waiting.items():
            if not future.done():
                failed.update(dict.fromkeys(piece.records, "kafka: no acknowledgement in time"))
            elif (problem := future.exception()) is not None:
                failed.update(dict.fromkeys(piece.records, cause_of(problem, piece.topic)))
                if isinstance(problem, UnknownTopicOrPartitionError | TopicAuthorizationFailedError):
                    self._missing.add(piece.topic)
                too_large |= isinstance(problem, MessageSizeTooLargeError) and len(piece.records) > 1
        if too_large:  # perhaps only together
            self._piece_bytes = max(LEAST_PIECE_BYTES, self._piece_bytes // 2)
        return len(failed) > known

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
        for topic in {record.topic for record in records} - causes.keys():
            if not producer.client.cluster.partitions_for_topic(topic):  # gone while another was looked for
                causes[topic] = f"topic {topic} is missing; run: patient-upsert setup"
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
                    max_batch_size=self._piece_bytes,
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


@dataclass(slots=True, eq=False)
class _Piece:
    """Records that go to one partition together, made into bytes by aiokafka's compiled builder.

    One `send` a record costs four times as much.
    """

    topic: str
    partition: int
    number: int
    """How many pieces of its partition are before it."""
    batch: Any
    records: list[Outgoing] = field(default_factory=list)

    def add(self, record: Outgoing) -> bool:
        """Add this record, unless the piece is full. The first one always finds room."""
        taken = self.batch.append(timestamp=None, key=record.key, value=record.value, headers=record.headers)
        if taken is not None:
            self.records.append(record)
        return taken is not None


def _pieces(producer: AIOKafkaProducer, records: Sequence[Outgoing]) -> list[_Piece]:
    """The records in pieces, those of a partition in their order; no partition waits for the second piece of another.

    Keys are placed as every client does that uses murmur2; a record without key lies where its request lay, or near.
    """
    cluster = producer.client.cluster
    topics = {record.topic for record in records}
    every = {topic: sorted(cluster.partitions_for_topic(topic) or ()) for topic in topics}
    led = {topic: sorted(cluster.available_partitions_for_topic(topic)) or every[topic] for topic in topics}
    last: dict[tuple[str, int], _Piece] = {}
    pieces: list[_Piece] = []
    for record in records:
        topic, key = record.topic, record.key
        place = record.position.partition if key is None else _hash(key)
        partitions = led[topic] if key is None else every[topic]
        partition = partitions[place % len(partitions)]
        piece = last.get((topic, partition))
        if piece is None or not piece.add(record):
            piece = _Piece(topic, partition, piece.number + 1 if piece else 0, producer.create_batch())
            piece.add(record)
            last[topic, partition] = piece
            pieces.append(piece)
    return sorted(pieces, key=lambda piece: piece.number)


def _hash(key: bytes) -> int:
    """The place of a key, as kafka-clients counts."""
    if part is not None:
        return part.murmur2(key)
    return _remembered_hash(key) if len(key) <= SHORT_KEY else murmur2(key) & 0x7FFFFFFF


@lru_cache(maxsize=32 * 1024)
def _remembered_hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


def _look_at(future: asyncio.Future[Any]) -> None:
    """Asyncio prints an error that nobody looks at, such as one that comes when nobody waits any more."""
    if not future.cancelled():
        future.exception()


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


async def _outcome(sent: asyncio.Future[Any]) -> BaseException | None:
    """Why a piece was refused; None once it is acknowledged."""
    await asyncio.wait({sent})
    return sent.exception()


def cause_of(error: BaseException, topic: str | None = None) -> str:
    """What to say of an error of the client: its kind, never its text."""
    if isinstance(error, MessageSizeTooLargeError):
        return f"topic {topic} refuses the record as too large; raise its max.message.bytes"
    if isinstance(error, UnknownTopicOrPartitionError):
        return f"topic {topic} is missing; run: patient-upsert setup"
    if isinstance(error, TopicAuthorizationFailedError):
        return f"topic {topic} may not be written; grant this user Write on it"
    return f"kafka: {type(error).__name__}"
