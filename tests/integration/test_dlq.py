"""Dead letters from the command line: seen, tried, published again once each, dropped."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import asyncpg
import orjson
import pytest
from aiokafka import AIOKafkaProducer

from app.cli.dlq.letter import Chosen
from app.cli.dlq.work import listed, listed_refusals, moved, shown, tried
from app.consumer.letters import marks_of
from app.consumer.requester import Inbound
from app.settings import Settings
from tests.faults.broker_side import everything
from tests.roles import as_owner
from tests.support import PATIENCE, answered, ask, asking, body, plain, until

LETTERS = 120
REPLAY: dict[str, Any] = {"replay": True, "rate": None, "token": None, "as_json": True}
DROP: dict[str, Any] = {**REPLAY, "replay": False}


async def execute(settings: Settings, statement: str) -> None:
    connection = await asyncpg.connect(as_owner(settings))
    await connection.execute(statement)
    await connection.close()


async def stands(settings: Settings) -> list[Any]:
    """Every row there is."""
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    try:
        return [await connection.fetch(f"select * from {table} order by 1") for table in ("customers", "requests")]
    finally:
        await connection.close()


async def made_letters(settings: Settings, count: int) -> None:
    """So many requests, none of which a worker has read, and a letter to each."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers)
    await producer.start()
    try:
        requests = [plain(f"cus_{number}") for number in range(count)]
        sent = [await producer.send(settings.request_topic, each.value, key=each.key) for each in requests]
        for each, place in zip(requests, await asyncio.gather(*sent), strict=True):
            told = {"topic": place.topic, "partition": place.partition, "offset": place.offset, "group": "g"}
            told |= {"timestamp": place.timestamp, "message": "the request could not be processed"}
            headers = [(f"__dlq.errors.{name}", str(value).encode()) for name, value in told.items()]
            await producer.send(settings.dlq_topic, each.value, key=each.key, headers=headers)
    finally:
        await producer.stop()


async def published_again(settings: Settings) -> list[Inbound]:
    """What lies in the request topic, committed, with the headers of a letter."""
    return [each for each in await everything(settings, settings.request_topic) if each.headers]


def lines(captured: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in captured.splitlines()]


@pytest.mark.rule("R14.1", "R14.2")
async def test_a_dry_run_says_what_the_replay_then_does(
    settings: Settings, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    await execute(settings, "alter table customers add constraint no_atlantis check (city <> 'Atlantis')")

    async def told(work: Any) -> tuple[int, list[dict[str, Any]]]:
        sys.stdout.flush()
        capfdbinary.readouterr()
        code = await work
        sys.stdout.flush()
        return code, lines(capfdbinary.readouterr().out)

    async with asking(settings) as requester:
        await ask(requester, *(plain(f"cus_{n}", city="Atlantis") for n in range(1, 5)))
        places = list(requester.sent)
        await ask(requester, plain("cus_2", city="Leeds"), plain("cus_3"), plain("cus_3", phone="-"))
        await execute(settings, "alter table customers drop constraint no_atlantis")
        await execute(settings, "update customers set deleted_at = now() where customer = 'cus_3'")
        before = await stands(settings)
        _, listing = await told(listed(settings, Chosen(), done=False, as_json=True))
        code, forecast = await told(tried(settings, Chosen(), None, as_json=True))
        assert await stands(settings) == before
        assert code == 1  # one would be refused
        becomes = {each["request"]["customer"]: each["becomes"] for each in forecast}
        assert {customer: each["outcome"] for customer, each in becomes.items()} == {
            "cus_1": "created", "cus_2": "superseded", "cus_3": "rejected", "cus_4": "created",
        }  # fmt: skip
        assert becomes["cus_3"]["error"] == "customer_not_found"
        assert {(each["place"]["partition"], each["place"]["offset"]) for each in listing} == set(places)
        assert {each["error"] for each in listing} == {"internal_error"}
        one = next(each for each in listing if each["request"]["customer"] == "cus_4")
        assert await told(moved(settings, Chosen(customer="cus_4"), **DROP)) == (
            0, [{"moved": 1, "left": 0, "marks_full": False, "stopped": False}],
        )  # fmt: skip
        _, done = await told(moved(settings, Chosen(), **REPLAY))
        assert done[0]["moved"] == 3

        async def healed() -> bool:
            await requester.receive()
            return all(len(requester.answered[place]) == 2 for place in places[:3])

        await until(healed)
        outcomes = [answered(requester.answered[place][-1]).outcome for place in places]
        assert outcomes == ["created", "superseded", "rejected", "failed"]
    _, rest = await told(listed(settings, Chosen(), done=False, as_json=True))
    _, every = await told(listed(settings, Chosen(), done=True, as_json=True))
    assert (rest, len(every), {each["done"] for each in every}) == ([], 4, {True})
    place = {one["partition"]: ((one["offset"], one["offset"]),)}
    _, plainly = await told(shown(settings, Chosen(offsets=place), values=False, as_json=True))
    assert "Atlantis" not in str([forecast, listing, every, plainly])
    _, (record,) = await told(shown(settings, Chosen(offsets=place), values=True, as_json=True))
    assert record["record"]["value_text"].encode() == body(city="Atlantis")
    _, refusals = await told(listed_refusals(settings, Chosen(code="too_few_digits"), as_json=True))
    assert [(each["error"], each["request"]["customer"]) for each in refusals] == [("validation_failed", "cus_3")]


async def command(settings: Settings, *arguments: str) -> int | None:
    """The exit code of the command, which may have killed itself."""
    names = ("kafka_bootstrap_servers", "group_id", "request_topic", "completed_topic", "failed_topic", "dlq_topic")
    own = {f"PATIENT_UPSERT_{name.upper()}": str(getattr(settings, name)) for name in names}
    program = [sys.executable, "-m", "tests.faults.killing_replays", *arguments]
    silent = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*program, env={**os.environ, **own}, stdout=silent, stderr=silent)
    async with asyncio.timeout(PATIENCE):
        return await process.wait()


