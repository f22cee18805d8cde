"""The worker: batches to answers to offsets, in order, whatever the group does meanwhile.

While one batch is with the database, the answers of the one before it are published and its offsets are committed. What
is fetched meanwhile gathers to the next one, which is understood in advance where that is much.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from aiokafka.errors import KafkaError
from tenacity import AsyncRetrying, retry_if_result, wait_random_exponential

from app.compiled import size_of
from app.consumer.intake import Intake, as_partition
from app.consumer.offsets import Partition, committable, partition_of
from app.consumer.publisher import Outgoing, Publisher, outgoing
from app.consumer.suspects import Deaths, How, Suspects
from app.errors import Abandoned, Fatal, WorkerError
from app.model import Answer, Record, Request
from app.pipeline import Gate
from app.settings import Settings
from app.telemetry import Health, Metrics, log
from app.waiting import ended, within

REVOKE_LIMIT: Final = 5.0
"""Seconds that a batch which has reached COMMIT gets to publish and commit its offsets."""
COMMIT_LIMIT: Final = 5.0
FINISH_LIMIT: Final = 5.0
"""Seconds for the batch in hand when the worker is told to stop; with what follows it stays below ten."""
LET_GO_LIMIT: Final = 1.0
"""Seconds for what was cancelled to end."""
OVER_LIMIT: Final = 0.5
"""To note that the partitions were given away in order."""
KEEP_ALIVE_SECONDS: Final = 5.0
LONGEST_PAUSE: Final = 5.0
MUCH: Final = 100
"""Records that are worth understanding in advance. Fewer wait for others: batches of one, each with its round trips,
would take longer than the requests take to come."""


class Rooms(Deaths, Protocol):
    """What turns records into answers."""

    async def understand(self, records: Sequence[Record]) -> Sequence[Request]:
        """What these ask for, in their order. Raises Fatal."""

    async def apply(self, requests: Sequence[Request], gate: Gate) -> list[Answer]:
        """Answer these, in their order, each with its effect committed. Raises Abandoned, Fatal."""

    def give_up(self, record: Record) -> Answer:
        """The answer to a record that kills every process. Raises Fatal."""


@dataclass(slots=True)
class _Batch:
    """Records that were fetched together, in which assignment (`epoch`), and after how many stops (`mark`).

    `requests` is what they ask for, where that was understood in advance.
    """

    records: Sequence[Record]
    epoch: int
    mark: int
    size: int = 0
    """Bytes of the records."""
    requests: Sequence[Request] | None = None


@dataclass(slots=True)
class _InHand:
    """The batch that is being processed. It is the pipeline's gate."""

    worker: Worker
    epoch: int
    past_gate: bool = False
    task: asyncio.Task[None] | None = None

    def pass_to_commit(self) -> None:
        """Let the batch reach COMMIT only while its partitions are still this worker's."""
        if not self.worker.may_go_on(self.epoch):
            raise Abandoned("the partitions were given away")
        self.past_gate = True


