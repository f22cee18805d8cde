"""The schema of requests says what the worker does: what it accepts is valid, what it refuses is not."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.errors import ErrorCode, Fault, FaultCode
from app.request.characters import INVISIBLE, KEPT, LETTER_OR_DIGIT, THREE_DIGITS
from tests.unit.making import record, request_of

SCHEMA = json.loads((Path(__file__).parents[2] / "contracts/schemas/request.json").read_text(encoding="utf-8"))
PLAIN = jsonschema.Draft202012Validator(SCHEMA)
WITH_FORMATS = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
VALID: dict[str, Any] = {
    "customer": "cus_1",
    "patient": None,
    "firstName": "Zoë",
    "lastName": "Sample",
    "dateOfBirth": "2001-02-03",
    "gender": "female",
    "phone": "+1 202 555 0143",
    "email": "zoe@clinic.example",
    "address": "12 Invented Street",
    "address2": "Flat 3",
    "city": "Springfield",
    "state": "OR",
    "postalCode": "97475",
    "country": "US",
}
PROSE = {FaultCode.DATE_IN_FUTURE, FaultCode.DATE_TOO_OLD, FaultCode.EMAIL_INVALID}
"""Faults that no schema could tell."""


def refusal(data: object) -> tuple[Fault, ...] | None:
    """The faults for which the worker refuses these data, None where it does not."""
    found = request_of(record(json.dumps(data).encode()), received=datetime(2026, 3, 1, tzinfo=UTC)).refusal
    if found is None:
        return None
    assert found.error is ErrorCode.VALIDATION_FAILED
    return found.faults


def agree(data: object) -> None:
    ids = [data.get(name) for name in ("customer", "patient")] if isinstance(data, dict) else []
    # their limit counts bytes, which no schema does
    assume(all(id.isascii() or len(id.encode("utf-8", "surrogatepass")) <= 255 for id in ids if isinstance(id, str)))
    faults = refusal(data)
    if faults is None:
        assert [error.message[-200:] for error in WITH_FORMATS.iter_errors(data)] == []
    else:
        assume(not {fault.code for fault in faults} <= PROSE)
        assert not PLAIN.is_valid(data), faults


def counted_as_it_is(text: str) -> str:
    """A text whose length is the same once it is trimmed and in NFC, or does not matter."""
    text = unicodedata.normalize("NFC", text).strip()
    return text if re.search(f"[^{INVISIBLE}]", text) else text[:10]


odd = st.sampled_from(
    "\x00\t\n\r\x1c\x7f\x85\xa0\u0301\u061c\u115f\u200b\u200d\u200e\u2028\u2066\u2800\u3164\ud800\udfff"
)
character = st.characters(exclude_categories=[]) | odd | st.sampled_from("aZ09-_.٣५Ⅷ½美\U00011f50\U0001f642")
texts = st.text(character, max_size=9) | st.text(character, max_size=320).map(counted_as_it_is)
telling = st.sampled_from(["", " ", "\n", "\u200b", "\u202e", "\x1c", "-", "Ada", "Ada\n", "Ada\x00"])
at_limits = st.sampled_from([length + more for length in (3, 40, 100, 200, 254, 255, 300) for more in (0, 1)]).map(
    "5".__mul__
)
days = st.builds("{:04}-{:02}-{:02}".format, st.integers(1880, 2030), st.integers(0, 13), st.integers(0, 32))
times = st.sampled_from(
    ["", "T00:00", " 00:00:00", "t00:00:00.000z", "T00:00:00Z", "T00:00+05:30", "T00:00-2359", "T01:00", "T00:00+24:00"]
)
dates = st.builds("{}{}".format, days | st.just("2000-02-29") | st.just("1900-02-29"), times)
others = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
strings = telling | texts | at_limits
scalars = others | strings
codings = st.fixed_dictionaries({}, optional={"code": telling | scalars, "display": telling | scalars})
genders = scalars | st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(["value", "code", "name", "text", "display", "other"], telling | others | strings),
        "coding": st.lists(codings | others, max_size=2) | codings,
    },
)
anything = scalars | st.lists(scalars, max_size=2) | st.dictionaries(texts, scalars, max_size=2)
ids = st.text(character, max_size=63) | st.text("aZ0._:-", max_size=300)
changes = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(VALID, anything),
        "customer": anything | ids,
        "patient": anything | ids,
        "dateOfBirth": anything | dates,
        "gender": genders,
        "unknown": anything,
    },
)


@pytest.mark.rule("R8.1")
@settings(deadline=None, max_examples=400)
@given(changes=changes, left_out=st.sets(st.sampled_from(sorted(VALID)), max_size=2))
def test_the_schema_of_requests_accepts_exactly_what_the_worker_accepts(
    changes: dict[str, Any], left_out: set[str]
) -> None:
    data = {name: value for name, value in {**VALID, **changes}.items() if name not in left_out}
    agree(data)


@pytest.mark.rule("R8.1")
@pytest.mark.parametrize("field", sorted(VALID))
@settings(deadline=None, max_examples=150)
@given(value=anything | telling | at_limits | genders | dates | ids)
def test_each_field_of_the_schema_accepts_exactly_what_the_worker_accepts(field: str, value: object) -> None:
    agree({**VALID, field: value})


few = st.sampled_from(["", "\u200b", "\u202e", "F", "F\x00", "5" * 101, 1, None])


@pytest.mark.rule("R8.1")
@settings(deadline=None, max_examples=600)
@given(
    gender=st.fixed_dictionaries(
        {},
        optional={
            "value": few,
            "code": few,
            "display": few,
            "coding": st.lists(st.fixed_dictionaries({}, optional={"code": few, "display": few}), max_size=2),
        },
    )
)
def test_the_schema_takes_the_string_of_a_gender_object_that_the_worker_takes(gender: dict[str, Any]) -> None:
    agree({**VALID, "gender": gender})


@pytest.mark.rule("R8.1")
@settings(deadline=None)
@given(data=anything)
def test_what_is_no_object_is_no_request(data: object) -> None:
    agree(data)


@pytest.mark.rule("R8.2")
def test_the_sets_of_the_schemas_are_those_of_the_rules() -> None:
    sets = {
        "kept": re.compile(f"[{KEPT}]"),
        "invisible": re.compile(f"[{INVISIBLE}]"),
        "letter": re.compile(f"[{LETTER_OR_DIGIT}]"),
    }
    refused = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    wrong = []
    for point in range(0x110000):
        text = chr(point)
        category = unicodedata.category(text)
        kept = text in "\t\n\r" or (category not in ("Cc", "Cs") and text not in refused)
        wrong += [hex(point)] if kept != bool(sets["kept"].match(text)) else []
        wrong += [hex(point)] if text.isspace() and not sets["invisible"].match(text) else []
        letter = category[0] in "LN" and text not in "\u115f\u1160\u3164\uffa0"
        if category != "Cn":  # this Python may know fewer characters than the table
            wrong += [hex(point)] if letter != bool(sets["letter"].match(text)) else []
            digits = bool(re.search(THREE_DIGITS, f"x{text}-{text} {text}"))
            wrong += [hex(point)] if digits != (category == "Nd") else []
    assert wrong == []


@pytest.mark.rule("R8.2")
def test_a_letter_that_is_newer_than_a_python_is_a_letter_to_all() -> None:
    assert refusal({**VALID, "firstName": "\U00011f04", "phone": "\U00011f50\U00011f51\U00011f52"}) is None  # Kawi
