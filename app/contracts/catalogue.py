"""What each code of a refusal means to a producer: whether to send again, and what to change before.

`docs/errors.md` and the AsyncAPI document are made from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from app.errors import SENTENCES, ErrorCode, FaultCode


@dataclass(frozen=True, slots=True)
class Meaning:
    """Of an error code: what happened, whether the same request may be sent again as it is, what a producer does."""

    meaning: str
    again: str
    advice: str


_NO: Final = "no"

ERRORS: Final[dict[ErrorCode, Meaning]] = {
    ErrorCode.INVALID_JSON: Meaning(
        "The value of the record is no JSON that can be read.",
        _NO,
        "Mend the serialiser; what is sent then is another request.",
    ),
    ErrorCode.INVALID_EVENT: Meaning(
        "The record is no request: an attribute of its CloudEvent or one of its headers breaks its rule.",
        _NO,
        "Mend the attributes that the details name. Id, source or customer are null in the answer where they are at "
        "fault, so find the record by request-topic, request-partition and request-offset.",
    ),
    ErrorCode.RECORD_TOO_LARGE: Meaning(
        "The value of the record is larger than 1 MiB.",
        _NO,
        "Send less: all fields together are a few KiB, so something else is in it.",
    ),
    ErrorCode.VALIDATION_FAILED: Meaning(
        "The record is a request, and fields of it break their rules.",
        _NO,
        "Correct every field that the details name, then send it under the same id or a new one: refusals are not "
        "stored.",
    ),
    ErrorCode.CUSTOMER_MISSING: Meaning(
        "Nothing in the record says whose patient this is.",
        _NO,
        "Name the customer in the data, as the event's subject or as the record key.",
    ),
    ErrorCode.IDEMPOTENCY_KEY_REUSED: Meaning(
        "A request with this id and source was applied, and this one has other content.",
        _NO,
        "A change is a new request: give it a new id. Look for an id that is not made for each request.",
    ),
    ErrorCode.UNAUTHORIZED: Meaning(
        "The caller may not make this request: there is no token in it that is accepted, or this one is not for this "
        "customer. Only where the worker tells callers apart (AUTH=jwt).",
        _NO,
        "Get a token that is, then send the request with it under the same id.",
    ),
    ErrorCode.CUSTOMER_NOT_FOUND: Meaning(
        "The customer is deleted; or unknown, where the worker is set not to create customers.",
        "once the customer is there",
        "Create the customer first, then send it again under the same id. A deleted customer is never revived.",
    ),
    ErrorCode.PATIENT_NOT_FOUND: Meaning(
        "The given patient is unknown, deleted, or another customer's.",
        _NO,
        "Leave patient out to update the customer's one patient, or correct it.",
    ),
    ErrorCode.INTERNAL_ERROR: Meaning(
        "The worker could not process this request. It is kept, untouched, on the dead letter topic.",
        "yes, under the same id",
        "Nothing needs to be done: operators put the dead letter back when the fault is mended. Sent again under the "
        "same id and source it has its effect once all the same; a plain request without a key of its own would not.",
    ),
}


@dataclass(frozen=True, slots=True)
class Cause:
    """Of a fault: the error codes that it comes under when it is alone, and what to do about it."""

    under: ErrorCode
    advice: str


_EVENT, _JSON, _FIELD = ErrorCode.INVALID_EVENT, ErrorCode.INVALID_JSON, ErrorCode.VALIDATION_FAILED

FAULTS: Final[dict[FaultCode, Cause]] = {
    FaultCode.NOT_DECODABLE: Cause(
        _EVENT, "Use a maintained client: the record batch breaks Kafka's format, or a header name is not UTF-8."
    ),
    FaultCode.NO_VALUE: Cause(_JSON, "Send the request as the value; a tombstone deletes nothing here."),
    FaultCode.NOT_JSON: Cause(_JSON, "Serialise as JSON in UTF-8; Avro and Protobuf are not read."),
    FaultCode.TOO_DEEP: Cause(_JSON, "Send the fields of a request only; none is nested deeper than three levels."),
    FaultCode.TOO_LARGE: Cause(ErrorCode.RECORD_TOO_LARGE, "Send the fields of a request only."),
    FaultCode.NOT_AN_OBJECT: Cause(
        _FIELD, "Send one request a record, not an array. Of an event that says it is one: invalid_event."
    ),
    FaultCode.HEADER_REPEATED: Cause(_EVENT, "Set the header once; some libraries add where they should replace."),
    FaultCode.HEADER_NOT_UTF8: Cause(_EVENT, "Encode the header as UTF-8 text, not as a serialised object."),
    FaultCode.WRONG_SPECVERSION: Cause(_EVENT, "Send CloudEvents 1.0."),
    FaultCode.WRONG_TYPE: Cause(_EVENT, "Set the type of the event; other events belong on other topics."),
    FaultCode.IDENTIFIER_INVALID: Cause(
        _EVENT, "Use a UUID, for example. Of the field patient: validation_failed; give it as an answer showed it."
    ),
    FaultCode.SOURCE_RESERVED: Cause(_EVENT, "Choose a source of your own, such as /clinics/example."),
    FaultCode.TIME_INVALID: Cause(_EVENT, "Write the time like 2024-01-01T00:00:00Z, with an offset or Z."),
    FaultCode.LETTER_INVALID: Cause(_EVENT, "Put a dead letter back with all of its headers as they are."),
    FaultCode.DATA_AMBIGUOUS: Cause(_EVENT, "Give one of the two."),
    FaultCode.DATA_NOT_BASE64: Cause(_EVENT, "Use the standard alphabet with padding."),
    FaultCode.CUSTOMER_MISSING: Cause(
        ErrorCode.CUSTOMER_MISSING, "Name the customer in the data, as the event's subject or as the record key."
    ),
    FaultCode.CUSTOMER_INVALID: Cause(
        _FIELD,
        "Give the id as it is known; an e-mail address is none. Of an event's subject that is no text: invalid_event.",
    ),
    FaultCode.CUSTOMER_MISMATCH: Cause(_FIELD, "Name one customer; data and subject must agree."),
    FaultCode.CUSTOMER_UNKNOWN: Cause(ErrorCode.CUSTOMER_NOT_FOUND, "Create the customer first."),
    FaultCode.PATIENT_UNKNOWN: Cause(ErrorCode.PATIENT_NOT_FOUND, "Leave patient out, or correct it."),
    FaultCode.MISSING: Cause(
        _FIELD, "Send the field; state and postalCode may be empty, but must be there. Of an event: invalid_event."
    ),
    FaultCode.NULL: Cause(_FIELD, "Send a text; null clears optional fields only."),
    FaultCode.NOT_A_STRING: Cause(_FIELD, "Send a JSON string; numbers are not converted."),
    FaultCode.NOT_A_STRING_OR_OBJECT: Cause(_FIELD, "Send gender as a string or an object, or null."),
    FaultCode.EMPTY: Cause(_FIELD, "Send something that can be seen."),
    FaultCode.TOO_LONG: Cause(_FIELD, "Shorten it to the limit in the schema; nothing is cut off here."),
    FaultCode.CONTROL_CHARACTER: Cause(_FIELD, "Remove the character; line breaks and tabs alone become spaces."),
    FaultCode.BIDI_CONTROL: Cause(_FIELD, "Remove the character; right-to-left text needs none."),
    FaultCode.LONE_SURROGATE: Cause(_FIELD, "Cut texts between characters, not between UTF-16 units."),
    FaultCode.NO_VISIBLE_CHARACTER: Cause(_FIELD, "Send a name; a dash or a point is none."),
    FaultCode.TOO_FEW_DIGITS: Cause(_FIELD, "Send a phone number; any form and script will do."),
    FaultCode.EMAIL_INVALID: Cause(_FIELD, "Correct it, or send null when there is none."),
    FaultCode.DATE_INVALID: Cause(_FIELD, "Write the date like 2001-02-03; a time other than midnight is no date."),
    FaultCode.DATE_IN_FUTURE: Cause(_FIELD, "Correct the date, or the clock that stamped the record."),
    FaultCode.DATE_TOO_OLD: Cause(_FIELD, "Correct the date; 1 January 1800 is no date of birth."),
    FaultCode.GENDER_UNREADABLE: Cause(_FIELD, "Put the text into one of these members, or send null."),
    FaultCode.KEY_REUSED: Cause(ErrorCode.IDEMPOTENCY_KEY_REUSED, "Give the changed request a new id."),
    FaultCode.NOT_ALLOWED: Cause(ErrorCode.UNAUTHORIZED, "Get a token that has the scope and is for this customer."),
    FaultCode.FAILED: Cause(ErrorCode.INTERNAL_ERROR, "Nothing: operators have the request as a dead letter."),
}

_HEAD: Final = """\
# Errors

