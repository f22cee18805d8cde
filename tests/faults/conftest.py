"""Servers that fault tests may stop: their own, so that nobody else notices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import asyncpg
import pytest

from app.settings import Settings
from devstack.servers import Control, Servers, servers
from tests.conftest import own_settings
from tests.faults.broker_side import log_of, make_topics
from tests.roles import as_worker, with_roles
from tests.support import with_database

GUARDED = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}
"""Nobody has a name here, and everybody every right that no rule takes."""


@dataclass(frozen=True, slots=True)
class Ours:
    """Servers of our own, with a hold over each."""

    servers: Servers
    kafka: Control
    postgres: Control


@pytest.fixture(scope="module")
def ours() -> Iterator[Ours]:
    """Kafka and Postgres that may be stopped."""
    with servers(kafka=GUARDED) as found:
        if found.kafka_control is None or found.postgres_control is None:
            pytest.skip("these servers are not ours to stop")
        yield Ours(found, found.kafka_control, found.postgres_control)


@pytest.fixture
async def own(ours: Ours) -> Settings:
    """Settings on those servers, with topics and a migrated database, as the worker."""
    name = f"test_{uuid4().hex[:8]}"
    connection = await asyncpg.connect(ours.servers.database_url)
    await connection.execute(f"create database {name}")
    await connection.close()
    url = with_database(ours.servers.database_url, name)
    await with_roles(url, ours.servers.database_url)
    settings = log_of(own_settings(ours.servers.kafka, as_worker(url)))
    await make_topics(settings)
    return settings
