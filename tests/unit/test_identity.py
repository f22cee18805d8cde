"""Which request a record is: its customer, its key in the inbox, and the fingerprint of its content."""

from __future__ import annotations

import json
import re

import pytest

from app.envelope import Identity, identify, open_envelope
from app.errors import Refusal
from tests.support import BODY, body
from tests.unit.making import EVENT, PATTERN, opened, request_of, structured, with_headers
from tests.unit.making import record as made


def told(refusal: Refusal | None) -> tuple[str, list[tuple[str, str]]] | None:
    if refusal is None:
        return None
    return (refusal.error.value, [(fault.field, fault.code.value) for fault in refusal.faults])


def identity(value: bytes | None = None, *, owner: str | None = None, key: bytes | None = None) -> Identity:
    return identify(opened(value, key=key), owner=owner, pattern=PATTERN)


MISSING = ("customer_missing", [("/customer", "customer_missing")])
INVALID = ("validation_failed", [("/customer", "customer_invalid")])


@pytest.mark.rule("R3.31")
@pytest.mark.parametrize(
    ("data", "subject", "owner", "key", "expected"),
    [
        ("cus_data", None, "cus_owner", b"cus_key", "cus_data"),
        (None, b"cus_subject", "cus_owner", b"cus_key", "cus_subject"),
        (None, None, "cus_owner", b"cus_key", "cus_owner"),
        (None, None, None, b"cus_key", "cus_key"),
        (None, None, None, None, None),
    ],
)
def test_the_customer_is_told_by_the_data_the_subject_the_patient_or_the_key(
    data: str | None, subject: bytes | None, owner: str | None, key: bytes | None, expected: str | None
) -> None:
    envelope = opened(body(customer=data, patient="pat_1"), with_headers(EVENT, ce_subject=subject), key=key)
    assert identify(envelope, owner=owner, pattern=PATTERN).customer == expected


@pytest.mark.rule("R3.32")
def test_the_key_names_nobody_where_the_settings_say_so() -> None:
    envelope = open_envelope(made(key=b"cus_1"), customer_from_key=False)
    found = identify(envelope, owner=None, pattern=PATTERN)
    assert (found.customer, told(found.refusal), found.key_differs) == (None, MISSING, False)


@pytest.mark.rule("R3.33")
@pytest.mark.parametrize("key", [b"pat_", b"pat_0198c5d2", b"", None])
def test_the_key_of_a_patient_is_no_customer(key: bytes | None) -> None:
    found = identity(key=key)
    assert (found.customer, told(found.refusal)) == (None, MISSING)
    assert identity(body(customer="cus_1"), key=key).key_differs is False


@pytest.mark.rule("R3.33")
def test_a_customer_may_begin_with_something_like_it() -> None:
    assert identity(key=b"PAT_1").customer == "PAT_1"
    assert identity(body(customer="pat_1")).customer == "pat_1"


@pytest.mark.rule("R3.34")
@pytest.mark.parametrize(
    "wrong", ["_cus", "cus 1", " cus", "cus_1\n", "a" * 101, "é", "cus/1", "a\0", "\ud800", "cus_1 ", "."]
)
def test_a_customer_that_breaks_its_rule_is_told_and_not_shown(wrong: str) -> None:
    found = identity(json.dumps({**BODY, "customer": wrong}).encode())
    assert (found.customer, told(found.refusal)) == (None, INVALID)
    assert identity(owner=wrong).customer is None


@pytest.mark.rule("R3.34")
@pytest.mark.parametrize("wrong", [7, 1.5, True, False, [], ["cus_1"], {"id": "cus_1"}])
def test_a_customer_that_is_not_a_string_is_told(wrong: object) -> None:
    found = identity(body(customer=wrong), key=b"cus_key")
    assert (found.customer, told(found.refusal)) == (None, INVALID)


@pytest.mark.rule("R3.34")
@pytest.mark.parametrize("key", [b"\xff\xfe", b"a b", b"\x00\x01", "é".encode()])
def test_a_key_that_is_no_customer_is_told(key: bytes) -> None:
    assert told(identity(key=key).refusal) == INVALID


@pytest.mark.rule("R3.34")
@pytest.mark.parametrize("right", ["a", "A1._:-", "a" * 100, "0"])
def test_a_customer_that_keeps_the_rule_is_taken(right: str) -> None:
    assert identity(body(customer=right)).customer == right


@pytest.mark.rule("R3.34")
def test_the_pattern_is_matched_as_a_whole_and_the_rule_of_ids_holds_as_well() -> None:
    def with_pattern(pattern: str, customer: str) -> str | None:
        return identify(opened(body(customer=customer)), owner=None, pattern=re.compile(pattern)).customer

    assert with_pattern("[a-z]+", "abc") == "abc"
    assert with_pattern("[a-z]+", "abc1") is None
    assert with_pattern(".*", "Käthe Ö/1") == "Käthe Ö/1"
    assert with_pattern("(?s).*", "a" * 255) == "a" * 255
    assert with_pattern("(?s).*", "a" * 256) is None
    assert with_pattern("(?s).*", "a\nb") is None
    assert with_pattern("(?s).*", "a\x9fb") is None


