"""When a request took effect, and what becomes of one that is older than what stands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.model import Headers, Request
from app.plan import Rules
from tests.support import body
from tests.unit.making import (
    EARLIER,
    EVENT,
    MADE,
    MADE_MS,
    NOW,
    customer,
    decided,
    holding,
    outcomes,
    parsed,
    patient,
    patients_of,
    request,
    request_of,
    structured,
)
from tests.unit.making import record as made

OLD, NEW = "2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z"
AT_OLD, AT_NEW = datetime(2026, 1, 1, 10, tzinfo=UTC), datetime(2026, 1, 1, 11, tzinfo=UTC)
LETTER: Headers = (
    ("__dlq.errors.topic", b"patient.upsert.requested"),
    ("__dlq.errors.partition", b"3"),
    ("__dlq.errors.offset", b"2"),
    ("__dlq.errors.timestamp", b"1767261600000"),  # 2026-01-01T10:00:00Z
)
SAME: dict[str, Any] = {
    "firstName": "Alan", "lastName": "Sample", "dateOfBirth": "1980-02-29", "gender": "male", "address": "9 Old Road",
    "address2": "Flat 3", "city": "Leeds", "state": "West Yorkshire", "postalCode": "LS1", "phone": "+1 555 0100",
    "email": "old@clinic.local",
}  # fmt: skip
"""What `customer()` and `patient()` hold already."""


@pytest.mark.rule("R6.16")
@pytest.mark.parametrize(
    ("time", "effective_at"),
    [
        (OLD, AT_OLD),
        ("2026-01-01T12:00:00+02:00", AT_OLD),
        ("2026-01-02T03:04:05.678Z", MADE),
        ("2026-01-02T03:04:05.679Z", MADE),
        ("9999-12-31T23:59:59Z", MADE),
    ],
)
def test_the_effective_time_is_the_event_time_at_most_the_records(time: str, effective_at: datetime) -> None:
    assert request(time=time).effective_at == effective_at
    assert request_of(made(structured(time=time))).effective_at == effective_at
    assert patients_of(decided(request(time=time)).writes.new)[0].effective_at == effective_at


@pytest.mark.rule("R6.17")
def test_without_an_event_time_it_is_the_records() -> None:
    for given in (request(), request_of(made()), request_of(made(structured()))):
        assert (given.effective_at, given.stale_guarded) == (MADE, False)
    assert request_of(made(timestamp=0)).effective_at == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.rule("R6.17")
def test_of_a_record_without_a_timestamp_it_is_the_time_of_receipt() -> None:
    received = datetime(2026, 5, 6, tzinfo=UTC)
    assert request_of(made(timestamp=-1), received=received).effective_at == received
    headers = (*EVENT, ("ce_time", b"2027-01-01T00:00:00Z"))
    assert request_of(made(body(), headers, timestamp=-1), received=received).effective_at == received


@pytest.mark.rule("R6.17")
@pytest.mark.parametrize(("timestamp", "year"), [(9 * 10**18, 9000), (-9 * 10**18, 1000)])
def test_a_timestamp_beyond_all_years_is_the_last_one_that_can_be_reckoned_with(timestamp: int, year: int) -> None:
    assert request_of(made(timestamp=timestamp)).effective_at == datetime(year, 1, 1, tzinfo=UTC)


@pytest.mark.rule("R6.17")
def test_of_a_replayed_dead_letter_it_is_the_timestamp_that_it_first_had() -> None:
    given = request_of(made(headers=LETTER))
    assert (given.effective_at, given.stale_guarded) == (AT_OLD, True)


@pytest.mark.rule("R6.18")
def test_the_newest_effective_time_stays_with_the_patient() -> None:
    planned = decided(request("1", time=OLD), request("2", time=NEW, city="B"))
    assert patients_of(planned.writes.new)[0].effective_at == AT_NEW
    planned = decided(request("1", time=NEW), request("2", timestamp=MADE_MS - 10**9, city="B"))
    assert outcomes(planned) == ["created", "updated"]
    assert patients_of(planned.writes.new)[0].effective_at == AT_NEW


@pytest.mark.rule("R6.18")
def test_the_newest_effective_time_is_stored_when_nothing_else_differed() -> None:
    planned = decided(request(**SAME), known=holding(customer(), patient()))
    assert outcomes(planned) == ["unchanged"]
    assert planned.writes.changed == ((customer(version=5), patient(effective_at=MADE)),)


@pytest.mark.rule("R6.18")
def test_the_newest_effective_time_is_stored_when_only_the_customer_differed() -> None:
    planned = decided(request(**{**SAME, "phone": "555"}), known=holding(customer(), patient()))
    assert outcomes(planned) == ["updated"]
    assert patients_of(planned.writes.changed) == (patient(effective_at=MADE),)


@pytest.mark.rule("R6.18", "R4.6")
def test_an_older_time_that_changes_nothing_is_not_stored() -> None:
    for standing in (MADE, MADE + timedelta(days=1)):
        planned = decided(request(**SAME), known=holding(customer(), patient(effective_at=standing)))
        assert outcomes(planned) == ["unchanged"]
        assert planned.writes.changed == ()
        assert len(planned.writes.answers) == 1


@pytest.mark.rule("R6.19", "R4.7")
def test_an_older_event_changes_nothing_and_is_shown_what_stands() -> None:
    known = holding(customer(), patient(effective_at=AT_NEW))
    planned = decided(request(time=OLD), known=known)
    (answer,) = planned.answers
    assert (answer.outcome, answer.status, answer.replayed) == ("superseded", 200, False)
    assert parsed(answer)["response"] == {
        "customer": "cus_1",
        "email": "old@clinic.local",
        "first_name": "Grace",
        "last_name": "Payer",
        "billing_address_id": "adr_1",
        "phone": "+1 555 0100",
        "has_account": True,
        "created_at": "2025-06-01T12:00:00.000Z",
        "updated_at": "2025-06-01T12:00:00.000Z",
        "deleted_at": None,
        "metadata": {"vip": 1},
        "patient": "pat_cus_1",
        "firstName": "Alan",
        "lastName": "Sample",
        "dateOfBirth": "1980-02-29",
        "gender": "male",
        "address": "9 Old Road",
        "address2": "Flat 3",
        "city": "Leeds",
        "state": "West Yorkshire",
        "postalCode": "LS1",
        "country": "GB",
    }
    writes = planned.writes
    assert [stored.outcome for stored in writes.answers] == ["superseded"]
    assert (writes.new, writes.changed) == ((), ())


@pytest.mark.rule("R6.19")
def test_an_older_event_in_the_same_batch_is_superseded() -> None:
    planned = decided(request("1", time=NEW), request("2", time=OLD, city="Other", offset=8))
    assert outcomes(planned) == ["created", "superseded"]
    assert parsed(planned.answers[1])["response"]["city"] == "London"


@pytest.mark.rule("R6.20")
def test_a_replayed_dead_letter_that_is_older_is_superseded() -> None:
    known = holding(customer(), patient(effective_at=AT_NEW))
    planned = decided(request_of(made(headers=LETTER)), known=known)
    assert outcomes(planned) == ["superseded"]
    planned = decided(request_of(made(headers=LETTER)), known=holding(customer(), patient(effective_at=AT_OLD)))
    assert outcomes(planned) == ["updated"]


@pytest.mark.rule("R6.21")
@pytest.mark.parametrize("headers", [(), tuple(EVENT), (("idempotency-key", b"1"),)])
def test_an_older_record_without_an_event_time_is_applied(headers: Headers) -> None:
    known = holding(customer(), patient(effective_at=NOW))
    planned = decided(request_of(made(body(), headers)), known=known)
    assert outcomes(planned) == ["updated"]
    assert patients_of(planned.writes.changed)[0].city == "London"
    assert patients_of(planned.writes.changed)[0].effective_at == NOW


def _at(effective_at: datetime, given: Request, rules: Rules) -> list[str]:
    return outcomes(decided(given, known=holding(customer(), patient(effective_at=effective_at)), rules=rules))


@pytest.mark.rule("R6.22")
def test_an_event_exactly_as_old_is_applied() -> None:
    tick = timedelta(microseconds=1)
    assert _at(AT_OLD, request(time=OLD), Rules()) == ["updated"]
    assert _at(AT_OLD - tick, request(time=OLD), Rules()) == ["updated"]
    assert _at(AT_OLD + tick, request(time=OLD), Rules()) == ["superseded"]


@pytest.mark.rule("R6.23")
def test_older_events_are_applied_where_the_settings_say_so() -> None:
    for given in (request(time=OLD), request_of(made(headers=LETTER))):
        assert _at(AT_NEW, given, Rules(supersede_stale=False)) == ["updated"]
        assert _at(AT_NEW, given, Rules(supersede_stale=True)) == ["superseded"]


@pytest.mark.rule("R6.19")
def test_nothing_is_older_than_a_customer_without_a_patient() -> None:
    assert outcomes(decided(request(time="1999-01-01T00:00:00Z"), known=holding(customer()))) == ["created"]


@pytest.mark.rule("R6.19")
def test_an_older_event_for_what_was_deleted_is_not_found() -> None:
    known = holding(customer(), patient(effective_at=AT_NEW, deleted_at=EARLIER))
    assert outcomes(decided(request(time=OLD), known=known)) == ["patient_not_found"]
