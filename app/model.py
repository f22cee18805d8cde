"""The values that travel through the rooms: records, requests, rows and answers. All are frozen.

Rows and answers are tuples: thousands are made a second, and a frozen dataclass takes several times as long to make.

Every repr shows positions and ids only: the rest is health data and reprs end up in logs and tracebacks.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, timedelta
from enum import Enum, StrEnum
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TypeVar

from app.errors import Refusal

EVENT_TYPE: Final = "patient.upsert.requested"
NO_TIMESTAMP: Final = -1
"""What Kafka clients give as timestamp of a record that has none."""

_Value = TypeVar("_Value")


def quick(cls: type[_Value]) -> type[_Value]:
    """A frozen dataclass of which many are made: frozen for mypy alone, which makes one three to six times cheaper.

    Held at run time too, every field would be set through `object.__setattr__`.
    """
    given = dataclasses.fields(cls)  # type: ignore[arg-type]
    alike = [(f.name, Any, field(default=f.default, default_factory=f.default_factory)) for f in given]
    cls.__init__ = dataclasses.make_dataclass(cls.__name__, alike).__init__  # type: ignore[misc, method-assign]
    del cls.__setattr__, cls.__delattr__
    return cls


made: Final = tuple.__new__
"""`made(Position, values)`: a named tuple of all its values, in half the time that calling its class takes."""


class Position(NamedTuple):
    """Where a record lies, and when it was made (Unix milliseconds, or -1). It tells a record from every other one.

    The timestamp keeps positions apart when a topic is deleted and made again.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int

    @property
    def id(self) -> str:
        """The request id of a record that brings none of its own."""
        return f"{self.topic}/{self.partition}/{self.offset}@{self.timestamp}"


Headers = tuple[tuple[str, bytes | None], ...]


@quick
@dataclass(frozen=True, slots=True, repr=False)
class Record:
    """A Kafka record as it was received. `undecodable` marks one of which only the position can be trusted."""

    position: Position
    key: bytes | None
    value: bytes | None
    headers: Headers
    undecodable: bool = False
    broker_time: bool = False
    """Whether the timestamp is the broker's (LogAppendTime). No producer can claim that: brokers undo it."""

    def __repr__(self) -> str:
        return f"Record({self.position.id})"

    @property
    def topic(self) -> str:
        """The topic in which it lies; FastStream asks for it by this name."""
        return self.position.topic

    @property
    def size(self) -> int:
        """Bytes of key, value and headers."""
        size = len(self.key or b"") + len(self.value or b"")
        for name, value in self.headers:
            size += len(name) + len(value or b"")
        return size


@quick
@dataclass(frozen=True, slots=True, repr=False)
class Envelope:
    """A record whose form was recognised.

    `id` and `source` are given once they have passed their rule, else None. A plain record with a key of
    its own and no source header has `source_from_customer`: its source is known as soon as its customer is.
    """

    record: Record
    position: Position
    """Of the request: a replayed dead letter keeps the place where it first lay."""
    id: str | None = None
    source: str | None = None
    source_from_customer: bool = False
    named_customer: str | None = None
    """From `data.customer`, else the event's `subject`."""
    key_customer: str | None = None
    """From the record key, where the settings allow it."""
    patient: str | None = None
    event_time: datetime | None = None
    replayed_letter: bool = False
    data: Any = None
    readable: bool = False
    """Whether `data` was read; where not, `refusal` says why."""
    refusal: Refusal | None = None
    passed_on: Headers = ()
    """Tracing headers, handed to the answer as they came."""

    def __repr__(self) -> str:
        return f"Envelope({self.position.id})"


class Unset(Enum):
    """The value of an optional field that a request did not carry: keep what is stored."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
OptionalText = str | None | Literal[Unset.UNSET]


@quick
@dataclass(frozen=True, slots=True, repr=False)
class PatientData:
    """The validated, normalised fields of a request (design 5). None clears a field, UNSET keeps what is stored."""

    first_name: str
    last_name: str
    date_of_birth: date
    phone: str
    address: str
    city: str
    state: str
    postal_code: str
    country: str
    gender: OptionalText = UNSET
    email: OptionalText = UNSET
    address2: OptionalText = UNSET
    patient: str | None = None

    def __repr__(self) -> str:
        return "PatientData()"


@quick
@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """One record, as far as it could be understood: what `plan` folds over.

    Exactly one of `data` and `refusal` is given. `key` (16 bytes, digest of source and id) and `fingerprint` (32 bytes,
    digest of the received content) are None where the record did not say enough to have them.
    """

    position: Position
    id: str | None
    source: str | None
    customer: str | None
    key: bytes | None
    fingerprint: bytes | None
    effective_at: datetime
    """When the request took effect for its sender; decides which of two requests is newer."""
    stale_guarded: bool
    """Whether it may be answered `superseded`: it carries an event time, or is a replayed dead letter."""
    record: Record
    """As received: its place is committed, its key serves the answer when no customer is known."""
    data: PatientData | None
    refusal: Refusal | None
    denial: Refusal | None = None
    """Why the caller may not do this, from `authorise`; None when it may."""
    passed_on: Headers = ()
    key_differs: bool = False
    """The record key names another customer: the order between this customer's records is not kept by Kafka."""

    def __repr__(self) -> str:
        return f"Request({self.position.id})"


