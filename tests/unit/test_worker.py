"""The worker between its neighbours: what it processes, publishes and commits while the group moves partitions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka.errors import CommitFailedError

from app.consumer import worker as module
from app.consumer.publisher import Outgoing
from app.consumer.worker import Worker, _split
from app.errors import Fatal
from app.model import Answer, Outcome, Position, Record
from app.pipeline import Gate
from app.settings import Settings
from app.telemetry import Health, Metrics, configure_logging
from tests.conftest import own_settings
from tests.support import PATIENCE, until

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TURNS = 4
"""Of the event loop, that pass at the least between what is fetched and what is fetched next."""


def record(offset: int, partition: int = 0, value: bytes = b"v") -> Record:
    return Record(Position("t", partition, offset, 0), b"k", value, ())


def answer(of: Record) -> Answer:
    return Answer(of, of.position, 200, Outcome.CREATED, None, "cus_1", b"{}", "id", NOW)


@dataclass
class FakeIntake:
    """What the worker asks of its consumer, noted."""

    epoch: int = 0
    fetched_in: int = 0
    stops: int = 0
    fetched_after: int = 0
    committed: list[dict[Any, int]] = field(default_factory=list)
    did: list[str] = field(default_factory=list)
    kept_alive: int = 0
    refuse_commit: bool = False
    refused: int = 0

    async def commit(self, offsets: dict[Any, int]) -> None:
        if self.refuse_commit:
            self.refused += 1
            raise CommitFailedError
        self.committed.append({partition.partition: offset for partition, offset in offsets.items()})

    async def keep_alive(self) -> None:
        self.kept_alive += 1

    def be_patient(self, patient: bool) -> None: ...

    def pause(self, partition: Any) -> None:
        self.did.append(f"pause {partition.partition}")

    def resume(self, partition: Any) -> None:
        self.did.append(f"resume {partition.partition}")

    def rewind(self, partition: Any, offset: int) -> None:
        self.did.append(f"rewind {partition.partition} to {offset}")

    def forget(self) -> None:
        self.epoch += 1


@dataclass
class FakePublisher:
    """Acknowledges everything but what is `refused`, and only while `open` is set."""

    refused: set[int] = field(default_factory=set)
    published: list[int] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0

    async def publish(self, records: Sequence[Outgoing], *, probe: bool = False) -> dict[Outgoing, str]:
        self.asked += 1
        await self.open.wait()
        failed = {record: "refused" for record in records if record.position.offset in self.refused}
        self.published += [record.position.offset for record in records if record not in failed]
        return failed


@dataclass
class Asked:
    """What was understood of a record."""

    record: Record


@dataclass
class FakeRooms:
    """Processes by `process`; `died` is what is known of the assignments before, and what is noted is `noted`."""

    process: Callable[[Sequence[Record], Gate], Awaitable[list[Answer]]]
    died: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    noted: list[Any] = field(default_factory=list)

    understood: list[int] = field(default_factory=list)
    too_early: list[int] = field(default_factory=list)
    """What was looked at before the assignment of its partition was noted: if it killed, nobody would know."""

    async def understand(self, records: Sequence[Record]) -> list[Asked]:
        begun = {partition for what, *found in self.noted if what == "begun" for partition in found[0]}
        places = {record.position.offset: (record.position.topic, record.position.partition) for record in records}
        self.too_early += [offset for offset, partition in places.items() if partition not in begun]
        self.understood += [record.position.offset for record in records]
        return [Asked(record) for record in records]

    async def apply(self, requests: Sequence[Asked], gate: Gate) -> list[Answer]:
        return await self.process([request.record for request in requests], gate)

    def give_up(self, record: Record) -> Answer:
        self.noted.append(("given up", record.position.offset))
        return answer(record)

    async def begun(self, begins: Mapping[tuple[str, int], tuple[int, int]]) -> dict[tuple[str, int], tuple[int, int]]:
        self.noted.append(("begun", dict(begins)))
        return {partition: self.died.get(partition, (0, last)) for partition, (_, last) in begins.items()}

    async def touching(self, partition: tuple[str, int], offset: int | None) -> None:
        self.noted.append(("touching", partition[1], offset))

    async def over(self, partitions: Collection[tuple[str, int]]) -> None:
        self.noted.append(("over", sorted(partitions)))


@dataclass
class Bench:
    """A worker with its neighbours, running."""

    worker: Worker
    intake: FakeIntake
    publisher: FakePublisher
    rooms: FakeRooms
    health: Health

    async def offer(self, *records: Record) -> None:
        """As the subscriber does it, with what was fetched now."""
        self.fetched()
        await self.worker.offer(records)
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def busy(self) -> None:
        """Two batches of one record: one being published, and one in hand that waits for it."""
        self.publisher.open.clear()
        await self.offer(record(0))
        await until(lambda: self.publisher.asked)
        await self.offer(record(1))
        await until(lambda: self.worker._in_hand and self.worker._in_hand.past_gate)

    def fetched(self) -> None:
        self.intake.fetched_in, self.intake.fetched_after = self.intake.epoch, self.intake.stops


async def at_once(records: Sequence[Record], gate: Gate) -> list[Answer]:
    gate.pass_to_commit()
    return [answer(record) for record in records]


@asynccontextmanager
async def bench(
    process: Callable[[Sequence[Record], Gate], Awaitable[list[Answer]]] = at_once, **changes: Any
) -> AsyncIterator[Bench]:
    settings: Settings = own_settings("nowhere:1", "postgresql://nowhere", **changes)
    intake, publisher, health = FakeIntake(), FakePublisher(), Health()
    for part in ("kafka", "postgres"):
        health.ok(part)
    publisher.open.set()
    rooms = FakeRooms(process)
    worker = Worker(settings, rooms, publisher, health, Metrics(), intake)  # type: ignore[arg-type]
    running = asyncio.create_task(worker.run())
    try:
        yield Bench(worker, intake, publisher, rooms, health)
    finally:
        publisher.open.set()
        await worker.revoked()
        running.cancel()
        await asyncio.wait({running})


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is there is worth understanding in advance."""
    monkeypatch.setattr(module, "MUCH", 1)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    configure_logging("console", "error")
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.01)


