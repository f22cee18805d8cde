"""Where `watch` shows answers: lines for programs, a table for people."""

from __future__ import annotations

import re
import select
import sys
from collections import deque
from typing import Final, Protocol

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.cli.plain import as_json
from app.cli.watch.seen import Seen
from app.model import from_milliseconds

_KEPT: Final = 200
"""Rows of the table in memory; the last screenful of them is shown."""
_AROUND: Final = 4
"""Lines of the screen that are not rows."""
_PLACE: Final = re.compile(r"[A-Za-z0-9._-]{1,249}/(\d+/\d+@-?\d+)")


class Screen(Protocol):
    """Where answers are shown, and what is waited for."""

    def show(self, answers: list[Seen]) -> None:
        """Show these, the newest last."""

    def state(self, text: str, *, waiting: bool) -> None:
        """Say how it stands. Called often, with the same text too."""


class Lines:
    """JSON Lines on standard output; on standard error, what is waited for and that the wait is over."""

    def __init__(self, *, values: bool) -> None:
        self._values = values
        self._waits_for = ""
        self._watched = select.poll()
        self._watched.register(sys.stdout.fileno(), 0)  # of a pipe, tells only that its reader is gone

    def show(self, answers: list[Seen]) -> None:
        """One line each, at once."""
        for answer in answers:
            sys.stdout.buffer.write(as_json(answer.line(values=self._values)) + b"\n")
        sys.stdout.buffer.flush()

    def state(self, text: str, *, waiting: bool) -> None:
        """A line when it changes. Raises BrokenPipeError when nobody reads the answers any more."""
        if self._watched.poll(0):
            raise BrokenPipeError
        waits_for = text if waiting else ""
        if waits_for != self._waits_for:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()
        self._waits_for = waits_for


class Screenful:
    """A table that is drawn anew in its place, as long as the screen is high."""

    def __init__(self, live: Live) -> None:
        self._live, self._rows, self._count, self._state = live, deque[Seen](maxlen=_KEPT), 0, ""

    def show(self, answers: list[Seen]) -> None:
        """Draw the newest."""
        self._rows.extend(answers)
        self._count += len(answers)
        self._draw()

    def state(self, text: str, *, waiting: bool) -> None:
        """Below the table."""
        if text != self._state:
            self._state = text
            self._draw()

    def _draw(self) -> None:
        size = self._live.console.size
        rows = list(self._rows)[-max(size.height - _AROUND, 1) :]
        counted = f"answers: {self._count}; {self._state}"
        self._live.update(Group(table(rows, size.width), Text(counted, style="dim", no_wrap=True, overflow="ellipsis")))
        self._live.refresh()


def table(answers: list[Seen], width: int) -> Table:
    """One line an answer, whatever the width: ids and codes are shortened."""
    free = max(width - 34, 30)
    customer, request = free // 4, free // 4
    lengths = {"time": 8, "status": 6, "outcome": 10, "customer": customer, "request": request}
    shown = Table(box=None, pad_edge=False)
    for name, length in {**lengths, "codes": free - customer - request}.items():
        shown.add_column(name, width=length, no_wrap=True, overflow="ellipsis")
    for answer in answers:
        local = from_milliseconds(answer.record.position.timestamp).astimezone()
        id = (answer.request or {}).get("id") or answer.place or "-"
        status = Text(str(answer.status or "-"), style=_style(answer.status))
        outcome = answer.outcome or "not ours"
        cells = (outcome, answer.customer or "-", _middle(_tail(id), request), _codes(answer))
        shown.add_row(f"{local:%H:%M:%S}", status, *(Text(_printable(cell)) for cell in cells))
    return shown


def _style(status: int | None) -> str:
    return "dim" if status is None else "green" if status == 200 else "red" if status >= 500 else "yellow"


def _tail(id: str) -> str:
    """The id of a request that has none of its own is its place: without the topic, which all of them share."""
    place = _PLACE.fullmatch(id)
    return place[1] if place else id


def _middle(text: str, width: int) -> str:
    """Shortened in the middle: ids of one sender differ at either end."""
    head = (width - 1) // 2
    return text if len(text) <= width else f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def _codes(answer: Seen) -> str:
    details = ", ".join(f"{field} {code}".strip() for field, code in answer.details)
    if answer.error is None or (answer.error == "validation_failed" and details):
        return details
    return f"{answer.error}: {details}" if details else answer.error


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
