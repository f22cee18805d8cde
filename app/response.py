"""The response room: the bytes and headers of an answer. Pure."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import sha1
from typing import Any, Final

import orjson

from app.errors import SENTENCES, ErrorCode, Fault, FaultCode, Refusal
from app.model import Answer, Customer, Outcome, Patient, Request, StoredAnswer

SOURCE: Final = "/patient-upsert"
_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, SOURCE).bytes
_LEFT_OUT: Final = re.compile(r"authorization$|__dlq\.errors\.", re.IGNORECASE)
LETTER_SENTENCE: Final = SENTENCES[FaultCode.FAILED]
_SPECVERSION: Final = ("ce_specversion", b"1.0")
_SOURCE: Final = ("ce_source", SOURCE.encode())
_CONTENT_TYPE: Final = ("content-type", b"application/json")
_REPLAYED: Final = ("replayed", b"true")


def success_value(request: Request, outcome: Outcome, customer: Customer, patient: Patient) -> bytes:
    """The value of a 200: the envelope with the 22 fields of the REST operation, the null ones too."""
    # orjson writes a date and an outcome as they are wanted, and in a fraction of the time of isoformat() and .value.
    body = {
        "customer": customer.customer,
        "email": customer.email,
        "first_name": customer.first_name,
        "last_name": customer.last_name,
        "billing_address_id": customer.billing_address_id,
        "phone": customer.phone,
        "has_account": customer.has_account,
        "created_at": timestamp(customer.created_at),
        "updated_at": timestamp(max(customer.updated_at, patient.updated_at)),
        "deleted_at": timestamp(customer.deleted_at) if customer.deleted_at else None,
        "metadata": {} if customer.metadata == "{}" else orjson.Fragment(customer.metadata),
        "patient": patient.patient,
        "firstName": patient.first_name,
        "lastName": patient.last_name,
        "dateOfBirth": patient.date_of_birth,
        "gender": patient.gender,
        "address": patient.address,
        "address2": patient.address2,
        "city": patient.city,
        "state": patient.state,
        "postalCode": patient.postal_code,
        "country": patient.country,
    }
    return _value(200, outcome, request, body)


def stored(answer: StoredAnswer, request: Request, *, replayed: bool) -> Answer:
    """The final answer of a request, for the record that asks for it now."""
    return Answer(
        record=request.record,
        position=request.position,
        status=200,
        outcome=answer.outcome,
        error=None,
        customer=answer.customer,
        value=answer.answer,
        id=answer_id(answer.source, answer.id, answer.answer),
        time=answer.received_at,
        replayed=replayed,
        passed_on=request.passed_on,
    )


def refused(request: Request, refusal: Refusal, *, now: datetime) -> Answer:
    """The answer of a request that gets no 200. One that failed for a fault of ours becomes a dead letter too."""
    failed = refusal.error is ErrorCode.INTERNAL_ERROR
    outcome = Outcome.FAILED if failed else Outcome.REJECTED
    body = {"error": refusal.error.value, "details": details(refusal.faults)}
    value = _value(refusal.error.status, outcome, request, body)
    return Answer(
        record=request.record,
        position=request.position,
        status=refusal.error.status,
        outcome=outcome,
        error=refusal.error.value,
        customer=request.customer,
        value=value,
        id=_refusal_id(request, value),
        time=now,
        passed_on=request.passed_on,
        dead_letter=failed,
    )


def details(faults: Sequence[Fault]) -> list[dict[str, str]]:
    """Each fault with its fixed sentence."""
    return [
        {"field": fault.field, "code": fault.code.value, "message": SENTENCES[fault.code]}
        for fault in dict.fromkeys(faults)
    ]


def answer_id(source: str, id: str, value: bytes) -> str:
    """The CloudEvents id of an answer: the same for a repeated answer, another for a corrected one."""
    # What uuid.uuid5() gives, in a third of the time.
    digest = sha1(
        b"%b%b\n%b\n%b" % (_NAMESPACE, source.encode(), id.encode(), value), usedforsecurity=False
    ).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def _refusal_id(request: Request, value: bytes) -> str:
    """Where a request has no id of its own, its place keeps its refusal apart from others that read the same."""
    if request.id is None or request.source is None:
        return answer_id(f"kafka:{request.position.topic}", request.position.id, value)
    return answer_id(request.source, request.id, value)


def answer_headers(answer: Answer, topic: str) -> list[tuple[str, bytes]]:
    """The headers of the record on the answer topic: CloudEvents 1.0 in binary mode, and where the request lay."""
    place = answer.position
    headers = [
        _SPECVERSION,
        ("ce_id", answer.id.encode()),
        _SOURCE,
        ("ce_type", topic.encode()),
        ("ce_time", _time(answer.time)),
        _CONTENT_TYPE,
        ("request-topic", place.topic.encode()),
        ("request-partition", b"%d" % place.partition),
        ("request-offset", b"%d" % place.offset),
    ]
    if answer.customer is not None:
        headers.append(("ce_subject", answer.customer.encode()))
    if answer.replayed:
        headers.append(_REPLAYED)
    if answer.passed_on:
        headers += [(name, value) for name, value in answer.passed_on if value is not None]
    return headers


def letter_headers(answer: Answer, group: str) -> list[tuple[str, bytes | None]]:
    """The headers of a dead letter: those of the request without its credentials, and where and why it failed."""
    position = answer.position
    given = [(name, value) for name, value in answer.record.headers if not _LEFT_OUT.match(name)]
    return [
        *given,
        ("__dlq.errors.topic", position.topic.encode()),
        ("__dlq.errors.partition", str(position.partition).encode()),
        ("__dlq.errors.offset", str(position.offset).encode()),
        ("__dlq.errors.timestamp", str(position.timestamp).encode()),
        ("__dlq.errors.group", group.encode()),
        ("__dlq.errors.message", LETTER_SENTENCE.encode()),
    ]


@lru_cache(maxsize=256)
def _time(time: datetime) -> bytes:
    """As header. The answers of a batch share a few times."""
    return timestamp(time).encode()


@lru_cache(maxsize=1024)  # the answers of a batch share their time
def timestamp(time: datetime) -> str:
    """A UTC time as the REST operation writes it: `2024-01-01T00:00:00.000Z`."""
    return f"{orjson.dumps(time)[1:20].decode()}.{time.microsecond // 1000:03}Z"


def _value(status: int, outcome: Outcome, request: Request, body: dict[str, Any]) -> bytes:
    asked = {"id": request.id, "source": request.source, "customer": request.customer}
    return orjson.dumps({"status": status, "outcome": outcome, "request": asked, "response": body})
