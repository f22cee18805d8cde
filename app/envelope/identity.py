"""Which request a record is: whose it is, its key in the inbox, and the fingerprint of its content."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from app.envelope.forms import is_identifier
from app.envelope.json import canonical_bytes
from app.errors import ErrorCode, Fault, FaultCode, Refusal
from app.model import Envelope, quick

FINGERPRINT_VERSION = b"\x01"


@quick
@dataclass(frozen=True, slots=True)
class Identity:
    """`customer` and `source` are None where none could be told or they broke their rule; `refusal` then says so."""

    customer: str | None
    source: str | None
    key: bytes | None
    fingerprint: bytes | None
    refusal: Refusal | None
    key_differs: bool
    """The record key names another customer: order between this customer's records is not ours to keep."""


def identify(envelope: Envelope, *, owner: str | None, pattern: re.Pattern[str]) -> Identity:
    """Settle the customer and with it the identity.

    Args:
        envelope: the opened record.
        owner: the customer of the patient that the data name, where the database knows that patient.
        pattern: what a customer id must match.
    """
    raw = envelope.named_customer or owner or envelope.key_customer
    customer = raw if raw is not None and is_identifier(raw) and pattern.fullmatch(raw) else None
    source = envelope.source
    if envelope.source_from_customer and customer is not None:
        source = f"kafka:{envelope.position.topic}#{customer}"
    return Identity(
        customer,
        source,
        inbox_key(source, envelope.id) if source is not None and envelope.id is not None else None,
        _fingerprint(envelope, raw) if envelope.readable else None,
        None if customer is not None else _refusal(envelope, raw),
        customer is not None and envelope.key_customer not in (None, customer),
    )


def _refusal(envelope: Envelope, raw: str | None) -> Refusal | None:
    """Why nobody is named. `raw` is what stands where a customer should."""
    if envelope.record.undecodable:
        return None
    if raw is not None:
        return Refusal(ErrorCode.VALIDATION_FAILED, (Fault("/customer", FaultCode.CUSTOMER_INVALID),))
    if envelope.patient is not None or not envelope.readable:
        return None  # an unknown patient is a 404; who an unreadable record means cannot be told
    return Refusal(ErrorCode.CUSTOMER_MISSING, (Fault("/customer", FaultCode.CUSTOMER_MISSING),))


def inbox_key(source: str, id: str) -> bytes:
    """The 16 bytes under which a request is stored. Neither part can hold the separator."""
    return hashlib.sha256(f"{source}\n{id}".encode()).digest()[:16]


def _fingerprint(envelope: Envelope, customer: str | None) -> bytes:
    """SHA-256 over a version, the customer and the data as canonical JSON: a re-serialised copy has the same."""
    named = (customer or "").encode("utf-8", "surrogatepass")
    return hashlib.sha256(FINGERPRINT_VERSION + named + b"\n" + canonical_bytes(envelope.data)).digest()
