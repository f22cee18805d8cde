"""What can go wrong: the codes that answers carry, and the exceptions that say what happens next.

Every text in this module is fixed. No value of a request, and no text of a driver or validator, is ever put into one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ErrorCode(StrEnum):
    """The value of `response.error` in an answer that is not 200."""

    INVALID_JSON = "invalid_json"
    INVALID_EVENT = "invalid_event"
    RECORD_TOO_LARGE = "record_too_large"
    VALIDATION_FAILED = "validation_failed"
    CUSTOMER_MISSING = "customer_missing"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    UNAUTHORIZED = "unauthorized"
    CUSTOMER_NOT_FOUND = "customer_not_found"
    PATIENT_NOT_FOUND = "patient_not_found"
    INTERNAL_ERROR = "internal_error"

    @property
    def weight(self) -> int:
        """Which code a refusal with several faults carries: the smallest, being the most fundamental."""
        return _WEIGHT.get(self, len(_WEIGHT))

    @property
    def status(self) -> int:
        """The HTTP status that the REST operation would have returned."""
        return _STATUS.get(self, 400)


_STATUS = {
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.CUSTOMER_NOT_FOUND: 404,
    ErrorCode.PATIENT_NOT_FOUND: 404,
    ErrorCode.INTERNAL_ERROR: 500,
}


_WEIGHT = {
    code: weight
    for weight, code in enumerate(
        [
            ErrorCode.RECORD_TOO_LARGE,
            ErrorCode.INVALID_JSON,
            ErrorCode.INVALID_EVENT,
            ErrorCode.CUSTOMER_MISSING,
            ErrorCode.VALIDATION_FAILED,
        ]
    )
}


class FaultCode(StrEnum):
    """The `code` of one entry of `details`; its sentence is `SENTENCES[code]`."""

    # the record and its event
    NOT_DECODABLE = "not_decodable"
    NO_VALUE = "no_value"
    NOT_JSON = "not_json"
    TOO_DEEP = "too_deep"
    TOO_LARGE = "too_large"
    NOT_AN_OBJECT = "not_an_object"
    HEADER_REPEATED = "header_repeated"
    HEADER_NOT_UTF8 = "header_not_utf8"
    WRONG_SPECVERSION = "wrong_specversion"
    WRONG_TYPE = "wrong_type"
    IDENTIFIER_INVALID = "identifier_invalid"
    SOURCE_RESERVED = "source_reserved"
    TIME_INVALID = "time_invalid"
    LETTER_INVALID = "letter_invalid"
    DATA_AMBIGUOUS = "data_ambiguous"
    DATA_NOT_BASE64 = "data_not_base64"
    # the customer
    CUSTOMER_MISSING = "customer_missing"
    CUSTOMER_INVALID = "customer_invalid"
    CUSTOMER_MISMATCH = "customer_mismatch"
    CUSTOMER_UNKNOWN = "customer_unknown"
    PATIENT_UNKNOWN = "patient_unknown"
    # the fields
    MISSING = "missing"
    NULL = "null"
    NOT_A_STRING = "not_a_string"
    NOT_A_STRING_OR_OBJECT = "not_a_string_or_object"
    EMPTY = "empty"
    TOO_LONG = "too_long"
    CONTROL_CHARACTER = "control_character"
    BIDI_CONTROL = "bidi_control"
    LONE_SURROGATE = "lone_surrogate"
    NO_VISIBLE_CHARACTER = "no_visible_character"
    TOO_FEW_DIGITS = "too_few_digits"
    EMAIL_INVALID = "email_invalid"
    DATE_INVALID = "date_invalid"
    DATE_IN_FUTURE = "date_in_future"
    DATE_TOO_OLD = "date_too_old"
    GENDER_UNREADABLE = "gender_unreadable"
    # the whole
    KEY_REUSED = "key_reused"
    NOT_ALLOWED = "not_allowed"
    FAILED = "failed"


SENTENCES: dict[FaultCode, str] = {
    FaultCode.NOT_DECODABLE: "the record could not be decoded",
    FaultCode.NO_VALUE: "the record has no value",
    FaultCode.NOT_JSON: "must be JSON in UTF-8",
    FaultCode.TOO_DEEP: "must not be nested deeper than 32 levels",
    FaultCode.TOO_LARGE: "the value must not be larger than 1 MiB",
    FaultCode.NOT_AN_OBJECT: "must be a JSON object",
    FaultCode.HEADER_REPEATED: "the header is repeated with different values",
    FaultCode.HEADER_NOT_UTF8: "the header must be UTF-8",
    FaultCode.WRONG_SPECVERSION: "must be 1.0",
    FaultCode.WRONG_TYPE: "must be patient.upsert.requested",
    FaultCode.IDENTIFIER_INVALID: "must be 1 to 255 bytes of UTF-8 without control characters",
    FaultCode.SOURCE_RESERVED: "must not begin with kafka:",
    FaultCode.TIME_INVALID: "must be a time as in RFC 3339",
    FaultCode.LETTER_INVALID: "must be the header of a dead letter, unchanged",
    FaultCode.DATA_AMBIGUOUS: "must be given as data or as data_base64, not both",
    FaultCode.DATA_NOT_BASE64: "must be base64",
    FaultCode.CUSTOMER_MISSING: "no customer is named",
    FaultCode.CUSTOMER_INVALID: "is not a valid customer id",
    FaultCode.CUSTOMER_MISMATCH: "must be the same in the data and in the event's subject",
    FaultCode.CUSTOMER_UNKNOWN: "is not known",
    FaultCode.PATIENT_UNKNOWN: "is not known for this customer",
    FaultCode.MISSING: "is required",
    FaultCode.NULL: "must not be null",
    FaultCode.NOT_A_STRING: "must be a string",
    FaultCode.NOT_A_STRING_OR_OBJECT: "must be a string or an object",
    FaultCode.EMPTY: "must not be empty",
    FaultCode.TOO_LONG: "is too long",
    FaultCode.CONTROL_CHARACTER: "must not contain control characters",
    FaultCode.BIDI_CONTROL: "must not contain bidirectional control characters",
    FaultCode.LONE_SURROGATE: "must not contain lone surrogates",
    FaultCode.NO_VISIBLE_CHARACTER: "must contain a letter or a digit",
    FaultCode.TOO_FEW_DIGITS: "must contain at least three digits",
    FaultCode.EMAIL_INVALID: "must be an e-mail address",
    FaultCode.DATE_INVALID: "must be a date as in ISO 8601",
    FaultCode.DATE_IN_FUTURE: "must not be in the future",
    FaultCode.DATE_TOO_OLD: "must not be more than 150 years ago",
    FaultCode.GENDER_UNREADABLE: "must name the gender in value, code, name, text, display or coding",
    FaultCode.KEY_REUSED: "this id was used for a request with other content",
    FaultCode.NOT_ALLOWED: "the caller may not do this",
    FaultCode.FAILED: "the request could not be processed",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a request: where (a JSON Pointer into the data), and what."""

    field: str
    code: FaultCode


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request gets no 200: one error code, and every fault that was found."""

    error: ErrorCode
    faults: tuple[Fault, ...]

    @staticmethod
    def merge(first: Refusal | None, second: Refusal | None) -> Refusal | None:
        """Both refusals as one: every fault, under the more fundamental code."""
        if first is None or second is None:
            return first or second
        return Refusal(min(first.error, second.error, key=lambda code: code.weight), first.faults + second.faults)


class WorkerError(Exception):
    """The base of what this worker raises. Its text is ours, never a driver's."""


class Transient(WorkerError):
    """A server is away or busy: commit nothing, wait, take the batch again. A retry is counted by `kind`."""

    def __init__(self, text: str = "", kind: str = "other") -> None:
        super().__init__(text)
        self.kind = kind


class Conflict(WorkerError):
    """Someone else moved the rows between read and write: roll back, read again."""


class DataFault(WorkerError):
    """The database cannot take a value of this batch: find the request, answer it 500, go on with the others."""


class Abandoned(WorkerError):
    """The partitions were given to another worker before COMMIT: roll back and forget the batch."""


class Fatal(WorkerError):
    """Going on would do harm: stop consuming, leave the offsets where they are, and say so."""


class SetupNeeded(WorkerError):
    """The servers are there but not as this version needs them; the text says what to run."""
