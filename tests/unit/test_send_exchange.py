"""How items are sent: how many at once, how evenly, how far, and which answers are theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
import pytest

from app.cli.send.exchange import Exchange, Lines
from app.cli.send.ids import Naming
from app.cli.send.pace import Pace
from app.cli.send.source import Item, Problem
from app.cli.send.tally import Tally
from app.consumer.requester import Inbound, Outbound
from app.errors import Transient

TRAIL = "patient-upsert/send/abc"


def items(count: int, first: int = 1) -> Iterator[Item]:
    for line in range(first, first + count):
        body = {"customer": f"cus_{line}"}
        yield Item(line, Outbound(None, orjson.dumps(body)), body=body)


def answer(correlation: str | None = None) -> Inbound:
    value = {"status": 200, "outcome": "created", "request": {"customer": "cus_1"}, "response": {}}
    headers = (("correlation_id", correlation.encode()),) if correlation else ()
    return Inbound("topic", 0, 0, 0, None, orjson.dumps(value), headers)


class FakeKafka:
    """Takes requests, acknowledges them when asked for answers, and answers those that it is told to.

    Time passes while answers are waited for, and a little whenever the clock is looked at.
    """

    def __init__(self, *, listens: bool = True, answers: bool = True, at_once: int = 1000) -> None:
        self.listens, self.answers, self.at_once = listens, answers, at_once
        self.now = 0.0
        self.sent: list[Outbound] = []
        self.futures: list[asyncio.Future[Any]] = []
        self.queue: list[tuple[tuple[int, int], Inbound]] = []
        self.unanswered = self.most_unanswered = 0
        self.on_take: Callable[[], None] = lambda: None

    def clock(self) -> float:
        self.now += 0.0001
        return self.now

    async def send(self, request: Outbound) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        place = (0, len(self.sent))
        asyncio.get_running_loop().call_soon(future.set_result, place)
        self.sent.append(request)
        self.futures.append(future)
        self.unanswered += 1
        self.most_unanswered = max(self.most_unanswered, self.unanswered)
        if self.answers:
            self.queue.append((place, answer()))
        return future

    def place(self, acknowledged: asyncio.Future[Any]) -> tuple[int, int]:
        found: tuple[int, int] = acknowledged.result()
        return found

    async def take(self, seconds: float) -> list[tuple[tuple[int, int], Inbound]]:
        await asyncio.sleep(0)
        self.now += seconds
        self.on_take()
        taken, self.queue = self.queue[: self.at_once], self.queue[self.at_once :]
        self.unanswered -= len(taken)
        return taken


def exchange(
    kafka: FakeKafka, tally: Tally | None = None, acknowledged: list[int] | None = None, **more: Any
) -> Exchange:
    lines = [] if acknowledged is None else acknowledged
    arguments: dict[str, Any] = {"patience": 5.0, "clock": kafka.clock, **more}
    return Exchange(
        kafka,
        Naming("a.csv", TRAIL),
        tally or Tally(),
        acknowledged=lines.append,
        moved=lambda _: None,
        **arguments,
    )


async def test_everything_is_sent_in_order_and_answered() -> None:
    kafka, tally, acknowledged = FakeKafka(), Tally(), list[int]()
    under_way = exchange(kafka, tally, acknowledged)
    await under_way.run(items(250))
    assert [orjson.loads(request.value or b"")["customer"] for request in kafka.sent] == [
        f"cus_{line}" for line in range(1, 251)
    ]
    assert (under_way.finished, under_way.sent, under_way.answered, under_way.passed) == (True, 250, 250, 250)
    assert tally.counts == {"200": 250}
    assert acknowledged == sorted(acknowledged)
    assert acknowledged[-1] == 250


async def test_no_more_are_unanswered_at_once_than_the_window_has_room_for() -> None:
    kafka = FakeKafka(at_once=7)
    await exchange(kafka, window=20).run(items(500))
    assert kafka.most_unanswered == 20


async def test_without_waiting_for_answers_acknowledgements_suffice() -> None:
    kafka, tally, acknowledged = FakeKafka(listens=False), Tally(), list[int]()
    under_way = exchange(kafka, tally, acknowledged, window=20)
    await under_way.run(items(100))
    assert (under_way.finished, under_way.sent, acknowledged[-1], tally.counts) == (True, 100, 100, {})


async def test_an_item_without_a_request_is_told_and_passed_over() -> None:
    kafka, tally, acknowledged = FakeKafka(), Tally(), list[int]()
    broken = Item(2, problem=Problem("too_many_cells", "x"))
    await exchange(kafka, tally, acknowledged).run([*items(1), broken, *items(1, 3), Item(4, problem=broken.problem)])
    assert tally.counts == {"200": 2, "not sent": 2}
    assert (len(kafka.sent), acknowledged[-1]) == (2, 4)


async def test_patience_ends_when_no_answer_comes() -> None:
    kafka, tally = FakeKafka(answers=False), Tally()
    under_way = exchange(kafka, tally)
    await under_way.run(items(3))
    assert 5 < kafka.now < 6
    assert (under_way.finished, under_way.missing) == (True, 3)
    assert tally.refused == {1: "no_answer", 2: "no_answer", 3: "no_answer"}


async def test_when_no_answer_comes_no_more_is_sent_than_the_window_has_room_for() -> None:
    kafka, tally = FakeKafka(answers=False), Tally()
    under_way = exchange(kafka, tally, window=20)
    await under_way.run(items(100))
    assert (under_way.finished, under_way.all_sent, under_way.sent) == (False, False, 20)
    assert tally.counts == {}


async def test_while_nothing_is_unanswered_patience_does_not_end() -> None:
    kafka = FakeKafka()
    under_way = exchange(kafka, pace=Pace(0.1))
    await under_way.run(items(3))
    assert (under_way.finished, len(kafka.sent)) == (True, 3)
    assert kafka.now >= 20


async def test_when_stopped_it_waits_for_acknowledgements_only() -> None:
    kafka, acknowledged = FakeKafka(answers=False), list[int]()
    under_way = exchange(kafka, None, acknowledged, window=150)

    def stop() -> None:
        under_way.stop() if len(kafka.sent) >= 100 else None

    kafka.on_take = stop
    await under_way.run(items(500))
    assert not under_way.finished
    assert under_way.sent == len(kafka.sent) < 500
    assert acknowledged[-1] == under_way.sent
    assert all(future.done() for future in kafka.futures)


async def test_it_goes_on_behind_what_was_sent_and_awaits_its_answers_too() -> None:
    kafka, tally = FakeKafka(), Tally()
    kafka.queue = [((5, line), answer(f"{TRAIL}/{line}")) for line in (1, 2, 2, 4)]
    kafka.queue.append(((5, 9), answer("patient-upsert/send/other/3")))
    under_way = exchange(kafka, tally)
    event = Item(5, Outbound(None, b"{}"))
    broken = Item(6, problem=Problem("too_many_cells", "x"))
    await under_way.run([*items(4), event, broken, *items(3, 7)], behind=6, rereads=True)
    assert (len(kafka.sent), under_way.answered, under_way.answered_before, under_way.missing) == (3, 3, 3, 1)
    assert tally.counts == {"200": 6, "no answer": 1, "not awaited": 1, "not sent": 1}
    assert tally.refused == {3: "no_answer", 6: "too_many_cells"}


async def test_answers_to_an_earlier_run_that_are_not_read_again_are_not_awaited() -> None:
    kafka, tally = FakeKafka(), Tally()
    await exchange(kafka, tally).run(items(5), behind=4)
    assert tally.counts == {"200": 1, "not awaited": 4}
    silent, tally = FakeKafka(listens=False), Tally()
    await exchange(silent, tally).run(items(5), behind=4)
    assert (len(silent.sent), tally.counts) == (1, {})


async def test_answers_to_others_are_passed_over() -> None:
    kafka, tally = FakeKafka(), Tally()
    kafka.queue = [((7, offset), answer()) for offset in range(50)]
    await exchange(kafka, tally).run(items(3))
    assert tally.counts == {"200": 3}


async def test_a_request_that_kafka_does_not_take_ends_it() -> None:
    class Refusing(FakeKafka):
        def place(self, acknowledged: asyncio.Future[Any]) -> tuple[int, int]:
            if super().place(acknowledged)[1] == 150:
                raise Transient("kafka: refused")
            return super().place(acknowledged)

    kafka, acknowledged = Refusing(), list[int]()
    with pytest.raises(Transient, match="kafka: refused"):
        await exchange(kafka, None, acknowledged).run(items(500))
    assert acknowledged[-1] <= 150


def gone_at(pace: Pace, moments: Iterable[float]) -> list[float]:
    """At each moment one wants to go, and waits as long as it must: when they go."""
    gone, now = [], 0.0
    for moment in moments:
        now = max(now, moment)
        now += max(0.0, pace.due_in(now))
        pace.gone(now)
        gone.append(round(now, 6))
    return gone


def test_a_pace_spreads_requests_evenly() -> None:
    assert gone_at(Pace(4), [0.0] * 5) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert gone_at(Pace(None), [0.0] * 3) == [0.0, 0.0, 0.0]


def test_a_pace_catches_up_little() -> None:
    assert gone_at(Pace(100), [0.0, 0.0, 5.0, 5.0, 5.0, 5.0]) == [0.0, 0.01, 5.0, 5.0, 5.0, 5.0]
    assert gone_at(Pace(100), [0.0, *[5.0] * 20])[-1] == pytest.approx(5.09)


def test_a_set_of_lines() -> None:
    lines = Lines()
    for line in (7, 3, 7, 1_000_000):
        lines.add(line)
    assert (lines.count, list(lines)) == (3, [3, 7, 1_000_000])
    assert [lines.discard(line) for line in (3, 3, 4, 2_000_000)] == [True, False, False, False]
    assert (lines.count, list(lines)) == (2, [7, 1_000_000])
