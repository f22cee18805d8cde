"""Topics that are missing, too small, made again, or that lose records: the worker stops where it must, and goes on."""

from __future__ import annotations

from typing import Any

import pytest
from faststream.asgi import AsgiFastStream

from app.settings import Settings
from tests.faults.broker_side import (
    all_answered,
    answers,
    committed,
    configure,
    delete_topic,
    expire,
    foreign,
    log_lines,
    log_of,
    make_topics,
    remake_topic,
    until_committed,
)
from tests.support import page, plain, ready, running, until

BAD: dict[str, Any] = {"phone": "x"}


async def waiting(app: AsgiFastStream) -> dict[str, str]:
    """What /readyz says is waited for."""
    status, content = await page(app, "/readyz")
    assert (status == 200) == (not content["waiting"])
    return dict(content["waiting"])


async def until_stopped(app: AsgiFastStream, settings: Settings, partition: int, offset: int, cause: str) -> None:
    """Await that this partition is said to have stopped at this offset, for this cause."""
    part = f"partition {settings.request_topic}/{partition}"

    async def told() -> bool:
        return (await waiting(app)).get(part, "").startswith(f"stopped at offset {offset}: {cause}")

    await until(told)


async def metric(app: AsgiFastStream, name: str) -> float:
    _, text = await page(app, "/metrics")
    return next(
        float(line.split()[-1]) for line in str(text).splitlines() if line.startswith(f"patient_upsert_{name} ")
    )


