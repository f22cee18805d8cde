"""`patient-upsert doctor`: whether Kafka, Postgres and keys are as the worker needs them. It changes nothing."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import asdict
from typing import Annotated, Final, TypeVar

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.authorise import inspect_callers
from app.cli.doctor import callers, kafka, postgres
from app.cli.doctor.finding import Finding, Status, fail, ok, skipped
from app.consumer.inspect import inspect_kafka
from app.errors import WorkerError
from app.settings import Settings, SettingsError, load_settings
from app.store.inspect import inspect_postgres
from app.waiting import within

HELP: Final = """Check settings, callers, Kafka and Postgres, and say what to do. Changes nothing.

Exits with 0 when nothing failed (warnings may stand), with 1 when something did, with 2 for bad settings.

Example: patient-upsert doctor

Example: patient-upsert doctor --json | jq '.\\[] | select(.status == "fail")'
"""
LIMIT_SECONDS: Final = 30.0
"""For each server. Every question has a limit of its own; this one holds whatever happens."""
_STYLES: Final = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red", Status.SKIPPED: "dim"}
_WORDS: Final = {Status.OK: "ok", Status.WARN: "warned", Status.FAIL: "failed", Status.SKIPPED: "skipped"}

T = TypeVar("T")


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array of the findings")] = False,
) -> None:
    """The command."""
    try:
        settings = load_settings()
    except SettingsError as error:
        findings = [fail("settings", line, "correct the environment") for line in error.lines]
        show([*findings, *skipped(("callers", "kafka", "postgres"), "the settings cannot be used")], as_json=as_json)
        raise typer.Exit(2) from None
    with Console(stderr=True).status("asking Kafka and Postgres"):
        findings = asyncio.run(examine(settings))
    show(findings, as_json=as_json)
    raise typer.Exit(1 if any(finding.status is Status.FAIL for finding in findings) else 0)


async def examine(settings: Settings) -> list[Finding]:
    """Ask both servers at the same time, and judge what they tell."""
    of_kafka, of_postgres, of_callers = await asyncio.gather(
        _told(inspect_kafka(settings)),
        _told(inspect_postgres(settings.database_url.get_secret_value())),
        _told(inspect_callers(settings)),
    )
    return [
        ok("settings", "every setting can be used"),
        *callers.callers_findings(of_callers, settings),
        *kafka.kafka_findings(of_kafka, settings),
        *postgres.postgres_findings(of_postgres, settings),
    ]


async def _told(asking: Awaitable[T]) -> T | str:
    """The facts, or why there are none."""
    try:
        return await within(asking, LIMIT_SECONDS)
    except WorkerError as error:
        return str(error)
    except TimeoutError:
        return "no answer in time"


def show(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print the findings: an array for programs, or a table with a line that counts."""
    if as_json:
        sys.stdout.buffer.write(orjson.dumps([asdict(finding) for finding in findings], option=orjson.OPT_INDENT_2))
        sys.stdout.buffer.write(b"\n")
        sys.stdout.flush()
        return
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        said = Text(finding.message)
        if finding.action:
            said.append(f"\n> {finding.action}", style="bold")
        table.add_row(Text(finding.status.value, style=_STYLES[finding.status]), Text(finding.check), said)
    console.print(table)
    counts = Counter(finding.status for finding in findings)
    console.print(", ".join(f"{counts[status]} {word}" for status, word in _WORDS.items() if counts[status]))
