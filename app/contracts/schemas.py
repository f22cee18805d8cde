"""The published schemas: which there are, each from its model."""

from __future__ import annotations

import re
from typing import Any, Final

from pydantic import BaseModel

from app.contracts import headers
from app.contracts.answers import ErrorBody, Failure, Success, SuccessBody
from app.contracts.events import StructuredEvent
from app.contracts.examples import EVENT, REQUEST, answers
from app.request import RequestData

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

REQUESTS: Final[dict[str, type[BaseModel]]] = {
    "request": RequestData,
    "request-event": StructuredEvent,
    "request-headers-binary": headers.BinaryHeaders,
    "request-headers-structured": headers.StructuredHeaders,
    "request-headers-key": headers.KeyHeaders,
    "request-headers-plain": headers.PlainHeaders,
}
"""What producers send: these may only widen."""

ANSWERS: Final[dict[str, type[BaseModel]]] = {
    "answer-completed": Success,
    "answer-failed": Failure,
    "response-200": SuccessBody,
    "response-error": ErrorBody,
    "answer-headers": headers.AnswerHeaders,
    "dead-letter-headers": headers.LetterHeaders,
}
"""What consumers read: these may only narrow, or gain fields."""

Schema = dict[str, Any]


def schemas() -> dict[str, Schema]:
    """Every schema by its name."""
    made = {name: _schema(model) for name, model in {**REQUESTS, **ANSWERS}.items()}
    completed, _ = answers()
    made["answer-completed"]["properties"]["response"]["examples"] = [completed["response"]]
    made["request-event"]["properties"]["data"]["examples"] = [REQUEST]
    made["request-event"]["examples"] = [EVENT]
    return made


def _schema(model: type[BaseModel]) -> Schema:
    schema: Schema = _on_one_line(model.model_json_schema(by_alias=True))
    return {"$schema": DIALECT, **schema}


def _on_one_line(value: Any) -> Any:
    """The descriptions of models are docstrings, which are broken into lines for a screen."""
    if isinstance(value, list):
        return [_on_one_line(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {name: _on_one_line(member) for name, member in value.items()}
    if isinstance(text := made.get("description"), str):
        made["description"] = re.sub(r"(?<!\n)\n(?!\n)", " ", text)
    return made
