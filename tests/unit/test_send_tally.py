"""What became of the requests of a file: counted, shown, and remembered where it was no 200."""

from __future__ import annotations

import io

import orjson
from rich.console import Console

from app.cli.send.source import Item, Problem
from app.cli.send.tally import Tally
from app.consumer.requester import Inbound


def answer(
    status: int = 200, outcome: str = "created", *, customer: str | None = "cus_1", replayed: bool = False
) -> Inbound:
    details = [
        {"field": "/dateOfBirth", "code": "date_in_future", "message": "must not be in the future"},
        {"field": "", "code": "not_json", "message": "must be JSON in UTF-8"},
    ]
    body = {"customer": customer} if status == 200 else {"error": "validation_failed", "details": details}
    value = {"status": status, "outcome": outcome, "request": {"customer": customer}, "response": body}
    headers = (("replayed", b"true"),) if replayed else ()
    return Inbound("topic", 0, 0, 0, None, orjson.dumps(value), headers)


def shown(tally: Tally, width: int = 80) -> list[str]:
    written = io.StringIO()
    tally.show(Console(file=written, width=width, no_color=True, markup=False, highlight=False))
    return [line.rstrip() for line in written.getvalue().splitlines()]


def test_answers_are_shown_in_the_order_of_their_lines() -> None:
    tally = Tally()
    tally.answered(4, answer())
    tally.answered(3, answer(400, "rejected", customer=None))
    tally.unsendable(Item(2, problem=Problem("too_many_cells", "has more cells than there are columns")))
    tally.missing([5])
    assert shown(tally) == [
        "line  status     outcome   customer  codes",
        "2     not sent                       too_many_cells",
        "3     400        rejected  -         validation_failed",
        "                                     /dateOfBirth date_in_future",
        "                                     / not_json",
        "4     200        created   cus_1",
        "5     no answer",
        "1 x 200, 1 x 400, 1 x no answer, 1 x not sent",
    ]
    assert tally.refused == {
        2: "too_many_cells",
        3: "validation_failed; /dateOfBirth date_in_future; / not_json",
        5: "no_answer",
    }
    assert not tally.all_good


def test_of_many_those_without_a_200_come_first_and_no_more_than_100_are_shown() -> None:
    tally = Tally()
    for line in range(1, 100_000):
        tally.answered(line, answer(404 if line % 50_000 == 0 else 200))
    lines = shown(tally)
    assert [line.split()[:2] for line in lines[1:6:3]] == [["50000", "404"], ["1", "200"]]
    assert lines[-2:] == ["... and 99899 more", "99998 x 200, 1 x 404"]
    assert len(lines) == 1 + 100 + 2 + 2
    assert list(tally.refused) == [50_000]


def test_nothing_but_200_is_good() -> None:
    tally = Tally()
    assert tally.all_good
    tally.answered(1, answer())
    tally.answered(2, answer(outcome="updated", replayed=True))
    assert tally.all_good
    assert tally.repeated == 1
    tally.not_awaited()
    assert not tally.all_good
    assert shown(tally)[-1] == "2 x 200, 1 x not awaited"


def test_what_was_not_awaited_needs_no_table() -> None:
    tally = Tally()
    tally.not_awaited()
    assert shown(tally) == ["1 x not awaited"]


def test_markup_in_an_id_is_shown_as_it_is() -> None:
    tally = Tally()
    tally.answered(1, answer(customer="[red]"))
    assert shown(tally)[1] == "1     200     created  [red]"


def test_a_narrow_terminal_folds_the_codes() -> None:
    tally = Tally()
    tally.answered(1, answer(400, "rejected", customer="c" * 100))
    assert all(len(line) <= 60 for line in shown(tally, 60))
