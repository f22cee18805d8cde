"""The fields with a rule of their own: patient id, e-mail address, phone, date of birth, gender."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import email_validator
from email_validator import EmailNotValidError, validate_email
from pydantic import ValidationInfo

from app.errors import FaultCode
from app.request.characters import THREE_DIGITS
from app.request.text import TEXT_LIMIT, Codes, is_visible, optional, refuse, tidy

IDENTIFIER_LIMIT: Final = 255
EMAIL_LIMIT: Final = 254
PHONE_LIMIT: Final = 40
GENDER_MEMBERS: Final = ("value", "code", "name", "text", "display")
CODING_MEMBERS: Final = ("code", "display")
MIDNIGHT: Final = r"00:00(?::00(?:\.0+)?)?"
OFFSET: Final = r"[Zz]|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?"

# The library's own switch: clinics do use clinic.local, and tests use .test. It holds for the whole process.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_NOT_IN_IDENTIFIER: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_PLAIN_LOCAL_PART: Final = re.compile(r"[a-zA-Z0-9_!#$%&'*+\-/=?^`{|}~]+(?:\.[a-zA-Z0-9_!#$%&'*+\-/=?^`{|}~]+)*")
_THREE_DIGITS: Final = re.compile(THREE_DIGITS)
_DATE: Final = re.compile(rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})(?:[Tt ]{MIDNIGHT}(?:{OFFSET})?)?")
_AHEAD_FROM_HOUR: Final = 10
"""14 hours after this hour the next day begins."""
_OLDEST_YEARS: Final = 150

_gender_text = optional(TEXT_LIMIT)


def identifier(raw: str | None) -> str | None:
    """The rule of a given patient id: 1-255 bytes of UTF-8 without control characters, taken as it is.

    Null and "" mean that none is given.
    """
    if raw is None or raw == "":
        return None
    # counted in bytes only once they can be encoded
    if _NOT_IN_IDENTIFIER.search(raw) or len(raw.encode()) > IDENTIFIER_LIMIT:
        raise refuse(FaultCode.IDENTIFIER_INVALID)
    return raw


def phone(raw: str) -> str:
    """The rule of a phone number: free text with at least three digits of any script."""
    text, broken = tidy(raw, PHONE_LIMIT)
    if not text and not broken:
        raise refuse(FaultCode.EMPTY)
    if not _THREE_DIGITS.search(text):
        broken = (*broken, FaultCode.TOO_FEW_DIGITS)
    if broken:
        raise refuse(*broken)
    return text


@lru_cache(maxsize=4096)
def domain(name: str) -> tuple[str, int] | None:
    """A domain as it is stored and the bytes of the longest way to write it; None if no address can have it.

    What the library says of a domain does not depend on the local part, except for the length of the whole.
    """
    try:
        found = validate_email(f"a@{name}", check_deliverability=False)
    except EmailNotValidError:
        return None
    return found.domain, max(len(written.encode()) for written in (name, found.domain, found.ascii_domain))


def email(raw: str | None) -> str | None:
    """The rule of an e-mail address: syntax only. At most 254 bytes, as SMTP counts.

    Stored is the local part as it was given and the domain in its normal form: lower case, and Unicode rather than
    Punycode. A domain needs a dot; display names, quoted local parts and bracketed IP addresses are refused.
    """
    if raw is None:
        return None
    text, broken = tidy(raw, EMAIL_LIMIT)
    if broken:
        raise refuse(*broken)
    if not text:
        return None
    if not text.isascii() and len(text.encode()) > EMAIL_LIMIT:
        raise refuse(FaultCode.TOO_LONG)
    local, _, host = text.partition("@")
    if not _PLAIN_LOCAL_PART.fullmatch(local):
        return _by_library(text)
    known = domain(host)
    if known is None or len(local) + 1 + known[1] > EMAIL_LIMIT:
        raise refuse(FaultCode.EMAIL_INVALID)
    return f"{local}@{known[0]}"


def _by_library(text: str) -> str:
    try:
        return validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError:  # its text shows parts of the address
        raise refuse(FaultCode.EMAIL_INVALID) from None


@lru_cache(maxsize=256)
def _bounds(day: date, ahead: int) -> tuple[date, date]:
    """The first and the last date of birth that a record of this day may carry, `ahead` days from it at most.

    150 years before a 29 February without a counterpart is the 28th. Record times may lie at the ends of the calendar.
    """
    latest = day + timedelta(days=ahead) if day < date.max else day
    if day.year <= _OLDEST_YEARS:
        return date.min, latest
    year = day.year - _OLDEST_YEARS
    try:
        return day.replace(year=year), latest
    except ValueError:
        return date(year, 2, 28), latest


def bounds(received_at: datetime) -> tuple[date, date]:
    """The first and the last date of birth that a record of this time may carry; they change with the hour at most."""
    return _bounds(received_at.date(), int(received_at.hour >= _AHEAD_FROM_HOUR))


def date_of_birth(raw: object, info: ValidationInfo) -> date:
    """The rule of the date of birth. The validation context is the time of the record."""
    return born(raw, info.context)  # type: ignore[arg-type]


def born(raw: object, received_at: datetime) -> date:
    """The rule of the date of birth, for a record of this time.

    `2001-02-03`, or a date-time at midnight as ISO 8601 producers write it: `T` or a space, seconds and zeros of a
    fraction if they like, `Z`, an offset or neither. The date is the one that is written: an offset does not move it.
    The basic form (`20010203`), week dates and ordinal dates are refused: nobody can tell them from a mistake.
    """
    if not isinstance(raw, str):
        raise refuse(FaultCode.NULL if raw is None else FaultCode.NOT_A_STRING)
    day = _day(raw)
    if isinstance(day, tuple):
        raise refuse(*day)
    first, last = bounds(received_at)
    if day > last:
        raise refuse(FaultCode.DATE_IN_FUTURE)
    if day < first:
        raise refuse(FaultCode.DATE_TOO_OLD)
    return day


def _day(raw: str) -> date | Codes:
    """The day that a text names, or the rules that it breaks."""
    try:
        if len(raw) == 10 and raw[4] == raw[7] == "-":  # no other form that `fromisoformat` takes looks so
            return date.fromisoformat(raw)
    except ValueError:  # no such day; its text shows the value
        pass
    text, broken = tidy(raw, TEXT_LIMIT)
    if not text and not broken:
        return (FaultCode.EMPTY,)
    form = _DATE.fullmatch(text)
    if broken or form is None:
        return broken or (FaultCode.DATE_INVALID,)
    try:
        return date.fromisoformat(form[1])
    except ValueError:
        return (FaultCode.DATE_INVALID,)


def _named_in(gender: dict[Any, Any]) -> Iterator[str]:
    """The strings of an object that may name the gender, in the order in which they are looked at."""
    for member in GENDER_MEMBERS:
        if isinstance(value := gender.get(member), str):
            yield value
    coding = gender.get("coding")
    if isinstance(coding, list) and coding and isinstance(coding[0], dict):
        for member in CODING_MEMBERS:
            if isinstance(value := coding[0].get(member), str):
                yield value


def gender(raw: object) -> str | None:
    """The rule of the gender: a text, or an object in which the first string that is not empty is taken.

    An object whose strings are all empty clears the gender, as "" does.
    """
    if raw is None or isinstance(raw, str):
        return _gender_text(raw)
    if not isinstance(raw, dict):
        raise refuse(FaultCode.NOT_A_STRING_OR_OBJECT)
    named = None
    for named in _named_in(raw):
        if is_visible(named):
            return _gender_text(named)
    if named is None:
        raise refuse(FaultCode.GENDER_UNREADABLE)
    return None
