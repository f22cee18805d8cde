"""The FastStream broker: its subscriber feeds the worker, its supervisor starts it when the servers are there."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, Final, Protocol

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage

from app.consumer.connection import check_certificates
from app.consumer.decode import install, to_record
from app.consumer.intake import Intake, failure
from app.consumer.publisher import Publisher, cause_of
from app.consumer.worker import Rooms, Worker
from app.errors import SetupNeeded, Transient
from app.model import Record
from app.settings import Settings
from app.telemetry import Health, Metrics, log
from app.waiting import ended, within

START_LIMIT: Final = 30.0
"""Seconds in which a consumer must be connected, or is made anew."""
PROBE_SECONDS: Final = 2.0
STOP_LIMIT: Final = 2.0
LONGEST_WAIT: Final = 5.0


class CheckedRooms(Rooms, Protocol):
    """The rooms of the worker, and whether they can be used."""

    async def check(self) -> None:
        """Raises `Transient` or `SetupNeeded` while the database cannot be worked with."""


class UpsertBroker(KafkaBroker):
    """Consumes the request topic. `start` returns at once: a server that is away is waited for, not an error.

    Args:
        settings: where Kafka is, and how its topics are called.
        rooms: turn records into answers whose effects are committed.
        health: told what is waited for.
        metrics: counted into.
    """

    def __init__(self, settings: Settings, rooms: CheckedRooms, *, health: Health, metrics: Metrics) -> None:
        check_certificates(settings)
        # consumer_only: the answers go out through a producer of ours, which can be replaced when it is spoiled
        super().__init__(
            settings.kafka_bootstrap_servers,
            consumer_only=True,
            apply_types=False,
            logger=None,
            graceful_timeout=1,
            allow_auto_create_topics=False,
        )
        self._settings, self._rooms, self._health, self._metrics = settings, rooms, health, metrics
        self._worker: Worker | None = None
        self._trouble: str | None = None  # what ended the last consumer, until one has lasted
        self._assigned: Collection[TopicPartition] | None = None  # None until the group has answered
        self._attempt = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._requests = self.subscriber(
            settings.request_topic,
            group_id=settings.group_id,
            batch=True,
            ack_policy=AckPolicy.MANUAL,
            max_records=settings.batch_max_records,
            listener=_Listener(self),
            parser=parse,
            decoder=decode,
        )
        self._requests(self.take)

    async def take(self, records: Sequence[Record]) -> None:
        """What the subscriber read: handed to the worker, which commits its offsets when they are answered."""
        if self._worker is not None:
            await self._worker.offer(records)

    def joined(self, assigned: Collection[TopicPartition]) -> None:
        """The group gave this member its partitions, be it none."""
        self._assigned = assigned
        self._metrics.rebalances.inc()
        if self._trouble is None:
            self._tell_joined(assigned)

    def _tell_joined(self, assigned: Collection[TopicPartition]) -> None:
        log.info("assigned", partitions=sorted(partition.partition for partition in assigned))
        self._health.ok("group")

    @property
    def worker(self) -> Worker | None:
        """The worker, once started."""
        return self._worker

    async def start(self) -> None:
        """Begin to work as soon as the servers are there."""
        install()
        publisher = Publisher(self._settings)
        self._worker = worker = Worker(self._settings, self._rooms, publisher, self._health, self._metrics)
        self._metrics.observed.behind = lambda: worker.intake.behind() if worker.intake else []
        self._tasks = [asyncio.create_task(self._worker.run()), asyncio.create_task(self._supervise())]

    async def stop(self, *error: Any) -> None:
        """Finish the batch in hand, publish, commit and leave the group; within ten seconds."""
        worker, self._worker = self._worker, None
        if worker is None:
            await super().stop(*error)
            return
        await worker.finish()
        await ended(self._tasks, STOP_LIMIT)
        await asyncio.gather(self._stop_consuming(worker), worker.publisher.close())

    async def _supervise(self) -> None:
        """Keep a consumer running: made when the servers are there, made anew when its client gives up."""
        worker = self._worker
        assert worker is not None
        while True:
            self._health.turned()
            try:
                if await self._servers_are_there(worker):
                    await within(self._start_consuming(worker), START_LIMIT)
                    await self._watch(worker)
            except Exception as error:  # noqa: BLE001 - a supervisor that ends would leave a worker that never works
                self._failed(error)
            await self._stop_consuming(worker)
            self._attempt += 1
            await asyncio.sleep(_backoff(self._attempt))

    async def _servers_are_there(self, worker: Worker) -> bool:
        try:
            await self._rooms.check()
        except (Transient, SetupNeeded) as error:
            self._health.waits("postgres", str(error))
        else:
            self._health.ok("postgres")
        problems = await worker.publisher.probe(self._settings.topics)
        for part in ("kafka", "topics"):
            if part in problems:
                self._health.waits(part, problems[part])
            elif not problems or part == "kafka":
                self._health.ok(part)
        return self._health.has("postgres") and self._health.has("kafka") and self._health.has("topics")

    async def _start_consuming(self, worker: Worker) -> None:
        self._assigned = None
        self._health.waits("group", self._trouble or "joining the consumer group")
        await self.connect()
        self.config.broker_config.builder = lambda **_: self._make_intake(worker)
        await super().start()

    def _make_intake(self, worker: Worker) -> Intake:
        worker.intake = Intake(self._settings, self._health, self._metrics)
        return worker.intake

    async def _watch(self, worker: Worker) -> None:
        """Say when a server goes away and comes back. Returns when the consumer must be made anew."""
        intake = worker.intake
        while intake is not None and (error := failure(intake)) is None:
            lasted = not (await asyncio.wait({intake.failed}, timeout=PROBE_SECONDS))[0]
            if lasted:
                self._lasted()
            await self._servers_are_there(worker)
        if intake is not None and error is not None:
            self._failed(error)

    def _lasted(self) -> None:
        """The consumer outlived a probe: whatever ended the one before it is over."""
        self._attempt = 0
        if self._trouble is not None:
            self._trouble = None
            if self._assigned is not None:
                self._tell_joined(self._assigned)

    def _failed(self, error: Exception) -> None:
        """The consumer cannot work; a cause that stays is said once, however often it is tried again."""
        settings = self._settings
        if isinstance(error, TopicAuthorizationFailedError):
            self._trouble = f"topic {settings.request_topic} may not be read; grant this user Read on it"
        elif isinstance(error, GroupAuthorizationFailedError):
            self._trouble = f"group {settings.group_id} may not be used; grant this user Read on it"
        else:
            self._trouble = cause_of(error, settings.request_topic)
        self._health.waits("group", self._trouble)

    async def _stop_consuming(self, worker: Worker) -> None:
        if worker.intake is not None:
            await worker.revoked()
        stopping = asyncio.ensure_future(super().stop())
        await asyncio.wait({stopping}, timeout=STOP_LIMIT)
        await ended([stopping], STOP_LIMIT / 2)
        if stopping.done() and not stopping.cancelled() and (error := stopping.exception()) is not None:
            log.warning("consumer_not_stopped_in_order", cause=cause_of(error))
        worker.intake = None


class _Listener(ConsumerRebalanceListener):
    """Told by the client when the group moves partitions."""

    def __init__(self, broker: UpsertBroker) -> None:
        self._broker = broker

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        if revoked and (worker := self._broker.worker) is not None:
            await worker.revoked()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._broker.joined(assigned)


async def parse(message: Sequence[Any]) -> KafkaMessage:
    """A batch as FastStream wants it. Touches nothing: FastStream would swallow the error and the batch."""
    return KafkaMessage(raw_message=tuple(message), body=b"", consumer=_NoConsumer())


async def decode(message: KafkaMessage) -> list[Record]:
    """The records of a batch as ours."""
    raws = message.raw_message
    if not isinstance(raws, tuple):
        raws = (raws,)
    return [raw if isinstance(raw, Record) else to_record(raw) for raw in raws]  # `Intake` gives ours


class _NoConsumer:
    """Offsets are committed by the worker alone."""

    async def commit(self) -> None: ...

    def seek(self, partition: TopicPartition, offset: int) -> None: ...


def _backoff(attempt: int) -> float:
    return float(min(LONGEST_WAIT, 0.2 * 2 ** min(attempt, 10)))
