"""The AsyncAPI 3.0 document: topics, records in all accepted forms, answers, errors, made from models and settings."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from app.contracts import catalogue
from app.contracts.answers import Failure, Success
from app.contracts.events import StructuredEvent
from app.contracts.examples import EVENT, REQUEST, answers, records
from app.contracts.headers import (
    AnswerHeaders,
    BinaryHeaders,
    KeyHeaders,
    LetterHeaders,
    PlainHeaders,
    StructuredHeaders,
)
from app.contracts.schemas import ANSWERS, REQUESTS, Schema, schemas
from app.errors import SENTENCES
from app.request import RequestData
from app.response import answer_headers, letter_headers
from app.settings import Settings
from app.topics import topic_configs

VERSION: Final = "1.0.0"
"""Of the contract, whose first number is that of contracts/v1."""
_BINDING: Final = "0.5.0"
_SCHEMAS: Final = "#/components/schemas/"
_INFO: Final = """\
Creates or updates the patient of a customer. A request is a record on the topic of requests, in any of four forms; \
each record is answered by one record on the topic of completed or of failed requests, which carries the body that \
`POST /clinician/patient/upsert-patient` would have returned.

The same request (source and id) has its effect once, and is given the same answer again. Answers may come twice: \
deduplicate on `ce_id`. A refusal is not stored: a corrected request may be sent again under its id.

