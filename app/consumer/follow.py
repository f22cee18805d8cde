"""Reads answer topics as they grow, for `watch`: all partitions, committed records only, without a group."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from app.consumer.connection import REQUEST_LIMIT_MS, connection
from app.consumer.decode import install, to_record
from app.consumer.inspect.protocol import metadata
from app.consumer.publisher import cause_of
from app.consumer.reasons import connecting
from app.errors import SetupNeeded, Transient, WorkerError
from app.model import Record
from app.settings import MEBIBYTE, Settings
from app.waiting import within

POLL_MS: Final = 250
LOOK_SECONDS: Final = 3.0
"""How often to ask whether the brokers are there and whether partitions were added: the client itself does not tell."""
STOP_SECONDS: Final = 2.0
_LIMIT: Final = REQUEST_LIMIT_MS / 1000
_MOST: Final = 500
_HIDDEN: Final = 29


class Follower:
    """The records of these topics from a time on, or from the end of each partition as it is first met.

    After an error the next `poll` connects anew and goes on where it was. Partitions, and topics, that are added later
    are read from their beginning.
    """

    def __init__(self, settings: Settings, topics: Sequence[str], since: datetime | None) -> None:
        self._settings, self._topics, self._since = settings, list(topics), since
        self._consumer: AIOKafkaConsumer | None = None
        self._next: dict[TopicPartition, int] = {}
        self._looked: float | None = None

    @property
    def partitions(self) -> int:
        """How many partitions are read."""
        return len(self._next)

    async def poll(self) -> list[Record]:
        """What has come, in the order of time as far as it came together; nothing after a quarter of a second.

        Raises:
            Transient: Kafka is away. SetupNeeded: a topic is missing, or may not be read.
        """
        try:
            consumer = self._consumer or await self._connect()
            if self._looked is None or time.monotonic() - self._looked > LOOK_SECONDS:
                await self._look_for_partitions(consumer)
            found = await within(consumer.getmany(timeout_ms=POLL_MS, max_records=_MOST), _LIMIT)
        except (KafkaError, OSError, TimeoutError) as error:
            fault: WorkerError = _fault(error)
        except WorkerError as error:
            fault = error
        else:
            self._next |= {partition: raws[-1].offset + 1 for partition, raws in found.items()}
            records = [to_record(raw) for raws in found.values() for raw in raws]
            return sorted(records, key=lambda record: record.position.timestamp)
        await self.close()
        raise fault

    async def close(self) -> None:
        """Let go of the consumer, within two seconds even when Kafka is away."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                await within(consumer.stop(), STOP_SECONDS)

    async def _connect(self) -> AIOKafkaConsumer:
        install()
        self._consumer = consumer = AIOKafkaConsumer(
            **connection(self._settings),
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_bytes=8 * MEBIBYTE,
        )
        async with connecting(self._settings):
            await within(consumer.start(), _LIMIT)
        await self._look_for_partitions(consumer)
        return consumer

    async def _look_for_partitions(self, consumer: AIOKafkaConsumer) -> None:
        """Read every partition that there is. One that is read already goes on where it was."""
        there, missing = await self._partitions(consumer)
        new = [partition for partition in there if partition not in self._next]
        if new:
            asking = self._starts(consumer, new) if self._looked is None else consumer.beginning_offsets(new)
            self._next |= await within(asking, _LIMIT)
        self._looked = time.monotonic()
        if missing:
            raise SetupNeeded(f"topic {missing[0]} is missing; run: patient-upsert setup")
        if new or not consumer.assignment():
            consumer.assign(list(self._next))
            for partition, offset in self._next.items():
                consumer.seek(partition, offset)

    async def _starts(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> dict[Any, int]:
        starts: dict[Any, int] = await consumer.end_offsets(partitions)
        if self._since is not None:
            moment = max(int(self._since.timestamp() * 1000), 0)
            found = await consumer.offsets_for_times(dict.fromkeys(partitions, moment))
            starts |= {partition: at.offset for partition, at in found.items() if at is not None}
        return starts

    async def _partitions(self, consumer: AIOKafkaConsumer) -> tuple[list[TopicPartition], list[str]]:
        """The partitions, and the topics that are missing. Asked in a way that makes no broker create a topic."""
        told = await within(metadata(consumer._client, self._topics), _LIMIT)
        if any(topic["error_code"] == _HIDDEN for topic in told["topics"]):
            raise TopicAuthorizationFailedError()
        there = [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in told["topics"]
            for partition in topic["partitions"]
        ]
        return there, [topic["topic"] for topic in told["topics"] if not topic["partitions"]]


def _fault(error: Exception) -> WorkerError:
    if isinstance(error, TopicAuthorizationFailedError):
        return SetupNeeded("the answer topics may not be read; grant this user Read on them")
    return Transient(cause_of(error))