@pytest.mark.rule("R6.59")
async def test_offsets_are_committed_after_the_answers_are_acknowledged_and_not_before() -> None:
    async with bench() as at:
        at.publisher.open.clear()
        await at.offer(record(0), record(1), record(5, partition=1))
        await until(lambda: at.publisher.asked)
        assert at.intake.committed == []
        at.publisher.open.set()
        await until(lambda: at.intake.committed)
    assert at.intake.committed == [{0: 2, 1: 6}]


@pytest.mark.rule("R6.69")
async def test_a_partition_stops_at_the_answer_that_cannot_be_published_and_goes_on_behind_its_batch() -> None:
    async with bench() as at:
        at.publisher.refused = {1}
        await at.offer(record(0), record(1), record(2), record(7, partition=1))
        await until(lambda: at.intake.committed)
        assert at.intake.committed == [{0: 1, 1: 8}]
        assert at.intake.did == ["pause 0"]
        await until(lambda: at.health.missing == {"partition t/0": "stopped at offset 1: refused"})
        at.publisher.refused = set()
        await until(lambda: at.health.ready)
        await until(lambda: "resume 0" in at.intake.did)
    assert at.intake.committed == [{0: 1, 1: 8}, {0: 3}]
    assert at.intake.did == ["pause 0", "rewind 0 to 3", "resume 0"]
    assert at.publisher.published == [0, 2, 7, 1]


@pytest.mark.rule("R6.69")
async def test_of_a_stopped_partition_that_is_mended_in_part_the_part_is_committed() -> None:
    async with bench() as at:
        at.publisher.refused = {1, 2, 4}
        await at.offer(*(record(offset) for offset in range(6)))
        await until(lambda: at.health.missing)
        at.publisher.refused = {4}
        await until(lambda: at.health.missing == {"partition t/0": "stopped at offset 4: refused"})
        await until(lambda: len(at.intake.committed) == 2)
        assert at.intake.committed == [{0: 1}, {0: 4}]
        assert at.publisher.published == [0, 3, 5, 1, 2]


