"""One file from its first line to the last answer: progress bar, progress file, table and report."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from app.cli.send import resume
from app.cli.send.bar import Bar
from app.cli.send.exchange import Exchange
from app.cli.send.ids import SOURCE, Naming
from app.cli.send.pace import Pace
from app.cli.send.report import write_report
from app.cli.send.source import Source
from app.cli.send.tally import Tally
from app.cli.send.wrong import WrongUse
from app.cli.stopping import Signals
from app.consumer.requester import open_requester
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Options:
    """How files are sent. `patience` is None when answers are not awaited."""

    patience: float | None
    rate: float | None
    restart: bool
    report: Path | None
    name: str | None
    token: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class Stopping(Signals):
    """The work is an exchange, which is told to stop; where there is none yet, the first of them ends it at once."""

    _exchange: Exchange | None = None

    @contextlib.contextmanager
    def stopping(self, exchange: Exchange) -> Iterator[None]:
        """Whatever comes within stops this exchange."""
        self._exchange = exchange
        try:
            yield
        finally:
            self._exchange = None

    def _receive(self, number: int) -> None:
        if self.received is not None or self._exchange is None:
            raise KeyboardInterrupt
        self.received = number
        self._exchange.stop()


@dataclass(slots=True)
class Job:
    """A file to send, and what is known of it beforehand. `total` is None for what can be read once only."""

    source: Source
    naming: Naming
    total: int | None
    keeper: resume.Keeper
    stamp: tuple[int, int] | None
    tally: Tally = field(default_factory=Tally)

    @property
    def behind(self) -> int:
        """The line up to which an earlier run sent everything."""
        return self.keeper.progress.line


def prepare(source: Source, settings: Settings, options: Options, console: Console) -> Job:
    """Look through the file, so that what is wrong with it as a whole is said before anything is sent.

    Raises:
        WrongUse: it cannot be read.
    """
    stamp, total = stamp_of(source), source.count()
    if source.path is None:
        return Job(
            source,
            naming_of(source, options.name, token=options.token),
            total,
            resume.Keeper(None, resume.Progress("")),
            stamp,
        )
    target = f"{source.digest()}\n{options.name}\n{settings.kafka_bootstrap_servers}\n{settings.request_topic}"
    digest = hashlib.sha256(target.encode()).hexdigest()
    naming = naming_of(source, options.name, f"{SOURCE}/{digest[:16]}", options.token)
    path = resume.path_of(source.path)
    kept = resume.load(path)
    if kept is not None and options.restart:
        path.unlink()
        kept = None
    elif kept is not None and kept.digest != digest:
        say(console, f"{source.name}: is not what was sent before, or goes elsewhere: starts from the beginning")
        kept = None
    elif kept is not None:
        say(console, f"{source.name}: goes on behind line {kept.line}; --restart begins anew")
    return Job(source, naming, total, resume.Keeper(path, kept or resume.Progress(digest)), stamp)


def stamp_of(source: Source) -> tuple[int, int] | None:
    """Changes when the file does."""
    if source.path is None:
        return None
    found = source.path.stat()
    return found.st_size, found.st_mtime_ns


def naming_of(source: Source, name: str | None, trail: str | None = None, token: str | None = None) -> Naming:
    """Under which ids the requests of this file are sent."""
    own = source.path.name if source.path is not None else None
    return Naming(name or own, trail, renamed=name is not None, token=token)


async def send_all(settings: Settings, jobs: Sequence[Job], options: Options, console: Console) -> int:
    """Send one file after the other, and give the exit code."""
    signals = Stopping()
    codes = []
    with signals.caught():
        for job in jobs:
            if len(jobs) > 1:
                say(console, f"{job.source.name}:")
            codes.append(await _send(settings, job, options, console, signals))
            if signals.received is not None:
                return 128 + signals.received
    return max(codes, default=0)


async def _send(settings: Settings, job: Job, options: Options, console: Console, signals: Stopping) -> int:
    bar = Bar(job.total, console, awaits=options.patience is not None)
    since = job.keeper.progress.heard_from

    def moved(exchange: Exchange) -> None:
        job.keeper.tick(time.monotonic())
        bar.show(exchange)

    async with open_requester(settings, listen=options.patience is not None, since=since) as requester:
        if not job.behind and requester.listens:
            job.keeper.progress.heard_from = requester.heard_from
        exchange = Exchange(
            requester,
            job.naming,
            job.tally,
            patience=options.patience or 0,
            acknowledged=lambda line: job.keeper.acknowledged(line, time.monotonic()),
            moved=moved,
            pace=Pace(options.rate),
        )
        try:
            with bar, signals.stopping(exchange):
                await exchange.run(job.source.items(), behind=job.behind, rereads=since is not None)
        finally:
            if not exchange.finished:
                job.keeper.keep()
    return _conclude(job, exchange, options, console, bar.seconds)


def _conclude(job: Job, exchange: Exchange, options: Options, console: Console, seconds: float) -> int:
    """Say what came of it; the exit code, but for signals."""
    if job.keeper.failed:
        say(console, f"{job.source.name}: how far it was sent could not be written down beside it")
    if not exchange.finished:
        say(console, _interrupted(job, exchange, options.patience))
        return 1
    if job.tally.counts:
        job.tally.show(console)
    done, what = (exchange.sent, "sent") if options.patience is None else (exchange.answered, "answered")
    say(console, f"{done} {what} in {seconds:.1f} s, {done / max(seconds, 0.001):.0f} a second")
    if job.tally.repeated:
        known = f"{job.tally.repeated} of these were known, and got their first answer again"
        say(console, f"{known}; with --name they would be new requests")
    if job.tally.refused and job.source.path is not None:
        _report(job, options.report, console)
    if exchange.missing and job.keeper.path is not None:
        job.keeper.keep()
        say(console, "the same command awaits the missing answers again; --restart sends everything again")
    else:
        job.keeper.forget()
    return 0 if job.tally.all_good else 1


def _interrupted(job: Job, exchange: Exchange, patience: float | None) -> str:
    why = "stopped" if exchange.stopped else f"no answer for {patience:g} s, stopped"
    told = f"{why} behind line {job.behind}: {exchange.sent} sent"
    told += "" if patience is None else f", {exchange.answered} answered"
    if job.keeper.path is None or job.keeper.failed or not job.behind:
        return told
    return f"{told}; the same command goes on from here"


def _report(job: Job, wanted: Path | None, console: Console) -> None:
    lines = len(job.tally.refused)
    if job.stamp != stamp_of(job.source):
        say(console, f"{job.source.name} changed meanwhile: there is no report of the {lines} lines without a 200")
        return
    try:
        path = write_report(job.source, job.tally.refused, job.naming.name or "", wanted)
    except WrongUse as error:
        say(console, str(error))
        return
    say(console, f"{path}: the {lines} lines without a 200, to be corrected and sent; it holds health data")


def say(console: Console, text: str) -> None:
    """One line, however long."""
    console.print(text, soft_wrap=True)
