"""One pair of servers a run; a database of its own and topics of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from app.settings import Settings
from app.store.migrate import migrate
from devstack.servers import Servers, servers
from tests.faults.broker_side import make_topics
from tests.support import with_database


@pytest.fixture(scope="session")
def shared() -> Iterator[Servers]:
    """Kafka and Postgres for the whole run, where SERVERS says."""
    with servers() as found:
        yield found


@pytest.fixture(scope="session")
async def template(shared: Servers) -> AsyncIterator[str]:
    """A migrated database, of which each test gets a copy."""
    name = f"template_{uuid4().hex[:8]}"
    connection = await asyncpg.connect(shared.database_url)
    await connection.execute(f"create database {name}")
    await migrate(with_database(shared.database_url, name))
    yield name
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()


@pytest.fixture
async def database_url(shared: Servers, template: str) -> AsyncIterator[str]:
    """A migrated database of the test's own."""
    name = f"test_{uuid4().hex[:8]}"
    connection = await asyncpg.connect(shared.database_url)
    await connection.execute(f"create database {name} template {template}")
    yield with_database(shared.database_url, name)
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()


@pytest.fixture
async def settings(shared: Servers, database_url: str) -> Settings:
    """Settings with topics, group and database of the test's own; the topics exist."""
    own = own_settings(shared.kafka, database_url)
    await make_topics(own)
    return own


def own_settings(kafka: str, database_url: str, **changes: object) -> Settings:
    """Settings that share no name with another test."""
    name = f"t{uuid4().hex[:8]}"
    arguments: dict[str, object] = {
        "kafka_bootstrap_servers": kafka,
        "database_url": SecretStr(database_url),
        "group_id": name,
        "request_topic": f"{name}.requested",
        "completed_topic": f"{name}.completed",
        "failed_topic": f"{name}.failed",
        "dlq_topic": f"{name}.dlq",
        "topic_partitions": 3,
        "log_format": "console",
        "http_port": 0,
    }
    return Settings(**{**arguments, **changes})  # type: ignore[arg-type]
