"""The compiled part (`_compiled.pyx`), or None where it was not built, for want of a C compiler: the plain rooms do the
same, slower."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from importlib import import_module
from operator import attrgetter
from re import Pattern
from typing import Any, Final, Protocol

from app.model import Answer, Customer, Envelope, Outcome, Patient, PatientData, Record, Request, StoredAnswer


class Reader(Protocol):
    """What understands usual records."""

    def request(self, record: Record, received: datetime) -> Request | Envelope | None:
        """What this record asks for, whoever calls; its envelope where a field is faulty; None: look closer."""


class Part(Protocol):
    """What `_compiled.pyx` offers; each is described there."""

    def Reader(  # noqa: N802 - a class
        self,
        *,
        from_key: bool,
        pattern: Pattern[str] | None,
        event_type: bytes,
        largest: int,
        largest_record: int,
        longest_traced: int,
        names: Iterable[str],
        rules: Mapping[str, Callable[..., Any]],
    ) -> Reader:
        """One for each thread."""

    def canonical(self, value: Any, depth: int) -> Any:
        """A JSON value, whole numbers as integers."""

    def effect(
        self,
        data: PatientData,
        id: str,
        customer: Customer | None,
        patient: Patient | None,
        effective_at: datetime,
        now: datetime,
        tick: timedelta,
        new_patient_id: Callable[[], str],
    ) -> tuple[Outcome, Customer, Patient]:
        """What becomes of customer and patient, and how that is called."""

    def success_value(
        self,
        request: Request,
        outcome: Outcome,
        customer: Customer,
        patient: Patient,
        timestamp: Callable[[datetime], str],
    ) -> bytes:
        """The value of a 200."""

    def final(
        self,
        request: Request,
        outcome: Outcome,
        customer: Customer,
        patient: Patient,
        now: datetime,
        value: bytes,
        namespace: bytes,
    ) -> tuple[StoredAnswer, Answer]:
        """A 200 as it is stored, and as it is published."""

    def uuid7(self, milliseconds: int) -> str:
        """A UUID of version 7."""

    def to_record(self, topic: str, partition: int, raw: Any, undecodable: str) -> Record:
        """A record of the client as ours."""

    def size_of(self, record: Record) -> int:
        """Bytes of key, value and headers."""

    def count_headers(self, body: bytes, count: int, last: int, most: int) -> int:
        """Of the records of an unpacked batch; -1 where it is not sound, or one has more than `most`."""

    def murmur2(self, data: bytes) -> int:
        """The place of a key, as clients of Kafka count."""


def _load() -> Part | None:
    try:
        module: Any = import_module("app._compiled")
    except ImportError:
        return None
    return module  # type: ignore[no-any-return]


part: Final = _load()
size_of: Final[Callable[[Record], int]] = part.size_of if part is not None else attrgetter("size")
"""Bytes of key, value and headers of a record, in the quickest way there is."""
