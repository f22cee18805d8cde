"""`patient-upsert send`: publish requests, await and show the answers."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from app.cli.lines import NotSendable
from app.cli.plain import as_text
from app.cli.send.bulk import Options, naming_of, prepare, send_all
from app.cli.send.csv_rows import CsvOptions, parse_delimiter, parse_mapping
from app.cli.send.dry_run import dry_run, rules
from app.cli.send.source import Source, open_source
from app.cli.send.wrong import WrongUse
from app.envelope import is_identifier
from app.settings import load_settings

HELP: Final = """Publish requests from files of CSV, JSON or JSON Lines, and show the answers.

In JSON a request is the REST body, a CloudEvent, or a whole record as {"record": {"key", "headers", "value"}}. \
In CSV the columns are named like the fields of the body; those that begin with _ are left out.

A line has an id made of file name, line and content, unless it brings one: sent again it changes nothing, corrected \
it is a new request. A file that was stopped, as by Ctrl-C, is gone on with by the same command. Lines that get no 200 \
are written to a report beside the file, to be corrected and sent.

Exits with 1 when an answer is not 200, or does not come, with 2 when nothing could be begun.

Example: patient-upsert send requests.jsonl

Example: patient-upsert send patients.csv --map Vorname=firstName --dry-run

Example: echo '{"customer": "cus_1", ...}' | patient-upsert send -
"""


class Form(StrEnum):
    """`--format`."""

    CSV = "csv"
    JSON = "json"


class Empty(StrEnum):
    """`--empty`."""

    KEEP = "keep"
    CLEAR = "clear"


def send(
    files: Annotated[list[str], typer.Argument(help="Files to send; - is standard input", metavar="FILE...")],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Whether to wait for the answers")] = True,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds without any new answer after which to give up")] = 30,
    dry: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Send nothing: list every fault with its line, without Kafka. Whether customers and patients are "
            "known cannot be told so",
        ),
    ] = False,
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="Requests a second, at most, evenly spread", metavar="N")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin a file anew that was stopped")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Where to write the lines without a 200, instead of beside the file")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What ids begin with instead of the file's name: another name, other requests")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file with the token that each request shows, for AUTH=jwt", metavar="FILE")
    ] = None,
    form: Annotated[
        Form | None, typer.Option("--format", help="What the files are; else .csv and .tsv are CSV, all others JSON")
    ] = None,
    mapping: Annotated[
        list[str] | None, typer.Option("--map", help="CSV: the field that a column is", metavar="COLUMN=FIELD")
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="CSV: what is between cells; else that of , ; and tab which the header has")
    ] = None,
    empty: Annotated[
        Empty, typer.Option(help="CSV: what an empty cell does to a field that may be left out")
    ] = Empty.KEEP,
    id_column: Annotated[
        str | None, typer.Option(help="CSV: the column of ids, each counting for its customer", metavar="COLUMN")
    ] = None,
) -> None:
    """The command."""
    try:
        token = read_token(token_file) if token_file is not None else None
        options = Options(timeout if wait else None, rate, restart, report, name, token)
        read = CsvOptions(parse_mapping(mapping or []), parse_delimiter(delimiter), empty is Empty.CLEAR, id_column)
        sources = [open_source(file, form.value if form else None, read) for file in files]
        _fit_together(sources, options)
        code = _dry(sources, options) if dry else _send(sources, options)
    except WrongUse as error:
        Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(as_text(str(error)).decode())
        code = 2
    except KeyboardInterrupt:
        sys.stdout.flush()
        typer.echo("stopped", err=True)
        code = 128 + signal.SIGINT
    raise typer.Exit(code)


def read_token(file: Path) -> str:
    """The token in this file. Raises WrongUse when there is none; nothing of it is ever shown."""
    try:
        words = file.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        raise WrongUse(f"{file}: the token cannot be read") from None
    if len(words) == 2 and words[0].lower() == "bearer":
        del words[0]
    if len(words) != 1:
        raise WrongUse(f"{file}: must hold one token and nothing else")
    return words[0]


def _fit_together(sources: Sequence[Source], options: Options) -> None:
    if len(sources) > 1 and (options.report or options.name):
        raise WrongUse("--report and --name are for one file")
    if options.name is not None and not is_identifier(options.name):
        raise WrongUse("--name must be 1 to 255 bytes of UTF-8 without control characters")
    if options.report is not None and sources[0].path is None:
        raise WrongUse("--report needs a file: what is read once only cannot be looked up again")
    if options.report is not None and options.report.exists():
        raise WrongUse(f"{options.report}: is there already, and may be being corrected; name another, or remove it")


def _dry(sources: Sequence[Source], options: Options) -> int:
    settings = rules()
    return 0 if dry_run([(source, naming_of(source, options.name)) for source in sources], settings) else 1


def _send(sources: Sequence[Source], options: Options) -> int:
    console = Console(highlight=False, markup=False)
    settings = load_settings(needs_database=False)
    jobs = [prepare(source, settings, options, console) for source in sources]
    if not any(job.total is None or job.total for job in jobs):
        raise NotSendable(", ".join(source.name for source in sources), "there is nothing to send")
    return asyncio.run(send_all(settings, jobs, options, console))
