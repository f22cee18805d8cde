"""What a request does to its customer and its patient."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from app.model import Known
from app.plan import Rules
from tests.support import body
from tests.unit.making import (
    EARLIER,
    MADE,
    NOW,
    after,
    customer,
    customers_of,
    decided,
    holding,
    outcomes,
    parsed,
    patient,
    patients_of,
    request,
    request_of,
)
from tests.unit.making import record as made
from tests.unit.test_plan_stale import SAME


@pytest.mark.rule("R4.5", "R5C.1", "R5C.2", "R5C.3", "R5C.5")
def test_an_update_changes_what_a_request_can_set_and_nothing_else() -> None:
    planned = decided(request(), known=holding(customer(), patient()))
    assert outcomes(planned) == ["updated"]
    assert customers_of(planned.writes.changed) == (
        customer(email="ada@clinic.local", phone="+44 20 7946 0000", updated_at=NOW, version=5),
    )
    assert patients_of(planned.writes.changed) == (
        patient(
            first_name="Ada",
            last_name="Example",
            date_of_birth=date(1990, 5, 17),
            gender="female",
            address="1 Example Street",
            address2=None,
            city="London",
            state="",
            postal_code="N1 9GU",
            country="GB",
            effective_at=MADE,
            updated_at=NOW,
        ),
    )


@pytest.mark.rule("R4.4", "R5C.3", "R5C.4", "R5C.6", "R5C.9")
def test_a_new_customer_and_its_patient() -> None:
    planned = decided(request())
    (new,), (profile,) = customers_of(planned.writes.new), patients_of(planned.writes.new)
    assert (new.customer, new.first_name, new.last_name) == ("cus_1", "Ada", "Example")
    assert (new.email, new.phone) == ("ada@clinic.local", "+44 20 7946 0000")
    assert (new.billing_address_id, new.has_account, new.metadata, new.deleted_at) == (None, False, "{}", None)
    assert (new.created_at, new.updated_at, new.version) == (NOW, NOW, 1)
    assert (profile.patient, profile.customer) == ("pat_new1", "cus_1")
    assert (profile.first_name, profile.last_name, profile.date_of_birth) == ("Ada", "Example", date(1990, 5, 17))
    assert (profile.gender, profile.address, profile.address2) == ("female", "1 Example Street", None)
    assert (profile.city, profile.state, profile.postal_code, profile.country) == ("London", "", "N1 9GU", "GB")
    assert (profile.created_at, profile.updated_at, profile.deleted_at) == (NOW, NOW, None)


@pytest.mark.rule("R4.4", "R5C.16", "R5C.3")
def test_a_customer_without_a_patient_gets_one() -> None:
    planned = decided(request(), known=holding(customer()))
    assert outcomes(planned) == ["created"]
    assert planned.writes.new == ()
    assert [row.patient for row in patients_of(planned.writes.changed)] == ["pat_new1"]
    assert [(row.first_name, row.last_name) for row in customers_of(planned.writes.changed)] == [("Grace", "Payer")]
    same = decided(request(phone="+1 555 0100", email="old@clinic.local"), known=holding(customer()))
    assert outcomes(same) == ["created"]
    assert customers_of(same.writes.changed) == (customer(version=5),)


@pytest.mark.rule("R4.5")
@pytest.mark.parametrize(
    "changes",
    [
        {"firstName": "X"},
        {"lastName": "X"},
        {"dateOfBirth": "1980-03-01"},
        {"gender": "X"},
        {"address": "X"},
        {"address2": "X"},
        {"city": "X"},
        {"state": "X"},
        {"postalCode": "X"},
        {"country": "X"},
        {"gender": None},
        {"address2": None},
    ],
)
def test_any_field_of_the_patient_that_differs_makes_an_update_of_the_patient(changes: dict[str, Any]) -> None:
    planned = decided(request(**{**SAME, **changes}), known=holding(customer(), patient()))
    assert outcomes(planned) == ["updated"]
    assert customers_of(planned.writes.changed) == (customer(version=5),)
    assert [row.updated_at for row in patients_of(planned.writes.changed)] == [NOW]


@pytest.mark.rule("R4.5", "R5C.2")
@pytest.mark.parametrize("changes", [{"phone": "555"}, {"email": "x@clinic.local"}, {"email": None}])
def test_any_contact_that_differs_makes_an_update_of_the_customer(changes: dict[str, Any]) -> None:
    known = holding(customer(), patient(effective_at=MADE))
    planned = decided(request(**{**SAME, **changes}), known=known)
    assert outcomes(planned) == ["updated"]
    assert [row.updated_at for row in customers_of(planned.writes.changed)] == [NOW]
    (standing,) = known.patients.values()
    assert patients_of(planned.writes.changed) == (standing,)


@pytest.mark.rule("R6.98")
def test_of_two_workers_of_which_one_changes_the_contact_and_one_the_address_one_must_see_the_other() -> None:
    known = holding(customer(), patient(effective_at=MADE))
    contact = decided(request(**{**SAME, "phone": "555"}), known=known).writes
    address = decided(request(**{**SAME, "city": "Other"}), known=known).writes
    versions = [[(row.customer, row.version) for row in customers_of(writes.changed)] for writes in (contact, address)]
    assert versions == [[("cus_1", 5)], [("cus_1", 5)]]  # the second to come finds the row moved


@pytest.mark.rule("R4.6")
def test_nothing_differs_is_unchanged_and_no_row_is_later_for_it() -> None:
    known = holding(customer(), patient(effective_at=MADE))
    planned = decided(request(**SAME), known=known)
    assert outcomes(planned) == ["unchanged"]
    assert planned.writes.changed == ()
    assert parsed(planned.answers[0])["response"]["updated_at"] == "2025-06-01T12:00:00.000Z"


@pytest.mark.rule("R5C.12")
def test_an_optional_field_that_is_absent_keeps_what_is_stored() -> None:
    value = body(**SAME).replace(b'"gender":"male",', b"").replace(b'"email":"old@clinic.local",', b"")
    value = value.replace(b'"address2":"Flat 3",', b"")
    assert b"Flat 3" not in value
    known = holding(customer(), patient(effective_at=MADE))
    assert outcomes(decided(request_of(made(value)), known=known)) == ["unchanged"]
    created = decided(request_of(made(value)))
    assert customers_of(created.writes.new)[0].email is None
    assert (patients_of(created.writes.new)[0].gender, patients_of(created.writes.new)[0].address2) == (None, None)


@pytest.mark.rule("R5C.13")
def test_an_optional_field_that_is_null_clears_what_is_stored() -> None:
    known = holding(customer(), patient())
    planned = decided(request(gender=None, email=None, address2=None), known=known)
    assert customers_of(planned.writes.changed)[0].email is None
    profile = patients_of(planned.writes.changed)[0]
    assert (profile.gender, profile.address2) == (None, None)


# --- who is not there


@pytest.mark.rule("R5C.7", "R5C.8")
@pytest.mark.parametrize(
    "known",
    [
        holding(),
        holding(customer()),
        holding(customer(), patient()),
        holding(customer(), patient(), customer("cus_2"), patient("cus_2", patient="pat_other")),
    ],
)
def test_a_given_patient_that_is_not_the_customers_is_not_found(known: Known) -> None:
    planned = decided(request(patient="pat_other"), known=known)
    assert outcomes(planned) == ["patient_not_found"]
    assert parsed(planned.answers[0])["response"]["details"] == [
        {"field": "/patient", "code": "patient_unknown", "message": "is not known for this customer"}
    ]
    assert not planned.writes


@pytest.mark.rule("R5C.7")
def test_a_given_patient_that_is_the_customers_is_updated() -> None:
    planned = decided(request(patient="pat_cus_1"), known=holding(customer(), patient()))
    assert outcomes(planned) == ["updated"]


@pytest.mark.rule("R5C.7")
def test_a_patient_that_nobody_knows_names_no_customer() -> None:
    given = request_of(made(body(patient="pat_other"), key=None))
    for rules in (Rules(), Rules(create_unknown=False)):
        planned = decided(given, rules=rules)
        assert outcomes(planned) == ["patient_not_found"]
        assert not planned.writes


@pytest.mark.rule("R5C.14")
def test_a_patient_given_without_a_customer_finds_its_own() -> None:
    given = request_of(made(body(patient="pat_cus_1"), key=None), owner="cus_1")
    planned = decided(given, known=holding(customer(), patient()))
    assert outcomes(planned) == ["updated"]
    assert [row.customer for row in customers_of(planned.writes.changed)] == ["cus_1"]


@pytest.mark.rule("R5C.9", "R5C.8")
def test_an_unknown_customer_is_not_found_where_the_settings_say_so() -> None:
    planned = decided(request(), rules=Rules(create_unknown=False))
    assert outcomes(planned) == ["customer_not_found"]
    assert parsed(planned.answers[0])["response"]["details"] == [
        {"field": "/customer", "code": "customer_unknown", "message": "is not known"}
    ]
    assert not planned.writes
    known = holding(customer())
    assert outcomes(decided(request(), known=known, rules=Rules(create_unknown=False))) == ["created"]


@pytest.mark.rule("R5C.10")
@pytest.mark.parametrize("more", [{}, {"patient": "pat_cus_1"}, {"patient": "pat_other"}])
def test_a_deleted_customer_is_not_found_and_stays_deleted(more: dict[str, Any]) -> None:
    for known in (holding(customer(deleted_at=EARLIER), patient()), holding(customer(deleted_at=EARLIER))):
        planned = decided(request(**more), known=known)
        assert outcomes(planned) == ["customer_not_found"]
        assert not planned.writes


@pytest.mark.rule("R5C.11")
@pytest.mark.parametrize("more", [{}, {"patient": "pat_cus_1"}])
def test_a_deleted_patient_is_not_found_and_stays_deleted(more: dict[str, Any]) -> None:
    planned = decided(request(**more), known=holding(customer(), patient(deleted_at=EARLIER)))
    assert outcomes(planned) == ["patient_not_found"]
    assert not planned.writes


@pytest.mark.rule("R5C.1")
def test_a_second_request_for_a_new_customer_updates_the_same_patient() -> None:
    first = decided(request("1"))
    second = decided(request("2", city="B", offset=8), known=after(Known(), first.writes))
    ((payer, row),) = second.writes.changed
    assert (row.patient, row.created_at, row.city, payer.version) == ("pat_new1", NOW, "B", 2)
    assert parsed(second.answers[0])["response"]["patient"] == "pat_new1"


@pytest.mark.rule("R5C.5")
def test_what_others_note_with_a_customer_stays() -> None:
    row = customer(has_account=True, metadata='{"a":[1, 2]}', billing_address_id="adr_7")
    (answer,) = decided(request(), known=holding(row, patient())).answers
    assert b'"metadata":{"a":[1, 2]},' in answer.value
    shown = parsed(answer)["response"]
    assert (shown["has_account"], shown["billing_address_id"]) == (True, "adr_7")


@pytest.mark.rule("R3.38")
def test_customers_may_share_an_email_address() -> None:
    planned = decided(request("1", "cus_1"), request("2", "cus_2"))
    assert outcomes(planned) == ["created", "created"]
    assert [(row.customer, row.email) for row in customers_of(planned.writes.new)] == [
        ("cus_1", "ada@clinic.local"),
        ("cus_2", "ada@clinic.local"),
    ]
    assert (
        patients_of(planned.writes.new)[0]._replace(customer="cus_2", patient="pat_new2")
        == (patients_of(planned.writes.new)[1])
    )
