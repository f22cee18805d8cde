"""Several workers under one parent: started and stopped together, and none outlives another or the parent."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Final

_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)
_HEEDED: Final = {*_STOPPING, signal.SIGCHLD}
_KILLED: Final = 128
"""Added to the number of the signal that ended a process, as shells do."""


@dataclass(frozen=True, slots=True)
class Child:
    """What a child knows of itself: its number from 0, and a descriptor that ends when the parent does."""

    number: int
    parent: int


@dataclass(frozen=True, slots=True)
class Children:
    """What the parent knows: the process ids, and the descriptor that the children watch."""

    pids: frozenset[int]
    watched: int

    def awaited(self) -> int:
        """Pass SIGTERM and SIGINT on as SIGTERM until all have ended; when one ends untold, stop the others too.

        Whoever supervises this process then sees the failure, and starts all of them again.

        Returns:
            0 when all ended in order after they were told to, else the first other code. A child that ends untold is a
            failure whatever its code, and one that a signal has ended counts as 128 and its number.
        """
        left, code, stopping = set(self.pids), 0, False
        while left:
            number = signal.sigwait(_HEEDED)
            ended = _ended(left)
            left -= ended.keys()
            for status in ended.values():
                code = code or _code(status, told=stopping)
            if not stopping and (number in _STOPPING or ended):
                stopping = True
                for pid in left:
                    os.kill(pid, signal.SIGTERM)
        return code


def split(count: int) -> Child | Children:
    """Go on as so many children and as their parent, whose signals are held for `Children.awaited`.

    By fork, so that the modules are loaded once and their memory is shared. Threads and event loops must not run yet.
    """
    signal.signal(signal.SIGCHLD, lambda *_: None)  # ignored by default: not every system would keep it for sigwait
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEEDED)
    reading, writing = os.pipe()
    pids = set()
    for number in range(count):
        if not (pid := os.fork()):
            os.close(writing)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return Child(number, reading)
        pids.add(pid)
    os.close(reading)
    return Children(frozenset(pids), writing)


def _ended(pids: set[int]) -> dict[int, int]:
    """Those that have ended, each with its exit code, or with the negative number of the signal that ended it."""
    found = {}
    for pid in pids:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            found[pid] = os.waitstatus_to_exitcode(status)
    return found


def _code(status: int, *, told: bool) -> int:
    if told and status == -signal.SIGTERM:  # it was told before it could listen
        return 0
    if status < 0:
        return _KILLED - status
    return status if told else status or 1
