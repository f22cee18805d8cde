"""The value of a record: its size, its depth, and what is not JSON at all."""

from __future__ import annotations

import pytest

from app.model import Headers, Position, Record
from tests.unit.making import EVENT, TOPIC, faults_of, opened, request_of
from tests.unit.making import record as made

STRUCTURED = (("content-type", b"application/cloudevents+json"),)
MEBIBYTE = 1024 * 1024


@pytest.mark.rule("R3.27")
@pytest.mark.parametrize("headers", [(), tuple(EVENT), STRUCTURED])
def test_a_value_over_one_mebibyte_is_too_large(headers: Headers) -> None:
    envelope = opened(b" " * (MEBIBYTE - 1) + b"{}", headers)
    assert faults_of(envelope) == ("record_too_large", {("", "too_large")})
    assert (envelope.readable, envelope.data) == (False, None)


@pytest.mark.rule("R3.27")
def test_a_value_of_one_mebibyte_is_read() -> None:
    envelope = opened(b" " * (MEBIBYTE - 2) + b"{}")
    assert (envelope.readable, envelope.data, envelope.refusal) == (True, {}, None)


@pytest.mark.rule("R3.28")
@pytest.mark.parametrize("deep", [33, 1025, 200_000])
@pytest.mark.parametrize(("begin", "end"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_json_that_is_nested_too_deeply_is_refused(deep: int, begin: bytes, end: bytes) -> None:
    if len(begin + end) * deep > MEBIBYTE:
        deep //= 2
    envelope = opened(begin * deep + b"1" + end * deep)
    assert faults_of(envelope) == ("invalid_json", {("", "too_deep")})


@pytest.mark.rule("R3.28")
def test_json_that_is_nested_as_deeply_as_may_be_is_read() -> None:
    assert opened(b"[" * 32 + b"1" + b"]" * 32).readable
    assert opened(b'{"a":' * 32 + b"1" + b"}" * 32).readable


@pytest.mark.rule("R3.29")
@pytest.mark.parametrize(
    "value",
    [b"", b"{", b"{'a': 1}", b"{} {}", b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": "\xff"}', b"\xef\xbb\xbf{}",
     '{"a": 1}'.encode("utf-16"), b'{"a": 01}', b'{"a": "\x01"}', b"\0\0\0\0", b'{"a": "\\ud800"'],
)  # fmt: skip
def test_a_value_that_is_not_json_is_told(value: bytes) -> None:
    envelope = opened(value)
    assert faults_of(envelope) == ("invalid_json", {("", "not_json")})
    assert (envelope.readable, envelope.id) == (False, "patient.upsert.requested/3/7@1767323045678")


@pytest.mark.rule("R3.29")
def test_a_record_without_a_value_is_told() -> None:
    tombstone = Record(Position(TOPIC, 3, 7, 0), b"cus_1", None, ())
    answer = request_of(tombstone).refusal
    assert answer is not None
    assert (answer.error.value, [fault.code.value for fault in answer.faults]) == ("invalid_json", ["no_value"])


@pytest.mark.rule("R3.30")
def test_an_undecodable_record_is_refused_under_its_position() -> None:
    envelope = opened(b"\xff", EVENT, undecodable=True, key=b"cus_1")
    assert faults_of(envelope) == ("invalid_event", {("", "not_decodable")})
    assert envelope.id == "patient.upsert.requested/3/7@1767323045678"
    assert (envelope.source, envelope.readable, envelope.key_customer) == (f"kafka:{TOPIC}", False, None)
    request = request_of(made(b"\xff", EVENT, undecodable=True))
    assert request.refusal == envelope.refusal
    assert request.customer is None
