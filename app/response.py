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

from app.compiled import part
from app.errors import SENTENCES, ErrorCode, Fault, FaultCode, Refusal
from app.model import Answer, Customer, Outcome, Patient, Request, StoredAnswer, made

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
    if part is not None:
        return part.success_value(request, outcome, customer, patient, timestamp)
    # orjson writes a date and an outcome as they are wanted, and in a fraction of the time of isoformat() and .value.
    id, email, first, last, billing, phone, has_account, metadata, created, updated, deleted, _ = customer
    pat, _, own_first, own_last, born, gender, address, address2, city, state, postal_code, country, *_ = patient
    body = {
        "customer": id,
        "email": email,
        "first_name": first,
        "last_name": last,
        "billing_address_id": billing,
        "phone": phone,
        "has_account": has_account,
        "created_at": timestamp(created),
        "updated_at": timestamp(max(updated, patient.updated_at)),
        "deleted_at": timestamp(deleted) if deleted else None,
        "metadata": {} if metadata == "{}" else orjson.Fragment(metadata),
        "patient": pat,
        "firstName": own_first,
        "lastName": own_last,
        "dateOfBirth": born,
        "gender": gender,
        "address": address,
        "address2": address2,
        "city": city,
        "state": state,
        "postalCode": postal_code,
        "country": country,
    }
    return _value(200, outcome, request, body)


def success(
    request: Request, outcome: Outcome, customer: Customer, patient: Patient, *, now: datetime
) -> tuple[StoredAnswer, Answer]:
    """The 200 of a request whose key and fingerprint are known: as it is stored, and as it is published."""
    value = success_value(request, outcome, customer, patient)
    if part is not None:
        return part.final(request, outcome, customer, patient, now, value, _NAMESPACE)
    assert request.key is not None
    assert request.source is not None
    assert request.id is not None
    assert request.fingerprint is not None
    values = (
        request.key,
        request.source,
        request.id,
        customer.customer,
        request.record.position,  # of a replayed letter its own: so it is known when it is redelivered
        request.fingerprint,
        outcome,
        value,
        now,
    )
    answer = made(StoredAnswer, values)
    return answer, stored(answer, request, replayed=False)


def stored(answer: StoredAnswer, request: Request, *, replayed: bool) -> Answer:
    """The final answer of a request, for the record that asks for it now."""
    _, source, id, customer, _, _, outcome, value, received_at = answer
    values = (
        request.record,
        request.position,
        200,
        outcome,
        None,
        customer,
        value,
        answer_id(source, id, value),
        received_at,
        replayed,
        request.passed_on,
        False,
    )
    return made(Answer, values)


def refused(request: Request, refusal: Refusal, *, now: datetime) -> Answer:
    """The answer of a request that gets no 200. One that failed for a fault of ours becomes a dead letter too."""
    failed = refusal.error is ErrorCode.INTERNAL_ERROR
    outcome = Outcome.FAILED if failed else Outcome.REJECTED
    status, error = refusal.error.status, refusal.error.value
    value = _value(status, outcome, request, {"error": error, "details": details(refusal.faults)})
    values = (
        request.record,
        request.position,
        status,
        outcome,
        error,
        request.customer,
        value,
        _refusal_id(request, value),
        now,
        False,
        request.passed_on,
        failed,
    )
    return made(Answer, values)


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
    asked_in, partition, offset, _ = answer.position
    headers = [
        _SPECVERSION,
        ("ce_id", answer.id.encode()),
        _SOURCE,
        _header("ce_type", topic),
        _time(answer.time),
        _CONTENT_TYPE,
        _header("request-topic", asked_in),
        _header("request-partition", partition),
        ("request-offset", b"%d" % offset),
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
def _time(time: datetime) -> tuple[str, bytes]:
    """As header. The answers of a batch share a few times."""
    return "ce_time", timestamp(time).encode()


@lru_cache(maxsize=1024)
def _header(name: str, value: str | int) -> tuple[str, bytes]:
    """One that many answers have."""
    return name, str(value).encode()


@lru_cache(maxsize=1024)  # the answers of a batch share their time
def timestamp(time: datetime) -> str:
    """A UTC time as the REST operation writes it: `2024-01-01T00:00:00.000Z`."""
    return f"{orjson.dumps(time)[1:20].decode()}.{time.microsecond // 1000:03}Z"


def _value(status: int, outcome: Outcome, request: Request, body: dict[str, Any]) -> bytes:
    asked = {"id": request.id, "source": request.source, "customer": request.customer}
    return orjson.dumps({"status": status, "outcome": outcome, "request": asked, "response": body})
