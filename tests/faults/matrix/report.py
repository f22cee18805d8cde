"""The verdicts as a table, and docs/guarantees.md, where each row sums the runs of the last command that played it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
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


def cells(*runs: Result) -> list[str]:
    """The row of a case: its runs summed, and of the times the slowest."""
    played = [run for run in runs if run.not_run is None]
    name = runs[0].case.fault, runs[0].case.name
    if not played:
        return [*name, f"not run: {runs[0].not_run}", *[""] * 6]
    found = sum((run.broken for run in played), Counter[Broken]())
    others = found.total() - found[Broken.LOST] - found[Broken.DOUBLED] + sum(run.trouble is not None for run in played)
    requests, repeated = sum(run.requests for run in played), sum(run.repeated for run in played)
    counts = requests, found[Broken.LOST], found[Broken.DOUBLED], others, repeated
    return [
        *name,
        *map(str, counts),
        _slowest(run.first_answer for run in played),
        _slowest(run.full_rate for run in played),
    ]


def _slowest(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{max(known):.1f} s" if known else ""


def write(results: Sequence[Result], page: Path = PAGE) -> None:
    """Put the rows of these cases into the page, each the sum of its runs here; rows of other cases stay."""
    before, _, table = page.read_text().partition(HEAD)
    rows = {match[1]: match[0] for match in re.finditer(r"^\|[^|]*\| `([\w-]+)` \|.*$", table, re.MULTILINE)}
    today = datetime.now(UTC).date().isoformat()
    for name in dict.fromkeys(result.case.name for result in results):
        runs = [result for result in results if result.case.name == name]
        fault, _, *rest = cells(*runs)
        seeds = ", ".join(str(run.seed) for run in runs)
        rows[name] = f"| {' | '.join([fault, f'`{name}`', *rest, seeds, today, str(len(runs))])} |"
    head = " | ".join([*_COLUMNS, "seeds", "date", "runs"])
    line = "|".join(["---", "---", *["--:"] * (len(_COLUMNS) + 1)])
    page.write_text(f"{before}{HEAD}\n| {head} |\n|{line}|\n" + "\n".join(rows.values()) + "\n")
