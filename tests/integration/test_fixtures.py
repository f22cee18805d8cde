"""Every published fixture, through the worker on real servers: all cases at once, each compared in full."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Any, Final

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder

from app.consumer.connection import connection
from app.consumer.publisher import LARGEST_RECORD
from app.consumer.topics import create_topics
from app.settings import Settings
from devstack.servers import Servers
from tests.conftest import own_settings
from tests.faults import batches
from tests.integration import fixtures
from tests.integration.fixtures import Case, Comparison, Received, Sent
from tests.support import PATIENCE, ready, running

GROUPS = sorted({json.dumps(case.settings, sort_keys=True) for case in fixtures.cases()})
"""The settings under which cases run: a worker each."""


@pytest.mark.parametrize("publication", ["one after the other", "before the worker starts"])
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: " ".join(json.loads(group)) or "defaults")
async def test_the_worker_answers_every_fixture_as_it_is_written(
    shared: Servers, database_url: str, worker_url: str, group: str, publication: str
) -> None:
    settings = own_settings(shared.kafka, worker_url, **{k.lower(): v for k, v in json.loads(group).items()})
    await create_topics(settings)
    cases = [case for case in fixtures.cases() if case.settings == json.loads(group)]
    await _store(database_url, cases)
    began = datetime.now(UTC)
    async with _exchange(settings) as exchange:
        if publication == "one after the other":
            async with running(settings) as app:
                await ready(app)
                for turn in _turns(cases):
                    await exchange.publish(turn)
                    await exchange.receive()
        else:  # the worker finds whole batches, in which a case follows its own records and those of others
            for turn in _turns(cases):
                await exchange.publish(turn)
            async with running(settings):
                await exchange.receive()
        await exchange.receive_rest()
    faults = [fault for case in cases for fault in exchange.faults(case, began)]
    for of in (exchange.answers, exchange.letters):
        faults += [f"published, and nothing asks for it: {place}" for place, found in of.items() if found]
    assert not faults, "\n".join(faults)


async def _store(database_url: str, cases: Iterable[Case]) -> None:
    """The rows that stand before."""
    client = await asyncpg.connect(database_url)
    statement = "insert into customers select (jsonb_populate_record(null::customers, $1::text::jsonb)).*"
    for case in cases:
        patients = {row["customer"]: row for row in case.before["patients"]}
        for row in case.before["customers"]:
            own = {OWN.get(name, name): value for name, value in patients.get(row["customer"], {}).items()}
            await client.execute(statement, json.dumps({**row, **own, "version": 1}))
    await client.close()


OWN: Final = {name: f"patient_{name}" for name in ("first_name", "last_name", "created_at", "updated_at", "deleted_at")}
"""The columns of `customers` that hold what a fixture's patient calls otherwise."""


Turn = list[tuple[Case, int]]


def _turns(cases: Sequence[Case]) -> Iterable[Turn]:
    """The first record of each case, then the second of those that have one, and so on."""
    for turn in zip_longest(*([(case, at) for at in range(len(case.records))] for case in cases)):
        yield [found for found in turn if found is not None]


