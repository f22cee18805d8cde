"""`python -m bench`: everything from nothing to the closing table, and back to nothing."""

from __future__ import annotations

import platform
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import asyncpg
import psutil
import typer
from confluent_kafka import KafkaException
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.errors import WorkerError
from app.telemetry import configure_logging
from bench.arena import Ground
from bench.cost import server_pids
from bench.errors import BenchError
from bench.measured import Results
from bench.plots import draw
from bench.report import read, show, write
from bench.rounds import QUICK, USUAL, Bench, Sizes, full, with_peers
from devstack.demo.interrupts import ignore_interrupts, raise_interrupts
from devstack.servers import Servers, ServersError, servers

ROOT: Final = Path(__file__).parents[1]
HELP: Final = """Measure the worker next to others on the same real Kafka and Postgres, in one run.

The whole takes a quarter of an hour. What is measured and how is in docs/performance.md.

Example: python -m bench --quick
"""
INTERRUPTED: Final = 130
WIDTH: Final = 140
"""Of the tables where there is no terminal."""
_EXPLAINED: Final = (BenchError, ServersError, WorkerError, OSError, asyncpg.PostgresError, KafkaException)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command(help=HELP)
def main(
    quick: Annotated[bool, typer.Option("--quick", help="Three minutes: fewer rounds, smaller loads")] = False,
    everything: Annotated[
        bool, typer.Option("--full", help="Also a backlog of 1,000,000 and a table of 10,000,000")
    ] = False,
    peers: Annotated[bool, typer.Option("--peers", help="Also Debezium's JDBC sink; fetches 100 MB once")] = False,
    scale: Annotated[float, typer.Option(help="Multiply every count by this", min=0.0001, max=100)] = 1.0,
    out: Annotated[
        Path | None,
        typer.Option(help="Write results, page and plots here; by default bench/ and docs/ when not --quick"),
    ] = None,
    again: Annotated[
        Path | None, typer.Option("--from", help="Measure nothing: tables, page and plots of this results.json")
    ] = None,
) -> None:
    """The command."""
    configure_logging("console", "error")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    sizes = QUICK if quick else USUAL
    sizes = full(sizes) if everything else sizes
    sizes = (with_peers(sizes) if peers else sizes).scaled(scale)
    raise_interrupts()
    try:
        results = read(again) if again else _measured(sizes, _options(quick, everything, peers, scale), console)
    except KeyboardInterrupt:
        errors.print("bench: interrupted; nothing of it is left")
        raise typer.Exit(INTERRUPTED) from None
    except _EXPLAINED as error:
        errors.print(f"bench: {error}")
        raise typer.Exit(1) from None
    show(console, results)
    usual = out is None and not quick and scale == 1.0
    folder = out or (ROOT / "bench" if usual else ROOT / "build" / "bench")
    pages = ROOT / "docs" if usual else folder
    write(results, folder, pages / "performance.md")
    draw(results, pages / "plots")
    console.print(f"written: {folder / 'results.json'}, {pages / 'performance.md'}, {pages / 'plots'}", soft_wrap=True)


def _options(quick: bool, everything: bool, peers: bool, scale: float) -> dict[str, str]:
    chosen = {"--quick": quick, "--full": everything, "--peers": peers, f"--scale {scale:g}": scale != 1.0}
    return {"command": " ".join(["python -m bench", *(name for name, given in chosen.items() if given)])}


def _measured(sizes: Sizes, options: dict[str, str], console: Console) -> Results:
    """Servers, all steps, and the servers gone again."""
    began = time.monotonic()
    with servers(durable=True, full_jvm=True, say=lambda text: console.print(text, markup=False)) as found:
        results = Results(_machine(found), options)
        ground = Ground(found)
        try:
            _run(Bench(ground, server_pids(found), sizes, results), console)
        finally:
            ignore_interrupts()
            if found.kind == "env":
                ground.close()
    results.options["took"] = f"{(time.monotonic() - began) / 60:.0f} min"
    return results


def _run(bench: Bench, console: Console) -> None:
    steps = list(bench.steps())
    columns = (
        TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[said]}"),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=len(steps), said="")
        for step in steps:
            bar.update(task, description=step.name, said="")
            before = len(bench.results.runs), len(bench.results.latencies)
            step.do(lambda text: bar.update(task, said=text))
            for run in bench.results.runs[before[0] :]:
                console.print(f"{run.contestant}, {run.load}, round {run.round}: {run.rate:,.0f}/s", markup=False)
            for one in bench.results.latencies[before[1] :]:
                told = f"p50 {one.p50:,.1f} ms, p99 {one.p99:,.1f} ms"
                console.print(f"{one.contestant}, {one.level}, round {one.round}: {told}", markup=False)
            bar.advance(task)


def _machine(found: Servers) -> dict[str, str]:
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{psutil.cpu_count()} processors, {psutil.virtual_memory().total / 2**30:.0f} GB, {_processor()}",
        "system": f"{platform.system()} {platform.machine()}",
        "versions": f"worker {version('patient-upsert')}, Python {platform.python_version()}, "
        f"PostgreSQL {found.postgres_version or 'of the environment'} (fsync on), Kafka 4.3.1 ({found.kind})",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


if __name__ == "__main__":
    sys.exit(app())
