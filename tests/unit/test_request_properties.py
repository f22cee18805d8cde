"""What holds for every request, tried with generated ones."""

from __future__ import annotations

import unicodedata
from datetime import UTC, date, datetime
from typing import Any

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.errors import SENTENCES, Fault
from app.model import UNSET, PatientData
from app.request import _by_model, validate
from tests.support import BODY

FIELDS = [
    "customer",
    "patient",
    "firstName",
    "lastName",
    "dateOfBirth",
    "gender",
    "phone",
    "email",
    "address",
    "address2",
]
FIELDS += ["city", "state", "postalCode", "country", "first_name", "\ud800"]
LIMITS = {
    "first_name": 200, "last_name": 200, "phone": 40, "address": 300, "address2": 300, "city": 100, "state": 100,
    "postal_code": 100, "country": 100, "gender": 100, "email": 254,
}  # fmt: skip
BIDI_CONTROLS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")

any_character = st.characters(exclude_categories=[]) | st.sampled_from("\x00\x1c\x85\u202e\ud800 \n")
kept_character = st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=BIDI_CONTROLS) | st.sampled_from(
    " \t\r\n\u200b\u200d\u2028\u0301\u0308\u0315\u3164\u2800e\u1112\u1161\u11abß\u212a\u0958"
)
texts = st.text(any_character, max_size=330)
kept_texts = st.text(kept_character, max_size=95)
label_character = st.sampled_from("abXY019üßÅéяءא例\u0308") | st.characters(categories=["Ll", "Lu", "Lo", "Mn", "Nd"])
labels = st.text("abXY019", min_size=1, max_size=60) | st.text(label_character, min_size=1, max_size=9) | texts
local_parts = st.text("aB9.+-_'é\u0308\u212b", min_size=1, max_size=90) | st.text("aB", max_size=250) | texts
addresses = st.builds(
    lambda local, domain: f"{local}@{'.'.join(domain)}", local_parts, st.lists(labels, min_size=1, max_size=4)
) | st.builds("{}@{}.example".format, local_parts, labels)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["value", "code", "text", "display", "coding"]) | texts, inner, max_size=4)
    ),
    max_leaves=6,
)
dates = st.dates(min_value=date(1700, 1, 1), max_value=date(2100, 1, 1)).map(date.isoformat)
times = st.datetimes(timezones=st.just(UTC))
usable = st.fixed_dictionaries(
    {
        "firstName": kept_texts.map("A{}".format),
        "lastName": kept_texts.map("{} 7".format),
        "dateOfBirth": st.just("2001-02-03"),
        "phone": st.text(kept_character, max_size=30).map("555{}".format),
        "address": kept_texts.map("{}-".format),
        "city": kept_texts.map("-{}".format),
        "state": kept_texts,
        "postalCode": kept_texts,
        "country": kept_texts.map("{}-".format),
    },
    optional={
        "gender": st.none() | kept_texts,
        "email": st.just("a@b.example") | addresses,
        "address2": st.none() | kept_texts,
        "patient": kept_texts.map(lambda text: text[:60].translate(dict.fromkeys(b"\t\r\n"))),
    },
)
RECEIVED_AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def as_data(read: PatientData) -> dict[str, Any]:
    given = {
        "patient": read.patient,
        "firstName": read.first_name,
        "lastName": read.last_name,
        "dateOfBirth": read.date_of_birth.isoformat(),
        "gender": read.gender,
        "phone": read.phone,
        "email": read.email,
        "address": read.address,
        "address2": read.address2,
        "city": read.city,
        "state": read.state,
        "postalCode": read.postal_code,
        "country": read.country,
    }
    return {name: value for name, value in given.items() if value is not UNSET}


