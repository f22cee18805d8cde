"""Every code of a refusal is documented, and every documented one is what the worker really answers."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest

from app.contracts.catalogue import ERRORS, FAULTS, page
from app.errors import SENTENCES, ErrorCode, FaultCode
from app.model import Known, Record
from tests.support import BODY, body
from tests.tokens import GUARDED
from tests.unit.making import EARLIER, EVENT, customer, holding, parsed, patient, record, structured, with_headers
from tests.unit.making_store import Memory, Passes, events, pipeline

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "errors.md"
FAILED = json.loads((ROOT / "contracts" / "schemas" / "answer-failed.json").read_text(encoding="utf-8"))


class Case(NamedTuple):
    error: str
    code: str
    record: Record
    known: Known = Known()
    settings: dict[str, Any] = {}
    before: tuple[Record, ...] = ()
    poison: str = ""


def bad(code: str, **changes: object) -> Case:
    """One field of a plain request is wrong."""
    return Case("validation_failed", code, record(body(**changes)))


def surrogate() -> bytes:
    return json.dumps({**BODY, "city": "\ud800"}).encode()


def event(code: str, **headers: bytes | None) -> Case:
    return Case("invalid_event", code, record(headers=with_headers(EVENT, **headers)))


NESTED = b'{"x":' * 33 + b"1" + b"}" * 33
LETTER = [
    ("__dlq.errors.topic", b"patient.upsert.requested"),
    ("__dlq.errors.partition", b"x"),
    ("__dlq.errors.offset", b"7"),
    ("__dlq.errors.timestamp", b"1"),
]

CASES = [
    Case("invalid_event", "not_decodable", record(undecodable=True)),
    Case("invalid_json", "no_value", Record(record().position, b"cus_1", None, ())),
    Case("invalid_json", "not_json", record(b"{")),
    Case("invalid_json", "too_deep", record(NESTED)),
    Case("record_too_large", "too_large", record(b" " * (1024 * 1024 + 1))),
    Case("validation_failed", "not_an_object", record(b"[]")),
    Case("invalid_event", "not_an_object", record(b"[]", [("content-type", b"application/cloudevents+json")])),
    Case("invalid_event", "header_repeated", record(headers=[*EVENT, ("CE_ID", b"evt-2")])),
    event("header_not_utf8", ce_id=b"\xff"),
    event("wrong_specversion", ce_specversion=b"0.3"),
    event("wrong_type", ce_type=b"patient.deleted"),
    event("identifier_invalid", ce_id=b"\n"),
    bad("identifier_invalid", patient="\n"),
    event("source_reserved", ce_source=b"kafka:x"),
    event("time_invalid", ce_time=b"yesterday"),
    event("missing", ce_id=None),
    Case("invalid_event", "letter_invalid", record(headers=LETTER)),
    Case("invalid_event", "data_ambiguous", record(structured(data_base64=base64.b64encode(body()).decode()))),
    Case("invalid_event", "data_not_base64", record(structured(data=..., data_base64="-"))),
    Case("invalid_event", "customer_invalid", record(structured(subject=7))),
    Case("customer_missing", "customer_missing", record(key=None)),
    bad("customer_invalid", customer="-"),
    Case("validation_failed", "customer_mismatch", record(structured(subject="cus_1", data={**BODY, "customer": "b"}))),
    Case("customer_not_found", "customer_unknown", record(), settings={"unknown_customer": "reject"}),
    Case("customer_not_found", "customer_unknown", record(), holding(customer(deleted_at=EARLIER))),
    Case("patient_not_found", "patient_unknown", record(body(patient="pat_other")), holding(customer(), patient())),
    Case("patient_not_found", "patient_unknown", record(body(patient="pat_none"), key=None)),
    Case("validation_failed", "missing", record(b"{}")),
    bad("null", city=None),
    bad("not_a_string", city=7),
    bad("not_a_string_or_object", gender=7),
    bad("empty", city=" "),
    bad("too_long", city="x" * 101),
    bad("control_character", city="a\x00"),
    bad("bidi_control", city="a\u202e"),
    Case("validation_failed", "lone_surrogate", record(surrogate())),
    bad("no_visible_character", firstName="-"),
    bad("too_few_digits", phone="12"),
    bad("email_invalid", email="nobody"),
    bad("date_invalid", dateOfBirth="3.2.2001"),
    bad("date_in_future", dateOfBirth="2026-02-03"),
    bad("date_too_old", dateOfBirth="1850-02-03"),
    bad("gender_unreadable", gender={}),
    Case(
        "idempotency_key_reused",
        "key_reused",
        record(body(city="Leeds"), EVENT),
        before=(record(None, EVENT, offset=1),),
    ),
    Case("unauthorized", "not_allowed", record(), settings=GUARDED),
    Case("internal_error", "failed", events("1")[0], poison="1"),
]


@pytest.mark.rule("R8.5")
@pytest.mark.parametrize("case", CASES, ids=[f"{case.error}-{case.code}" for case in CASES])
async def test_a_code_is_answered_where_its_fault_is(case: Case) -> None:
    memory = Memory(case.known, poison={case.poison})
    worker = pipeline(memory, **case.settings)
    await worker.process(case.before, Passes())
    (answer,) = await worker.process([case.record], Passes())
    said = parsed(answer)
    assert (said["status"], said["response"]["error"]) == (ErrorCode(case.error).status, case.error)
    assert case.code in {detail["code"] for detail in said["response"]["details"]}
    jsonschema.Draft202012Validator(FAILED).validate(said)


@pytest.mark.rule("R8.5")
def test_every_code_is_documented_and_provoked_here() -> None:
    errors = {case.error for case in CASES}
    faults = {case.code for case in CASES}
    assert errors == set(ErrorCode) == set(ERRORS)
    assert faults == set(FaultCode) == set(FAULTS) == set(SENTENCES)


@pytest.mark.rule("R8.5")
def test_the_error_code_that_is_documented_with_a_fault_is_one_that_it_comes_under() -> None:
    provoked = {(case.code, case.error) for case in CASES}
    assert [code.value for code, cause in FAULTS.items() if (code.value, cause.under.value) not in provoked] == []


@pytest.mark.rule("R8.5")
def test_the_page_of_errors_is_the_one_that_the_codes_give() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make errors"