Producers set the customer id as the key and a murmur2 partitioner (librdkafka: `partitioner=murmur2_random`); \
requests of one customer are then applied in the order in which they were sent. Header names match whatever their \
case. Unknown fields, headers and extensions are accepted, and their names are reserved.\
"""


def asyncapi() -> dict[str, Any]:
    """The document."""
    settings = Settings.model_construct()  # the defaults, whatever the environment says
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Patient upsert",
            "version": VERSION,
            "description": _INFO,
            "license": {"name": "MIT"},
            "tags": [{"name": "patients"}],
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": _channels(settings),
        "operations": _operations(settings),
        "components": {
            "messages": _messages(settings),
            "schemas": _components(),
            "securitySchemes": {
                "scramSha512": {"type": "scramSha512", "description": "SASL/SCRAM-SHA-512, the worker's default."},
                "scramSha256": {"type": "scramSha256", "description": "SASL/SCRAM-SHA-256."},
                "plain": {"type": "plain", "description": "SASL/PLAIN, over TLS only."},
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A token in the authorization header of each request, where the worker is set to "
                    "tell callers apart (AUTH=jwt): from the issuer and for the audience that are set, with the scope "
                    "patient:upsert and an end; a claim customers, a list of ids, limits whose patients may be "
                    "written. Where it is not, the access rules of Kafka guard the topic.",
                },
                "certificate": {"type": "X509", "description": "A client certificate (mutual TLS)."},
            },
        },
    }


def _servers() -> dict[str, Any]:
    bootstrap = {"bootstrap": {"description": "A broker of your Kafka, with its port.", "default": "localhost:9092"}}
    login = [{"$ref": f"#/components/securitySchemes/{name}"} for name in ("scramSha512", "scramSha256", "plain")]
    return {
        "plaintext": {
            "host": "{bootstrap}",
            "protocol": "kafka",
            "description": "Kafka without encryption, for development; with SASL_PLAINTEXT also with a login.",
            "variables": bootstrap,
        },
        "tls": {
            "host": "{bootstrap}",
            "protocol": "kafka-secure",
            "description": "Kafka over TLS, with the certificates of its clients where it asks for them.",
            "variables": bootstrap,
            "security": [{"$ref": "#/components/securitySchemes/certificate"}],
        },
        "sasl": {
            "host": "{bootstrap}",
            "protocol": "kafka-secure",
            "description": "Kafka over TLS with a login (SASL_SSL).",
            "variables": bootstrap,
            "security": login,
        },
    }


def _channels(settings: Settings) -> dict[str, Any]:
    configs = topic_configs(settings)

    def channel(topic: str, title: str, description: str, *messages: str) -> dict[str, Any]:
        config = configs[topic]
        return {
            "address": topic,
            "title": title,
            "description": description,
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            "bindings": {
                "kafka": {
                    "topic": topic,
                    "partitions": settings.topic_partitions,
                    "topicConfiguration": {
                        "cleanup.policy": [config["cleanup.policy"]],
                        "retention.ms": int(config["retention.ms"]),
                        "max.message.bytes": int(config["max.message.bytes"]),
                    },
                    "bindingVersion": _BINDING,
                }
            },
        }

    forms = ("requestBinary", "requestStructured", "requestWithKey", "requestPlain")
    return {
        "requested": channel(settings.request_topic, "Requests", "Requests, in any of four forms.", *forms),
        "completed": channel(settings.completed_topic, "Completed", "Answers with status 200.", "completed"),
        "failed": channel(settings.failed_topic, "Failed", "Answers with status 400, 401, 404 and 500.", "failed"),
        "deadLetters": channel(
            settings.dlq_topic, "Dead letters", "Requests that were answered with 500, untouched.", "deadLetter"
        ),
    }


def _operations(settings: Settings) -> dict[str, Any]:
    group = {"kafka": {"groupId": {"type": "string", "const": settings.group_id}, "bindingVersion": _BINDING}}

    def answered(reply: str, summary: str) -> dict[str, Any]:
        return {
            "action": "receive",
            "channel": {"$ref": "#/channels/requested"},
            "summary": summary,
            "security": [{"$ref": "#/components/securitySchemes/bearer"}],
            "bindings": group,
            "reply": {
                "channel": {"$ref": f"#/channels/{reply}"},
                "messages": [{"$ref": f"#/channels/{reply}/messages/{reply}"}],
            },
        }

    return {
        "upsertPatient": answered(
            "completed", "Create or update the patient of a customer, and answer with status 200."
        ),
        "refuseUpsert": answered("failed", "Refuse a request, and answer with status 400, 401, 404 or 500."),
        "keepDeadLetter": {
            "action": "send",
            "channel": {"$ref": "#/channels/deadLetters"},
            "summary": "Keep a request that was answered with 500.",
        },
    }


def _messages(settings: Settings) -> dict[str, Any]:
    completed, failed = answers()
    done, refused = records()
    binary = {f"ce_{name}": EVENT[name] for name in ("specversion", "id", "source", "type", "subject", "time")}
    plain = {"content-type": "application/json"}
    structured = {"content-type": "application/cloudevents+json; charset=utf-8"}
    with_key = {"idempotency-key": EVENT["id"], "source": EVENT["source"], **plain}
    key = (
        "The customer id. It may name the customer where neither data nor subject do, and keeps its requests in order."
    )
    answer_key = "The customer id, or the key of the request when no customer could be told."

    def message(title: str, headers: type[BaseModel], payload: type[BaseModel] | None, key: str, **more: Any) -> Any:
        headers_schema = {"$ref": f"{_SCHEMAS}{headers.__name__}"}
        return {
            "title": title,
            "summary": _summary(headers),
            "contentType": "application/json",
            "headers": headers_schema,
            "payload": {"$ref": f"{_SCHEMAS}{payload.__name__}"} if payload else _UNTOUCHED,
            "bindings": {
                "kafka": {"key": {"type": ["string", "null"], "description": key}, "bindingVersion": _BINDING}
            },
            **more,
        }

    def example(name: str, headers: Any, payload: Any) -> dict[str, Any]:
        return {"examples": [{"name": name, "headers": headers, "payload": payload}]}

    def known_by(location: str) -> dict[str, Any]:
        return {"correlationId": {"description": "The request's id.", "location": f"$message.{location}"}}

    return {
        "requestBinary": message("Request, CloudEvents binary", BinaryHeaders, RequestData, key)
        | known_by("header#/ce_id")
        | example("binary", binary | plain, REQUEST),
        "requestStructured": message("Request, CloudEvents structured", StructuredHeaders, StructuredEvent, key)
        | {"contentType": "application/cloudevents+json"}
        | known_by("payload#/id")
        | example("structured", structured, EVENT),
        "requestWithKey": message("Request, plain with a key of its own", KeyHeaders, RequestData, key)
        | known_by("header#/idempotency-key")
        | example("key", with_key, REQUEST),
        "requestPlain": message("Request, plain", PlainHeaders, RequestData, key) | example("plain", plain, REQUEST),
        "completed": message("Completed", AnswerHeaders, Success, answer_key)
        | known_by("payload#/request/id")
        | example("created", _texts(answer_headers(done, settings.completed_topic)), completed),
        "failed": message("Failed", AnswerHeaders, Failure, answer_key)
        | known_by("payload#/request/id")
        | example("rejected", _texts(answer_headers(refused, settings.failed_topic)), failed)
        | {"x-error-codes": _error_codes(), "x-fault-codes": _fault_codes()},
        "deadLetter": message("Dead letter", LetterHeaders, None, "The key of the request, as it was received.")
        | example("letter", _texts(letter_headers(done, settings.group_id)), EVENT),
    }


_UNTOUCHED: Final = {"title": "Value", "description": "The value of the request, byte for byte, whatever it is."}


def _summary(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").partition("\n\n")[0].split())


def _texts(headers: list[tuple[str, bytes]] | list[tuple[str, bytes | None]]) -> dict[str, str]:
    return {name: value.decode() for name, value in headers if value is not None}


def _error_codes() -> dict[str, Any]:
    return {
        code.value: {"status": code.status, "meaning": entry.meaning, "sendAgain": entry.again, "advice": entry.advice}
        for code, entry in catalogue.ERRORS.items()
    }


def _fault_codes() -> dict[str, Any]:
    return {
        code.value: {"message": SENTENCES[code], "error": cause.under.value, "advice": cause.advice}
        for code, cause in catalogue.FAULTS.items()
    }


def _components() -> dict[str, Schema]:
    """Every published schema and definition by the name of its model, in the dialect of AsyncAPI, which is draft 7."""
    models = {**REQUESTS, **ANSWERS}
    found: dict[str, Schema] = {}
    for name, schema in schemas().items():
        found |= {inner: found.get(inner, part) for inner, part in schema.pop("$defs", {}).items()}
        del schema["$schema"]
        found[models[name].__name__] = schema
    return {name: _draft_7(schema) for name, schema in sorted(found.items())}


def _draft_7(value: Any) -> Any:
    """There, what stands beside a reference is not read, and the rules of the first items are called `items`."""
    if isinstance(value, list):
        return [_draft_7(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {name: _draft_7(member) for name, member in value.items()}
    if "prefixItems" in made:
        made["items"] = made.pop("prefixItems")
    if isinstance(reference := made.get("$ref"), str):
        target = {"$ref": reference.replace("#/$defs/", _SCHEMAS)}
        beside = {name: member for name, member in made.items() if name != "$ref"}
        return {"allOf": [target], **beside} if beside else target
    return made
