"""What is wrong with a record or its event, and how it is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.model import Envelope, Headers
from tests.support import body
from tests.unit.making import EVENT, faults_of, opened, request_of, structured, with_headers
from tests.unit.making import record as made

STRUCTURED = (("content-type", b"application/cloudevents+json"),)
MEBIBYTE = 1024 * 1024


def binary(**changes: bytes | None) -> Envelope:
    return opened(body(), with_headers(EVENT, **changes))


def event(**changes: Any) -> Envelope:
    return opened(structured(**changes), STRUCTURED)


@pytest.mark.rule("R3.9")
@pytest.mark.parametrize("source", [b"kafka:", b"kafka:patient.upsert.requested", b"kafka:x#cus_1"])
def test_a_given_source_must_not_begin_with_kafka(source: bytes) -> None:
    plain = opened(body(), (("idempotency-key", b"key-1"), ("source", source)))
    for envelope in (binary(ce_source=source), event(source=source.decode()), plain):
        assert faults_of(envelope) == ("invalid_event", {("/source", "source_reserved")})
        assert (envelope.source, envelope.source_from_customer) == (None, False)


@pytest.mark.rule("R3.9")
@pytest.mark.parametrize("source", ["kafka", "/kafka:x", "Kafka:x"])
def test_a_source_may_hold_the_word_kafka(source: str) -> None:
    assert binary(ce_source=source.encode()).source == source


@pytest.mark.rule("R3.13")
@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("ce_specversion", "/specversion"),
        ("ce_id", "/id"),
        ("ce_source", "/source"),
        ("ce_type", "/type"),
        ("ce_subject", "/subject"),
        ("ce_time", "/time"),
        ("content-type", "/content-type"),
        ("idempotency-key", "/idempotency-key"),
        ("source", "/source"),
        ("authorization", "/authorization"),
        ("traceparent", "/traceparent"),
        ("tracestate", "/tracestate"),
        ("correlation_id", "/correlation_id"),
    ],
)
@pytest.mark.parametrize("others", [(b"a", b"b"), (b"a", None), (None, b"a")])
def test_a_header_with_two_values_is_told(name: str, field: str, others: tuple[bytes | None, bytes | None]) -> None:
    headers = [pair for pair in EVENT if pair[0] != name]
    envelope = opened(body(), (*headers, (name, others[0]), (name.upper(), others[1]), (name, b"c")))
    assert faults_of(envelope)[0] == "invalid_event"
    assert envelope.refusal is not None
    told = [(fault.field, fault.code.value) for fault in envelope.refusal.faults]
    assert told.count((field, "header_repeated")) == 1


@pytest.mark.rule("R3.13")
def test_an_id_that_is_repeated_with_another_value_is_nobodys() -> None:
    for name in ("ce_id", "ce_source"):
        envelope = opened(body(), (*EVENT, (name, b"another")))
        assert faults_of(envelope) == ("invalid_event", {(f"/{name[3:]}", "header_repeated")})
        assert None in (envelope.id, envelope.source)
    plain = (("idempotency-key", b"a"), ("source", b"/b"))
    assert opened(body(), (*plain, ("idempotency-key", b"b"))).id is None
    repeated = opened(body(), (*plain, ("source", b"/c")))
    assert (repeated.source, repeated.source_from_customer) == (None, False)


@pytest.mark.rule("R3.13")
def test_a_header_repeated_with_one_value_or_not_read_is_accepted() -> None:
    twice = (*EVENT, *EVENT, ("CE_ID", b"evt-1"))
    assert (opened(body(), twice).id, opened(body(), twice).refusal) == ("evt-1", None)
    assert opened(body(), (("x-tag", b"a"), ("x-tag", b"b"), ("__dlq.errors.message", b"a"))).refusal is None


@pytest.mark.rule("R3.13")
def test_dead_letter_headers_with_two_values_are_told() -> None:
    names = ("topic", "partition", "offset", "timestamp")
    headers = [(f"__dlq.errors.{name}", value) for name in names for value in (b"1", b"2")]
    told = {(f"/__dlq.errors.{name}", "header_repeated") for name in names}
    assert faults_of(opened(body(), headers)) == ("invalid_event", told)


@pytest.mark.rule("R3.15")
@pytest.mark.parametrize("wrong", ["not base64!", "e30", "e3 0=", "é", 7, ["e30="], {}, True])
def test_what_is_not_base64_is_told(wrong: object) -> None:
    envelope = event(data=..., data_base64=wrong)
    assert faults_of(envelope) == ("invalid_event", {("/data_base64", "data_not_base64")})
    assert (envelope.readable, envelope.data, envelope.id) == (False, None, "evt-1")


@pytest.mark.rule("R3.15")
def test_data_given_twice_are_told() -> None:
    envelope = event(data_base64="e30=")
    assert faults_of(envelope) == ("invalid_event", {("/data", "data_ambiguous")})
    assert not envelope.readable


@pytest.mark.rule("R3.15", "R3.29")
def test_base64_of_something_else_is_told_as_any_value_is() -> None:
    assert faults_of(event(data=..., data_base64="eyI=")) == ("invalid_json", {("", "not_json")})


@pytest.mark.rule("R3.17")
@pytest.mark.parametrize(
    "time",
    ["", "yesterday", "2026-01-01", "2026-01-01T10:00:00", "2026-13-01T10:00:00Z", "20260101T100000Z",
     "2026-01-01T10:00Z", "2026-01-01T10:00:00.Z", "2026-01-01T10:00:00+0000", "2026-01-01T10:00:00Z ",
     "0001-01-01T00:00:00+23:59", "2026-01-01T10:00:00+25:00", "٢٠٢٦-01-01T10:00:00Z", "2026-02-30T10:00:00Z"],
)  # fmt: skip
def test_a_time_that_is_none_is_told(time: str) -> None:
    for envelope in (binary(ce_time=time.encode()), event(time=time)):
        assert faults_of(envelope) == ("invalid_event", {("/time", "time_invalid")})
        assert (envelope.event_time, envelope.id) == (None, "evt-1")


@pytest.mark.rule("R3.19")
def test_an_event_without_id_and_source_gets_none() -> None:
    told = ("invalid_event", {("/id", "missing"), ("/source", "missing")})
    for given in (
        made(body(), with_headers(EVENT, ce_id=None, ce_source=None)),
        made(body(), (*with_headers(EVENT, ce_id=None, ce_source=None), ("ce_id", None), ("ce_source", None))),
        made(structured(id=..., source=None), STRUCTURED),
    ):
        envelope, request = opened(given.value, given.headers), request_of(given)
        assert faults_of(envelope) == told
        assert (request.id, request.source, request.key) == (None, None, None)


@pytest.mark.rule("R3.20")
def test_an_event_of_another_type_is_refused() -> None:
    for envelope in (binary(ce_type=b"patient.upsert.completed"), event(type="patient.upsert.requested ")):
        assert faults_of(envelope) == ("invalid_event", {("/type", "wrong_type")})
    for envelope in (binary(ce_type=None), event(type=...), event(type=None)):
        assert faults_of(envelope) == ("invalid_event", {("/type", "missing")})


@pytest.mark.rule("R3.21")
@pytest.mark.parametrize("version", ["1", "1.1", "0.3", "", "1.0 "])
def test_an_event_of_another_specversion_is_refused(version: str) -> None:
    for envelope in (binary(ce_specversion=version.encode()), event(specversion=version)):
        assert faults_of(envelope) == ("invalid_event", {("/specversion", "wrong_specversion")})
    assert faults_of(opened(body(), (("ce_specversion", None), *EVENT[1:])))[1] == {
        ("/specversion", "wrong_specversion")
    }


@pytest.mark.rule("R3.22")
@pytest.mark.parametrize("wrong", ["", "a" * 256, "é" * 128, "a\0", "a\n", "\x7f", "a\x85b", "\t"])
@pytest.mark.parametrize("name", ["id", "source"])
def test_an_id_or_source_that_breaks_its_rule_is_told_and_not_shown(name: str, wrong: str) -> None:
    headers = {"ce_id": b"evt-1", "ce_source": b"/upstream", f"ce_{name}": wrong.encode()}
    for envelope in (binary(**headers), event(**{name: wrong})):
        assert faults_of(envelope) == ("invalid_event", {(f"/{name}", "identifier_invalid")})
        assert getattr(envelope, name) is None


@pytest.mark.rule("R3.22")
@pytest.mark.parametrize("wrong", [b"", b"a" * 256, b"a\x1f", None])
def test_an_idempotency_key_that_breaks_its_rule_is_told_and_not_shown(wrong: bytes | None) -> None:
    envelope = opened(body(), (("idempotency-key", wrong), ("source", b"/portal")))
    assert faults_of(envelope) == ("invalid_event", {("/idempotency-key", "identifier_invalid")})
    assert (envelope.id, envelope.source) == (None, "/portal")


@pytest.mark.rule("R3.22", "R3.23")
@pytest.mark.parametrize("id", ["a", "a" * 255, "é" * 127 + "x", " a ", "e\u0301", "\u00a0", "猫"])
def test_an_id_is_taken_as_it_is(id: str) -> None:
    assert binary(ce_id=id.encode()).id == id
    assert event(id=id, source=id).source == id
    assert opened(body(), (("idempotency-key", id.encode()), ("source", id.encode()))).id == id


@pytest.mark.rule("R3.24")
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("specversion", "wrong_specversion"),
        ("id", "identifier_invalid"),
        ("source", "identifier_invalid"),
        ("type", "wrong_type"),
        ("subject", "customer_invalid"),
        ("time", "time_invalid"),
    ],
)
@pytest.mark.parametrize("wrong", [7, 1.5, True, [], {"a": 1}])
def test_an_attribute_that_is_not_a_string_is_told_once(name: str, code: str, wrong: object) -> None:
    envelope = event(**{name: wrong})
    assert envelope.refusal is not None
    assert [(fault.field, fault.code) for fault in envelope.refusal.faults] == [(f"/{name}", code)]
    assert (envelope.named_customer, envelope.event_time) == (None, None)


@pytest.mark.rule("R3.24")
def test_a_null_subject_and_a_null_time_are_absent() -> None:
    envelope = event(subject=None, time=None)
    assert (envelope.refusal, envelope.named_customer, envelope.event_time) == (None, None, None)


@pytest.mark.rule("R3.25")
@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ((*EVENT[:1], ("ce_id", b"\xff"), *EVENT[2:]), "/id"),
        ((*EVENT, ("ce_subject", b"\xff")), "/subject"),
        ((*EVENT, ("ce_time", b"\xff")), "/time"),
        ((("idempotency-key", b"\xff"), ("source", b"/portal")), "/idempotency-key"),
        ((("idempotency-key", b"key-1"), ("source", b"\xff")), "/source"),
    ],
)
def test_a_header_that_is_not_utf8_is_told(headers: Headers, field: str) -> None:
    envelope = opened(body(), headers)
    assert faults_of(envelope) == ("invalid_event", {(field, "header_not_utf8")})
    assert envelope.source_from_customer is False


@pytest.mark.rule("R3.26")
@pytest.mark.parametrize("value", [b"[]", b'"text"', b"null", b"7"])
def test_what_is_declared_to_be_an_event_must_be_an_object(value: bytes) -> None:
    envelope = opened(value, STRUCTURED)
    assert faults_of(envelope) == ("invalid_event", {("", "not_an_object")})
    assert (envelope.id, envelope.source, envelope.readable) == (None, None, False)


@pytest.mark.rule("R3.26", "R3.29")
def test_what_is_declared_to_be_an_event_and_is_not_json_is_told_so() -> None:
    assert faults_of(opened(b"{", STRUCTURED)) == ("invalid_json", {("", "not_json")})


@pytest.mark.rule("R3.35")
@pytest.mark.parametrize("subject", ["cus_2", "CUS_1", "cus_1 "])
def test_a_subject_that_names_another_customer_than_the_data_is_told(subject: str) -> None:
    headers = with_headers(EVENT, ce_subject=subject.encode())
    for envelope in (opened(body(customer="cus_1"), headers), event(data={"customer": "cus_1"}, subject=subject)):
        assert faults_of(envelope) == ("validation_failed", {("/customer", "customer_mismatch")})


@pytest.mark.rule("R4.12")
def test_all_faults_of_a_record_are_told_at_once() -> None:
    headers = with_headers(EVENT, ce_type=b"other", ce_time=b"x", ce_id=b"", ce_subject=b"cus_2", ce_source=b"kafka:")
    request = request_of(made(body(customer="cus_1", city=7, firstName=""), headers))
    assert request.refusal is not None
    assert request.refusal.error.value == "invalid_event"
    assert {(fault.field, fault.code.value) for fault in request.refusal.faults} == {
        ("/type", "wrong_type"),
        ("/time", "time_invalid"),
        ("/id", "identifier_invalid"),
        ("/source", "source_reserved"),
        ("/customer", "customer_mismatch"),
        ("/firstName", "empty"),
        ("/city", "not_a_string"),
    }


def test_an_object_that_is_no_event_is_read_as_a_body() -> None:
    assert opened(json.dumps({"id": "x", "source": "y", "type": "z"}).encode()).data == {
        "id": "x",
        "source": "y",
        "type": "z",
    }
