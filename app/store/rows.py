"""Rows to arrays and back. The order of the columns is that of the statements in `app/sql`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Final

import asyncpg

from app.model import Customer, Known, Outcome, Patient, Position, Row, StoredAnswer, made

Found = Any
"""A record of the driver: a tuple with names."""

COLUMNS: Final = (
    "customer", "email", "first_name", "last_name", "billing_address_id", "phone", "has_account", "metadata",
    "created_at", "updated_at", "deleted_at", "version",
    "patient", "patient_first_name", "patient_last_name", "date_of_birth", "gender", "address", "address2", "city",
    "state", "postal_code", "country", "effective_at", "patient_created_at", "patient_updated_at",
    "patient_deleted_at",
)  # fmt: skip
ANSWER_COLUMNS: Final = (
    "key", "source", "id", "customer", "record_topic", "record_partition", "record_offset", "record_timestamp",
    "fingerprint", "outcome", "answer", "received_at",
)  # fmt: skip
_CUSTOMER: Final = len(ANSWER_COLUMNS)
_PATIENT: Final = _CUSTOMER + len(Customer._fields)
"""Where the columns of the customer and of the patient begin in a row of `read.sql`."""
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_OUTCOMES: Final = {outcome.value: outcome for outcome in Outcome}


@cache
def query(name: str) -> str:
    """The text of `app/sql/<name>.sql`."""
    return files("app").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def new(row: Row) -> tuple[Any, ...]:
    """The values of `COLUMNS`."""
    customer, patient = row
    return (*customer, patient[0], *patient[2:])


def change(row: Row) -> tuple[Any, ...]:
    """A `patient_upsert_change`."""
    (id, email, _, _, _, phone, _, _, _, updated_at, _, version), patient = row
    return (id, email, phone, updated_at, patient[0], *patient[2:-1], version)


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


def known(found: Iterable[Found]) -> Known:
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
