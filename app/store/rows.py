"""Rows to arrays and back. The order of the columns is that of the statements in `app/sql`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files
from operator import attrgetter
from typing import Any, Final

from app.model import Customer, Outcome, Patient, Position, StoredAnswer

Row = Any
"""A record of the driver: a tuple with names."""

INSERT_CUSTOMERS: Final = attrgetter(
    "customer", "email", "first_name", "last_name", "billing_address_id", "phone", "has_account", "metadata",
    "created_at", "updated_at", "deleted_at", "version",
)  # fmt: skip
UPDATE_CUSTOMERS: Final = attrgetter("customer", "email", "phone", "updated_at", "version")
INSERT_PATIENTS: Final = attrgetter(
    "patient", "customer", "first_name", "last_name", "date_of_birth", "gender", "address", "address2", "city", "state",
    "postal_code", "country", "effective_at", "created_at", "updated_at", "deleted_at", "version",
)  # fmt: skip
UPDATE_PATIENTS: Final = attrgetter(
    "patient", "customer", "first_name", "last_name", "date_of_birth", "gender", "address", "address2", "city", "state",
    "postal_code", "country", "effective_at", "updated_at", "version",
)  # fmt: skip
COPY_ANSWERS: Final = attrgetter(
    "key", "source", "id", "customer", "position.topic", "position.partition", "position.offset", "position.timestamp",
    "fingerprint", "outcome", "answer", "received_at",
)  # fmt: skip
ANSWER_COLUMNS: Final = (
    "key", "source", "id", "customer", "record_topic", "record_partition", "record_offset", "record_timestamp",
    "fingerprint", "outcome", "answer", "received_at",
)  # fmt: skip
_CUSTOMER_COLUMNS: Final = 12


@cache
def query(name: str) -> str:
    """The text of `app/sql/<name>.sql`."""
    return files("app").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def columns(rows: Iterable[object], values: Callable[[object], tuple[Any, ...]]) -> Iterable[tuple[Any, ...]]:
    """One array a column; of equal length always, for `unnest` would fill shorter ones with nulls."""
    return zip(*map(values, rows), strict=True)


def answer_of(row: Row) -> StoredAnswer:
    """A row of `read_answers.sql`."""
    key, source, id_, customer, topic, partition, offset, timestamp, fingerprint, outcome, answer, received_at = row
    position = Position(topic, partition, offset, timestamp)
    return StoredAnswer(key, source, id_, customer, position, fingerprint, Outcome(outcome), answer, received_at)


def customer_of(row: Row) -> Customer:
    """The customer in a row of `read_rows.sql`."""
    return Customer(*row[:_CUSTOMER_COLUMNS])


def patient_of(row: Row) -> Patient | None:
    """The patient in a row of `read_rows.sql`; None where the customer has none."""
    return Patient(*row[_CUSTOMER_COLUMNS:]) if row[_CUSTOMER_COLUMNS] is not None else None
