"""A look at the newest requests: does their key name their customer? Only counted, nothing of them is kept."""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from app.consumer.connection import connection
from app.consumer.decode import install, to_record
from app.envelope import identify, open_envelope
from app.model import Record
from app.settings import MEBIBYTE, Settings
from app.waiting import within

SAMPLE: Final = 1000
START_SECONDS: Final = 8.0
READ_SECONDS: Final = 5.0
STOP_SECONDS: Final = 2.0
_POLL_MS: Final = 500
_AT_ONCE: Final = 100


@dataclass(slots=True)
class Keys:
    """How the keys of the newest requests stand to their customers."""

    sampled: int = 0
    named: int = 0
    """Of these, the requests whose customer can be told."""
    different: int = 0
    """Of those, the ones whose key is another text than their customer."""
    absent: int = 0
    """Of those, the ones without a key."""

    def count(self, record: Record, pattern: re.Pattern[str]) -> None:
        """Add one request."""
        envelope = open_envelope(record, customer_from_key=True)
        identity = identify(envelope, owner=None, pattern=pattern)
        self.sampled += 1
        self.named += identity.customer is not None
        self.different += identity.key_differs
        self.absent += identity.customer is not None and record.key is None


async def sample_keys(settings: Settings, partitions: int) -> Keys:
    """Count over the newest requests of every partition, 1000 in all. Raises KafkaError, OSError, TimeoutError."""
    install()
    consumer = AIOKafkaConsumer(
        **connection(settings),
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_bytes=8 * MEBIBYTE,
    )
    try:
        await within(consumer.start(), START_SECONDS)
        assigned = [TopicPartition(settings.request_topic, number) for number in range(partitions)]
        return await _read(consumer, assigned, re.compile(settings.customer_pattern))
    finally:
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            await within(consumer.stop(), STOP_SECONDS)


async def _read(consumer: AIOKafkaConsumer, assigned: list[TopicPartition], pattern: re.Pattern[str]) -> Keys:
    keys = Keys()
    left = await within(_seek(consumer, assigned), START_SECONDS)
    end = time.monotonic() + READ_SECONDS
    # A sample: what was read by the end of the time counts.
    while left and time.monotonic() < end:
        found = await consumer.getmany(*left, timeout_ms=_POLL_MS, max_records=_AT_ONCE)
        for raw in (raw for records in found.values() for raw in records):
            keys.count(to_record(raw), pattern)
        for partition in [
            partition for partition, last in left.items() if await _position(consumer, partition) >= last
        ]:
            del left[partition]
    return keys


async def _seek(consumer: AIOKafkaConsumer, assigned: list[TopicPartition]) -> dict[TopicPartition, int]:
    """Go to the newest records; where each partition that has any ends."""
    consumer.assign(assigned)
    starts = await consumer.beginning_offsets(assigned)
    ends: dict[Any, int] = await consumer.end_offsets(assigned)
    share = -(-SAMPLE // len(assigned))
    for partition, end in ends.items():
        consumer.seek(partition, max(starts[partition], end - share))
    return {partition: end for partition, end in ends.items() if end > starts[partition]}


async def _position(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int:
    return int(await within(consumer.position(partition), READ_SECONDS))
