"""What the demo prints: the answers, the rows, and what to type next. Readable in 80 columns and without colour."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.consumer.requester import Inbound
from app.settings import Settings
from devstack.demo.sample import DIRECTORY, Sample
from devstack.demo.verdict import Place, by_place, got, read
from devstack.demo.worker import Worker, program

# Names come last: they may run from right to left, and nothing after them is then moved.
_ROWS: Final = """
    select customer, phone, city, country, gender, date_of_birth as born,
        patient_first_name || ' ' || patient_last_name as name
    from customers order by created_at, customer
"""
_OWN_REQUEST: Final = (
    '{"customer": "cus_you", "firstName": "Your", "lastName": "Example", "dateOfBirth": "2001-02-03",\n'
    ' "phone": "+1 202 555 0100", "address": "1 Example Street", "city": "Springfield", "state": "OR",\n'
    ' "postalCode": "97475", "country": "US"}'
)


def show_answers(
    console: Console, samples: Sequence[Sample], sent: Sequence[Place], answers: Sequence[Inbound]
) -> None:
    """A line for each request: what it is about and what it was answered. Ids and codes, no health data."""
    table = _table("#", "request", "answer", "customer", "codes")
    first, file = by_place(answers), ""
    for sample, place in zip(samples, sent, strict=True):
        if sample.file != file:
            file = sample.file
            table.add_row("", Text(file, style="bold"))
        table.add_row(str(sample.line), Text(sample.about), *_cells(first.get(place)))
    console.print(table)


def _table(*columns: str) -> Table:
    table = Table(*columns, box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.columns[0].no_wrap = True
    return table


def _cells(answer: Inbound | None) -> tuple[Text, ...]:
    if answer is None:
        return (Text("no answer", style="red"),)
    envelope = read(answer.value)
    was = got(envelope)
    told = "\n".join(was.codes) or ("replayed" if answer.header("replayed") else "")
    style = "green" if was.status == 200 else "yellow"
    return Text(f"{was.status} {was.outcome}", style=style), Text(envelope["request"]["customer"] or "-"), Text(told)


def show_rows(console: Console, settings: Settings) -> None:
    """The rows as Postgres has them."""
    version, rows = asyncio.run(_rows(settings.database_url.get_secret_value()))
    console.print(f"customers in PostgreSQL {version}: {len(rows)} rows, some of their columns", style="bold")
    table = _table(*(rows[0].keys() if rows else ()))
    for row in rows:
        table.add_row(*(Text("-" if value is None else str(value)) for value in row.values()))
    console.print(table, "")


async def _rows(url: str) -> tuple[str, list[Any]]:
    database = await asyncpg.connect(url, timeout=10)
    try:
        version = str(await database.fetchval("show server_version"))
        return version, await database.fetch(_ROWS)
    finally:
        await database.close()


def show_next(console: Console, worker: Worker, exports: Mapping[str, str]) -> None:
    """What to type in another shell. Each command stands at the line's beginning, or a heredoc would not end."""
    send, python = _typed(program()), _typed(program().with_name("python"))
    lines = [
        "",
        "Kafka, Postgres and the worker stay up until Ctrl-C. In another shell, in this folder:",
        "",
        *(f"export {name}={shlex.quote(value)}" for name, value in exports.items()),
        "",
        "Then send a file of requests:",
        "",
        f"{send} send {_typed(DIRECTORY / 'first.jsonl')}",
        "",
        "Or a request of your own:",
        "",
        f"{send} send - <<'EOF'\n{_OWN_REQUEST}\nEOF",
        "",
        "And look at the rows:",
        "",
        f"{python} -m devstack.demo --rows",
        "",
        f"Health is at {worker.address}/readyz, metrics are at {worker.address}/metrics, the log is {worker.log}",
    ]
    console.print("\n".join(lines), soft_wrap=True, markup=False)


def _typed(path: Path) -> str:
    """The path as one types it from here."""
    here = Path.cwd()
    return shlex.quote(os.path.relpath(path, here) if path.is_relative_to(here) else str(path))
