"""Which of the accepted forms a record has, and what it says of itself there."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from app.envelope.headers import LETTER, PASSED_ON, HeaderMap, passed_on
from app.envelope.json import NotReadable, read_json
from app.errors import ErrorCode, Fault, FaultCode, Refusal
from app.model import EVENT_TYPE, Envelope, Position, Record

MAX_VALUE = 1024 * 1024
MAX_RECORD = MAX_VALUE + 32 * 1024
"""With key and headers: compressed, these may be megabytes; the dead letter topic takes 64 KiB more than requests'."""
MAX_IDENTIFIER = 255
_STRUCTURED = "application/cloudevents+json"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
TIME_PATTERN = "[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.][0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
LETTER_PATTERNS = {
    "topic": "[A-Za-z0-9._-]{1,249}",
    "partition": "[0-9]{1,9}",
    "offset": "[0-9]{1,18}",
    "timestamp": "-1|[0-9]{1,15}",
}
_RFC3339 = re.compile(TIME_PATTERN)
_LETTER_RULES = {name: re.compile(pattern) for name, pattern in LETTER_PATTERNS.items()}
_OF_ANOTHER_TYPE = {
    "specversion": FaultCode.WRONG_SPECVERSION,
    "type": FaultCode.WRONG_TYPE,
    "id": FaultCode.IDENTIFIER_INVALID,
    "source": FaultCode.IDENTIFIER_INVALID,
    "subject": FaultCode.CUSTOMER_INVALID,
    "time": FaultCode.TIME_INVALID,
}
"""The attributes that are read, each with what one is called in an object that is no string."""
_HEADERS = {name: f"ce_{name}" for name in ("specversion", "id", "source", "type", "time", "subject")}
_TYPE = EVENT_TYPE.encode()
_USUAL = frozenset(("ce_specversion", "ce_id", "ce_source", "ce_type"))
_ALSO_USUAL = _USUAL | {"ce_time", "content-type", *PASSED_ON}
_PLAIN = frozenset((str, type(None)))


@dataclass(slots=True, repr=False)
class _Event:
    """What the form of a record yields, before its data is looked into."""

    id: str | None
    source: str | None
    source_from_customer: bool = False
    subject: str | None = None
    time: datetime | None = None


def open_envelope(record: Record, *, customer_from_key: bool, usual: bool = True) -> Envelope:
    """Recognise the form of a record. Never raises: what is wrong is in `refusal`.

    `usual` says whether to look first for what most records are, which is quicker for these.
    """
    found = _usual_envelope(record, customer_from_key) if usual else None
    return found or _any_envelope(record, customer_from_key)


def _usual_envelope(record: Record, customer_from_key: bool) -> Envelope | None:
    """The envelope of what most records are, at a third of the cost: an event in binary mode with nothing wrong.

    Headers in lower case, id and source in ASCII, a flat object of texts. None: look closer.
    """
    headers, value = dict(record.headers), record.value
    names = headers.keys()
    if record.undecodable or not _USUAL <= names <= _ALSO_USUAL or len(names) != len(record.headers):
        return None
    id, source, written, time = headers["ce_id"], headers["ce_source"], headers.get("ce_time"), None
    if headers["ce_specversion"] != b"1.0" or headers["ce_type"] != _TYPE or not id or not source or not value:
        return None
    if len(value) > MAX_VALUE or record.size > MAX_RECORD or not (id.isascii() and source.isascii()):
        return None
    id_, source_ = id.decode(), source.decode()
    if not (is_identifier(id_) and is_identifier(source_)) or source_.startswith("kafka:"):
        return None
    if written is not None and (not written.isascii() or (time := read_time(written.decode())) is None):
        return None
    try:
        data = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if type(data) is not dict or not _PLAIN.issuperset(map(type, data.values())):
        return None
    position = record.position
    return Envelope(  # by place: this is made for every record, and names cost as much again
        record,
        position,
        id_,
        source_,
        False,
        data.get("customer") or None,
        _key_customer(record.key) if customer_from_key else None,
        data.get("patient") or None,
        time,
        False,
        data,
        True,
        None,
        passed_on(headers),
    )


