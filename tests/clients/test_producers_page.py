"""The tables of docs/producers.md are what these clients do. `WRITE=1` writes them anew."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from app.consumer.requester import Inbound
from app.settings import Settings
from devstack.servers import Servers
from tests.clients.page import PAGE, table, with_tables
from tests.clients.programs import MURMUR2, PLAIN, SDKS, Client, Programs
from tests.conftest import own_settings
from tests.faults.broker_side import everything

KEYS = (
    *(f"cus_{number}" for number in (1, 2, 3, 4, 5, 42, 1042, 31337)),
    *("a", "ab", "abc", "abcd", "abcde", "CUS.9:x-1", "5d8f4b52-0c5c-4f0e-9d5b-0f6f3c1f7a10"),
    *("0", "4294967296", "zoë", "пациент", "患者-1"),
)
EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "/clinic",
    "type": "patient.upsert.requested",
    "subject": "cus_1",
    "time": "2026-03-04T05:06:07.5+02:00",
    "data": {"city": "London"},
}
BASED = {**{name: value for name, value in EVENT.items() if name != "data"}, "data_base64": "eyJjaXR5IjoiTG9uZG9uIn0="}


@pytest.fixture
async def bare(shared: Servers) -> AsyncIterator[Settings]:
    """Settings with a request topic of 12 partitions whose records never expire, and no worker."""
    settings = own_settings(shared.kafka, "postgresql://unused")
    admin = AdminClient({"bootstrap.servers": shared.kafka})
    new = NewTopic(settings.request_topic, 12, config={"retention.ms": "-1"})
    await asyncio.wrap_future(admin.create_topics([new])[settings.request_topic])
    yield settings
    await asyncio.wrap_future(admin.delete_topics([settings.request_topic])[settings.request_topic])


def same_as_the_page(**tables: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    if os.environ.get("WRITE"):
        PAGE.write_text(with_tables(text, tables), encoding="utf-8")
    else:
        assert with_tables(text, tables) == text


async def test_the_page_says_which_partition_each_client_chooses(bare: Settings, programs: Programs) -> None:
    clients = (*PLAIN, *MURMUR2)
    chosen: dict[str, list[int]] = {}
    for client in clients:
        places = await programs.publish(
            bare.kafka_bootstrap_servers, bare.request_topic, client, *({"key": key, "value": "{}"} for key in KEYS)
        )
        chosen[_title(client)] = [partition for partition, _ in places]
    chosen["aiokafka"] = await by_aiokafka(bare)
    told = [name for name in chosen if name.endswith("²")]
    java = chosen["kafka-clients"]
    assert [name for name, partitions in chosen.items() if partitions == java] == [
        "kafkajs",
        "kafka-clients",
        "franz-go",
        *told,
        "aiokafka",
    ]
    order = ["kafka-clients", "aiokafka", "kafkajs", "franz-go", "confluent-kafka", "kcat", "sarama", *told]
    rows = [[f"`{key}`", *(chosen[name][row] for name in order)] for row, key in enumerate(KEYS)]
    same_as_the_page(partitions=table(["key", *order], rows))


def _title(client: Client) -> str:
    return f"{client.name}²" if client in MURMUR2 else client.name


async def by_aiokafka(settings: Settings) -> list[int]:
    """Where FastStream's client puts the keys."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers)
    await producer.start()
    try:
        sent = [await producer.send_and_wait(settings.request_topic, b"{}", key=key.encode()) for key in KEYS]
    finally:
        await producer.stop()
    return [placed.partition for placed in sent]


async def test_the_page_says_what_each_sdk_puts_on_a_record(bare: Settings, programs: Programs) -> None:
    rows = []
    for client in SDKS:
        places = await programs.publish(
            bare.kafka_bootstrap_servers,
            bare.request_topic,
            client,
            {"key": "cus_1", "mode": "binary", "event": EVENT},
            {"key": "cus_1", "mode": "structured", "event": EVENT},
            {"key": "cus_1", "mode": "structured", "event": BASED},
        )
        records = {(record.partition, record.offset): record for record in await everything(bare, bare.request_topic)}
        binary, structured, based = (records[place] for place in places)
        rows.append([client.name, "binary", *_binary(binary)])
        rows.append(["", "structured", *_structured(structured)])
        rows.append(["", "structured, data as bytes", *_structured(based)])
    head = ["SDK", "mode", "`content-type`", "time", "also written", "record's timestamp"]
    same_as_the_page(sdks=table(head, rows))


EXPECTED = {"id", "source", "specversion", "type", "subject", "time"}


def _binary(record: Inbound) -> list[str]:
    named = {name for name, _ in record.headers}
    assert json.loads(record.value or b"") == EVENT["data"]
    assert {f"ce_{name}" for name in EXPECTED} <= named
    more = named - {f"ce_{name}" for name in EXPECTED} - {"content-type"}
    return _row(record, record.header("ce_time"), more)


def _structured(record: Inbound) -> list[str]:
    assert {name for name, _ in record.headers} == {"content-type"}
    event: dict[str, Any] = json.loads(record.value or b"")
    assert set(event) >= EXPECTED
    return _row(record, event["time"], set(event) - EXPECTED)


def _row(record: Inbound, time: str | None, more: set[str]) -> list[str]:
    event_time = record.timestamp == 1772593567500
    names = ", ".join(f"`{name}`" for name in sorted(more))
    return [f"`{record.header('content-type')}`", f"`{time}`", names, "the event's time" if event_time else "its own"]
