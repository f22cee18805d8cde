"""Which form a record has, and what is taken from it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from app.model import Headers
from tests.support import BODY, body
from tests.unit.making import EVENT, MADE, MADE_MS, TOPIC, faults_of, opened, request_of, structured, with_headers
from tests.unit.making import record as made

STRUCTURED = (("content-type", b"application/cloudevents+json; charset=utf-8"),)


@pytest.mark.rule("R3.1")
@pytest.mark.parametrize("frame", [b"\0\0\0\0\x07", b"\0\xff{}\0"])
@pytest.mark.parametrize("headers", [(), tuple(EVENT)])
def test_a_confluent_frame_is_stripped(frame: bytes, headers: Headers) -> None:
    envelope = opened(frame + body(), headers)
    assert (envelope.data, envelope.refusal) == (BODY, None)


@pytest.mark.rule("R3.1")
def test_a_frame_is_stripped_from_an_event_in_structured_mode_as_well() -> None:
    envelope = opened(b"\0\0\0\0\x07" + structured(), STRUCTURED)
    assert (envelope.id, envelope.data, envelope.refusal) == ("evt-1", BODY, None)


@pytest.mark.rule("R3.2")
def test_a_specversion_header_makes_an_event_in_binary_mode() -> None:
    headers = with_headers(EVENT, ce_subject=b"cus_9", ce_time=b"2026-01-01T10:00:00Z")
    envelope = opened(body(), headers)
    assert (envelope.id, envelope.source, envelope.named_customer) == ("evt-1", "/upstream", "cus_9")
    assert envelope.event_time == datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert (envelope.data, envelope.refusal, envelope.source_from_customer) == (BODY, None, False)


@pytest.mark.rule("R3.3")
@pytest.mark.parametrize(
    "content_type",
    [
        b"application/cloudevents+json",
        b"application/cloudevents+json; charset=UTF-8",
        b"Application/CloudEvents+JSON;charset=utf-8",
    ],
)
def test_the_content_type_makes_an_event_in_structured_mode(content_type: bytes) -> None:
    headers = (("Content-Type", content_type),)
    envelope = opened(structured(subject="cus_9", time="2026-01-01T10:00:00Z"), headers)
    assert (envelope.id, envelope.source, envelope.named_customer) == ("evt-1", "/upstream", "cus_9")
    assert envelope.event_time == datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert (envelope.data, envelope.refusal) == (BODY, None)
    assert faults_of(opened(body(), headers))[1] >= {("/specversion", "wrong_specversion"), ("/id", "missing")}


@pytest.mark.rule("R3.4")
@pytest.mark.parametrize("content_type", [None, b"application/json", b"text/plain", b"\xff"])
def test_a_specversion_in_the_value_makes_an_event_in_structured_mode(content_type: bytes | None) -> None:
    headers = () if content_type is None else (("content-type", content_type),)
    envelope = opened(structured(), headers)
    assert (envelope.id, envelope.source, envelope.data, envelope.refusal) == ("evt-1", "/upstream", BODY, None)


@pytest.mark.rule("R3.5")
def test_an_idempotency_key_is_the_id_of_a_plain_record() -> None:
    envelope = opened(body(), (("idempotency-key", b"key-1"),))
    assert (envelope.id, envelope.data, envelope.refusal) == ("key-1", BODY, None)


@pytest.mark.rule("R3.6")
def test_the_source_of_a_plain_record_with_a_key_is_its_header() -> None:
    request = request_of(made(headers=(("idempotency-key", b"key-1"), ("source", b"/portal"))))
    assert (request.id, request.source) == ("key-1", "/portal")


@pytest.mark.rule("R3.6")
@pytest.mark.parametrize("more", [(), (("source", None),)])
def test_without_a_source_header_it_is_the_topic_and_the_customer(more: Headers) -> None:
    request = request_of(made(headers=(("idempotency-key", b"key-1"), *more)))
    assert (request.id, request.source) == ("key-1", f"kafka:{TOPIC}#cus_1")


@pytest.mark.rule("R3.7")
def test_any_other_record_is_named_by_its_place() -> None:
    envelope = opened(body(), (("source", b"/portal"), ("content-type", b"application/json")), offset=41)
    assert envelope.id == "patient.upsert.requested/3/41@1767323045678"
    assert envelope.source == "kafka:patient.upsert.requested"
    assert (envelope.data, envelope.refusal, envelope.source_from_customer) == (BODY, None, False)


@pytest.mark.rule("R3.7")
def test_a_record_without_a_timestamp_is_named_with_minus_one() -> None:
    assert opened(timestamp=-1).id == "patient.upsert.requested/3/7@-1"


@pytest.mark.rule("R3.8")
def test_binary_mode_goes_before_structured_mode_and_that_before_a_key() -> None:
    key = ("idempotency-key", b"key-1")
    inner = structured(id="inner")
    binary = opened(inner, (*EVENT, *STRUCTURED, key))
    assert (binary.id, binary.data) == ("evt-1", json.loads(inner))
    assert opened(inner, (*STRUCTURED, key)).id == "inner"
    assert opened(inner, (key,)).id == "inner"


@pytest.mark.rule("R3.12")
def test_header_names_match_whatever_their_case() -> None:
    headers = [(name.replace("ce_", "Ce_").upper(), value) for name, value in EVENT]
    assert opened(body(), headers).id == "evt-1"
    assert opened(body(), (("Idempotency-Key", b"key-1"), ("SOURCE", b"/portal"))).source == "/portal"


@pytest.mark.rule("R3.14")
@pytest.mark.parametrize("more", [{"data": ...}, {"data": None}])
def test_the_data_may_be_given_as_base64(more: dict[str, object]) -> None:
    encoded = base64.b64encode(body()).decode()
    envelope = opened(structured(data_base64=encoded, **more), STRUCTURED)
    assert (envelope.data, envelope.refusal, envelope.readable) == (BODY, None, True)


@pytest.mark.rule("R3.16")
@pytest.mark.parametrize("content_type", [b"application/json; charset=utf-8", b"text/plain", b"", b"\xff", None])
@pytest.mark.parametrize("headers", [(), tuple(EVENT)])
def test_any_content_type_is_accepted(content_type: bytes | None, headers: Headers) -> None:
    envelope = opened(body(), (*headers, ("content-type", content_type)))
    assert (envelope.data, envelope.refusal) == (BODY, None)


@pytest.mark.rule("R3.17")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-01T10:00:00Z", datetime(2026, 1, 1, 10, tzinfo=UTC)),
        ("2026-01-01t10:00:00z", datetime(2026, 1, 1, 10, tzinfo=UTC)),
        ("2026-01-01 10:00:00Z", datetime(2026, 1, 1, 10, tzinfo=UTC)),
        ("2026-01-01T10:00:00+00:00", datetime(2026, 1, 1, 10, tzinfo=UTC)),
        ("2026-01-01T10:00:00-05:30", datetime(2026, 1, 1, 15, 30, tzinfo=UTC)),
        ("2026-01-01T10:00:00.5Z", datetime(2026, 1, 1, 10, 0, 0, 500000, tzinfo=UTC)),
        ("2026-01-01T10:00:00.123456789Z", datetime(2026, 1, 1, 10, 0, 0, 123456, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_the_time_of_an_event_is_read(text: str, expected: datetime) -> None:
    assert opened(body(), with_headers(EVENT, ce_time=text.encode())).event_time == expected
    assert opened(structured(time=text), STRUCTURED).event_time == expected


@pytest.mark.rule("R3.18")
def test_unknown_attributes_extensions_and_headers_are_ignored() -> None:
    more = (("ce_partitionkey", b"\xff"), ("ce_dataschema", b"x"), ("x-unknown", b"\xff"), ("x-unknown", b"\xfe"))
    assert opened(body(), (*EVENT, *more)).refusal is None
    event = structured(partitionkey=7, dataschema={"a": [1]}, datacontenttype="text/xml", data_base64=None)
    envelope = opened(event, STRUCTURED)
    assert (envelope.data, envelope.refusal) == (BODY, None)


def letter(**changes: bytes | None) -> Headers:
    given = {"topic": b"patient.upsert.requested", "partition": b"3", "offset": b"6", "timestamp": b"1700000000000"}
    return tuple((f"__dlq.errors.{name}", value) for name, value in {**given, **changes}.items() if value is not None)


@pytest.mark.rule("R3.10")
def test_a_replayed_dead_letter_has_the_place_and_the_id_that_it_first_had() -> None:
    envelope = opened(body(), (*letter(), ("__dlq.errors.group", b"\xff"), ("__dlq.errors.message", b"any")))
    assert envelope.position == (TOPIC, 3, 6, 1_700_000_000_000)
    assert envelope.id == "patient.upsert.requested/3/6@1700000000000"
    assert (envelope.source, envelope.replayed_letter, envelope.refusal) == (f"kafka:{TOPIC}", True, None)
    assert envelope.record.position == (TOPIC, 3, 7, MADE_MS)


@pytest.mark.rule("R3.10")
def test_a_replayed_dead_letter_from_another_topic_keeps_the_source_it_had() -> None:
    elsewhere = letter(topic=b"older.topic", partition=b"5", offset=b"99", timestamp=b"-1")
    headers = (*elsewhere, ("idempotency-key", b"key-1"))
    request = request_of(made(headers=headers))
    assert (request.id, request.source) == ("key-1", "kafka:older.topic#cus_1")
    assert request.position == ("older.topic", 5, 99, -1)


@pytest.mark.rule("R3.11")
@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"topic": None}, {"topic"}),
        ({"partition": b"-1"}, {"partition"}),
        ({"offset": b"1e3", "timestamp": b"-2"}, {"offset", "timestamp"}),
        ({"topic": b"no topic", "partition": None, "offset": b"", "timestamp": b" 1"},
         {"topic", "partition", "offset", "timestamp"}),
        ({"partition": "٥".encode()}, {"partition"}),
        ({"partition": b"1234567890"}, {"partition"}),
        ({"offset": b"1234567890123456789"}, {"offset"}),
        ({"timestamp": b"1234567890123456"}, {"timestamp"}),
        ({"topic": b"t" * 250}, {"topic"}),
    ],
)  # fmt: skip
def test_each_header_of_a_dead_letter_must_be_as_it_was_made(changes: dict[str, bytes | None], wrong: set[str]) -> None:
    envelope = opened(body(), letter(**changes))
    assert faults_of(envelope) == ("invalid_event", {(f"/__dlq.errors.{name}", "letter_invalid") for name in wrong})
    assert (envelope.position, envelope.replayed_letter) == ((TOPIC, 3, 7, MADE_MS), False)


@pytest.mark.rule("R14.6")
def test_a_letter_does_not_take_effect_later_than_it_was_published() -> None:
    ahead = request_of(made(headers=letter(timestamp=b"4000000000000")))
    assert (ahead.effective_at, ahead.position.timestamp) == (MADE, 4_000_000_000_000)
    late = request_of(made(headers=letter(), timestamp=-1))
    assert late.effective_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


@pytest.mark.rule("R3.31", "R3.40")
@pytest.mark.parametrize(
    ("data", "subject", "named"),
    [
        ({"customer": "cus_data"}, None, "cus_data"),
        ({"customer": "cus_data"}, "cus_data", "cus_data"),
        ({"customer": ""}, "cus_subject", "cus_subject"),
        ({"customer": None}, "cus_subject", "cus_subject"),
        ({}, "cus_subject", "cus_subject"),
        ({}, "", None),
        ({}, None, None),
    ],
)
def test_the_data_name_the_customer_else_the_subject_does(
    data: dict[str, object], subject: str | None, named: str | None
) -> None:
    headers = with_headers(EVENT, ce_subject=None if subject is None else subject.encode())
    envelope = opened(body(**data), headers)
    assert (envelope.named_customer, envelope.key_customer, envelope.refusal) == (named, "cus_1", None)
    assert opened(structured(data=data, subject=subject), STRUCTURED).named_customer == named
