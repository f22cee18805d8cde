"""A world for the worker: the real rooms between a Kafka and a Postgres in memory, where every call waits to be served.

Time is virtual and nothing runs unless it is told to, so that calls can be served, lost, reordered between workers and
cut off by crashes and rebalances in any order. `World.history` is judged by the checker of the fault tests.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Final

from aiokafka.errors import CommitFailedError, RequestTimedOutError
from pydantic import SecretStr

from app.consumer.publisher import Outgoing
from app.consumer.worker import Worker
from app.errors import Conflict, Transient
from app.model import Answer, Known, Record, Request, Writes
from app.pipeline import Gate, Pipeline
from app.settings import Settings
from app.telemetry import Health, Metrics
from tests.faults.checker import History, Published, Requested
from tests.support import BODY
from tests.unit.making import EVENT, MADE_MS, NOW, TOPIC, after, record, with_headers

PARTITIONS: Final = 3
BATCH: Final = 4
SETTINGS: Final = Settings(
    kafka_bootstrap_servers="unused:9092", database_url=SecretStr("postgresql://unused"), batch_max_records=BATCH
)
METRICS: Final = Metrics()
WAIT: Final = object()
"""What a call gives that cannot be served yet: someone else holds the rows."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time goes on only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def settle(self) -> None:
        """Run until everything waits for a call or for time."""
        while self._ready:  # type: ignore[attr-defined]
            self.call_soon(self.stop)
            self.run_forever()

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        self.now += seconds
        self.call_soon(self.stop)
        self.run_forever()
        self.settle()


@dataclass(eq=False)
class Call:
    """A call to a server. `perform` has its effect; without `orphan`, one that its caller gave up never has."""

    name: str
    owner: Member
    perform: Callable[..., Any]
    orphan: bool
    future: asyncio.Future[Any]
    dropped: Callable[[], None] = lambda: None


class Database:
    """Rows, and who holds which until the end of a transaction."""

    def __init__(self) -> None:
        self.known = Known()
        self.claims: dict[Any, Transaction] = {}


@dataclass(eq=False)
class Transaction:
    """One transaction: it reads what is committed, and what it writes is claimed until its end."""

    member: Member
    lock: bool
    staged: Writes = field(default_factory=Writes)
    committing: bool = False
    guarded: ClassVar[bool] = True
    """Whether rows are compared with what was read; tests of the test take it away."""

    @property
    def database(self) -> Database:
        return self.member.world.database

    async def read(self, keys: Collection[bytes], customers: Collection[str]) -> Known:
        def perform() -> Any:
            held = self.database.known
            if self.lock and not self._claim([name for name in customers if name in held.customers]):
                return WAIT
            return Known(
                {key: held.answers[key] for key in keys if key in held.answers},
                {name: held.customers[name] for name in customers if name in held.customers},
                {name: held.patients[name] for name in customers if name in held.patients},
            )

        return await self.member.call("read", perform)  # type: ignore[no-any-return]

    async def write(self, writes: Writes) -> None:
        def perform() -> Any:
            rows = (*writes.new, *writes.changed)
            if not self._claim([*(row.customer for row, _ in rows), *(answer.key for answer in writes.answers)]):
                return WAIT
            held = self.database.known
            taken = any(row.customer in held.customers for row, _ in writes.new)
            moved = any(held.customers[row.customer].version != row.version - 1 for row, _ in writes.changed)
            if not self.guarded:
                taken = moved = False
            if taken or moved or any(answer.key in held.answers for answer in writes.answers):
                raise Conflict("a row has moved")
            self.staged = writes
            return None

        await self.member.call("write", perform)

    async def commit(self) -> None:
        self.committing = True

        def perform() -> None:
            self.database.known = after(self.database.known, self.staged)
            self.release()

        await self.member.call("commit", perform, orphan=True, dropped=self.release)
        self.committing = False

    def _claim(self, keys: Sequence[Any]) -> bool:
        claims = self.database.claims
        if any(claims.get(key, self) is not self for key in keys):
            return False
        claims.update(dict.fromkeys(keys, self))
        return True

    def release(self) -> None:
        """Roll back, or end after a commit."""
        self.database.claims = {key: owner for key, owner in self.database.claims.items() if owner is not self}