@pytest.mark.rule("R6.69")
async def test_what_was_fetched_before_its_partition_stopped_is_not_processed_then() -> None:
    async with bench() as at:
        at.publisher.refused = {0}
        at.publisher.open.clear()
        await at.offer(record(0))
        await until(lambda: at.publisher.asked)
        at.fetched()  # the next fetch came back already, and its records are on their way
        at.publisher.open.set()
        await until(lambda: at.intake.did)
        await at.worker.offer([record(1), record(4, partition=1)])
        await until(lambda: at.intake.committed)
        assert at.intake.committed == [{1: 5}]
        assert 1 not in at.publisher.published


@pytest.mark.rule("R6.73")
async def test_a_batch_that_has_not_reached_commit_is_abandoned_when_its_partitions_are_taken_away() -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    told: list[str] = []

    async def process(records: Sequence[Record], gate: Gate) -> list[Answer]:
        reached.set()
        await go_on.wait()
        gate.pass_to_commit()
        told.append("committed")
        return [answer(record) for record in records]

    async with bench(process) as at:
        await at.offer(record(0))
        await reached.wait()
        await at.worker.revoked()
        go_on.set()
        assert (told, at.publisher.published, at.intake.committed) == ([], [], [])
        await at.offer(record(0))
        await until(lambda: at.intake.committed)
    assert (told, at.intake.committed) == (["committed"], [{0: 1}])


@pytest.mark.rule("R6.73")
async def test_a_batch_whose_partitions_are_being_taken_away_is_not_let_through_the_gate() -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    passed: list[bool] = []

    async def process(records: Sequence[Record], gate: Gate) -> list[Answer]:
        reached.set()
        await asyncio.shield(go_on.wait())
        gate.pass_to_commit()
        passed.append(True)
        return []

    async with bench(process) as at:
        await at.offer(record(0))
        await reached.wait()
        at.intake.forget()
        go_on.set()
        await until(lambda: at.worker._in_hand is None)
    assert passed == []


@pytest.mark.rule("R6.74")
async def test_a_batch_that_has_reached_commit_is_published_and_committed_before_its_partitions_are_let_go() -> None:
    async with bench() as at:
        at.publisher.open.clear()
        await at.offer(record(0))
        await until(lambda: at.publisher.asked)
        revoking = asyncio.create_task(at.worker.revoked())
        await asyncio.sleep(0)
        assert not revoking.done()
        at.publisher.open.set()
        await revoking
    assert (at.publisher.published, at.intake.committed) == ([0], [{0: 1}])


@pytest.mark.rule("R6.74")
async def test_what_is_not_acknowledged_in_time_is_left_to_the_next_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REVOKE_LIMIT", 0.02)
    async with bench() as at:
        at.publisher.open.clear()
        await at.offer(record(0))
        await until(lambda: at.publisher.asked)
        await at.worker.revoked()
        at.publisher.open.set()
        await at.offer(record(9))
        await until(lambda: at.intake.committed)
    assert at.intake.committed == [{0: 10}]


@pytest.mark.rule("R6.74")
async def test_offsets_of_another_assignment_are_never_committed() -> None:
    async with bench() as at:
        at.publisher.open.clear()
        await at.offer(record(0))
        await until(lambda: at.publisher.asked)
        at.intake.forget()
        at.publisher.open.set()
        await until(lambda: at.worker._in_hand is None)
    assert (at.publisher.published, at.intake.committed) == ([0], [])


@pytest.mark.rule("R6.73")
async def test_a_stopped_partition_that_is_taken_away_is_no_longer_told_of_nor_mended() -> None:
    async with bench() as at:
        at.publisher.refused = {0}
        await at.offer(record(0))
        await until(lambda: not at.health.ready)
        (mending,) = at.worker._mending.values()
        await at.worker.revoked()
        assert at.health.ready
        await asyncio.wait({mending}, timeout=PATIENCE)
        assert mending.cancelled()


