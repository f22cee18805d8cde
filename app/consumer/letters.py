"""Dead letters: read as far as the topic goes, published again, and remembered as done, in one transaction of Kafka."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    KafkaError,
    NodeNotReadyError,
    NotCoordinatorForGroupError,
    ProducerFenced,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.structs import OffsetAndMetadata

from app.consumer.connection import REQUEST_LIMIT_MS, connection
from app.consumer.decode import install, to_record
from app.consumer.inspect.protocol import metadata
from app.consumer.marks import Marks, read_marks
from app.consumer.publisher import LARGEST_RECORD, cause_of
from app.errors import SetupNeeded, Transient, WorkerError
from app.model import Headers, Record
from app.settings import MEBIBYTE, Settings
from app.waiting import within

TRANSACTION_MS: Final = 10_000
"""Workers read nothing behind an open transaction: one whose process was killed ends after this time."""
STEP_SECONDS: Final = 2.0 * REQUEST_LIMIT_MS / 1000
STALLED_SECONDS: Final = 30.0
STOP_SECONDS: Final = 5.0
_POLL_MS: Final = 500
_AT_ONCE: Final = 500
_TRIES: Final = 20
_PAUSE_SECONDS: Final = 0.4


def group_of(settings: Settings) -> str:
    """The consumer group whose offsets tell which letters are done with; also the transactional id of their mover."""
    return f"{settings.group_id}.dlq"


@dataclass(slots=True)
class Extent:
    """A topic as it is now: where each partition begins and ends. Records that come later are not read."""

    topic: str
    begins: dict[int, int]
    ends: dict[int, int]
    _consumer: AIOKafkaConsumer

    async def records(self, partition: int, start: int = 0) -> AsyncIterator[Record]:
        """The committed records of this partition from an offset on, in order. Raises Transient when none comes."""
        place, end = TopicPartition(self.topic, partition), self.ends[partition]
        start = max(start, self.begins[partition])
        if start >= end:
            return
        self._consumer.assign([place])
        self._consumer.seek(place, start)
        while start < end:
            with _translated(self.topic):
                start, raws = await within(self._more(place), STALLED_SECONDS)
            for raw in raws:
                if raw.offset < end:
                    yield to_record(raw)

    async def _more(self, place: TopicPartition) -> tuple[int, Sequence[Any]]:
        """What comes next, and the position behind it: markers of transactions are passed over."""
        before = await self._consumer.position(place)
        while True:
            found = await self._consumer.getmany(place, timeout_ms=_POLL_MS, max_records=_AT_ONCE)
            after = await self._consumer.position(place)
            if after > before:
                return after, found.get(place, ())


@contextlib.asynccontextmanager
async def open_topic(settings: Settings, topic: str) -> AsyncIterator[Extent]:
    """Look how far this topic goes. Raises Transient, and SetupNeeded when it is missing or may not be read."""
    install()
    with _translated(topic):
        consumer = AIOKafkaConsumer(
            **connection(settings),
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_bytes=8 * MEBIBYTE,
        )
    try:
        with _translated(topic):
            await within(consumer.start(), STEP_SECONDS)
            told = await within(metadata(consumer._client, [topic]), STEP_SECONDS)
            partitions = [TopicPartition(topic, each["partition"]) for each in told["topics"][0]["partitions"]]
            if not partitions:
                raise SetupNeeded(f"topic {topic} is missing or may not be read; patient-upsert doctor says which")
            begins = await within(consumer.beginning_offsets(partitions), STEP_SECONDS)
            ends = await within(consumer.end_offsets(partitions), STEP_SECONDS)
        yield Extent(topic, _by_number(begins), _by_number(ends), consumer)
    finally:
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            await within(consumer.stop(), STOP_SECONDS)


def _by_number(offsets: Mapping[TopicPartition, int]) -> dict[int, int]:
    return {place.partition: offset for place, offset in sorted(offsets.items())}


async def marks_of(settings: Settings, partitions: Sequence[int]) -> dict[int, Marks]:
    """Which letters of each partition are done with. Raises Transient, SetupNeeded."""
    group, topic = group_of(settings), settings.dlq_topic
    asked = [TopicPartition(topic, number) for number in partitions]
    with _translated(topic):
        admin = AIOKafkaAdminClient(**connection(settings))
    try:
        with _translated(topic):
            await within(admin.start(), STEP_SECONDS)
            found = await within(_offsets(admin, group, asked), STEP_SECONDS)
    finally:
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            await within(admin.close(), STOP_SECONDS)
    kept = {place.partition: read_marks(at.offset, at.metadata) for place, at in found.items()}
    return {number: kept.get(number, Marks()) for number in partitions}


async def _offsets(
    admin: AIOKafkaAdminClient, group: str, asked: list[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    """The very first group of a cluster has to wait for its coordinator."""
    for trial in range(_TRIES):
        try:
            return await admin.list_consumer_group_offsets(group, partitions=asked)
        except (CoordinatorNotAvailableError, NodeNotReadyError, NotCoordinatorForGroupError):
            if trial == _TRIES - 1:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
    raise AssertionError


class Again(NamedTuple):
    """A letter to be published again, with these headers, in this partition of the request topic; None: by its key."""

    letter: Record
    headers: Headers
    partition: int | None

    def __repr__(self) -> str:
        return f"Again({self.letter.position.id})"


class Mover:
    """Publishes letters again and moves the marks. Only one can be at work: a later one ends its transaction."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer) -> None:
        self._settings, self._producer = settings, producer

    async def move(self, letters: Sequence[Again], partition: int, marks: Marks) -> None:
        """Publish these letters, all of one partition of theirs, and keep its marks: both or none.

        Raises:
            Transient: Kafka is away, and it is not known whether it was done; the marks tell. SetupNeeded: refused.
        """
        with _translated(self._settings.request_topic):
            await within(self._move(letters, partition, marks), STEP_SECONDS)

    async def _move(self, letters: Sequence[Again], partition: int, marks: Marks) -> None:
        producer, topic = self._producer, self._settings.request_topic
        await producer.begin_transaction()
        sent = [
            await producer.send(
                topic, each.letter.value, key=each.letter.key, partition=each.partition, headers=list(each.headers)
            )
            for each in letters
        ]
        await asyncio.gather(*sent)  # a commit does not tell of a record that failed
        place = TopicPartition(self._settings.dlq_topic, partition)
        offsets = {place: OffsetAndMetadata(marks.position, marks.text)}
        await producer.send_offsets_to_transaction(offsets, group_of(self._settings))
        await producer.commit_transaction()


