"""From an opened record to a request: identified, validated, authorised. Pure."""

from __future__ import annotations

import re
from datetime import datetime

from app.authorise import Caller, authorise, visible
from app.envelope import identify
from app.errors import ErrorCode, Refusal
from app.model import NO_TIMESTAMP, Envelope, Request, from_milliseconds
from app.request import validate


def understand(
    envelope: Envelope,
    owner: str | None,
    *,
    received: datetime,
    pattern: re.Pattern[str],
    caller: Caller | None,
    faulty: bool = False,
) -> Request:
    """Everything that can be told of a request without the rows that it concerns, all its faults among it.

    Args:
        envelope: the opened record.
        owner: the customer of the patient that the data name, where the database knows that patient.
        received: when the record was read; stands in for the timestamp of a record that has none.
        pattern: what a customer id must match.
        caller: whose request it is; None when that is nobody who may make one.
        faulty: whether a fault was met in its data already.
    """
    owner = visible(owner, caller)
    identity = identify(envelope, owner=owner, pattern=pattern)
    denial = authorise(envelope.record, identity.customer, caller=caller, received=received)
    # whose patient it is, is not for a stranger to learn; the key alone finds the answer to a redelivery
    shown = identify(envelope, owner=None, pattern=pattern) if denial and owner else identity
    timestamp, own = envelope.position.timestamp, envelope.record.position.timestamp
    if own != NO_TIMESTAMP:  # a replayed letter is not newer than itself, whatever its headers say
        timestamp = min(timestamp, own)
    made = received if timestamp == NO_TIMESTAMP else from_milliseconds(timestamp)
    refusal = envelope.refusal
    if identity.refusal is not None:
        refusal = Refusal.merge(refusal, identity.refusal)
    data = None
    if envelope.readable:
        validated = validate(envelope.data, received_at=made, faulty=faulty)
        if isinstance(validated, tuple):
            refusal = Refusal.merge(refusal, Refusal(ErrorCode.VALIDATION_FAILED, validated))
        elif refusal is None:
            data = validated
    return Request(  # by place, as envelopes are made
        envelope.position,
        envelope.id,
        shown.source,
        shown.customer,
        identity.key,
        identity.fingerprint,
        min(envelope.event_time, made) if envelope.event_time else made,
        envelope.event_time is not None or envelope.replayed_letter,
        envelope.record,
        data,
        refusal,
        denial,
        envelope.passed_on,
        identity.key_differs,
    )