@pytest.mark.rule("R3.36")
@pytest.mark.parametrize(
    ("key", "differs"), [(b"cus_2", True), (b"\xff", True), (b"cus_1", False), (b"pat_1", False), (None, False)]
)
def test_a_key_that_names_another_customer_is_accepted_and_told(key: bytes | None, differs: bool) -> None:
    found = identity(body(customer="cus_1"), key=key)
    assert (found.customer, found.refusal, found.key_differs) == ("cus_1", None, differs)
    assert request_of(made(body(customer="cus_1"), key=key)).key_differs is differs


@pytest.mark.rule("R3.36")
def test_a_key_differs_from_nobody() -> None:
    assert identity(body(customer="_"), key=b"cus_1").key_differs is False


@pytest.mark.rule("R3.37")
@pytest.mark.parametrize("value", [body(), body(customer=None), body(customer="", patient=""), body(patient=7), b"[]"])
def test_a_request_that_names_nobody_is_told(value: bytes) -> None:
    assert told(identity(value).refusal) == MISSING


@pytest.mark.rule("R3.37")
def test_of_an_unreadable_value_it_cannot_be_told_whether_it_names_somebody() -> None:
    assert identity(b"{").refusal is None


@pytest.mark.rule("R3.37")
def test_a_patient_that_nobody_knows_is_left_to_the_lookup() -> None:
    found = identity(body(patient="pat_1"))
    assert (found.customer, found.refusal) == (None, None)


@pytest.mark.rule("R3.38")
def test_an_email_address_names_nobody() -> None:
    assert told(identity(body(email="cus_1@clinic.local")).refusal) == MISSING


@pytest.mark.rule("R3.23")
def test_a_customer_is_taken_as_it_is() -> None:
    found = identify(opened(body(customer=" e\u0301")), owner=None, pattern=re.compile(".*"))
    assert found.customer == " e\u0301"


# --- the key in the inbox


@pytest.mark.rule("R6.12")
def test_id_and_source_make_the_key() -> None:
    def key(source: str, id: str) -> bytes | None:
        return request_of(made(headers=with_headers(EVENT, ce_source=source.encode(), ce_id=id.encode()))).key

    keys = [key("/a", "1"), key("/b", "1"), key("/a", "2"), key("/a1", ""), key("/", "a1"), key("/a/1", "x")]
    assert keys[0] == bytes.fromhex("0921129f78b78d80e40ecfae4e384cb9")
    assert keys[0] == key("/a", "1")
    assert len(set(keys)) == 6
    assert keys[3] is None


@pytest.mark.rule("R6.12")
def test_a_key_of_its_own_is_its_customers() -> None:
    first = request_of(made(headers=(("idempotency-key", b"1"),), key=b"cus_1"))
    second = request_of(made(headers=(("idempotency-key", b"1"),), key=b"cus_2"))
    assert (first.source, second.source) == (
        "kafka:patient.upsert.requested#cus_1",
        "kafka:patient.upsert.requested#cus_2",
    )
    assert first.key != second.key


def test_a_key_without_a_customer_has_no_source() -> None:
    found = request_of(made(body(patient="pat_1"), (("idempotency-key", b"1"),), key=None))
    assert (found.id, found.source, found.key) == ("1", None, None)


# --- the fingerprint


def fingerprint(value: bytes, key: bytes = b"cus_1") -> bytes | None:
    return identity(value, key=key).fingerprint


@pytest.mark.rule("R6.7")
def test_the_fingerprint_is_the_same_for_a_reserialised_copy() -> None:
    plain = b'{"b":[1,{"d":"\xc3\xa9","c":null}],"a":1}'
    copy = b' { "a" : 1.0 ,\r\n "b" : [ 1e0 , { "c" : null , "d" : "\\u00e9" } ] } '
    assert fingerprint(plain) == fingerprint(copy) == fingerprint(b"\0\0\0\0\x01" + plain)


@pytest.mark.rule("R6.7")
def test_the_fingerprint_is_a_digest_over_version_customer_and_canonical_data() -> None:
    # printf '\001cus_1\n{"a":1}' | sha256sum
    assert fingerprint(b'{"a": 1.0}') == bytes.fromhex(
        "7b32f99e902138a4dc006145bcf0c38d77cd9a1d9de0c05b4213e5fe3160d7cd"
    )


@pytest.mark.rule("R6.7")
def test_of_an_event_only_the_data_and_the_customer_count() -> None:
    first = opened(structured(id="1", data={"a": 1}), key=b"cus_1")
    second = opened(b'{"a":1}', with_headers(EVENT, ce_time=b"2026-01-01T10:00:00Z", ce_subject=b"cus_1"), key=None)
    found = [identify(envelope, owner=None, pattern=PATTERN).fingerprint for envelope in (first, second)]
    assert found[0] == found[1] == fingerprint(b'{"a":1}')


@pytest.mark.rule("R6.8")
@pytest.mark.parametrize(
    "other",
    [b'{"a":2}', b'{"a":"1"}', b'{"a":true}', b'{"a":1,"b":null}', b'{"A":1}', b'{"a":1.5}', b'{"a":[1]}', b"[]"],
)
def test_other_data_have_another_fingerprint(other: bytes) -> None:
    assert fingerprint(other) != fingerprint(b'{"a":1}')


@pytest.mark.rule("R6.8")
def test_another_customer_has_another_fingerprint() -> None:
    assert fingerprint(b'{"a":1}', b"cus_2") != fingerprint(b'{"a":1}', b"cus_1")


@pytest.mark.rule("R6.11")
def test_what_cannot_be_read_has_no_fingerprint() -> None:
    assert fingerprint(b"{") is None
