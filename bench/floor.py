"""The floor: what the same statements with the same rows cost when they come from memory.

One connection, no Kafka, no validation. What each transaction is asked is recorded beforehand, by the worker's own
pipeline on a copy of the database; on another copy it is asked again, and only that is on the clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from app.model import Headers, Position, Record
from app.pipeline import Pipeline
from app.store import Store, open_store
from app.telemetry import Health, Metrics
from bench.arena import Arena, Ground
from bench.loads import Ask, Load
from bench.measured import Run
from bench.throughput import WARM_UP

_FOR: Final = 100_000
Calls = list[tuple[str, tuple[Any, ...]]]
"""What one transaction was asked: the name of each method and its arguments, in their order."""


@dataclass(slots=True)
class _RecordingTransaction:
    """Notes what it is asked and passes it on."""

    inner: Any
    calls: Calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)

        async def noted(*arguments: Any) -> Any:
            self.calls.append((name, arguments))
            return await method(*arguments)

        return noted


@dataclass(slots=True)
class _RecordingStore:
    """A store that notes what its transactions are asked."""

    inner: Store
    transactions: list[Calls] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @asynccontextmanager
    async def transaction(self, *, lock: bool = False, single: bool = False) -> AsyncIterator[Any]:
        calls: Calls = []
        async with self.inner.transaction(lock=lock, single=single) as transaction:
            yield _RecordingTransaction(transaction, calls)
        self.transactions.append(calls)


class _Open:
    """A gate that lets everything pass: no partition is ever taken away."""

    def pass_to_commit(self) -> None:
        """Pass."""


def floor(ground: Ground, load: Load, *, customers: int, number: int) -> Run:
    """Measure the transactions of this load."""
    with ground.arena(customers=customers) as arena:
        records = _records(arena, load)
        planned = asyncio.run(_plan(arena, records))
    with ground.arena(customers=customers) as arena:
        rate, stored = asyncio.run(_replay(arena, planned, _batch(arena)))
    return Run("floor", load.name, number, load.count, rate, {"store": stored * _FOR / load.count}, rows=customers)


def _batch(arena: Arena) -> int:
    return arena.settings.batch_max_records


def _records(arena: Arena, load: Load) -> list[Record]:
    topic, now = arena.settings.request_topic, round(time.time() * 1000)
    return [
        Record(Position(topic, 0, offset, now), ask.key, ask.value, _as_received(ask))
        for offset, ask in enumerate(load.make())
    ]


def _as_received(ask: Ask) -> Headers:
    return tuple((name, value.encode() if isinstance(value, str) else value) for name, value in ask.headers)


async def _plan(arena: Arena, records: Sequence[Record]) -> list[Calls]:
    """What the transactions of these records are asked."""
    async with _store(arena) as inner:
        store = _RecordingStore(inner)
        pipeline = Pipeline(store, arena.settings, Health(), Metrics())
        for first in range(0, len(records), _batch(arena)):
            await pipeline.process(records[first : first + _batch(arena)], _Open())
        return store.transactions


async def _replay(arena: Arena, planned: Sequence[Calls], batch: int) -> tuple[float, float]:
    """Requests a second after the warm-up, and the CPU seconds of all."""
    async with _store(arena) as store:
        warm = int(len(planned) * WARM_UP)
        began_cpu = time.process_time()
        for calls in planned[:warm]:
            await _ask(store, calls)
        began = time.perf_counter()
        for calls in planned[warm:]:
            await _ask(store, calls)
        spent = time.perf_counter() - began
        return (len(planned) - warm) * batch / spent, time.process_time() - began_cpu


async def _ask(store: Store, calls: Calls) -> None:
    async with store.transaction() as transaction:
        for name, arguments in calls:
            await getattr(transaction, name)(*arguments)


def _store(arena: Arena) -> Any:
    settings = arena.settings
    return open_store(
        settings.database_url.get_secret_value(), pool_size=1, statement_cache=settings.database_statement_cache
    )