What a refusal on the topic of failed requests says, and what its producer should do. This page is generated from the
codes: `make errors`.

`response.error` is one code for a program to branch on. `response.details` names every fault that was found, each with
the field it is about, a code and a fixed sentence. No value of a request is ever in them.

Refusals are not stored: a corrected request may be sent again under its id. Sending the same bytes again is safe, but
answered the same way unless the table says otherwise.
"""


def page() -> str:
    """The text of `docs/errors.md`."""
    errors = [
        f"| `{code}` | {code.status} | {entry.meaning} | {entry.again} | {entry.advice} |"
        for code, entry in ERRORS.items()
    ]
    faults = [f"| `{code}` | {SENTENCES[code]} | `{cause.under}` | {cause.advice} |" for code, cause in FAULTS.items()]
    return "\n".join(
        [
            _HEAD,
            "## `response.error`\n",
            "| code | status | meaning | send again as it is? | what to do |",
            "|---|---|---|---|---|",
            *errors,
            "\nWith faults of several kinds the code is the most fundamental one: "
            + ", ".join(f"`{code}`" for code in sorted(ERRORS, key=lambda code: code.weight)[:5])
            + ". An `unauthorized` comes before them all, a 404 only where nothing else is wrong.\n",
            "Why a caller is denied is not told, and a patient of a customer that its token is not for is answered "
            "like one that nobody knows. A record that could not be decoded is told that all the same.\n",
            "## `code` of a detail\n",
            "| code | sentence | alone it comes under | what to do |",
            "|---|---|---|---|",
            *faults,
            "",
        ]
    )
