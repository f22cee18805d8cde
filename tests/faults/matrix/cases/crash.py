"""SIGKILL at each boundary between two steps of a batch."""

from __future__ import annotations

from functools import partial

from tests.faults.matrix.case import Case
from tests.faults.matrix.crashing import POINTS
from tests.faults.matrix.world import World

IN_SUITE = ("after-one", "while-committing", "half-published")
_SPOKEN = {
    "after-poll": "after poll",
    "after-read": "after the read",
    "before-one": "inside the transaction of a single request, before its write",
    "after-one": "inside the transaction of a single request, after its write",
    "while-committing": "after COMMIT is sent, before its reply",
    "after-commit": "after the commit",
    "half-published": "with half of the answers published",
    "published": "with all answers published",
    "offsets-committed": "after the offset commit",
}


async def crash(world: World, *, point: str) -> None:
    """One worker dies there under load, and another takes its place."""
    async with world.running():
        await world.sent(300)  # behind, so that batches are full
        worker = await world.start_crashing(point, world.rng.randint(3, 9))
        await world.died(worker)
        world.mark()
        await world.start()
        await world.working(300)


def _spoken(point: str) -> str:
    where, _, what = point.partition("-")
    return "SIGKILL " + _SPOKEN.get(point, f"inside the transaction, {where} the write `{what}`")


def _settings(point: str) -> dict[str, object]:
    """What one request changes is written in another way."""
    return {"batch_max_records": 1} if point.endswith("-one") else {}


CASES = tuple(
    Case(
        f"kill-{point}",
        _spoken(point),
        partial(crash, point=point),
        in_suite=point in IN_SUITE,
        settings=_settings(point),
    )
    for point in POINTS
)
