"""JSON as it is received: parsed, bounded in depth, and brought to the form that fingerprints compare."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

import orjson

from app.compiled import part
from app.errors import FaultCode

MAX_DEPTH = 32
MOST_DIGITS: Final = 4300
"""Of a whole number: what Python makes integers of."""


class NotReadable(Exception):
    """The bytes are not JSON that can be taken; `code` says why."""

    def __init__(self, code: FaultCode) -> None:
        super().__init__(code)
        self.code = code


def read_json(value: bytes) -> Any:
    """The JSON value in these bytes, canonical: 1.0 and 1 are the same number, as they are to other languages.

    Raises:
        NotReadable: it is not JSON in UTF-8, or is nested too deeply.
    """
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError:
        parsed = _read_slowly(value)
    try:
        return _canonical(parsed, MAX_DEPTH)
    except RecursionError:
        raise NotReadable(FaultCode.TOO_DEEP) from None


class Whole:
    """A number of more digits than 64 bits hold, as it was written.

    To make an integer of 4,000 digits and write it again takes a fifth of a millisecond.
    """

    __slots__ = ("digits",)

    def __init__(self, digits: str) -> None:
        self.digits = digits

    def __repr__(self) -> str:
        return "Whole()"


def _whole(text: str) -> int | Whole:
    if len(text) < _SHORTEST_WHOLE:
        return int(text)
    if len(text) - text.startswith("-") > MOST_DIGITS:
        raise ValueError
    return Whole(text)


_SHORTEST_WHOLE: Final = 19
"""Characters of the shortest number that may be beyond 64 bits."""


def _refuse(_constant: str) -> NoReturn:
    raise ValueError


_slow: Final = json.JSONDecoder(parse_constant=_refuse, parse_int=_whole)


def _read_slowly(value: bytes) -> Any:
    """What orjson refuses may still be JSON: an escaped lone surrogate is a matter of its field, not of the record."""
    try:
        return _slow.decode(value.decode())
    except RecursionError:
        raise NotReadable(FaultCode.TOO_DEEP) from None
    except ValueError:
        raise NotReadable(FaultCode.NOT_JSON) from None


_AS_IT_IS: Final = frozenset((str, int, bool, type(None)))
"""The types of most members. To call a function for each of them costs several times as much as to look."""


def _plain_canonical(value: Any, depth: int) -> Any:
    """The value, changed in place. Raises RecursionError where it is deeper."""
    kind = type(value)
    if kind is dict:
        if not depth:
            raise RecursionError
        if not _AS_IT_IS.issuperset(map(type, value.values())):
            for name, member in value.items():
                if type(member) not in _AS_IT_IS:
                    value[name] = _plain_canonical(member, depth - 1)
        return value
    if kind is list:
        if not depth:
            raise RecursionError
        if not _AS_IT_IS.issuperset(map(type, value)):
            value[:] = [
                member if type(member) in _AS_IT_IS else _plain_canonical(member, depth - 1) for member in value
            ]
        return value
    if kind is float and value.is_integer():
        return int(value)
    return value


_canonical: Final = part.canonical if part is not None else _plain_canonical


def canonical_bytes(value: Any) -> bytes:
    """The same bytes for the same value, however it was written: keys sorted, no spaces."""
    try:
        return orjson.dumps(value, default=_as_written, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # lone surrogates, integers beyond 64 bits
        return _ENCODER.encode(value).encode()


def _as_written(value: Whole) -> orjson.Fragment:
    return orjson.Fragment(value.digits)


_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=lambda whole: int(whole.digits))
