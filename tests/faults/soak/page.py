"""What came of a soak: for people, and as a row of docs/guarantees.md."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.faults.checker import Broken
from tests.faults.matrix.report import PAGE
from tests.faults.soak.run import Outcome

HEAD, END = "<!-- soak -->", "<!-- end of soak -->"
_COLUMNS = (
    *("date", "command", "requests", "a second", "faults", "lost", "doubled", "other faults", "repeated answers"),
    *("memory, first fifth", "last fifth"),
)


def cells(outcome: Outcome) -> list[str]:
    """The row of a soak."""
    lost, doubled = outcome.broken[Broken.LOST], outcome.broken[Broken.DOUBLED]
    others = outcome.broken.total() - lost - doubled + len(outcome.trouble)
    counts = outcome.faults.total(), lost, doubled, others, outcome.repeated
    memory = outcome.memory
    return [
        datetime.now(UTC).date().isoformat(),
        f"`make soak MINUTES={outcome.minutes:g} SEED={outcome.seed}`",
        str(outcome.requests),
        f"{outcome.requests / outcome.minutes / 60:.0f}",
        *map(str, counts),
        *(("", "") if memory is None else (mebibytes(memory.first_fifth), mebibytes(memory.last_fifth))),
    ]


def mebibytes(value: float) -> str:
    return f"{value / (1 << 20):.1f} MiB"


def write(outcome: Outcome, page: Path = PAGE) -> None:
    """Add the row of this soak to the page."""
    before, _, rest = page.read_text().partition(HEAD)
    table, _, after = rest.partition(END)
    rows = [line for line in table.splitlines() if line.startswith("| 2")]
    rows.append(f"| {' | '.join(cells(outcome))} |")
    line = "|".join(["---", "---", *["--:"] * (len(_COLUMNS) - 2)])
    body = "\n".join([f"| {' | '.join(_COLUMNS)} |", f"|{line}|", *rows])
    page.write_text(f"{before}{HEAD}\n{body}\n{END}{after}")


def told(outcome: Outcome) -> str:
    """The result, for people."""
    lines = [f"{name}: {cell}" for name, cell in zip(_COLUMNS, cells(outcome), strict=True)]
    lines += [f"  {fault}: {count}" for fault, count in sorted(outcome.faults.items())]
    if outcome.memory is not None:
        lines.append(f"memory by fifths: {', '.join(map(mebibytes, outcome.memory.fifths))}")
    if outcome.memory is None:
        lines.append("FAULT: too short to judge the memory")
    elif not outcome.memory.steady:
        lines.append(f"FAULT: the memory changed by {outcome.memory.change:+.1%}")
    if outcome.answered != outcome.requests:
        lines.append(f"FAULT: {outcome.answered} of {outcome.requests} requests were answered")
    lines += [f"FAULT: {trouble}" for trouble in outcome.trouble]
    lines += [f"FAULT: {verdict.broken}: {verdict.about}" for verdict in outcome.shown]
    lines.append("clean" if outcome.clean else "NOT CLEAN")
    return "\n".join(lines)
