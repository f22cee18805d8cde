"""The promise that nothing stays behind: our end of the pipe to the reaper."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from . import reaper
from .model import ServersError


class Cleanup:
    """Tell it of a thing before the thing exists, or at once after. What it was told of is gone after `close`.

    When this process dies without `close`, however it dies, the reaper sees the end of the pipe and does the same.
    """

    def __init__(self) -> None:
        self._reaper = subprocess.Popen(
            [sys.executable, "-P", reaper.__file__],  # -P: our module names must not shadow installed ones
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal must not reach it
        )

    def directory(self, path: Path) -> None:
        """Remove this directory."""
        self._tell(f"directory {path}")

    def process(self, pid: int, stop: signal.Signals) -> None:
        """End this process and its children: with `stop`, and if that is not enough with SIGKILL."""
        self._tell(f"process {pid} {int(stop)}")

    def containers(self, label: str) -> None:
        """Remove the containers and networks with this value of our label, and the containers' volumes."""
        self._tell(f"containers {label}")

    def close(self) -> None:
        """Have it all removed now."""
        _, complaint = self._reaper.communicate()
        if self._reaper.returncode:
            last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
            raise ServersError(f"the servers could not be cleaned up: {last}")

    def _tell(self, line: str) -> None:
        assert self._reaper.stdin is not None
        self._reaper.stdin.write(f"{line}\n".encode())
        self._reaper.stdin.flush()