class Customer(NamedTuple):
    """A row of `customers` without its patient. `metadata` is JSON text.

    `version` counts the writes of the row, those of the patient too, from 1.
    """

    customer: str
    email: str | None
    first_name: str
    last_name: str
    billing_address_id: str | None
    phone: str | None
    has_account: bool
    metadata: str
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    version: int

    def __repr__(self) -> str:
        return f"Customer({self.customer}, version {self.version})"


class Patient(NamedTuple):
    """The patient in a row of `customers`. `effective_at`: the newest effective time applied."""

    patient: str
    customer: str
    first_name: str
    last_name: str
    date_of_birth: date
    gender: str | None
    address: str
    address2: str | None
    city: str
    state: str
    postal_code: str
    country: str
    effective_at: datetime
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None

    def __repr__(self) -> str:
        return f"Patient({self.patient})"


Row = tuple[Customer, Patient]
"""A row of `customers`, as it is written: whole."""


class Outcome(StrEnum):
    """What became of a request."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    FAILED = "failed"


class StoredAnswer(NamedTuple):
    """A row of `requests`: the final answer of one request, `answer` being the bytes that were or will be published."""

    key: bytes
    source: str
    id: str
    customer: str
    position: Position
    fingerprint: bytes
    outcome: Outcome
    answer: bytes
    received_at: datetime

    def __repr__(self) -> str:
        return f"StoredAnswer({self.position.id}, {self.outcome})"


@dataclass(frozen=True, slots=True, repr=False)
class Known:
    """What the database held when a batch was read: stored answers by key, customers and patients by customer id."""

    answers: dict[bytes, StoredAnswer] = field(default_factory=dict)
    customers: dict[str, Customer] = field(default_factory=dict)
    patients: dict[str, Patient] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Known({len(self.answers)} answers, {len(self.customers)} customers, {len(self.patients)} patients)"


@dataclass(frozen=True, slots=True, repr=False)
class Writes:
    """What one batch changes, each row once, sorted by key so that two workers lock in the same order.

    `changed` rows carry their new version; the stored one must be one less.
    """

    new: tuple[Row, ...] = ()
    changed: tuple[Row, ...] = ()
    answers: tuple[StoredAnswer, ...] = ()

    def __repr__(self) -> str:
        return f"Writes({', '.join(f'{f.name}={len(getattr(self, f.name))}' for f in fields(self))})"

    def __bool__(self) -> bool:
        return any(getattr(self, f.name) for f in fields(self))


class Answer(NamedTuple):
    """One answer, ready to be published.

    `value` is the envelope as JSON bytes. `replayed` says that they come from the store. `dead_letter` asks for the
    record itself to be put on the dead letter topic too.
    """

    record: Record
    """The record that is answered; a replayed dead letter lies elsewhere than its request did."""
    position: Position
    """Of the request."""
    status: int
    outcome: Outcome
    error: str | None
    customer: str | None
    value: bytes
    id: str
    """The CloudEvents id of the answer."""
    time: datetime
    replayed: bool = False
    passed_on: Headers = ()
    dead_letter: bool = False

    def __repr__(self) -> str:
        return f"Answer({self.position.id}, {self.status} {self.outcome})"


@lru_cache(maxsize=4096)  # records of one time come together
def from_milliseconds(milliseconds: int) -> datetime:
    """Unix milliseconds as an aware UTC time, exact, and clamped to years that leave room to reckon with."""
    try:
        if 0 <= milliseconds < _FAR_AHEAD:
            return _EPOCH + timedelta(0, milliseconds // 1000, milliseconds % 1000 * 1000)
        return min(max(_EPOCH + timedelta(milliseconds=milliseconds), _EARLIEST), _LATEST)
    except OverflowError:
        return _LATEST if milliseconds > 0 else _EARLIEST


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FAR_AHEAD: Final = 10**14
"""The year 5138."""
_EARLIEST = datetime(1000, 1, 1, tzinfo=UTC)
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)
