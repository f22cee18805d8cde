"""The consumer under FastStream's subscriber: it waits for records without spinning, and never skips silently."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import ConsumerStoppedError, KafkaError

from app.consumer.backlog import Backlog
from app.consumer.bounds import AT_ONCE
from app.consumer.connection import connection
from app.consumer.decode import TolerantPartition, as_records
from app.settings import MEBIBYTE, Settings
from app.telemetry import Behind, Health, Metrics, log
from app.waiting import within

POLL_MS: Final = 1000
ASK_LIMIT: Final = 10.0
SESSION_MS: Final = 10_000
HEARTBEAT_MS: Final = 1_000
REBALANCE_MS: Final = 20_000
"""How long the group waits for a member to join again. Letting go takes one eight seconds at most (see worker.py)."""
PATIENT_MS: Final = 20
PATIENT_BYTES: Final = 256 * 1024
"""While a large batch is in hand, the broker gathers records for so long, or so many, before it answers a fetch: asked
at once, it answers with what one producer has just sent, hundreds of times a second."""
_epochs = itertools.count()  # of all consumers of this process: a batch must not seem to be of the one that came after
_NOWHERE: Final = TopicPartition("", -1)

Found = dict[TopicPartition, list[Any]]
"""Records of ours (see `as_records`), by partition."""


class Intake(AIOKafkaConsumer):
    """Reads the request topic from the earliest record, committed ones only.

    `failed` is set when the client gives up; whoever drives it then makes a new one, and nothing more is read. `epoch`
    counts the assignments that were taken away, `stops` the times that the worker stopped a partition; `fetched_in`
    and `fetched_after` are what they were when that was fetched which `getmany` returned last.
    """

    def __init__(self, settings: Settings, health: Health, metrics: Metrics) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            **connection(settings),
            group_id=settings.group_id,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            enable_auto_commit=False,
            partition_assignment_strategy=[StickyPartitionAssignor],
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            rebalance_timeout_ms=REBALANCE_MS,
            fetch_max_bytes=8 * MEBIBYTE,
            max_partition_fetch_bytes=MEBIBYTE,
            max_poll_records=settings.batch_max_records,
            value_deserializer=as_records,
        )
        self._eager = self._fetch_min_bytes, self._fetch_max_wait_ms
        self._health, self._metrics = health, metrics
        self._most_bytes = AT_ONCE + settings.batch_max_bytes
        self._wait_s = settings.batch_max_wait_ms / 1000
        self._next: dict[TopicPartition, int] = {}
        self._backlog = Backlog()
        self.failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self.epoch = self.fetched_in = next(_epochs)
        self.stops = 0
        self.fetched_after = 0

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None) -> Found:
        """Wait for records as long as it takes: FastStream would sleep between empty polls."""
        del partitions, timeout_ms
        while True:
            self._health.turned()
            found = await self._poll(max_records)
            self._note(found)
            if found:
                await self._look_for_gaps(found)
                return found

    async def _poll(self, max_records: int | None) -> Found:
        if self.failed.done():  # the client may have stepped over what it could not read
            await asyncio.sleep(POLL_MS / 1000)
            return {}
        try:
            TolerantPartition.allowance.renew(self._most_bytes)
            found: Found = await super().getmany(timeout_ms=POLL_MS, max_records=max_records)
            self.fetched_in, self.fetched_after = self.epoch, self.stops
            count = sum(map(len, found.values()))
            if found and self._wait_s and max_records and count < max_records:
                await asyncio.sleep(self._wait_s)
                if self.epoch != self.fetched_in:
                    return {}
                if self.stops != self.fetched_after:  # what follows is of another time
                    return found
                more: Found = await super().getmany(timeout_ms=0, max_records=max_records - count)
                for partition, records in more.items():
                    found.setdefault(partition, []).extend(records)
        except ConsumerStoppedError:
            raise
        except Exception as error:  # noqa: BLE001 - FastStream would begin its loop anew, a thousand times a second
            self._give_up(error)
            return {}
        return found

    def _give_up(self, error: Exception) -> None:
        if not self.failed.done():
            self.failed.set_result(error)

    def be_patient(self, patient: bool) -> None:
        """Whether the next fetches may wait for more records than one: nobody has time for them yet."""
        fetcher: Any = self._fetcher
        if fetcher is not None:
            least, longest = (PATIENT_BYTES, PATIENT_MS) if patient else self._eager
            fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms = least, longest

    async def keep_alive(self) -> None:
        """Tell the group that this member is at work, without taking records: the partition asked for is nowhere."""
        self._health.turned()
        try:
            await super().getmany(_NOWHERE, timeout_ms=0)
        except KafkaError as error:
            self._give_up(error)

    def forget(self) -> None:
        """The assignment is gone: positions are asked for again."""
        self.epoch = next(_epochs)
        self._next.clear()
        self._backlog.forget()

    def rewind(self, partition: TopicPartition, offset: int) -> None:
        """Read this partition again from here."""
        self.seek(partition, offset)
        self._next[partition] = offset
        self._backlog.rewound(partition.partition, offset)

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:  # type: ignore[override]
        """Commit these; what lies before them is answered, whether or not that succeeds."""
        for partition, offset in offsets.items():
            self._backlog.answered(partition.partition, offset)
        await super().commit(offsets)  # type: ignore[no-untyped-call]

    def behind(self) -> list[Behind]:
        """How far each partition that this consumer has is behind; asks nobody."""
        now = time.time()
        self._look()
        numbers = sorted(partition.partition for partition in self.assignment())
        return [self._backlog.behind(number, now) for number in numbers]

    def _note(self, found: Found) -> None:
        for partition, records in found.items():
            self._backlog.fetched(partition.partition, [record.position for record in records])
        self._look()

    def _look(self) -> None:
        """Note how far the client has read, and where the partitions ended when they were last fetched from."""
        subscription = self._subscription.subscription
        if subscription is None or subscription.assignment is None:
            return
        now = time.time()
        for partition in self.assignment():
            state = subscription.assignment.state_value(partition)
            if state is None or not state.has_valid_position:
                continue
            # records of open transactions may not be read, and do not count
            end = state.highwater if state.lso is None or state.lso < 0 else state.lso
            at = now if state.timestamp is None else state.timestamp / 1000
            self._backlog.looked(partition.partition, state.position, end, at)

    async def _look_for_gaps(self, found: Found) -> None:
        """Records that expired before they were read are told apart from the gaps that transactions leave."""
        for partition, records in found.items():
            expected = self._next.get(partition)
            self._next[partition] = records[-1].position.offset + 1
            try:
                if expected is None:
                    expected = await within(self.committed(partition), ASK_LIMIT)
                first = records[0].position.offset
                if expected is None or expected >= first:
                    continue
                starts = await within(self.beginning_offsets([partition]), ASK_LIMIT)
            except (KafkaError, TimeoutError, AssertionError):
                log.warning("gap_not_explained", partition=f"{partition.topic}/{partition.partition}")
                continue
            first_left = min(starts[partition], first)
            if first_left > expected:
                self._metrics.expired.inc(first_left - expected)
                log.error(
                    "records_expired_unread",
                    partition=f"{partition.topic}/{partition.partition}",
                    first=expected,
                    last=first_left - 1,
                )


def as_partition(key: tuple[str, int]) -> TopicPartition:
    """Our partitions as the client's."""
    return TopicPartition(*key)


def failure(intake: Any) -> Exception | None:
    """Why the client gave up, if it did."""
    return intake.failed.result() if intake is not None and intake.failed.done() else None
