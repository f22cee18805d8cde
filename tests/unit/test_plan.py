"""One effect and one answer a request: what a batch decides about ids that were used before, order and time."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from app.errors import ErrorCode, Fault, FaultCode, Refusal
from app.model import Known, Outcome, Position, StoredAnswer
from app.plan import Rules
from tests.support import body
from tests.unit.making import (
    EARLIER,
    EVENT,
    NOW,
    TOPIC,
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

DENIED = Refusal(ErrorCode.UNAUTHORIZED, (Fault("", FaultCode.NOT_ALLOWED),))
ANSWERED = b'{"status":200,"any":"bytes"}'


def stored(**changes: object) -> Known:
    """The answer to `request()`, with bytes that no rule would give today."""
    first = request()
    assert first.key is not None
    assert first.fingerprint is not None
    answer = StoredAnswer(
        key=first.key,
        source="/upstream",
        id="evt-1",
        customer="cus_1",
        position=first.position,
        fingerprint=first.fingerprint,
        outcome=Outcome.UPDATED,
        answer=ANSWERED,
        received_at=EARLIER,
    )
    answer = answer._replace(**changes)  # type: ignore[arg-type]
    return Known(answers={first.key: answer})


# --- the same request again


@pytest.mark.rule("R6.2", "R4.21")
def test_the_same_record_gets_its_stored_answer_whatever_holds_now() -> None:
    again = dataclasses.replace(request(), denial=DENIED, refusal=DENIED, data=None, fingerprint=None, customer=None)
    known = dataclasses.replace(stored(), customers={"cus_1": customer(deleted_at=EARLIER)})
    for given in (request(), again):
        planned = decided(given, known=known, rules=Rules(create_unknown=False))
        (answer,) = planned.answers
        assert (answer.value, answer.status, answer.outcome, answer.error) == (ANSWERED, 200, "updated", None)
        assert (answer.customer, answer.time, answer.replayed) == ("cus_1", EARLIER, True)
        assert not planned.writes


@pytest.mark.rule("R6.3")
def test_another_record_under_an_answered_id_must_be_allowed_first() -> None:
    planned = decided(dataclasses.replace(request(offset=8, city="Other"), denial=DENIED), known=stored())
    assert outcomes(planned) == ["unauthorized"]
    assert planned.answers[0].status == 401
    assert not planned.writes


@pytest.mark.rule("R14.7")
def test_a_replayed_letter_that_is_redelivered_gets_its_answer_though_its_token_has_ended() -> None:
    place = {"topic": TOPIC, "partition": "3", "offset": "2", "timestamp": "1700000000000"}
    headers = [(f"__dlq.errors.{name}", value.encode()) for name, value in place.items()]
    letter = request_of(made(headers=headers, offset=9))
    (first,) = decided(letter).answers
    known = after(Known(), decided(letter).writes)
    (again,) = decided(dataclasses.replace(letter, denial=DENIED), known=known).answers
    assert (again.status, again.value, again.replayed) == (200, first.value, True)
    copy = request_of(made(headers=headers, offset=10))
    assert outcomes(decided(dataclasses.replace(copy, denial=DENIED), known=known)) == ["unauthorized"]
    assert decided(copy, known=known).answers[0].value == first.value


@pytest.mark.rule("R6.3")
def test_what_is_not_allowed_is_told_nothing_else() -> None:
    planned = decided(dataclasses.replace(request(city=7), denial=DENIED))
    assert parsed(planned.answers[0])["response"] == {
        "error": "unauthorized",
        "details": [{"field": "", "code": "not_allowed", "message": "the caller may not do this"}],
    }


@pytest.mark.rule("R6.4")
@pytest.mark.parametrize("changes", [{"city": "Other"}, {"city": 7}, {"customer": "cus_2"}, {"note": "x"}])
def test_another_record_under_an_answered_id_with_other_content_is_refused(changes: dict[str, object]) -> None:
    value = body(**changes)
    planned = decided(request_of(made(value, EVENT, offset=8)), known=stored())
    assert outcomes(planned) == ["idempotency_key_reused"]
    assert parsed(planned.answers[0])["response"]["details"] == [
        {"field": "", "code": "key_reused", "message": "this id was used for a request with other content"}
    ]
    assert not planned.writes


@pytest.mark.rule("R6.5", "R4.21")
@pytest.mark.parametrize(
    "position",
    [
        Position(TOPIC, 3, 8, 1767323045678),
        Position(TOPIC, 4, 7, 1767323045678),
        Position("other", 3, 7, 1767323045678),
        Position(TOPIC, 3, 7, 1767323045679),
    ],
)
def test_another_record_under_an_answered_id_with_the_same_content_gets_the_stored_answer(position: Position) -> None:
    planned = decided(dataclasses.replace(request(), position=position), known=stored())
    (answer,) = planned.answers
    assert (answer.value, answer.replayed, answer.position) == (ANSWERED, True, position)
    assert not planned.writes


@pytest.mark.rule("R6.3", "R6.4")
@pytest.mark.parametrize(
    "position", [Position(TOPIC, 3, 7, 0), Position(TOPIC, 3, 8, 1767323045678), Position("t", 3, 7, 1767323045678)]
)
def test_only_the_very_same_place_and_time_make_the_same_record(position: Position) -> None:
    given = request(city="Other")
    other = dataclasses.replace(given, position=position, record=dataclasses.replace(given.record, position=position))
    assert outcomes(decided(other, known=stored())) == ["idempotency_key_reused"]
    assert outcomes(decided(dataclasses.replace(other, denial=DENIED), known=stored())) == ["unauthorized"]


@pytest.mark.rule("R6.5")
def test_a_replayed_dead_letter_is_another_record_though_it_claims_the_place_of_the_first() -> None:
    elsewhere = Position(TOPIC, 3, 99, 1767323049999)
    for given, outcome in ((request(), "updated"), (request(city="Other"), "idempotency_key_reused")):
        letter = dataclasses.replace(given, record=dataclasses.replace(given.record, position=elsewhere))
        assert outcomes(decided(letter, known=stored())) == [outcome]


@pytest.mark.rule("R6.6")
def test_an_id_that_repeats_in_a_batch_is_one_request() -> None:
    planned = decided(request(offset=7), request(offset=8), request(offset=9, city="Other"), request(offset=7))
    assert outcomes(planned) == ["created", "created", "idempotency_key_reused", "created"]
    assert [answer.replayed for answer in planned.answers] == [False, True, False, True]
    assert planned.answers[0].value == planned.answers[1].value == planned.answers[3].value
    assert len(planned.writes.answers) == 1


@pytest.mark.rule("R6.9")
def test_a_refusal_is_not_stored_and_a_corrected_request_is_applied() -> None:
    refused = decided(request(city=7))
    assert not refused.writes
    planned = decided(request(city=7), request(offset=8), request(patient="pat_no", id="evt-2"), request(id="evt-2"))
    assert outcomes(planned) == ["validation_failed", "created", "patient_not_found", "unchanged"]
    assert sorted(answer.id for answer in planned.writes.answers) == ["evt-1", "evt-2"]


@pytest.mark.rule("R6.11")
def test_an_unreadable_record_under_an_answered_id_is_told_what_is_wrong_with_it() -> None:
    planned = decided(request_of(made(b"{", EVENT, offset=8)), known=stored())
    assert outcomes(planned) == ["invalid_json"]


@pytest.mark.rule("R6.12")
def test_the_same_id_from_two_sources_is_two_requests() -> None:
    planned = decided(request(source="/a"), request(source="/b", city="Other", offset=8))
    assert outcomes(planned) == ["created", "updated"]
    assert sorted(answer.source for answer in planned.writes.answers) == ["/a", "/b"]


@pytest.mark.rule("R6.1")
def test_the_effect_and_its_answer_are_written_together() -> None:
    planned = decided(request(time="2026-01-01T10:00:00Z"))
    writes = planned.writes
    (answer,) = writes.answers
    assert (answer.key, answer.source, answer.id) == (request().key, "/upstream", "evt-1")
    assert (answer.customer, answer.position, answer.outcome) == ("cus_1", (TOPIC, 3, 7, 1767323045678), "created")
    assert (answer.fingerprint, answer.received_at) == (request().fingerprint, NOW)
    assert answer.answer == planned.answers[0].value
    assert [row.customer for row in customers_of(writes.new)] == ["cus_1"]
    assert [row.patient for row in patients_of(writes.new)] == ["pat_new1"]
    assert writes.changed == ()


# --- every record


@pytest.mark.rule("R6.10", "R6.24")
def test_a_bad_record_changes_nothing_for_the_others() -> None:
    good = [
        request("a", "cus_1"),
        request("b", "cus_2", offset=8),
        request("c", "cus_1", city="Other", offset=9),
    ]
    bad = [
        request_of(made(b"{", offset=20)),
        request_of(made(undecodable=True, offset=21)),
        request("a", "cus_2", offset=22),
        request("d", "cus_1", patient="pat_no", offset=23),
        request("e", "cus_1", city=7, offset=24),
    ]
    alone, mixed = decided(*good), decided(bad[0], good[0], bad[1], bad[2], good[1], bad[3], good[2], bad[4])
    assert outcomes(mixed) == [
        "invalid_json",
        "created",
        "invalid_event",
        "idempotency_key_reused",
        "created",
        "patient_not_found",
        "updated",
        "validation_failed",
    ]
    assert [answer for answer in mixed.answers if answer.status == 200] == list(alone.answers)
    assert mixed.writes == alone.writes
    assert [answer.record.position.offset for answer in mixed.answers] == [20, 7, 21, 22, 8, 23, 9, 24]


@pytest.mark.rule("R6.25")
def test_each_row_is_written_once_in_order_with_its_next_version() -> None:
    known = holding(customer("cus_3"), patient("cus_3", patient="pat_b"), customer("cus_2"), customer("cus_5"))
    known.patients["cus_5"] = patient("cus_5", patient="pat_a", effective_at=EARLIER)
    ids = iter(["pat_z", "pat_y", "pat_x"])
    planned = decided(
        request("1", "cus_4"),
        request("2", "cus_3"),
        request("3", "cus_1"),
        request("4", "cus_2"),
        request("5", "cus_3", city="Other"),
        request("6", "cus_5"),
        request("7", "cus_1", city="Other"),
        known=known,
        new_patient_id=lambda: next(ids),
    )
    writes = planned.writes
    assert [(row.customer, row.version) for row in customers_of(writes.new)] == [("cus_1", 1), ("cus_4", 1)]
    assert [(row.customer, row.version) for row in customers_of(writes.changed)] == [
        ("cus_2", 5),
        ("cus_3", 5),
        ("cus_5", 5),
    ]
    assert [row.patient for row in patients_of(writes.new)] == ["pat_y", "pat_z"]
    assert [row.patient for row in patients_of(writes.changed)] == ["pat_x", "pat_b", "pat_a"]
    keys = [answer.key for answer in writes.answers]
    assert (len(keys), keys) == (7, sorted(keys))
    assert next(row.city for row in patients_of(writes.changed) if row.patient == "pat_b") == "Other"


@pytest.mark.rule("R6.14")
def test_requests_of_one_customer_are_applied_in_order() -> None:
    planned = decided(request("1", city="A"), request("2", city="B", offset=8), request("3", city="A", offset=9))
    assert outcomes(planned) == ["created", "updated", "updated"]
    assert [parsed(answer)["response"]["city"] for answer in planned.answers] == ["A", "B", "A"]
    assert [row.city for row in patients_of(planned.writes.new)] == ["A"]


# --- updated_at


@pytest.mark.rule("R6.15")
def test_each_change_is_later_than_the_one_before() -> None:
    planned = decided(request("1"), request("2", city="B"), request("3", phone="555 1"), request("4", phone="555 1"))
    times = [parsed(answer)["response"]["updated_at"] for answer in planned.answers]
    assert times == [
        "2026-01-02T03:04:07.000Z",
        "2026-01-02T03:04:07.001Z",
        "2026-01-02T03:04:07.002Z",
        "2026-01-02T03:04:07.002Z",
    ]
    created = {parsed(answer)["response"]["created_at"] for answer in planned.answers}
    assert created == {"2026-01-02T03:04:07.000Z"}


@pytest.mark.rule("R6.15")
@pytest.mark.parametrize(
    ("of_customer", "of_patient", "expected"),
    [(10, 5, 10.001), (5, 10, 10.001), (0, 0, 0.001), (-0.001, -10, 0), (-10, -10, 0)],
)
def test_a_change_is_later_than_what_stands_even_when_the_clock_goes_backwards(
    of_customer: float, of_patient: float, expected: float
) -> None:
    known = holding(
        customer(updated_at=NOW + timedelta(seconds=of_customer)),
        patient(updated_at=NOW + timedelta(seconds=of_patient)),
    )
    writes = decided(request(), known=known).writes
    times = {customers_of(writes.changed)[0].updated_at, patients_of(writes.changed)[0].updated_at}
    assert times == {NOW + timedelta(seconds=expected)}
