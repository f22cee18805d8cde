"""`patient-upsert watch`: the answers as they come, a table for people or JSON Lines for programs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.live import Live

from app.cli.watch.screen import Lines, Screen, Screenful
from app.cli.watch.seen import seen
from app.consumer.follow import Follower
from app.errors import Transient, WorkerError
from app.settings import load_settings

HELP: Final = """Follow the answers: a table on a terminal, JSON Lines when piped. Ctrl-C ends it.

Neither shows health data: time, status, outcome, ids and codes. --values adds the whole response.

Example: patient-upsert watch --failed --since 10m

Example: patient-upsert watch --customer cus_1042 --count 1 --values | jq .response
"""
RETRY_SECONDS: Final = 1.0
_LENGTH: Final = re.compile(r"(\d{1,6})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_since(text: str | None, now: datetime) -> datetime | None:
    """`10m` ago, or an ISO time; one without a zone is local. Raises typer.BadParameter."""
    if text is None:
        return None
    try:
        if length := _LENGTH.fullmatch(text):
            return now - timedelta(**{_UNITS[length[2]]: int(length[1])})
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter("a length such as 30s, 10m, 2h or 7d, or a time as 2024-01-31T12:00:00Z") from None


def watch(
    failed: Annotated[bool, typer.Option("--failed", help="Only answers that are not 200")] = False,
    customer: Annotated[str | None, typer.Option(help="Only answers to this customer", metavar="ID")] = None,
    since: Annotated[
        str | None, typer.Option(help="From then on: 30s, 10m, 2h, 7d, or a time as in ISO 8601", metavar="WHEN")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many answers", metavar="N")] = None,
    values: Annotated[bool, typer.Option("--values", help="JSON Lines with the response: health data")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON Lines on a terminal too")] = False,
) -> None:
    """The command."""
    settings = load_settings(needs_database=False)
    topics = [settings.failed_topic] if failed else [settings.completed_topic, settings.failed_topic]
    follower = Follower(settings, topics, parse_since(since, datetime.now(UTC)))
    console = Console(highlight=False)
    try:
        if values or as_json or not sys.stdout.isatty() or console.is_dumb_terminal:
            asyncio.run(_until_told(follow(follower, Lines(values=values), customer=customer, count=count)))
        else:
            with Live(console=console, auto_refresh=False) as live:
                asyncio.run(_until_told(follow(follower, Screenful(live), customer=customer, count=count)))
    except BrokenPipeError:  # whoever read the lines has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _until_told(following: Coroutine[Any, Any, None]) -> None:
    """Ctrl-C and SIGTERM end it as if all had been said."""
    task = asyncio.create_task(following)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def follow(follower: Follower, screen: Screen, *, customer: str | None, count: int | None) -> None:
    """Show what comes, `count` answers at most. A server that is away is waited for."""
    left = count
    try:
        while left is None or left > 0:
            try:
                records = await follower.poll()
            except WorkerError as error:
                away = isinstance(error, Transient)
                text = "Kafka is away; patient-upsert doctor says why" if away else str(error)
                screen.state(f"waiting: {text}", waiting=True)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            screen.state(f"following {follower.partitions} partitions", waiting=False)
            answers = [answer for answer in map(seen, records) if customer in (None, answer.customer)][:left]
            left = None if left is None else left - len(answers)
            if answers:
                screen.show(answers)
    finally:
        await follower.close()
