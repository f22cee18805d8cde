"""The worker as a process of its own: the console script that users run, set up, started, watched and stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Final

from devstack.demo.errors import DemoError
from devstack.demo.interrupts import held_interrupts
from devstack.servers.cleanup import Cleanup
from devstack.servers.waiting import HOST, free_port

SETUP_LIMIT: Final = 90.0
READY_LIMIT: Final = 60.0
STOP_LIMIT: Final = 20.0
_LOOK_EVERY: Final = 0.05
_LAST_LINES: Final = 8


def program() -> Path:
    """The console script beside this interpreter."""
    found = Path(sys.executable).with_name("patient-upsert")
    if not found.exists():
        raise DemoError(f"{found} is not installed; run: make setup")
    return found


def set_up() -> list[str]:
    """Run `patient-upsert setup`; what it said."""
    process = None
    try:
        with held_interrupts():
            process = _start("setup", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said, complaint = process.communicate(timeout=SETUP_LIMIT)
    except subprocess.TimeoutExpired:
        raise DemoError(f"`patient-upsert setup` was not done after {SETUP_LIMIT:.0f} s") from None
    finally:
        if process is not None:
            process.kill()  # it has ended already, unless we were interrupted
            process.wait()
    if process.returncode:
        raise DemoError(f"`patient-upsert setup` ended with {process.returncode}\n{complaint.decode().strip()}")
    return said.decode().splitlines()


def _start(
    command: str, *, stdout: int | IO[bytes], stderr: int | IO[bytes], **settings: str
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [program(), command],
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,  # Ctrl-C in the terminal is for the demo, which then ends what it started
    )


class Worker:
    """`patient-upsert run` with the settings of this process's environment, on a free port."""

    def __init__(self, directory: Path, cleanup: Cleanup) -> None:
        self.log = directory / "worker.log"
        self.address = f"http://{HOST}:{(port := free_port())}"
        settings = {"PATIENT_UPSERT_HTTP_HOST": HOST, "PATIENT_UPSERT_HTTP_PORT": str(port)}
        with self.log.open("wb") as log, held_interrupts():
            self._process = _start("run", stdout=log, stderr=log, **settings)
            cleanup.process(self._process.pid, signal.SIGTERM)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Wait until /readyz says so."""
        deadline = time.monotonic() + READY_LIMIT
        while (missing := self._missing()) is not None:
            self.check()
            if time.monotonic() > deadline:
                raise DemoError(f"the worker was not ready after {READY_LIMIT:.0f} s: {missing}\n{self._last_lines()}")
            time.sleep(_LOOK_EVERY)

    def check(self) -> None:
        """Raise unless it runs."""
        if (code := self._process.poll()) is not None:
            raise DemoError(f"the worker ended by itself with {code}\n{self._last_lines()}")

    def stop(self) -> None:
        """Stop it as an operator would; it must end in order."""
        self.check()
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            raise DemoError(f"the worker did not stop within {STOP_LIMIT:.0f} s\n{self._last_lines()}") from None
        if code:
            raise DemoError(f"the worker ended with {code} after SIGTERM\n{self._last_lines()}")

    def collect(self) -> None:
        """After `Cleanup.close`: take note of the end, so that no zombie stays."""
        self._process.wait()

    def _missing(self) -> str | None:
        """What it waits for; None when it is ready."""
        try:
            with urllib.request.urlopen(f"{self.address}/readyz", timeout=5):  # noqa: S310 - always http
                return None
        except urllib.error.HTTPError as error:
            return json.dumps(json.load(error).get("waiting"))
        except OSError:
            return "its port is closed"

    def _last_lines(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
