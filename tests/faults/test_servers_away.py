"""Kafka or Postgres away: the worker waits, says so, goes on by itself, and nothing is lost or dead-lettered."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from app.settings import Settings
from tests.faults.broker_side import all_answered, answers, everything, foreign, log_lines
from tests.faults.conftest import Ours
from tests.support import page, plain, ready, running, until


def changes(lines: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Part and cause of each line about what is waited for."""
    return [(line["part"], line.get("cause", "ready")) for line in lines if line["event"] in ("waiting", "ready")]


def assert_one_line_a_change(lines: Sequence[Mapping[str, Any]]) -> None:
    """No part says the same twice in a row, and nothing is said often: retries go on in silence."""
    said: dict[str, str] = {}
    for part, cause in changes(lines):
        assert said.get(part) != cause
        said[part] = cause
    assert max(Counter(changes(lines)).values(), default=0) <= 4, changes(lines)
    assert not [line for line in lines if line["level"] in ("error", "critical")]


@pytest.mark.rule("R6.78")
async def test_the_worker_starts_while_both_servers_are_away_and_becomes_ready_by_itself(
    ours: Ours, own: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    places = await foreign(own).send(own, *(plain(f"cus_{number}") for number in range(9)))
    await asyncio.to_thread(ours.kafka.stop)
    await asyncio.to_thread(ours.postgres.stop)
    async with running(own) as app:

        async def names_both() -> bool:
            status, content = await page(app, "/readyz")
            told = content["waiting"]
            return status == 503 and told["kafka"] != "starting" and told["postgres"] != "starting"

        await until(names_both)
        assert (await page(app, "/livez"))[0] == 200
        await asyncio.to_thread(ours.postgres.start)

        async def names_kafka() -> bool:
            status, content = await page(app, "/readyz")
            return status == 503 and set(content["waiting"]) == {"kafka"}

        await until(names_kafka)
        await asyncio.to_thread(ours.kafka.start)
        await ready(app)
        given = await all_answered(own, *places)
    assert {answer.status for found in given.values() for answer in found} == {200}
    assert_one_line_a_change(log_lines(capsys))


@pytest.mark.rule("R6.79")
@pytest.mark.parametrize("away", ["postgres", "kafka"])
async def test_a_server_that_goes_away_in_the_middle_costs_no_request_and_makes_no_dead_letter(
    ours: Ours, own: Settings, away: str, capsys: pytest.CaptureFixture[str]
) -> None:
    control = ours.postgres if away == "postgres" else ours.kafka
    producer = foreign(own)
    async with running(own) as app:
        await ready(app)
        sending = asyncio.create_task(producer.send(own, *load(0)))
        await until(lambda: own.request_topic and seen(app))
        await asyncio.to_thread(control.stop)
        behind = asyncio.create_task(producer.send(own, *load(1)))

        async def named() -> bool:
            status, content = await page(app, "/readyz")
            return status == 503 and any(away in part + cause for part, cause in content["waiting"].items())

        await until(named)
        assert (await page(app, "/livez"))[0] == 200
        await asyncio.to_thread(control.start)
        places = [*await sending, *await behind]
        given = await all_answered(own, *places)
        await ready(app)
    assert set(given) == set(places)
    assert {answer.status for found in given.values() for answer in found} == {200}
    assert all(len({answer.record.value for answer in found}) == 1 for found in given.values())
    assert_in_order(given, places)
    assert await everything(own, own.dlq_topic) == []
    assert_one_line_a_change(log_lines(capsys))


def load(turn: int) -> list[Any]:
    """Requests of 40 customers, ten each, told apart by their city."""
    return [plain(f"cus_{number % 40}", city=f"City {turn}-{number}") for number in range(400)]


async def seen(app: Any) -> bool:
    _, text = await page(app, "/metrics")
    return "patient_upsert_answers_total{" in text


def assert_in_order(given: Mapping[tuple[int, int], Sequence[Any]], places: Sequence[tuple[int, int]]) -> None:
    """Each customer's answers show it newer from request to request, and each answer shows its own request."""
    newest: dict[str, str] = {}
    for place in sorted(places):
        answer = given[place][0]
        customer, updated = answer.response["customer"], answer.response["updated_at"]
        assert newest.get(customer, "") < updated
        newest[customer] = updated


@pytest.mark.rule("R6.79")
async def test_servers_that_hang_are_waited_for_like_servers_that_are_gone(ours: Ours, own: Settings) -> None:
    async with running(own) as app:
        await ready(app)
        await asyncio.to_thread(ours.postgres.pause)
        places = await foreign(own).send(own, *(plain(f"cus_{number}") for number in range(9)))

        async def named() -> bool:
            status, content = await page(app, "/readyz")
            return status == 503 and "no answer in time" in str(content["waiting"])

        await until(named)
        assert (await page(app, "/livez"))[0] == 200
        await asyncio.to_thread(ours.postgres.resume)
        await all_answered(own, *places)
        await ready(app)
    assert set(await answers(own)) == set(places)
    assert await everything(own, own.dlq_topic) == []
