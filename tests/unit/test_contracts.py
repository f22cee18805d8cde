"""What others build against is what the worker does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from app.contracts import documents

CONTRACTS = Path(__file__).parents[2] / "contracts"


def read(name: str) -> Any:
    return json.loads((CONTRACTS / name).read_text(encoding="utf-8"))


def test_the_published_documents_are_those_that_the_models_give() -> None:
    published = {
        str(path.relative_to(CONTRACTS)): path.read_text(encoding="utf-8")
        for folder in ("schemas", "examples")
        for path in (CONTRACTS / folder).glob("*.json")
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
    validator = jsonschema.Draft202012Validator(
        published, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    validator.validate(read(f"examples/{example}.json"))


def test_an_answer_without_one_of_its_fields_breaks_its_schema() -> None:
    validator = jsonschema.Draft202012Validator(read("schemas/answer-completed.json"))
    answer = read("examples/answer-completed.json")
    for name in list(answer["response"]):
        shortened = {**answer, "response": {key: value for key, value in answer["response"].items() if key != name}}
        assert not validator.is_valid(shortened), name
