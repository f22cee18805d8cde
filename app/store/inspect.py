"""What `doctor` asks Postgres: plain facts, judged elsewhere. It only reads, and every question has a time limit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg

from app.errors import WorkerError
from app.migrations import VERSION_TABLE
from app.store.faults import away, connecting, limited
from app.store.rows import query

CONNECT_SECONDS: Final = 8.0
ASK_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 2.0

NEEDED: Final = {
    "customers": ("select", "insert", "update"),
    "requests": ("select", "insert", "delete"),
    "assignments": ("select", "insert", "update"),
    VERSION_TABLE: ("select",),
}
"""The rights that the worker uses. `doctor` looks for them, and `setup` grants them."""


@dataclass(frozen=True, slots=True)
class Server:
    """The server as this role sees it; the columns of `inspect_server.sql`."""

    version: int
    database: str
    role: str
    standby: bool
    read_only: bool
    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    synchronous_standby_names: str
    replicas: int
    connection_limit: int
    connections: int
    """Open now, on the whole server; ours is one."""
    errors_logged: bool
    """Whether the server's log holds the errors of this role, and in them rows."""
    values_logged: bool
    """Whether it holds the values of statements, where it holds statements."""
    clock_ahead: float
    """Seconds by which the server's clock is ahead of ours, as far as the way there lets us tell."""


@dataclass(frozen=True, slots=True)
class PostgresFacts:
    """What the server told."""

    server: Server
    revision: str | None
    """Of the schema; None when there is none, or it may not be read."""
    denied: dict[str, tuple[str, ...]]
    """The rights that the role lacks, by table."""
    missing: tuple[str, ...]
    """The tables that it does not find."""


Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


async def inspect_postgres(url: str, *, clock: Clock = _now) -> PostgresFacts:
    """Ask the server. Raises Transient, whose text says what stands in the way."""
    # No statement cache: behind pgbouncer, the next statement may meet another server process.
    opening = asyncpg.connect(url, timeout=CONNECT_SECONDS, statement_cache_size=0)
    connection = await limited(opening, CONNECT_SECONDS, connecting)
    try:
        server = await _server(connection, clock)
        asked = [(table, right) for table, rights in NEEDED.items() for right in rights]
        granted = await _ask(connection, "inspect_rights", *map(list, zip(*asked, strict=True)))
        missing = tuple(dict.fromkeys(table for table, _, has in granted if has is None))
        denied: dict[str, tuple[str, ...]] = {}
        for table, right, has in granted:
            if has is False:
                denied[table] = (*denied.get(table, ()), right)
        readable = VERSION_TABLE not in missing and VERSION_TABLE not in denied
        found = await _ask(connection, "read_revision") if readable else []
        return PostgresFacts(server, found[0][0] if found else None, denied, missing)
    finally:
        with suppress(WorkerError):
            await limited(connection.close(timeout=CLOSE_SECONDS), CLOSE_SECONDS, away)


async def _server(connection: asyncpg.Connection[asyncpg.Record], clock: Clock) -> Server:
    before = clock()
    (row,) = await _ask(connection, "inspect_server")
    after = clock()
    columns: dict[str, Any] = dict(row)
    theirs = columns.pop("clock")
    # Read at some moment between our two: only what lies outside is certain to be a difference.
    ahead = max(theirs - after, timedelta()) + min(theirs - before, timedelta())
    return Server(**columns, clock_ahead=ahead.total_seconds())


async def _ask(connection: asyncpg.Connection[asyncpg.Record], name: str, *arguments: Any) -> list[asyncpg.Record]:
    async def asking() -> list[asyncpg.Record]:
        async with connection.transaction(readonly=True):
            return await connection.fetch(query(name), *arguments)

    return await limited(asking(), ASK_SECONDS, away)
