"""What watch shows of an answer, and what it never shows."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
import typer
from rich.cells import cell_len
from rich.console import Console
from rich.live import Live

from app.cli.watch import parse_since
from app.cli.watch.screen import Screenful, table
from app.cli.watch.seen import Seen, seen
from app.model import Headers, Position, Record

CREATED: dict[str, Any] = {
    "status": 200,
    "outcome": "created",
    "request": {"id": "requested/3/12@1700000000000", "source": "kafka:requested", "customer": "cus_1"},
    "response": {"customer": "cus_1", "firstName": "Xanthippe", "metadata": {}},
}
REFUSED: dict[str, Any] = {
    "status": 400,
    "outcome": "rejected",
    "request": {"id": None, "source": None, "customer": None},
    "response": {
        "error": "validation_failed",
        "details": [
            {"field": "/phone", "code": "missing", "message": "is required"},
            {"field": "/dateOfBirth", "code": "date_invalid", "message": "must be a date as in ISO 8601"},
        ],
    },
}
PLACED: Headers = (("request-topic", b"requested"), ("request-partition", b"3"), ("request-offset", b"12"))


def record(value: Any, headers: Headers = PLACED) -> Record:
    content = value if value is None or isinstance(value, bytes) else orjson.dumps(value)
    return Record(Position("completed", 1, 7, 1_700_000_000_123), b"cus_1", content, headers)


def shown(answers: list[Seen], width: int = 80) -> str:
    """The table as text."""
    output = io.StringIO()
    Console(file=output, width=width, no_color=True).print(table(answers, width))
    return output.getvalue()


def test_a_line_tells_what_became_of_a_request_without_its_values() -> None:
    assert seen(record(CREATED)).line(values=False) == {
        "time": "2023-11-14T22:13:20.123Z",
        "topic": "completed",
        "partition": 1,
        "offset": 7,
        "status": 200,
        "outcome": "created",
        "request": {"id": "requested/3/12@1700000000000", "source": "kafka:requested", "customer": "cus_1"},
        "error": None,
        "details": [],
        "replayed": False,
    }


def test_a_line_of_a_refusal_tells_the_codes_without_the_sentences() -> None:
    line = seen(record(REFUSED)).line(values=False)
    assert (line["status"], line["error"]) == (400, "validation_failed")
    assert line["details"] == [
        {"field": "/phone", "code": "missing"},
        {"field": "/dateOfBirth", "code": "date_invalid"},
    ]


def test_values_adds_the_response_and_nothing_else() -> None:
    answer = seen(record(CREATED))
    assert answer.line(values=True) == {**answer.line(values=False), "response": CREATED["response"]}


def test_a_replayed_answer_is_told_by_its_header() -> None:
    assert seen(record(CREATED, (*PLACED, ("replayed", b"true")))).line(values=False)["replayed"] is True


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"Xanthippe",
        b"[]",
        b'"Xanthippe"',
        {"firstName": "Xanthippe"},
        {**CREATED, "status": "Xanthippe"},
        {**CREATED, "status": True},
        {**CREATED, "outcome": "Xanthippe"},
        {**CREATED, "request": {"id": ["Xanthippe"], "source": "s", "customer": "c"}},
        {**CREATED, "request": {"id": "\x1b[2JXanthippe", "source": "s", "customer": "c"}},
        {**CREATED, "request": {"id": "\x9bXanthippe", "source": "s", "customer": "c"}},
        {**REFUSED, "response": {"error": "Xanthippe"}},
        {**REFUSED, "response": {"error": "invalid_json", "details": [{"field": "", "code": "Xanthippe"}]}},
        {**CREATED, "response": ["Xanthippe"]},
    ],
)
def test_of_what_is_not_an_answer_only_its_place_is_shown(value: Any) -> None:
    answer = seen(record(value))
    assert answer.line(values=True) == {
        "time": "2023-11-14T22:13:20.123Z",
        "topic": "completed",
        "partition": 1,
        "offset": 7,
        "status": None,
        "outcome": None,
        "request": None,
        "error": None,
        "details": [],
        "replayed": False,
        "response": None,
    }
    assert "Xanthippe" not in shown([answer])
    assert "\x1b" not in shown([answer])


def test_no_value_is_in_the_table_or_a_repr() -> None:
    answer = seen(record(CREATED))
    assert "Xanthippe" not in shown([answer]) + repr(answer)


def test_a_row_tells_time_status_outcome_customer_place_and_codes() -> None:
    header, created, refused = shown([seen(record(CREATED)), seen(record(REFUSED))], 120).splitlines()
    assert header.split() == ["time", "status", "outcome", "customer", "request", "codes"]
    assert created.split()[1:] == ["200", "created", "cus_1", "3/12@1700000000000"]
    assert refused.split()[1:] == ["400", "rejected", "-", "3/12", "/phone", "missing,", "/dateOfBirth", "date_invalid"]


def test_the_error_is_told_before_the_details_that_do_not_tell_it() -> None:
    body = {"error": "invalid_event", "details": [{"field": "", "code": "not_an_object", "message": ""}]}
    assert "invalid_event: not_an_object" in shown([seen(record({**REFUSED, "response": body}))], 120)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_every_answer_takes_one_line_that_fits(width: int) -> None:
    long = {**REFUSED, "request": {"id": "你" * 80, "source": "s" * 255, "customer": "é" * 100}}
    lines = shown([seen(record(long))], width).splitlines()
    assert len(lines) == 2
    assert max(map(cell_len, lines)) <= max(width, 64)


def test_a_long_id_is_shortened_in_the_middle() -> None:
    asked = {"id": "7c4e0f86-4d0c-4d0e-9a55-3f1f0f6f7a10", "source": "s", "customer": "cus_1"}
    assert "7c4e0…6f7a1" not in shown([seen(record({**CREATED, "request": asked}))])
    assert "7c4e0…f7a10" in shown([seen(record({**CREATED, "request": asked}))])


def test_markup_in_an_id_is_shown_as_it_is() -> None:
    asked = {"id": "[red]x[/]", "source": "s", "customer": "[b]c[/b]"}
    text = shown([seen(record({**CREATED, "request": asked}))], 120)
    assert "[red]x[/]" in text
    assert "[b]c[/b]" in text


def test_the_table_keeps_no_more_than_a_screen_can_show() -> None:
    console = Console(file=io.StringIO(), width=80, height=10, force_terminal=True)
    with Live(console=console, auto_refresh=False) as live:
        screen = Screenful(live)
        screen.state("following 6 partitions", waiting=False)
        for _ in range(50):
            screen.show([seen(record(CREATED))] * 10)
        assert len(screen._rows) == 200
        output = io.StringIO()
        Console(file=output, width=80).print(live.renderable)
    lines = output.getvalue().splitlines()
    assert len(lines) == 1 + 6 + 1
    assert lines[-1].strip() == "answers: 500; following 6 partitions"


NOW = datetime(2024, 5, 17, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30s", datetime(2024, 5, 17, 11, 59, 30, tzinfo=UTC)),
        ("10m", datetime(2024, 5, 17, 11, 50, tzinfo=UTC)),
        ("2h", datetime(2024, 5, 17, 10, 0, tzinfo=UTC)),
        ("7d", datetime(2024, 5, 10, 12, 0, tzinfo=UTC)),
        ("2024-01-31T12:00:00Z", datetime(2024, 1, 31, 12, 0, tzinfo=UTC)),
        ("2024-01-31T12:00:00+02:00", datetime(2024, 1, 31, 10, 0, tzinfo=UTC)),
    ],
)
def test_since_is_a_length_or_a_time(text: str, moment: datetime) -> None:
    assert parse_since(text, NOW) == moment


def test_a_time_without_a_zone_is_local() -> None:
    local = datetime(2024, 1, 31, 12, 0, tzinfo=timezone(timedelta(0))).astimezone().replace(tzinfo=None)
    assert parse_since(local.isoformat(), NOW) == datetime(2024, 1, 31, 12, 0, tzinfo=UTC)


def test_without_since_there_is_no_time() -> None:
    assert parse_since(None, NOW) is None


@pytest.mark.parametrize("text", ["", "yesterday", "10", "10w", "-10m", "999999d", "2024-13-01"])
def test_any_other_since_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_since(text, NOW)
