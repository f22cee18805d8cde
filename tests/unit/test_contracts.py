"""What others build against is what the worker does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from app.contracts import documents
from app.contracts.schemas import schemas
from app.response import answer_headers, letter_headers
from tests.unit.making import EVENT, decided, parsed, record, request, request_of, structured, with_headers

CONTRACTS = Path(__file__).parents[2] / "contracts"


def read(name: str) -> Any:
    return json.loads((CONTRACTS / name).read_text(encoding="utf-8"))


def validator(schema: Any) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


def fields_of(schema: Any, root: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every field that a schema describes, with those of its definitions, each with what it refers to."""
    for name, field in schema.get("properties", {}).items():
        whole = resolved(field, root)
        yield f"{path}/{name}", whole
        branches = [resolved(branch, root) for branch in whole.get("anyOf", ()) if "$ref" in branch]
        for inner in (whole, *branches):
            yield from fields_of(inner, root, f"{path}/{name}")
        if "items" in whole:
            yield from fields_of(resolved(whole["items"], root), root, f"{path}/{name}/0")


def resolved(schema: Any, root: Any) -> Any:
    if "$ref" not in schema:
        return schema
    return {**root["$defs"][schema["$ref"].removeprefix("#/$defs/")], **schema}


def unlimited(schema: Any, root: Any) -> bool:
    """Whether values of any length would do."""
    schema = resolved(schema, root)
    if "anyOf" in schema and "maxLength" not in schema:
        return any(unlimited(branch, root) for branch in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return False
    kinds = schema.get("type", "object")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "string" in kinds:
        return "maxLength" not in schema and schema.get("format") != "date"
    return "array" in kinds and "maxItems" not in schema


def test_the_published_documents_are_those_that_the_models_give() -> None:
    published = {
        str(path.relative_to(CONTRACTS)): path.read_text(encoding="utf-8")
        for pattern in ("schemas/*.json", "examples/*.json", "*.yaml")
        for path in CONTRACTS.glob(pattern)
    }
    assert published == documents()


@pytest.mark.parametrize(
    ("example", "schema"),
    [
        ("request", "request"),
        ("answer-completed", "answer-completed"),
        ("answer-failed", "answer-failed"),
        ("response-200", "response-200"),
        ("response-error", "response-error"),
    ],
)
def test_each_example_is_valid_by_its_schema(example: str, schema: str) -> None:
    published = read(f"schemas/{schema}.json")
    jsonschema.Draft202012Validator.check_schema(published)
    validator(published).validate(read(f"examples/{example}.json"))


def test_an_answer_without_one_of_its_fields_breaks_its_schema() -> None:
    schema = validator(read("schemas/answer-completed.json"))
    answer = read("examples/answer-completed.json")
    for name in list(answer["response"]):
        shortened = {**answer, "response": {key: value for key, value in answer["response"].items() if key != name}}
        assert not schema.is_valid(shortened), name


@pytest.mark.rule("R8.3")
@pytest.mark.parametrize("name", sorted(schemas()))
def test_each_field_of_each_schema_is_named_described_limited_and_has_valid_examples(name: str) -> None:
    schema = read(f"schemas/{name}.json")
    jsonschema.Draft202012Validator.check_schema(schema)
    found = dict(fields_of(schema, schema))
    assert [path for path, field in found.items() if not field.get("title") or not field.get("description")] == []
    assert [path for path, field in found.items() if not field.get("examples")] == []
    assert [path for path, field in found.items() if unlimited(field, schema)] == []
    for path, field in found.items():
        for example in field["examples"]:
            assert validator({**field, "$defs": schema.get("$defs", {})}).is_valid(example), path


@pytest.mark.rule("R8.3")
def test_the_schemas_describe_the_fields_of_the_fields_too() -> None:
    completed, event = read("schemas/answer-completed.json"), read("schemas/request-event.json")
    assert {"/status", "/outcome", "/request/id", "/response/firstName"} <= dict(fields_of(completed, completed)).keys()
    assert {"/specversion", "/data/firstName", "/data_base64"} <= dict(fields_of(event, event)).keys()
    failed = read("schemas/answer-failed.json")
    assert {"/response/error", "/response/details/0/code"} <= dict(fields_of(failed, failed)).keys()


def texts(headers: Any) -> dict[str, str]:
    return {name: value.decode() for name, value in headers}


@pytest.mark.rule("R8.4")
def test_the_headers_of_answers_and_dead_letters_are_valid_by_their_schemas() -> None:
    traced = with_headers(EVENT, traceparent=b"00-1-2-01", correlation_id=b"c")
    bad = request_of(record(b"{", key=None))
    for answer in decided(request(), request(), request_of(record(headers=traced)), bad).answers:
        validator(read("schemas/answer-headers.json")).validate(texts(answer_headers(answer, "patient.upsert.failed")))
        validator(read("schemas/dead-letter-headers.json")).validate(texts(letter_headers(answer, "patient-upsert")))


@pytest.mark.rule("R8.4")
def test_an_answer_with_the_longest_values_is_valid_by_its_schema() -> None:
    longest: dict[str, Any] = dict.fromkeys(("city", "state", "postalCode", "country", "gender"), "5" * 100)
    longest |= {"firstName": "Ж" * 200, "lastName": "見" * 200, "address": "🏥" * 300, "address2": "x" * 300}
    given = request(id="é" * 127, customer="c" * 100, phone="5" * 40, email=f"{'a' * 64}@{'b' * 60}.example", **longest)
    (answer,) = decided(given).answers
    assert answer.status == 200
    validator(read("schemas/answer-completed.json")).validate(parsed(answer))


@pytest.mark.rule("R8.4")
@pytest.mark.parametrize(
    ("form", "headers", "accepted"),
    [
        ("binary", {}, True),
        ("binary", {"ce_time": "2026-01-02t03:04:05.6z", "ce_subject": "cus_1", "ce_other": "\x00"}, True),
        ("binary", {"ce_id": "é" * 127}, True),
        ("binary", {"ce_specversion": "0.3"}, False),
        ("binary", {"ce_id": ""}, False),
        ("binary", {"ce_id": "a\n"}, False),
        ("binary", {"ce_id": "a" * 256}, False),
        ("binary", {"ce_source": "kafka:x"}, False),
        ("binary", {"ce_source": "/a\n"}, False),
        ("binary", {"ce_type": "patient.upsert.completed"}, False),
        ("binary", {"ce_time": "yesterday"}, False),
        ("binary", {"ce_subject": "-"}, False),
        ("key", {"idempotency-key": "a", "source": "/b"}, True),
        ("key", {"idempotency-key": ""}, False),
        ("key", {"idempotency-key": "a", "source": "kafka:x"}, False),
        ("plain", {}, True),
    ],
)
def test_headers_of_requests_are_valid_where_the_worker_accepts_them(
    form: str, headers: dict[str, str], accepted: bool
) -> None:
    given = {**(texts(EVENT) if form == "binary" else {}), **headers}
    schema = validator(read(f"schemas/request-headers-{form}.json"))
    made = request_of(record(headers=[(name, value.encode()) for name, value in given.items()]))
    assert (schema.is_valid(given), made.refusal is None) == (accepted, accepted)


@pytest.mark.rule("R8.4")
@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        ({}, True),
        ({"subject": "cus_1", "time": "2026-01-02 03:04:05+01:00", "extension": 7}, True),
        ({"subject": None, "time": None, "datacontenttype": None}, True),
        ({"data": ..., "data_base64": "e30"}, False),
        ({"data_base64": "e30="}, False),
        ({"data": ...}, False),
        ({"data": []}, False),
        ({"specversion": "1"}, False),
        ({"id": 7}, False),
        ({"id": ...}, False),
        ({"id": "\ud800"}, False),
        ({"source": None}, False),
        ({"source": "kafka:"}, False),
        ({"type": "patient.upsert"}, False),
        ({"subject": "\u00e9"}, False),
        ({"time": "2026-01-02"}, False),
        ({"time": 7}, False),
    ],
)
def test_events_are_valid_where_the_worker_accepts_them(changes: dict[str, Any], accepted: bool) -> None:
    value = structured(**changes)
    made = request_of(record(value, key=b"cus_1"))
    schema = validator(read("schemas/request-event.json"))
    assert (schema.is_valid(json.loads(value)), made.refusal is None) == (accepted, accepted)


@pytest.mark.rule("R8.4")
def test_an_event_with_data_in_base64_is_valid() -> None:
    event = read("examples/request-cloudevent.json")
    del event["data"]
    validator(read("schemas/request-event.json")).validate({**event, "data_base64": "e30="})
