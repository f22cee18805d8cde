"""The pipeline: one batch through the rooms, from records to answers that are committed and may be published."""

from __future__ import annotations

import asyncio
import os
import re
import time
import traceback
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Final, Protocol, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from app.authorise import Caller, Callers, Everyone
from app.compiled import part
from app.envelope import is_identifier, open_envelope
from app.errors import Conflict, DataFault, ErrorCode, Fatal, Fault, FaultCode, Refusal, Transient
from app.model import Answer, Envelope, Known, Position, Record, Request, Writes
from app.plan import Rules, plan
from app.response import refused
from app.settings import Settings
from app.telemetry import Health, Metrics, log
from app.understand import understand
from app.usual import Usual

MAX_FAILURES_IN_A_ROW: Final = 50
"""So many requests that the database refuses, with none between that it takes, are a bad deploy and not bad data."""
CONFLICTS_BEFORE_LOCKING: Final = 2
LONGEST_WAIT: Final = 5.0
_NEXT: Final = "next batch"
"""What waits to be understood, beside the batch that is with the database."""

TURN: Final = 60 if part is not None else 20
"""Records that are understood before the batch that is with the database has its turn: it is not to wait for these."""
_FAILED = Refusal(ErrorCode.INTERNAL_ERROR, (Fault("", FaultCode.FAILED),))

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Transaction(Protocol):
    """What the pipeline needs of `store.Transaction`."""

    async def read(self, keys: Collection[bytes], customers: Collection[str]) -> Known: ...
    async def write(self, writes: Writes) -> None: ...
    async def commit(self) -> None: ...


class Store(Protocol):
    """What the pipeline needs of `store.Store`."""

    async def owners(self, patients: Collection[str]) -> dict[str, str]: ...
    def transaction(self, *, lock: bool = False, single: bool = False) -> AbstractAsyncContextManager[Transaction]: ...


class Gate(Protocol):
    """Passed right before COMMIT; raises `Abandoned` when the partitions have been given away."""

    def pass_to_commit(self) -> None: ...


