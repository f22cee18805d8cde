"""One case at work: its topics and database, its workers, its load, and the history that comes of it."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
from pydantic import SecretStr

from app.settings import Settings
from devstack.servers import Control, Servers
from devstack.servers.waiting import free_port
from tests.conftest import own_settings
from tests.e2e.test_process import WORKER, Process, environment
from tests.faults.broker_side import log_of, make_topics
from tests.faults.checker import History, Place, patients_in
from tests.faults.matrix.load import CANARIES, Asked, Load, mixed
from tests.faults.matrix.proxy import Proxy
from tests.faults.matrix.tail import Tail
from tests.roles import as_worker, with_roles
from tests.support import until, with_database

PATIENCE = 120.0
"""Seconds after which what is awaited is taken as never coming; the machine may have other work."""
RATE = 100.0
HANGING_SECONDS = 40.0
ROOT = Path(__file__).parents[3]
_migrating = asyncio.Lock()
"""Alembic keeps its context in globals: one migration at a time in one process."""


class NotRun(Exception):
    """The machine cannot play this case; the text says why."""


@dataclass
class World:
    """What a case plays with."""

    settings: Settings
    servers: Servers
    rng: random.Random
    directory: Path
    load: Load
    tail: Tail
    workers: list[Process] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    """When work could go on again (Unix milliseconds): recovery is counted from there."""
    logs: list[Path] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    """Of each worker that was started, as the logs."""
    proxy: Proxy | None = None
    """What stands between everybody and the broker, if anything does."""

    async def start(self, *command: str, settings: Settings | None = None) -> Process:
        """Start a worker, or another command in its place; it may take its time to become ready."""
        port = free_port()
        address = {"PATIENT_UPSERT_HTTP_PORT": str(port), "PATIENT_UPSERT_HTTP_HOST": "127.0.0.1"}
        given = environment(settings or self.settings, **address)
        log = self.directory / f"worker-{len(self.logs)}.log"
        self.logs.append(log)
        self.ports.append(port)
        with log.open("wb") as file:
            child = await asyncio.to_thread(
                subprocess.Popen, command or WORKER, env=given, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=file
            )
        worker = Process(child, port)
        self.workers.append(worker)
        return worker

    async def start_crashing(self, point: str, hits: int) -> Process:
        """Start a worker that kills itself there."""
        return await self.start(sys.executable, "-m", "tests.faults.matrix.crashing", point, str(hits))

    async def died(self, worker: Process) -> None:
        """Await that a worker has killed itself."""
        await until(lambda: worker.child.poll() is not None, PATIENCE)
        assert worker.child.returncode == -signal.SIGKILL, f"the worker ended with {worker.child.returncode}"
        self.workers.remove(worker)

    async def stop(self, worker: Process, number: int = signal.SIGTERM) -> None:
        """End a worker by this signal."""
        log = self.logs[self.ports.index(worker.port)]
        await until(lambda: '"start"' in log.read_text(), PATIENCE)  # before it listens to signals it just ends
        code, _ = await worker.stopped(number)
        assert code == (0 if number == signal.SIGTERM else -number), f"the worker ended with {code}"
        self.workers.remove(worker)

    def running(self, requests: Iterator[Asked] | None = None, rate: float = RATE, *producers: Any) -> Any:
        """Load while the block lasts."""
        return self.load.running(requests or mixed(self.settings.request_topic, self.rng), rate, *producers)

    def renew_tail(self) -> None:
        """Read the answers again from the first on, after their topic was made again."""
        self.tail.close()
        self.tail = Tail(self.settings)

    def mark(self) -> None:
        """From now on work could go on."""
        self.marks.append(round(time.time() * 1000))

    async def sent(self, count: int = 200) -> None:
        """Await that this many more requests lie in the topic."""
        before = len(self.load.requests)
        await until(lambda: len(self.load.requests) >= before + count, PATIENCE)

    async def working(self, count: int = 100) -> None:
        """Await this many more answers."""
        before = len(self.tail.first)
        assert await self.tail.until(lambda: len(self.tail.first) >= before + count, PATIENCE), "no more answers"

    async def hanging(self, server: Control) -> None:
        """Work under load while a server hangs and goes on."""
        async with self.running():
            await self.start()
            await self.working()
            await asyncio.to_thread(server.pause)
            await asyncio.sleep(HANGING_SECONDS)
            await asyncio.to_thread(server.resume)
            self.mark()
            await self.working(300)

    async def caught_up(self) -> None:
        """Await an answer to all that has been sent so far."""
        assert await self.tail.answered(self.due, PATIENCE), "answers missing"

    @property
    def due(self) -> list[Place]:
        """The places that must have an answer."""
        return [request.place for request in self.load.requests if not request.expired]

    async def finished(self) -> None:
        """Await an answer to all, and end the workers: what stands between them and the servers goes away."""
        await self.caught_up()
        await self.end()

    async def query(self, statement: str, *arguments: Any) -> list[Any]:
        """Ask the database of this case."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def execute(self, statements: str) -> None:
        """Have the database of this case do something."""
        connection = await asyncpg.connect(self.database_url)
        try:
            await connection.execute(statements)
        finally:
            await connection.close()

    @property
    def database_url(self) -> str:
        """The database itself as a superuser, whatever stands between it and the workers."""
        name = self.settings.group_id
        return with_database(self.servers.database_url, name)

    async def end(self) -> None:
        """Stop what still runs, in order."""
        for worker in list(self.workers):
            await self.stop(worker)

    def kill(self) -> None:
        """Leave no worker behind."""
        for worker in self.workers:
            worker.child.kill()
            worker.child.wait()

    async def history(self, *, repeats: bool) -> History:
        """All that is there, once nobody works any more."""
        await self.tail.to_the_end(PATIENCE)
        customers, stored = [
            [dict(row) for row in await self.query(f"select * from {table}")] for table in ("customers", "requests")
        ]
        lines = [line for log in self.logs for line in log.read_text(errors="replace").splitlines()]
        return History(
            topic=self.settings.request_topic,
            requests=self.load.requests,
            answers=self.tail.answers,
            letters=self.tail.letters,
            customers=customers,
            patients=patients_in(customers),
            stored=stored,
            log=lines,
            canaries=CANARIES,
            repeats=repeats,
        )

    def first_answer(self) -> float | None:
        """Seconds from a mark to the first new answer of the slowest partition."""
        found: list[int] = []
        for mark in self.marks:
            waited: dict[int, int] = {}
            for (partition, _), answered in self.tail.first.items():
                if answered >= mark:
                    waited[partition] = min(answered - mark, waited.get(partition, answered))
            found += waited.values()
        return max(found) / 1000 if found else None

    def full_rate(self, within_ms: int = 2000) -> float | None:
        """Seconds from the last mark until requests were again answered within two seconds."""
        if not self.marks:
            return None
        sent = {request.place: request.timestamp for request in self.load.requests}
        late = [at for place, at in self.tail.first.items() if place in sent and at - sent[place] > within_ms]
        return max([0, *(at - self.marks[-1] for at in late)]) / 1000


@asynccontextmanager
async def world(servers: Servers, seed: int, directory: Path, **changes: object) -> AsyncIterator[World]:
    """Topics and a migrated database of its own, and nobody at work yet."""
    settings = log_of(own_settings(servers.kafka, servers.database_url, **{"batch_max_records": 50, **changes}))
    name = settings.group_id
    connection = await asyncpg.connect(servers.database_url)
    await connection.execute(f"create database {name}")
    await connection.close()
    url = with_database(servers.database_url, name)
    async with _migrating:
        await with_roles(url, servers.database_url)
    settings = settings.model_copy(update={"database_url": SecretStr(as_worker(url))})
    await make_topics(settings)
    own = directory / uuid4().hex[:8]
    own.mkdir()
    found = World(settings, servers, random.Random(seed), own, Load(settings), Tail(settings))
    try:
        yield found
    finally:
        found.kill()
        found.tail.close()
