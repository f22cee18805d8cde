"""A soak from its beginning to its verdict."""

from __future__ import annotations

import asyncio
import itertools
import random
import subprocess
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import psutil
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from devstack.servers import Servers, ServersError
from tests.faults.checker import Broken, History, Verdict, check, patients_in
from tests.faults.matrix.cases.inputs import REFUSING, poisons
from tests.faults.matrix.cases.postgres import at_port, port_of
from tests.faults.matrix.load import CANARIES, Asked, Load, mixed
from tests.faults.matrix.proxy import Proxy, proxy
from tests.faults.matrix.tail import SILENT
from tests.faults.matrix.world import World, world
from tests.faults.soak.breaking import Breaker
from tests.faults.soak.memory import Memory, compared
from tests.faults.soak.plan import planned
from tests.faults.soak.windows import Window, Windows, prefix
from tests.support import until

WINDOW = 10_000
"""Requests."""
HOT = 2_000
"""Customers of a window that are asked for again and again."""
BACKLOG = 10_000
"""Unanswered requests at which the load waits: enough for full batches, and it stays as fast as the workers."""
OPEN = 8
"""Windows that are not judged at which the load waits, so that one slow partition does not fill the memory."""
AT_A_TIME = 100
SHOWN = 5
PARTITIONS = 12
PATIENCE = 180.0
"""Seconds after the load has ended in which all must be answered."""
AGAIN_SECONDS = 1.0
ASK_SECONDS = 10.0
AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, KafkaException)
"""What the soak itself meets while a server is away."""
TABLES = ("customers", "requests")


