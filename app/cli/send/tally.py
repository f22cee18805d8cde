"""What became of each request of a file, in little room: counts, the lines refused, and the rows that are shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson
from rich.console import Console
from rich.table import Table

from app.cli.send.source import Item
from app.consumer.requester import Inbound

SHOWN: Final = 100
"""Rows of the table at most; beyond, what is not 200 goes first."""


class Shown(NamedTuple):
    """A row of the table: ids and codes, no health data."""

    line: int
    status: str
    outcome: str = ""
    customer: str = ""
    codes: tuple[str, ...] = ()


@dataclass(slots=True)
class Tally:
    """Counts by status; `refused` has the codes of each line that did not get a 200."""

    counts: Counter[str] = field(default_factory=Counter)
    refused: dict[int, str] = field(default_factory=dict)
    repeated: int = 0
    """Answers that the worker had given before."""
    _good: list[Shown] = field(default_factory=list)
    _bad: list[Shown] = field(default_factory=list)
    _texts: dict[tuple[str, ...], str] = field(default_factory=dict)

    def answered(self, line: int, answer: Inbound) -> None:
        """The answer to the request of this line."""
        parsed: dict[str, Any] = orjson.loads(answer.value or b"{}")
        status, body = str(parsed["status"]), parsed["response"]
        self.repeated += answer.header("replayed") == "true"
        codes: tuple[str, ...] = ()
        if status != "200":
            details = [f"{detail['field'] or '/'} {detail['code']}" for detail in body.get("details", [])]
            codes = (body["error"], *details)
        self._add(Shown(line, status, parsed["outcome"], parsed["request"]["customer"] or "-", codes))

    def unsendable(self, item: Item) -> None:
        """A line that was not sent, for what it is."""
        if item.problem is not None:
            self._add(Shown(item.line, "not sent", codes=(item.problem.code,)))

    def missing(self, lines: Iterable[int]) -> None:
        """The lines whose answers did not come."""
        for line in lines:
            self._add(Shown(line, "no answer", codes=("no_answer",)))

    def not_awaited(self) -> None:
        """A request of an earlier run, whose answer cannot be told from others."""
        self.counts["not awaited"] += 1

    def _add(self, row: Shown) -> None:
        self.counts[row.status] += 1
        rows = self._good if row.status == "200" else self._bad
        if len(rows) < SHOWN:
            rows.append(row)
        if row.status != "200":  # few texts for many lines
            self.refused[row.line] = self._texts.setdefault(row.codes, "; ".join(row.codes))

    @property
    def all_good(self) -> bool:
        """Whether there was nothing but 200."""
        return set(self.counts) <= {"200"}

    def show(self, console: Console) -> None:
        """Print a table, and a line that counts."""
        everything = self.counts.total() - self.counts["not awaited"]
        rows = [*sorted(self._bad), *sorted(self._good)][:SHOWN]
        table = Table("line", "status", "outcome", "customer", "codes", box=None, pad_edge=False)
        for column in table.columns[:3]:
            column.no_wrap = True
        for row in sorted(rows) if everything <= SHOWN else rows:
            told = "" if row.status == "no answer" else "\n".join(row.codes)
            table.add_row(str(row.line), row.status, row.outcome, row.customer, told)
        if rows:
            console.print(table, markup=False)
        if everything > SHOWN:
            console.print(f"... and {everything - SHOWN} more")
        console.print(", ".join(f"{count} x {what}" for what, count in sorted(self.counts.items())))
