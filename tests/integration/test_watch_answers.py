"""What watch reads and prints, from real answers."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

import app.consumer.follow
from app.consumer.follow import Follower
from app.errors import SetupNeeded
from app.model import Record
from app.settings import Settings
from devstack.servers import Servers
from tests.conftest import own_settings
from tests.faults.broker_side import make_topics
from tests.support import PATIENCE, ask, asking, child, plain, until

COMMAND = Path(sys.executable).with_name("patient-upsert")
LONG_AGO = timedelta(hours=1)


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Added partitions are looked for at every poll."""
    monkeypatch.setattr(app.consumer.follow, "LOOK_SECONDS", 0)


def environment(settings: Settings) -> dict[str, str]:
    names = ("kafka_bootstrap_servers", "request_topic", "completed_topic", "failed_topic", "dlq_topic")
    return {**os.environ, **{f"PATIENT_UPSERT_{name.upper()}": getattr(settings, name) for name in names}}


@asynccontextmanager
async def watching(settings: Settings, *arguments: str, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command as it runs in a pipe."""
    streams = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE, **options}
    async with child(COMMAND, "watch", *arguments, env=environment(settings), **streams) as process:
        yield process


async def printed(settings: Settings, *arguments: str) -> list[dict[str, Any]]:
    """What the command prints until it ends by itself."""
    async with watching(settings, *arguments) as process, asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    return [orjson.loads(line) for line in out.splitlines()]


async def answered_requests(settings: Settings) -> None:
    """Two created, one refused."""
    async with asking(settings) as requester:
        await ask(requester, plain("cus_1"), plain("cus_2", firstName="Xanthippe"), plain("cus_1", phone="-"))


def follower(settings: Settings, since: timedelta | None = None) -> Follower:
    moment = None if since is None else datetime.now(UTC) - since
    return Follower(settings, [settings.completed_topic, settings.failed_topic], moment)


async def begin(following: Follower) -> None:
    """Poll until it reads: topics that were just made may not be known to every broker yet."""

    async def reads() -> bool:
        with suppress(SetupNeeded):
            assert await following.poll() == []
        return following.partitions >= 6

    await until(reads)


async def collected(following: Follower, count: int) -> list[Record]:
    """Poll until so many records have come."""
    found: list[Record] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            found += await following.poll()
    return found


async def test_answers_are_json_lines_without_health_data_in_a_pipe(settings: Settings) -> None:
    await answered_requests(settings)
    lines = await printed(settings, "--since", "1h", "--count", "3")
    refused = next(line for line in lines if line["status"] == 400)
    assert {line["outcome"] for line in lines} == {"created", "rejected"}
    assert refused["error"] == "validation_failed"
    assert refused["details"] == [{"field": "/phone", "code": "too_few_digits"}]
    assert refused["topic"] == settings.failed_topic
    assert refused["request"]["customer"] == "cus_1"
    assert list(refused) == [
        "time",
        "topic",
        "partition",
        "offset",
        "status",
        "outcome",
        "request",
        "error",
        "details",
        "replayed",
    ]
    assert "Xanthippe" not in str(lines)


async def test_values_adds_the_response(settings: Settings) -> None:
    await answered_requests(settings)
    (line,) = await printed(settings, "--since", "1h", "--count", "1", "--customer", "cus_2", "--values")
    assert line["response"]["firstName"] == "Xanthippe"


async def test_failed_shows_the_failed_topic_alone(settings: Settings) -> None:
    await answered_requests(settings)
    (line,) = await printed(settings, "--since", "1h", "--count", "1", "--failed")
    assert line["status"] == 400


async def test_customer_shows_that_customer_alone(settings: Settings) -> None:
    await answered_requests(settings)
    lines = await printed(settings, "--since", "1h", "--count", "2", "--customer", "cus_1")
    assert sorted(line["outcome"] for line in lines) == ["created", "rejected"]


async def test_without_since_only_later_answers_are_read(settings: Settings) -> None:
    await answered_requests(settings)
    following = follower(settings)
    await begin(following)
    async with asking(settings) as requester:
        (answer,) = await ask(requester, plain("cus_3"))
    (record,) = await collected(following, 1)
    await following.close()
    assert (record.position.partition, record.position.offset) == (answer.record.partition, answer.record.offset)


async def test_since_begins_at_that_time_in_every_partition(settings: Settings) -> None:
    await answered_requests(settings)
    boundary = datetime.now(UTC)
    await until(lambda: datetime.now(UTC) > boundary + timedelta(milliseconds=2))
    async with asking(settings) as requester:
        await ask(requester, plain("cus_3"), plain("cus_4"))
    early = follower(settings, LONG_AGO)
    assert len(await collected(early, 5)) == 5
    await early.close()
    late = Follower(settings, [settings.completed_topic, settings.failed_topic], boundary)
    records = await collected(late, 2)
    await late.close()
    assert sorted(orjson.loads(record.value or b"")["request"]["customer"] for record in records) == ["cus_3", "cus_4"]


async def test_partitions_that_are_added_are_read_from_their_beginning(settings: Settings) -> None:
    following = follower(settings)
    await begin(following)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    await admin.create_partitions({settings.completed_topic: NewPartitions(total_count=4)})
    await admin.close()
    await produce(settings, settings.completed_topic, partition=3)
    (record,) = await collected(following, 1)
    assert (record.position.partition, record.position.offset, following.partitions) == (3, 0, 7)
    await produce(settings, settings.completed_topic, partition=0)
    (record,) = await collected(following, 1)
    await following.close()
    assert record.position.partition == 0


async def test_records_of_an_aborted_transaction_are_not_shown(settings: Settings) -> None:
    following = follower(settings)
    await begin(following)
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, transactional_id=settings.group_id)
    await producer.start()
    await producer.begin_transaction()
    await producer.send_and_wait(settings.completed_topic, b"aborted", partition=0)
    await producer.abort_transaction()
    await producer.stop()
    await produce(settings, settings.completed_topic, partition=0)
    (record,) = await collected(following, 1)
    await following.close()
    assert record.value == b"{}"


async def test_topics_that_are_made_later_are_read_from_their_beginning(shared: Servers, database_url: str) -> None:
    settings = own_settings(shared.kafka, database_url)
    following = follower(settings)
    with pytest.raises(SetupNeeded, match=r"is missing; run: patient-upsert setup"):
        await following.poll()
    await make_topics(settings)
    await produce(settings, settings.failed_topic, partition=1)
    (record,) = await collected(following, 1)
    await following.close()
    assert (record.position.topic, record.position.offset) == (settings.failed_topic, 0)


async def test_ctrl_c_ends_it_as_if_all_were_said(settings: Settings) -> None:
    await answered_requests(settings)
    async with watching(settings, "--since", "1h") as process, asyncio.timeout(PATIENCE):
        assert process.stdout is not None
        await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")


async def test_kafka_away_is_one_line_and_ctrl_c_still_ends_it(settings: Settings) -> None:
    away = settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"})
    async with watching(away) as process, asyncio.timeout(PATIENCE):
        assert process.stderr is not None
        line = await process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = await process.communicate()
    assert line == b"waiting: Kafka is away; patient-upsert doctor says why\n"
    assert (process.returncode, rest) == (0, (b"", b""))


async def test_it_ends_when_nobody_reads_its_lines_any_more(settings: Settings) -> None:
    await answered_requests(settings)
    reading, writing = os.pipe()
    async with watching(settings, "--since", "1h", stdout=writing) as process, asyncio.timeout(PATIENCE):
        os.close(writing)
        await asyncio.to_thread(os.read, reading, 1)
        os.close(reading)
        _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")


async def test_a_terminal_gets_a_table_that_fits(settings: Settings) -> None:
    await answered_requests(settings)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    screen = b""

    def read() -> None:
        nonlocal screen
        with suppress(OSError):  # the other end was closed
            while b"answers: 3;" not in screen:
                screen += os.read(ours, 65536)

    async with watching(settings, "--since", "1h", stdout=theirs) as process, asyncio.timeout(PATIENCE):
        os.close(theirs)
        await asyncio.to_thread(read)
        process.send_signal(signal.SIGINT)
        await asyncio.to_thread(drain, ours)
        assert await process.wait() == 0
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.decode()).replace("\r", "")
    assert "time      status  outcome" in text
    assert "/phone too_few_digits" in text
    assert "Xanthippe" not in text
    assert max(len(line) for line in text.splitlines() if "status" not in line or line.startswith("time")) <= 80


def drain(terminal: int) -> None:
    """Read what is still written, so that the writer does not wait for us."""
    with suppress(OSError):
        while os.read(terminal, 65536):
            pass


async def produce(settings: Settings, topic: str, *, partition: int) -> None:
    """A record that is no answer."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers)
    await producer.start()
    try:
        await producer.send_and_wait(topic, b"{}", partition=partition)
    finally:
        await producer.stop()