@dataclass(eq=False)
class Member:
    """One worker process, and at once its connections: to the database, as a producer and as a consumer."""

    world: World
    number: int
    worker: Worker = field(init=False)
    task: asyncio.Task[None] = field(init=False)
    offering: asyncio.Task[None] | None = None
    frozen: bool = False
    dead: bool = False
    generation: int = -1
    positions: dict[int, int] = field(default_factory=dict)
    paused: set[int] = field(default_factory=set)
    # what the worker sees of its consumer
    epoch: int = 0
    fetched_in: int = 0
    stops: int = 0
    fetched_after: int = 0

    def __post_init__(self) -> None:
        ids = (f"pat_{self.number}_{count}" for count in range(10**6))
        clock = lambda: NOW + timedelta(seconds=self.world.loop.now)  # noqa: E731
        self.pipeline = Pipeline(self, SETTINGS, Health(), METRICS, clock=clock, new_patient_id=lambda: next(ids))
        self.worker = Worker(SETTINGS, self, self, Health(), METRICS, self)  # type: ignore[arg-type]
        self.task = self.world.loop.create_task(self.worker.run())

    async def call(
        self, name: str, perform: Callable[[], Any], *, orphan: bool = False, dropped: Callable[[], None] = lambda: None
    ) -> Any:
        """Ask a server and wait until the world serves the call."""
        call = Call(name, self, perform, orphan, self.world.loop.create_future(), dropped)
        self.world.calls.append(call)
        try:
            return await call.future
        finally:
            if call in self.world.calls:  # given up by its caller; the server may have it all the same
                self.world.calls.remove(call)
                if orphan:
                    self.world.orphans.append(call)
                else:
                    dropped()

    # the rooms

    async def understand(self, records: Sequence[Record]) -> list[Request]:
        await self.pipeline.until_there(lambda: self.call("understand", lambda: None), "understanding")
        return await self.pipeline.understand(records)

    async def apply(self, requests: Sequence[Request], gate: Gate) -> list[Answer]:
        return await self.pipeline.apply(requests, gate)

    def give_up(self, record: Record) -> Answer:
        return self.pipeline.give_up(record)

    async def begun(self, begins: Mapping[Any, tuple[int, int]]) -> dict[Any, tuple[int, int]]:
        return {partition: (0, last) for partition, (_, last) in begins.items()}

    async def touching(self, partition: Any, offset: int | None) -> None: ...

    async def over(self, partitions: Collection[Any]) -> None: ...

    # the store

    async def owners(self, patients: Collection[str]) -> dict[str, str]:
        return {}

    @asynccontextmanager
    async def transaction(self, *, lock: bool = False, single: bool = False) -> AsyncIterator[Transaction]:
        transaction = Transaction(self, lock)
        try:
            yield transaction
        finally:
            if not transaction.committing:  # else the server decides
                transaction.release()

    # the producer

    async def publish(self, records: Sequence[Outgoing], *, probe: bool = False) -> dict[Outgoing, str]:
        def perform(number: int = len(records)) -> int:
            self.world.append(records[:number])
            return number

        acknowledged = await self.call("publish", perform, orphan=True) if records else 0
        return dict.fromkeys(records[acknowledged:], "kafka: no acknowledgement in time")

    # the consumer

    async def commit(self, offsets: Mapping[Any, int]) -> None:
        def perform() -> None:
            if self.generation != self.world.generation:
                raise CommitFailedError
            self.world.committed |= {partition.partition: offset for partition, offset in offsets.items()}

        await self.call("offsets", perform, orphan=True)

    async def keep_alive(self) -> None: ...

    def be_patient(self, patient: bool) -> None: ...

    def pause(self, partition: Any) -> None:
        self.paused.add(partition.partition)

    def resume(self, partition: Any) -> None:
        self.paused.discard(partition.partition)

    def rewind(self, partition: Any, offset: int) -> None:
        self.positions[partition.partition] = offset

    def forget(self) -> None:
        self.epoch += 1
        self.positions.clear()

    def poll(self) -> None:
        """Fetch what follows, as the subscriber does when it has handed over what it had."""
        if self.offering is not None and not self.offering.done():
            return
        found: list[Record] = []
        for partition, position in self.positions.items():
            if partition not in self.paused:
                more = self.world.log[partition][position : position + BATCH - len(found)]
                self.positions[partition] += len(more)
                found += more
        if found:
            self.fetched_in, self.fetched_after = self.epoch, self.stops
            self.offering = self.world.loop.create_task(self._hand_over(found))

    async def _hand_over(self, found: list[Record]) -> None:
        await self.call("hand over", lambda: None)  # the subscriber is between the two, and anything may happen
        await self.worker.offer(found)


