"""The values of answers, written out whole."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime

import pytest

from app.errors import SENTENCES, ErrorCode, Fault, FaultCode, Refusal
from app.model import Outcome, Request
from app.response import details, refused, success_value, timestamp
from tests.support import body
from tests.unit.making import (
    EVENT,
    NOW,
    customer,
    decided,
    holding,
    parsed,
    patient,
    request,
    request_of,
    structured,
    with_headers,
)
from tests.unit.making import record as made

CREATED = (
    b'{"status":200,"outcome":"created",'
    b'"request":{"id":"evt-1","source":"/upstream","customer":"cus_1"},'
    b'"response":{"customer":"cus_1","email":"ada@clinic.local","first_name":"Ada","last_name":"Example",'
    b'"billing_address_id":null,"phone":"+44 20 7946 0000","has_account":false,'
    b'"created_at":"2026-01-02T03:04:07.000Z","updated_at":"2026-01-02T03:04:07.000Z","deleted_at":null,'
    b'"metadata":{},"patient":"pat_new1","firstName":"Ada","lastName":"Example","dateOfBirth":"1990-05-17",'
    b'"gender":"female","address":"1 Example Street","address2":null,"city":"London","state":"",'
    b'"postalCode":"N1 9GU","country":"GB"}}'
)

UPDATED = (
    '{"status":200,"outcome":"updated",'
    '"request":{"id":"key-1","source":"kafka:patient.upsert.requested#cus_1","customer":"cus_1"},'
    '"response":{"customer":"cus_1","email":"zoë@clinic.example","first_name":"Grace","last_name":"Payer",'
    '"billing_address_id":"adr_1","phone":"٠٢٠ 555","has_account":true,'
    '"created_at":"2025-06-01T12:00:00.000Z","updated_at":"2026-01-02T03:04:07.000Z","deleted_at":null,'
    '"metadata":{"vip": 1},"patient":"pat_cus_1","firstName":"美咲","lastName":"O\'Sample \\"Q\\" \\\\",'
    '"dateOfBirth":"2024-02-29",'
    '"gender":"F","address":"1 Rue de l’Été","address2":"Flat 3","city":"القاهرة","state":"",'
    '"postalCode":"","country":"日本"}}'
).encode()

REJECTED = (
    b'{"status":400,"outcome":"rejected",'
    b'"request":{"id":"evt-1","source":"/upstream","customer":"cus_1"},'
    b'"response":{"error":"validation_failed","details":['
    b'{"field":"/firstName","code":"missing","message":"is required"},'
    b'{"field":"/dateOfBirth","code":"date_in_future","message":"must not be in the future"},'
    b'{"field":"/phone","code":"too_few_digits","message":"must contain at least three digits"}]}}'
)

UNREADABLE = (
    b'{"status":400,"outcome":"rejected",'
    b'"request":{"id":"patient.upsert.requested/3/7@1767323045678","source":"kafka:patient.upsert.requested",'
    b'"customer":"cus_1"},'
    b'"response":{"error":"invalid_json","details":[{"field":"","code":"not_json","message":"must be JSON in UTF-8"}]}}'
)

NAMELESS = (
    b'{"status":400,"outcome":"rejected",'
    b'"request":{"id":null,"source":null,"customer":null},'
    b'"response":{"error":"invalid_event","details":['
    b'{"field":"/id","code":"missing","message":"is required"},'
    b'{"field":"/source","code":"source_reserved","message":"must not begin with kafka:"},'
    b'{"field":"/customer","code":"customer_missing","message":"no customer is named"}]}}'
)

NOT_FOUND = (
    b'{"status":404,"outcome":"rejected",'
    b'"request":{"id":"evt-1","source":"/upstream","customer":"cus_1"},'
    b'"response":{"error":"patient_not_found","details":['
    b'{"field":"/patient","code":"patient_unknown","message":"is not known for this customer"}]}}'
)

FAILED = (
    b'{"status":500,"outcome":"failed",'
    b'"request":{"id":"evt-1","source":"/upstream","customer":"cus_1"},'
    b'"response":{"error":"internal_error","details":['
    b'{"field":"","code":"failed","message":"the request could not be processed"}]}}'
)


def value_of(given: Request) -> bytes:
    (answer,) = decided(given).answers
    return answer.value


@pytest.mark.rule("R4.1", "R4.2", "R4.3", "R5C.4")
def test_the_answer_to_a_new_customer() -> None:
    assert value_of(request()) == CREATED


@pytest.mark.rule("R4.1", "R4.2", "R4.3", "R5C.2", "R5C.3", "R5C.5")
def test_the_answer_to_an_update_in_many_scripts() -> None:
    value = body(
        firstName="美咲",
        lastName='O\'Sample "Q" \\',
        dateOfBirth="2024-02-29",
        gender={"code": "F"},
        phone="٠٢٠ 555",
        email="zoë@CLINIC.example",
        address=" 1 Rue de l’E\u0301te\u0301 ",
        city="القاهرة",
        postalCode="",
        country="日本",
    ).replace(b'"address2":null,', b"")
    given = request_of(made(value, (("idempotency-key", b"key-1"),)))
    (answer,) = decided(given, known=holding(customer(), patient())).answers
    assert answer.value == UPDATED


@pytest.mark.rule("R4.1", "R4.11", "R4.12")
def test_the_answer_to_a_request_with_faults() -> None:
    value = body(dateOfBirth="2026-01-04", phone="none").replace(b'"firstName":"Ada",', b"")
    assert value_of(request_of(made(value, EVENT))) == REJECTED


@pytest.mark.rule("R4.1", "R4.11")
def test_the_answer_to_what_is_not_json() -> None:
    assert value_of(request_of(made(b"{"))) == UNREADABLE


@pytest.mark.rule("R4.12", "R4.13", "R3.19")
def test_the_answer_to_an_event_that_names_nobody() -> None:
    given = made(body(), with_headers(EVENT, ce_id=None, ce_source=b"kafka:mine"), key=None)
    assert value_of(request_of(given)) == NAMELESS


@pytest.mark.rule("R4.9", "R4.11")
def test_the_answer_to_an_unknown_patient() -> None:
    assert value_of(request(patient="pat_unknown")) == NOT_FOUND


@pytest.mark.rule("R4.10", "R4.11")
def test_the_answer_to_what_failed() -> None:
    failure = Refusal(ErrorCode.INTERNAL_ERROR, (Fault("", FaultCode.FAILED),))
    assert refused(request(), failure, now=NOW).value == FAILED


@pytest.mark.rule("R4.2")
def test_the_response_has_the_22_fields_of_the_rest_operation() -> None:
    assert list(json.loads(CREATED)["response"]) == list(parsed(decided(request()).answers[0])["response"])
    assert len(json.loads(CREATED)["response"]) == 22


# --- status, outcome, codes


@pytest.mark.parametrize(
    ("code", "status", "outcome"),
    [
        pytest.param("invalid_json", 400, "rejected", marks=pytest.mark.rule("R4.8")),
        pytest.param("invalid_event", 400, "rejected", marks=pytest.mark.rule("R4.8")),
        pytest.param("record_too_large", 400, "rejected", marks=pytest.mark.rule("R4.8")),
        pytest.param("validation_failed", 400, "rejected", marks=pytest.mark.rule("R4.8")),
        pytest.param("customer_missing", 400, "rejected", marks=pytest.mark.rule("R4.8")),
        pytest.param("idempotency_key_reused", 400, "rejected", marks=pytest.mark.rule("R4.8")),
        pytest.param("unauthorized", 401, "rejected", marks=pytest.mark.rule("R4.9")),
        pytest.param("customer_not_found", 404, "rejected", marks=pytest.mark.rule("R4.9")),
        pytest.param("patient_not_found", 404, "rejected", marks=pytest.mark.rule("R4.9")),
        pytest.param("internal_error", 500, "failed", marks=pytest.mark.rule("R4.10")),
    ],
)
@pytest.mark.rule("R4.22")
def test_each_code_has_its_status_and_outcome(code: str, status: int, outcome: str) -> None:
    answer = refused(request(), Refusal(ErrorCode(code), (Fault("/x", FaultCode.MISSING),)), now=NOW)
    value = parsed(answer)
    assert (value["status"], value["outcome"], value["response"]["error"]) == (status, outcome, code)
    assert (answer.status, answer.outcome, answer.error) == (status, outcome, code)
    assert answer.dead_letter == (status == 500)


@pytest.mark.rule("R4.8", "R4.9", "R4.10")
def test_there_are_no_other_codes() -> None:
    assert len(ErrorCode) == 10


@pytest.mark.rule("R4.12")
def test_the_most_fundamental_code_leads_whatever_the_order() -> None:
    order = ["record_too_large", "invalid_json", "invalid_event", "customer_missing", "validation_failed"]
    refusals = [Refusal(ErrorCode(code), (Fault(f"/{code}", FaultCode.MISSING),)) for code in order]
    for first, second in itertools.pairwise(refusals):
        assert Refusal.merge(first, second) == Refusal(first.error, first.faults + second.faults)
        assert Refusal.merge(second, first) == Refusal(first.error, second.faults + first.faults)
    assert Refusal.merge(None, refusals[0]) == Refusal.merge(refusals[0], None) == refusals[0]
    assert Refusal.merge(None, None) is None


@pytest.mark.rule("R4.11")
def test_every_fault_has_a_fixed_sentence_without_room_for_a_value() -> None:
    assert set(SENTENCES) == set(FaultCode)
    assert [sentence for sentence in SENTENCES.values() if not sentence or "{" in sentence or "%" in sentence] == []


@pytest.mark.rule("R4.12")
def test_a_fault_that_was_found_twice_is_told_once() -> None:
    twice = [Fault("/a", FaultCode.MISSING), Fault("/b", FaultCode.NULL), Fault("/a", FaultCode.MISSING)]
    assert details(twice) == [
        {"field": "/a", "code": "missing", "message": "is required"},
        {"field": "/b", "code": "null", "message": "must not be null"},
    ]


# --- what shows


SECRET = "Xsecretx"


@pytest.mark.rule("R4.14")
@pytest.mark.parametrize("tail", ["\0", ""])
def test_no_value_of_a_request_shows_in_a_refusal_or_a_repr(tail: str) -> None:
    fields = ["firstName", "lastName", "dateOfBirth", "gender", "phone", "email", "city", "state", "customer"]
    secrets = dict.fromkeys([*fields, "patient", "unknown"], f"_{SECRET}{tail}")
    headers = (
        ("authorization", SECRET.encode()),
        ("x-unknown", SECRET.encode()),
        ("__dlq.errors.topic", f"{SECRET}/".encode()),
        ("ce_specversion", SECRET.encode()),
        ("ce_type", SECRET.encode()),
        ("ce_time", SECRET.encode()),
        ("ce_subject", f"_{SECRET}".encode()),
        ("ce_id", f"{SECRET}\0".encode()),
        ("ce_source", f"kafka:{SECRET}".encode()),
        ("ce_extension", SECRET.encode()),
    )
    given = request_of(made(body(**secrets), headers, key=f"_{SECRET}".encode()))
    event = structured(data=secrets, subject=f"_{SECRET}", id=f"{SECRET}\0", source=f"kafka:{SECRET}", type=SECRET)
    for request_ in (given, request_of(made(event, key=f"_{SECRET}".encode()))):
        planned = decided(request_)
        assert planned.answers[0].status == 400
        assert parsed(planned.answers[0])["request"] == {"id": None, "source": None, "customer": None}
        texts = [planned.answers[0].value.decode(), repr(request_), repr(planned), repr(request_.record)]
        assert [text for text in texts if SECRET in text] == []


@pytest.mark.rule("R4.14")
def test_no_value_of_a_row_shows_in_a_repr() -> None:
    secret = {"first_name": SECRET, "last_name": SECRET}
    known = holding(customer(**secret, phone=SECRET), patient(**secret, city=SECRET))
    planned = decided(request(firstName=SECRET), known=known)
    values = [known, *known.customers.values(), *known.patients.values(), planned, planned.writes, planned.answers]
    stored = planned.writes.answers[0]
    assert SECRET.encode() in stored.answer
    assert [value for value in [*values, stored, stored.position] if SECRET in repr(value)] == []


@pytest.mark.rule("R4.13")
@pytest.mark.parametrize(
    ("headers", "key", "shown"),
    [
        ({"ce_id": b"\x01"}, b"cus_1", {"id": None, "source": "/upstream", "customer": "cus_1"}),
        ({"ce_source": b"kafka:x"}, b"cus_1", {"id": "evt-1", "source": None, "customer": "cus_1"}),
        ({}, b"_1", {"id": "evt-1", "source": "/upstream", "customer": None}),
    ],
)
def test_id_source_and_customer_show_once_they_have_passed_their_rule(
    headers: dict[str, bytes], key: bytes, shown: dict[str, str | None]
) -> None:
    given = request_of(made(body(city=7), with_headers(EVENT, **headers), key=key))
    assert parsed(decided(given).answers[0])["request"] == shown


# --- times


@pytest.mark.rule("R4.3")
@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2024, 1, 1, tzinfo=UTC), "2024-01-01T00:00:00.000Z"),
        (datetime(2024, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "2024-12-31T23:59:59.999Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_a_time_is_written_with_milliseconds_and_z(time: datetime, text: str) -> None:
    assert timestamp(time) == text


@pytest.mark.rule("R4.26")
@pytest.mark.parametrize(("of_customer", "of_patient"), [(1, 2), (2, 1)])
def test_the_later_change_of_customer_and_patient_shows(of_customer: int, of_patient: int) -> None:
    rows = (
        customer(updated_at=datetime(2026, 1, of_customer, tzinfo=UTC), deleted_at=datetime(2026, 3, 1, tzinfo=UTC)),
        patient(updated_at=datetime(2026, 1, of_patient, tzinfo=UTC)),
    )
    response = json.loads(success_value(request(), Outcome.UNCHANGED, *rows))["response"]
    assert response["updated_at"] == "2026-01-02T00:00:00.000Z"
    assert response["deleted_at"] == "2026-03-01T00:00:00.000Z"
    assert response["created_at"] == "2025-06-01T12:00:00.000Z"
