"""The command: everything from nothing to the closing line, and back to nothing."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Final

import asyncpg
import typer
from aiokafka.errors import KafkaError
from rich.console import Console

from app.errors import WorkerError
from app.settings import SettingsError, load_settings
from app.telemetry import configure_logging
from devstack.demo.errors import DemoError
from devstack.demo.exchange import Exchange, exchange
from devstack.demo.interrupts import held_interrupts, ignore_interrupts, raise_interrupts, run_interruptible
from devstack.demo.place import place
from devstack.demo.sample import Sample, read_sample
from devstack.demo.show import show_answers, show_next, show_rows
from devstack.demo.verdict import mismatches, tally
from devstack.demo.worker import Worker, set_up
from devstack.servers import ServersError, servers
from devstack.servers.cleanup import Cleanup

HELP: Final = """Start real Kafka and Postgres and the worker, send devstack/sample/*.jsonl, and show what comes back.

Exits with 0 only when every request got its one expected answer. SERVERS=embedded (default), docker or env says which
servers; nothing of the demo stays on them.

Example: python -m devstack.demo --keep
"""
INTERRUPTED: Final = 130
_EXPLAINED: Final = (DemoError, ServersError, SettingsError, WorkerError, OSError, asyncpg.PostgresError, KafkaError)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command(help=HELP)
def main(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave all up until Ctrl-C, and print what to type next")
    ] = False,
    rows: Annotated[bool, typer.Option("--rows", help="Only show the rows of the database in the environment")] = False,
) -> None:
    """The command."""
    configure_logging("console", "error")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal can show every script
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    raise_interrupts()
    try:
        if rows:
            show_rows(console, load_settings())
            return
        good = _demo(console, keep=keep)
    except KeyboardInterrupt:
        errors.print("demo: interrupted; nothing of it is left")
        raise typer.Exit(INTERRUPTED) from None
    except _EXPLAINED as error:
        errors.print(f"demo: {error}")
        raise typer.Exit(1) from None
    raise typer.Exit(0 if good else 1)


def _demo(console: Console, *, keep: bool) -> bool:
    """From servers to the closing line; whether it is true and every answer the expected one."""
    samples = read_sample()
    say = _Clock(console)
    with servers(durable=True, say=say) as found, place(found, say) as exports:
        try:
            say(f"Kafka is at {found.kafka}, Postgres is up ({found.kind})")
            for line in set_up():
                say(f"setup: {line}")
            with _worker() as worker:
                worker.wait_until_ready()
                say(f"the worker is ready: process {worker.pid}, {worker.address}/readyz")
                requests = [sample.request for sample in samples]
                result = run_interruptible(lambda: exchange(load_settings(), requests, console, worker.check))
                _show(console, samples, result)
                if not keep:
                    stopped = _stop(worker, say)
                    return _conclude(console, samples, result) and stopped
                good = _conclude(console, samples, result)
                show_next(console, worker, exports)
                _stay(worker)
                return _stop(worker, say) and good
        finally:
            ignore_interrupts()


class _Clock:
    """Prints lines of progress with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        self._console, self._start = console, time.monotonic()

    def __call__(self, text: str) -> None:
        self._console.print(f"{time.monotonic() - self._start:5.1f} s  {text}", soft_wrap=True, markup=False)


@contextmanager
def _worker() -> Iterator[Worker]:
    """The worker, and a directory for its log; both are gone afterwards, even when this process is killed."""
    cleanup, started = Cleanup(), None
    try:
        with held_interrupts():
            directory = Path(tempfile.mkdtemp(prefix="patient-upsert-demo-")).resolve()
            cleanup.directory(directory)
        started = Worker(directory, cleanup)
        yield started
    finally:
        ignore_interrupts()
        cleanup.close()
        if started is not None:
            started.collect()


def _show(console: Console, samples: list[Sample], result: Exchange) -> None:
    console.print()
    show_answers(console, samples, result.sent, result.answers)
    console.print()
    show_rows(console, load_settings())


def _conclude(console: Console, samples: list[Sample], result: Exchange) -> bool:
    """Print what is not as expected and then the closing line; whether all is well."""
    unexpected = mismatches(samples, result.sent, result.answers)
    for line in unexpected:
        console.print(line, soft_wrap=True, markup=False, style="red")
    counted = tally(result.sent, result.answers)
    good = counted.holds and not unexpected
    console.print(str(counted), soft_wrap=True, markup=False, style="bold green" if good else "bold red")
    return good


def _stay(worker: Worker) -> None:
    """Keep all up until Ctrl-C, which is an orderly end here."""
    try:
        while True:
            worker.check()
            time.sleep(0.2)
    except KeyboardInterrupt:
        return


def _stop(worker: Worker, say: _Clock) -> bool:
    """Stop the worker; whether it ended in order."""
    try:
        worker.stop()
    except DemoError as error:
        say(str(error))
        return False
    say("the worker has stopped in order")
    return True
