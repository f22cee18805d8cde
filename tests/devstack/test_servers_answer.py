"""Both servers are real, and come back with their data on the same address."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from devstack.servers import Control, Servers, servers
from tests.support import PATIENCE, until

OURS = pytest.mark.servers("embedded", "docker")  # those that can be stopped


async def new_topic(bootstrap: str, replicas: int = 1) -> str:
    name = f"topic-{uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()

    async def made() -> bool:
        """Refused as long as a node of several is not yet known to the others."""
        response: Any = await admin.create_topics([NewTopic(name, 1, replicas)])
        return bool(response.topic_errors[0][1] == 0)

    try:
        await until(made)
    finally:
        await admin.close()
    return name


async def send(bootstrap: str, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


async def first_record(bootstrap: str, topic: str) -> bytes | None:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(PATIENCE):
            return (await consumer.getone()).value
    finally:
        await consumer.stop()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url, timeout=PATIENCE)
    try:
        yield connection
    finally:
        await connection.close()


async def stop(control: Control) -> None:
    await asyncio.to_thread(control.stop)


async def kill(control: Control) -> None:
    await asyncio.to_thread(control.kill)


async def test_a_record_round_trips(own_servers: Servers) -> None:
    topic = await new_topic(own_servers.kafka)
    await send(own_servers.kafka, topic, b"here")
    assert await first_record(own_servers.kafka, topic) == b"here"


async def test_topics_are_never_created_by_accident(own_servers: Servers) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=own_servers.kafka)
    await admin.start()
    try:
        await admin.describe_topics(["mistyped"])
        assert "mistyped" not in await admin.list_topics()
    finally:
        await admin.close()


@OURS
async def test_postgres_is_of_the_version_asked_for(own_servers: Servers) -> None:
    async with connected(own_servers.database_url) as connection:
        assert connection.get_server_version().major == int(os.environ.get("PG") or 18) == own_servers.postgres_version


async def test_the_role_of_postgres_may_create_databases(own_servers: Servers) -> None:
    async with connected(own_servers.database_url) as connection:
        await connection.execute("create database made_here")
        await connection.execute("drop database made_here")


@OURS
@pytest.mark.parametrize("end", [stop, kill])
async def test_kafka_keeps_address_and_data(own_servers: Servers, end: Callable[[Control], Any]) -> None:
    assert own_servers.kafka_control
    topic = await new_topic(own_servers.kafka)
    await send(own_servers.kafka, topic, b"kept")
    await end(own_servers.kafka_control)
    await asyncio.to_thread(own_servers.kafka_control.start)
    assert await first_record(own_servers.kafka, topic) == b"kept"


@OURS
@pytest.mark.parametrize("end", [stop, kill])
async def test_postgres_keeps_address_and_data(own_servers: Servers, end: Callable[[Control], Any]) -> None:
    assert own_servers.postgres_control
    async with connected(own_servers.database_url) as connection:
        await connection.execute("create table kept (value integer)")
        await connection.execute("insert into kept values (7)")
    await end(own_servers.postgres_control)
    with pytest.raises(OSError):  # noqa: PT011 - refused, or reset by Docker's proxy
        await asyncpg.connect(own_servers.database_url, timeout=PATIENCE)
    await asyncio.to_thread(own_servers.postgres_control.start)
    async with connected(own_servers.database_url) as connection:
        assert await connection.fetchval("select value from kept") == 7
        await connection.execute("drop table kept")


@OURS
async def test_a_paused_postgres_holds_its_connections_and_answers_later(own_servers: Servers) -> None:
    assert own_servers.postgres_control
    async with connected(own_servers.database_url) as connection:
        own_servers.postgres_control.pause()
        asked = asyncio.create_task(connection.fetchval("select 7"))
        try:
            done, _ = await asyncio.wait([asked], timeout=0.5)
            assert not done
        finally:
            own_servers.postgres_control.resume()
        assert await asked == 7


@OURS
async def test_three_nodes_go_on_with_two() -> None:
    with servers(nodes=3) as found:
        topic = await new_topic(found.kafka, replicas=3)
        found.kafka_nodes[0].kill()
        await send(found.kafka, topic, b"still here")
        assert await first_record(found.kafka, topic) == b"still here"
