"""Runs cases on the servers that they need, with a live table."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from devstack.servers import Servers, servers
from tests.faults.conftest import GUARDED
from tests.faults.matrix.case import Case, Needs, Result, run
from tests.faults.matrix.report import cells, columns

AT_ONCE = {Needs.SHARED: 3, Needs.OWN: 1, Needs.THREE: 1}
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
        await _run_group(board, Needs.THREE, cases, seed)  # last: three more nodes beside the others are too many
    return [board.results[case.name] for case in cases]


async def _run_group(board: Board, needs: Needs, cases: Sequence[Case], seed: int) -> None:
    chosen = [case for case in cases if case.needs is needs]
    if not chosen:
        return
    starting = servers(kafka=GUARDED, nodes=3 if needs is Needs.THREE else 1, say=lambda _: None)
    found = await asyncio.to_thread(starting.__enter__)
    room = asyncio.Semaphore(AT_ONCE[needs])
    try:
        with tempfile.TemporaryDirectory() as directory:
            await asyncio.gather(*(_run_one(board, case, found, seed, Path(directory), room) for case in chosen))
    finally:
        await asyncio.to_thread(starting.__exit__, None, None, None)


async def _run_one(
    board: Board, case: Case, found: Servers, seed: int, directory: Path, room: asyncio.Semaphore
) -> None:
    async with room:
        board.began[case.name] = time.monotonic()
        try:
            result = await run(case, found, seed, directory)
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
