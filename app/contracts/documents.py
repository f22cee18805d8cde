"""Every file of `contracts/`: its path there, and its text."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from app.contracts.asyncapi import asyncapi
from app.contracts.examples import EVENT, REQUEST, answers
from app.contracts.schemas import schemas
from app.contracts.yaml import yaml

_HEAD: Final = "# Made from the models: patient-upsert contracts\n"


def documents() -> dict[str, str]:
    """The text of each file by its path in `contracts/`."""
    files = {f"schemas/{name}.json": _text(schema) for name, schema in schemas().items()}
    completed, failed = answers()
    examples = {
        "request": REQUEST,
        "request-cloudevent": EVENT,
        "answer-completed": completed,
        "answer-failed": failed,
        "response-200": completed["response"],
        "response-error": failed["response"],
    }
    files["asyncapi.yaml"] = _HEAD + yaml(asyncapi())
    return files | {f"examples/{name}.json": _text(example) for name, example in examples.items()}


def _text(document: Any) -> str:
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    return re.sub(r'(?m)^ *"pattern": .*$', lambda line: re.sub(r"[^\x20-\x7e]", _escape, line[0]), text)


def _escape(character: re.Match[str]) -> str:
    """Patterns hold characters that nobody could see or edit."""
    return json.dumps(character[0])[1:-1]