@pytest.mark.rule("R6.75")
async def test_on_the_order_to_stop_the_batches_in_hand_are_finished_and_nothing_else_begun() -> None:
    async with bench() as at:
        await at.busy()
        await at.offer(record(2))
        finishing = asyncio.create_task(at.worker.finish())
        await asyncio.sleep(0)
        at.publisher.open.set()
        await finishing
        await at.offer(record(3))
        await until(lambda: not at.worker._gathered)
        await until(lambda: at.worker._in_hand is None)
    assert (at.publisher.published, at.intake.committed) == ([0, 1], [{0: 1}, {0: 2}])


@pytest.mark.usefixtures("eager")
async def test_while_answers_are_published_the_next_batch_is_processed_and_its_answers_wait_for_them() -> None:
    processed: list[int] = []

    async def process(records: Sequence[Record], gate: Gate) -> list[Answer]:
        processed.extend(record.position.offset for record in records)
        return await at_once(records, gate)

    async with bench(process) as at:
        at.publisher.open.clear()
        for offset in range(4):
            await at.offer(record(offset))
        await until(lambda: processed == [0, 1] and at.rooms.understood == [0, 1, 2])
        assert (at.publisher.asked, len(at.worker._gathered)) == (1, 1)
        at.publisher.open.set()
        await until(lambda: at.intake.committed == [{0: 1}, {0: 2}, {0: 4}])  # what came since is not left for another
    assert at.publisher.published == [0, 1, 2, 3]
    assert at.rooms.understood == [0, 1, 2, 3]


async def test_what_was_processed_while_its_partition_stopped_is_not_published_but_read_again() -> None:
    async with bench() as at:
        at.publisher.refused = {0}
        at.publisher.open.clear()
        await at.offer(record(0), record(10, 1))
        await until(lambda: at.publisher.asked)
        await at.offer(record(1), record(11, 1))
        await until(lambda: at.worker._in_hand and at.worker._in_hand.past_gate)
        at.publisher.open.set()
        await until(lambda: {1: 12} in at.intake.committed)
        assert 1 not in at.publisher.published
        at.publisher.refused = set()
        await until(lambda: "resume 0" in at.intake.did)
    assert at.intake.did == ["pause 0", "rewind 0 to 1", "resume 0"]
    assert {0: 2} not in at.intake.committed


@pytest.mark.parametrize("end", ["revoked", "finish"])
async def test_behind_an_answer_that_fails_while_all_is_let_go_nothing_is_published_or_committed(end: str) -> None:
    async with bench() as at:
        at.publisher.refused = {0}
        await at.busy()
        ending = asyncio.create_task(getattr(at.worker, end)())
        await asyncio.sleep(0)
        at.publisher.open.set()
        await ending
    assert (at.publisher.published, at.intake.committed, at.intake.did) == ([], [], [])


@pytest.mark.usefixtures("eager")
async def test_a_batch_that_was_understood_before_its_partition_stopped_is_not_processed_then() -> None:
    processed: list[int] = []

    async def process(records: Sequence[Record], gate: Gate) -> list[Answer]:
        processed.extend(record.position.offset for record in records)
        return await at_once(records, gate)

    async with bench(process) as at:
        at.publisher.refused = {0}
        at.publisher.open.clear()
        await at.offer(record(0), record(10, 1))
        await until(lambda: at.publisher.asked)
        await at.offer(record(1), record(11, 1))
        await at.offer(record(2), record(12, 1))
        await until(lambda: at.rooms.understood[-1] == 12)
        at.publisher.open.set()
        await until(lambda: {1: 13} in at.intake.committed)
        at.publisher.refused = set()
    assert processed == [0, 10, 1, 11, 12]


