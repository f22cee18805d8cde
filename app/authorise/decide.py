"""Who may make a request, given what its token says. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Final

from app.errors import ErrorCode, Fault, FaultCode, Refusal
from app.model import Record

_DENIED: Final = Refusal(ErrorCode.UNAUTHORIZED, (Fault("", FaultCode.NOT_ALLOWED),))
"""One text for every reason: which one it was would help nobody but a stranger."""
_SCHEME: Final = b"bearer "
_LONGEST_TOKEN: Final = 16 * 1024


@dataclass(frozen=True, slots=True, repr=False)
class Caller:
    """What a token allows: `customers` are those whose patients it may write, None for all; the times are Unix seconds.

    That it was signed by one of ours, for us and for this purpose has been seen; whether it is its time has not.
    """

    begins: float
    ends: float
    customers: frozenset[str] | None = None

    def __repr__(self) -> str:
        return "Caller()"


EVERYONE: Final = Caller(-inf, inf)
"""Who calls where Kafka's own access rules guard the topic."""


def authorise(record: Record, customer: str | None, *, caller: Caller | None, received: datetime) -> Refusal | None:
    """Why this caller may not write this customer's patient; None when it may.

    Args:
        record: as received.
        customer: whose patient it is, None where that cannot be told.
        caller: what its token allows; None when it has none that is accepted.
        received: when the record was read, for topics whose records bear the time of their producers.
    """
    if caller is EVERYONE or record.undecodable:  # the latter has no headers, and is refused in any case
        return None
    if caller is None or not caller.begins <= _time(record, received) < caller.ends:
        return _DENIED
    if customer is not None and caller.customers is not None and customer not in caller.customers:
        return _DENIED
    return None


def visible(owner: str | None, caller: Caller | None) -> str | None:
    """The owner of a patient, unless the caller is held to other customers: for it, that patient is unknown."""
    if caller is not None and caller.customers is not None and owner not in caller.customers:
        return None
    return owner


def bearer(record: Record) -> bytes | None:
    """The token of a record; None when it has none, or several, or one that nobody would issue."""
    given = {value for name, value in record.headers if name.lower() == "authorization"}
    if len(given) != 1:
        return None
    value = given.pop()
    if value is None or len(value) > _LONGEST_TOKEN or value[: len(_SCHEME)].lower() != _SCHEME:
        return None
    return value[len(_SCHEME) :].strip(b" ") or None


def _time(record: Record, received: datetime) -> float:
    """When the request was made, in Unix seconds, by a clock that its producer cannot set.

    No producer can claim that the broker has stamped its record, and that stamp does not move while a request waits in
    the topic. A time that the producer has set proves nothing, so there the time is that of receipt.
    """
    return record.position.timestamp / 1000 if record.broker_time else received.timestamp()
