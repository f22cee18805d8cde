"""How watch goes on, waits and ends."""

from __future__ import annotations

import sys
from typing import Any

import orjson
import pytest

from app.cli.watch import follow
from app.cli.watch.screen import Lines
from app.errors import SetupNeeded, Transient, WorkerError
from app.model import Position, Record

AWAY = Transient("kafka: KafkaConnectionError")


class Scripted:
    """A follower that gives what it is told to, then fails the test."""

    partitions = 6

    def __init__(self, *steps: list[Record] | WorkerError) -> None:
        self._steps = list(steps)
        self.closed = False

    async def poll(self) -> list[Record]:
        step = self._steps.pop(0)
        if isinstance(step, WorkerError):
            raise step
        return step

    async def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["app.cli.watch"], "RETRY_SECONDS", 0)


def answer(offset: int, customer: str = "cus_1") -> Record:
    value = {
        "status": 200,
        "outcome": "created",
        "request": {"id": "r", "source": "s", "customer": customer},
        "response": {},
    }
    return Record(Position("completed", 0, offset, 0), None, orjson.dumps(value), ())


async def followed(*steps: list[Record] | WorkerError, customer: str | None = None, count: int | None) -> None:
    follower: Any = Scripted(*steps)
    try:
        await follow(follower, Lines(values=False), customer=customer, count=count)
    finally:
        assert follower.closed


def offsets(text: str) -> list[int]:
    return [orjson.loads(line)["offset"] for line in text.splitlines()]


async def test_it_ends_after_so_many_answers(capfd: pytest.CaptureFixture[str]) -> None:
    await followed([answer(1)], [], [answer(2), answer(3)], count=2)
    assert offsets(capfd.readouterr().out) == [1, 2]


async def test_only_answers_to_the_customer_are_shown_and_counted(capfd: pytest.CaptureFixture[str]) -> None:
    await followed([answer(1), answer(2, "cus_2")], [answer(3, "cus_2"), answer(4)], customer="cus_2", count=2)
    assert offsets(capfd.readouterr().out) == [2, 3]


async def test_a_server_that_is_away_is_told_in_one_line_and_its_return_in_another(
    capfd: pytest.CaptureFixture[str],
) -> None:
    await followed(AWAY, Transient("kafka: no broker answers"), AWAY, [], [answer(1)], [answer(2)], count=2)
    told = capfd.readouterr()
    assert told.err.splitlines() == [
        "waiting: Kafka is away; patient-upsert doctor says why",
        "following 6 partitions",
    ]
    assert offsets(told.out) == [1, 2]


async def test_nothing_is_said_while_all_is_well(capfd: pytest.CaptureFixture[str]) -> None:
    await followed([], [], [answer(1)], count=1)
    assert capfd.readouterr().err == ""


async def test_what_must_be_set_up_is_said_as_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    missing = SetupNeeded("topic completed is missing; run: patient-upsert setup")
    await followed(missing, missing, [answer(1)], count=1)
    assert capfd.readouterr().err.splitlines() == [
        "waiting: topic completed is missing; run: patient-upsert setup",
        "following 6 partitions",
    ]
