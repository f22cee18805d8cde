"""Reads answers and dead letters as they come, from the first on, and through outages of the broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from app.settings import Settings
from tests.faults.checker import Place, Published

LOOK_SECONDS = 0.2


class _Silent:
    """Takes what librdkafka says of a broker that is away."""

    def log(self, *_: object) -> None: ...


SILENT = _Silent()


class Tail:
    """What lies in the topics of answers and dead letters, as far as it has been read."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.kafka_bootstrap_servers,
                "group.id": f"{settings.group_id}-checker",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "logger": SILENT,
            }
        )
        self._topics = settings.completed_topic, settings.failed_topic, settings.dlq_topic
        self._partitions = [
            TopicPartition(topic, number, 0) for topic in self._topics for number in range(settings.topic_partitions)
        ]
        self.answers: list[Published] = []
        self.letters: list[Published] = []
        self.first: dict[Place, int] = {}
        """When each request got its first answer (Unix milliseconds)."""
        self._next: dict[tuple[str, int], int] = {}
        self._consumer.assign(self._partitions)

    async def read(self) -> None:
        """Take what is there."""
        for message in await asyncio.to_thread(self._consumer.consume, 2000, LOOK_SECONDS):
            if message.error() is None:
                self._keep(message)

    def _keep(self, message: Any) -> None:
        found = Published(
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            timestamp=message.timestamp()[1],
            key=message.key(),
            value=message.value(),
            headers=tuple(message.headers() or ()),
        )
        self._next[found.topic, found.partition] = found.offset + 1
        if found.topic == self._settings.dlq_topic:
            self.letters.append(found)
            return
        self.answers.append(found)
        if (place := found.place("request-", self._settings.request_topic)) is not None:
            self.first[place] = min(found.timestamp, self.first.get(place, found.timestamp))

    async def until(self, condition: Callable[[], bool], patience: float) -> bool:
        """Read on until the condition holds; False when it does not in time."""
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                return False
            await self.read()
        return True

    async def answered(self, places: Collection[Place], patience: float) -> bool:
        """Read on until each of these places has an answer."""
        missing = set(places)

        def none() -> bool:
            missing.difference_update(self.first)
            return not missing

        return await self.until(none, patience)

    async def to_the_end(self, patience: float) -> None:
        """Read all that is there by now."""
        ends = await asyncio.to_thread(self.ends, self._consumer)
        assert await self.until(lambda: self.has_read(ends), patience), "the answers could not be read to their end"

    def has_read(self, ends: Mapping[tuple[str, int], int]) -> bool:
        """Whether all that lies before these ends has been read."""
        return all(self._next.get(place, 0) >= end for place, end in ends.items())

    def ends(self, consumer: Consumer) -> dict[tuple[str, int], int]:
        """The ends of all partitions by now, asked by this consumer."""
        return {
            (place.topic, place.partition): consumer.get_watermark_offsets(place, timeout=30)[1]
            for place in self._partitions
        }

    def close(self) -> None:
        self._consumer.close()
