"""How long a request waits for its answer at a given rate: sent by the clock, whatever has come back so far.

Counted from the moment at which a request was due, not from when it was sent: a contestant that holds up its producer
cannot hide the wait of those behind (coordinated omission).
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from confluent_kafka import Producer, TopicPartition

from bench.arena import Arena
from bench.errors import BenchError
from bench.kafka import LIMIT, QUIET, ends, reader
from bench.loads import Ask
from bench.measured import Latency
from bench.process import Process

WARM_UP_SECONDS: Final = 2.0
GRACE_SECONDS: Final = 20.0
"""For the last answers; a request without one by then has waited that long at least."""
UNBATCHED: Final = 100.0
"""Requests a second up to which each is sent at once. Beyond, a request to the broker each would keep it, and not the
contestant, busy: there records wait for others as long as librdkafka has them wait by default."""
LINGER_MS: Final = 5
TICK_SECONDS: Final = 0.002
"""Beyond that rate: how long the sender sleeps at least. Waking up for each request took a tenth of the machine."""
Place = tuple[int, int]


class _Answers(threading.Thread):
    """Notes when each request's first answer came."""

    def __init__(self, arena: Arena) -> None:
        super().__init__(daemon=True)
        settings = arena.settings
        self._consumer = reader(settings)
        found = ends(self._consumer, settings, [settings.completed_topic, settings.failed_topic])
        self._consumer.assign([TopicPartition(topic, number, end) for (topic, number), end in found.items()])
        self._consumer.poll(0.5)  # so that it has connected before the first request is due
        self._over = threading.Event()
        self._noted: list[tuple[float, Any]] = []

    def __len__(self) -> int:
        return len(self._noted)

    def run(self) -> None:
        poll, note, now = self._consumer.poll, self._noted.append, time.perf_counter
        while not self._over.is_set():
            record = poll(0.1)
            if record is not None and record.error() is None:
                note((now(), record))

    def end(self) -> dict[Place, float]:
        """Stop reading; when the first answer to each request came. They are opened only now, when nobody waits."""
        self._over.set()
        self.join()
        self._consumer.close()
        came: dict[Place, float] = {}
        for at, record in self._noted:
            headers = dict(record.headers() or [])
            came.setdefault((int(headers["request-partition"]), int(headers["request-offset"])), at)
        return came


def latency(
    arena: Arena,
    asks: Iterable[Ask],
    process: Process,
    *,
    rate: float,
    contestant: str,
    number: int,
    level: str,
) -> Latency:
    """Send these at this rate and tell how long they waited.

    Args:
        arena: where the contestant works.
        asks: the requests; those of the first seconds are not counted.
        process: the contestant.
        rate: requests a second.
        contestant: how it is called in the results.
        number: of the round.
        level: what the rate stands for.
    """
    made = list(asks)  # beforehand: whatever the sender costs is taken from the contestant, on the same processors
    with _no_garbage_collected():
        answers = _Answers(arena)
        answers.start()
        try:
            due = _send(arena, made, rate)
            deadline = time.perf_counter() + GRACE_SECONDS
            while len(answers) < len(due) and time.perf_counter() < deadline:
                process.check()
                time.sleep(0.05)
        finally:
            came = answers.end()
        end = time.perf_counter()
    begin = min(due.values()) + WARM_UP_SECONDS
    waits = sorted(came.get(place, end) - at for place, at in due.items() if at >= begin)
    if not waits:
        raise BenchError("too few requests for a latency")
    return Latency(contestant, rate, number, len(waits), _quantile(waits, 0.5), _quantile(waits, 0.99), level)


@contextmanager
def _no_garbage_collected() -> Iterator[None]:
    """Half a second in which neither is sent nor read, with hundreds of thousands of records in hand, is our own."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _quantile(waits: Sequence[float], share: float) -> float:
    """In milliseconds."""
    return waits[min(len(waits) - 1, int(len(waits) * share))] * 1000


def _send(arena: Arena, asks: Iterable[Ask], rate: float) -> dict[Place, float]:
    """When each request was due, by its place in the topic."""
    settings = arena.settings
    producer = Producer(
        {
            **QUIET,
            "bootstrap.servers": settings.kafka_bootstrap_servers,
            "partitioner": "murmur2_random",
            "linger.ms": LINGER_MS if rate > UNBATCHED else 0,
            "acks": "all",
        }
    )
    producer.list_topics(settings.request_topic, timeout=LIMIT)
    taken: list[tuple[float, Any]] = []
    tick = TICK_SECONDS if rate > UNBATCHED else 0.0
    begin = time.perf_counter()
    for number, ask in enumerate(asks):
        at = begin + number / rate
        while (early := at - time.perf_counter()) > 0:
            producer.poll(0)
            time.sleep(0.01 if early > 0.01 else max(early, tick))

        def note(error: Any, record: Any, at: float = at) -> None:
            if error is None:
                taken.append((at, record))

        producer.produce(settings.request_topic, ask.value, ask.key, headers=ask.headers, on_delivery=note)
    if producer.flush(LIMIT) or not taken:
        raise BenchError("Kafka did not take the requests")
    return {(record.partition(), record.offset()): at for at, record in taken}
