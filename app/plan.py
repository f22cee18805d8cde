"""The plan room: what a batch of requests does, decided by a pure fold in the order of their offsets.

Source of the rules: docs/rules.md, sections 4 to 6. Time and new ids are arguments, so the same arguments always
give the same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Final

from app.compiled import part
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
    Row,
    StoredAnswer,
    Writes,
    made,
)
from app.response import refused, stored, success

_TICK = timedelta(milliseconds=1)
"""The smallest step of `updated_at` that an answer can show."""

_SET_BY_REQUESTS = slice(Patient._fields.index("first_name"), Patient._fields.index("country") + 1)
"""The fields of a patient that a request can set."""

_FIRST: Final = itemgetter(0)
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
    return Plan(tuple(map(fold.answer, requests)), fold.writes())


class _Fold:
    """The state of the batch: the database as it will be once the requests so far are committed."""

    __slots__ = ("answers", "customers", "known", "new_answers", "new_patient_id", "now", "patients", "rules")

    def __init__(self, known: Known, rules: Rules, now: datetime, new_patient_id: Callable[[], str]) -> None:
        self.known, self.rules, self.now, self.new_patient_id = known, rules, now, new_patient_id
        self.answers, self.customers, self.patients = dict(known.answers), dict(known.customers), dict(known.patients)
        self.new_answers: list[StoredAnswer] = []

    def answer(self, request: Request) -> Answer:
        """Decide one request and remember what it did."""
        if request.key is not None and (earlier := self.answers.get(request.key)):
            return self._again(request, earlier)
        if refusal := request.denial or request.refusal:
            return refused(request, refusal, now=self.now)
        data, id = request.data, request.customer
        assert data is not None
        if id is None:
            return refused(request, _NO_PATIENT, now=self.now)  # only a patient was named, and nobody knows it
        customer, patient = self.customers.get(id), self.patients.get(id)
        if refusal := self._not_found(customer, patient, data):
            return refused(request, refusal, now=self.now)
        if customer is not None and patient is not None and self._is_stale(request, patient):
            return self._final(request, Outcome.SUPERSEDED, customer, patient)
        return self._effect(request, data, id, customer, patient)

    def _again(self, request: Request, earlier: StoredAnswer) -> Answer:
        """The id was answered before: the same record gets that answer, another one must be allowed and equal."""
        if earlier.position != request.record.position:
            if request.denial:
                return refused(request, request.denial, now=self.now)
            if request.fingerprint is None and request.refusal:
                return refused(request, request.refusal, now=self.now)  # nothing there that could be compared
            if earlier.fingerprint != request.fingerprint:
                return refused(request, _REUSED, now=self.now)
        return stored(earlier, request, replayed=True)

    def _not_found(self, customer: Customer | None, patient: Patient | None, data: PatientData) -> Refusal | None:
        if customer is None and not self.rules.create_unknown:
            return _NO_CUSTOMER
        if customer is not None and customer.deleted_at is not None:
            return _NO_CUSTOMER
        if patient is not None and patient.deleted_at is not None:
            return _NO_PATIENT
        if data.patient is not None and (patient is None or patient.patient != data.patient):
            return _NO_PATIENT
        return None

    def _is_stale(self, request: Request, patient: Patient) -> bool:
        guarded = request.stale_guarded and self.rules.supersede_stale
        return guarded and request.effective_at < patient.effective_at

    def _effect(
        self, request: Request, data: PatientData, id: str, customer: Customer | None, patient: Patient | None
    ) -> Answer:
        """Bring customer and patient to what the request wants; one that needs no change stays the same object."""
        if part is not None:
            outcome, after_customer, after_patient = part.effect(
                data, id, customer, patient, request.effective_at, self.now, _TICK, self.new_patient_id
            )
            self.customers[id], self.patients[id] = after_customer, after_patient
            return self._final(request, outcome, after_customer, after_patient)
        time = self._next_time(customer, patient)
        after_customer = self._customer_after(id, customer, data, time)
        after_patient = self._patient_after(id, patient, data, request.effective_at, time)
        outcome = Outcome.UPDATED
        if patient is None:
            outcome = Outcome.CREATED
        elif after_customer is customer and after_patient.updated_at == patient.updated_at:
            outcome = Outcome.UNCHANGED
        self.customers[id], self.patients[id] = after_customer, after_patient
        return self._final(request, outcome, after_customer, after_patient)

    def _next_time(self, customer: Customer | None, patient: Patient | None) -> datetime:
        """Now, but always later than what stands: `updated_at` orders the answers of a customer."""
        time = self.now
        if customer is not None and customer.updated_at >= time:
            time = customer.updated_at + _TICK
        if patient is not None and patient.updated_at >= time:
            time = patient.updated_at + _TICK
        return time

    def _customer_after(self, id: str, customer: Customer | None, data: PatientData, time: datetime) -> Customer:
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
        email = _kept(data.email, customer.email)
        if data.phone == customer.phone and email == customer.email:
            return customer
        _, _, first_name, last_name, billing, _, has_account, metadata, created_at, _, deleted_at, version = customer
        values = (
            id, email, first_name, last_name, billing, data.phone, has_account, metadata, created_at, time, deleted_at,
            version,
        )  # fmt: skip
        return made(Customer, values)

    def _patient_after(
        self, id: str, patient: Patient | None, data: PatientData, effective_at: datetime, time: datetime
    ) -> Patient:
        """The patient with the data of the request. Its `effective_at` goes on also when nothing else differs."""
        fields = (
            data.first_name,
            data.last_name,
            data.date_of_birth,
            _kept(data.gender, patient.gender if patient else None),
            data.address,
            _kept(data.address2, patient.address2 if patient else None),
            data.city,
            data.state,
            data.postal_code,
            data.country,
        )
        if patient is None:
            return made(Patient, (self.new_patient_id(), id, *fields, effective_at, time, time, None))
        effective_at = max(effective_at, patient.effective_at)
        if patient[_SET_BY_REQUESTS] == fields:
            if effective_at == patient.effective_at:
                return patient
            time = patient.updated_at
        return made(Patient, (patient.patient, id, *fields, effective_at, patient.created_at, time, None))

    def _final(self, request: Request, outcome: Outcome, customer: Customer, patient: Patient) -> Answer:
        kept, given = success(request, outcome, customer, patient, now=self.now)
        self.answers[kept.key] = kept
        self.new_answers.append(kept)
        return given

    def writes(self) -> Writes:
        """What the fold changed, each row once with its next version, sorted by key."""
        customers, patients = self.known.customers, self.known.patients
        new: list[Row] = []
        changed: list[Row] = []
        for id in sorted(self.patients):  # every customer that was changed has one
            customer, patient, before = self.customers[id], self.patients[id], customers.get(id)
            if before is None:
                new.append((customer, patient))
            elif customer is not before or patient is not patients.get(id):
                changed.append((made(Customer, (*customer[:-1], before.version + 1)), patient))
        return Writes(tuple(new), tuple(changed), tuple(sorted(self.new_answers, key=_FIRST)))


def _kept(given: OptionalText, standing: str | None) -> str | None:
    return standing if given is UNSET else given
