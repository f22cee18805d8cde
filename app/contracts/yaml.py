"""JSON values as YAML that people can read: block style, every text in double quotes."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from app.request.characters import LETTER_OR_DIGIT

_PLAIN_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]+")
_WORDS: Final = {"null", "true", "false", "yes", "no", "on", "off"}
# What is printable depends on the version of Python; the document must not.
_ESCAPED: Final = re.compile(f"[^ -~{LETTER_OR_DIGIT}]")
_NOT_ASCII: Final = re.compile("[^ -~]")


def yaml(value: Any) -> str:
    """The text of a YAML 1.2 document with this value."""
    return "\n".join(_lines(value, "")) + "\n"


def _lines(value: Any, indent: str) -> list[str]:
    if isinstance(value, dict):
        return [line for name, member in value.items() for line in _entry(f"{indent}{_key(name)}:", member, indent)]
    return [line for item in value for line in _entry(f"{indent}-", item, indent)]


def _entry(begin: str, value: Any, indent: str) -> list[str]:
    if not isinstance(value, dict | list) or not value:
        return [f"{begin} {_scalar(value, _NOT_ASCII if begin.endswith(' pattern:') else _ESCAPED)}"]
    inner = _lines(value, f"{indent}  ")
    if begin.endswith("-"):  # the first line goes behind the dash
        return [f"{begin} {inner[0].lstrip()}", *inner[1:]]
    return [begin, *inner]


def _key(name: str) -> str:
    return name if _PLAIN_KEY.fullmatch(name) and name.lower() not in _WORDS else _scalar(name)


def _scalar(value: Any, escaped: re.Pattern[str] = _ESCAPED) -> str:
    return escaped.sub(_escape, json.dumps(value, ensure_ascii=False))


def _escape(character: re.Match[str]) -> str:
    point = ord(character[0])
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
