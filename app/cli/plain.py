"""What others have sent, as it may be printed: a terminal obeys none of it. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

_OBEYED: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Controls but the line feed, bidirectional controls, and what some readers take for the end of a line."""


def as_json(value: Any, *, indent: bool = False) -> bytes:
    """The value as JSON that means the same, the characters that a terminal may obey escaped."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else None).decode()
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def as_text(text: str) -> bytes:
    """The text, with a question mark for each such character."""
    return _OBEYED.sub("?", text).encode()
