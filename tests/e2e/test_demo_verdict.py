"""The demo's closing line is counted from what came back: answers made by hand, no server."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.consumer.requester import Inbound, Outbound
from devstack.demo.sample import Sample, Wanted, read_sample
from devstack.demo.verdict import mismatches, tally


def answer(
    place: tuple[int, int], *, id: str = "", status: int = 200, outcome: str = "created", **response: Any
) -> Inbound:
    """The answer to the request at this place, as the worker publishes it."""
    asked = {"id": id or f"{place}", "source": "/tests", "customer": "cus_1"}
    value = {"status": status, "outcome": outcome, "request": asked, "response": response}
    partition, offset = place
    headers = (("request-partition", f"{partition}".encode()), ("request-offset", f"{offset}".encode()))
    return Inbound("answers", 0, 0, 0, b"cus_1", orjson.dumps(value), headers)


def refusal(place: tuple[int, int], code: str) -> Inbound:
    return answer(
        place, status=400, outcome="rejected", error="validation_failed", details=[{"field": "/phone", "code": code}]
    )


SENT = [(0, 0), (0, 1), (5, 0)]
ALL = [answer((0, 0)), answer((0, 1)), answer((5, 0))]


def test_one_answer_each_makes_a_true_line() -> None:
    counted = tally(SENT, ALL)
    assert str(counted) == "demo: 3 requests, 3 answers, 0 lost, 0 answered twice differently"
    assert counted.holds


def test_a_request_without_an_answer_is_lost() -> None:
    counted = tally(SENT, ALL[:2])
    assert str(counted) == "demo: 3 requests, 2 answers, 1 lost, 0 answered twice differently"
    assert not counted.holds


def test_the_same_answer_twice_counts_once() -> None:
    assert tally(SENT, [*ALL, ALL[1]]).holds


@pytest.mark.parametrize(
    "other", [answer((0, 1), outcome="updated"), answer((0, 1), phone="2"), refusal((0, 1), "missing")]
)
def test_another_answer_to_the_same_request_is_different(other: Inbound) -> None:
    counted = tally(SENT, [*ALL, other])
    assert str(counted) == "demo: 3 requests, 4 answers, 0 lost, 1 answered twice differently"
    assert not counted.holds


def test_one_id_with_two_different_200s_is_different() -> None:
    counted = tally(SENT, [answer((0, 0), id="a", phone="1"), answer((0, 1), id="a", phone="2"), answer((5, 0))])
    assert str(counted) == "demo: 3 requests, 3 answers, 0 lost, 1 answered twice differently"
    assert not counted.holds


def test_a_refusal_and_then_a_200_under_one_id_is_a_corrected_request() -> None:
    assert tally(SENT, [refusal((0, 0), "missing"), answer((0, 1), id="(0, 0)"), answer((5, 0))]).holds


def test_an_answer_to_nothing_that_was_sent_shows() -> None:
    counted = tally(SENT, [*ALL, answer((7, 7))])
    assert str(counted) == "demo: 3 requests, 4 answers, 0 lost, 0 answered twice differently"
    assert not counted.holds


def sample(line: int, wanted: Wanted) -> Sample:
    return Sample("some.jsonl", line, "about", Outbound(None, None), wanted)


def test_an_answer_that_was_not_expected_is_a_line_of_its_own() -> None:
    samples = [
        sample(1, Wanted(200, "created")),
        sample(2, Wanted(200, "updated")),
        sample(3, Wanted(400, "rejected", ("validation_failed", "/phone empty"))),
    ]
    answers = [answer((0, 0)), answer((0, 1)), refusal((5, 0), "missing")]
    assert mismatches(samples, SENT, answers) == [
        "some.jsonl:2 (about): wanted 200 updated; got 200 created",
        "some.jsonl:3 (about): wanted 400 rejected validation_failed, /phone empty; "
        "got 400 rejected validation_failed, /phone missing",
    ]


def test_the_sample_is_sixty_requests() -> None:
    samples = read_sample()
    assert len(samples) == 60
    assert {entry.wanted.outcome for entry in samples} == {"created", "updated", "unchanged", "superseded", "rejected"}


def test_what_the_sample_holds_is_sent_as_it_is() -> None:
    requests = {(entry.file, entry.line): entry.request.value or b"" for entry in read_sample()}
    assert "\u2028" in requests["fields.jsonl", 4].decode(), "a line separator inside a text ends no line"
    assert b"\\ud800" in requests["refused.jsonl", 12], "half a surrogate pair has no form in UTF-8 and stays escaped"
