"""How the broker is wired into FastStream: subscriber, parser and decoder, and who keeps the consumer running."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from faststream.kafka import TestKafkaBroker

from app.consumer import UpsertBroker
from app.consumer import broker as module
from app.consumer.broker import decode, parse
from app.consumer.decode import UNDECODABLE
from app.model import Answer, Record
from app.pipeline import Gate
from app.settings import Settings
from app.telemetry import Health, Metrics, configure_logging
from tests.conftest import own_settings
from tests.support import until


def raw(key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]] = ()) -> Any:
    """A record as aiokafka hands it over."""
    given: Any = tuple(headers)
    return ConsumerRecord("t", 1, 2, 3, 0, key, value, None, 0, 0, given)


ODD = [
    raw(None, None),
    raw(b"\xff", b"\xfe"),
    raw(b"k", b"v", [("h", None), ("content-type", b"\xff"), ("correlation_id", b"\xff\xfe")]),
    raw(b"k", b"v", [("reply_to", None), ("message_id", b"\xff")]),
    raw(b"k", b"[" * 100_000),
    raw(b"k", b"v", [(UNDECODABLE, None)]),
]


class Given:
    """Stands in the worker's place and keeps what it is offered."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    async def offer(self, records: Sequence[Record]) -> None:
        self.records += records


async def nothing(records: Sequence[Record], gate: Gate) -> list[Answer]:
    return []


async def fine() -> None:
    """The database is there."""


def broker_of(settings: Settings, **changes: Any) -> UpsertBroker:
    configure_logging("console", "error")
    given: dict[str, Any] = {"check": fine, "health": Health(), "metrics": Metrics(), **changes}
    rooms: Any = SimpleNamespace(process=nothing, check=given.pop("check"))
    return UpsertBroker(settings, rooms, **given)


@pytest.mark.rule("R6.83")
async def test_parser_and_decoder_take_every_record_as_it_is_and_never_raise() -> None:
    message = await parse(ODD)
    records = await decode(message)
    assert [(record.key, record.value) for record in records] == [(odd.key, odd.value) for odd in ODD]
    assert [record.undecodable for record in records] == [False] * 5 + [True]
    assert {tuple(record.position) for record in records} == {("t", 1, 2, 3)}


@pytest.mark.rule("R6.83")
async def test_what_is_published_to_the_request_topic_reaches_the_worker_as_records() -> None:
    settings = own_settings("nowhere:1", "postgresql://nowhere")
    broker, given = broker_of(settings), Given()
    async with TestKafkaBroker(broker) as tested:
        broker._worker = given  # type: ignore[assignment]
        await tested.publish(b"[" * 100_000, settings.request_topic, key=b"\xff", headers={"X-Any": "1"})
        await tested.publish(b"", settings.request_topic, key=b"cus_1")
    first, second = given.records
    assert (first.key, first.value) == (b"\xff", b"[" * 100_000)
    assert ("X-Any", b"1") in first.headers
    assert (second.key, second.value) == (b"cus_1", b"")
    assert first.position.topic == settings.request_topic


@pytest.mark.rule("R6.83")
async def test_a_record_that_comes_when_there_is_no_worker_any_more_is_left_for_the_next() -> None:
    broker = broker_of(own_settings("nowhere:1", "postgresql://nowhere"))
    await broker.take([])
    assert broker.worker is None
    await broker.stop()


@pytest.mark.rule("R6.84")
async def test_an_error_that_nobody_thought_of_does_not_end_the_watch_over_the_consumer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.01)
    health, tries = Health(), SimpleNamespace(count=0)

    async def broken() -> None:
        tries.count += 1
        raise RuntimeError("Ada Example")

    broker = broker_of(own_settings("nowhere:1", "postgresql://nowhere"), check=broken, health=health)
    await broker.start()
    try:
        await until(lambda: tries.count > 2)
        assert not health.ready
        assert "RuntimeError" in str(health.missing)
        assert "Ada" not in str(health.missing)
    finally:
        await broker.stop()