@dataclass
class Outcome:
    """What came of a soak."""

    seed: int
    minutes: float
    requests: int = 0
    answered: int = 0
    repeated: int = 0
    windows: int = 0
    faults: Counter[Any] = field(default_factory=Counter)
    broken: Counter[Broken] = field(default_factory=Counter)
    shown: list[Verdict] = field(default_factory=list)
    """The first verdicts of each kind."""
    trouble: list[str] = field(default_factory=list)
    """Why it did not come to its end, or what was wrong beside the history."""
    memory: Memory | None = None

    def add(self, verdicts: Sequence[Verdict]) -> None:
        """Count these."""
        for verdict in verdicts:
            self.broken[verdict.broken] += 1
            if self.broken[verdict.broken] <= SHOWN:
                self.shown.append(verdict)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong: no verdict, all answered, no trouble, the memory judged and steady."""
        answered = not self.broken and not self.trouble and self.answered == self.requests
        return answered and self.memory is not None and self.memory.steady


@dataclass
class Soak:
    """A soak at work; what is shown of it is read from here."""

    world: World
    producer: Producer
    seed: int
    minutes: float
    outcome: Outcome
    windows: Windows
    breaker: Breaker
    began: float = field(default_factory=time.monotonic)
    sent: int = 0
    samples: list[int] = field(default_factory=list)
    """The resident memory of the lasting worker, in bytes, once a second."""
    sums: dict[str, list[Any]] = field(default_factory=dict)
    """Over the rows of each judged window, at its judgement."""
    _injected: deque[int] = field(default_factory=deque)
    _poisoned: itertools.count[int] = field(default_factory=itertools.count)
    _judging: list[asyncio.Task[None]] = field(default_factory=list)
    _read: dict[Path, int] = field(default_factory=dict)
    """Up to where each log was judged."""
    _over: bool = False
    _asking_kafka: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        """Make the consumer that asks for what the workers' group has committed; it never joins them."""
        settings = self.world.settings
        self._asker = Consumer(
            {"bootstrap.servers": settings.kafka_bootstrap_servers, "group.id": settings.group_id, "logger": SILENT}
        )

    @property
    def backlog(self) -> int:
        """Requests that have no answer yet."""
        return self.sent - self.windows.answered

    def poison(self) -> None:
        """Send one of each kind of poison soon."""
        self._injected.append(next(self._poisoned))

    async def play(self) -> None:
        """Load and faults for the time that was asked for; then all must be answered, judged and at rest."""
        await self.world.execute(f"{REFUSING}; create index on requests (customer)")
        await self.breaker.begin()
        await until(self._all_joined, PATIENCE)
        following = asyncio.create_task(self._follow())
        sampling = asyncio.create_task(self._sample())
        seconds = self.minutes * 60
        self.began = time.monotonic()
        breaking = asyncio.create_task(self.breaker.play(planned(self.seed, seconds - 15)))
        try:
            await self._asking(self.began + seconds, following, sampling, breaking)
            await breaking
            sampling.cancel()
            await self._settled()
            await self.world.end()
            self._over = True
            await following
        finally:
            for task in (following, sampling, breaking, *self._judging):
                task.cancel()
            await asyncio.gather(following, sampling, breaking, *self._judging, return_exceptions=True)
        await self.world.tail.to_the_end(PATIENCE)
        self._take()
        self.outcome.add([*self.windows.late, *self.windows.unasked(), *await self._touched()])

    def _all_joined(self) -> bool:
        """Whether every worker has been given its partitions."""
        return all('"assigned"' in log.read_text() for log in self.world.logs)

    async def _asking(self, end: float, *beside: asyncio.Task[None]) -> None:
        """As fast as the workers take it."""
        window = self._next_window()
        while time.monotonic() < end:
            waiting = self.backlog >= BACKLOG or len(self.windows.open) > OPEN
            if waiting:
                await asyncio.sleep(0.02)
            for task in beside:
                if task.done():
                    task.result()
            if not waiting:
                for asked in itertools.chain(self._poison(window), itertools.islice(window.source, AT_A_TIME)):
                    window.load.send(self.producer, asked)
                    window.sent += 1
                    self.sent += 1
                await asyncio.sleep(0)
            self.producer.poll(0)
            if window.sent >= WINDOW:
                window = self._next_window(window)
        self._close(window)
        await window.load.flushed(self.producer)

    def _poison(self, window: Window) -> list[Asked]:
        numbers = [self._injected.popleft() for _ in range(len(self._injected))]
        topic = self.world.settings.request_topic
        return [asked for number in numbers for asked in poisons(topic, number, window.prefix)]

    def _next_window(self, last: Window | None = None) -> Window:
        if last is not None:
            self._close(last)
        number = self.outcome.windows
        self.outcome.windows += 1
        source = mixed(self.world.settings.request_topic, self.world.rng, prefix(number), HOT)
        window = Window(number, Load(self.world.settings), source)
        self.windows.open.append(window)
        return window

    def _close(self, window: Window) -> None:
        window.closed = True
        self._judging.append(asyncio.create_task(self._judge(window)))

    async def _follow(self) -> None:
        """Read what is published, until nobody publishes any more."""
        while not self._over:
            await self.world.tail.read()
            self._take()

    def _take(self) -> None:
        tail = self.world.tail
        answers, letters = list(tail.answers), list(tail.letters)
        tail.answers.clear()
        tail.letters.clear()
        tail.first.clear()
        self.windows.take(answers, letters)

    async def _sample(self) -> None:
        assert self.breaker.lasting is not None
        process = psutil.Process(self.breaker.lasting.child.pid)
        while True:
            for worker in self.world.workers:
                code = worker.child.poll()
                assert code is None or worker not in (self.breaker.lasting, *self.breaker.others), (
                    f"a worker ended by itself with {code}"
                )
            self.samples.append(process.memory_info().rss)
            await asyncio.sleep(1)

    async def _judge(self, window: Window) -> None:
        """Judge a window once it is final: all answered, its offsets committed, and all read that came before that."""
        limit = self.minutes * 60 + 2 * PATIENCE  # far beyond `_settled`, which ends it
        await until(lambda: window.answered or self._over, limit)
        ends: Any = {} if self._over else await self._again(lambda: self._final(window))
        await until(lambda: self._over or self.world.tail.has_read(ends), limit)
        customers, stored = await self._again(lambda: self._rows(window))
        history = History(
            topic=self.world.settings.request_topic,
            requests=list(window.places.values()),
            answers=window.answers,
            letters=window.letters,
            customers=customers,
            patients=patients_in(customers),
            stored=stored,
            log=self._new_lines(),
            canaries=CANARIES,
        )
        self.outcome.add(await asyncio.to_thread(check, history))
        if window.load.refused:
            self.outcome.trouble.append(f"Kafka took {len(window.load.refused)} requests of the load not")
        self.sums[str(window.number)] = await self._again(lambda: self._sums(window.number))
        self.windows.drop(window)

    async def _again(self, attempt: Callable[[], Any]) -> Any:
        """Its result, as soon as the servers let it have one."""
        while True:
            with suppress(*AWAY):
                if (found := await attempt()) is not None:
                    return found
            await asyncio.sleep(AGAIN_SECONDS)

    async def _final(self, window: Window) -> Any:
        """The ends of what is published once the group has committed all of this window; None: not yet."""
        last = window.last_offsets()
        asked = [TopicPartition(self.world.settings.request_topic, partition) for partition in last]
        async with self._asking_kafka:
            there = await asyncio.to_thread(self._asker.committed, asked, timeout=ASK_SECONDS)
            if any(place.offset <= last[place.partition] for place in there):
                return None
            return await asyncio.to_thread(self.world.tail.ends, self._asker)

    async def _rows(self, window: Window) -> list[list[dict[str, Any]]]:
        return [
            [dict(row) for row in await self.world.query(f"select * from {table} where {_of(window.number)}")]
            for table in TABLES
        ]

    async def _sums(self, number: int) -> list[Any]:
        return [
            tuple((await self.world.query(f"select {_SUM} from {table} as t where {_of(number)}"))[0])
            for table in TABLES
        ]

    async def _touched(self) -> list[Verdict]:
        """What has changed since its window was judged, and rows of no window."""
        found = [
            Verdict(Broken.DOUBLED, f"rows of window {number} were touched after its answers")
            for number, before in self.sums.items()
            if await self._sums(int(number)) != before
        ]
        for table, total in zip(TABLES, map(list, zip(*self.sums.values(), strict=True)), strict=True):
            (row,) = await self.world.query(f"select count(*) from {table}")
            if row[0] != sum(count for count, _ in total):
                found.append(Verdict(Broken.GHOST, f"{table}: rows of no window"))
        return found

    def _new_lines(self) -> list[str]:
        """What the workers have logged since the last window was judged."""
        lines: list[str] = []
        for log in self.world.logs:
            with log.open("rb") as file:
                file.seek(self._read.get(log, 0))
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read[log] = self._read.get(log, 0) + len(whole)
            lines += whole.decode(errors="replace").splitlines()
        return lines

    async def _settled(self) -> None:
        """Await the judgement of all windows; what is not answered in time is judged as it is."""
        _, pending = await asyncio.wait(self._judging, timeout=PATIENCE)
        if pending:
            self.outcome.trouble.append(f"{len(pending)} windows were not final {PATIENCE:.0f} s after the load")
            self._over = True
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self._judging)


