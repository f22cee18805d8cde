"""JSON as it is received: parsed, bounded in depth, and brought to the form that fingerprints compare."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import orjson

from app.errors import FaultCode

MAX_DEPTH = 32


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
    return _canonical(parsed, MAX_DEPTH)


def _read_slowly(value: bytes) -> Any:
    """What orjson refuses may still be JSON: an escaped lone surrogate is a matter of its field, not of the record."""
    try:
        return json.loads(value.decode(), parse_constant=_refuse)
    except RecursionError:
        raise NotReadable(FaultCode.TOO_DEEP) from None
    except ValueError:
        raise NotReadable(FaultCode.NOT_JSON) from None


def _refuse(_constant: str) -> NoReturn:
    raise ValueError


def _canonical(value: Any, depth: int) -> Any:
    """The value, changed in place: most of what there is are strings, and stays as it is."""
    kind = type(value)
    if kind is dict:
        if not depth:
            raise NotReadable(FaultCode.TOO_DEEP)
        for name, member in value.items():
            if type(member) is not str and member is not None:
                value[name] = _canonical(member, depth - 1)
        return value
    if kind is list:
        if not depth:
            raise NotReadable(FaultCode.TOO_DEEP)
        value[:] = [_canonical(member, depth - 1) for member in value]
        return value
    if kind is float and value.is_integer():
        return int(value)
    return value


def canonical_bytes(value: Any) -> bytes:
    """The same bytes for the same value, however it was written: keys sorted, no spaces."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # lone surrogates, integers beyond 64 bits
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
