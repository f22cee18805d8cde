"""A contestant as processes of its own: started, watched, stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.arena import Arena
from bench.errors import BenchError
from devstack.demo.interrupts import held_interrupts
from devstack.servers.cleanup import Cleanup
from devstack.servers.waiting import HOST, free_port

READY_LIMIT: Final = 60.0
STOP_LIMIT: Final = 30.0
_LAST_LINES: Final = 8

Command = Callable[[Path, int], Sequence[str | Path]]
"""Gives a command for a directory that is its own and a port that is free."""


@dataclass(slots=True)
class Process:
    """One that was started."""

    child: subprocess.Popen[bytes]
    log: Path
    port: int

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.child.pid

    def check(self) -> None:
        """Raise unless it runs."""
        if (code := self.child.poll()) is not None:
            raise BenchError(f"the contestant ended by itself with {code}\n{self.last_lines()}")

    def wait_until_ready(self) -> None:
        """Wait until its /readyz says so."""
        deadline = time.monotonic() + READY_LIMIT
        while not self._ready():
            self.check()
            if time.monotonic() > deadline:
                raise BenchError(f"the worker was not ready after {READY_LIMIT:.0f} s\n{self.last_lines()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it in order."""
        self.check()
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            raise BenchError(f"the contestant did not stop within {STOP_LIMIT:.0f} s\n{self.last_lines()}") from None

    def last_lines(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:])[-1000:]

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}/readyz", timeout=5):
                return True
        except (urllib.error.HTTPError, OSError):
            return False


@contextmanager
def running(arena: Arena, command: Command) -> Iterator[Process]:
    """This command at work in the arena; gone afterwards, also when the bench itself is killed."""
    cleanup, child = Cleanup(), None
    try:
        with held_interrupts():
            directory = Path(tempfile.mkdtemp(prefix="patient-upsert-bench-")).resolve()
            cleanup.directory(directory)
        port = free_port()
        address = {"PATIENT_UPSERT_HTTP_HOST": HOST, "PATIENT_UPSERT_HTTP_PORT": str(port)}
        log = directory / "log"
        with log.open("wb") as file, held_interrupts():
            child = subprocess.Popen(
                command(directory, port),
                env=arena.environment(**address),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,  # Ctrl-C in the terminal is for the bench, which then ends what it started
            )
            cleanup.process(child.pid, signal.SIGTERM)
        yield Process(child, log, port)
    finally:
        cleanup.close()
        if child is not None:
            child.wait()


def ours(workers: int = 1) -> Command:
    """The worker as users run it."""
    script = Path(sys.executable).with_name("patient-upsert")
    return lambda _directory, _port: [script, "run", *(["--workers", str(workers)] if workers > 1 else [])]


def removing() -> Command:
    """The same, but that it removes old answers all the time."""
    return lambda _directory, _port: [sys.executable, "-m", "bench.removing"]


def naive() -> Command:
    """The handler of FastStream's tutorial."""
    return lambda _directory, _port: [sys.executable, "-m", "bench.naive"]