@pytest.mark.rule("R14.3")
async def test_a_replay_that_is_killed_between_any_two_steps_publishes_every_letter_once(settings: Settings) -> None:
    await made_letters(settings, LETTERS)
    for step in ("send_offsets", "commit", "end"):
        assert await command(settings, step, "dlq", "replay") == -9
    halfway = await published_again(settings)
    assert 0 < len(halfway) < LETTERS
    assert await moved(settings, Chosen(), **REPLAY) == 0
    again = await published_again(settings)
    assert len(again) == len({each.key for each in again}) == LETTERS
    for each in again:  # beside the request that it was
        assert each.header("__dlq.errors.partition") == str(each.partition)


@pytest.mark.rule("R14.4")
async def test_a_filter_leaves_what_it_does_not_mean_for_later(settings: Settings) -> None:
    await made_letters(settings, 12)
    letters = await everything(settings, settings.dlq_topic)
    chosen = [Chosen(customer=each.key.decode()) for each in letters[::3] if each.key]
    for each in chosen:
        assert await moved(settings, each, **REPLAY) == 0
        assert await moved(settings, each, **REPLAY) == 0
    assert {each.key for each in await published_again(settings)} == {each.key for each in letters[::3]}
    marks = await marks_of(settings, range(settings.topic_partitions))
    assert [each.offset in marks[each.partition] for each in letters] == [n % 3 == 0 for n in range(len(letters))]
    assert await moved(settings, Chosen(), **DROP) == 0
    assert await moved(settings, Chosen(), **REPLAY) == 0
    assert len(await published_again(settings)) == len(letters[::3])


@pytest.mark.rule("R14.5")
async def test_a_letter_whose_place_is_not_in_the_topic_is_left(settings: Settings) -> None:
    await made_letters(settings, 1)
    (letter,) = await everything(settings, settings.dlq_topic)
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers)
    await producer.start()
    ahead = [(name, b"99" if name.endswith("offset") else value) for name, value in letter.headers]
    await producer.send_and_wait(settings.dlq_topic, letter.value, key=letter.key, headers=ahead)
    await producer.stop()
    assert await moved(settings, Chosen(), **REPLAY) == 1
    assert len(await published_again(settings)) == 1
    marks = await marks_of(settings, range(settings.topic_partitions))
    assert letter.offset + 1 not in marks[letter.partition]
