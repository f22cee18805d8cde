"""The plan room: what a batch of requests does, decided by a pure fold in the order of their offsets.

Source of the rules: docs/rules.md, sections 4 to 6. Time and new ids are arguments, so the same arguments always
give the same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import attrgetter

from app.errors import ErrorCode, Fault, FaultCode, Refusal
from app.model import (
    UNSET,
    Answer,
    Customer,
    Known,
    OptionalText,
    Outcome,
    Patient,
    PatientData,
    Request,
    StoredAnswer,
    Writes,
)
from app.response import refused, stored, success_value

_TICK = timedelta(milliseconds=1)
"""The smallest step of `updated_at` that an answer can show."""

_REUSED = Refusal(ErrorCode.IDEMPOTENCY_KEY_REUSED, (Fault("", FaultCode.KEY_REUSED),))
_NO_CUSTOMER = Refusal(ErrorCode.CUSTOMER_NOT_FOUND, (Fault("/customer", FaultCode.CUSTOMER_UNKNOWN),))
_NO_PATIENT = Refusal(ErrorCode.PATIENT_NOT_FOUND, (Fault("/patient", FaultCode.PATIENT_UNKNOWN),))


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that change what a request does."""

    create_unknown: bool = True
    supersede_stale: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """One answer per request, in the order of the requests, and what must be committed before they may be given."""

    answers: tuple[Answer, ...]
    writes: Writes


def plan(
    requests: Sequence[Request], known: Known, *, rules: Rules, now: datetime, new_patient_id: Callable[[], str]
) -> Plan:
    """Fold the requests, which are in offset order, over what the database holds.

    Args:
        requests: of one batch; those of one key in one partition in the order of their offsets.
        known: the stored answers and rows that these requests concern.
        rules: the settings that matter here.
        now: the time of this batch, in whole milliseconds.
        new_patient_id: gives a fresh id at each call.
    """
    fold = _Fold(known, rules, now, new_patient_id)
    return Plan(tuple(fold.answer(request) for request in requests), fold.writes())


@dataclass(slots=True)
class _Fold:
    """The state of the batch: the database as it will be once the requests so far are committed."""

    known: Known
    rules: Rules
    now: datetime
    new_patient_id: Callable[[], str]
    answers: dict[bytes, StoredAnswer] = field(default_factory=dict)
    customers: dict[str, Customer] = field(default_factory=dict)
    patients: dict[str, Patient] = field(default_factory=dict)

    def answer(self, request: Request) -> Answer:
        """Decide one request and remember what it did."""
        if request.key is not None and (earlier := self._earlier(request.key)):
            return self._again(request, earlier)
        if refusal := request.denial or request.refusal:
            return refused(request, refusal, now=self.now)
        assert request.data is not None
        if refusal := self._not_found(request, request.data):
            return refused(request, refusal, now=self.now)
        return self._effect(request, request.data)

    def _earlier(self, key: bytes) -> StoredAnswer | None:
        return self.answers.get(key) or self.known.answers.get(key)

    def _again(self, request: Request, earlier: StoredAnswer) -> Answer:
        """The id was answered before: the same record gets that answer, another one must be allowed and equal."""
        if earlier.position != request.record.position:  # a replayed dead letter too is another record
            if request.denial:
                return refused(request, request.denial, now=self.now)
            if request.fingerprint is None and request.refusal:
                return refused(request, request.refusal, now=self.now)  # nothing there that could be compared
            if earlier.fingerprint != request.fingerprint:
                return refused(request, _REUSED, now=self.now)
        return stored(earlier, request, replayed=True)

    def _customer(self, request: Request) -> Customer | None:
        if request.customer is None:
            return None
        return self.customers.get(request.customer) or self.known.customers.get(request.customer)

    def _patient(self, request: Request) -> Patient | None:
        if request.customer is None:
            return None
        return self.patients.get(request.customer) or self.known.patients.get(request.customer)

    def _not_found(self, request: Request, data: PatientData) -> Refusal | None:
        customer, patient = self._customer(request), self._patient(request)
        if request.customer is None:
            return _NO_PATIENT  # only a patient was named, and nobody knows it
        if customer is None and not self.rules.create_unknown:
            return _NO_CUSTOMER
        if customer is not None and customer.deleted_at is not None:
            return _NO_CUSTOMER
        if patient is not None and patient.deleted_at is not None:
            return _NO_PATIENT
        if data.patient is not None and (patient is None or patient.patient != data.patient):
            return _NO_PATIENT
        return None

    def _effect(self, request: Request, data: PatientData) -> Answer:
        customer, patient = self._customer(request), self._patient(request)
        if customer is not None and patient is not None and self._is_stale(request, patient):
            return self._final(request, Outcome.SUPERSEDED, customer, patient)
        assert request.customer is not None
        time = self._next_time(customer, patient)
        after_customer = _customer_after(request.customer, customer, data, time)
        after_patient = _patient_after(request, patient, data, time, self.new_patient_id)
        outcome = Outcome.CREATED if patient is None else Outcome.UPDATED
        if patient is not None and _same(customer, after_customer) and _same(patient, after_patient):
            outcome = Outcome.UNCHANGED
        if not _same(customer, after_customer):
            self.customers[request.customer] = after_customer
        if not _same(patient, after_patient):
            self.patients[request.customer] = after_patient
        elif patient is not None and request.effective_at > patient.effective_at:
            self.patients[request.customer] = replace(patient, effective_at=request.effective_at)
        now_customer, now_patient = self._customer(request), self._patient(request)
        assert now_customer is not None
        assert now_patient is not None
        return self._final(request, outcome, now_customer, now_patient)

    def _is_stale(self, request: Request, patient: Patient) -> bool:
        guarded = request.stale_guarded and self.rules.supersede_stale
        return guarded and request.effective_at < patient.effective_at

    def _next_time(self, customer: Customer | None, patient: Patient | None) -> datetime:
        """Now, but always later than what stands: `updated_at` orders the answers of a customer."""
        standing = [row.updated_at + _TICK for row in (customer, patient) if row is not None]
        return max(self.now, *standing) if standing else self.now

    def _final(self, request: Request, outcome: Outcome, customer: Customer, patient: Patient) -> Answer:
        assert request.key is not None
        assert request.source is not None
        assert request.id is not None
        assert request.fingerprint is not None
        answer = StoredAnswer(
            key=request.key,
            source=request.source,
            id=request.id,
            customer=customer.customer,
            position=request.position,
            fingerprint=request.fingerprint,
            outcome=outcome,
            answer=success_value(request, outcome, customer, patient),
            received_at=self.now,
        )
        self.answers[request.key] = answer
        return stored(answer, request, replayed=False)

    def writes(self) -> Writes:
        """What the fold changed, each row once with its next version, sorted by key."""
        customers, patients = self.known.customers, self.known.patients
        changed = [
            replace(row, version=_next_version(customers.get(key))) for key, row in sorted(self.customers.items())
        ]
        profiles = [replace(row, version=_next_version(patients.get(key))) for key, row in self.patients.items()]
        profiles.sort(key=attrgetter("patient"))
        return Writes(
            new_customers=tuple(row for row in changed if row.customer not in customers),
            changed_customers=tuple(row for row in changed if row.customer in customers),
            new_patients=tuple(row for row in profiles if row.customer not in patients),
            changed_patients=tuple(row for row in profiles if row.customer in patients),
            answers=tuple(self.answers[key] for key in sorted(self.answers)),
        )


