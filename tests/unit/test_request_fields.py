"""The fields with a rule of their own: names, patient id, phone, e-mail address, date of birth, gender."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from app.model import PatientData
from app.request import validate

RECEIVED_AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def outcome(received_at: datetime = RECEIVED_AT, **changes: Any) -> PatientData | list[tuple[str, str]]:
    data = {
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
    found = validate(data, received_at=received_at)
    return found if isinstance(found, PatientData) else [(fault.field, fault.code.value) for fault in found]


def read(received_at: datetime = RECEIVED_AT, **changes: Any) -> PatientData:
    found = outcome(received_at, **changes)
    assert isinstance(found, PatientData), found
    return found


# --- names, places, phone, patient id


@pytest.mark.rule("R5.22")
@pytest.mark.parametrize("name", ["O", "李", "محمد", "Ґ", "ꦱ", "4", "٣", "-7-", "Ⅷ", "𐐷"])
def test_one_letter_or_digit_of_any_script_makes_a_name(name: str) -> None:
    assert read(firstName=name, lastName=name).last_name == name


@pytest.mark.rule("R5.22")
@pytest.mark.parametrize("name", ["-", "...", "_", "🙂", "\u0301", "-\u3164-", "-\uffa0\u115f"])
def test_a_name_without_letter_or_digit_is_refused(name: str) -> None:
    assert outcome(firstName=name) == [("/firstName", "no_visible_character")]
    assert outcome(lastName=name) == [("/lastName", "no_visible_character")]


@pytest.mark.rule("R5.25")
def test_state_and_postal_code_may_be_empty() -> None:
    found = read(state="", postalCode=" ")
    assert (found.state, found.postal_code) == ("", "")


@pytest.mark.rule("R5.26")
def test_places_are_free_text() -> None:
    found = read(city="-", state="Île-de-France / 75", postalCode="SW1A 1AA?", country="Côte d’Ivoire (CI)")
    assert (found.state, found.postal_code, found.country) == ("Île-de-France / 75", "SW1A 1AA?", "Côte d’Ivoire (CI)")


@pytest.mark.rule("R5.28")
@pytest.mark.parametrize("phone", ["112", "ext. 1-2-3", "+49 (0)30/555 0143", "٠١٢", "call Zoë 0 then १२"])
def test_three_digits_of_any_script_make_a_phone_number(phone: str) -> None:
    assert read(phone=phone).phone == phone


@pytest.mark.rule("R5.28")
@pytest.mark.parametrize("phone", ["12", "call me", "½²Ⅷ", "1 2 x"])
def test_fewer_than_three_digits_make_none(phone: str) -> None:
    assert outcome(phone=phone) == [("/phone", "too_few_digits")]


@pytest.mark.rule("R5.46")
@pytest.mark.parametrize("given", [{}, {"patient": None}, {"patient": ""}])
def test_no_patient_id_is_none(given: dict[str, Any]) -> None:
    assert read(**given).patient is None


@pytest.mark.rule("R5.47")
@pytest.mark.parametrize("patient", ["p", "x" * 255, "é" * 127, "病" * 85])
def test_a_patient_id_has_up_to_255_bytes(patient: str) -> None:
    assert read(patient=patient).patient == patient
    assert outcome(patient=patient + "x" * 255) == [("/patient", "identifier_invalid")]


@pytest.mark.rule("R5.47")
@pytest.mark.parametrize("patient", ["x" * 256, "é" * 128, "a\x00", "a\n", "\x7fa", "a\x85", "a\ud800"])
def test_a_patient_id_that_is_too_long_or_has_controls_is_refused(patient: str) -> None:
    assert outcome(patient=patient) == [("/patient", "identifier_invalid")]


@pytest.mark.rule("R5.48")
@pytest.mark.parametrize("patient", [" pat_1 ", " ", "e\u0301", "\u200b"])
def test_a_patient_id_is_taken_as_it_is(patient: str) -> None:
    assert read(patient=patient).patient == patient


# --- e-mail address


@pytest.mark.rule("R5.30")
@pytest.mark.parametrize(
    "address", ["a@b.example", "o'sample+tag@sub.clinic.example", "{x}=!#$%&*/?^`|~@b-c.example", "1@2.example"]
)
def test_addresses_of_every_plain_form_are_accepted(address: str) -> None:
    assert read(email=address).email == address


@pytest.mark.rule("R5.30")
@pytest.mark.parametrize(
    "address",
    [
        "nobody", "@b.example", "a@", "a@@b.example", "a@b@c.example", ".a@b.example", "a.@b.example", "a..b@c.example",
        "a b@c.example", "a@b c.example", "a@b..example", "a@-b.example", "a@b_c.example", "a@b.example.", "a@b.123",
        "a@localhost", "a@clinic", "a@b.example,c@d.example", "a\u200d@b.example", "a@b.example\u200d", "a＠b.example",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    assert outcome(email=address) == [("/email", "email_invalid")]


@pytest.mark.rule("R5.31")
@pytest.mark.parametrize(
    "domain", ["clinic.local", "clinic.test", "a.localhost", "a.invalid", "a.onion", "1.arpa", "a.example"]
)
def test_special_use_domains_are_accepted(domain: str) -> None:
    assert read(email=f"zoe@{domain}").email == f"zoe@{domain}"
    assert read(email=f"zoë@{domain}").email == f"zoë@{domain}"


@pytest.mark.rule("R5.32")
@pytest.mark.parametrize(
    "address", ["zoë@клиника.example", "用户@例子.example", "अ@उदाहरण.example", "a@bücher.example"]
)
def test_internationalised_addresses_are_accepted(address: str) -> None:
    assert read(email=address).email == address


@pytest.mark.rule("R5.33")
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Zoe.Sample@Clinic.EXAMPLE", "Zoe.Sample@clinic.example"),
        ("INFO@Clinic.Example", "INFO@clinic.example"),
        ("Zoë@Clinic.Example", "Zoë@clinic.example"),
        ("a@xn--bcher-kva.example", "a@bücher.example"),
        ("a@BÜCHER.example", "a@bücher.example"),
        ("zoe\u0308@b.example", "zoë@b.example"),
        ("  a@b.example\r\n", "a@b.example"),
    ],
)
def test_the_local_part_is_kept_and_the_domain_normalised(given: str, kept: str) -> None:
    assert read(email=given).email == kept


@pytest.mark.rule("R5.34")
@pytest.mark.parametrize(
    "address",
    ["Zoe <a@b.example>", "<a@b.example>", '"a b"@c.example', '"a"@b.example', "a@[192.0.2.1]", "a@[IPv6:::1]"],
)
def test_other_ways_to_write_an_address_are_refused(address: str) -> None:
    assert outcome(email=address) == [("/email", "email_invalid")]


@pytest.mark.rule("R5.29")
def test_an_address_has_at_most_254_bytes() -> None:
    domain = "b" * 60 + ".example"
    assert read(email=f"{'a' * 185}@{domain}").email == f"{'a' * 185}@{domain}"
    assert outcome(email=f"{'a' * 186}@{domain}") == [("/email", "too_long")]
    assert read(email=f"{'é' * 92}a@{domain}").email == f"{'é' * 92}a@{domain}"
    assert outcome(email=f"{'é' * 93}@{domain}") == [("/email", "too_long")]


@pytest.mark.rule("R5.29")
def test_the_punycode_of_a_domain_counts_too() -> None:
    domain = "ü.ä.example"  # xn--tda.xn--4ca.example: 23 bytes, and 13 as it is
    assert read(email=f"{'a' * 230}@{domain}").email == f"{'a' * 230}@{domain}"
    assert outcome(email=f"{'a' * 231}@{domain}") == [("/email", "email_invalid")]


# --- date of birth


@pytest.mark.rule("R5.35")
@pytest.mark.parametrize("given", ["2000-02-29", " 2000-02-29 "])
def test_a_date_is_read(given: str) -> None:
    assert read(dateOfBirth=given).date_of_birth == date(2000, 2, 29)


@pytest.mark.rule("R5.35")
@pytest.mark.parametrize(
    "given",
    [
        "2001-02-29", "2001-13-01", "2001-00-10", "2001-01-00", "0000-01-01", "20010203", "2001-2-3", "03.02.2001",
        "2001/02/03", "01-02-03", "2001-02", "2001", "2001-W05-6", "2001-034", "+2001-02-03", "12001-02-03", "x",
        "981158400", "２００１-02-03", "2001-02-03Z", "2001-02-03T", "2001-02-03x",
    ],
)  # fmt: skip
def test_any_other_form_of_a_date_is_refused(given: str) -> None:
    assert outcome(dateOfBirth=given) == [("/dateOfBirth", "date_invalid")]


@pytest.mark.rule("R5.36")
@pytest.mark.parametrize(
    "rest",
    [
        "T00:00:00", "T00:00:00Z", "t00:00:00z", " 00:00:00", " 00:00:00+00", "T00:00", "T00:00Z", "T00:00:00.0",
        "T00:00:00.000Z", "T00:00:00.000000000+00:00", "T00:00:00+13:00", "T00:00:00-0930", "T00:00:00-23:59",
    ],
)  # fmt: skip
def test_a_date_time_at_midnight_counts_as_the_date_written(rest: str) -> None:
    assert read(dateOfBirth="2001-02-03" + rest).date_of_birth == date(2001, 2, 3)


@pytest.mark.rule("R5.37")
@pytest.mark.parametrize(
    "rest",
    [
        "T00:00:01", "T00:01", "T01:00:00Z", "T23:00:00Z", "T00:00:00.001Z", "T24:00:00", "T00:00:00.",
        "T00:00:00+24:00", "T00:00:00+01:60", "T00:00:00+1", "T00:00:00 Z", "T00", "T00:00:00.0000001",
    ],
)  # fmt: skip
def test_a_date_time_at_another_time_is_refused(rest: str) -> None:
    assert outcome(dateOfBirth="2001-02-03" + rest) == [("/dateOfBirth", "date_invalid")]


@pytest.mark.rule("R5.38")
def test_a_date_of_birth_may_be_that_of_14_hours_later() -> None:
    before, at = datetime(2026, 2, 28, 9, 59, 59, 999_999, tzinfo=UTC), datetime(2026, 2, 28, 10, tzinfo=UTC)
    assert read(before, dateOfBirth="2026-02-28").date_of_birth == date(2026, 2, 28)
    assert outcome(before, dateOfBirth="2026-03-01") == [("/dateOfBirth", "date_in_future")]
    assert read(at, dateOfBirth="2026-03-01").date_of_birth == date(2026, 3, 1)
    assert outcome(at, dateOfBirth="2026-03-02") == [("/dateOfBirth", "date_in_future")]


@pytest.mark.rule("R5.39")
@pytest.mark.parametrize(
    ("received", "oldest", "too_old"),
    [
        ((2026, 3, 1), "1876-03-01", "1876-02-29"),
        ((2026, 2, 28), "1876-02-28", "1876-02-27"),
        ((2024, 2, 29), "1874-02-28", "1874-02-27"),
        ((151, 2, 3), "0001-02-03", "0001-02-02"),
    ],
)
def test_a_date_of_birth_is_at_most_150_years_back(received: tuple[int, int, int], oldest: str, too_old: str) -> None:
    at = datetime(*received, 23, 59, tzinfo=UTC)
    assert read(at, dateOfBirth=oldest).date_of_birth == date.fromisoformat(oldest)
    assert outcome(at, dateOfBirth=too_old) == [("/dateOfBirth", "date_too_old")]


@pytest.mark.rule("R5.38", "R5.39")
def test_record_times_at_the_ends_of_the_calendar_are_bounds_too() -> None:
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    assert read(first, dateOfBirth="0001-01-01").date_of_birth == date(1, 1, 1)
    assert outcome(first, dateOfBirth="0001-01-02") == [("/dateOfBirth", "date_in_future")]
    assert read(last, dateOfBirth="9999-12-31").date_of_birth == date(9999, 12, 31)
    assert outcome(last, dateOfBirth="9849-12-30") == [("/dateOfBirth", "date_too_old")]


# --- gender


@pytest.mark.rule("R5.40")
@pytest.mark.parametrize("gender", ["F", "female", "非二元", "x" * 100])
def test_a_gender_may_be_a_string(gender: str) -> None:
    assert read(gender=gender).gender == gender


@pytest.mark.rule("R5.41")
@pytest.mark.parametrize("taken", range(7))
def test_the_first_string_of_a_gender_object_is_taken(taken: int) -> None:
    members = [(name, name.upper()) for name in ("value", "code", "name", "text", "display")]
    coding = {"display": "CODED DISPLAY"} if taken == 6 else {"code": "CODED", "display": "CODED DISPLAY"}
    given = {**dict(reversed(members[taken:])), "coding": [coding, {"code": "SECOND"}], "system": "s"}
    expected = ["VALUE", "CODE", "NAME", "TEXT", "DISPLAY", "CODED", "CODED DISPLAY"][taken]
    assert read(gender=given).gender == expected


@pytest.mark.rule("R5.41")
def test_members_of_a_gender_object_that_are_no_strings_are_passed_over() -> None:
    given = {"value": 1, "code": None, "name": ["x"], "text": {"value": "x"}, "display": True}
    assert read(gender=given | {"coding": [{"code": 2, "display": "Female"}]}).gender == "Female"


@pytest.mark.rule("R5.42")
def test_empty_strings_of_a_gender_object_are_passed_over() -> None:
    assert read(gender={"value": "", "code": " \u200b", "display": "Female"}).gender == "Female"


@pytest.mark.rule("R5.42")
def test_a_gender_object_of_empty_strings_clears_the_gender() -> None:
    assert read(gender={"value": "", "coding": [{"code": " "}]}).gender is None


@pytest.mark.rule("R5.42")
def test_a_string_of_a_gender_object_in_which_nothing_is_visible_is_empty_whatever_it_holds() -> None:
    assert read(gender={"value": "\u202e", "code": "F"}).gender == "F"
    assert read(gender={"value": "\u202e"}).gender is None


@pytest.mark.rule("R5.43")
@pytest.mark.parametrize(
    "gender",
    [
        {},
        {"value": None},
        {"code": 1},
        {"Value": "F"},
        {"coding": []},
        {"coding": ["F"]},
        {"coding": {"code": "F"}},
        {"coding": [{}, {"code": "F"}]},
    ],
)
def test_a_gender_object_without_a_string_is_refused(gender: dict[str, Any]) -> None:
    assert outcome(gender=gender) == [("/gender", "gender_unreadable")]


@pytest.mark.rule("R5.44")
@pytest.mark.parametrize("gender", [1, 1.5, True, [], ["F"]])
def test_a_gender_of_another_type_is_refused(gender: object) -> None:
    assert outcome(gender=gender) == [("/gender", "not_a_string_or_object")]


@pytest.mark.rule("R5.45")
def test_the_string_of_a_gender_object_obeys_the_rules_of_a_text() -> None:
    assert read(gender={"value": " Zoe\u0308\n"}).gender == "Zoë"
    assert outcome(gender={"coding": [{"code": "x" * 101}]}) == [("/gender", "too_long")]
    assert outcome(gender={"value": "F\x00", "code": "F"}) == [("/gender", "control_character")]
