"""What every text of a request goes through: line breaks, refused characters, NFC, trimming, length."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

from pydantic_core import PydanticCustomError

from app.errors import FaultCode
from app.request.characters import INVISIBLE, LETTER_OR_DIGIT

NAME_LIMIT: Final = 200
ADDRESS_LIMIT: Final = 300
TEXT_LIMIT: Final = 100
SHORT: Final = TEXT_LIMIT
"""No text of at most so many characters is too long, but for a phone number."""

# U+2028 and U+2029 are Unicode's own line breaks.
_LINE_BREAKS: Final = dict.fromkeys(map(ord, "\r\n\t\u2028\u2029"), " ")
_REFUSED: Final = (
    (FaultCode.CONTROL_CHARACTER, re.compile("[\x00-\x1f\x7f-\x9f]")),
    (FaultCode.BIDI_CONTROL, re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")),
    (FaultCode.LONE_SURROGATE, re.compile("[\ud800-\udfff]")),
)
_VISIBLE: Final = re.compile(f"[^{INVISIBLE}]")
_LETTER_OR_DIGIT: Final = re.compile(f"[{LETTER_OR_DIGIT}]")
# No character decomposes into more than four, so a longer text cannot become short enough by NFC.
_MOST_BY_NFC: Final = 4

Codes = tuple[FaultCode, ...]


def refuse(*codes: FaultCode) -> PydanticCustomError:
    """The error that carries every rule one value breaks; its text is fixed, so it cannot hold the value."""
    return PydanticCustomError(" ".join(codes), "refused")


def is_visible(text: str) -> bool:
    """Whether there is anything to see. A text of white space and invisible characters only counts as empty."""
    return _VISIBLE.search(text) is not None


def tidy(raw: str, limit: int) -> tuple[str, Codes]:
    """The text as it is stored, "" when nothing of it is visible, and the rules on characters and length it breaks.

    The limit counts characters after normalisation and trimming.
    """
    if raw.isascii() and raw.isprintable():
        text = raw.strip()
        return text, (FaultCode.TOO_LONG,) if len(text) > limit else ()
    broken: Codes = ()
    text = raw
    if not raw.isprintable():
        text = raw.translate(_LINE_BREAKS)
        broken = tuple(code for code, pattern in _REFUSED if pattern.search(text))
    text = text.strip()
    if len(text) <= limit * _MOST_BY_NFC:  # NFC takes time quadratic in a run of combining marks
        text = unicodedata.normalize("NFC", text)
    if not is_visible(text):
        return "", broken
    return text, (*broken, FaultCode.TOO_LONG) if len(text) > limit else broken


def required(limit: int, *, may_be_empty: bool = False) -> Callable[[str], str]:
    """The rule of a text that must be given."""

    def check(raw: str) -> str:
        if raw.isascii() and raw.isprintable() and 0 < len(text := raw.strip()) <= limit:
            return text
        text, broken = tidy(raw, limit)
        if broken:
            raise refuse(*broken)
        if not text and not may_be_empty:
            raise refuse(FaultCode.EMPTY)
        return text

    return check


def optional(limit: int) -> Callable[[str | None], str | None]:
    """The rule of a text that may be left out: null and empty both mean that there is none."""

    def check(raw: str | None) -> str | None:
        if raw is None:
            return None
        text, broken = tidy(raw, limit)
        if broken:
            raise refuse(*broken)
        return text or None

    return check


def name(raw: str) -> str:
    """The rule of a person's name: a text with a letter or a digit, of whatever script."""
    if raw.isascii() and raw.isalpha() and len(raw) <= NAME_LIMIT:
        return raw
    text, broken = tidy(raw, NAME_LIMIT)
    if not text and not broken:
        raise refuse(FaultCode.EMPTY)
    if not _LETTER_OR_DIGIT.search(text):
        broken = (*broken, FaultCode.NO_VISIBLE_CHARACTER)
    if broken:
        raise refuse(*broken)
    return text
