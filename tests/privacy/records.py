"""Requests in which everything that can carry a value carries a canary."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from app.consumer.requester import Outbound
from tests.privacy.canaries import BIRTHDAY, PHONE, Aviary

Headers = list[tuple[str, bytes | None]]
MEBIBYTE = 1024 * 1024
NAMES = ("firstName", "lastName", "address", "address2", "city", "state", "postalCode", "country")
FIELDS = (*NAMES, "dateOfBirth", "gender", "phone", "email")


def body(aviary: Aviary, of: str, **changes: Any) -> dict[str, Any]:
    """A valid body; `of` says in which record."""
    sung = {name: aviary.canary(f"{of} {name}") for name in NAMES}
    return {
        **sung,
        "dateOfBirth": BIRTHDAY,
        "gender": {"value": aviary.canary(f"{of} gender")},
        "phone": f"+1 {PHONE}",
        "email": f"{aviary.canary(f'{of} email')}@clinic.local",
        aviary.canary(f"{of} unknown field"): aviary.canary(f"{of} value of an unknown field"),
        **changes,
    }


def extra(aviary: Aviary, of: str) -> Headers:
    """Headers that mean nothing to the worker, and a token that nobody asked for."""
    return [
        (f"x-{aviary.canary(f'{of} header name')}", aviary.canary(f"{of} header").encode()),
        ("ce_extension", aviary.canary(f"{of} extension").encode()),
        ("authorization", f"Bearer {aviary.canary(f'{of} token')}".encode()),
    ]


def event(aviary: Aviary, of: str, data: Any, customer: str = "cus_1", **changes: str | bytes) -> Outbound:
    """A CloudEvent in binary mode; attributes are changed by name."""
    given: dict[str, str | bytes] = {
        "specversion": "1.0",
        "id": of,
        "source": "/privacy",
        "type": "patient.upsert.requested",
    }
    given |= changes
    headers = [(f"ce_{name}", value if isinstance(value, bytes) else value.encode()) for name, value in given.items()]
    value = data if isinstance(data, bytes) else orjson.dumps(data)
    return Outbound(customer.encode(), value, (*headers, *extra(aviary, of)))


def valid(aviary: Aviary) -> list[Outbound]:
    """Each form, and a key that is not the customer."""
    structured = {
        "specversion": "1.0",
        "id": "structured",
        "source": "/privacy",
        "type": "patient.upsert.requested",
        "extension": aviary.canary("structured extension"),
        "data": body(aviary, "structured", customer="cus_2"),
    }
    return [
        event(aviary, "binary", body(aviary, "binary")),
        Outbound(b"cus_2", orjson.dumps(structured), tuple(extra(aviary, "structured"))),
        Outbound(b"cus_3", orjson.dumps(body(aviary, "plain")), tuple(extra(aviary, "plain"))),
        Outbound(b"cus_4", orjson.dumps(body(aviary, "keyed")), (("idempotency-key", b"keyed"),)),
        Outbound(
            aviary.canary("another key").encode(), orjson.dumps(body(aviary, "another key", customer="cus_5")), ()
        ),
    ]


def refused(aviary: Aviary) -> list[Outbound]:
    """Every way in which a record can be wrong. None of them may be applied."""

    def sing(place: str) -> str:
        return aviary.canary(place)

    good = orjson.dumps(body(aviary, "whole"))
    values = [
        good[: len(good) // 2],
        good + sing("behind the end").encode(),
        b"\xff" + good,
        orjson.dumps([body(aviary, "in an array")]),
        orjson.dumps(sing("a text")),
        b'{"firstName": ' + b"[" * 40 + orjson.dumps(sing("deep")) + b"]" * 40 + b"}",
        orjson.dumps({sing("only an unknown field"): 1}),
        b"\0\0\0\0\1" + good[:40],
        orjson.dumps(body(aviary, "surrogate")).replace(b'"city":"', b'"city":"\\ud800'),
    ]
    faults: dict[str, Any] = {}
    for name in FIELDS:
        faults[f"{name} of another type"] = {name: [{sing(name): sing(name)}]}
        faults[f"{name} too long"] = {name: sing(name) * 400}
        faults[f"{name} with a control character"] = {name: f"{sing(name)}\u0007"}
        faults[f"{name} with a bidi control"] = {name: f"{sing(name)}\u202e"}
    faults["no date"] = {"dateOfBirth": sing("no date")}
    faults["no e-mail address"] = {"email": sing("no e-mail address")}
    faults["no digits"] = {"phone": "Zeisig"}
    faults["no gender"] = {"gender": {sing("no gender"): sing("no gender")}}
    faults["no such patient"] = {"patient": sing("no such patient")}
    faults["no customer"] = {"customer": f"{sing('no customer')} \u00e4"}
    bad = [event(aviary, f"value {n}", value) for n, value in enumerate(values)]
    bad += [event(aviary, name.replace(" ", "-"), body(aviary, name, **change)) for name, change in faults.items()]
    whole = body(aviary, "attributes")
    bad += [
        event(aviary, "a", whole, id=f"{sing('ce_id')}\n"),
        event(aviary, "b", whole, id=sing("long ce_id") * 40),
        event(aviary, "c", whole, source=f"kafka:{sing('ce_source')}"),
        event(aviary, "d", whole, specversion=sing("ce_specversion")),
        event(aviary, "e", whole, type=sing("ce_type")),
        event(aviary, "f", whole, time=sing("ce_time")),
        event(aviary, "g", whole, subject=f"{sing('ce_subject')} {sing('ce_subject')}"),
        event(aviary, "h", whole, id=b"\xff" + sing("ce_id that is not UTF-8").encode()),
        event(aviary, "i", body(aviary, "other customer", customer="cus_2"), subject="cus_1"),
        _twice(event(aviary, "j", whole), "ce_id", sing("repeated ce_id")),
        Outbound(None, good, (("idempotency-key", f"{sing('idempotency-key')}\0".encode()),)),
        Outbound(f"{sing('key')} \u00e4".encode(), good, ()),
        Outbound(b"\xff" + sing("key that is not UTF-8").encode(), good, ()),
        Outbound(f"{sing('key of a tombstone')} /".encode(), None, ()),
        Outbound(b"cus_1", good, (("__dlq.errors.topic", sing("__dlq.errors.topic").encode()),)),
        Outbound(
            b"cus_1",
            orjson.dumps({"specversion": "1.0", "id": sing("structured id") + "\n", "source": 7, "data": whole}),
            (("content-type", f"application/cloudevents+json; charset={sing('content-type')}".encode()),),
        ),
        Outbound(
            b"cus_1",
            orjson.dumps(
                {
                    "specversion": "1.0",
                    "id": "both",
                    "source": "/privacy",
                    "type": "patient.upsert.requested",
                    "data": whole,
                    "data_base64": base64.b64encode(good).decode(),
                }
            ),
        ),
        event(aviary, "too-large", orjson.dumps(body(aviary, "too large")).ljust(MEBIBYTE + 1)),
    ]
    return bad


def _twice(record: Outbound, name: str, value: str) -> Outbound:
    return Outbound(record.key, record.value, (*record.headers, (name, value.encode())))