class World:
    """The servers, the members of the group, and everything that happened."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        asyncio.set_event_loop(self.loop)
        self.database = Database()
        self.log: list[list[Record]] = [[] for _ in range(PARTITIONS)]
        self.requests: list[Requested] = []
        self.answers: list[Published] = []
        self.committed: dict[int, int] = {}
        self.generation = 0
        self.revoking: dict[Member, asyncio.Task[None]] | None = None
        self.members: list[Member] = []
        self.calls: list[Call] = []
        self.orphans: list[Call] = []
        self.started = 0
        self.steps = 0

    # what upstream does

    def produce(
        self,
        partition: int,
        customer: int,
        id: int,
        content: int,
        *,
        silent: Collection[str] = (),
        ago: int | None = None,
        valid: bool = True,
    ) -> None:
        """Publish a request; an id belongs to its customer.

        It says nothing of the `silent` fields, and `ago` gives it an event time so many seconds back.
        """
        offset, number = len(self.log[partition]), len(self.requests)
        timestamp, name, source = MADE_MS + 1000 * number, f"cus_{customer}", "/upstream"
        event_time = None if ago is None else timestamp - 1000 * ago
        told = {
            "city": f"City {content}" if valid else "",
            "address2": f"{content}",
            "email": f"{content}@clinic.local",
        }
        data = {name: value for name, value in {**BODY, **told}.items() if name not in silent}
        time = None if ago is None else f"{_iso(timestamp - 1000 * ago)}".encode()
        headers = with_headers(EVENT, ce_id=f"{name}-{id}".encode(), ce_source=source.encode(), ce_time=time)
        value = json.dumps(data).encode()
        made = record(value, headers, key=name.encode(), offset=offset, partition=partition, timestamp=timestamp)
        self.log[partition].append(made)
        self.requests.append(
            Requested(
                place=(partition, offset),
                timestamp=timestamp,
                key=made.key,
                value=value,
                headers=headers,
                source=source,
                id=f"{name}-{id}",
                customer=name,
                data=data,
                meant="applied" if valid else "refused",
                event_time=event_time,
            )
        )

    def append(self, records: Sequence[Outgoing]) -> None:
        """Answers, as they lie in their topics."""
        for given in records:
            number = len(self.answers)
            headers = tuple(given.headers)
            self.answers.append(Published(given.topic, 0, number, number, given.key, given.value, headers))

    # what servers and machines do

    def serve(self, call: Call, how: str, cut: int = 0) -> None:
        """Answer a call: `ok`; `lost`, performed and nobody told; `refused`, not performed; `part`, the first `cut`."""
        if how != "refused":
            try:
                result = call.perform(cut) if call.name == "publish" and how == "part" else call.perform()
            except (Conflict, CommitFailedError) as error:
                self._done(call, error)
                return
            if result is WAIT:
                return
        if how == "ok":
            self._done(call, result)
        elif call.name == "publish":
            self._done(call, cut if how == "part" else 0)
        elif call.name == "offsets":
            self._done(call, RequestTimedOutError())
        else:
            if how == "refused":
                call.dropped()
            self._done(call, Transient("postgres: away"))

    def _done(self, call: Call, result: Any) -> None:
        self.calls.remove(call)
        if isinstance(result, Exception):
            call.future.set_exception(result)
        else:
            call.future.set_result(result)
        self.settle()

    def land(self, call: Call, *, performed: bool) -> None:
        """What a caller has given up reaches its server after all, or never."""
        self.orphans.remove(call)
        if not performed:
            call.dropped()
            return
        with suppress(CommitFailedError):
            call.perform()

    def start(self) -> None:
        """One more process."""
        self.members.append(Member(self, self.started))
        self.started += 1
        self.settle()

    def crash(self, member: Member) -> None:
        """Nothing of this process goes on; what it had sent may yet arrive."""
        member.dead = True
        self.members.remove(member)
        if self.revoking is not None:
            self.revoking.pop(member, None)
        tasks = [member.task, member.offering, *member.worker._mending.values()]
        if (hand := member.worker._in_hand) is not None:
            tasks.append(hand.task)
        for task in tasks:
            if task is not None:
                task.cancel()
        self.settle()
        for call in [call for call in self.calls if call.owner is member]:
            call.future.cancel()
        self.settle()

    def rebalance(self) -> None:
        """The coordinator asks all members that are awake to give up their partitions."""
        if self.revoking is None:
            awake = [member for member in self.members if not member.frozen]
            self.revoking = {member: self.loop.create_task(member.worker.revoked()) for member in awake}
            self.settle()

    def settle(self) -> None:
        """Run what can run, and end a rebalance in which everyone has let go."""
        self.loop.settle()
        if self.revoking is not None and all(task.done() for task in self.revoking.values()):
            members = list(self.revoking)
            self.revoking = None
            self.generation += 1
            for number, member in enumerate(members):
                mine = range(number, PARTITIONS, len(members))
                # another order each time, so that partitions wander
                member.positions = {(n + self.generation) % PARTITIONS: 0 for n in mine}
                member.positions = {n: self.committed.get(n, 0) for n in member.positions}
                member.paused.clear()
                member.generation = self.generation
            self.loop.settle()

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        self.loop.advance(seconds)
        self.settle()

    # the end

    def heal(self, *, orderly: bool) -> None:
        """All faults are over and every call is served; unless it is `orderly`, by one process that takes over."""
        for call in list(self.orphans):
            self.land(call, performed=False)
        if not orderly:
            for member in list(self.members):
                self.crash(member)
            for call in list(self.orphans):
                self.land(call, performed=False)
            self.start()
            self.rebalance()
        for _ in range(5000):
            if self.calls:
                for call in list(self.calls):  # one of them may wait for rows that another holds
                    if call in self.calls:
                        self.serve(call, "ok")
                continue
            for member in self.members:
                member.poll()
            self.settle()
            if self.calls:
                continue
            if all(self.committed.get(n, 0) == len(log) for n, log in enumerate(self.log)):
                return
            self.advance(1)

    def close(self) -> None:
        """Forget everything."""
        for member in list(self.members):
            self.crash(member)
        self.loop.close()

    @property
    def history(self) -> History:
        """All that was asked, and what there is."""
        known = self.database.known
        return History(
            topic=TOPIC,
            requests=self.requests,
            answers=[answer for answer in self.answers if not answer.topic.endswith(".dlq")],
            letters=[answer for answer in self.answers if answer.topic.endswith(".dlq")],
            customers=[_row(row) for row in known.customers.values()],
            patients=[_row(row) | {"version": known.customers[name].version} for name, row in known.patients.items()],
            stored=[
                {
                    **_row(row),
                    "record_topic": row.position.topic,
                    "record_partition": row.position.partition,
                    "record_offset": row.position.offset,
                }
                for row in known.answers.values()
            ],
            log=(),
            canaries=(),
        )


def _row(row: Any) -> dict[str, Any]:
    return dict(zip(row._fields, row, strict=True))


def _iso(milliseconds: int) -> str:
    return (NOW + timedelta(milliseconds=milliseconds - int(NOW.timestamp() * 1000))).isoformat()
