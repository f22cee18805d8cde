"""Examples of requests, and of the answers that the rooms give to them, so that they cannot drift."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from app.authorise import EVERYONE
from app.envelope import open_envelope
from app.model import EVENT_TYPE, Answer, Known, Position, Record, Request
from app.plan import Rules, plan
from app.understand import understand

REQUEST: Final = {
    "customer": "cus_1042",
    "firstName": "Zoë",
    "lastName": "Sample",
    "dateOfBirth": "2001-02-03",
    "gender": {"code": "F", "display": "Female"},
    "phone": "+1 (202) 555-0143",
    "email": "zoe.sample@clinic.example",
    "address": "12 Invented Street",
    "address2": None,
    "city": "Springfield",
    "state": "OR",
    "postalCode": "97475",
    "country": "US",
}
EVENT: Final = {
    "specversion": "1.0",
    "id": "7c4e0f86-4d0c-4d0e-9a55-3f1f0f6f7a10",
    "source": "/clinics/example",
    "type": EVENT_TYPE,
    "subject": "cus_1042",
    "time": "2024-01-01T00:00:00Z",
    "datacontenttype": "application/json",
    "data": REQUEST,
}
_BAD: Final = {**EVENT, "id": "b1f4", "data": {**REQUEST, "dateOfBirth": "2031-02-03", "city": ""}}


def records() -> tuple[Answer, Answer]:
    """What the worker answers to the example, and to one with two faults."""
    made = datetime(2024, 1, 1, tzinfo=UTC)
    requests = [_understood(EVENT, 0, made), _understood(_BAD, 1, made)]
    planned = plan(
        requests, Known(), rules=Rules(), now=made, new_patient_id=lambda: "pat_0198c5d2-7d31-7c4e-9a55-3f1f0f6f7a10"
    )
    completed, failed = planned.answers
    return completed, failed


def answers() -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of both."""
    completed, failed = (orjson.loads(answer.value) for answer in records())
    return completed, failed


def _understood(event: dict[str, Any], offset: int, made: datetime) -> Request:
    position = Position(EVENT_TYPE, 0, offset, int(made.timestamp() * 1000))
    envelope = open_envelope(Record(position, None, orjson.dumps(event), ()), customer_from_key=True)
    return understand(envelope, None, received=made, pattern=re.compile(".*"), caller=EVERYONE)
