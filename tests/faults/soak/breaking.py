"""Plays the planned faults on the servers and workers of a run."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from app.settings import Settings
from devstack.servers import Control
from tests.e2e.test_process import Process
from tests.faults.matrix.proxy import Proxy
from tests.faults.matrix.world import World
from tests.faults.soak.plan import ALONE, Fault, Planned

FEWEST, MOST = 1, 3
"""Workers beside the one that lasts."""
CUT = 0.02
"""Of what clients send, the part at which a connection is reset."""


@dataclass
class Breaker:
    """Breaks things as planned. `lasting` is the worker that no fault of a process meets."""

    world: World
    kafka: Control
    postgres: Control
    kafka_proxy: Proxy
    postgres_proxy: Proxy
    settings: Settings
    """Of the workers."""
    poison: Callable[[], None]
    lasting: Process | None = None
    others: list[Process] = field(default_factory=list)
    """Those that a fault may meet; one that it has met is not here until it is over."""
    played: Counter[Fault] = field(default_factory=Counter)
    last: str = ""
    _kafka: asyncio.Lock = field(default_factory=asyncio.Lock)
    _postgres: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def begin(self) -> None:
        """Start the worker that lasts."""
        self.lasting = await self.world.start(settings=self.settings)

    async def play(self, plan: Iterable[Planned]) -> None:
        """Have two workers join the first, and play these, each when its time has come; await the end of all."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.sleep(ALONE)
        for _ in range(2):
            await self._joins()
        async with asyncio.TaskGroup() as group:
            for planned in plan:
                await asyncio.sleep(began + planned.at - loop.time())
                group.create_task(self._play(planned))

    async def _play(self, planned: Planned) -> None:
        self.last = str(planned.fault)
        match planned.fault:
            case Fault.KILL | Fault.RESTART | Fault.SLEEP | Fault.CHANGE:
                await self._worker(planned)
            case Fault.POSTGRES_KILL:
                await self._server(self._postgres, self.postgres.kill, self.postgres.start)
            case Fault.POSTGRES_SLEEP:
                await self._server(self._postgres, self.postgres.pause, self.postgres.resume, planned.seconds)
            case Fault.KAFKA_KILL:
                await self._server(self._kafka, self.kafka.kill, self.kafka.start)
            case Fault.KAFKA_STOP:
                await self._server(self._kafka, self.kafka.stop, self.kafka.start)
            case Fault.KAFKA_SLEEP:
                await self._server(self._kafka, self.kafka.pause, self.kafka.resume, planned.seconds)
            case Fault.POSTGRES_RESET:
                await self._reset(self.postgres_proxy, planned.seconds)
            case Fault.KAFKA_RESET:
                await self._reset(self.kafka_proxy, planned.seconds)
            case Fault.POISON:
                self.poison()
        self.played[planned.fault] += 1

    async def _server(
        self, lock: asyncio.Lock, away: Callable[[], None], back: Callable[[], None], seconds: float = 0
    ) -> None:
        async with lock:
            await asyncio.to_thread(away)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(back)

    async def _reset(self, proxy: Proxy, seconds: float) -> None:
        proxy.cuts = lambda _: proxy.rng.random() < CUT
        await asyncio.sleep(seconds)
        proxy.cuts = None

    async def _worker(self, planned: Planned) -> None:
        """A worker is hit; where none may be, one joins, so that the next fault finds one."""
        if len(self.others) <= FEWEST:
            await self._joins()
            if planned.fault is Fault.CHANGE:
                return
        elif planned.fault is Fault.CHANGE and planned.pick < 0.5 and len(self.others) < MOST:
            await self._joins()
            return
        await self._hits(self.others.pop(int(planned.pick * len(self.others))), planned)

    async def _hits(self, worker: Process, planned: Planned) -> None:
        """What was met ends, sleeps or leaves."""
        if planned.fault is Fault.SLEEP:
            await self._sleeps(worker, planned.seconds)
            return
        await self.world.stop(worker, signal.SIGKILL if planned.fault is Fault.KILL else signal.SIGTERM)
        if planned.fault is not Fault.CHANGE:
            await self._joins()

    async def _sleeps(self, worker: Process, seconds: float) -> None:
        worker.child.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        worker.child.send_signal(signal.SIGCONT)
        self.others.append(worker)

    async def _joins(self) -> None:
        self.others.append(await self.world.start(settings=self.settings))
