"""`patient-upsert` as a process that dies within a replay: `python -m tests.faults.killing_replays STEP dlq replay …`.

STEP names what the second transaction does not come to: `send_offsets`, `commit`, or `end`, which is after it.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from aiokafka import AIOKafkaProducer

from app.cli import main
from app.cli.dlq import work

STEPS = {"send_offsets": "send_offsets_to_transaction", "commit": "commit_transaction", "end": "commit_transaction"}


def deadly(step: str) -> None:
    """Have the second call of this step be the last of the process."""
    name, calls = STEPS[step], 0
    alive = getattr(AIOKafkaProducer, name)

    async def dies(self: AIOKafkaProducer, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2 and step != "end":
            os.kill(os.getpid(), signal.SIGKILL)
        await alive(self, *arguments)
        if calls == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(AIOKafkaProducer, name, dies)


if __name__ == "__main__":
    deadly(sys.argv.pop(1))
    work.MOST = int(os.environ.get("LETTERS_AT_ONCE", "10"))  # type: ignore[misc]
    main()