@dataclass(slots=True)
class Pipeline:
    """Processes batches, one after the other.

    `clock` gives the time in UTC. The store's errors are waited out here, so `process` returns with every answer, or
    raises `Abandoned` or `Fatal`.
    """

    store: Store
    settings: Settings
    health: Health
    metrics: Metrics
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    new_patient_id: Callable[[], str] = lambda: f"pat_{uuid7()}"
    callers: Callers = field(default_factory=Everyone)
    failures_in_a_row: int = 0
    _usual: Usual = field(init=False)

    def __post_init__(self) -> None:
        self._usual = Usual(self.settings)

    async def process(self, records: Sequence[Record], gate: Gate) -> list[Answer]:
        """`apply` what is understood of these records."""
        return await self.apply(await self.understand(records), gate)

    async def understand(self, records: Sequence[Record]) -> list[Request]:
        """What these records ask for, in their order; may run while `apply` is at work on those before them.

        Raises:
            Fatal: nothing can be understood.
        """
        with self.metrics.stage("understand"):
            received = self._now()
            callers = await self.until_there(lambda: self.callers.of(records), _NEXT)

            def at_once(at: int) -> Request | Envelope | None:
                return self._usual.request(records[at], callers[at], received)

            found = await _in_turns(at_once, range(len(records)))
            opened = {at: (records[at], one) for at, one in enumerate(found) if not isinstance(one, Request)}
            closer = await self._look_closer(opened, callers, received)
            requests = [one if isinstance(one, Request) else closer[at] for at, one in enumerate(found)]
        self.metrics.key_differs.inc(sum(request.key_differs for request in requests))
        return requests

    async def _look_closer(
        self,
        records: Mapping[int, tuple[Record, Envelope | None]],
        callers: Sequence[Caller | None],
        received: datetime,
    ) -> dict[int, Request]:
        """What these records, by their places, ask for, room by room. Some have been opened."""
        envelopes = await _in_turns(self._open, list(records.values()))
        owners = await self._owners(envelopes)
        pattern = re.compile(self.settings.customer_pattern)

        def understand_one(given: tuple[int, Envelope]) -> Request:
            at, envelope = given
            owner = owners.get(envelope.patient) if envelope.patient else None
            faulty = records[at][1] is not None  # opened already, since one of its fields is at fault
            return self._understand(envelope, owner, callers[at], pattern, received, faulty=faulty)

        requests = await _in_turns(understand_one, list(zip(records, envelopes, strict=True)))
        return dict(zip(records, requests, strict=True))

    async def apply(self, requests: Sequence[Request], gate: Gate) -> list[Answer]:
        """Answer these requests, in their order; each answer's effect is committed.

        Raises:
            Abandoned: the partitions were given away before the first commit.
            Fatal: the database refuses everything.
        """
        answers = await self._apply(requests, gate)
        self.metrics.decided(answers)
        return answers

    def give_up(self, record: Record) -> Answer:
        """The answer to a record that no process survives: nothing but its place is looked at. Raises Fatal."""
        self._count_failure(record.position, DataFault("every process that touched it was killed"))
        answer = refused(_without_identity(Envelope(record, record.position), self._now()), _FAILED, now=self._now())
        self.metrics.decided([answer])
        return answer

    def _open(self, given: tuple[Record, Envelope | None]) -> Envelope:
        record, envelope = given
        try:
            return envelope or open_envelope(
                record, customer_from_key=self.settings.customer_from_key, usual=not self._usual.looks
            )
        except Exception as error:  # noqa: BLE001 - a fault of ours in one record must not stop the others
            self._count_failure(record.position, _unexpected(error))
            return Envelope(record, record.position, refusal=_FAILED)

    async def _owners(self, envelopes: Sequence[Envelope]) -> dict[str, str]:
        """The customers of patients that come without one: only these requests need to ask for them.

        What can be no id is not asked for: the database may refuse it, and with it the others.
        """
        patients = {envelope.patient for envelope in envelopes if envelope.patient and not envelope.named_customer}
        patients = {patient for patient in patients if is_identifier(patient)}
        if not patients:
            return {}
        return await self.until_there(lambda: self.store.owners(sorted(patients)), _NEXT)

    def _understand(
        self,
        envelope: Envelope,
        owner: str | None,
        caller: Caller | None,
        pattern: re.Pattern[str],
        received: datetime,
        *,
        faulty: bool,
    ) -> Request:
        try:
            return understand(envelope, owner, received=received, pattern=pattern, caller=caller, faulty=faulty)
        except Exception as error:  # noqa: BLE001 - as above
            self._count_failure(envelope.position, _unexpected(error))
            return _without_identity(envelope, received)

    async def _apply(self, requests: Sequence[Request], gate: Gate) -> list[Answer]:
        """Plan and commit these requests together, or in halves when the database cannot take one of them."""
        try:
            answers = await self._commit(requests, gate)
        except DataFault as fault:
            if len(requests) == 1:
                return [self._failed(requests[0], fault)]
            middle = len(requests) // 2
            return [*await self._apply(requests[:middle], gate), *await self._apply(requests[middle:], gate)]
        if any(answer.status == 200 and not answer.replayed for answer in answers):  # it took something
            self.failures_in_a_row = 0
        return answers

    def _failed(self, request: Request, fault: DataFault) -> Answer:
        self._count_failure(request.position, fault)
        return refused(request, _FAILED, now=self._now())

    def _count_failure(self, position: Position, fault: DataFault) -> None:
        self.failures_in_a_row += 1
        log.error("request_failed", position=position.id, cause=str(fault))
        if self.failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            raise Fatal(f"{MAX_FAILURES_IN_A_ROW} requests in a row could not be processed: {fault}")

    async def _commit(self, requests: Sequence[Request], gate: Gate) -> list[Answer]:
        """Read, plan, write and commit, again until nobody moved a row meanwhile."""
        conflicts = 0

        async def attempt() -> list[Answer] | None:
            nonlocal conflicts
            try:
                return await self._attempt(requests, gate, lock=conflicts >= CONFLICTS_BEFORE_LOCKING)
            except Conflict:
                conflicts += 1
                self.metrics.conflicts.inc()
                return None

        while (answers := await self.until_there(attempt)) is None:
            pass
        return answers

    async def _attempt(self, requests: Sequence[Request], gate: Gate, *, lock: bool) -> list[Answer]:
        keys = {request.key for request in requests if request.key is not None}
        customers = {request.customer for request in requests if request.customer is not None}
        rules = Rules(
            create_unknown=self.settings.unknown_customer == "create",
            supersede_stale=self.settings.stale_events == "supersede",
        )
        single = len(requests) == 1 and not lock
        async with self.store.transaction(lock=lock, single=single) as transaction:
            with self.metrics.stage("read"):
                known = await transaction.read(keys, customers)
            try:
                with self.metrics.stage("plan"):
                    planned = plan(requests, known, rules=rules, now=self._now(), new_patient_id=self.new_patient_id)
            except Exception as error:  # noqa: BLE001 - halving finds the request that we cannot decide
                raise _unexpected(error) from None
            if planned.writes:
                with self.metrics.stage("write"):
                    await transaction.write(planned.writes)
                gate.pass_to_commit()
                with self.metrics.stage("commit"):
                    await transaction.commit()
        return list(planned.answers)

    def _now(self) -> datetime:
        """The time in whole milliseconds, which is what answers can show."""
        now = self.clock()
        return now - timedelta(microseconds=now.microsecond % 1000)

    async def until_there(self, attempt: Callable[[], Awaitable[_Result]], part: str = "batch") -> _Result:
        """Repeat while Postgres is away, with backoff and jitter. There is no end: no record is given up for it.

        `part` names what waits for it, on the page that says what is missing.
        """
        try:
            return await attempt()
        except Transient as error:
            failed = error.with_traceback(None)  # which holds what was at work
        return await self._repeated(attempt, part, failed)

    async def _repeated(self, attempt: Callable[[], Awaitable[_Result]], part: str, failed: Transient) -> _Result:
        """`until_there`, once the first attempt has failed. What repeats it costs as much to make as some requests."""
        before: Transient | None = failed

        def say(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            self.metrics.retried(error)
            self.health.waits(part, str(error))

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Transient),
            wait=wait_random_exponential(multiplier=0.1, max=LONGEST_WAIT),
            before_sleep=say,
        )
        try:
            async for trial in retrying:
                with trial:
                    if before is not None:
                        first, before = before, None
                        raise first
                    result = await attempt()
        finally:  # given up, it waits no longer either
            self.health.ok(part)
        return result


