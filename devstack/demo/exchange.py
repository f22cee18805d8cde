"""Sending the requests, and reading every answer to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.consumer.connection import connection
from app.consumer.requester import Inbound, Outbound, Requester, open_requester
from app.settings import Settings
from devstack.demo.errors import DemoError
from devstack.demo.verdict import Place

PATIENCE: Final = 30.0
"""Seconds without a new answer after which what is missing counts as lost."""
READING_LIMIT: Final = 30.0
_LOOK_EVERY: Final = 0.05


@dataclass(frozen=True, slots=True)
class Exchange:
    """The places of the requests in the order in which they were sent, and all answers in the answer topics."""

    sent: list[Place]
    answers: list[Inbound]


async def exchange(
    settings: Settings, requests: Sequence[Outbound], console: Console, worker_is_up: Callable[[], None]
) -> Exchange:
    """Send these, await the answers, and then read the answer topics to their end.

    `worker_is_up` is called while waiting; it raises when there is no point in waiting.
    """
    async with open_requester(settings) as requester:
        complete = await _talk(requester, requests, console, worker_is_up)
    if complete:
        await _all_committed(settings, requester.sent)
    return Exchange(requester.sent, await _read_all(settings))


async def _talk(
    requester: Requester, requests: Sequence[Outbound], console: Console, worker_is_up: Callable[[], None]
) -> bool:
    """Send and receive under a bar; whether every request was answered."""
    columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        sending, answering = (bar.add_task(what, total=len(requests)) for what in ("sent", "answered"))
        async for sent in requester.send_all(requests):
            bar.update(sending, completed=sent)
        answered, heard = 0, time.monotonic()
        while answered < len(requests) and time.monotonic() - heard < PATIENCE:
            worker_is_up()
            now = await requester.receive()
            if now > answered:
                answered, heard = now, time.monotonic()
                bar.update(answering, completed=answered)
    return answered == len(requests)


async def _all_committed(settings: Settings, sent: Sequence[Place]) -> None:
    """Wait until the worker has committed beyond the last request: from then on it has no answer left to publish."""
    ends = {TopicPartition(settings.request_topic, partition): 0 for partition, _ in sent}
    for partition, offset in sent:
        topic_partition = TopicPartition(settings.request_topic, partition)
        ends[topic_partition] = max(ends[topic_partition], offset + 1)
    admin = AIOKafkaAdminClient(**connection(settings))
    await admin.start()
    try:
        async with asyncio.timeout(READING_LIMIT):
            while True:
                committed = await admin.list_consumer_group_offsets(settings.group_id)
                if all(there in committed and committed[there].offset >= end for there, end in ends.items()):
                    return
                await asyncio.sleep(_LOOK_EVERY)
    except TimeoutError:
        raise DemoError("the worker answered every request but did not commit its offsets") from None
    finally:
        await admin.close()


async def _read_all(settings: Settings) -> list[Inbound]:
    """Every record of the answer topics, from their beginning to where they end now."""
    consumer = AIOKafkaConsumer(
        settings.completed_topic,
        settings.failed_topic,
        **connection(settings),
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    answers: list[Inbound] = []
    await consumer.start()
    try:
        async with asyncio.timeout(READING_LIMIT):
            ends = await consumer.end_offsets(consumer.assignment())
            while not all([await consumer.position(there) >= end for there, end in ends.items()]):
                found = await consumer.getmany(timeout_ms=200)
                answers += [_inbound(record) for records in found.values() for record in records]
    except TimeoutError:
        raise DemoError("the answer topics could not be read to their end") from None
    finally:
        await consumer.stop()
    return answers


def _inbound(raw: Any) -> Inbound:
    return Inbound(raw.topic, raw.partition, raw.offset, raw.timestamp, raw.key, raw.value, tuple(raw.headers))
