"""What holds for every record, tried with generated ones."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import SENTENCES, ErrorCode
from app.model import Headers, Position, Record
from app.plan import Rules
from app.response import answer_headers, letter_headers
from tests.support import BODY
from tests.unit.making import TOPIC, customer, decided, holding, patient, request_of

READ = ["specversion", "id", "source", "type", "time", "subject"]
LETTER = ["topic", "partition", "offset", "timestamp"]
NAMES = [*(f"ce_{name}" for name in READ), *(f"__dlq.errors.{name}" for name in LETTER), "CE_ID", "idempotency-key"]
NAMES += ["source", "content-type", "traceparent", "authorization", "other"]
VALUES = [b"1.0", b"evt-1", b"/upstream", b"kafka:x", b"patient.upsert.requested", b"2026-01-01T10:00:00Z", b"cus_1"]
VALUES += [b"application/cloudevents+json", b"99", b"-1", b"1700000000000", b"\xff", b"", b"a\0"]

names = st.sampled_from(NAMES) | st.text(max_size=3)
parts = st.sampled_from(VALUES)
headers = st.lists(st.tuples(names, parts | st.none() | st.binary(max_size=8)), max_size=7).map(tuple)
event = {"ce_specversion": b"1.0", "ce_id": b"1", "ce_source": b"/a", "ce_type": b"patient.upsert.requested"}
events = headers.map(lambda more: (*event.items(), *more))
texts = st.text(max_size=6) | st.sampled_from(["cus_1", "cus_2", "pat_cus_1", "\ud800", "\0", "a" * 256, ""])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
fields = st.sampled_from([*BODY, "customer"])
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*BODY, "customer"]), inner, max_size=4)
    ),
    max_leaves=6,
)
bodies = st.fixed_dictionaries({}, optional={"customer": scalars, "patient": scalars, "city": scalars}).map(
    lambda changes: BODY | changes
)
structured = st.fixed_dictionaries(
    {}, optional={"data": bodies | anything} | dict.fromkeys([*READ, "data_base64"], scalars)
).map(lambda changes: {"specversion": "1.0", "id": "1", "source": "/a", "type": "patient.upsert.requested"} | changes)
values = (
    st.none()
    | st.binary(max_size=20)
    | (anything | bodies | structured).map(lambda value: json.dumps(value).encode())
    | bodies.map(lambda value: b"\0\0\0\0\1" + json.dumps(value).encode())
    | st.integers(30, 40).map(lambda deep: b"[" * deep + b"]" * deep)
)
records = st.builds(
    Record,
    position=st.builds(Position, st.just(TOPIC), st.integers(0, 3), st.integers(0, 99), st.integers(-1, 10**15 - 1)),
    key=st.none() | st.binary(max_size=8) | st.sampled_from([b"cus_1", b"cus_2", b"pat_1"]),
    value=values,
    headers=headers | events,
    undecodable=st.sampled_from([False] * 9 + [True]),
)
ENVELOPE = ["status", "outcome", "request", "response"]
OUTCOMES = {
    200: {"created", "updated", "unchanged", "superseded"},
    400: {"rejected"},
    401: {"rejected"},
    404: {"rejected"},
}


def assert_well_formed(value: Any) -> None:
    assert list(value) == ENVELOPE
    assert value["outcome"] in OUTCOMES[value["status"]]
    assert list(value["request"]) == ["id", "source", "customer"]
    for shown in value["request"].values():
        assert shown is None or 1 <= len(shown.encode()) <= 255
    if value["status"] == 200:
        assert len(value["response"]) == 22
        assert None not in value["request"].values()
        return
    assert list(value["response"]) == ["error", "details"]
    assert ErrorCode(value["response"]["error"]).status == value["status"]
    assert value["response"]["details"]
    for detail in value["response"]["details"]:
        assert detail["field"] == "" or detail["field"].startswith("/")
        assert SENTENCES[detail["code"]] == detail["message"]


@pytest.mark.rule("R3.39", "R4.1", "R4.11", "R4.13")
@settings(deadline=None, max_examples=400)
@given(
    batch=st.lists(records, min_size=1, max_size=4),
    owner=st.sampled_from([None, "cus_1", "cus_9"]),
    create=st.booleans(),
)
def test_any_record_gets_one_well_formed_answer(batch: list[Record], owner: str | None, create: bool) -> None:
    requests = [request_of(record, owner=owner) for record in batch]
    planned = decided(*requests, known=holding(customer(), patient()), rules=Rules(create_unknown=create))
    assert [answer.record for answer in planned.answers] == batch
    for answer in planned.answers:
        assert_well_formed(json.loads(answer.value))
        assert UUID(answer.id).version == 5
        assert {name for name, value in answer_headers(answer, "t") if value is None} == set()
        letter: Headers = tuple(letter_headers(answer, "group"))
        behind = answer.position._replace(offset=answer.position.offset + 1)
        again = request_of(Record(behind, answer.record.key, answer.record.value, letter))
        assert again.position == answer.position


@pytest.mark.rule("R3.39", "R6.2")
@settings(deadline=None)
@given(record=records)
def test_the_same_record_is_always_the_same_request(record: Record) -> None:
    first, again = request_of(record), request_of(record)
    assert first == again
    assert (first.key is None) == (first.id is None or first.source is None)
    assert (first.data is None) != (first.refusal is None)
    assert first.data is None or first.fingerprint is not None
