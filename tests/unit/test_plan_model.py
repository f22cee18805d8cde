"""The fold against a slow and obvious model: one request at a time, each committed before the next is looked at."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.model import Known, Record, Request
from app.plan import Rules
from tests.support import BODY
from tests.unit.making import NOW, TOPIC, after, decided, parsed, request_of
from tests.unit.making import record as made

DAY_MS = 86_400_000
BASE_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
SET = {
    "firstName",
    "lastName",
    "dateOfBirth",
    "gender",
    "address",
    "address2",
    "city",
    "state",
    "postalCode",
    "country",
}


@dataclass(frozen=True)
class Sent:
    """A record that someone sends: what it says, and where it lies."""

    place: tuple[str, int, int, int]
    customer: str
    source: str
    id: str
    data: dict[str, Any]
    event_ms: int | None = None
    letter: bool = False

    def record(self, number: int) -> Record:
        """The record as it lies in Kafka; a dead letter lies further down than it first did."""
        topic, partition, offset, timestamp = self.place
        headers: list[tuple[str, bytes | None]] = []
        if self.source != f"kafka:{TOPIC}":
            time = () if self.event_ms is None else (("ce_time", shown(self.event_ms).encode()),)
            headers += [("ce_specversion", b"1.0"), ("ce_type", b"patient.upsert.requested"), *time]
            headers += [("ce_id", self.id.encode()), ("ce_source", self.source.encode())]
        key, value = self.customer.encode(), json.dumps(self.data).encode()
        if not self.letter:
            return made(value, headers, key=key, partition=partition, offset=offset, timestamp=timestamp)
        names = ("topic", "partition", "offset", "timestamp")
        place = zip(names, (topic, partition, offset, timestamp), strict=True)
        headers += [(f"__dlq.errors.{name}", str(part).encode()) for name, part in place]
        return made(value, headers, key=key, partition=partition, offset=1000 + number, timestamp=BASE_MS + 9 * DAY_MS)


@dataclass(frozen=True)
class Deleted:
    """Another system deletes a customer, or its patient."""

    table: str
    customer: str


def shown(milliseconds: int) -> str:
    """A time as answers write it."""
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"


@dataclass
class Model:
    """What the documents say, as plainly as it can be written. Times are Unix milliseconds."""

    create_unknown: bool
    supersede: bool
    now: int
    customers: dict[str, dict[str, Any]] = field(default_factory=dict)
    patients: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    made: int = 0

    def take(self, sent: Sent) -> tuple[str, Any, bool]:
        """Outcome or error code, the response of a 200, and whether it came from the store."""
        before = self.answers.get((sent.source, sent.id))
        if before is not None:
            if (sent.letter or before["place"] != sent.place) and before["content"] != (sent.customer, sent.data):
                return "idempotency_key_reused", None, False
            return before["outcome"], before["response"], True
        error = self.refuse(sent)
        if error:
            return error, None, False
        outcome = self.apply(sent)
        answer = {"place": sent.place, "content": (sent.customer, sent.data), "outcome": outcome}
        self.answers[sent.source, sent.id] = {**answer, "response": self.response(sent.customer)}
        return outcome, self.response(sent.customer), False

    def refuse(self, sent: Sent) -> str | None:
        if sent.data["city"] == "":
            return "validation_failed"
        customer, patient = self.customers.get(sent.customer), self.patients.get(sent.customer)
        if customer is None and not self.create_unknown:
            return "customer_not_found"
        if customer is not None and customer["deleted"]:
            return "customer_not_found"
        if patient is not None and patient["deleted"]:
            return "patient_not_found"
        if sent.data.get("patient") and (patient is None or patient["patient"] != sent.data["patient"]):
            return "patient_not_found"
        return None

    def apply(self, sent: Sent) -> str:
        lay = sent.place[3]
        effective = lay if sent.event_ms is None else min(sent.event_ms, lay)
        customer, patient = self.customers.get(sent.customer), self.patients.get(sent.customer)
        guarded = self.supersede and (sent.event_ms is not None or sent.letter)
        if patient is not None and guarded and effective < patient["effective"]:
            return "superseded"
        time = max([self.now, *(row["updated"] + 1 for row in (customer, patient) if row is not None)])
        contact: dict[str, Any] = {name: sent.data[name] for name in ("email", "phone") if name in sent.data}
        profile = {name: value for name, value in sent.data.items() if name in SET}
        if customer is None:
            names = {"first_name": sent.data["firstName"], "last_name": sent.data["lastName"], "email": None}
            times = {"created": time, "updated": time}
            self.customers[sent.customer] = {**names, **times, **contact, "deleted": False}
        if customer is not None and any(customer[name] != value for name, value in contact.items()):
            customer.update(contact, updated=time)
            differs = True
        else:
            differs = False
        if patient is None:
            self.made += 1
            absent = {"gender": None, "address2": None}
            row = {"patient": f"pat_new{self.made}", "effective": effective, "updated": time, "deleted": False}
            self.patients[sent.customer] = {**absent, **profile, **row}
            return "created"
        patient["effective"] = max(effective, patient["effective"])
        if any(patient[name] != value for name, value in profile.items()):
            patient.update(profile, updated=time)
            differs = True
        return "updated" if differs else "unchanged"

    def response(self, name: str) -> dict[str, Any]:
        customer, patient = self.customers[name], self.patients[name]
        return {
            "customer": name,
            **{key: customer[key] for key in ("email", "first_name", "last_name", "phone")},
            "billing_address_id": None,
            "has_account": False,
            "deleted_at": None,
            "metadata": {},
            "created_at": shown(customer["created"]),
            "updated_at": shown(max(customer["updated"], patient["updated"])),
            "patient": patient["patient"],
            **{key: patient[key] for key in SET},
        }


cities = st.sampled_from(["London", "London", "Leeds", ""])
changes = st.fixed_dictionaries(
    {"city": cities, "phone": st.sampled_from(["555", "5551"]), "firstName": st.sampled_from(["Ada", "Eve"])},
    optional={
        "email": st.sampled_from([None, "a@clinic.local"]),
        "gender": st.sampled_from([None, "x"]),
        "address2": st.sampled_from([None, "Flat 3"]),
        "patient": st.sampled_from([None, None, "pat_new1", "pat_new2"]),
    },
)
BARE = {name: value for name, value in BODY.items() if name not in ("email", "gender", "address2")}


@st.composite
def scripts(draw: st.DrawFn) -> list[Sent | Deleted]:
    """What happens: requests of few customers under few ids, records that come again, dead letters, deletions."""
    steps: list[Sent | Deleted] = []
    for number in range(draw(st.integers(1, 14))):
        earlier = [step for step in steps if isinstance(step, Sent)]
        kind = draw(st.sampled_from(["event"] * 3 + ["timed"] * 2 + ["plain", "letter", "again", "deleted"]))
        if kind == "again" and earlier:
            steps.append(draw(st.sampled_from(earlier)))
        elif kind == "deleted":
            table, name = draw(st.sampled_from(["customers", "patients"])), draw(st.sampled_from(["cus_1", "cus_2"]))
            steps.append(Deleted(table, name))
        else:
            day = draw(st.integers(0, 3))
            place = (TOPIC, 0, draw(st.integers(0, 3)) if kind == "letter" else 100 + number, BASE_MS + day * DAY_MS)
            own = kind in ("plain", "letter")
            id = f"{TOPIC}/0/{place[2]}@{place[3]}" if own else draw(st.sampled_from("123"))
            source = f"kafka:{TOPIC}" if own else draw(st.sampled_from(["/a", "/a", "/b"]))
            event_ms = BASE_MS + draw(st.integers(0, 4)) * DAY_MS if kind == "timed" else None
            name, data = draw(st.sampled_from(["cus_1", "cus_1", "cus_2"])), BARE | draw(changes)
            steps.append(Sent(place, name, source, id, data, event_ms, letter=kind == "letter"))
    return steps


def delete(known: Known, step: Deleted) -> Known:
    """The rows as they are after another system has deleted one."""
    rows: dict[str, Any] = getattr(known, step.table)
    if (row := rows.get(step.customer)) is None:
        return known
    deleted: dict[str, Any] = {step.table: {**rows, step.customer: row._replace(deleted_at=NOW)}}
    known = dataclasses.replace(known, **deleted)
    customer = known.customers[step.customer]
    moved = {**known.customers, step.customer: customer._replace(version=customer.version + 1)}
    return dataclasses.replace(known, customers=moved)


def folded(
    steps: list[Sent | Deleted], cuts: set[int], rules: Rules, now: datetime
) -> tuple[Known, list[tuple[str, Any, bool]]]:
    """What the fold decides when the requests come in batches that end at these cuts, and at each deletion."""
    known = Known()
    results: list[tuple[str, Any, bool]] = []
    batch: list[Request] = []
    ids = iter(f"pat_new{number}" for number in range(1, 100))
    for number, step in enumerate([*steps, None]):
        if step is None or isinstance(step, Deleted) or number in cuts:
            planned = decided(*batch, known=known, rules=rules, now=now, new_patient_id=lambda: next(ids))
            known, batch = after(known, planned.writes), []
            for answer in planned.answers:
                response = parsed(answer)["response"] if answer.status == 200 else None
                results.append((answer.error or answer.outcome.value, response, answer.replayed))
        if isinstance(step, Deleted):
            known = delete(known, step)
        elif step is not None:
            batch.append(request_of(step.record(number)))
    return known, results


def milliseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def rows_of(known: Known) -> tuple[dict[str, Any], dict[str, Any]]:
    """The stored rows as the model writes them."""
    customers = {
        row.customer: {
            "first_name": row.first_name, "last_name": row.last_name, "email": row.email, "phone": row.phone,
            "created": milliseconds(row.created_at), "updated": milliseconds(row.updated_at),
            "deleted": row.deleted_at is not None,
        }
        for row in known.customers.values()
    }  # fmt: skip
    patients = {
        row.customer: {
            "patient": row.patient, "firstName": row.first_name, "lastName": row.last_name, "gender": row.gender,
            "dateOfBirth": row.date_of_birth.isoformat(), "address": row.address, "address2": row.address2,
            "city": row.city, "state": row.state, "postalCode": row.postal_code, "country": row.country,
            "effective": milliseconds(row.effective_at), "updated": milliseconds(row.updated_at),
            "deleted": row.deleted_at is not None,
        }
        for row in known.patients.values()
    }  # fmt: skip
    return customers, patients


@pytest.mark.rule("R6.2", "R6.4", "R6.5", "R6.6", "R6.10", "R6.14", "R6.15", "R6.19", "R6.21")
@settings(deadline=None, max_examples=300)
@given(
    steps=scripts(),
    cuts=st.sets(st.integers(1, 14)),
    create=st.sampled_from([True, True, True, False]),
    supersede=st.booleans(),
)
def test_the_fold_decides_as_the_model_wherever_the_batches_are_cut(
    steps: list[Sent | Deleted], cuts: set[int], create: bool, supersede: bool
) -> None:
    model = Model(create, supersede, now=milliseconds(NOW))
    expected = []
    for step in steps:
        if isinstance(step, Sent):
            expected.append(model.take(step))
        elif step.customer in (rows := getattr(model, step.table)):
            rows[step.customer]["deleted"] = True
    known, results = folded(steps, cuts, Rules(create_unknown=create, supersede_stale=supersede), NOW)
    assert results == expected
    assert rows_of(known) == (model.customers, model.patients)
    assert {(answer.source, answer.id) for answer in known.answers.values()} == set(model.answers)


@pytest.mark.rule("R6.14", "R6.15")
@settings(deadline=None, max_examples=100)
@given(steps=scripts(), cuts=st.sets(st.integers(1, 14)), seconds=st.integers(-100_000, 100_000))
def test_with_another_clock_only_the_times_of_changes_differ(
    steps: list[Sent | Deleted], cuts: set[int], seconds: int
) -> None:
    def timeless(results: list[tuple[str, Any, bool]]) -> list[tuple[str, Any, bool]]:
        times = {"created_at": "", "updated_at": ""}
        return [(outcome, response and {**response, **times}, again) for outcome, response, again in results]

    _, one = folded(steps, cuts, Rules(), NOW)
    _, other = folded(steps, set(), Rules(), NOW + timedelta(seconds=seconds))
    assert timeless(one) == timeless(other)
