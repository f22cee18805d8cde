"""Brings the database to the newest revision. Part of `setup`; the worker itself never migrates."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from app.errors import WorkerError
from app.migrations import VERSION_TABLE, head_revision
from app.store.faults import connecting, limited
from app.store.inspect import NEEDED
from app.store.rows import query

CONNECT_SECONDS: Final = 10.0
MIGRATE_SECONDS: Final = 600.0
"""A revision may fill a column of a large table; beyond that it should be done in steps."""
_LOCK_SECONDS: Final = 30
"""Waiting longer for a table stops the workers, whose statements queue up behind us."""
_LOCK: Final = 0x70617469656E74
"""Of the advisory lock that keeps two migrations apart: "patient" in ASCII."""
_AGAIN_SECONDS: Final = 0.2
_INDEX: Final = "requests_received_at"
_OWNER: Final = "patient_upsert_owner"
_WORKER: Final = "patient_upsert_worker"
"""The roles of deploy/postgres-roles.sql, which one may do without."""


async def migrate(url: str) -> str:
    """Apply what is missing, in one transaction, and return the revision that the database is at then.

    As the role of the owner it also grants the worker's role what it uses. May be run again, and twice at once. A
    database that a newer version has migrated is left as it is. Raises Transient, naming the SQLSTATE; then nothing
    was changed, but that an index may have been built already.
    """
    return await limited(_migrate(url), MIGRATE_SECONDS, _judge)


async def _migrate(url: str) -> str:
    async def connect() -> asyncpg.Connection[asyncpg.Record]:
        # By the driver's own reading of the URL, the same as the worker's. No statement cache: see pgbouncer.
        return await asyncpg.connect(url, timeout=CONNECT_SECONDS, statement_cache_size=0)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    async with engine.begin() as connection:
        await _take_turn(connection)
        builder = await connect()
        try:
            await _build_online(builder)
        finally:
            await builder.close(timeout=CONNECT_SECONDS)
        return await connection.run_sync(_upgrade)


async def _take_turn(connection: AsyncConnection) -> None:
    """Wait for another migration to end, asking now and then.

    The index is built only once nobody is left with a snapshot from before. Who waits for a lock has one, and so has
    who has fetched a row and asked nothing since; a setting drops it.
    """
    await connection.exec_driver_sql("select")  # begins the transaction
    driver: Any = (await connection.get_raw_connection()).driver_connection
    async with asyncio.timeout(MIGRATE_SECONDS):
        while True:
            ours = await driver.fetchval(f"select pg_try_advisory_xact_lock({_LOCK})")
            await driver.execute(f"set local lock_timeout = '{_LOCK_SECONDS}s'")
            if ours:
                return
            await asyncio.sleep(_AGAIN_SECONDS)


async def _build_online(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Build the index of a table that may be large already beside the work on it, which no transaction can.

    One that was broken off is there, of no use, and in the way. The revision then finds it built.
    """
    there, valid = await connection.fetchrow(query("inspect_index"), VERSION_TABLE, _INDEX)  # type: ignore[misc]
    if not there or valid:
        return
    if valid is False:
        await connection.execute(f"drop index concurrently {_INDEX}")
    await connection.execute(f"create index concurrently {_INDEX} on requests (received_at)")


def _upgrade(connection: Connection) -> str:
    found = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    if found is not None and found > head_revision():
        return found
    if found != head_revision():
        config = Config()
        config.set_main_option("script_location", "app:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    _grant(connection)
    return head_revision()


def _grant(connection: Connection) -> None:
    """Only here do later versions learn what they may do: who makes the roles does not know their tables."""
    asked = f"select current_user = '{_OWNER}' and to_regrole('{_WORKER}') is not null"
    if not connection.exec_driver_sql(asked).scalar():
        return
    for table, rights in NEEDED.items():
        connection.exec_driver_sql(f"revoke all on {table} from {_WORKER}")
        connection.exec_driver_sql(f"grant {', '.join(rights)} on {table} to {_WORKER}")


def _judge(error: Exception) -> WorkerError:
    """SQLAlchemy wraps the driver's error, twice."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    return connecting(error)