@contextlib.asynccontextmanager
async def open_mover(settings: Settings) -> AsyncIterator[Mover]:
    """Take the place of any other mover: what it had begun is undone, what it had committed stays.

    Read the marks after this, not before. Raises Transient, SetupNeeded.
    """
    with _translated(settings.request_topic):
        producer = AIOKafkaProducer(
            **connection(settings),
            acks="all",
            transactional_id=group_of(settings),
            transaction_timeout_ms=TRANSACTION_MS,
            max_request_size=LARGEST_RECORD,
        )
    try:
        with _translated(settings.request_topic):
            await within(producer.start(), STEP_SECONDS)
        yield Mover(settings, producer)
    finally:
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            await within(producer.stop(), STOP_SECONDS)


@contextlib.contextmanager
def _translated(topic: str) -> Iterator[None]:
    """Errors of the client as ours."""
    fault: WorkerError
    try:
        yield
    except ProducerFenced:
        fault = SetupNeeded("another replay or drop has begun since, and this one ends here; what it did stays done")
    except TransactionalIdAuthorizationFailed:
        fault = SetupNeeded("the transactional id may not be used; grant this user Write on it: <group id>.dlq")
    except GroupAuthorizationFailedError:
        fault = SetupNeeded("the group may not be used; grant this user Read on it: <group id>.dlq")
    except TopicAuthorizationFailedError:
        fault = SetupNeeded(f"topic {topic} may not be used; grant this user Read on dead letters, Write on requests")
    except (KafkaError, OSError, TimeoutError) as error:
        fault = Transient(f"{cause_of(error, topic)}; the same command goes on where this one ended")
    else:
        return
    raise fault
