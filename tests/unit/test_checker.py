"""The checker of histories: a clean history passes, and each hand-broken one gets the verdict it deserves."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tests.faults.checker import Broken, History, Published, Requested, Row, check

TOPIC = "asked"
START = datetime(2026, 1, 1, tzinfo=UTC)
BODY: dict[str, Any] = {
    "firstName": "Ada",
    "lastName": "Kanarienvogel",
    "dateOfBirth": "1990-05-17",
    "gender": "female",
    "phone": "555 0100",
    "email": "ada@clinic.local",
    "address": "1 Example Street",
    "address2": None,
    "city": "London",
    "state": "",
    "postalCode": "N1 9GU",
    "country": "GB",
}


def at(step: int) -> datetime:
    return START + timedelta(seconds=step)


def request(place: tuple[int, int], id: str, city: str, **changes: Any) -> Requested:
    value = json.dumps(BODY | {"city": city}).encode()
    found = Requested(
        place=place,
        timestamp=int(at(place[1]).timestamp() * 1000),
        key=b"cus_1",
        value=value,
        headers=[("ce_id", id.encode()), ("Authorization", b"Bearer x")],
        source="/tests",
        id=id,
        customer="cus_1",
        data=BODY | {"city": city},
    )
    return replace(found, **changes)


def response(step: int, city: str) -> dict[str, Any]:
    return {"customer": "cus_1", "updated_at": f"2026-01-01T00:00:0{step}.000Z", **BODY, "city": city}


def envelope(status: int, outcome: str, id: str, content: Row) -> bytes:
    asked = {"id": id, "source": "/tests", "customer": "cus_1"}
    return json.dumps({"status": status, "outcome": outcome, "request": asked, "response": content}).encode()


def answer(place: tuple[int, int], value: bytes, offset: int, step: int, *, ce_id: str | None = None) -> Published:
    headers = [
        ("ce_id", (ce_id or str(hash(value))).encode()),
        ("request-topic", TOPIC.encode()),
        ("request-partition", str(place[0]).encode()),
        ("request-offset", str(place[1]).encode()),
    ]
    return Published("answers", 0, offset, int(at(step).timestamp() * 1000), b"cus_1", value, headers)


def letter(place: tuple[int, int], of: Requested) -> Published:
    headers = [
        *(header for header in of.headers if header[0] != "Authorization"),
        ("__dlq.errors.topic", TOPIC.encode()),
        ("__dlq.errors.partition", str(place[0]).encode()),
        ("__dlq.errors.offset", str(place[1]).encode()),
    ]
    return Published("letters", 0, 0, 0, of.key, of.value, headers)


def effect(place: tuple[int, int], id: str, outcome: str, value: bytes, step: int) -> dict[str, Any]:
    return {
        "source": "/tests",
        "id": id,
        "customer": "cus_1",
        "record_topic": TOPIC,
        "record_partition": place[0],
        "record_offset": place[1],
        "outcome": outcome,
        "answer": value,
        "received_at": at(step),
    }


CREATED = envelope(200, "created", "a", response(1, "London"))
UPDATED = envelope(200, "updated", "b", response(2, "Paris"))
CUSTOMER = {
    "customer": "cus_1",
    "email": BODY["email"],
    "phone": BODY["phone"],
    "updated_at": at(1),
    "version": 1,
}
PATIENT = {
    "patient": "pat_1",
    "customer": "cus_1",
    "first_name": "Ada",
    "last_name": BODY["lastName"],
    "date_of_birth": date(1990, 5, 17),
    "gender": "female",
    "address": BODY["address"],
    "address2": None,
    "city": "Paris",
    "state": "",
    "postal_code": BODY["postalCode"],
    "country": "GB",
    "updated_at": at(2),
    "version": 2,
}
REFUSED = request((0, 2), "c", "Rome", meant="refused")
REFUSAL = envelope(400, "rejected", "c", {"error": "validation_failed", "details": []})
FAILED = request((0, 3), "d", "Oslo", meant="failed")
FAILURE = envelope(500, "failed", "d", {"error": "internal_error", "details": []})

CLEAN = History(
    topic=TOPIC,
    requests=[request((0, 0), "a", "London"), request((0, 1), "b", "Paris"), REFUSED, FAILED],
    answers=[
        answer((0, 0), CREATED, 0, 1),
        answer((0, 1), UPDATED, 1, 2),
        answer((0, 2), REFUSAL, 2, 3),
        answer((0, 3), FAILURE, 3, 4),
        answer((0, 0), CREATED, 4, 5),  # repeated, as after a crash
    ],
    letters=[letter((0, 3), FAILED)],
    customers=[CUSTOMER],
    patients=[PATIENT],
    stored=[effect((0, 0), "a", "created", CREATED, 1), effect((0, 1), "b", "updated", UPDATED, 2)],
    log=['{"event": "batch", "records": 4}'],
    canaries=["Kanarienvogel"],
)


def broken(**changes: Any) -> set[Broken]:
    return {verdict.broken for verdict in check(replace(CLEAN, **changes))}


def test_a_clean_history_with_a_refusal_a_dead_letter_and_a_repeated_answer_passes() -> None:
    assert check(CLEAN) == []
    assert CLEAN.repeated == 1


def test_a_request_without_an_answer_is_lost() -> None:
    assert broken(answers=CLEAN.answers[1:4]) == {Broken.LOST}


def test_a_valid_request_that_is_refused_for_ever_is_lost() -> None:
    refusal = envelope(400, "rejected", "b", {"error": "validation_failed", "details": []})
    answers = [CLEAN.answers[0], answer((0, 1), refusal, 1, 2), *CLEAN.answers[2:]]
    rows = [{**PATIENT, "city": "London", "version": 1, "updated_at": at(1)}]
    assert broken(answers=answers, stored=CLEAN.stored[:1], patients=rows) == {Broken.LOST}


def test_an_answer_without_its_stored_effect_is_lost() -> None:
    rows = [{**PATIENT, "city": "London", "version": 1, "updated_at": at(1)}]
    assert broken(stored=CLEAN.stored[:1], patients=rows) == {Broken.LOST}


def test_a_record_that_expired_may_go_without_an_answer() -> None:
    gone = request((0, 4), "e", "Bern", expired=True)
    assert check(replace(CLEAN, requests=[*CLEAN.requests, gone])) == []


def test_two_effects_under_one_id_are_a_double_effect() -> None:
    assert Broken.DOUBLED in broken(stored=[*CLEAN.stored, CLEAN.stored[1]])


def test_a_row_that_changed_more_often_than_asked_is_a_double_effect() -> None:
    assert broken(patients=[{**PATIENT, "version": 3}]) == {Broken.DOUBLED}


def test_a_customer_with_two_profiles_or_two_creations_is_a_double_effect() -> None:
    assert Broken.DOUBLED in broken(patients=[PATIENT, PATIENT])
    again = envelope(200, "created", "b", response(2, "Paris"))
    assert Broken.DOUBLED in broken(stored=[CLEAN.stored[0], effect((0, 1), "b", "created", again, 2)])


def test_a_200_followed_by_other_bytes_is_a_broken_answer() -> None:
    other = envelope(200, "updated", "a", response(3, "London"))
    assert broken(answers=[*CLEAN.answers, answer((0, 0), other, 5, 6)]) == {Broken.ANSWER}


def test_a_200_followed_by_a_refusal_is_a_broken_answer_and_a_refusal_before_it_is_none() -> None:
    refusal = envelope(401, "rejected", "a", {"error": "unauthorized", "details": []})
    assert broken(answers=[*CLEAN.answers, answer((0, 0), refusal, 5, 6)]) == {Broken.ANSWER}
    assert broken(answers=[*CLEAN.answers, answer((0, 0), refusal, 5, 0)]) == set()


def test_a_repeated_answer_under_another_event_id_is_a_broken_answer() -> None:
    assert broken(answers=[*CLEAN.answers, answer((0, 0), CREATED, 5, 6, ce_id="other")]) == {Broken.ANSWER}


def test_the_same_request_at_another_place_must_get_the_same_answer() -> None:
    twin = request((1, 0), "a", "London")
    requests = [*CLEAN.requests, twin]
    assert broken(requests=requests, answers=[*CLEAN.answers, answer((1, 0), CREATED, 5, 6)]) == set()
    assert Broken.ANSWER in broken(requests=requests, answers=[*CLEAN.answers, answer((1, 0), UPDATED, 5, 6)])


def test_other_content_under_the_id_is_refused_and_the_first_in_its_partition_has_the_effect() -> None:
    reused = request((0, 4), "a", "Bern")
    refusal = envelope(400, "rejected", "a", {"error": "idempotency_key_reused", "details": []})
    answers = [*CLEAN.answers, answer((0, 4), refusal, 5, 6)]
    assert broken(requests=[*CLEAN.requests, reused], answers=answers) == set()
    earlier = [replace(reused, place=(0, 0)), replace(CLEAN.requests[0], place=(0, 4)), *CLEAN.requests[1:]]
    stored = [{**CLEAN.stored[0], "record_offset": 4}, CLEAN.stored[1]]
    answers = [answer((0, 4), CREATED, 0, 1), answer((0, 0), refusal, 4, 5), *CLEAN.answers[1:4]]
    assert broken(requests=earlier, answers=answers, stored=stored) == {Broken.ORDER}


def test_rows_that_are_not_the_fold_of_the_requests_violate_the_order() -> None:
    assert broken(patients=[{**PATIENT, "city": "London"}]) == {Broken.ORDER}


def test_a_change_after_the_last_effect_violates_the_order() -> None:
    assert broken(patients=[{**PATIENT, "updated_at": at(3)}]) == {Broken.ORDER}


def test_effects_against_the_order_of_their_partition_violate_it_although_each_answer_fits() -> None:
    turned = [replace(CLEAN.requests[0], place=(0, 1)), replace(CLEAN.requests[1], place=(0, 0)), REFUSED, FAILED]
    stored = [{**CLEAN.stored[0], "record_offset": 1}, {**CLEAN.stored[1], "record_offset": 0}]
    answers = [answer((0, 1), CREATED, 0, 1), answer((0, 0), UPDATED, 1, 2), *CLEAN.answers[2:4]]
    assert broken(requests=turned, stored=stored, answers=answers) == {Broken.ORDER}
    elsewhere = [replace(turned[0], place=(1, 1)), *turned[1:]]  # between partitions there is no order
    stored[0]["record_partition"] = 1
    answers[0] = answer((1, 1), CREATED, 0, 1)
    assert broken(requests=elsewhere, stored=stored, answers=answers) == set()


def test_a_stale_event_must_be_superseded() -> None:
    stale = request((0, 4), "e", "Bern", event_time=0)
    superseded = envelope(200, "superseded", "e", response(2, "Paris"))
    applied = envelope(200, "updated", "e", response(3, "Bern"))
    requests = [*CLEAN.requests, stale]
    stored = [*CLEAN.stored, effect((0, 4), "e", "superseded", superseded, 3)]
    assert broken(requests=requests, stored=stored, answers=[*CLEAN.answers, answer((0, 4), superseded, 5, 6)]) == set()
    stored = [*CLEAN.stored, effect((0, 4), "e", "updated", applied, 3)]
    rows = [{**PATIENT, "city": "Bern", "updated_at": at(3), "version": 3}]
    found = broken(
        requests=requests, stored=stored, patients=rows, answers=[*CLEAN.answers, answer((0, 4), applied, 5, 6)]
    )
    assert found == {Broken.ORDER}


def test_requests_that_changed_nothing_may_have_come_in_any_order_that_works() -> None:
    later, earlier = (int(at(step).timestamp() * 1000) for step in (9, 8))
    plain = request((1, 0), "f", "Paris", timestamp=later)
    event = request((2, 0), "g", "Paris", timestamp=later, event_time=earlier)
    effects = []
    answers = []
    for number, asked in enumerate((plain, event)):
        assert asked.id
        value = envelope(200, "unchanged", asked.id, response(2, "Paris"))
        effects.append(effect(asked.place, asked.id, "unchanged", value, 9))
        answers.append(answer(asked.place, value, 5 + number, 9))
    stored = [*CLEAN.stored, *effects]
    assert broken(requests=[*CLEAN.requests, plain, event], stored=stored, answers=[*CLEAN.answers, *answers]) == set()


def test_an_answer_to_a_place_where_nothing_lay_is_one_without_request() -> None:
    assert broken(answers=[*CLEAN.answers, answer((0, 9), CREATED, 5, 6)]) == {Broken.UNASKED}


def test_an_answer_about_someone_else_is_one_without_request() -> None:
    value = CREATED.replace(b'"id": "a", "source": "/tests", "customer": "cus_1"', b'"id": "z"')
    assert Broken.UNASKED in broken(answers=[answer((0, 0), value, 0, 1), *CLEAN.answers[1:4]])


def test_a_200_for_what_should_be_refused_is_a_wrong_answer() -> None:
    value = envelope(200, "updated", "c", response(3, "Rome"))
    answers = [*CLEAN.answers[:2], answer((0, 2), value, 2, 3), CLEAN.answers[3]]
    assert broken(answers=answers) == {Broken.WRONG}


def test_a_200_that_shows_another_body_than_the_one_asked_for_is_a_wrong_answer() -> None:
    value = envelope(200, "created", "a", response(1, "Bern"))
    assert Broken.WRONG in broken(answers=[answer((0, 0), value, 0, 1), *CLEAN.answers[1:4]])


def test_rows_that_nobody_asked_for_are_ghosts() -> None:
    assert broken(customers=[CUSTOMER, {**CUSTOMER, "customer": "cus_2"}]) == {Broken.GHOST}
    assert broken(patients=[PATIENT, {**PATIENT, "customer": "cus_2"}]) == {Broken.GHOST}
    assert Broken.GHOST in broken(stored=[*CLEAN.stored, {**CLEAN.stored[0], "id": "z"}])


def test_the_effect_of_a_request_that_was_refused_is_a_ghost() -> None:
    value = envelope(200, "updated", "c", response(3, "Rome"))
    assert Broken.GHOST in broken(stored=[*CLEAN.stored, effect((0, 2), "c", "updated", value, 3)])


def test_a_dead_letter_needs_a_fault_of_ours_and_its_500() -> None:
    assert broken(letters=[*CLEAN.letters, letter((0, 1), CLEAN.requests[1])]) == {Broken.LETTER}
    without = [found for found in CLEAN.answers if found.status != 500]
    refusal = envelope(400, "rejected", "d", {"error": "validation_failed", "details": []})
    assert broken(answers=[*without, answer((0, 3), refusal, 3, 4)]) == {Broken.LETTER}


def test_a_500_needs_a_dead_letter() -> None:
    assert broken(letters=[]) == {Broken.LETTER}


def test_a_dead_letter_must_be_the_untouched_record() -> None:
    assert broken(letters=[replace(CLEAN.letters[0], value=b"{}")]) == {Broken.LETTER}
    headers = [*CLEAN.letters[0].headers, ("more", b"")]
    assert broken(letters=[replace(CLEAN.letters[0], headers=headers)]) == {Broken.LETTER}


def test_a_value_of_a_request_in_a_log_line_or_a_header_is_a_leak() -> None:
    assert broken(log=['{"event": "batch", "cause": "Kanarienvogel"}']) == {Broken.LEAK}
    first = CLEAN.answers[0]
    spoken = replace(first, headers=[*first.headers, ("name", b"Kanarienvogel")])
    assert broken(answers=[spoken, *CLEAN.answers[1:]]) == {Broken.LEAK}


def test_where_no_answer_may_be_repeated_a_repeated_one_is_told() -> None:
    assert broken(repeats=False) == {Broken.REPEATED}
    assert broken(repeats=False, answers=CLEAN.answers[:4]) == set()
