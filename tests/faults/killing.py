"""The worker as a process that dies when it touches a record whose value says so: `python -m tests.faults.killing`."""

from __future__ import annotations

import os
import signal
from typing import Any

import app.consumer.intake
import app.pipeline as pipeline
from app.cli import main
from app.envelope import open_envelope
from app.model import Envelope, Record

DEADLY = "kills every process"


def deadly(record: Record, **arguments: Any) -> Envelope:
    """Open the record, unless it kills."""
    if record.value is not None and DEADLY.encode() in record.value:
        os.kill(os.getpid(), signal.SIGKILL)
    return open_envelope(record, **arguments)


if __name__ == "__main__":
    pipeline.__dict__["open_envelope"] = deadly
    app.consumer.intake.SESSION_MS = 6_000  # type: ignore[misc]  # the least that Kafka takes
    main()
