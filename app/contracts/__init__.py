"""What others build against: the JSON Schemas of requests and answers with an example each, from the models themselves.

`documents` gives every file of `contracts/` by its name.
"""

from __future__ import annotations

import json
from typing import Any, Final

from app.contracts.answers import ErrorBody, Failure, Success, SuccessBody
from app.contracts.examples import EVENT, REQUEST, answers
from app.request import RequestData

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def documents() -> dict[str, str]:
    """Every file of `contracts/`: its path there, and its text."""
    schemas = {
        "request": RequestData.model_json_schema(by_alias=True),
        "answer-completed": Success.model_json_schema(),
        "answer-failed": Failure.model_json_schema(),
        "response-200": SuccessBody.model_json_schema(),
        "response-error": ErrorBody.model_json_schema(),
    }
    files = {f"schemas/{name}.json": _text({"$schema": DIALECT, **schema}) for name, schema in schemas.items()}
    completed, failed = answers()
    examples = {
        "request": REQUEST,
        "request-cloudevent": EVENT,
        "answer-completed": completed,
        "answer-failed": failed,
        "response-200": completed["response"],
        "response-error": failed["response"],
    }
    return files | {f"examples/{name}.json": _text(example) for name, example in examples.items()}


def _text(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
