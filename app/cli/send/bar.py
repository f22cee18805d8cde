"""The progress bar of a file."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.cli.send.exchange import Exchange


class Bar:
    """The progress bar, and how long it took."""

    def __init__(self, total: int | None, console: Console, *, awaits: bool) -> None:
        self.seconds = 0.0
        self._bar = Progress(
            TextColumn("{task.description:8}"),
            BarColumn(30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._sending = self._bar.add_task("sent", total=total, rate="")
        self._answering = self._bar.add_task("answered", total=total, rate="") if awaits else None

    def __enter__(self) -> None:
        self._began = time.monotonic()
        self._bar.start()

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._began
        self._bar.stop()

    def show(self, exchange: Exchange) -> None:
        """What the exchange has come to."""
        seconds = max(time.monotonic() - self._began, 0.001)
        self._bar.update(self._sending, completed=exchange.passed, rate=f"{exchange.sent / seconds:.0f}/s")
        if self._answering is not None:
            answered, rate = exchange.answered + exchange.answered_before, f"{exchange.answered / seconds:.0f}/s"
            self._bar.update(self._answering, completed=answered, rate=rate)
