"""Which dead letters of a partition are done with: an offset up to which all are, and pieces beyond it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

LONGEST: Final = 4000
"""Characters that a committed offset may bear beside it; brokers take 4096 unless told otherwise."""
_WRITTEN: Final = re.compile(r"1:(\d+\+\d+(,\d+\+\d+)*)?")


@dataclass(frozen=True, slots=True)
class Marks:
    """Everything below `position` is done, and so are the `pieces`: sorted, apart from each other, first and last.

    Written as `1:3+1,2+5`: 3 that are open, 1 that is done, 2 open, 5 done.
    """

    position: int = 0
    pieces: tuple[tuple[int, int], ...] = ()

    def __contains__(self, offset: int) -> bool:
        return offset < self.position or any(first <= offset <= last for first, last in self.pieces)

    def having(self, done: Iterable[tuple[int, int]]) -> Marks:
        """These marks and more: each from a first to a last offset."""
        position = self.position
        pieces: list[tuple[int, int]] = []
        for first, last in sorted([*self.pieces, *done]):
            if first <= position:
                position = max(position, last + 1)
            elif pieces and first <= pieces[-1][1] + 1:
                pieces[-1] = (pieces[-1][0], max(pieces[-1][1], last))
            else:
                pieces.append((first, last))
        return Marks(position, tuple(pieces))

    @property
    def text(self) -> str:
        """The pieces, to be kept beside the position."""
        parts, at = [], self.position
        for first, last in self.pieces:
            parts.append(f"{first - at}+{last - first + 1}")
            at = last + 1
        return "1:" + ",".join(parts)

    @property
    def fits(self) -> bool:
        """Whether the pieces can be kept."""
        return len(self.text) <= LONGEST


def read_marks(position: int, text: str | None) -> Marks:
    """The marks that were written. What is not of this form was written by someone else, and marks nothing."""
    if text is None or not _WRITTEN.fullmatch(text):
        return Marks(max(position, 0))
    pieces, at = [], position
    for part in filter(None, text[2:].split(",")):
        open_, done = map(int, part.split("+"))
        pieces.append((at + open_, at + open_ + done - 1))
        at += open_ + done
    return Marks(position).having(pieces)
