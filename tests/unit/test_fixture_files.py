"""The published fixtures as files: well formed, independent, complete; and the comparison that runs on them.

`tests/integration/test_fixtures.py` puts them to the worker.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from app.errors import ErrorCode, FaultCode
from tests.integration import fixtures
from tests.integration.fixtures import Case, Comparison, Received
from tests.rules import read_sections

CONTRACTS = Path(__file__).parents[2] / "contracts"
CASES = fixtures.cases()

NOT_SHOWN = {
    "R3.39": "holds for whatever a record holds, so no single record shows it",
    "R5.50": "holds for whatever JSON holds, so no single record shows it",
    "R5.53": "is about the schema, not about a record",
    "R6.1": "needs a crash between effect and answer",
    "R6.2": "needs a second delivery of the same record by Kafka; a record that is published again is R6.5",
    "R6.3": "needs a token, which a file cannot hold: it would end",
    "R6.13": "is about committed offsets, which no answer shows",
    "R6.25": "is about what is written, which no answer shows",
    "R6.26": "needs someone else who writes the same rows at the same time",
    "R6.27": "needs someone else who writes the same rows at the same time",
    "R6.28": "needs a database that refuses what the rules accept; how it is answered is R6.48",
    "R6.29": "stops the worker",
    "R6.30": "needs a database that is away",
    "R6.31": "needs a database that is away",
    "R6.32": "needs another member of the group",
    "R6.34": "is about metrics, which no answer shows",
    "R6.35": "stops the worker",
    "R6.98": "needs two workers at the same moment",
}
"""The rules that no case shows, and why."""
CODES_NOT_SHOWN = {
    ErrorCode.UNAUTHORIZED: "needs an issuer of tokens, which is not a setting that a runner can make",
    FaultCode.NOT_ALLOWED: "as unauthorized",
}
CHAPTERS = ("Forms", "Answers", "Customers", "Fields", "Plan")

PLACED = {
    "topic.requested": "patient.upsert.requested",
    "topic.completed": "patient.upsert.completed",
    "topic.failed": "patient.upsert.failed",
    "topic.dlq": "patient.upsert.requested.dlq",
    "group": "patient-upsert",
    "partition": "3",
    "offset": "41",
    "timestamp": "1767323045678",
}
PATIENT = "pat_0198c5d2-7d31-7c4e-9a55-3f1f0f6f7a10"
FILLED = {**PLACED, "patient": PATIENT, "time": "2024-01-01T00:00:00.000Z"}


def schema(name: str) -> jsonschema.Draft202012Validator:
    published = json.loads((CONTRACTS / name).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(published)
    return jsonschema.Draft202012Validator(published, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


def shown() -> list[Mapping[str, Any]]:
    return [record["answer"]["value"] for case in CASES for record in case.records]


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for member in value.values():
            yield from texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from texts(member)
    elif isinstance(value, str):
        yield value


def test_every_file_is_as_the_schema_says() -> None:
    validator = schema("fixtures/schema.json")
    for name, content in fixtures.files():
        assert [f"{name}: {error.json_path}" for error in validator.iter_errors(content)] == []


def test_there_are_at_least_a_hundred_cases_each_with_a_name_of_its_own() -> None:
    names = Counter(case.name for case in CASES)
    assert len(names) >= 100
    assert [name for name, times in names.items() if times > 1] == []


def test_the_readme_names_every_file() -> None:
    readme = (CONTRACTS / "fixtures" / "README.md").read_text(encoding="utf-8")
    assert [name for name, _ in fixtures.files() if f"`{name}.json`" not in readme] == []


def test_the_readme_shows_a_case() -> None:
    readme = (CONTRACTS / "fixtures" / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", readme, flags=re.DOTALL)
    content = {"$schema": "schema.json", "about": "example", "cases": [json.loads(example)]}
    assert [error.json_path for error in schema("fixtures/schema.json").iter_errors(content)] == []
    value = content["cases"][0]["records"][0]["answer"]["value"]
    assert [error.json_path for error in schema("schemas/answer-failed.json").iter_errors(value)] == []


def owned(case: Case) -> set[tuple[str, ...]]:
    """What must not appear in another case."""
    found: set[tuple[str, ...]] = set()
    for record in case.records:
        asked, headers = record["answer"]["value"]["request"], dict(record["answer"]["headers"])
        if asked["customer"] is not None:
            found.add(("customer", asked["customer"]))
        if None not in (asked["id"], asked["source"]) and "${offset}" not in asked["id"]:
            found.add(("request", asked["source"], asked["id"]))
        if headers["request-offset"] != "${offset}":
            found.add(("letter", headers["request-topic"], headers["request-partition"], headers["request-offset"]))
    found |= {("customer", row["customer"]) for rows in case.before.values() for row in rows}
    return found | {("patient", row["patient"]) for row in case.before["patients"]}


def test_cases_share_nothing() -> None:
    times = Counter(thing for case in CASES for thing in owned(case))
    assert [thing for thing, number in times.items() if number > 1] == []


def test_every_answer_is_as_the_published_schemas_say() -> None:
    validators = {
        "${topic.completed}": schema("schemas/answer-completed.json"),
        "${topic.failed}": schema("schemas/answer-failed.json"),
    }
    for case in CASES:
        for record in case.records:
            answer = record["answer"]
            faults = validators[answer["topic"]].iter_errors(fixtures.filled(answer["value"], FILLED))
            assert [f"{case.name}: {fault.json_path}" for fault in faults] == []


def test_only_place_holders_that_the_readme_explains_are_used() -> None:
    readme = (CONTRACTS / "fixtures" / "README.md").read_text(encoding="utf-8")
    known = r"\$\{(topic\.(requested|completed|failed|dlq)|group)\}"
    placed = r"\$\{(partition|offset|timestamp)\}"
    made = r"\$\{(patient:[a-z0-9-]+|(time|answer-id)(:[a-z0-9-]+)?)\}"
    for case in CASES:
        for record in case.records:
            for text in texts({name: part for name, part in record.items() if name not in ("answer", "dead_letter")}):
                assert "${" not in re.sub(known, "", text), case.name
            for text in texts([record["answer"], record.get("dead_letter")]):
                assert re.fullmatch(made, text) or "${" not in re.sub(f"{known}|{placed}", "", text), case.name
    for name in FILLED:
        assert f"${{{name}" in readme


def test_every_rule_of_forms_answers_customers_fields_and_plan_is_shown_or_cannot_be() -> None:
    sections, _ = read_sections()
    known = {id for rules in sections.values() for id in rules}
    due = {id for title in CHAPTERS for id in sections[title]}
    named = {id for case in CASES for id in case.rules}
    assert sorted(named - known) == []
    assert sorted(due - named - set(NOT_SHOWN)) == []
    assert sorted(named & set(NOT_SHOWN)) == []


def test_every_code_is_shown_or_cannot_be() -> None:
    errors = {value["response"]["error"] for value in shown() if value["status"] != 200}
    details = {detail["code"] for value in shown() if value["status"] != 200 for detail in value["response"]["details"]}
    assert errors == set(ErrorCode) - set(CODES_NOT_SHOWN)
    assert details == set(FaultCode) - set(CODES_NOT_SHOWN)


def test_every_status_and_outcome_is_shown() -> None:
    assert {(value["status"], value["outcome"]) for value in shown()} == {
        (200, "created"),
        (200, "updated"),
        (200, "unchanged"),
        (200, "superseded"),
        (400, "rejected"),
        (404, "rejected"),
        (500, "failed"),
    }


# --- the comparison

VALUE: dict[str, Any] = {
    "status": 200,
    "request": {"id": "e-1", "source": "/fixtures"},
    "response": {"patient": PATIENT, "created_at": "2026-01-02T03:04:05.678Z", "phone": None},
}
EXPECTED: dict[str, Any] = {
    "topic": "${topic.completed}",
    "key": "cus_1",
    "headers": [["ce_id", "${answer-id}"], ["request-offset", "${offset}"], ["tracestate", "a"], ["tracestate", "b"]],
    "value": {**VALUE, "response": {"patient": "${patient:1}", "created_at": "${time:1}", "phone": None}},
}


def answer(value: dict[str, Any] = VALUE, **changes: Any) -> Received:
    raw = json.dumps(value).encode()
    headers = (
        (b"ce_id", fixtures.id_of("/fixtures", "e-1", raw).encode()),
        (b"request-offset", b"41"),
        (b"tracestate", b"a"),
        (b"tracestate", b"b"),
    )
    return dataclasses.replace(Received("patient.upsert.completed", b"cus_1", raw, headers), **changes)


def with_response(**changes: Any) -> Received:
    return answer({**VALUE, "response": {**VALUE["response"], **changes}})


def comparison() -> Comparison:
    return Comparison(datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC))


def test_an_answer_as_expected_has_no_difference() -> None:
    assert comparison().answer(EXPECTED, answer(), PLACED) == []
    reversed_names = tuple(sorted(answer().headers, reverse=True, key=lambda header: header[0]))
    assert comparison().answer(EXPECTED, answer(headers=reversed_names), PLACED) == []


@pytest.mark.parametrize(
    "different",
    [
        answer(topic="patient.upsert.failed"),
        answer(key=b"cus_2"),
        answer(key=None),
        answer(headers=answer().headers[1:]),
        answer(headers=(*answer().headers, (b"x", b"1"))),
        answer(headers=(*answer().headers[:3], (b"tracestate", None))),
        answer(headers=(*answer().headers[:2], *answer().headers[:1:-1])),
        answer(headers=((b"ce_id", PATIENT.encode()), *answer().headers[1:])),
        answer(headers=(answer().headers[0], (b"request-offset", b"42"), *answer().headers[2:])),
        answer({**VALUE, "status": 200.0}),
        answer({**VALUE, "more": 1}),
        answer(dict(reversed(VALUE.items()))),
        with_response(phone=""),
        with_response(patient="pat_1"),
        with_response(created_at="2026-01-02T03:04:05Z"),
        with_response(created_at="2026-01-01T23:59:59.999Z"),
    ],
)
def test_whatever_differs_is_told(different: Received) -> None:
    assert comparison().answer(EXPECTED, different, PLACED) != []


@pytest.mark.parametrize(
    ("first", "second", "milliseconds", "fits"),
    [
        ("${time:1}", "${time:2}", "679", True),
        ("${time:1}", "${time:2}", "678", False),
        ("${time:2}", "${time:1}", "679", False),
        ("${time:2}", "${time:1}", "678", False),
        ("${time:2}", "${time:1}", "677", True),
        ("${time:9}", "${time:10}", "679", True),
        ("${time:a-1}", "${time:b-0}", "679", True),
        ("${time:1}", "${time:1}", "678", True),
        ("${time:1}", "${time:1}", "679", False),
        ("${time}", "${time}", "679", True),
        ("${time:a}", "${time:b}", "678", True),
    ],
)
def test_times_of_one_name_are_one_and_numbers_order_them(
    first: str, second: str, milliseconds: str, fits: bool
) -> None:
    compared = comparison()
    expected, later = (
        {**EXPECTED, "value": {**VALUE, "response": {**VALUE["response"], "created_at": name}}}
        for name in (first, second)
    )
    assert compared.answer(expected, answer(), PLACED) == []
    received = with_response(created_at=f"2026-01-02T03:04:05.{milliseconds}Z")
    assert (compared.answer(later, received, PLACED) == []) is fits


@pytest.mark.parametrize(
    ("name", "change", "fits"),
    [
        ("${patient:1}", lambda id: id, True),
        ("${patient:1}", lambda id: id[:-1] + "1", False),
        ("${patient:2}", lambda id: id[:-1] + "1", True),
        ("${patient:2}", lambda id: id, False),
    ],
)
def test_an_id_of_one_name_is_one_and_of_another_another(name: str, change: Callable[[str], str], fits: bool) -> None:
    compared = comparison()
    assert compared.answer(EXPECTED, answer(), PLACED) == []
    expected = {**EXPECTED, "value": {**VALUE, "response": {**VALUE["response"], "patient": name}}}
    assert (compared.answer(expected, with_response(patient=change(PATIENT)), PLACED) == []) is fits


def test_the_id_of_an_answer_is_computed_as_the_readme_says() -> None:
    readme = (CONTRACTS / "fixtures" / "README.md").read_text(encoding="utf-8")
    assert fixtures.id_of("/fixtures", "example-1", b'{"status":200}') in readme
    placed = answer({"request": {"id": None, "source": "/fixtures"}})
    placed = dataclasses.replace(
        placed, headers=((b"request-topic", b"t"), (b"request-partition", b"1"), (b"request-offset", b"2"))
    )
    assert fixtures.answer_id(placed, json.loads(placed.value or b""), "3") == fixtures.id_of(
        "kafka:t", "t/1/2@3", placed.value or b""
    )
