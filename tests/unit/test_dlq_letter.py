"""What is shown of letters and refusals, and which ones a filter means."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

import app.cli
from app.cli.dlq.letter import Chosen, letter_of, refusal_of, sendable
from app.cli.lines import request_of
from app.model import Headers, Position, Record
from app.settings import Settings
from tests.support import body

SETTINGS = Settings(database_url="postgresql://x", kafka_bootstrap_servers="x")
PLACE = {"topic": "patient.upsert.requested", "partition": "3", "offset": "8", "timestamp": "1767323045678"}
TEXT = b"the request could not be processed"
SECRET = "Xanthippe"


def letter(value: bytes | None = None, *, more: Headers = (), offset: int = 17, **changes: str | None) -> Record:
    given = {name: text for name, text in {**PLACE, **changes}.items() if text is not None}
    headers = tuple((f"__dlq.errors.{name}", text.encode()) for name, text in given.items())
    value = body(firstName=SECRET) if value is None else value
    return Record(Position("dlq", 0, offset, 1767323050000), b"cus_1", value, (*more, *headers))


@pytest.mark.rule("R14.2")
def test_a_letter_shows_ids_place_and_code_and_no_value() -> None:
    found = letter_of(letter(more=(("__dlq.errors.message", TEXT), ("x-any", SECRET.encode()))), SETTINGS)
    assert found.line() == {
        "topic": "dlq",
        "partition": 0,
        "offset": 17,
        "time": "2026-01-02T03:04:10.000Z",
        "request": {
            "id": "patient.upsert.requested/3/8@1767323045678",
            "source": "kafka:patient.upsert.requested",
            "customer": "cus_1",
        },
        "place": {"topic": "patient.upsert.requested", "partition": 3, "offset": 8, "timestamp": 1767323045678},
        "error": "internal_error",
        "details": [{"field": "", "code": "failed"}],
        "done": False,
    }
    assert found.text == (
        "0/17  2026-01-02T03:04:10.000Z  cus_1  patient.upsert.requested/3/8@1767323045678  request 3/8  "
        "internal_error: failed"
    )
    assert SECRET not in repr(found)


@pytest.mark.rule("R14.2")
@pytest.mark.parametrize(
    "odd",
    [
        letter(offset=1, topic=None, partition=None, timestamp=None),
        letter(partition="x"),
        letter(b"\xff", more=(("__dlq.errors.message", SECRET.encode()),), partition="9" * 30),
        Record(Position("dlq", 0, 17, -1), SECRET.encode() + b"\x1b[2J", None, ()),
        Record(Position("dlq", 0, 17, -1), None, None, (), undecodable=True),
    ],
)
def test_a_letter_that_is_none_of_ours_shows_where_it_lies_alone(odd: Record) -> None:
    found = letter_of(odd, SETTINGS)
    assert (found.place, found.id) == (None, None)
    assert SECRET not in found.text
    assert "\x1b" not in found.text


def test_a_letter_with_an_id_of_its_own_shows_that() -> None:
    event = {"ce_specversion": b"1.0", "ce_id": b"e1", "ce_source": b"/s", "ce_type": b"patient.upsert.requested"}
    found = letter_of(letter(more=tuple(event.items())), SETTINGS, done=True)
    assert (found.id, found.source, found.done, found.text[-6:]) == ("e1", "/s", True, "  done")


@pytest.mark.rule("R14.2")
def test_of_the_failures_those_are_refusals_that_are_no_fault_of_ours() -> None:
    asked = b'"request":{"id":"e1","source":"/s","customer":"cus_1"}'
    fault = b'{"field":"/phone","code":"too_few_digits","message":"m"}'
    refused = b'{"status":400,"outcome":"rejected",%b,"response":{"error":"validation_failed","details":[%b]}}'
    headers = (("request-topic", b"asked"), ("request-partition", b"3"), ("request-offset", b"8"))
    found = refusal_of(Record(Position("failed", 1, 2, 0), None, refused % (asked, fault), headers))
    assert found is not None
    assert (
        found.text == "1/2  1970-01-01T00:00:00.000Z  cus_1  e1  request 3/8  validation_failed: /phone too_few_digits"
    )
    assert found.line()["place"] == {"topic": "asked", "partition": 3, "offset": 8, "timestamp": -1}
    forged = (("request-topic", b"\x1b[2J"), *headers[1:])
    odd = refusal_of(Record(Position("failed", 1, 2, 0), None, refused % (asked, fault), forged))
    assert odd is not None
    assert odd.line()["place"] == {"topic": "", "partition": 3, "offset": 8, "timestamp": -1}
    assert Chosen(code="too_few_digits").has(found)
    assert not Chosen(code="internal_error").has(found)
    ours = b'{"status":500,"outcome":"failed",%b,"response":{"error":"internal_error","details":[]}}' % asked
    for value in (ours, b"{}", None):
        assert refusal_of(Record(Position("failed", 1, 2, 0), None, value, headers)) is None


def at(second: int) -> datetime:
    return datetime(2026, 1, 2, 3, 4, second, tzinfo=UTC)


@pytest.mark.rule("R14.4")
@pytest.mark.parametrize(
    ("chosen", "means"),
    [
        ({}, True),
        ({"code": "failed"}, True),
        ({"code": "internal_error"}, True),
        ({"code": "not_json"}, False),
        ({"customer": "cus_1"}, True),
        ({"customer": "cus_2"}, False),
        ({"since": at(10)}, True),
        ({"since": at(11)}, False),
        ({"until": at(10)}, False),
        ({"until": at(11)}, True),
        ({"offsets": {0: ((1, 2), (17, 17))}}, True),
        ({"offsets": {0: ((1, 16), (18, 19))}}, False),
        ({"offsets": {1: ((17, 17),)}}, False),
        ({"customer": "cus_1", "code": "not_json"}, False),
    ],
)
def test_a_filter_means_the_letters_that_fit_all_of_it(chosen: dict[str, Any], means: bool) -> None:
    found = letter_of(letter(more=(("__dlq.errors.message", TEXT),)), SETTINGS)
    assert Chosen(**chosen).has(found) is means


def test_what_show_prints_with_values_can_be_sent_as_it_was() -> None:
    for key, value in ((b"\xff", b"\xfe"), (b"k", body()), (None, None)):
        headers: Headers = (("a", b"1"), ("b", b"\xff"), ("c", None), ("a", b"2"))
        printed = sendable(Record(Position("dlq", 0, 1, 0), key, value, headers))
        again = request_of("here", {"record": printed})
        assert (again.key, again.value) == (key, value)
        assert [each for each in again.headers if each[1] is not None] == [each for each in headers if each[1]]
    assert base64.b64decode(sendable(Record(Position("d", 0, 1, 0), b"\xff", None, ()))["key_base64"]) == b"\xff"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["replay", "--offsets", "17"], "0/17-40"),
        (["replay", "--offsets", "0/17-3"], "0/17-40"),
        (["show", "0-17"], "0/17-40"),
        (["drop"], "--all"),
        (["list", "--since", "yesterday"], "10m"),
    ],
)
def test_wrong_use_is_told_with_what_is_right(arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "localhost:1")
    monkeypatch.setenv("COLUMNS", "200")
    result = CliRunner().invoke(app.cli.app, ["dlq", *arguments])
    assert (result.exit_code, told in result.output) == (2, True)


def test_with_tokens_a_replay_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"AUTH": "jwt", "AUTH_SECRET": "s" * 32, "AUTH_ISSUER": "i", "AUTH_AUDIENCE": "a"}.items():
        monkeypatch.setenv(f"PATIENT_UPSERT_{name}", value)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "localhost:1")
    result = CliRunner().invoke(app.cli.app, ["dlq", "replay"])
    assert (result.exit_code, "--token-file" in result.output) == (2, True)