@pytest.mark.usefixtures("eager")
async def test_where_someone_died_and_at_the_begin_of_a_partition_no_record_is_touched_in_advance() -> None:
    async with bench() as at:
        at.rooms.died = {("t", 0): (1, 1)}
        at.publisher.open.clear()
        await at.offer(record(0), record(1))
        await until(lambda: at.publisher.asked)
        await at.offer(record(2))
        await until(lambda: not at.worker._gathered)
        await at.offer(record(3))
        assert at.rooms.understood == [0]
        at.publisher.open.set()
        await until(lambda: {0: 4} in at.intake.committed)
    assert at.rooms.understood == [0, 1, 2, 3]


@pytest.mark.parametrize("where", ["publisher", "rooms"])
async def test_an_unforeseen_error_stops_for_good_after_what_can_still_be_published(where: str) -> None:
    async def process(records: Sequence[Record], gate: Gate) -> list[Answer]:
        if where == "rooms" and records[0].position.offset == 1:
            raise KeyError("Ada Example")
        return await at_once(records, gate)

    async def publish(records: Sequence[Outgoing], *, probe: bool = False) -> dict[Outgoing, str]:
        raise KeyError("Ada Example")

    async with bench(process) as at:
        if where == "publisher":
            at.publisher.publish = publish  # type: ignore[method-assign]
        at.publisher.open.clear()
        await at.offer(record(0))
        await at.offer(record(1))
        await until(lambda: "worker" in at.health.missing)
        at.publisher.open.set()
        await until(lambda: where == "publisher" or bool(at.intake.committed))
        await at.offer(record(2))
    assert at.health.missing["worker"].startswith("stopped: unexpected KeyError; ")
    assert at.intake.committed == ([{0: 1}] if where == "rooms" else [])


@pytest.mark.rule("R6.76")
@pytest.mark.parametrize(
    ("error", "told"), [(Fatal("50 in a row"), "50 in a row"), (KeyError("Ada Example"), "unexpected KeyError")]
)
async def test_what_must_not_go_on_stops_for_good_and_says_so_without_data(error: Exception, told: str) -> None:
    async def process(records: Sequence[Record], gate: Gate) -> list[Answer]:
        raise error

    async with bench(process) as at:
        await at.offer(record(0))
        await until(lambda: not at.health.ready)
        await at.offer(record(1))
    assert at.health.missing["worker"].startswith(f"stopped: {told}; ")
    assert "Ada" not in str(at.health.missing)
    assert (at.publisher.published, at.intake.committed) == ([], [])


@pytest.mark.rule("R6.59")
async def test_a_commit_that_is_refused_leaves_the_worker_at_work() -> None:
    async with bench() as at:
        at.intake.refuse_commit = True
        await at.offer(record(0))
        await until(lambda: at.intake.refused)
        at.intake.refuse_commit = False
        await at.offer(record(1))
        await until(lambda: at.intake.committed)
    assert at.intake.committed == [{0: 2}]


@pytest.mark.rule("R6.77")
@pytest.mark.usefixtures("eager")
async def test_while_a_batch_takes_long_the_group_is_told_that_this_member_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "KEEP_ALIVE_SECONDS", 0.005)
    async with bench(batch_max_records=1) as at:
        at.publisher.open.clear()
        await at.offer(record(0))
        await until(lambda: at.publisher.asked)
        await at.offer(record(1))
        for offset in (2, 3):
            await until(lambda: not at.worker._gathered)
            await at.offer(record(offset))
        waiting = asyncio.create_task(at.offer(record(4)))
        await until(lambda: at.intake.kept_alive > 2)
        assert not waiting.done()
        at.publisher.open.set()
        await waiting
        await until(lambda: len(at.intake.committed) == 5)


def test_records_are_split_by_their_bytes_in_order_and_a_larger_one_is_a_part_of_its_own() -> None:
    small, large = [record(n, value=b"x" * 39) for n in range(3)], record(3, value=b"x" * 500)
    assert [part for part, _ in _split([*small, large, small[0]], 100)] == [small[:2], small[2:], [large], [small[0]]]
    assert [size for _, size in _split([*small, large, small[0]], 100)] == [80, 40, 501, 40]
    assert list(_split(small, 120)) == [(small, 120)]


