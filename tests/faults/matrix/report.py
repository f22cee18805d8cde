"""The verdicts as a table, and docs/guarantees.md, whose rows each keep the date and seed of their last run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.checker import Broken
from tests.faults.matrix.case import Result

PAGE = Path(__file__).parents[3] / "docs" / "guarantees.md"
HEAD = "<!-- rows -->"
_COLUMNS = (
    *("fault", "case", "requests", "lost", "doubled", "other faults", "repeated answers"),
    *("first answer after", "full rate after"),
)


def columns() -> tuple[str, ...]:
    """The columns of the table."""
    return _COLUMNS


def cells(result: Result) -> list[str]:
    """The row of a result."""
    name = result.case.fault, result.case.name
    if result.not_run is not None:
        return [*name, f"not run: {result.not_run}", *[""] * 6]
    found = result.broken
    others = sum(found.values()) - found[Broken.LOST] - found[Broken.DOUBLED] + (result.trouble is not None)
    counts = result.requests, found[Broken.LOST], found[Broken.DOUBLED], others, result.repeated
    return [*name, *map(str, counts), _seconds(result.first_answer), _seconds(result.full_rate)]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def write(results: Sequence[Result], page: Path = PAGE) -> None:
    """Put these rows into the page; rows of other cases stay."""
    before, _, table = page.read_text().partition(HEAD)
    rows = {match[1]: match[0] for match in re.finditer(r"^\|[^|]*\| `([\w-]+)` \|.*$", table, re.MULTILINE)}
    today = datetime.now(UTC).date().isoformat()
    for result in results:
        fault, name, *rest = cells(result)
        runs = _runs(rows.get(name))
        rows[name] = f"| {' | '.join([fault, f'`{name}`', *rest, str(result.seed), today, str(runs)])} |"
    head = " | ".join([*_COLUMNS, "seed", "date", "runs"])
    line = "|".join(["---", "---", *["--:"] * (len(_COLUMNS) + 1)])
    page.write_text(f"{before}{HEAD}\n| {head} |\n|{line}|\n" + "\n".join(rows.values()) + "\n")


def _runs(row: str | None) -> int:
    return 1 if row is None else int(row.rstrip(" |").rpartition("|")[2]) + 1
