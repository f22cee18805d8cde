"""The AsyncAPI document says what the worker does, in YAML that every reader takes alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import SecretStr
from ruamel.yaml import YAML

from app.contracts.asyncapi import asyncapi
from app.contracts.yaml import yaml
from app.errors import ErrorCode, FaultCode
from app.main import create_app
from app.settings import Settings

DOCUMENT = Path(__file__).parents[2] / "contracts" / "asyncapi.yaml"
MESSAGES = ["requestBinary", "requestStructured", "requestWithKey", "requestPlain", "completed", "failed", "deadLetter"]
ANY_TEXT = "é'\"\\\n\t\x00\x85\u2028\ufeff\ud7ff\U000e0020\U0010ffff: # - {null}"


@pytest.fixture(scope="module")
def document() -> Any:
    return YAML(typ="safe", pure=True).load(DOCUMENT.read_text(encoding="utf-8"))


@pytest.mark.rule("R8.10")
def test_the_yaml_has_the_value_that_it_was_made_from(document: Any) -> None:
    assert document == json.loads(json.dumps(asyncapi()))
    odd = {"on": [], "null": {}, "1": [1, -2.5, None, True], ANY_TEXT: [[ANY_TEXT, [{}]], {"a": [{"b": 1, "c": ""}]}]}
    assert YAML(typ="safe", pure=True).load(yaml(odd)) == odd


@pytest.mark.rule("R8.10")
@pytest.mark.parametrize("name", MESSAGES)
def test_the_examples_of_a_message_are_valid_by_its_payload_and_headers(document: Any, name: str) -> None:
    message = document["components"]["messages"][name]
    assert message["examples"]
    for part in ("payload", "headers"):
        schema = {"allOf": [message[part]], "components": document["components"]}
        validator = jsonschema.Draft7Validator(schema, format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER)
        for example in message["examples"]:
            validator.validate(example[part])


@pytest.mark.rule("R8.10")
def test_a_wrong_example_would_be_found(document: Any) -> None:
    message = document["components"]["messages"]["requestPlain"]
    validator = jsonschema.Draft7Validator({"allOf": [message["payload"]], "components": document["components"]})
    good = message["examples"][0]["payload"]
    assert not validator.is_valid({**good, "firstName": "-"})
    assert not validator.is_valid({**good, "gender": {"coding": [{"code": "F\x00"}]}})


@pytest.mark.rule("R8.10")
def test_the_channels_are_the_topics_that_setup_creates(document: Any) -> None:
    bindings = {name: channel["bindings"]["kafka"] for name, channel in document["channels"].items()}
    assert {name: binding["topic"] for name, binding in bindings.items()} == {
        "requested": "patient.upsert.requested",
        "completed": "patient.upsert.completed",
        "failed": "patient.upsert.failed",
        "deadLetters": "patient.upsert.requested.dlq",
    }
    assert {binding["partitions"] for binding in bindings.values()} == {12}
    days = {name: binding["topicConfiguration"]["retention.ms"] / 86_400_000 for name, binding in bindings.items()}
    assert days == {"requested": 7, "completed": 7, "failed": 7, "deadLetters": 30}


@pytest.mark.rule("R8.10")
def test_the_document_does_not_depend_on_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATIENT_UPSERT_TOPIC_PARTITIONS", "3")
    assert asyncapi()["channels"]["requested"]["bindings"]["kafka"]["partitions"] == 12


@pytest.mark.rule("R8.10")
def test_requests_are_answered_on_both_topics_and_every_code_is_told(document: Any) -> None:
    replies = {
        name: each["reply"]["channel"]["$ref"] for name, each in document["operations"].items() if "reply" in each
    }
    assert replies == {"upsertPatient": "#/channels/completed", "refuseUpsert": "#/channels/failed"}
    failed = document["components"]["messages"]["failed"]
    assert list(failed["x-error-codes"]) == [code.value for code in ErrorCode]
    assert set(failed["x-fault-codes"]) == {code.value for code in FaultCode}


@pytest.mark.rule("R8.11")
def test_the_worker_serves_no_page_about_its_topics() -> None:
    settings = Settings(kafka_bootstrap_servers="unused:9092", database_url=SecretStr("postgresql://unused"))
    assert sorted(path for path, _ in create_app(settings).routes) == ["/livez", "/metrics", "/readyz"]