@pytest.mark.rule("R6.69")
async def test_a_partition_whose_answer_has_no_topic_stops_there_and_goes_on_when_the_topic_is_made_again(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = log_of(settings)
    producer = foreign(settings)
    async with running(settings) as app:
        await ready(app)
        first = await producer.send(settings, plain("cus_0"), partition=0)
        await all_answered(settings, *first)
        await delete_topic(settings, settings.completed_topic)
        stuck = await producer.send(settings, plain("cus_1", **BAD), plain("cus_2"), plain("cus_3"), partition=0)
        going = await producer.send(settings, *(plain(f"cus_{n}", **BAD) for n in range(3)), partition=1)
        await until_stopped(app, settings, 0, 2, f"topic {settings.completed_topic} is missing")
        await until_committed(settings, p0=2, p1=3)
        later = await producer.send(settings, plain("cus_4", **BAD), partition=1)
        held = await producer.send(settings, plain("cus_4", **BAD), partition=0)
        await until_committed(settings, p1=4)
        assert await committed(settings) == {0: 2, 1: 4}
        assert await metric(app, "stopped_partitions") == 1
        await make_topics(settings)
        given = await all_answered(settings, *stuck, *going, *later, *held)
        await ready(app)
        await until_committed(settings, p0=5, p1=4)
        behind = await producer.send(settings, plain("cus_5"), partition=0)
        given = await all_answered(settings, *behind)
        assert await metric(app, "stopped_partitions") == 0
    assert [given[place][-1].status for place in stuck] == [400, 200, 200]
    assert all(len({answer.record.value for answer in found}) == 1 for found in given.values())
    stops = [line for line in log_lines(capsys, "waiting") if line["part"].startswith("partition")]
    assert len(stops) <= 4  # one for each change of the cause, not one for each try


@pytest.mark.rule("R6.70")
async def test_an_answer_too_large_for_its_topic_stops_its_partition_alone_until_the_topic_takes_it(
    settings: Settings,
) -> None:
    producer = foreign(settings)
    large: dict[str, Any] = dict.fromkeys(("firstName", "lastName"), "\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 200)
    await configure(settings, settings.completed_topic, max_message_bytes="2000")
    async with running(settings) as app:
        await ready(app)
        before = await producer.send(settings, plain("cus_0"), partition=0)
        stuck = await producer.send(settings, plain("cus_1", **large), plain("cus_2"), partition=0)
        going = await producer.send(settings, *(plain(f"cus_{n}") for n in range(10, 22)), partition=1)
        given = await all_answered(settings, *before, *going)
        await until_committed(settings, p0=1, p1=12)
        assert not set(given) & set(stuck)
        again = await producer.send(settings, *(plain(f"cus_{n}") for n in range(30, 33)), partition=1)
        await all_answered(settings, *again)
        await until_stopped(app, settings, 0, 1, f"topic {settings.completed_topic} refuses the record as too large")
        await configure(settings, settings.completed_topic, max_message_bytes="1000000")
        given = await all_answered(settings, *stuck)
        await ready(app)
        await until_committed(settings, p0=3, p1=15)
    assert all(len({answer.record.value for answer in found}) == 1 for found in given.values())


@pytest.mark.rule("R6.71")
@pytest.mark.parametrize("at_once", [False, True], ids=["after a while", "at once"])
async def test_requests_of_a_topic_that_was_made_again_are_answered_as_new_by_a_worker_that_runs_on(
    settings: Settings, at_once: bool
) -> None:
    lengths = {0: 1, 1: 3, 2: 7}  # of the new topic, where the old one had three records everywhere
    async with running(settings) as app:
        await ready(app)
        producer = foreign(settings)
        for partition in lengths:
            old = await producer.send(settings, *(plain(f"cus_{partition}") for _ in range(3)), partition=partition)
        await all_answered(settings, *old)
        await until_committed(settings, p0=3, p1=3, p2=3)
        forget = remake_topic if at_once else delete_topic
        await forget(settings, settings.request_topic)
        await make_topics(settings)
        new = foreign(settings)
        for partition, count in lengths.items():
            requests = [plain(f"cus_{partition}", city=f"New {partition}-{number}") for number in range(count)]
            await new.send(settings, *requests, partition=partition)
        await until_cities(
            settings, {f"New {part}-{number}" for part, count in lengths.items() for number in range(count)}
        )
        await until_committed(settings, p0=1, p1=3, p2=7)


@pytest.mark.rule("R6.71")
@pytest.mark.parametrize("count", [1, 7], ids=["fewer", "more"])
async def test_requests_of_a_topic_that_was_made_again_while_the_worker_was_stopped_are_answered_as_new(
    settings: Settings, count: int
) -> None:
    async with running(settings):
        old = await foreign(settings).send(settings, *(plain(f"cus_{n}") for n in range(3)), partition=0)
        await all_answered(settings, *old)
        await until_committed(settings, p0=3)
    await delete_topic(settings, settings.request_topic)
    await make_topics(settings)
    requests = [plain("cus_1", city=f"New {n}") for n in range(count)]
    await foreign(settings).send(settings, *requests, partition=0)
    async with running(settings):
        await until_cities(settings, {f"New {number}" for number in range(count)})


async def until_cities(settings: Settings, expected: set[str]) -> None:
    """Await the answers to the requests that name these cities, each a first answer of its own."""

    async def cities() -> set[str]:
        given = [answer for found in (await answers(settings)).values() for answer in found]
        return {a.response["city"] for a in given if a.record.header("replayed") is None and a.status == 200}

    async def there() -> bool:
        return expected <= await cities()

    await until(there)


@pytest.mark.rule("R6.72")
async def test_records_that_expire_unread_are_counted_and_logged_as_a_range(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = log_of(settings)
    producer = foreign(settings)
    async with running(settings) as app:
        first = await producer.send(settings, plain("cus_0"), plain("cus_1"), partition=0)
        await all_answered(settings, *first)
        await until_committed(settings, p0=2)
        assert await metric(app, "records_expired_unread_total") == 0
    requests = [plain(f"cus_{number}") for number in range(5)]
    late = await producer.send(settings, *requests, partition=0)
    await expire(settings, 0, before=5)
    capsys.readouterr()
    async with running(settings) as app:
        given = await all_answered(settings, *late[3:])
        assert await metric(app, "records_expired_unread_total") == 3
    (line,) = log_lines(capsys, "records_expired_unread")
    assert (line["partition"], line["first"], line["last"]) == (f"{settings.request_topic}/0", 2, 4)
    assert set(given) == {*first, *late[3:]}
