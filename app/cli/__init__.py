"""The command line: `patient-upsert`. Exit codes: 0 done, 1 the work failed, 2 wrong use or settings."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from app.cli.contracts import contracts
from app.cli.dlq import dlq
from app.cli.doctor import HELP as DOCTOR_HELP
from app.cli.doctor import doctor
from app.cli.plain import as_text
from app.cli.run import HELP as RUN_HELP
from app.cli.run import run
from app.cli.send import HELP as SEND_HELP
from app.cli.send import send
from app.cli.setup import HELP as SETUP_HELP
from app.cli.setup import setup
from app.cli.watch import HELP as WATCH_HELP
from app.cli.watch import watch
from app.errors import WorkerError
from app.settings import SettingsError
from app.telemetry import configure_logging

app = typer.Typer(
    name="patient-upsert",
    help="Create or update the patient of a customer from Kafka events: one effect and one answer per request.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("setup", help=SETUP_HELP)(setup)
app.command("run", help=RUN_HELP)(run)
app.command("send", help=SEND_HELP)(send)
app.command("watch", help=WATCH_HELP)(watch)
app.command("doctor", help=DOCTOR_HELP)(doctor)
app.add_typer(dlq, name="dlq")
app.add_typer(contracts, name="contracts")


def main() -> None:
    """The console script. What a person can mend is said in a line each, never with a traceback."""
    configure_logging("console", "error")
    errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    try:
        app()
    except SettingsError as error:
        for line in error.lines:
            errors.print(line)
        sys.exit(2)
    except WorkerError as error:
        errors.print(as_text(str(error)).decode())
        sys.exit(1)
