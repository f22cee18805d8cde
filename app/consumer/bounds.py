"""How much of what was fetched is held as objects: some kilobytes of a compressed batch may become gigabytes. Pure."""

from __future__ import annotations

import math
from typing import Final

from aiokafka.record.util import decode_varint

from app.compiled import part, size_of
from app.model import Record
from app.settings import MEBIBYTE

MOST_HEADERS: Final = 10_000
"""Of a record; each takes a hundred bytes, and may have come in two."""
FEW_HEADERS: Final = 100
"""Of a record, which are always read."""
HEADERS_BY_HAND: Final = 100_000
"""Of one batch that is decoded by hand, records with few of them not counted: each takes some microseconds."""
_RECORD: Final = 300
_HEADER: Final = 100
"""Bytes that a record takes beside its contents, and a header, as they were measured."""
AT_ONCE: Final = 8 * MEBIBYTE
"""A batch that takes more as objects is decoded by hand, one record at a time."""


def weigh(body: bytes, count: int, last: int) -> int:
    """Bytes that the `count` records of an unpacked batch take beside their contents; `AT_ONCE` and more is no count.

    So much weighs also one with a record of too many headers, and what is no sound batch: one whose records claim other
    offsets than it holds, up to `last` behind its first, or do not ascend. Where nothing is compressed, brokers never
    look at them.
    """
    if _RECORD * count >= AT_ONCE:
        return AT_ONCE
    if part is not None:
        headers = part.count_headers(body, count, last, MOST_HEADERS)
        return AT_ONCE if headers < 0 else _RECORD * count + _HEADER * headers
    at, headers, before = 0, 0, -1
    read = bytearray(body)
    try:
        for _ in range(count):
            length, at = number_at(read, at, len(read))
            end, at = at + length, at + 1
            if length <= 0 or end > len(read):
                return AT_ONCE
            _, at = number_at(read, at, end)
            offset, at = number_at(read, at, end)
            for _ in range(2):
                length, at = number_at(read, at, end)
                at += max(length, 0)
            number, at = number_at(read, at, end)
            if not (before < offset <= last and 0 <= number <= min(end - at, MOST_HEADERS)):
                return AT_ONCE
            headers, at, before = headers + number, end, offset
    except ValueError:
        return AT_ONCE
    return _RECORD * count + _HEADER * headers


def number_at(body: bytearray, at: int, end: int) -> tuple[int, int]:
    """The number that begins there, and where it ends. Raises ValueError where none does before `end`.

    Where it begins must be looked at here: the client's compiled reader looks wherever it is told to.
    """
    if not 0 <= at < end:
        raise ValueError("no number there")
    number, behind = decode_varint(body, at)
    if behind > end:
        raise ValueError("a number without an end")
    return number, behind


class Allowance:
    """How many bytes of records may yet be handed over before the consumer is asked again."""

    def __init__(self) -> None:
        self._left = math.inf

    def renew(self, most: int) -> None:
        """From now on so many more; at least one record is always allowed."""
        self._left = most

    @property
    def spent(self) -> bool:
        """Whether no more may be handed over for now."""
        return self._left <= 0

    def take(self, record: Record) -> None:
        """Count a record that was handed over."""
        self._left -= size_of(record) + _RECORD + _HEADER * len(record.headers)
