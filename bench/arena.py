"""Where a run takes place: its topics, its consumer group, its database; fresh for each run, gone afterwards."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
from pydantic import SecretStr

from app.settings import PREFIX, Settings
from app.store.migrate import migrate
from bench.kafka import create_topics, delete_topics
from bench.people import COLUMNS, rows
from devstack.servers import Servers

PARTITIONS: Final = 6
_STATEMENT_SECONDS: Final = 3600.0
_OLD_ANSWERS: Final = """
insert into requests
select decode(md5('old' || n), 'hex'), '/old', n::text, 'cus_old_' || n, $2::text, 0, n, 1600000000000, sha256('old'),
    'created', convert_to(repeat('x', 700), 'UTF8'), timestamptz '2020-09-13' + n * interval '1 second'
from generate_series(1, $1::integer) as n
"""


@dataclass(frozen=True, slots=True)
class Arena:
    """Where one run takes place."""

    settings: Settings

    def environment(self, **more: str) -> dict[str, str]:
        """What a process needs to work here; of the shell's own settings nothing is left."""
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
        values = {
            f"{PREFIX}{name.upper()}": str(value)
            for name, value in self.settings.model_dump(exclude_defaults=True).items()
            if name != "database_url"
        }
        return {**kept, **values, f"{PREFIX}DATABASE_URL": self.settings.database_url.get_secret_value(), **more}

    def under(self, group: str) -> Arena:
        """The same place for another consumer group, which reads all requests again."""
        return Arena(self.settings.model_copy(update={"group_id": group}))


@dataclass(slots=True)
class Ground:
    """The servers, and databases with rows in them that runs get a copy of."""

    servers: Servers
    _templates: dict[tuple[int, bool], str] = field(default_factory=dict)

    @contextmanager
    def arena(self, *, customers: int, partitions: int = PARTITIONS) -> Iterator[Arena]:
        """A place of its own for one run, with so many customers in its tables before it begins."""
        name = f"bench_{uuid4().hex[:8]}"
        template = self._template(customers, copied=True)
        settings = self._settings(name, partitions)
        asyncio.run(_execute(self.servers.database_url, f"create database {name} template {template}", "checkpoint"))
        create_topics(settings)
        try:
            yield Arena(settings)
        finally:
            delete_topics(settings)
            asyncio.run(_execute(self.servers.database_url, f"drop database {name} with (force)"))

    @contextmanager
    def on_template(self, *, customers: int, partitions: int = PARTITIONS) -> Iterator[Arena]:
        """As `arena`, on the rows themselves and not on a copy: for tables that take minutes to copy."""
        settings = self._settings(f"bench_{uuid4().hex[:8]}", partitions)
        url = with_database(self.servers.database_url, self._template(customers, copied=False))
        create_topics(settings)
        try:
            yield Arena(settings.model_copy(update={"database_url": SecretStr(url)}))
        finally:
            delete_topics(settings)

    def drop(self, customers: int, *, copied: bool = False) -> None:
        """Give back the space of a table that runs worked on themselves."""
        if template := self._templates.pop((customers, copied), None):
            asyncio.run(_execute(self.servers.database_url, f"drop database {template} with (force)"))

    def close(self) -> None:
        """Leave nothing on servers that are not ours."""
        for customers, copied in list(self._templates):
            self.drop(customers, copied=copied)

    def _settings(self, name: str, partitions: int) -> Settings:
        given: dict[str, Any] = {
            "kafka_bootstrap_servers": self.servers.kafka,
            "database_url": SecretStr(with_database(self.servers.database_url, name)),
            "group_id": name,
            "topic_partitions": partitions,
        }
        given |= {f"{topic}_topic": f"{name}.{topic}" for topic in ("request", "completed", "failed", "dlq")}
        return Settings(**given)

    def _template(self, customers: int, *, copied: bool) -> str:
        key = customers, copied
        if key not in self._templates:
            name = f"bench_rows_{customers}_{uuid4().hex[:8]}"
            asyncio.run(_execute(self.servers.database_url, f"create database {name}"))
            self._templates[key] = name
            asyncio.run(_fill(with_database(self.servers.database_url, name), customers))
        return self._templates[key]


def with_database(url: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def remembered(settings: Settings, count: int = 0) -> int:
    """How many answers of long ago are stored; `count` more of them are put there first."""
    connection = await asyncpg.connect(settings.database_url.get_secret_value(), timeout=10)
    try:
        if count:
            await connection.execute(_OLD_ANSWERS, count, settings.request_topic, timeout=_STATEMENT_SECONDS)
            await connection.execute("vacuum (freeze, analyze) requests", timeout=_STATEMENT_SECONDS)
        return int(await connection.fetchval("select count(*) from requests where source = '/old'"))
    finally:
        await connection.close()


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        for statement in statements:
            await connection.execute(statement, timeout=_STATEMENT_SECONDS)
    finally:
        await connection.close()


async def _fill(url: str, customers: int) -> None:
    await migrate(url)
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await fill(connection, customers)
    finally:
        await connection.close()


async def fill(connection: asyncpg.Connection[Any], customers: int) -> None:
    """Put so many customers with their patients into tables that are migrated and empty."""
    source = _sent(rows(customers))
    await connection.copy_to_table("customers", source=source, columns=COLUMNS, timeout=_STATEMENT_SECONDS)
    await connection.execute("vacuum (freeze, analyze)", timeout=_STATEMENT_SECONDS)


async def _sent(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
