"""The roles of deploy/postgres-roles.sql, as an operator sets them up."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import asyncpg

from app.settings import Settings
from app.store.migrate import migrate

FILE: Final = Path(__file__).parents[1] / "deploy" / "postgres-roles.sql"
OWNER: Final = "patient_upsert_owner"
MIGRATOR: Final = "patient_upsert_migrator"
WORKER: Final = "patient_upsert_worker"
READER: Final = "patient_upsert_reader"
PASSWORD: Final = "parole"
_LOCK: Final = 0x726F6C6573


def as_role(url: str, role: str) -> str:
    """The same database, logged in to as this role."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}:{PASSWORD}@{parts.hostname}:{parts.port}").geturl()


def as_worker(url: str) -> str:
    """The same database, logged in to as the worker."""
    return as_role(url, WORKER)


def as_owner(settings: Settings) -> str:
    """Its database, for what the owner of the tables may do and the worker may not."""
    return as_role(settings.database_url.get_secret_value(), MIGRATOR)


async def with_roles(url: str, server: str) -> None:
    """Give the superuser's database the roles, and migrate it as the migrator. `server` is another database of it."""
    # Roles belong to all databases, and other test processes may be making them: a lock holds in one database only.
    turns = await asyncpg.connect(server)
    connection = await asyncpg.connect(url)
    try:
        await turns.execute(f"select pg_advisory_lock({_LOCK})")
        await connection.execute(FILE.read_text())
        for role in (MIGRATOR, WORKER, READER):
            await connection.execute(f"alter role {role} password '{PASSWORD}'")
    finally:
        await connection.close()
        await turns.close()
    await migrate(as_role(url, MIGRATOR))