def _next_version(before: Customer | Patient | None) -> int:
    return before.version + 1 if before else 1


def _kept(given: OptionalText, standing: str | None) -> str | None:
    return standing if given is UNSET else given


def _customer_after(id: str, customer: Customer | None, data: PatientData, time: datetime) -> Customer:
    """The customer with the contact data of the request; its name is set on creation and then left alone."""
    if customer is None:
        return Customer(
            customer=id,
            email=_kept(data.email, None),
            first_name=data.first_name,
            last_name=data.last_name,
            billing_address_id=None,
            phone=data.phone,
            has_account=False,
            metadata="{}",
            created_at=time,
            updated_at=time,
            deleted_at=None,
            version=1,
        )
    return replace(customer, email=_kept(data.email, customer.email), phone=data.phone, updated_at=time)


def _patient_after(
    request: Request, patient: Patient | None, data: PatientData, time: datetime, new_patient_id: Callable[[], str]
) -> Patient:
    assert request.customer is not None
    return Patient(
        patient=patient.patient if patient else new_patient_id(),
        customer=request.customer,
        first_name=data.first_name,
        last_name=data.last_name,
        date_of_birth=data.date_of_birth,
        gender=_kept(data.gender, patient.gender if patient else None),
        address=data.address,
        address2=_kept(data.address2, patient.address2 if patient else None),
        city=data.city,
        state=data.state,
        postal_code=data.postal_code,
        country=data.country,
        effective_at=max(request.effective_at, patient.effective_at) if patient else request.effective_at,
        created_at=patient.created_at if patient else time,
        updated_at=time,
        deleted_at=None,
        version=patient.version if patient else 1,
    )


_CUSTOMER_FIELDS = attrgetter("email", "phone")
_PATIENT_FIELDS = attrgetter(
    "first_name",
    "last_name",
    "date_of_birth",
    "gender",
    "address",
    "address2",
    "city",
    "state",
    "postal_code",
    "country",
)


def _same(before: Customer | Patient | None, after: Customer | Patient) -> bool:
    """Whether no field differs that a request can set."""
    if before is None:
        return False
    fields = _CUSTOMER_FIELDS if isinstance(after, Customer) else _PATIENT_FIELDS
    return bool(fields(before) == fields(after))
