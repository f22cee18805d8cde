"""The shape of a request's data, and the rules that hold for every text in it."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from typing import Any

import pytest

from app.errors import Fault, FaultCode
from app.model import UNSET, PatientData
from app.request import RequestData, validate

RECEIVED_AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
REQUIRED = ["firstName", "lastName", "dateOfBirth", "phone", "address", "city", "state", "postalCode", "country"]
TEXTS = ["firstName", "lastName", "address", "address2", "city", "state", "postalCode", "country", "gender", "phone"]


def request_data(**changes: Any) -> dict[str, Any]:
    return {
        "firstName": "Zoë",
        "lastName": "Sample",
        "dateOfBirth": "2001-02-03",
        "phone": "+1 202 555 0143",
        "address": "12 Invented Street",
        "city": "Springfield",
        "state": "OR",
        "postalCode": "97475",
        "country": "US",
    } | changes


def read(**changes: Any) -> PatientData:
    found = validate(request_data(**changes), received_at=RECEIVED_AT)
    assert isinstance(found, PatientData), found
    return found


def faults(**changes: Any) -> list[tuple[str, str]]:
    found = validate(request_data(**changes), received_at=RECEIVED_AT)
    assert isinstance(found, tuple)
    return [(fault.field, fault.code.value) for fault in found]


def stored(field: str, value: object) -> Any:
    names = {"firstName": "first_name", "lastName": "last_name", "postalCode": "postal_code"}
    return getattr(read(**{field: value}), names.get(field, field))


# --- the shape


def test_a_request_with_every_field_becomes_patient_data() -> None:
    assert read(patient="pat_1", gender="female", email="zoe@clinic.example", address2="Flat 3") == PatientData(
        first_name="Zoë",
        last_name="Sample",
        date_of_birth=date(2001, 2, 3),
        phone="+1 202 555 0143",
        address="12 Invented Street",
        city="Springfield",
        state="OR",
        postal_code="97475",
        country="US",
        gender="female",
        email="zoe@clinic.example",
        address2="Flat 3",
        patient="pat_1",
    )


@pytest.mark.rule("R5.1")
@pytest.mark.parametrize("data", [None, "text", 1, 1.5, True, [], [{}]])
def test_data_that_is_no_object_gets_one_fault(data: object) -> None:
    assert validate(data, received_at=RECEIVED_AT) == (Fault("", FaultCode.NOT_AN_OBJECT),)


@pytest.mark.rule("R5.2")
def test_every_fault_is_reported_at_once_in_field_order() -> None:
    bad = {
        "country": "x" * 101,
        "postalCode": 97475,
        "state": None,
        "city": "",
        "address2": 1,
        "address": "a\x00b",
        "email": "nobody",
        "phone": "12",
        "gender": {},
        "dateOfBirth": "3.2.2001",
        "firstName": "-",
        "patient": "\x00",
    }
    assert validate(bad, received_at=RECEIVED_AT) == (
        Fault("/patient", FaultCode.IDENTIFIER_INVALID),
        Fault("/firstName", FaultCode.NO_VISIBLE_CHARACTER),
        Fault("/lastName", FaultCode.MISSING),
        Fault("/dateOfBirth", FaultCode.DATE_INVALID),
        Fault("/gender", FaultCode.GENDER_UNREADABLE),
        Fault("/phone", FaultCode.TOO_FEW_DIGITS),
        Fault("/email", FaultCode.EMAIL_INVALID),
        Fault("/address", FaultCode.CONTROL_CHARACTER),
        Fault("/address2", FaultCode.NOT_A_STRING),
        Fault("/city", FaultCode.EMPTY),
        Fault("/state", FaultCode.NULL),
        Fault("/postalCode", FaultCode.NOT_A_STRING),
        Fault("/country", FaultCode.TOO_LONG),
    )


@pytest.mark.rule("R5.3")
def test_a_value_that_breaks_several_rules_gets_a_fault_for_each() -> None:
    assert faults(firstName="\x00\u202e\ud800" + "-" * 200) == [
        ("/firstName", "control_character"),
        ("/firstName", "bidi_control"),
        ("/firstName", "lone_surrogate"),
        ("/firstName", "too_long"),
        ("/firstName", "no_visible_character"),
    ]
    assert faults(phone="x" * 41) == [("/phone", "too_long"), ("/phone", "too_few_digits")]


@pytest.mark.rule("R5.4")
def test_each_required_field_is_missed() -> None:
    assert validate({}, received_at=RECEIVED_AT) == tuple(Fault(f"/{field}", FaultCode.MISSING) for field in REQUIRED)


@pytest.mark.rule("R5.4")
def test_fields_are_known_by_the_names_of_the_rest_request_only() -> None:
    data = request_data(first_name="Zoë")
    del data["firstName"]
    assert validate(data, received_at=RECEIVED_AT) == (Fault("/firstName", FaultCode.MISSING),)


@pytest.mark.rule("R5.5")
@pytest.mark.parametrize("field", REQUIRED)
def test_a_required_field_must_not_be_null(field: str) -> None:
    assert faults(**{field: None}) == [(f"/{field}", "null")]


@pytest.mark.rule("R5.6")
@pytest.mark.parametrize("field", [*REQUIRED, "email", "address2", "patient"])
@pytest.mark.parametrize(
    "value", [7, 7.5, True, ["Zoë"], {"value": "Zoë"}], ids=["int", "float", "bool", "list", "dict"]
)
def test_nothing_is_converted_to_a_string(field: str, value: object) -> None:
    assert faults(**{field: value}) == [(f"/{field}", "not_a_string")]


@pytest.mark.rule("R5.7")
@pytest.mark.parametrize("field", ["firstName", "lastName", "dateOfBirth", "phone", "address", "city", "country"])
@pytest.mark.parametrize("value", ["", "   ", "\r\n\t", "\u3000\u00a0"])
def test_a_required_field_must_not_be_empty_after_trimming(field: str, value: str) -> None:
    assert faults(**{field: value}) == [(f"/{field}", "empty")]


@pytest.mark.rule("R5.8")
@pytest.mark.parametrize("customer", ["cus_1", "", None, 5, {"id": "cus_1"}])
def test_unknown_fields_and_any_customer_are_ignored(customer: object) -> None:
    assert read(customer=customer, favouriteColour="\x00", unset=[{}]) == read()


@pytest.mark.rule("R5.9")
def test_absent_optional_fields_keep_what_is_stored() -> None:
    found = read()
    assert (found.gender, found.email, found.address2) == (UNSET, UNSET, UNSET)


@pytest.mark.rule("R5.10")
@pytest.mark.parametrize("field", ["gender", "email", "address2"])
def test_null_clears_an_optional_field(field: str) -> None:
    assert stored(field, None) is None


@pytest.mark.rule("R5.11")
@pytest.mark.parametrize("field", ["gender", "email", "address2"])
@pytest.mark.parametrize("value", ["", " ", "\n", "\u200b"])
def test_an_empty_text_clears_an_optional_field(field: str, value: str) -> None:
    assert stored(field, value) is None


# --- every text


@pytest.mark.rule("R5.12")
@pytest.mark.parametrize("field", [field for field in TEXTS if field != "phone"])
def test_texts_are_stored_in_nfc(field: str) -> None:
    assert stored(field, "Zoe\u0308 \u1112\u1161\u11ab") == "Zo\u00eb \ud55c"


@pytest.mark.rule("R5.13")
@pytest.mark.parametrize("field", TEXTS)
@pytest.mark.parametrize("space", [" ", "\n", "\u00a0", "\u2003", "\u3000"])
def test_texts_are_trimmed(field: str, space: str) -> None:
    assert stored(field, f"{space} 555 x{space}") == "555 x"


@pytest.mark.rule("R5.14")
@pytest.mark.parametrize("field", TEXTS)
def test_line_breaks_and_tabs_become_spaces(field: str) -> None:
    assert stored(field, "5\r5\n5\tx\u2028x\u2029x\r\nx") == "5 5 5 x x x  x"


@pytest.mark.rule("R5.15")
@pytest.mark.parametrize("field", [*TEXTS, "email", "dateOfBirth"])
@pytest.mark.parametrize("control", ["\x00", "\x0b", "\x1b", "\x1c", "\x7f", "\x80", "\x85", "\x9f"])
def test_control_characters_are_refused(field: str, control: str) -> None:
    base = "2001-02-03" if field == "dateOfBirth" else "555x@x.test"
    for value in (f"{base[:3]}{control}{base[3:]}", control + base, base + control):
        assert faults(**{field: value}) == [(f"/{field}", "control_character")]


@pytest.mark.rule("R5.16")
@pytest.mark.parametrize("field", [*TEXTS, "email", "dateOfBirth"])
@pytest.mark.parametrize("control", "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
def test_bidirectional_controls_are_refused(field: str, control: str) -> None:
    assert faults(**{field: f"555{control}x"}) == [(f"/{field}", "bidi_control")]


@pytest.mark.rule("R5.16")
def test_a_bidirectional_control_alone_is_refused_for_what_it_is() -> None:
    assert faults(city="\u202e", state="\u200f", address2="\u2066") == [
        ("/address2", "bidi_control"),
        ("/city", "bidi_control"),
        ("/state", "bidi_control"),
    ]


@pytest.mark.rule("R5.17")
@pytest.mark.parametrize("field", [*TEXTS, "email", "dateOfBirth"])
@pytest.mark.parametrize("surrogate", list(map(chr, (0xD800, 0xDBFF, 0xDC00, 0xDFFF))))
def test_lone_surrogates_are_refused(field: str, surrogate: str) -> None:
    assert faults(**{field: f"555{surrogate}x"}) == [(f"/{field}", "lone_surrogate")]


@pytest.mark.rule("R5.18")
@pytest.mark.parametrize("field", TEXTS)
@pytest.mark.parametrize(
    "text", ["\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 555", "\u0915\u094d\u200d\u0937 555"]
)
def test_joiners_are_kept(field: str, text: str) -> None:
    assert stored(field, text) == text


@pytest.mark.rule("R5.19")
@pytest.mark.parametrize(
    "invisible", ["\u200d", "\u200b\u200c", "\u00ad", "\ufeff", "\u3164", "\u2800", "\ufe0f", "\U000e0020"]
)
def test_a_text_with_nothing_visible_is_empty(invisible: str) -> None:
    text = f" {invisible} "
    assert faults(firstName=text, city=text) == [("/firstName", "empty"), ("/city", "empty")]
    found = read(state=text, address2=text)
    assert (found.state, found.address2) == ("", None)


@pytest.mark.rule("R5.20")
def test_lengths_count_characters_after_normalisation_and_trimming() -> None:
    assert stored("city", " " * 900 + "e\u0301" * 100 + "\n" * 900) == "\u00e9" * 100
    assert stored("city", "\U0001f3e5" * 100) == "\U0001f3e5" * 100
    assert stored("city", "\u1f82" * 100) == stored("city", "\u03b1\u0313\u0300\u0345" * 100)
    assert faults(city="\u0958" * 51) == [("/city", "too_long")], "its NFC is two characters"


@pytest.mark.parametrize(
    ("field", "limit"),
    [
        pytest.param("firstName", 200, marks=pytest.mark.rule("R5.21")),
        pytest.param("lastName", 200, marks=pytest.mark.rule("R5.21")),
        pytest.param("address", 300, marks=pytest.mark.rule("R5.23")),
        pytest.param("address2", 300, marks=pytest.mark.rule("R5.23")),
        pytest.param("city", 100, marks=pytest.mark.rule("R5.24")),
        pytest.param("state", 100, marks=pytest.mark.rule("R5.24")),
        pytest.param("postalCode", 100, marks=pytest.mark.rule("R5.24")),
        pytest.param("country", 100, marks=pytest.mark.rule("R5.24")),
        pytest.param("gender", 100, marks=pytest.mark.rule("R5.24")),
        pytest.param("phone", 40, marks=pytest.mark.rule("R5.27")),
    ],
)
@pytest.mark.parametrize("character", ["5", "\u0665"], ids=["ascii", "arabic"])
def test_a_text_may_have_its_limit_and_not_one_more(field: str, limit: int, character: str) -> None:
    assert stored(field, character * limit) == character * limit
    assert faults(**{field: character * (limit + 1)}) == [(f"/{field}", "too_long")]


@pytest.mark.rule("R5.52")
@pytest.mark.parametrize("field", [*TEXTS, "email", "dateOfBirth"])
def test_a_huge_text_is_refused_at_once(field: str) -> None:
    text = "555 " + "\u0315\u0316" * 250_000  # its NFC takes minutes
    began = time.perf_counter()
    assert faults(**{field: text}) == [(f"/{field}", "too_long")]
    assert time.perf_counter() - began < 5


# --- what must not show, and the schema


@pytest.mark.rule("R5.49")
def test_no_value_shows_in_a_repr_or_an_exception() -> None:
    secret = "Xsecretx"
    model = RequestData.model_validate(request_data(firstName=secret), context=RECEIVED_AT)
    texts = [repr(model), str(model), repr(read(firstName=secret))]
    bad = dict.fromkeys([*REQUIRED, "email", "gender"], secret + "\x00") | {
        "patient": secret + "\x00",
        "city": [secret],
    }
    texts.append(repr(validate(bad, received_at=RECEIVED_AT)))
    with pytest.raises(ValueError, match="validation errors") as caught:
        RequestData.model_validate(bad, context=RECEIVED_AT)
    texts += [str(caught.value), repr(caught.value)]
    assert [text for text in texts if secret in text] == []


@pytest.mark.rule("R5.53")
def test_the_schema_describes_every_field() -> None:
    schema = RequestData.model_json_schema(by_alias=True)
    fields = schema["properties"]
    assert schema["required"] == REQUIRED
    assert sorted(fields) == sorted([*REQUIRED, "customer", "patient", "gender", "email", "address2"])
    assert [name for name, field in fields.items() if not {"title", "description", "examples"} <= field.keys()] == []
    assert [name for name, field in fields.items() if "default" in field] == []
    assert "additionalProperties" not in schema
    assert fields["firstName"]["$ref"] == fields["lastName"]["$ref"] == "#/$defs/Name"
    assert (schema["$defs"]["Name"]["minLength"], schema["$defs"]["Name"]["maxLength"]) == (1, 200)
    assert (fields["address"]["minLength"], fields["address"]["maxLength"]) == (1, 300)
    assert (fields["state"]["minLength"], fields["state"]["maxLength"]) == (0, 100)
    assert (fields["city"]["minLength"], fields["city"]["maxLength"]) == (1, 100)
    assert (fields["phone"]["minLength"], fields["phone"]["maxLength"]) == (3, 40)
    assert fields["dateOfBirth"]["anyOf"][0]["format"] == "date"
    assert fields["email"]["anyOf"][0] == {"type": "string", "format": "email", "minLength": 3, "maxLength": 254}


@pytest.mark.rule("R5.53")
def test_the_examples_of_the_schema_are_valid() -> None:
    for name, field in RequestData.model_json_schema(by_alias=True)["properties"].items():
        for example in field["examples"]:
            read(**{name: example})
