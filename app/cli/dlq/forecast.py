"""What each letter would become: the real rooms, over a database that is only read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from app.authorise import make_callers
from app.errors import Transient
from app.model import Answer, Customer, Known, Patient, Record, StoredAnswer, Writes
from app.pipeline import Pipeline
from app.settings import Settings
from app.store import Store, Transaction, open_store
from app.telemetry import Health, Metrics
from app.waiting import within

LIMIT_SECONDS: Final = 60.0
"""For one batch. The rooms themselves would wait for Postgres for ever."""


@dataclass(slots=True)
class _Imagined:
    """The store as it would be: what is written is remembered here, and read before what stands there."""

    store: Store
    answers: dict[bytes, StoredAnswer] = field(default_factory=dict)
    customers: dict[str, Customer] = field(default_factory=dict)
    patients: dict[str, Patient] = field(default_factory=dict)

    async def owners(self, patients: Collection[str]) -> dict[str, str]:
        """Those that stand, and those that would."""
        made = {row.patient: row.customer for row in self.patients.values() if row.patient in patients}
        return await self.store.owners(patients) | made

    @asynccontextmanager
    async def transaction(self, *, lock: bool = False, single: bool = False) -> AsyncIterator[_Unwritten]:
        """One that is rolled back in any case."""
        async with self.store.transaction(lock=lock, single=single) as transaction:
            await transaction.only_read()
            yield _Unwritten(self, transaction)


@dataclass(slots=True)
class _Unwritten:
    imagined: _Imagined
    transaction: Transaction

    async def read(self, keys: Collection[bytes], customers: Collection[str]) -> Known:
        """What stands, and over it what would have been written."""
        known, over = await self.transaction.read(keys, customers), self.imagined
        return Known(
            answers=known.answers | {key: over.answers[key] for key in keys if key in over.answers},
            customers=known.customers | {id: over.customers[id] for id in customers if id in over.customers},
            patients=known.patients | {id: over.patients[id] for id in customers if id in over.patients},
        )

    async def write(self, writes: Writes) -> None:
        """Remember it."""
        self.imagined.answers |= {row.key: row for row in writes.answers}
        for customer, patient in (*writes.new, *writes.changed):
            self.imagined.customers[customer.customer], self.imagined.patients[customer.customer] = customer, patient

    async def commit(self) -> None:
        """Nothing is written."""


class _Open:
    def pass_to_commit(self) -> None:
        """There is no commit to hold back."""


class Forecast:
    """Says what requests would be answered, one batch after the other."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def answers(self, requests: Sequence[Record]) -> list[Answer]:
        """The answer that each would get. Raises Transient when Postgres, or a key for tokens, is not to be had."""
        self._pipeline.failures_in_a_row = 0
        try:
            return await within(self._pipeline.process(requests, _Open()), LIMIT_SECONDS)
        except TimeoutError:
            missing = "; ".join(self._pipeline.health.missing.values())
            raise Transient(f"no answer within {LIMIT_SECONDS:.0f} s: {missing}") from None


@asynccontextmanager
async def open_forecast(settings: Settings) -> AsyncIterator[Forecast]:
    """The rooms of a worker with these settings. Raises Transient, SetupNeeded when the database cannot be read."""
    health = Health()
    health.ok("kafka")  # which the rooms do not use
    callers = make_callers(settings, health)
    url = settings.database_url.get_secret_value()
    async with (
        open_store(url, pool_size=1, statement_cache=settings.database_statement_cache) as store,
        callers.running(),
    ):
        await store.check()
        yield Forecast(Pipeline(_Imagined(store), settings, health, Metrics(), callers=callers))