@dataclass(slots=True)
class Worker:
    """Takes what `Intake` fetched, has it processed, publishes and commits.

    A partition with an answer that cannot be published stops at that record; the others go on.
    """

    settings: Settings
    rooms: Rooms
    publisher: Publisher
    health: Health
    metrics: Metrics
    intake: Intake | None = None
    _gathered: deque[_Batch] = field(default_factory=deque)
    """What was fetched and not yet taken, at most a full batch."""
    _room: asyncio.Event = field(default_factory=asyncio.Event)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there is more room, and when there may be more to take."""
    _suspects: Suspects = field(init=False)
    _in_hand: _InHand | None = None
    _trouble: BaseException | None = None
    """What ended the batch that was in hand, if not its answers."""
    _publication: asyncio.Task[None] | None = None
    """Of the batch before the one in hand."""
    _halted: bool = False
    _revoking: bool = False
    _stopping: bool = False
    _stopped_since: dict[Partition, int] = field(default_factory=dict)
    _mending: dict[Partition, asyncio.Task[None]] = field(default_factory=dict)
    _mend_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self._suspects = Suspects(self.rooms)

    def may_go_on(self, epoch: int) -> bool:
        """Whether what was fetched in this epoch is still this worker's."""
        return self.intake is not None and self.intake.epoch == epoch and not self._revoking

    async def offer(self, records: Sequence[Record]) -> None:
        """Hand over what was just fetched, and wait until there is room for it."""
        intake = self.intake
        if intake is None:
            return
        epoch, mark = intake.fetched_in, intake.fetched_after
        for part, size in _split(records, self.settings.batch_max_bytes):
            batch = _Batch(part, epoch, mark, size)
            while self._gathered and not self._fits(*self._gathered, batch):
                self._room.clear()
                try:
                    await within(self._room.wait(), KEEP_ALIVE_SECONDS)
                except TimeoutError:
                    await intake.keep_alive()
            self._gathered.append(batch)
            self._wake.set()
            await asyncio.sleep(0)  # the batch is taken before more is fetched

    def _fits(self, *batches: _Batch) -> bool:
        """Whether these are one batch at most."""
        count, size = (sum(map(of, batches)) for of in (_count, _size))
        return count <= self.settings.batch_max_records and size <= self.settings.batch_max_bytes

    async def _next(self) -> _Batch:
        """What has gathered, as soon as no batch is in hand, or it is much."""
        while not self._gathered or (self._in_hand is not None and sum(map(_count, self._gathered)) < MUCH):
            if self._trouble is not None:
                raise self._trouble
            self._wake.clear()
            await self._wake.wait()
        return self._with_gathered(self._gathered.popleft())

    def _with_gathered(self, batch: _Batch) -> _Batch:
        """With what else has gathered of the same assignment, as far as they are one batch at most."""
        parts = [batch]
        while self._gathered and (self._gathered[0].epoch, self._gathered[0].mark) == (batch.epoch, batch.mark):
            if not self._fits(*parts, self._gathered[0]):
                break
            parts.append(self._gathered.popleft())
        self._room.set()
        records = [record for part in parts for record in part.records]
        return replace(batch, records=records, size=sum(map(_size, parts)))

    async def run(self) -> None:
        """Work until cancelled, or until going on would do harm."""
        try:
            await self._run()
        finally:
            if self._publication is not None:
                self._publication.cancel()

    async def _run(self) -> None:
        # no task for each step: a request that comes alone would wait for the turns that the event loop takes between
        try:
            while not self._halted:
                batch = await self._take()
                await self._put_down()
                if not (self._halted or self._stopping):
                    self._take_in_hand(await self._whole(batch))
        except Exception as error:  # noqa: BLE001 - it would end the process, and the next one too
            with contextlib.suppress(Exception):  # one is told
                await self._put_down()
            self._halt(error)
            await self._published()
        finally:
            if (hand := self._in_hand) is not None and hand.task is not None:
                hand.task.cancel()

    async def _take(self) -> _Batch:
        """The next batch, understood while the one before it is in hand, unless a killer could be in it."""
        batch = await self._next()
        records = self._still_ours(batch)
        if records and self._suspects.quiet(records):
            return replace(batch, records=records, requests=await self.rooms.understand(records))
        return batch

    async def _whole(self, batch: _Batch) -> _Batch:
        """With what has come since it was understood in advance: that need not wait for another batch."""
        if batch.requests is None or not self._gathered:
            return batch
        whole = self._with_gathered(batch)
        more = whole.records[len(batch.records) :]
        if not self._suspects.quiet(more):
            return replace(whole, requests=None)  # then it is looked at in parts
        return replace(whole, requests=[*batch.requests, *await self.rooms.understand(more)])

    def _take_in_hand(self, batch: _Batch) -> None:
        self._in_hand = hand = _InHand(self, batch.epoch)
        self._be_patient(len(batch.records) >= MUCH)
        hand.task = asyncio.create_task(self._answer(batch, hand))
        hand.task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._in_hand = None
        if not task.cancelled():
            self._trouble = task.exception()
        self._be_patient(False)
        self._wake.set()

    async def _put_down(self) -> None:
        """Wait for the batch in hand. Raises what ended it."""
        if (hand := self._in_hand) is not None and hand.task is not None:
            await asyncio.wait({hand.task})
        if self._trouble is not None:
            raise self._trouble

    def _be_patient(self, patient: bool) -> None:
        if self.intake is not None:
            self.intake.be_patient(patient)

    def _halt(self, error: BaseException) -> None:
        """Stop for good, and stay up to say so. The text of an error that is not ours could hold data."""
        self._halted = True
        cause = str(error) if isinstance(error, Fatal) else f"unexpected {type(error).__name__}"
        where = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
        log.critical("stopped", cause=cause, at=where[-5:])
        self.health.waits("worker", f"stopped: {cause}; nothing is lost, a restart begins again at the same record")

    def _still_ours(self, batch: _Batch) -> Sequence[Record]:
        """The records of a batch that may be processed: their partition was neither given away nor stopped since."""
        return self._not_stopped(batch) if self.may_go_on(batch.epoch) else []

    def _not_stopped(self, batch: _Batch) -> Sequence[Record]:
        stopped = self._stopped_since
        if not stopped:
            return batch.records
        return [record for record in batch.records if batch.mark >= stopped.get(partition_of(record.position), 0)]

    async def _answer(self, batch: _Batch, hand: _InHand) -> None:
        """While a killer is searched, nothing of a part is done before the one before it is published and committed."""
        parts = await self._suspects.parts(self._still_ours(batch))
        for part in parts:
            if len(parts) > 1 or part.how is not How.TOGETHER:
                await self._published()
            ours = _only(batch, self._still_ours(replace(batch, records=part.records)))
            if not ours.records or self._stopping or self._halted:
                continue
            if part.how is How.ALONE:
                await self._suspects.touch(ours.records[0])
            with self.metrics.batch(ours.records, self.settings.group_id):
                await self._answer_part(ours, hand, part.how)
            hand.past_gate = False

    async def _answer_part(self, batch: _Batch, hand: _InHand, how: How) -> None:
        began = time.monotonic()
        try:
            if how is How.GIVEN_UP:
                answers = [self.rooms.give_up(batch.records[0])]
            else:
                requests = batch.requests or await self.rooms.understand(batch.records)
                answers = await self.rooms.apply(requests, hand)
            if not hand.past_gate:  # nothing to commit in Postgres: the answers are what must not be given twice
                hand.pass_to_commit()
        except Abandoned:
            log.info("batch_abandoned", records=len(batch.records))
            return
        if how is How.ALONE:
            await self._suspects.survived(batch.records[0])
        await self._published()
        if not self._halted:
            self._publication = asyncio.create_task(self._publish(batch, answers, began))

    async def _published(self) -> None:
        """Wait for the batch before: answers of a key appear in order, and so are offsets committed."""
        if self._publication is not None:
            await asyncio.wait({self._publication})

    async def _publish(self, batch: _Batch, answers: Sequence[Answer], began: float) -> None:
        try:
            await self._publish_and_commit(batch, answers, began)
        except Exception as error:  # noqa: BLE001 - nobody may be waiting for this task
            self._halt(error)

    async def _publish_and_commit(self, batch: _Batch, answers: Sequence[Answer], began: float) -> None:
        # A partition that was stopped meanwhile is read again from there, and then answered with what is stored.
        records = self._not_stopped(batch)
        given = answers
        if len(records) != len(answers):
            places = {record.position for record in records}
            given = [answer for answer in answers if answer.record.position in places]
        sent = [each for answer in given for each in outgoing(answer, self.settings)]
        with self.metrics.stage("publish", len(sent)):
            failed = await self.publisher.publish(sent)
        unpublished = {record.position for record in failed}
        if failed:
            self._stop_partitions(records, failed, batch.epoch)
        positions = [record.position for record in records]
        self.metrics.published([each for each in positions if each not in unpublished] if failed else positions)
        self.metrics.dead_letters.inc(len(sent) - len(given) - sum(map(self._is_letter, failed)))
        await self._commit(committable(positions, unpublished), batch.epoch)
        log.info(
            "batch",
            records=len(records),
            milliseconds=round((time.monotonic() - began) * 1000),
            **Counter(answer.outcome.value for answer in given),
        )

    async def _commit(self, offsets: dict[Partition, int], epoch: int) -> None:
        """Commit these offsets while the assignment is the one in which they were earned."""
        intake = self.intake
        if not offsets or intake is None or intake.epoch != epoch:
            return
        places = {as_partition(partition): offset for partition, offset in offsets.items()}
        try:
            with self.metrics.stage("offsets"):
                await within(intake.commit(places), COMMIT_LIMIT)
        except (KafkaError, TimeoutError) as error:
            # nothing is lost: the next commit covers these records, or they come again and get the same answers
            log.warning("offsets_not_committed", cause=type(error).__name__)

    def _stop_partitions(self, records: Sequence[Record], failed: dict[Outgoing, str], epoch: int) -> None:
        """Nothing of these partitions that was fetched before now is published or committed; what failed is mended."""
        assert self.intake is not None
        self.intake.stops += 1
        mend = self.may_go_on(epoch) and not self._stopping  # else the next owner begins there
        for partition in {partition_of(record.position) for record in failed}:
            unsent = {record: cause for record, cause in failed.items() if partition_of(record.position) == partition}
            last = max(record.position.offset for record in records if partition_of(record.position) == partition)
            self._stopped_since[partition] = self.intake.stops
            if not mend:
                continue
            self.intake.pause(as_partition(partition))
            self._mending[partition] = asyncio.create_task(self._mend(partition, unsent, last + 1, epoch))
        self.metrics.stopped_partitions.set(len(self._mending))

    async def _mend(self, partition: Partition, unsent: dict[Outgoing, str], resume_at: int, epoch: int) -> None:
        """Try again until every answer of a stopped partition is published, then go on behind them."""
        part = f"partition {partition[0]}/{partition[1]}"
        self.health.waits(part, f"stopped at offset {_first(unsent)}: {next(iter(unsent.values()))}")
        retrying = AsyncRetrying(
            retry=retry_if_result(bool), wait=wait_random_exponential(multiplier=0.5, max=LONGEST_PAUSE)
        )
        rest = sorted(unsent, key=lambda record: record.position.offset)
        committed = rest[0].position.offset

        async def again() -> bool:
            nonlocal committed
            while rest:
                # one by one, and one partition at a time: a record that is too large fails with its whole request
                async with self._mend_lock:
                    failed = await self.publisher.publish(rest[:1], probe=True)
                if failed:
                    cause, stopped_at = next(iter(failed.values())), rest[0].position.offset
                    self.health.waits(part, f"stopped at offset {stopped_at}: {cause}")
                    self.metrics.retries.labels("publication").inc()
                    if stopped_at > committed:
                        await self._commit({partition: stopped_at}, epoch)
                        committed = stopped_at
                    return True
                self._mended(rest.pop(0))
            return False

        await retrying(again)
        self.health.ok(part)
        self._mending.pop(partition, None)
        self.metrics.stopped_partitions.set(len(self._mending))
        intake = self.intake
        if intake is not None and intake.epoch == epoch:
            await self._commit({partition: resume_at}, epoch)
        if intake is not None and intake.epoch == epoch:
            intake.rewind(as_partition(partition), resume_at)
            intake.resume(as_partition(partition))

    def _mended(self, record: Outgoing) -> None:
        if self._is_letter(record):
            self.metrics.dead_letters.inc()
        else:
            self.metrics.published([record.position])

    def _is_letter(self, record: Outgoing) -> bool:
        return record.topic == self.settings.dlq_topic

    async def revoked(self) -> None:
        """The partitions are taken away: finish what has reached COMMIT, forget everything else."""
        self._revoking = True
        try:
            await self._let_go(_now() + REVOKE_LIMIT)
            with contextlib.suppress(WorkerError, TimeoutError):  # then it is noted before the next one begins
                await within(self._suspects.over(), OVER_LIMIT)
        finally:
            if self.intake is not None:
                self.intake.forget()
            self._revoking = False

    async def finish(self) -> None:
        """Take nothing more, and finish the batches in hand."""
        self._stopping = True
        deadline = _now() + FINISH_LIMIT
        if (hand := self._in_hand) and hand.task:
            await _until(deadline, hand.task)
        await self._let_go(deadline)

    async def _let_go(self, deadline: float) -> None:
        mending = list(self._mending.values())
        for partition in self._mending:
            self.health.ok(f"partition {partition[0]}/{partition[1]}")
        self._mending.clear()
        self.metrics.stopped_partitions.set(0)
        await ended(mending, LET_GO_LIMIT)
        self._gathered.clear()
        self._room.set()
        if (hand := self._in_hand) is not None and hand.task is not None:
            if hand.past_gate:
                await _until(deadline, hand.task)
            await ended([hand.task], LET_GO_LIMIT)
        if self._publication is not None:
            await _until(deadline, self._publication)
            await ended([self._publication], LET_GO_LIMIT)
        self._stopped_since.clear()


def _only(batch: _Batch, records: Sequence[Record]) -> _Batch:
    """The batch without its other records."""
    if len(records) == len(batch.records):
        return batch
    requests = batch.requests
    if requests is not None:
        places = {record.position for record in records}
        requests = [request for request in requests if request.record.position in places]
    return replace(batch, records=records, requests=requests)


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _until(deadline: float, task: asyncio.Task[None]) -> None:
    await asyncio.wait({task}, timeout=max(0.0, deadline - _now()))


def _first(unsent: dict[Outgoing, str]) -> int:
    return min(record.position.offset for record in unsent)


def _count(batch: _Batch) -> int:
    return len(batch.records)


def _size(batch: _Batch) -> int:
    return batch.size


def _split(records: Sequence[Record], limit: int) -> Iterator[tuple[Sequence[Record], int]]:
    """The records in order, in parts of at most `limit` bytes, each with its size; a larger one is its own part."""
    sizes = [size_of(record) for record in records]
    if (total := sum(sizes)) <= limit:
        yield records, total
        return
    part: list[Record] = []
    total = 0
    for record, size in zip(records, sizes, strict=True):
        if part and total + size > limit:
            yield part, total
            part, total = [], 0
        part.append(record)
        total += size
    yield part, total
