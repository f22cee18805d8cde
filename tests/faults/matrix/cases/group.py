"""Workers that come, go and wake up."""

from __future__ import annotations

import asyncio
import signal
import time
from functools import partial

from tests.e2e.test_process import Process
from tests.faults.broker_side import members
from tests.faults.matrix.case import Case
from tests.faults.matrix.world import PATIENCE, World
from tests.support import until

RESTLESS_SECONDS = 40.0
MOST = 4


async def joined(world: World) -> None:
    """Await that the newest worker has been given its partitions."""
    log = world.logs[-1]
    await until(lambda: '"assigned"' in log.read_text(), PATIENCE)


async def together(world: World, count: int) -> bool:
    """Whether the group has this many members and is at rest."""
    return await members(world.settings) == count


async def restless(world: World) -> None:
    """Up to four workers join and leave at random, one in three without a goodbye."""
    async with world.running():
        await world.start()
        await world.working()
        end = time.monotonic() + RESTLESS_SECONDS
        while time.monotonic() < end:
            if len(world.workers) < 2 or (len(world.workers) < MOST and world.rng.random() < 0.6):
                await world.start()
            else:
                last = world.rng.choice(world.workers)
                await world.stop(last, signal.SIGKILL if world.rng.random() < 0.34 else signal.SIGTERM)
            await asyncio.sleep(world.rng.uniform(0, 3))
        world.mark()
        await world.working(300)


async def rolling(world: World) -> None:
    """Three workers are replaced one by one, in order: no answer may be given twice."""
    async with world.running():
        for _ in range(3):
            await world.start()
            await joined(world)
        await world.working()
        for worker in list(world.workers):
            await world.stop(worker)
            world.mark()
            await world.start()
            await joined(world)
        await world.working(500)


async def zombie(world: World) -> None:
    """A worker sleeps while its partitions are given away, and goes on where it was when it wakes."""
    async with world.running():
        first: Process = await world.start()
        await world.start()
        await joined(world)
        await until(partial(together, world, 2), PATIENCE)
        await world.working()
        for _ in range(2):
            first.child.send_signal(signal.SIGSTOP)
            world.mark()
            before = len(world.load.requests)
            await world.sent()
            asleep = [request.place for request in world.load.requests[before:]]
            assert await world.tail.answered(asleep, PATIENCE), "nobody took over"
            first.child.send_signal(signal.SIGCONT)
            await world.working(300)


CASES = (
    Case("group-restless", "up to four workers join and leave at random", restless),
    Case("group-rolling", "rolling restart by SIGTERM", rolling, repeats=False, in_suite=True),
    Case("group-zombie", "worker asleep across a rebalance, then woken", zombie),
)