async def _in_turns(each: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """Each of these in its order, a few at a time."""
    done: list[_Result] = []
    for first in range(0, len(items), TURN):
        if first:
            await asyncio.sleep(0)
        done += map(each, items[first : first + TURN])
    return done


def _unexpected(error: Exception) -> DataFault:
    """An error that nobody foresaw, as its kind and place: its text could hold values."""
    *_, frame = traceback.extract_tb(error.__traceback__)
    return DataFault(f"unexpected {type(error).__name__} at {PurePath(frame.filename).name}:{frame.lineno}")


def _without_identity(envelope: Envelope, received: datetime) -> Request:
    """A request of which only the record is known, to be answered 500."""
    return Request(
        position=envelope.position,
        id=None,
        source=None,
        customer=None,
        key=None,
        fingerprint=None,
        effective_at=received,
        stale_guarded=False,
        record=envelope.record,
        data=None,
        refusal=_FAILED,
    )


def uuid7() -> str:
    """A UUID of version 7 (RFC 9562): Unix milliseconds, then random bits, so that new keys are neighbours."""
    if part is not None:
        return part.uuid7(time.time_ns() // 1_000_000)
    value = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10), "big")
    digits = f"{value & _NOT_SAID | _VERSION_7:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_VERSION_7: Final = (0x7 << 76) | (0x2 << 62)
"""The version and the variant."""
_NOT_SAID: Final = ~((0xF << 76) | (0x3 << 62))