def _any_envelope(record: Record, customer_from_key: bool) -> Envelope:
    if record.undecodable:
        return Envelope(
            record=record,
            position=record.position,
            id=record.position.id,
            source=f"kafka:{record.position.topic}",
            refusal=_refuse(ErrorCode.INVALID_EVENT, FaultCode.NOT_DECODABLE),
        )
    headers = HeaderMap(record.headers)
    faults = headers.faults
    position = record.position
    if headers.of_letter:
        position = _letter_position(headers) or position
    too_large = _refuse(ErrorCode.RECORD_TOO_LARGE, FaultCode.TOO_LARGE) if record.size > MAX_RECORD else None
    value, unreadable = (None, too_large) if too_large else _read_value(record.value)
    if "ce_specversion" in headers:
        event = _binary_event(headers)
    elif _is_structured(headers, value):
        if unreadable is None and type(value) is dict:
            event = _cloud_event(_attributes(value, faults), faults)
            value, unreadable = _data_of(value)
        else:  # declared to be an event, but it cannot be seen which
            event = _Event(id=None, source=None)
            unreadable = unreadable or _refuse(ErrorCode.INVALID_EVENT, FaultCode.NOT_AN_OBJECT)
    elif "idempotency-key" in headers:
        event = _plain_with_key(headers, faults)
    else:
        event = _Event(position.id, f"kafka:{position.topic}")
    readable = unreadable is None
    named, patient = _named_in(value) if readable else (None, None)
    refusal = Refusal(ErrorCode.INVALID_EVENT, tuple(faults)) if faults else None
    if named and event.subject and named != event.subject:
        mismatch = Refusal(ErrorCode.VALIDATION_FAILED, (Fault("/customer", FaultCode.CUSTOMER_MISMATCH),))
        refusal = Refusal.merge(refusal, mismatch)
    if not readable:
        refusal = Refusal.merge(refusal, unreadable)
    return Envelope(  # by place, as above
        record,
        position,
        event.id,
        event.source,
        event.source_from_customer,
        named or event.subject,
        _key_customer(record.key) if customer_from_key else None,
        patient,
        event.time,
        position is not record.position,
        value if readable else None,
        readable,
        refusal,
        headers.passed_on(),
    )


def _refuse(error: ErrorCode, code: FaultCode) -> Refusal:
    return Refusal(error, (Fault("", code),))


def _read_value(value: bytes | None) -> tuple[Any, Refusal | None]:
    if value is None:
        return None, _refuse(ErrorCode.INVALID_JSON, FaultCode.NO_VALUE)
    if len(value) > MAX_VALUE:
        return None, _refuse(ErrorCode.RECORD_TOO_LARGE, FaultCode.TOO_LARGE)
    if value[:1] == b"\0":  # a Confluent frame: never the begin of JSON
        value = value[5:]
    try:
        return read_json(value), None
    except NotReadable as error:
        return None, _refuse(ErrorCode.INVALID_JSON, error.code)


def _is_structured(headers: HeaderMap, value: Any) -> bool:
    content_type = (headers.raw("content-type") or b"")[: len(_STRUCTURED)]
    declared = content_type.lower() == _STRUCTURED.encode()
    return declared or (type(value) is dict and "specversion" in value)


def _attributes(event: dict[str, Any], faults: list[Fault]) -> dict[str, str | None]:
    """The CloudEvents attributes of a structured event. One that is null counts as absent."""
    values: dict[str, str | None] = {}
    for name, code in _OF_ANOTHER_TYPE.items():
        value = event.get(name)
        if value is not None and not isinstance(value, str):
            faults.append(Fault(f"/{name}", code))
            value = ""  # faulty, which is not the same as absent
        values[name] = value
    return values


def _binary_event(headers: HeaderMap) -> _Event:
    return _cloud_event({name: headers.text(header) for name, header in _HEADERS.items()}, headers.faults)


