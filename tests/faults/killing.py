"""The worker as a process that dies when it touches a record whose value says so: `python -m tests.faults.killing`."""

from __future__ import annotations

import os
import signal
from typing import Any

import app.consumer.intake
from app.cli import main
from app.model import Envelope, Record, Request
from app.usual import Usual

DEADLY = "kills every process"


at_once = Usual.request


def deadly(usual: Usual, record: Record, *more: Any) -> Request | Envelope | None:
    """The first look that is had at a record, unless it kills."""
    if record.value is not None and DEADLY.encode() in record.value:
        os.kill(os.getpid(), signal.SIGKILL)
    return at_once(usual, record, *more)


if __name__ == "__main__":
    Usual.request = deadly  # type: ignore[assignment, method-assign]
    app.consumer.intake.SESSION_MS = 6_000  # type: ignore[misc]  # the least that Kafka takes
    main()
