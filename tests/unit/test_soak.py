"""What is pure in the soak and in the report of the fault matrix: plan, memory, windows, rows."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.settings import Settings
from tests.faults.checker import Broken, Published, Verdict
from tests.faults.matrix.case import Case, Result
from tests.faults.matrix.load import Asked, Load, plain
from tests.faults.matrix.report import write
from tests.faults.soak.memory import Memory, compared
from tests.faults.soak.page import write as write_soak
from tests.faults.soak.plan import LASTS, Fault, planned
from tests.faults.soak.run import Outcome
from tests.faults.soak.windows import Window, Windows

MIB = 1 << 20


def test_a_plan_comes_again_from_its_seed_and_another_seed_has_another() -> None:
    assert list(planned(7, 600)) == list(planned(7, 600))
    assert [step.fault for step in planned(7, 600)] != [step.fault for step in planned(8, 600)]
    assert [step.at for step in planned(7, 600)] != [step.at for step in planned(8, 600)]


def test_a_longer_run_begins_as_a_shorter_one() -> None:
    short = list(planned(7, 120))
    assert short == list(planned(7, 900))[: len(short)]


def test_every_kind_of_fault_comes_once_before_any_comes_again() -> None:
    faults = [step.fault for step in planned(3, 3600)]
    count = len(Fault)
    for turn in range(len(faults) // count):
        assert set(faults[turn * count : (turn + 1) * count]) == set(Fault)


def test_faults_come_in_order_within_the_run_and_last_as_long_as_they_may() -> None:
    steps = list(planned(5, 900))
    assert steps[0].at == 40
    assert all(5 <= later.at - step.at <= 25 for step, later in itertools.pairwise(steps))
    assert steps[-1].at < 900
    assert all(0 <= step.pick < 1 for step in steps)
    for step in steps:
        least, most = LASTS.get(step.fault, (0, 0))
        assert least <= step.seconds <= most


def test_the_fifths_are_taken_after_the_warm_up() -> None:
    warm_up = [10 * MIB] * 100
    assert compared([*warm_up, *[100] * 180, *[105] * 540, *[110] * 180]) == Memory((100, 105, 105, 105, 110))


def test_a_short_run_warms_up_for_half_a_minute_all_the_same() -> None:
    assert compared([1] * 30 + [100] * 10 + [200] * 40) == Memory((100, 200, 200, 200, 200))


def test_too_few_samples_are_no_verdict() -> None:
    assert compared([100] * 34) is None


@pytest.mark.parametrize(
    ("last", "steady"), [(100, True), (110, True), (111, False), (150, False), (90, True), (89, False)]
)
def test_memory_is_steady_within_a_tenth(last: float, steady: bool) -> None:
    assert Memory((100, last)).steady is steady


def test_a_soak_is_clean_only_when_all_is_answered_and_judged_and_the_memory_is_steady() -> None:
    def outcome(**changes: Any) -> Outcome:
        good = {"seed": 1, "minutes": 15, "requests": 9, "answered": 9, "memory": Memory((100, 105))}
        return Outcome(**{**good, **changes})

    assert outcome().clean
    assert not outcome(answered=8).clean
    assert not outcome(memory=None).clean
    assert not outcome(memory=Memory((100, 120))).clean
    assert not outcome(trouble=["AssertionError: a worker ended by itself with 1"]).clean
    lost = outcome()
    lost.add([Verdict(Broken.LOST, "(0, 1) has no answer")])
    assert not lost.clean


# Windows

SETTINGS = Settings(
    database_url="postgresql://nowhere",
    kafka_bootstrap_servers="nowhere:1",
    request_topic="r",
)


def window(number: int = 0) -> Window:
    return Window(number, Load(SETTINGS), iter(()), closed=True)


def acknowledged(window: Window, *offsets: int, **changes: Any) -> None:
    """Requests of this window that lie at these offsets of partition 0."""
    for offset in offsets:
        asked: Asked = plain("r", f"{window.prefix}1", {"city": "London"}, **changes)
        window.load.note(asked, (0, offset), 1000)
        window.sent += 1


def published(offset: int, status: int = 200, text: str = "", *, letter: bool = False) -> Published:
    head = "__dlq.errors." if letter else "request-"
    headers = [(f"{head}topic", b"r"), (f"{head}partition", b"0"), (f"{head}offset", str(offset).encode())]
    value = json.dumps({"status": status, "text": text}).encode()
    return Published("letters" if letter else "answers", 0, offset, 2000, None, value, headers)


def test_a_window_is_answered_once_each_of_its_requests_is() -> None:
    one = window()
    windows = Windows("r", [one])
    acknowledged(one, 4, 5)
    windows.take([published(4)], [])
    assert not one.answered
    windows.take([published(5), published(4)], [])
    assert one.answered
    assert (windows.answered, windows.repeated) == (2, 1)
    assert one.last_offsets() == {0: 5}


def test_an_answer_that_comes_before_the_acknowledgement_of_its_request_waits_for_it() -> None:
    one = window()
    windows = Windows("r", [one])
    windows.take([published(4)], [])
    assert [verdict.broken for verdict in windows.unasked()] == [Broken.UNASKED]
    acknowledged(one, 4)
    windows.take([], [])
    assert one.answered
    assert list(windows.unasked()) == []


def test_a_late_answer_to_a_judged_window_must_be_the_one_it_had() -> None:
    one, two = window(0), window(1)
    windows = Windows("r", [one, two])
    acknowledged(one, 4, 5)
    acknowledged(two, 6)
    windows.take([published(4, text="first"), published(5, 400), published(6)], [])
    windows.drop(one)
    windows.take([published(4, text="first"), published(5, 400, "otherwise refused")], [])
    assert (windows.late, windows.repeated) == ([], 2)
    windows.take([published(4, text="second")], [])
    windows.take([published(5, 200)], [])
    assert [verdict.broken for verdict in windows.late] == [Broken.ANSWER, Broken.ANSWER]
    assert windows.open == [two]


def test_a_late_dead_letter_is_of_a_request_that_failed() -> None:
    one = window()
    windows = Windows("r", [one])
    acknowledged(one, 4, meant="failed")
    acknowledged(one, 5)
    windows.take([published(4, 500), published(5)], [published(4, letter=True)])
    assert len(one.letters) == 1
    windows.drop(one)
    windows.take([], [published(4, letter=True)])
    assert list(windows.unasked()) == []
    windows.take([], [published(5, letter=True)])
    assert [verdict.broken for verdict in windows.unasked()] == [Broken.UNASKED]


# Rows of the page


async def nothing(world: object) -> None: ...


def test_a_row_sums_the_runs_of_its_case_and_others_stay(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Head\n<!-- rows -->\n| x | y |\n|---|---|\n| other | `other` | 5 | 2026-01-01 | 3 |\n")
    case = Case("kill", "killed", nothing)
    first = Result(case, 1, 9, requests=10, repeated=1, first_answer=2.0, full_rate=5.0)
    second = Result(case, 2, 9, requests=20, repeated=2, first_answer=3.0, verdicts=[Verdict(Broken.LOST, "")])
    third = Result(case, 3, 9, requests=30, full_rate=4.0, verdicts=[Verdict(Broken.ORDER, "")], trouble="late")
    write([first, second, third], page)
    head, *rows = page.read_text().splitlines()
    assert head == "# Head"
    assert rows[-2] == "| other | `other` | 5 | 2026-01-01 | 3 |"
    cells = [cell.strip() for cell in rows[-1].strip("|").split("|")]
    assert cells[:9] == ["killed", "`kill`", "60", "1", "0", "2", "3", "3.0 s", "5.0 s"]
    assert (cells[9], cells[11]) == ("1, 2, 3", "3")


def test_a_case_that_was_not_run_says_why(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- rows -->\n")
    write([Result(Case("disk", "full", nothing), 1, 0, not_run="it takes root")], page)
    assert "| full | `disk` | not run: it takes root |" in page.read_text()


def test_a_soak_adds_its_row_and_leaves_the_rest_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- soak -->\n<!-- end of soak -->\nafter\n")
    outcome = Outcome(7, 15, requests=900_000, answered=900_000, memory=Memory((100 * MIB, 101 * MIB)))
    outcome.faults[Fault.KILL] = 12
    outcome.add([Verdict(Broken.LOST, "(0, 1) has no answer"), Verdict(Broken.LEAK, "line 1 of the log")])
    write_soak(outcome, page)
    write_soak(outcome, page)
    before, _, head, line, first, second, *after = page.read_text().splitlines()
    assert (before, after) == ("before", ["<!-- end of soak -->", "after"])
    assert head.count("|") == line.count("|") == first.count("|")
    assert first == second
    cells = [cell.strip() for cell in first.strip("|").split("|")]
    assert cells[1:] == [
        *("`make soak MINUTES=15 SEED=7`", "900000", "1000", "12", "1", "0", "1", "0", "100.0 MiB", "101.0 MiB")
    ]


# The load


class Retelling:
    """A producer whose delivery report tells another timestamp than the record has, as after a batch sent again."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def produce(self, topic: str, value: bytes, key: bytes, **named: Any) -> None:
        self.given.append(named["timestamp"])
        place = SimpleNamespace(partition=lambda: 0, offset=lambda: 4, timestamp=lambda: (2, 9))
        named["on_delivery"](None, place)

    def poll(self, seconds: float) -> None: ...


def test_a_request_is_noted_with_the_timestamp_that_it_was_sent_with() -> None:
    load, producer = Load(SETTINGS), Retelling()
    load.send(producer, plain("r", "cus_1", {}))  # type: ignore[arg-type]
    load.send(producer, plain("r", "cus_1", {}, timestamp=5))  # type: ignore[arg-type]
    assert [request.timestamp for request in load.requests] == producer.given
    assert [request.id for request in load.requests] == [f"r/0/4@{producer.given[0]}", "r/0/4@5"]