@dataclass(slots=True)
class _Exchange:
    """Publishes the records of cases, keeps their places, and gathers answers and dead letters."""

    settings: Settings
    producer: AIOKafkaProducer
    consumer: AIOKafkaConsumer
    names: Mapping[str, str]
    placed: dict[tuple[str, int], tuple[Sent, dict[str, str]]] = field(default_factory=dict)
    """By case and number of the record: what was published, and the names with its place."""
    answers: dict[tuple[bytes | None, ...], list[Received]] = field(default_factory=lambda: defaultdict(list))
    letters: dict[tuple[bytes | None, ...], list[Received]] = field(default_factory=lambda: defaultdict(list))
    expected: int = 0
    received: int = 0

    async def publish(self, turn: Turn) -> None:
        """Publish these in order, and await that they are acknowledged. A case has one partition."""
        waiting = []
        for case, at in turn:
            sent = fixtures.request(case.records[at], self.names)
            partition = sum(case.name.encode()) % self.settings.topic_partitions
            now = int(datetime.now(UTC).timestamp() * 1000)
            timestamp = now if sent.timestamp is None else sent.timestamp
            waiting.append((case, at, sent, timestamp, await self._send(sent, timestamp, partition)))
            self.expected += 1 + ("dead_letter" in case.records[at])
        for case, at, sent, timestamp, future in waiting:
            place = await future  # the timestamp in it is that of another record at times
            names = fixtures.with_place(self.names, place.partition, place.offset, timestamp)
            self.placed[case.name, at] = sent, names

    async def _send(self, sent: Sent, timestamp: int, partition: int) -> asyncio.Future[Any]:
        topic, headers = self.settings.request_topic, [(_as_ascii(name), value) for name, value in sent.headers]
        odd = [name for name, _ in sent.headers if not name.isascii()]
        future: asyncio.Future[Any]
        if odd or (sent.key, sent.value) == (None, None):  # neither of which this client would publish
            builder: Any = _WithOddNames(1 << 20, 0)  # type: ignore[no-untyped-call]
            builder.names = odd
            builder.append(timestamp=timestamp, key=sent.key, value=sent.value, headers=headers)
            builder.close()  # no other record joins it
            future = await self.producer.send_batch(builder, topic, partition=partition)
        else:
            future = await self.producer.send(
                topic, sent.value, sent.key, partition=partition, timestamp_ms=timestamp, headers=headers
            )
        return future

    async def receive(self) -> None:
        """Await as many answers and dead letters as are due."""
        with contextlib.suppress(TimeoutError):  # what is missing is told by the comparison
            async with asyncio.timeout(PATIENCE):
                while self.received < self.expected:
                    await self._take(await self.consumer.getmany(timeout_ms=200))

    async def receive_rest(self) -> None:
        """Whatever else there is, now that the worker has stopped."""
        ends = await self.consumer.end_offsets(list(self.consumer.assignment()))
        while any([await self.consumer.position(partition) < end for partition, end in ends.items()]):
            await self._take(await self.consumer.getmany(timeout_ms=200))

    async def _take(self, found: Mapping[TopicPartition, Sequence[Any]]) -> None:
        for raw in (record for records in found.values() for record in records):
            headers = tuple((name.encode(), value) for name, value in raw.headers)
            received = Received(raw.topic, raw.key, raw.value, headers)
            self.received += 1
            if raw.topic == self.settings.dlq_topic:
                self.letters[fixtures.letter_of(headers)].append(received)
            else:
                self.answers[fixtures.place_of(headers)].append(received)

    def faults(self, case: Case, began: datetime) -> list[str]:
        """How the answers to a case differ from what it says; takes them away."""
        comparison = Comparison(began - timedelta(seconds=1), datetime.now(UTC) + timedelta(seconds=1))
        faults = []
        for at, record in enumerate(case.records):
            sent, names = self.placed[case.name, at]
            expected = record["answer"]
            there = self.answers[fixtures.place_of(fixtures.headers_of(expected["headers"], names))]
            topic = fixtures.filled(expected["topic"], names)
            answer = next((found for found in there if found.topic == topic), None) or next(iter(there), None)
            if answer is None:
                found = ["not answered"]
            else:
                there.remove(answer)
                found = comparison.answer(expected, answer, names)
            if "dead_letter" in record:
                letters = self.letters[fixtures.letter_of(fixtures.headers_of(record["dead_letter"]["headers"], names))]
                if letters:
                    found += comparison.dead_letter(record["dead_letter"], letters.pop(0), sent, names)
                else:
                    found.append("no dead letter")
            faults += [f"{case.name}, record {at + 1}: {fault}" for fault in found]
        return faults


@contextlib.asynccontextmanager
async def _exchange(settings: Settings) -> AsyncIterator[_Exchange]:
    producer = AIOKafkaProducer(**connection(settings), max_request_size=LARGEST_RECORD)
    consumer = AIOKafkaConsumer(**connection(settings), auto_offset_reset="earliest", enable_auto_commit=False)
    topics = (settings.completed_topic, settings.failed_topic, settings.dlq_topic)
    names = {
        "topic.requested": settings.request_topic,
        "topic.completed": settings.completed_topic,
        "topic.failed": settings.failed_topic,
        "topic.dlq": settings.dlq_topic,
        "group": settings.group_id,
    }
    await producer.start()
    try:
        await consumer.start()
        consumer.assign([TopicPartition(topic, at) for topic in topics for at in range(settings.topic_partitions)])
        yield _Exchange(settings, producer, consumer, names)
    finally:
        await consumer.stop()
        await producer.stop()


def _as_ascii(name: bytes) -> str:
    """The name itself, or what stands in its place until the batch is built: as long, and ASCII."""
    return bytes(byte & 0x7F for byte in name).decode()


class _WithOddNames(BatchBuilder):  # type: ignore[misc, unused-ignore]
    """A record batch with header names that are not UTF-8."""

    names: list[bytes]

    def _build(self) -> bytes:
        if self._buffer is None:
            raw = bytes(super()._build())  # type: ignore[no-untyped-call]
            for name in self.names:
                raw = batches.replaced(raw, _as_ascii(name).encode(), name)
            self._buffer = raw
        return bytes(self._buffer)
