"""The worker, with a bomb: `python -m tests.faults.matrix.crashing POINT HIT` runs `patient-upsert run` and kills it.

The rooms are wrapped from outside, so that `app/` has no hooks for faults. SIGKILL comes at the HIT-th time that the
worker is at the POINT.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from app.cli import main
from app.consumer.intake import Intake
from app.consumer.publisher import Publisher
from app.store import Transaction

WRITES = {"update": ("_change", "customers"), "insert": ("_copy", "customers"), "answers": ("_copy", "requests")}
"""By which method, and into which table."""


class Bomb:
    """Called whenever the worker is at the point; does not return at the last time."""

    def __init__(self, hits: int) -> None:
        self.left = hits

    def __call__(self) -> None:
        self.left -= 1
        if self.left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


Wrap = Callable[[Any, Bomb], Any]


def before(method: Any, reached: Bomb) -> Any:
    @wraps(method)
    async def wrapped(*arguments: Any, **named: Any) -> Any:
        reached()
        return await method(*arguments, **named)

    return wrapped


def after(method: Any, reached: Bomb) -> Any:
    @wraps(method)
    async def wrapped(*arguments: Any, **named: Any) -> Any:
        result = await method(*arguments, **named)
        reached()
        return result

    return wrapped


def of_write(table: str, where: Wrap) -> Wrap:
    """The method writes several tables: only this one counts, and only with something to write."""

    def wrap(method: Any, reached: Bomb) -> Any:
        struck = where(method, reached)

        @wraps(method)
        async def wrapped(self: Any, *arguments: Any) -> Any:
            ours = arguments[0] == table and arguments[1]
            return await (struck if ours else method)(self, *arguments)

        return wrapped

    return wrap


def while_committing(method: Any, reached: Bomb) -> Any:
    """COMMIT has left, and its reply is not read."""

    @wraps(method)
    async def wrapped(*arguments: Any) -> Any:
        committing = asyncio.ensure_future(method(*arguments))
        await asyncio.sleep(0)  # the driver writes to the socket at once
        reached()
        return await committing

    return wrapped


def half_way(method: Any, reached: Bomb) -> Any:
    """The first half is acknowledged, the rest is not sent."""

    @wraps(method)
    async def wrapped(self: Any, records: Any, **named: Any) -> Any:
        if len(records) > 1:
            if reached.left == 1:
                await method(self, records[: len(records) // 2], **named)
            reached()
        return await method(self, records, **named)

    return wrapped


POINTS: dict[str, tuple[type, str, Wrap]] = {
    "after-poll": (Intake, "getmany", after),
    "after-read": (Transaction, "read", after),
    **{f"before-{name}": (Transaction, method, of_write(table, before)) for name, (method, table) in WRITES.items()},
    **{f"after-{name}": (Transaction, method, of_write(table, after)) for name, (method, table) in WRITES.items()},
    "before-one": (Transaction, "_write_one", before),
    "after-one": (Transaction, "_write_one", after),
    "while-committing": (Transaction, "commit", while_committing),
    "after-commit": (Transaction, "commit", after),
    "half-published": (Publisher, "publish", half_way),
    "published": (Publisher, "publish", after),
    "offsets-committed": (Intake, "commit", after),
}


def arm(point: str, hits: int) -> None:
    """Lay the bomb."""
    owner, name, wrap = POINTS[point]
    setattr(owner, name, wrap(getattr(owner, name), Bomb(hits)))


if __name__ == "__main__":
    _, point, hits = sys.argv
    arm(point, int(hits))
    sys.argv = ["patient-upsert", "run"]
    main()
