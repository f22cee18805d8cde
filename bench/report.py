"""The results as tables: on the screen, in results.json, in docs/performance.md."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Final, TypeVar

import orjson
from rich.console import Console
from rich.table import Table

from bench.measured import Latency, Results, Run
from bench.ratios import MEGABYTE, Ratio, ratios

K = TypeVar("K")
T = TypeVar("T")
Row = tuple[str, ...]
BEGIN: Final = "<!-- bench -->\n"
END: Final = "<!-- /bench -->\n"
_STYLES: Final = {"aim": "bold green", "met": "green", "missed": "bold red", "not measured": "dim"}


def show(console: Console, results: Results) -> None:
    """Print all of it."""
    for title, head, body in tables(results):
        table = Table(*head, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for column in table.columns[1:]:
            column.justify, column.no_wrap = "right", True
        for row in body:
            table.add_row(*row, style=_STYLES.get(row[-1]))
        console.print(table, "")
    for note in results.notes:
        console.print(note, soft_wrap=True, markup=False)


def tables(results: Results) -> list[tuple[str, Row, list[Row]]]:
    """Each table: its title, its head, its rows."""
    return [
        ("Against what must be reached", ("ratio", "measured", "range", "must", "aim", "verdict"), _ratios(results)),
        (
            "Throughput",
            (
                "contestant",
                "load",
                "requests",
                "answers/s",
                "range",
                "CPU s worker",
                "Postgres",
                "Kafka",
                "MB",
            ),
            _throughput(results),
        ),
        ("Latency", ("contestant", "level", "requests/s", "p50 ms", "range", "p99 ms", "range"), _latency(results)),
    ]


def _ratios(results: Results) -> list[Row]:
    return [
        (
            ratio.name,
            "" if ratio.value is None else _short(ratio.value) + ratio.unit,
            _range(ratio.values),
            _bound(ratio, ratio.must),
            _bound(ratio, ratio.aim),
            ratio.verdict,
        )
        for ratio in ratios(results)
    ]


def _bound(ratio: Ratio, bound: float) -> str:
    return f"{'≤' if ratio.at_most else '≥'} {bound:g}{ratio.unit}"


def _throughput(results: Results) -> list[Row]:
    rows: list[Row] = []
    for (contestant, load, customers), runs in _grouped(
        results.runs, lambda run: (run.contestant, run.load, run.rows)
    ).items():
        rates = [run.rate for run in runs]
        rows.append(
            (
                contestant,
                f"{load} of {customers:,}" if load.endswith("table") else load,
                f"{runs[0].requests:,}",
                _short(median(rates)),
                _range(rates),
                *(_cpu(runs, who) for who in ("worker", "postgres", "kafka")),
                _memory(runs),
            )
        )
    return rows


def _cpu(runs: Sequence[Run], who: str) -> str:
    known = [run.cpu[who] for run in runs if who in run.cpu]
    return _short(median(known)) if known else ""


def _memory(runs: Sequence[Run]) -> str:
    peak = max(run.peak_memory for run in runs)
    return f"{peak / MEGABYTE:,.0f}" if peak else ""


def _latency(results: Results) -> list[Row]:
    rows: list[Row] = []
    for (contestant, level), found in _grouped(results.latencies, lambda one: (one.contestant, one.level)).items():
        p50s, p99s = [one.p50 for one in found], [one.p99 for one in found]
        rate = median(one.rate for one in found)
        rows.append(
            (contestant, level, _short(rate), _short(median(p50s)), _range(p50s), _short(median(p99s)), _range(p99s))
        )
    return rows


def _grouped(items: Iterable[T], by: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(by(item), []).append(item)
    return groups


def _range(values: Sequence[float]) -> str:
    return f"{_short(min(values))}–{_short(max(values))}" if len(values) > 1 else ""


def _short(value: float) -> str:
    """Three significant digits are more than the noise allows."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def write(results: Results, folder: Path, page: Path) -> None:
    """Write results.json into the folder, and the tables between the marks of the page, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    written = orjson.dumps(dataclasses.asdict(results), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    (folder / "results.json").write_bytes(written)
    text = page.read_text(encoding="utf-8") if page.exists() else f"{BEGIN}{END}"
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}{markdown(results)}{END}{after}", encoding="utf-8")


def read(file: Path) -> Results:
    """Results that were written before."""
    found = orjson.loads(file.read_bytes())
    found["runs"] = [Run(**run) for run in found["runs"]]
    found["latencies"] = [Latency(**one) for one in found["latencies"]]
    return Results(**found)


def markdown(results: Results) -> str:
    """The tables as the page has them."""
    told = [f"- {name}: {value}" for name, value in {**results.machine, **results.options}.items()]
    parts = ["\n".join(told)]
    for title, head, body in tables(results):
        lines = [f"| {' | '.join(row)} |" for row in (head, ("---", *["--:"] * (len(head) - 1)), *body)]
        parts.append(f"### {title}\n\n" + "\n".join(lines))
    parts += results.notes
    return "\n\n".join(parts) + "\n"