def _cloud_event(attributes: dict[str, str | None], faults: list[Fault]) -> _Event:
    told = {fault.field for fault in faults} if faults else frozenset[str]()

    def fault(name: str, code: FaultCode) -> None:
        if f"/{name}" not in told:
            faults.append(Fault(f"/{name}", code))

    def given(name: str) -> str | None:
        if (value := attributes[name]) is None:
            fault(name, FaultCode.MISSING)
        elif f"/{name}" not in told:
            return _identifier(name, value, faults)
        return None

    if attributes["specversion"] != "1.0":
        fault("specversion", FaultCode.WRONG_SPECVERSION)
    if (kind := attributes["type"]) != EVENT_TYPE:
        fault("type", FaultCode.MISSING if kind is None else FaultCode.WRONG_TYPE)
    id, source, time = given("id"), given("source"), None
    if (written := attributes["time"]) is not None:
        time = read_time(written)
        if time is None:
            fault("time", FaultCode.TIME_INVALID)
    return _Event(id, source, subject=attributes["subject"] or None, time=time)


def _plain_with_key(headers: HeaderMap, faults: list[Fault]) -> _Event:
    told = {fault.field for fault in faults}
    given: dict[str, str | None] = {}
    for name in ("idempotency-key", "source"):
        text = headers.text(name)
        if f"/{name}" in told or (text is None and headers.raw(name) is not None):
            given[name] = None
        elif text is None and name == "source":
            continue
        else:
            given[name] = _identifier(name, text or "", faults)
    return _Event(id=given["idempotency-key"], source=given.get("source"), source_from_customer="source" not in given)


def _identifier(name: str, value: str, faults: list[Fault]) -> str | None:
    """The value if it may be an id or a source, never changed; else None and a fault."""
    if not is_identifier(value):
        faults.append(Fault(f"/{name}", FaultCode.IDENTIFIER_INVALID))
        return None
    if name == "source" and value.startswith("kafka:"):
        faults.append(Fault("/source", FaultCode.SOURCE_RESERVED))
        return None
    return value


def is_identifier(value: str) -> bool:
    """Whether this is 1 to 255 bytes of UTF-8 without control characters."""
    if value.isascii():  # where what is not printable is a control character
        return 1 <= len(value) <= MAX_IDENTIFIER and value.isprintable()
    try:
        return len(value.encode()) <= MAX_IDENTIFIER and not _CONTROL.search(value)
    except UnicodeEncodeError:
        return False


def read_time(value: str) -> datetime | None:
    """An RFC 3339 time in UTC, or None when it is not one."""
    if not _RFC3339.fullmatch(value):
        return None
    try:
        time = datetime.fromisoformat(value.upper())
        return time if time.tzinfo is UTC else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _data_of(event: dict[str, Any]) -> tuple[Any, Refusal | None]:
    """The data of a structured CloudEvent. Its absence is told by the validation: it is not an object."""
    if event.get("data_base64") is None:
        return event.get("data"), None
    if event.get("data") is not None:
        return None, Refusal(ErrorCode.INVALID_EVENT, (Fault("/data", FaultCode.DATA_AMBIGUOUS),))
    try:
        return _read_value(base64.b64decode(event["data_base64"], validate=True))
    except (TypeError, ValueError, binascii.Error):
        return None, Refusal(ErrorCode.INVALID_EVENT, (Fault("/data_base64", FaultCode.DATA_NOT_BASE64),))


def _named_in(data: Any) -> tuple[str | None, str | None]:
    """The customer and the patient that the data name. What is not a string is left to the validation."""
    if type(data) is not dict:
        return None, None
    customer, patient = data.get("customer"), data.get("patient")
    if customer is not None and not isinstance(customer, str):
        customer = "\0"  # names something, and is no valid id
    return customer or None, patient if isinstance(patient, str) and patient else None


def _key_customer(key: bytes | None) -> str | None:
    if not key or key.startswith(b"pat_"):
        return None
    return key.decode("utf-8", "surrogateescape")  # what is not UTF-8 then fails the rule of the ids


def _letter_position(headers: HeaderMap) -> Position | None:
    """Where a replayed dead letter first lay; None when it does not say so rightly."""
    texts = {name: headers.text(f"{LETTER}{name}") or "" for name in _LETTER_RULES}
    wrong = [name for name, rule in _LETTER_RULES.items() if not rule.fullmatch(texts[name])]
    headers.faults.extend(Fault(f"/{LETTER}{name}", FaultCode.LETTER_INVALID) for name in wrong)
    if wrong:
        return None
    return Position(texts["topic"], int(texts["partition"]), int(texts["offset"]), int(texts["timestamp"]))
