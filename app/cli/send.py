"""`patient-upsert send`: publish requests, await and show the answers."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.cli.lines import NotSendable, read_requests
from app.consumer.requester import Inbound, Outbound, Requester, open_requester
from app.settings import Settings, load_settings

HELP: Final = """Publish requests from files of JSON or JSON Lines, and show the answers.

A request is the REST body, a CloudEvent, or a whole record as {"record": {"key", "headers", "value"}}.
Exits with 1 when an answer is not 200, or does not come.

Example: patient-upsert send requests.jsonl

Example: echo '{"customer": "cus_1", ...}' | patient-upsert send -
"""
_SHOWN: Final = 100
"""Rows of the table at most; beyond, what is not 200 goes first."""


def send(
    files: Annotated[list[str], typer.Argument(help="Files to send; - is standard input", metavar="FILE...")],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Whether to wait for the answers")] = True,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds without any new answer after which to give up")] = 30,
) -> None:
    """The command."""
    settings = load_settings(needs_database=False)
    requests = [request for name in files for request in read_requests(name, _read(name))]
    console = Console(highlight=False)
    if not requests:
        raise NotSendable("there is nothing to send")
    good = asyncio.run(_send(settings, requests, console, timeout if wait else None))
    raise typer.Exit(0 if good else 1)


def _read(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise NotSendable(f"{name}: must be a file in UTF-8 that can be read") from None


async def _send(settings: Settings, requests: Sequence[Outbound], console: Console, patience: float | None) -> bool:
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )
    async with open_requester(settings, listen=patience is not None) as requester:
        with bar:
            sending = bar.add_task("sent", total=len(requests))
            answering = bar.add_task("answered", total=len(requests)) if patience is not None else None
            async for sent in requester.send_all(requests):
                bar.update(sending, completed=sent)
            if answering is None or patience is None:
                return True
            heard = time.monotonic()
            answered = 0
            while answered < len(requests) and time.monotonic() - heard < patience:
                now = await requester.receive()
                if now > answered:
                    answered, heard = now, time.monotonic()
                    bar.update(answering, completed=answered)
        return show(requester, console)


def show(requester: Requester, console: Console) -> bool:
    """Print the answers as a table and a line that counts them; whether all were 200."""
    rows = [(place, _last(requester.answered.get(place, []))) for place in requester.sent]
    rows.sort(key=lambda row: row[1] is not None and row[1]["status"] == 200) if len(rows) > _SHOWN else None
    table = Table("request", "status", "outcome", "customer", "codes", box=None, pad_edge=False)
    for (partition, offset), answer in rows[:_SHOWN]:
        table.add_row(f"{partition}/{offset}", *_cells(answer))
    console.print(table)
    if len(rows) > _SHOWN:
        console.print(f"... and {len(rows) - _SHOWN} more")
    counts = Counter("no answer" if answer is None else str(answer["status"]) for _, answer in rows)
    console.print(", ".join(f"{count} x {what}" for what, count in sorted(counts.items())))
    return set(counts) == {"200"}


def _last(answers: list[Inbound]) -> dict[str, Any] | None:
    """The answer that stands: a 200 is final, of refusals the last one counts."""
    parsed: list[dict[str, Any]] = [orjson.loads(answer.value or b"{}") for answer in answers]
    final = [answer for answer in parsed if answer["status"] == 200]
    return (final or parsed)[-1] if parsed else None


def _cells(answer: dict[str, Any] | None) -> list[str]:
    """What may be shown of an answer: ids and codes, no health data."""
    if answer is None:
        return ["-", "no answer", "", ""]
    body = answer["response"]
    codes = [f"{detail['field'] or '/'} {detail['code']}" for detail in body.get("details", [])]
    told = "\n".join([body["error"], *codes]) if answer["status"] != 200 else ""
    return [str(answer["status"]), answer["outcome"], answer["request"]["customer"] or "-", told]
