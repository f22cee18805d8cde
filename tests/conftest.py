"""One pair of servers a run; a database of its own and topics of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import asyncpg
import pytest
import structlog
from pydantic import SecretStr

from app.settings import Settings
from devstack.servers import Servers, servers
from tests.faults.broker_side import make_topics
from tests.roles import as_worker, with_roles
from tests.support import with_database


@pytest.fixture(autouse=True)
def _log_of_its_own() -> Iterator[None]:
    """A log that a test has sent to its captured output ends with it: the next one would write to a closed file."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def shared() -> Iterator[Servers]:
    """Kafka and Postgres for the whole run, where SERVERS says."""
    with servers() as found:
        yield found


@pytest.fixture(scope="session")
async def template(shared: Servers) -> AsyncIterator[str]:
    """A database with roles, migrated, of which each test gets a copy."""
    name = f"template_{uuid4().hex[:8]}"
    connection = await asyncpg.connect(shared.database_url)
    await connection.execute(f"create database {name}")
    await with_roles(with_database(shared.database_url, name), shared.database_url)
    yield name
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()


@pytest.fixture
async def database_url(shared: Servers, template: str) -> AsyncIterator[str]:
    """A migrated database of the test's own, as a superuser: for what the worker may not do."""
    name = f"test_{uuid4().hex[:8]}"
    connection = await asyncpg.connect(shared.database_url)
    await connection.execute(f"create database {name} template {template}")
    yield with_database(shared.database_url, name)
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()


@pytest.fixture
def worker_url(database_url: str) -> str:
    """The same database as the worker is to log in to it, with no more rights than it uses."""
    return as_worker(database_url)


@pytest.fixture
async def settings(shared: Servers, worker_url: str) -> Settings:
    """Settings with topics, group and database of the test's own, as the worker; the topics exist."""
    own = own_settings(shared.kafka, worker_url)
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