def noting(batches: list[list[int]]) -> Callable[[Sequence[Record], Gate], Awaitable[list[Answer]]]:
    async def process(records: Sequence[Record], gate: Gate) -> list[Answer]:
        batches.append([record.position.offset for record in records])
        return await at_once(records, gate)

    return process


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [[0], [1], [2, 3, 4]]),
        ({"batch_max_records": 2}, [[0], [1], [2, 3], [4]]),
        ({"batch_max_bytes": 1024}, [[0], [1], [2, 3], [4]]),
    ],
)
async def test_what_comes_one_by_one_while_a_batch_is_in_hand_gathers_to_one_within_the_limits(
    settings: dict[str, int], expected: list[list[int]]
) -> None:
    batches: list[list[int]] = []
    async with bench(noting(batches), **settings) as at:
        await at.busy()
        more = asyncio.gather(*(at.offer(record(offset, value=b"v" * 400)) for offset in (2, 3, 4)))
        await until(lambda: len(at.worker._gathered) == len(expected[2]))
        assert at.rooms.understood == [0, 1]
        at.publisher.open.set()
        await more
        await until(lambda: {0: 5} in at.intake.committed)
    assert batches == expected


@pytest.mark.parametrize("what", ["epoch", "stops"])
async def test_what_was_fetched_in_different_times_does_not_gather_to_one_batch(what: str) -> None:
    batches: list[list[int]] = []
    async with bench(noting(batches)) as at:
        await at.busy()
        await at.offer(record(2))
        setattr(at.intake, what, getattr(at.intake, what) + 1)
        await at.offer(record(3))
        await at.offer(record(4))
        at.publisher.open.set()
        await until(lambda: [3, 4] in batches)
    assert batches == [[0], [1], *([[2]] if what == "stops" else []), [3, 4]]


async def test_much_is_understood_while_another_batch_is_in_hand() -> None:
    async with bench() as at:
        await at.busy()
        await at.offer(*(record(offset) for offset in range(2, module.MUCH + 1)))
        await at.offer(record(module.MUCH + 1))
        await until(lambda: at.rooms.understood[-1] == module.MUCH + 1)
        assert at.publisher.published == []


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    ("partition", "settings", "expected"),
    [
        (0, {}, [[0], [1], [2, 3, 4, 5]]),
        (0, {"batch_max_records": 3}, [[0], [1], [2, 3, 4], [5]]),
        (1, {}, [[0], [1], [2, 3, 4, 5]]),  # whose first batch has yet to be noted
    ],
)
async def test_what_comes_after_a_batch_was_understood_in_advance_still_joins_it(
    partition: int, settings: dict[str, int], expected: list[list[int]]
) -> None:
    batches: list[list[int]] = []
    async with bench(noting(batches), **settings) as at:
        await at.busy()
        await at.offer(record(2), record(3))
        await until(lambda: at.rooms.understood == [0, 1, 2, 3])
        await at.offer(record(4, partition))
        await at.offer(record(5, partition))
        assert at.rooms.understood == [0, 1, 2, 3]
        at.publisher.open.set()
        await until(lambda: any(places.get(partition) == 6 for places in at.intake.committed))
    assert batches == expected
    begun = [next(iter(found)) for what, found in at.rooms.noted if what == "begun"]
    assert begun == [("t", 0), ("t", 1)][: partition + 1]
    assert at.rooms.too_early == []


@pytest.mark.rule("R6.85")
async def test_as_long_as_nothing_dies_each_assignment_is_noted_once_and_nothing_else() -> None:
    async with bench() as at:
        for offset in range(0, 30, 3):
            await at.offer(*(record(offset + n, partition) for n in range(3) for partition in (0, 1)))
        await until(lambda: len(at.publisher.published) == 60)
        await at.worker.revoked()
        assert at.rooms.noted == [("begun", {("t", 0): (0, 2), ("t", 1): (0, 2)}), ("over", [("t", 0), ("t", 1)])]
        await at.offer(record(30))
        await until(lambda: len(at.publisher.published) == 61)
        assert at.rooms.noted[2:] == [("begun", {("t", 0): (30, 30)})]