_SUM = "count(*), sum(hashtextextended(t::text, 0))"


def _of(number: int) -> str:
    """The customers of a window; `/` comes next after the `.` of its prefix."""
    return f"customer >= '{prefix(number)}' and customer < '{prefix(number)[:-1]}/'"


@asynccontextmanager
async def soaking(
    servers: Servers, kafka_proxy: Proxy, seed: int, minutes: float, directory: Path
) -> AsyncIterator[Soak]:
    """Everything that a soak needs, and no worker yet."""
    assert servers.kafka_control is not None
    assert servers.postgres_control is not None
    changes = {"topic_partitions": PARTITIONS, "batch_max_records": 1000}
    async with (
        world(servers, seed, directory, **changes) as found,
        proxy(port_of(found), random.Random(seed)) as postgres_proxy,
    ):
        outcome = Outcome(seed, minutes)
        breaker = Breaker(
            found,
            servers.kafka_control,
            servers.postgres_control,
            kafka_proxy,
            postgres_proxy,
            at_port(found, postgres_proxy.port),
            poison=lambda: soak.poison(),
        )
        windows = Windows(found.settings.request_topic)
        soak = Soak(found, found.load.producer(), seed, minutes, outcome, windows, breaker)
        try:
            yield soak
        except* (AssertionError, TimeoutError, ServersError, subprocess.TimeoutExpired) as errors:
            outcome.trouble += [f"{type(error).__name__}: {error}" for error in errors.exceptions]
        outcome.requests, outcome.answered, outcome.repeated = soak.sent, windows.answered, windows.repeated
        outcome.faults = breaker.played
        outcome.memory = compared(soak.samples)
