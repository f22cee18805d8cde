"""Runs cases on the servers that they need, with a live table."""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from devstack.servers import Servers, ServersError, servers
from devstack.servers.waiting import HOST
from tests.faults.conftest import GUARDED
from tests.faults.matrix.case import Case, Needs, Result, run
from tests.faults.matrix.proxy import Proxy
from tests.faults.matrix.report import cells, columns

AHEAD = {"log.message.timestamp.after.max.ms": str(24 * 3_600_000)}
"""By default Kafka refuses records whose clock is an hour ahead."""
AT_ONCE = {Needs.SHARED: 3, Needs.OWN: 1, Needs.PROXY: 1, Needs.THREE: 1}
"""Most of a case is waiting for sessions to time out."""


class Board:
    """The live table: one row a case."""

    def __init__(self, cases: Sequence[Case], seed: int) -> None:
        self._cases, self._seed = cases, seed
        self.began: dict[str, float] = {}
        self.results: dict[str, Result] = {}

    def __rich__(self) -> Table:
        table = Table(title=f"fault matrix, seed {self._seed}", title_justify="left")
        for name in ("", *columns()):
            table.add_column(name, justify="left" if name in ("", "fault") else "right", no_wrap=name in ("", "case"))
        for case in self._cases:
            if case.name in self.results:
                result = self.results[case.name]
                state = "-" if result.not_run else "[green]ok[/]" if result.clean else "[red]FAULT[/]"
                table.add_row(state, *cells(result))
            elif case.name in self.began:
                table.add_row(f"{time.monotonic() - self.began[case.name]:.0f} s", case.fault, case.name)
        return table


async def run_all(cases: Sequence[Case], seed: int) -> list[Result]:
    """Run these; their results in the same order."""
    board = Board(cases, seed)
    with Live(board, console=Console(stderr=True), refresh_per_second=1, transient=True, get_renderable=board.__rich__):
        await asyncio.gather(*(_run_group(board, needs, cases, seed) for needs in (Needs.SHARED, Needs.OWN)))
        for needs in (Needs.PROXY, Needs.THREE):  # more nodes beside the others would be too many
            await _run_group(board, needs, cases, seed)
    return [board.results[case.name] for case in cases]


async def _run_group(board: Board, needs: Needs, cases: Sequence[Case], seed: int) -> None:
    chosen = [case for case in cases if case.needs is needs]
    if not chosen:
        return
    try:
        async with serving(needs) as (found, between):
            room = asyncio.Semaphore(AT_ONCE[needs])
            with tempfile.TemporaryDirectory() as directory:
                where = Path(directory)
                await asyncio.gather(*(_run_one(board, case, found, seed, where, room, between) for case in chosen))
    except ServersError as error:
        for case in chosen:
            board.results.setdefault(case.name, Result(case, seed, 0, trouble=str(error)))


@asynccontextmanager
async def serving(needs: Needs) -> AsyncIterator[tuple[Servers, Proxy | None]]:
    """Such servers, and the proxy before Kafka if there is to be one."""
    between = Proxy(0, random.Random(0)) if needs is Needs.PROXY else None
    settings = {} if needs is Needs.THREE else dict(GUARDED)  # voters would have to be given rights before they vote
    settings |= AHEAD
    if between is not None:  # all clients follow the address that the broker gives
        settings["advertised.listeners"] = f"PLAINTEXT://{HOST}:{between.port}"
    starting = servers(kafka=settings, nodes=3 if needs is Needs.THREE else 1, say=lambda _: None)
    found = await asyncio.to_thread(starting.__enter__)
    try:
        if between is not None:
            between.target = int(found.kafka.rpartition(":")[2])
            await between.open()
        yield found, between
    finally:
        if between is not None:
            await between.close()
        await asyncio.to_thread(starting.__exit__, None, None, None)


async def _run_one(
    board: Board,
    case: Case,
    found: Servers,
    seed: int,
    directory: Path,
    room: asyncio.Semaphore,
    between: Proxy | None,
) -> None:
    async with room:
        board.began[case.name] = time.monotonic()
        try:
            result = await run(case, found, seed, directory, between)
        except Exception as error:  # noqa: BLE001 - the other cases go on, and the table shows it
            result = Result(case, seed, 0, trouble=f"{type(error).__name__}: {error}")
        board.results[case.name] = result


def show(results: Sequence[Result]) -> None:
    """The verdicts, for people."""
    seed = results[0].seed if results else 0
    board = Board([result.case for result in results], seed)
    board.results = {result.case.name: result for result in results}
    console = Console(width=None if sys.stdout.isatty() else 170)
    console.print(board)
    for result in results:
        for line in (result.trouble, result.not_run and f"not run: {result.not_run}"):
            if line:
                console.print(f"{result.case.name}: {line}", markup=False, highlight=False)
        for verdict in result.verdicts[:10]:
            console.print(f"{result.case.name}: {verdict.broken}: {verdict.about}", markup=False, highlight=False)
