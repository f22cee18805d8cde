"""Rows to arrays and back. The order of the columns is that of the statements in `app/sql`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from operator import attrgetter
from typing import Any, Final

import asyncpg

from app.model import Customer, Known, Outcome, Patient, Position, StoredAnswer, made

Row = Any
"""A record of the driver: a tuple with names."""

CUSTOMER_COLUMNS: Final = Customer._fields
PATIENT_COLUMNS: Final = Patient._fields
ANSWER_COLUMNS: Final = (
    "key", "source", "id", "customer", "record_topic", "record_partition", "record_offset", "record_timestamp",
    "fingerprint", "outcome", "answer", "received_at",
)  # fmt: skip
UPDATE_CUSTOMERS: Final = attrgetter("customer", "email", "phone", "updated_at", "version")
UPDATE_PATIENTS: Final = attrgetter(
    "patient", "customer", "first_name", "last_name", "date_of_birth", "gender", "address", "address2", "city", "state",
    "postal_code", "country", "effective_at", "updated_at", "version",
)  # fmt: skip
_CUSTOMER: Final = len(ANSWER_COLUMNS)
_PATIENT: Final = _CUSTOMER + len(CUSTOMER_COLUMNS)
"""Where the columns of the customer and of the patient begin in a row of `read.sql`."""
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_OUTCOMES: Final = {outcome.value: outcome for outcome in Outcome}


@cache
def query(name: str) -> str:
    """The text of `app/sql/<name>.sql`."""
    return files("app").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def columns(rows: Iterable[object], values: Callable[[object], tuple[Any, ...]]) -> Iterable[tuple[Any, ...]]:
    """One array a column; of equal length always, for `unnest` would fill shorter ones with nulls."""
    return zip(*map(values, rows), strict=True)


async def exchange_times(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Have this connection take times from us, and give them, as the server keeps them: microseconds since 2000.

    Most rows of a batch share their times, which the driver works out for each anew. It also takes the first moment of
    year 1, by which some senders mean "no time", for -infinity.
    """
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", format="tuple", encoder=_microseconds, decoder=_time
    )


@lru_cache(maxsize=4096)
def _microseconds(time: datetime) -> tuple[int]:
    return ((time - _EPOCH) // _MICROSECOND,)


@lru_cache(maxsize=4096)
def _time(microseconds: tuple[int]) -> datetime:
    return _EPOCH + microseconds[0] * _MICROSECOND


def row_of(answer: StoredAnswer) -> tuple[Any, ...]:
    """The values of `ANSWER_COLUMNS`."""
    return (*answer[:4], *answer.position, *answer[5:])


def known(found: Iterable[Row]) -> Known:
    """What `read.sql` found."""
    answers: dict[bytes, StoredAnswer] = {}
    customers: dict[str, Customer] = {}
    patients: dict[str, Patient] = {}
    for row in found:
        if (key := row[0]) is not None:
            answers[key] = _answer(*row[:_CUSTOMER])
        if (name := row[_CUSTOMER]) is not None:
            customers[name] = made(Customer, row[_CUSTOMER:_PATIENT])
            if row[_PATIENT] is not None:
                patients[name] = made(Patient, row[_PATIENT:])
    return Known(answers, customers, patients)


def _answer(
    key: bytes, source: str, id: str, customer: str, topic: str, partition: int, offset: int, timestamp: int,
    fingerprint: bytes, outcome: str, answer: bytes, received_at: datetime,
) -> StoredAnswer:  # fmt: skip
    position = made(Position, (topic, partition, offset, timestamp))
    values = (key, source, id, customer, position, fingerprint, _OUTCOMES[outcome], answer, received_at)
    return made(StoredAnswer, values)
