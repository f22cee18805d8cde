"""One server run as a child process, and the hold over it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from .cleanup import Cleanup
from .model import ServersError
from .reaper import alive, family, send
from .waiting import Starting, run, until

Command = Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class User:
    """Whom a server runs as, when not as ourselves."""

    uid: int
    gid: int


def _nothing() -> None:
    pass


@dataclass(slots=True)
class LocalServer:
    """Name, command and ways to end one server; `Control` and a start that can go on beside others."""

    name: str
    command: Command
    home: Path  # working directory and HOME
    log: Path
    cleanup: Cleanup
    ready: Callable[[], bool]
    stop_signal: signal.Signals = signal.SIGTERM  # an orderly end
    discard_signal: signal.Signals = signal.SIGKILL  # an end after which the data are thrown away
    after_kill: Callable[[], None] = _nothing  # removes what a crash leaves outside `home`
    user: User | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def preparing(self, command: Command) -> Starting:
        """Run a command that prepares the server, to its end."""
        process = self._spawn(command)
        yield from until(lambda: process.poll() is not None, lambda: self._late("become prepared"))
        if process.returncode:
            raise ServersError(f"{self.name} could not be prepared: {self._last_words()}")

    def starting(self) -> Starting:
        process = self._process = self._spawn(self.command)

        def ready() -> bool:
            if process.poll() is not None:
                raise ServersError(f"{self.name} ended while it started: {self._last_words()}")
            return self.ready()

        yield from until(ready, lambda: self._late("answer"))

    def start(self) -> None:
        run(self.starting())

    @property
    def pid(self) -> int:
        """Of the process at the head of its family."""
        return self._running().pid

    def stop(self) -> None:
        process = self._running()
        process.send_signal(self.stop_signal)
        run(until(lambda: process.poll() is not None, lambda: self._late("stop")))

    def kill(self) -> None:
        process, members = self._running(), self._family()
        for member in members:
            send(member, signal.SIGKILL)
        process.wait()
        run(until(lambda: not any(map(alive, members)), lambda: self._late("die")))
        self.after_kill()

    def pause(self) -> None:
        for member in self._family():
            send(member, signal.SIGSTOP)

    def resume(self) -> None:
        for member in self._family():
            send(member, signal.SIGCONT)

    def collect(self) -> None:
        """After `Cleanup.close`: take note of the end, so that no zombie stays."""
        if self._process is not None:
            self._process.wait()

    def _spawn(self, command: Command) -> subprocess.Popen[bytes]:
        try:
            with self.log.open("ab") as log:
                process = subprocess.Popen(
                    command,
                    cwd=self.home,
                    # An environment of its own: a PGPORT or JAVA_TOOL_OPTIONS of the shell must not reach it.
                    env={"PATH": os.defpath, "LC_ALL": "C", "HOME": str(self.home)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C in the terminal is for us, not for the servers
                    user=self.user.uid if self.user else None,
                    group=self.user.gid if self.user else None,
                    extra_groups=[] if self.user else None,
                )
        except OSError as error:
            raise ServersError(f"{self.name} could not be started: {error}") from error
        self.cleanup.process(process.pid, self.discard_signal)
        return process

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise ServersError(f"{self.name} is not running")
        return self._process

    def _family(self) -> list[psutil.Process]:
        return family(psutil.Process(self._running().pid))

    def _late(self, what: str) -> str:
        return f"{self.name} did not {what} in time: {self._last_words()}"

    def _last_words(self) -> str:
        """The end of the log on one line and without stack frames; the log itself goes with the data."""
        lines = self.log.read_text(errors="replace").splitlines()
        telling = [line.strip() for line in lines if line.strip() and not line.startswith("\tat ")]
        return " | ".join(telling[-4:])[-1000:] or "its log is empty"
