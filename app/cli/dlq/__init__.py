"""`patient-upsert dlq`: dead letters and refusals, seen, tried, published again or dropped."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from app.cli.dlq.letter import Chosen
from app.cli.dlq.work import listed, listed_refusals, moved, shown, tried
from app.cli.send import read_token
from app.cli.send.wrong import WrongUse
from app.cli.watch import parse_since
from app.settings import Settings, load_settings

HELP: Final = """Dead letters: requests that were answered 500, kept for when the cause is mended.

List them, mend the cause, try a replay, replay. Nothing here deletes a record. Letters that were replayed or dropped \
are done with: the group GROUP_ID.dlq remembers them. No health data is printed, unless by show --values.

Example: patient-upsert dlq list

Exit codes: 0 done, 1 some letters had to be left (or a dry run found a refusal, or a server is away), 2 wrong use.
"""
LIST_HELP: Final = """List the letters that are not done with: where, when, whose, which request, what code.

Example: patient-upsert dlq list --since 2h

Example: patient-upsert dlq list --refusals --code validation_failed --customer cus_1042

Example: patient-upsert dlq list --json | jq -r .request.customer | sort | uniq -c
"""
SHOW_HELP: Final = """Show a letter, named by partition and offset as list prints them.

--values adds the record: health data, in the form that send reads.

Example: patient-upsert dlq show 0/17
"""
REPLAY_HELP: Final = """Publish letters again. Each keeps its place, time and so its id; it never overwrites newer data.

Killed at any moment, the same command goes on, and each letter is published once: letters and the offsets that say \
so are committed in one transaction of Kafka. A letter that fails again is a new letter, behind the others.

--dry-run publishes nothing. It runs the rules of the worker over the database, which it only reads, and says what \
each letter would become. What only a write shows (a constraint of the database) it cannot tell.

Example: patient-upsert dlq replay --dry-run

Example: patient-upsert dlq replay --since 2h --rate 50

Example: patient-upsert dlq replay --offsets 0/17-40 --offsets 3/5
"""
DROP_HELP: Final = """Be done with letters without replaying them. The records stay until they expire.

Example: patient-upsert dlq drop --offsets 0/17 --yes

Example: patient-upsert dlq drop --customer cus_test --yes
"""
_OFFSETS: Final = re.compile(r"(\d{1,9})/(\d{1,18})(?:-(\d{1,18}))?")

Code = Annotated[str | None, typer.Option(help="Only those with this code", metavar="NAME")]
Customer = Annotated[str | None, typer.Option(help="Only those of this customer", metavar="ID")]
Since = Annotated[
    str | None, typer.Option(help="Only those that came since: 30s, 10m, 2h, 7d ago, or an ISO time", metavar="WHEN")
]
Until = Annotated[str | None, typer.Option(help="Only those that came before", metavar="WHEN")]
Offsets = Annotated[
    list[str] | None,
    typer.Option(help="Only these: partition and offset, or offsets from-to; may be repeated", metavar="0/17-40"),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON Lines instead of text")]

dlq = typer.Typer(no_args_is_help=True, help=HELP)


@dlq.command("list", help=LIST_HELP)
def list_letters(
    code: Code = None,
    customer: Customer = None,
    since: Since = None,
    until: Until = None,
    offsets: Offsets = None,
    refusals: Annotated[
        bool, typer.Option("--refusals", help="Refused requests instead (400, 401, 404), from the topic of failures")
    ] = False,
    done: Annotated[bool, typer.Option("--done", help="Those too that are done with")] = False,
    as_json: AsJson = False,
) -> None:
    """The command."""
    settings, chosen = load_settings(needs_database=False), _chosen(code, customer, since, until, offsets)
    if refusals:
        _run(listed_refusals(settings, chosen, as_json=as_json))
    _run(listed(settings, chosen, done=done, as_json=as_json))


@dlq.command("show", help=SHOW_HELP)
def show(
    places: Annotated[list[str], typer.Argument(help="Partition and offset, or offsets from-to", metavar="0/17...")],
    values: Annotated[bool, typer.Option("--values", help="Add key, headers and value: health data")] = False,
    as_json: AsJson = False,
) -> None:
    """The command."""
    settings, chosen = load_settings(needs_database=False), Chosen(offsets=_parse_offsets(places))
    _run(shown(settings, chosen, values=values, as_json=as_json))


@dlq.command("replay", help=REPLAY_HELP)
def replay(
    code: Code = None,
    customer: Customer = None,
    since: Since = None,
    until: Until = None,
    offsets: Offsets = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Publish nothing, say what each would become")] = False,
    rate: Annotated[float | None, typer.Option(min=0.01, help="Letters a second, at most", metavar="N")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file with the token that each letter shows, for AUTH=jwt", metavar="FILE")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The command."""
    settings, chosen = load_settings(needs_database=dry), _chosen(code, customer, since, until, offsets)
    token = _token(settings, token_file)
    if dry:
        _run(tried(settings, chosen, token, as_json=as_json))
    _run(moved(settings, chosen, replay=True, rate=rate, token=token, as_json=as_json))


@dlq.command("drop", help=DROP_HELP)
def drop(
    code: Code = None,
    customer: Customer = None,
    since: Since = None,
    until: Until = None,
    offsets: Offsets = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them, when nothing else says which")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else the letters that are meant are listed")] = False,
    as_json: AsJson = False,
) -> None:
    """The command."""
    settings, chosen = load_settings(needs_database=False), _chosen(code, customer, since, until, offsets)
    if chosen.all and not everything:
        raise typer.BadParameter("say which letters, or --all")
    if not yes:
        typer.echo("nothing is dropped without --yes; it would be:", err=True)
        _run(listed(settings, chosen, done=False, as_json=as_json))
    _run(moved(settings, chosen, replay=False, rate=None, token=None, as_json=as_json))


def _chosen(
    code: str | None, customer: str | None, since: str | None, until: str | None, offsets: list[str] | None
) -> Chosen:
    now = datetime.now(UTC)
    places = _parse_offsets(offsets) if offsets else None
    return Chosen(code, customer, parse_since(since, now), parse_since(until, now), places)


def _parse_offsets(texts: list[str]) -> dict[int, tuple[tuple[int, int], ...]]:
    found: dict[int, tuple[tuple[int, int], ...]] = {}
    for text in texts:
        match = _OFFSETS.fullmatch(text)
        if match is None or (match[3] and int(match[3]) < int(match[2])):
            raise typer.BadParameter("partition/offset or partition/from-to, as list prints them: 0/17 or 0/17-40")
        first = int(match[2])
        found[int(match[1])] = (*found.get(int(match[1]), ()), (first, int(match[3] or first)))
    return found


def _token(settings: Settings, file: Path | None) -> str | None:
    """Letters bear no token: with AUTH=jwt whoever publishes them again shows one."""
    if file is None and settings.auth == "jwt":
        raise typer.BadParameter("with AUTH=jwt letters need a token: --token-file")
    try:
        return None if file is None else read_token(file)
    except WrongUse as error:
        raise typer.BadParameter(str(error)) from None


def _run(work: Coroutine[Any, Any, int]) -> None:
    """Do this and nothing after it."""
    try:
        code = asyncio.run(work)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the lines has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        code = 130
    raise typer.Exit(code)
