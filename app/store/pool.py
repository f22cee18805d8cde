"""The connections to the database, and what is asked of it outside a batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from app.errors import SetupNeeded, WorkerError
from app.migrations import head_revision
from app.store import rows
from app.store.faults import SETUP, away, connecting, limited
from app.store.transaction import Transaction
from app.telemetry import PoolUse

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

CONNECT_SECONDS: Final = 10.0
"""A server in reach answers within one; a lost packet costs three."""
ACQUIRE_SECONDS: Final = 15.0
"""For a free connection, and for opening it. Longer only hides that the server is away or the pool too small."""
CLOSE_SECONDS: Final = 5.0
"""To say goodbye or hand a connection back; then it is cut."""


class Store:
    """A pool of connections. Made by `open_store`."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool
        self._releasing: set[asyncio.Task[None]] = set()

    def use(self) -> PoolUse:
        """The connections of the pool, now."""
        pool = self._pool
        return PoolUse(pool.get_size() - pool.get_idle_size(), pool.get_idle_size(), pool.get_max_size())

    async def check(self) -> None:
        """Return when the server is there with the tables that this version needs.

        A schema migrated by a newer version is accepted: migrations only add until no older version runs. Raises
        Transient when the server is away, SetupNeeded when the schema is missing or behind.
        """
        async with self.transaction() as transaction:
            found = await transaction.revision()
        needed = head_revision()
        if found is None or found < needed:
            raise SetupNeeded(f"postgres: the schema is at {found or 'no revision'}, {needed} is needed; {SETUP}")

    async def owners(self, patients: Collection[str]) -> dict[str, str]:
        """The customer of each of these patients that is known, deleted ones too. Raises Transient, DataFault."""
        if not patients:
            return {}
        async with self.transaction() as transaction:
            return await transaction.owners(patients)

    async def begin_assignment(
        self, group: str, topic: str, begins: Mapping[int, tuple[int, int]]
    ) -> dict[int, tuple[int, int]]:
        """See `Transaction.begin_assignment`; committed."""
        async with self.transaction() as transaction:
            deaths = await transaction.begin_assignment(group, topic, begins)
            await transaction.commit()
        return deaths

    async def touch_record(self, group: str, topic: str, partition: int, offset: int | None) -> None:
        """See `Transaction.touch_record`; committed."""
        async with self.transaction() as transaction:
            await transaction.touch_record(group, topic, partition, offset)
            await transaction.commit()

    async def end_assignment(self, group: str, topic: str, partitions: Collection[int]) -> None:
        """See `Transaction.end_assignment`; committed."""
        async with self.transaction() as transaction:
            await transaction.end_assignment(group, topic, partitions)
            await transaction.commit()

    async def remove_answers(self, topic: str, since: datetime, before: datetime, most: int) -> list[datetime] | None:
        """See `Transaction.remove_answers`; committed."""
        async with self.transaction() as transaction:
            removed = await transaction.remove_answers(topic, since, before, most)
            await transaction.commit()
        return removed

    @asynccontextmanager
    async def transaction(self, *, lock: bool = False, single: bool = False) -> AsyncIterator[Transaction]:
        """A transaction of its own connection; with `lock`, the rows that it reads stay as they are until its end.

        With `single`, and no `lock`, it is for one request, which then takes a quarter less time.

        Raises Transient when there is no connection to be had.
        """
        connection = await limited(self._acquire(), ACQUIRE_SECONDS, connecting)
        transaction = Transaction(connection, lock=lock, single=single)
        try:
            await transaction.begin()
            yield transaction
        finally:
            try:
                await transaction.end()
            finally:
                # not awaited: the turns of the event loop that the pool takes for it are not the request's
                releasing = asyncio.create_task(self._release(connection))
                self._releasing.add(releasing)
                releasing.add_done_callback(self._releasing.discard)

    async def _acquire(self) -> PoolConnectionProxy[asyncpg.Record]:
        return await self._pool.acquire()

    async def _release(self, connection: PoolConnectionProxy[asyncpg.Record]) -> None:
        with suppress(WorkerError):  # the pool closes a connection that it cannot take back
            await limited(self._pool.release(connection), CLOSE_SECONDS, away)


@asynccontextmanager
async def open_store(url: str, *, pool_size: int, statement_cache: int) -> AsyncIterator[Store]:
    """A store on the database at `url`; connections are opened when they are needed, so the server may be away.

    `statement_cache` is the number of prepared statements a connection keeps; 0 for a pgbouncer before 1.21.
    """
    pool = await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=pool_size,
        timeout=CONNECT_SECONDS,
        statement_cache_size=statement_cache,
        init=rows.exchange_times,
        reset=_nothing_to_reset,
    )
    try:
        yield Store(pool)
    finally:
        with suppress(WorkerError):  # the pool cuts what it could not close in time
            await limited(pool.close(), CLOSE_SECONDS, away)


async def _nothing_to_reset(_connection: Any) -> None:
    """Every setting of ours ends with its transaction: this saves the round trip of `reset all` a batch."""
