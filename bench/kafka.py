"""What the bench does with Kafka: topics, requests in, and when the broker took each answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from app.settings import Settings
from app.topics import topic_configs
from bench.errors import BenchError
from bench.loads import Ask

QUIET: Final = {"log_level": 2}  # a topic that was just made has no leader yet: the client says so and tries again
LIMIT: Final = 30.0
"""Seconds for one question to the broker."""
FIRST_ANSWER: Final = 2
"""The offset of the first answer in a partition."""
_INDEXED: Final = 5_000
"""Bytes after which the broker notes the next record in the indexes of the log (`log.index.interval.bytes`)."""
_AT_ONCE: Final = 10_000


def create_topics(settings: Settings) -> None:
    """As `patient-upsert setup`, but that the broker stamps the answers when it takes them: that is the clock.

    Two records lie in each partition of the answers: with the first one of a new partition the broker makes its files,
    with the second one it writes to their indexes for the first time, which is no part of anybody's speed.
    """
    admin, stamped = _admin(settings), {settings.completed_topic, settings.failed_topic}
    topics = [
        NewTopic(
            name,
            settings.topic_partitions,
            config=configs | ({"message.timestamp.type": "LogAppendTime"} if name in stamped else {}),
        )
        for name, configs in topic_configs(settings).items()
    ]
    for future in admin.create_topics(topics).values():
        future.result(LIMIT)
    producer = Producer({**QUIET, "bootstrap.servers": settings.kafka_bootstrap_servers})
    for _ in range(FIRST_ANSWER):
        for name in stamped:
            for number in range(settings.topic_partitions):
                producer.produce(name, bytes(_INDEXED), partition=number)
        if producer.flush(LIMIT):  # together they would be one batch, which has one place in an index
            raise BenchError("Kafka did not take the first records")


def delete_topics(settings: Settings) -> None:
    """Give their space back."""
    admin = _admin(settings)  # held until the answer is there: it would be dropped with the question
    for future in admin.delete_topics(list(settings.topics)).values():
        future.result(LIMIT)


def produce(settings: Settings, asks: Iterable[Ask], said: Callable[[int], None] = lambda _: None) -> int:
    """Publish these to the request topic, each acknowledged when this returns; how many there were."""
    producer = Producer(
        {
            **QUIET,
            "bootstrap.servers": settings.kafka_bootstrap_servers,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "linger.ms": 20,
            "batch.size": 500_000,
            "queue.buffering.max.messages": 200_000,
        }
    )
    failed: list[str] = []

    def taken(error: Any, _: Any) -> None:
        if error is not None:
            failed.append(str(error.code()))

    count = 0
    for count, ask in enumerate(asks, 1):
        while True:
            try:
                producer.produce(settings.request_topic, ask.value, ask.key, headers=ask.headers, on_delivery=taken)
                break
            except BufferError:
                producer.poll(0.05)
        if count % _AT_ONCE == 0:
            producer.poll(0)
            said(count)
    if producer.flush(LIMIT) or failed:
        raise BenchError("Kafka did not take the requests")
    return count


class Progress:
    """How many requests a consumer group has answered: what it has committed."""

    def __init__(self, settings: Settings) -> None:
        self._consumer = Consumer(
            {**QUIET, "bootstrap.servers": settings.kafka_bootstrap_servers, "group.id": settings.group_id}
        )
        self._asked = [TopicPartition(settings.request_topic, number) for number in range(settings.topic_partitions)]

    def done(self) -> int:
        """The sum of its committed offsets: of a topic made for the run, the number of answered requests."""
        try:
            found = self._consumer.committed(self._asked, timeout=LIMIT)
        except KafkaException:  # the coordinator is moving
            return 0
        return sum(max(0, partition.offset) for partition in found)

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()


def reader(settings: Settings) -> Any:
    """A consumer of its own group."""
    return Consumer(
        {
            **QUIET,
            "bootstrap.servers": settings.kafka_bootstrap_servers,
            "group.id": f"{settings.group_id}.bench",
            "enable.auto.commit": False,
            "queued.max.messages.kbytes": 65_536,
        }
    )


def ends(consumer: Any, settings: Settings, topics: Sequence[str]) -> dict[tuple[str, int], int]:
    """How many records lie in each partition of these topics."""
    return {
        (topic, number): consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=LIMIT)[1]
        for topic in topics
        for number in range(settings.topic_partitions)
    }


def answer_times(settings: Settings, after: dict[tuple[str, int], int] | None = None) -> tuple[list[int], list[int]]:
    """When the broker took each answer (Unix milliseconds, sorted): those with status 200, the others.

    Args:
        settings: which topics.
        after: where to begin in each partition; by default with the first answer.
    """
    consumer = reader(settings)
    try:
        return (
            _times(consumer, settings, settings.completed_topic, after or {}),
            _times(consumer, settings, settings.failed_topic, after or {}),
        )
    finally:
        consumer.close()


def _times(consumer: Any, settings: Settings, topic: str, after: dict[tuple[str, int], int]) -> list[int]:
    last = ends(consumer, settings, [topic])
    begin = {place: after.get(place, FIRST_ANSWER) for place in last}
    left = {place: end - begin[place] for place, end in last.items() if end > begin[place]}
    if not left:
        return []
    consumer.assign([TopicPartition(topic, number, begin[topic, number]) for _, number in left])
    missing, times, deadline = sum(left.values()), [], time.monotonic() + LIMIT
    while missing > 0:
        if time.monotonic() > deadline:
            raise BenchError("the answers could not be read")
        for record in consumer.consume(_AT_ONCE, timeout=0.2):
            if record.error() is None and record.offset() < last[topic, record.partition()]:
                times.append(record.timestamp()[1])
                missing -= 1
                deadline = time.monotonic() + LIMIT
    consumer.unassign()
    return sorted(times)


def _admin(settings: Settings) -> Any:
    return AdminClient({**QUIET, "bootstrap.servers": settings.kafka_bootstrap_servers})