@pytest.mark.rule("R6.86")
async def test_where_the_last_assignment_died_records_are_noted_and_processed_one_by_one_and_the_others_first() -> None:
    batches: list[list[tuple[int, int]]] = []

    async def process(records: Sequence[Record], gate: Gate) -> list[Answer]:
        batches.append([(record.position.partition, record.position.offset) for record in records])
        return await at_once(records, gate)

    async with bench(process) as at:
        at.rooms.died = {("t", 0): (1, 6)}
        await at.offer(*(record(offset, partition) for offset in range(5, 9) for partition in (0, 1)))
        await until(lambda: len(at.publisher.published) == 8)
        assert batches == [[(1, 5), (1, 6), (1, 7), (1, 8)], [(0, 5)], [(0, 6)], [(0, 7), (0, 8)]]
        assert at.rooms.noted[1:] == [
            ("touching", 0, 5),
            ("touching", 0, None),
            ("touching", 0, 6),
            ("touching", 0, None),
        ]
        assert at.intake.committed == [{1: 9}, {0: 6}, {0: 7}, {0: 9}]
        await at.offer(record(9))
        await until(lambda: len(at.publisher.published) == 9)
        assert len(at.rooms.noted) == 5


@pytest.mark.rule("R6.87")
async def test_a_record_on_which_three_died_is_given_up_without_being_processed() -> None:
    processed: list[int] = []

    async def process(records: Sequence[Record], gate: Gate) -> list[Answer]:
        processed.extend(record.position.offset for record in records)
        return await at_once(records, gate)

    async with bench(process) as at:
        at.rooms.died = {("t", 0): (3, 5)}
        await at.offer(record(5), record(6))
        await until(lambda: len(at.publisher.published) == 2)
        assert processed == [6]
        assert at.rooms.noted[1:] == [("given up", 5)]
        assert at.intake.committed == [{0: 6}, {0: 7}]


@pytest.mark.rule("R6.86")
async def test_a_search_is_broken_off_when_the_partitions_are_taken_away() -> None:
    seen: list[int] = []
    go_on = asyncio.Event()

    async def process(records: Sequence[Record], gate: Gate) -> list[Answer]:
        seen.extend(record.position.offset for record in records)
        await go_on.wait()
        return await at_once(records, gate)

    async with bench(process) as at:
        at.rooms.died = {("t", 0): (2, 9)}
        await at.offer(record(5), record(6))
        await until(lambda: seen)
        await at.worker.revoked()
        go_on.set()
        at.rooms.died = {}
        await at.offer(record(5), record(6))
        await until(lambda: len(at.publisher.published) == 2)
    assert seen == [5, 5, 6]
    assert ("touching", 0, None) not in at.rooms.noted


@pytest.mark.rule("R6.87")
async def test_a_record_counts_as_survived_once_it_has_its_effect_although_its_answer_cannot_be_published() -> None:
    async with bench() as at:
        at.rooms.died = {("t", 0): (2, 5)}
        at.publisher.refused = {5}
        await at.offer(record(5))
        await until(lambda: not at.health.ready)
        assert at.rooms.noted[1:] == [("touching", 0, 5), ("touching", 0, None)]


@pytest.mark.rule("R6.86")
async def test_an_end_in_order_that_could_not_be_noted_is_noted_before_the_next_assignment_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "OVER_LIMIT", 0.01)
    async with bench() as at:
        await at.offer(record(0))
        await until(lambda: at.intake.committed)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(at.rooms, "over", never)
            await at.worker.revoked()
        await at.offer(record(1))
        await until(lambda: len(at.intake.committed) == 2)
        assert at.rooms.noted[1:] == [("over", [("t", 0)]), ("begun", {("t", 0): (1, 1)})]


async def never(_partitions: Collection[tuple[str, int]]) -> None:
    """The database is away."""
    await asyncio.Event().wait()
