"""The characters that the rules of texts speak of, written so that the published schemas can say the same.

Sets hold the characters themselves instead of escapes, and no look-around is used: the engines of Python, JavaScript
(with the flag u), Java, Go and Rust were tried, and take them alike.
"""

from __future__ import annotations

from typing import Final

from app.request.letters import DECIMAL_DIGITS, LETTERS_AND_DIGITS


def _set(ranges: str) -> str:
    """Ranges of code points as the inside of a set."""
    bounds = (word.partition("-") for word in ranges.split())
    return "".join(chr(int(first, 16)) + (f"-{chr(int(last, 16))}" if last else "") for first, _, last in bounds)


KEPT: Final = _set("9-a d 20-7e a0-61b 61d-200d 2010-2029 202f-2065 206a-d7ff e000-10ffff")
"""What a text may hold: all but control characters, bidirectional controls and lone surrogates; a line break may."""

INVISIBLE: Final = _set(
    "9-d 1c-20 85 a0 ad 34f 61c 115f-1160 1680 17b4-17b5 180b-180f 2000-200f 2028-202f 205f-206f 2800 3000 3164 "
    "fe00-fe0f feff ffa0 fff0-fff8 1bca0-1bca3 1d173-1d17a e0000-e0fff"
)
"""White space, Unicode's Default_Ignorable_Code_Point and the blank braille pattern."""

IN_IDENTIFIER: Final = _set("20-7e a0-d7ff e000-10ffff")
"""What an id may hold: all but control characters and lone surrogates."""

LETTER_OR_DIGIT: Final = _set(LETTERS_AND_DIGITS)

THREE_DIGITS: Final = f"(?:[{_set(DECIMAL_DIGITS)}][^{_set(DECIMAL_DIGITS)}]*){{3}}"
"""At least three decimal digits, whatever stands between them."""
