"""Where the demo takes place: the environment of all its processes, and what it makes on servers that are not ours."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from app.consumer.connection import connection
from app.settings import PREFIX, load_settings
from devstack.servers import Servers

_HOW_TO_REACH_KAFKA = re.compile(rf"{PREFIX}KAFKA_(SECURITY|SASL|SSL)_", re.IGNORECASE)


@contextmanager
def place(found: Servers, say: Callable[[str], None]) -> Iterator[dict[str, str]]:
    """Set the environment for the worker and for ourselves; yields what another shell must export for the same.

    Other settings of the user's shell are dropped: the demo shows the defaults.
    """
    exports = {f"{PREFIX}KAFKA_BOOTSTRAP_SERVERS": found.kafka, f"{PREFIX}DATABASE_URL": found.database_url}
    theirs = found.kind == "env"
    for name in [*os.environ]:
        if name.upper().startswith(PREFIX) and not (theirs and _HOW_TO_REACH_KAFKA.match(name)):
            del os.environ[name]
    if not theirs:
        os.environ.update(exports)
        yield exports
        return
    name = f"demo_{secrets.token_hex(4)}"
    with _database(found.database_url, name) as url:
        exports |= {f"{PREFIX}DATABASE_URL": url, f"{PREFIX}GROUP_ID": name}
        topics = ("REQUEST", "COMPLETED", "FAILED", "DLQ")
        exports |= {f"{PREFIX}{topic}_TOPIC": f"{name}.{topic.lower()}" for topic in topics}
        os.environ.update(exports)
        try:
            yield exports
        finally:
            try:
                asyncio.run(_remove_from_kafka())
            except (KafkaError, OSError) as error:
                say(f"topics {name}.* could not be removed: {type(error).__name__}")


@contextmanager
def _database(url: str, name: str) -> Iterator[str]:
    try:
        asyncio.run(_execute(url, f"create database {name}"))
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    finally:
        asyncio.run(_execute(url, f"drop database if exists {name} with (force)"))


async def _execute(url: str, statement: str) -> None:
    database = await asyncpg.connect(url, timeout=10)
    try:
        await database.execute(statement)
    finally:
        await database.close()


async def _remove_from_kafka() -> None:
    """Delete our topics. The group goes by itself: it has no member and, with the topics gone, no offset."""
    settings = load_settings()
    admin = AIOKafkaAdminClient(**connection(settings))
    await admin.start()
    try:
        wanted = set(settings.topics)
        await admin.delete_topics(sorted(wanted & set(await admin.list_topics())))
    finally:
        await admin.close()
