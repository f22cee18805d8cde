"""Records, requests and rows for the tests of the pure rooms, each valid by itself; a test changes what it is about."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from app.authorise import EVERYONE
from app.envelope import open_envelope
from app.model import Answer, Customer, Envelope, Headers, Known, Patient, Position, Record, Request, Row, Writes
from app.plan import Plan, Rules, plan
from app.understand import understand
from tests.support import BODY, body

TOPIC = "patient.upsert.requested"
MADE_MS = 1_767_323_045_678
MADE = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
"""The time of every record: 1767323045678 in Unix milliseconds."""
NOW = datetime(2026, 1, 2, 3, 4, 7, tzinfo=UTC)
PATTERN = re.compile("^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$")

EVENT: list[tuple[str, bytes | None]] = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"evt-1"),
    ("ce_source", b"/upstream"),
    ("ce_type", b"patient.upsert.requested"),
]
"""The headers of a CloudEvent in binary mode."""


def with_headers(headers: Iterable[tuple[str, bytes | None]], **changes: bytes | None) -> Headers:
    """These headers with others in their place; `ce_id=None` leaves that one out."""
    given = {**dict(headers), **changes}
    return tuple((name, value) for name, value in given.items() if value is not None)


def record(
    value: bytes | None = None,
    headers: Iterable[tuple[str, bytes | None]] = (),
    *,
    key: bytes | None = b"cus_1",
    offset: int = 7,
    partition: int = 3,
    timestamp: int = MADE_MS,
    undecodable: bool = False,
) -> Record:
    """A record with a valid REST body, unless told otherwise."""
    position = Position(TOPIC, partition, offset, timestamp)
    return Record(position, key, body() if value is None else value, tuple(headers), undecodable)


def structured(**changes: Any) -> bytes:
    """The value of a CloudEvent in structured mode; an attribute that is given as `...` is left out."""
    given = {"specversion": "1.0", "id": "evt-1", "source": "/upstream", "type": "patient.upsert.requested"}
    event = {**given, "data": BODY, **changes}
    return json.dumps({name: value for name, value in event.items() if value is not ...}).encode()


def opened(value: bytes | None = None, headers: Iterable[tuple[str, bytes | None]] = (), **changes: Any) -> Envelope:
    """A record, opened."""
    return open_envelope(record(value, headers, **changes), customer_from_key=True)


def faults_of(envelope: Envelope) -> tuple[str, set[tuple[str, str]]]:
    """The code of a refusal, with field and code of its faults."""
    assert envelope.refusal is not None
    return envelope.refusal.error.value, {(fault.field, fault.code.value) for fault in envelope.refusal.faults}


def request_of(given: Record, *, owner: str | None = None, received: datetime = NOW) -> Request:
    """A record as a request, by the default settings."""
    envelope = open_envelope(given, customer_from_key=True)
    return understand(envelope, owner, received=received, pattern=PATTERN, caller=EVERYONE)


def request(
    id: str = "evt-1",
    customer: str = "cus_1",
    *,
    offset: int = 7,
    timestamp: int = MADE_MS,
    time: str | None = None,
    source: str = "/upstream",
    **changes: Any,
) -> Request:
    """A CloudEvent as a request; `changes` are those of its REST body."""
    headers = with_headers(
        EVENT, ce_id=id.encode(), ce_source=source.encode(), ce_time=None if time is None else time.encode()
    )
    return request_of(record(body(**changes), headers, key=customer.encode(), offset=offset, timestamp=timestamp))


def decided(
    *requests: Request,
    known: Known | None = None,
    rules: Rules | None = None,
    now: datetime = NOW,
    new_patient_id: Callable[[], str] | None = None,
) -> Plan:
    """The plan of these requests over what is known; new patients are pat_new1, pat_new2, ..."""
    numbers = iter(range(1, 1000))
    return plan(
        requests,
        known or Known(),
        rules=rules or Rules(),
        now=now,
        new_patient_id=new_patient_id or (lambda: f"pat_new{next(numbers)}"),
    )


def after(known: Known, writes: Writes) -> Known:
    """What the database holds once these writes are committed."""
    return Known(
        answers=known.answers | {row.key: row for row in writes.answers},
        customers=known.customers | {row.customer: row for row in customers_of((*writes.new, *writes.changed))},
        patients=known.patients | {row.customer: row for row in patients_of((*writes.new, *writes.changed))},
    )


def customers_of(rows: Sequence[Row]) -> tuple[Customer, ...]:
    """The customers in these rows."""
    return tuple(customer for customer, _ in rows)


def patients_of(rows: Sequence[Row]) -> tuple[Patient, ...]:
    """The patients in these rows."""
    return tuple(patient for _, patient in rows)


def parsed(answer: Answer) -> Any:
    """The value of an answer."""
    return json.loads(answer.value)


def outcomes(planned: Plan) -> list[str]:
    """The outcome of each answer, and the code of each refusal."""
    return [answer.error or answer.outcome.value for answer in planned.answers]


EARLIER = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)


def customer(name: str = "cus_1", **changes: Any) -> Customer:
    """A stored customer."""
    values: dict[str, Any] = {
        "email": "old@clinic.local",
        "first_name": "Grace",
        "last_name": "Payer",
        "billing_address_id": "adr_1",
        "phone": "+1 555 0100",
        "has_account": True,
        "metadata": '{"vip": 1}',
        "created_at": EARLIER,
        "updated_at": EARLIER,
        "deleted_at": None,
        "version": 4,
    }
    return Customer(customer=name, **(values | changes))


def patient(owner: str = "cus_1", **changes: Any) -> Patient:
    """A stored patient of that customer."""
    values: dict[str, Any] = {
        "patient": f"pat_{owner}",
        "first_name": "Alan",
        "last_name": "Sample",
        "date_of_birth": date(1980, 2, 29),
        "gender": "male",
        "address": "9 Old Road",
        "address2": "Flat 3",
        "city": "Leeds",
        "state": "West Yorkshire",
        "postal_code": "LS1",
        "country": "GB",
        "effective_at": EARLIER,
        "created_at": EARLIER,
        "updated_at": EARLIER,
        "deleted_at": None,
    }
    return Patient(customer=owner, **(values | changes))


def holding(*rows: Customer | Patient) -> Known:
    """A database with these rows."""
    return Known(
        customers={row.customer: row for row in rows if isinstance(row, Customer)},
        patients={row.customer: row for row in rows if isinstance(row, Patient)},
    )