def assert_lawful(read: PatientData | tuple[Fault, ...]) -> None:
    if isinstance(read, tuple):
        assert read
        assert all(fault.code in SENTENCES for fault in read)
        return
    for name, limit in LIMITS.items():
        value = getattr(read, name)
        if value in (None, UNSET):
            continue
        assert value or name in ("state", "postal_code")
        assert len(value) <= limit
        assert value == value.strip()
        assert unicodedata.is_normalized("NFC", value)
        assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in BIDI_CONTROLS for c in value)
    assert read.patient is None or 1 <= len(read.patient.encode()) <= 255


@pytest.mark.rule("R5.50")
@settings(deadline=None)
@given(data=values | st.dictionaries(st.sampled_from(FIELDS), values | dates | addresses), received_at=times)
def test_any_json_gives_patient_data_or_faults(data: object, received_at: datetime) -> None:
    assert_lawful(validate(data, received_at=received_at))


@pytest.mark.rule("R5.50")
@settings(deadline=None)
@given(
    data=usable,
    other=st.dictionaries(st.sampled_from(FIELDS), values | dates | addresses, max_size=1),
    received_at=times | st.just(RECEIVED_AT),
)
def test_the_quick_way_takes_what_the_model_takes_and_nothing_else(
    data: dict[str, Any], other: dict[str, Any], received_at: datetime
) -> None:
    given_data = data | other
    assert validate(given_data, received_at=received_at) == _by_model(given_data, received_at)


@pytest.mark.parametrize("field", FIELDS[:-2])
@pytest.mark.parametrize("value", [None, False, True, 0, 1, 0.0, "", " ", [], ["a"], {}, {"code": ""}])
def test_the_quick_way_tells_other_types_as_the_model_does(field: str, value: object) -> None:
    given_data = {**BODY, field: value}
    assert validate(given_data, received_at=RECEIVED_AT) == _by_model(given_data, RECEIVED_AT)


@pytest.mark.rule("R5.12", "R5.13", "R5.50", "R5.51")
@settings(deadline=None)
@given(data=usable)
def test_what_was_stored_is_valid_again_and_stays_the_same(data: dict[str, Any]) -> None:
    read = validate(data, received_at=RECEIVED_AT)
    assert_lawful(read)
    if isinstance(read, PatientData):
        assert validate(as_data(read), received_at=RECEIVED_AT) == read


@pytest.mark.rule("R5.30", "R5.51")
@settings(deadline=None)
@given(text=addresses)
def test_an_address_is_accepted_exactly_when_the_library_accepts_it(text: str) -> None:
    text = unicodedata.normalize("NFC", text)
    data = {"firstName": "A", "lastName": "B", "dateOfBirth": "2001-02-03", "phone": "555", "address": "x", "city": "x"}
    data |= {"state": "", "postalCode": "", "country": "x"}
    read = validate(data | {"email": text}, received_at=RECEIVED_AT)
    try:
        normal = validate_email(text.strip(), check_deliverability=False).normalized
    except EmailNotValidError:
        assert isinstance(read, tuple)
    else:
        assert isinstance(read, PatientData)
        assert isinstance(read.email, str)
        assert read.email.lower() == normal.lower()
        assert validate(data | {"email": read.email}, received_at=RECEIVED_AT) == read


@settings(max_examples=300)
@example(given_data={**BODY, "address": " "})
@example(given_data={**BODY, "city": ""})
@example(given_data={**BODY, "country": " "})
@given(
    given_data=st.fixed_dictionaries(
        {name: st.just(value) for name, value in BODY.items()}
        | dict.fromkeys(
            ("address", "city", "state", "postalCode", "country"),
            st.text("aB ", max_size=2)
            | st.text("aB 7-\t\x7fé", max_size=5)
            | st.text("a ", min_size=19, max_size=105)
            | st.none()
            | st.just(["a"]),
        )
    )
)
def test_short_texts_are_read_as_the_model_reads_them(given_data: dict[str, Any]) -> None:
    assert validate(given_data, received_at=RECEIVED_AT) == _by_model(given_data, RECEIVED_AT)
