"""A store in memory: what the pipeline needs of a database, with faults on demand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from app.authorise import make_callers
from app.errors import Abandoned, Conflict, DataFault
from app.model import Known, Record, Writes
from app.pipeline import Pipeline
from app.settings import Settings
from app.telemetry import Health, Metrics
from tests.support import body
from tests.unit.making import EVENT, NOW, after, record, with_headers


@dataclass
class Memory:
    """Holds rows and answers. `raises` gives, by what is called, the errors of its next calls; None is none."""

    known: Known = field(default_factory=Known)
    poison: set[str] = field(default_factory=set)
    """Ids of requests of which the database takes no answer."""
    raises: dict[str, list[Exception | None]] = field(default_factory=dict)
    meanwhile: list[Callable[[], None]] = field(default_factory=list)
    """What others do, one at a time, between a read and the write that follows."""
    locks: list[bool] = field(default_factory=list)
    read: list[tuple[set[bytes], set[str]]] = field(default_factory=list)
    looked_up: list[list[str]] = field(default_factory=list)
    committed: list[list[str]] = field(default_factory=list)
    """The ids of the requests of each commit."""

    def fail(self, what: str) -> None:
        waiting = self.raises.get(what)
        if waiting and (error := waiting.pop(0)) is not None:
            raise error

    async def owners(self, patients: Collection[str]) -> dict[str, str]:
        """The customers of these patients."""
        self.fail("owners")
        self.looked_up.append(list(patients))
        if any("\0" in patient or not patient.isprintable() for patient in patients):
            raise DataFault("postgres: SQLSTATE 22021")
        owned = {row.patient: row.customer for row in self.known.patients.values()}
        return {patient: owned[patient] for patient in patients if patient in owned}

    @asynccontextmanager
    async def transaction(self, *, lock: bool = False, single: bool = False) -> AsyncIterator[MemoryTransaction]:
        """A transaction; what is not committed is forgotten."""
        self.fail("begin")
        self.locks.append(lock)
        yield MemoryTransaction(self)


@dataclass
class MemoryTransaction:
    """One transaction of a `Memory`."""

    memory: Memory
    staged: Writes = field(default_factory=Writes)

    async def read(self, keys: Collection[bytes], customers: Collection[str]) -> Known:
        """What is stored under these keys and for these customers."""
        self.memory.fail("read")
        self.memory.read.append((set(keys), set(customers)))
        held = self.memory.known
        known = Known(
            {key: answer for key, answer in held.answers.items() if key in keys},
            {name: row for name, row in held.customers.items() if name in customers},
            {name: row for name, row in held.patients.items() if name in customers},
        )
        if self.memory.meanwhile:
            self.memory.meanwhile.pop(0)()
        return known

    async def write(self, writes: Writes) -> None:
        """Stage these, with the checks of the real store."""
        self.memory.fail("write")
        if self.memory.poison & {answer.id for answer in writes.answers}:
            raise DataFault("postgres: SQLSTATE 23514")
        held = self.memory.known
        taken = [row for row, _ in writes.new if row.customer in held.customers]
        moved = [row for row, _ in writes.changed if held.customers[row.customer].version != row.version - 1]
        if taken or moved or any(answer.key in held.answers for answer in writes.answers):
            raise Conflict("a row has moved")
        self.staged = writes

    async def commit(self) -> None:
        """Make it last; an error under `committed` comes only when it has."""
        self.memory.fail("commit")
        self.memory.known = after(self.memory.known, self.staged)
        self.memory.committed.append([answer.id for answer in in_offset_order(self.staged)])
        self.memory.fail("committed")


def in_offset_order(writes: Writes) -> list[Any]:
    """The answers as the requests lay."""
    return sorted(writes.answers, key=lambda answer: answer.position.offset)


@dataclass
class Passes:
    """A gate that counts; it closes after so many passes."""

    closes_after: int | None = None
    passed: int = 0

    def pass_to_commit(self) -> None:
        """See `Gate`."""
        if self.passed == self.closes_after:
            raise Abandoned("the partitions were given away")
        self.passed += 1


def pipeline(memory: Memory, **changes: Any) -> Pipeline:
    """A pipeline on that store with a fixed clock; `changes` are those of its settings."""
    settings = Settings(kafka_bootstrap_servers="unused:9092", database_url=SecretStr("postgresql://unused"), **changes)
    numbers, health = iter(range(1, 1000)), Health()
    return Pipeline(
        memory,
        settings,
        health,
        Metrics(),
        clock=lambda: NOW,
        new_patient_id=lambda: f"pat_new{next(numbers)}",
        callers=make_callers(settings, health),
    )


def events(*ids: str, customer: str | None = None, **changes: Any) -> list[Record]:
    """CloudEvents of these ids at following offsets, each for a customer of its own unless one is given."""
    return [
        record(
            body(**changes),
            with_headers(EVENT, ce_id=id.encode()),
            key=(customer or f"cus_{id}").encode(),
            offset=100 + number,
        )
        for number, id in enumerate(ids)
    ]


def moved(memory: Memory, name: str) -> Callable[[], None]:
    """Someone else raises the version of this customer."""

    def move() -> None:
        row = memory.known.customers[name]
        memory.known.customers[name] = row._replace(version=row.version + 1, first_name="Moved")

    return move
