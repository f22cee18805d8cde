"""What others build against: the JSON Schemas of requests and answers with an example each, from the models themselves.

`documents` gives every file of `contracts/` by its name. The examples are made by the rooms, so they cannot drift.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from app.envelope import open_envelope
from app.errors import ErrorCode, FaultCode
from app.model import EVENT_TYPE, Known, Position, Record, Request
from app.plan import Rules, plan
from app.request import RequestData
from app.understand import understand

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
TIME_PATTERN: Final = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$"

Time = Annotated[str, Field(pattern=TIME_PATTERN, examples=["2024-01-01T00:00:00.000Z"])]


class _Published(BaseModel):
    """Every field is always there; further ones may come with a later version."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)


class SuccessBody(_Published):
    """The customer and its patient, as `POST /clinician/patient/upsert-patient` returns them with status 200."""

    customer: str = Field(description="The customer's id", examples=["cus_1042"])
    email: str | None = Field(description="The customer's e-mail address", examples=["zoe.sample@clinic.example"])
    first_name: str = Field(description="The customer's first name, as it was when the customer was created")
    last_name: str = Field(description="The customer's last name, as it was when the customer was created")
    billing_address_id: str | None = Field(description="The customer's billing address; nothing here sets it")
    phone: str | None = Field(description="The customer's phone number", examples=["+1 (202) 555-0143"])
    has_account: bool = Field(description="Whether the customer can log in; nothing here sets it")
    created_at: Time = Field(description="When the customer was created")
    updated_at: Time = Field(
        description="When customer or patient last changed; of two answers for a customer, the newer one is later here"
    )
    deleted_at: Time | None = Field(description="Always null: what is deleted is answered with 404")
    metadata: dict[str, Any] = Field(description="Whatever other systems noted with the customer")
    patient: str = Field(description="The patient's id", examples=["pat_0198c5d2-7d31-7c4e-9a55-3f1f0f6f7a10"])
    firstName: str = Field(description="The patient's first name")  # noqa: N815
    lastName: str = Field(description="The patient's last name")  # noqa: N815
    dateOfBirth: date = Field(description="The patient's date of birth")  # noqa: N815
    gender: str | None = Field(description="The patient's gender")
    address: str = Field(description="The first line of the patient's address")
    address2: str | None = Field(description="The second line of the patient's address")
    city: str = Field(description="The city or place")
    state: str = Field(description="The state, province or region; may be empty")
    postalCode: str = Field(description="The postal code; may be empty")  # noqa: N815
    country: str = Field(description="The country")


class Detail(_Published):
    """One fault of a request."""

    field: str = Field(description="JSON Pointer into the data; empty for the whole", examples=["/dateOfBirth"])
    code: FaultCode = Field(description="A stable code for programs", examples=["date_in_future"])
    message: str = Field(description="A fixed sentence for people", examples=["must not be in the future"])


class ErrorBody(_Published):
    """Why a request was not applied, as the REST operation returns it with status 400, 401, 404 and 500."""

    error: ErrorCode = Field(description="A stable code for programs", examples=["validation_failed"])
    details: list[Detail] = Field(description="Every fault that was found")


class Asked(_Published):
    """Which request this answers. What could not be told, or broke its own rule, is null."""

    id: str | None = Field(description="The request's id")
    source: str | None = Field(description="The request's source; with the id it is the idempotency key")
    customer: str | None = Field(description="The customer that the request is about")


class Success(_Published):
    """An answer on the topic of completed requests."""

    status: Literal[200]
    outcome: Literal["created", "updated", "unchanged", "superseded"] = Field(
        description="unchanged: no field differed; superseded: something newer stands, and the body shows it"
    )
    request: Asked
    response: SuccessBody


class Failure(_Published):
    """An answer on the topic of failed requests."""

    status: Literal[400, 401, 404, 500]
    outcome: Literal["rejected", "failed"] = Field(
        description="rejected: the request is at fault; failed: the worker is, and the request is a dead letter"
    )
    request: Asked
    response: ErrorBody


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
    completed, failed = _answers()
    examples = {
        "request": _REQUEST,
        "request-cloudevent": _EVENT,
        "answer-completed": completed,
        "answer-failed": failed,
        "response-200": completed["response"],
        "response-error": failed["response"],
    }
    return files | {f"examples/{name}.json": _text(example) for name, example in examples.items()}


def _text(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


_REQUEST: Final = {
    "customer": "cus_1042",
    "firstName": "Zoë",
    "lastName": "Sample",
    "dateOfBirth": "2001-02-03",
    "gender": {"code": "F", "display": "Female"},
    "phone": "+1 (202) 555-0143",
    "email": "zoe.sample@clinic.example",
    "address": "12 Invented Street",
    "address2": None,
    "city": "Springfield",
    "state": "OR",
    "postalCode": "97475",
    "country": "US",
}
_EVENT: Final = {
    "specversion": "1.0",
    "id": "7c4e0f86-4d0c-4d0e-9a55-3f1f0f6f7a10",
    "source": "/clinics/example",
    "type": EVENT_TYPE,
    "subject": "cus_1042",
    "time": "2024-01-01T00:00:00Z",
    "datacontenttype": "application/json",
    "data": _REQUEST,
}
_BAD: Final = {**_EVENT, "id": "b1f4", "data": {**_REQUEST, "dateOfBirth": "2031-02-03", "city": ""}}


def _answers() -> tuple[dict[str, Any], dict[str, Any]]:
    """What the worker answers to the example, and to one with two faults."""
    made = datetime(2024, 1, 1, tzinfo=UTC)
    requests = [_understood(_EVENT, 0, made), _understood(_BAD, 1, made)]
    planned = plan(
        requests, Known(), rules=Rules(), now=made, new_patient_id=lambda: "pat_0198c5d2-7d31-7c4e-9a55-3f1f0f6f7a10"
    )
    completed, failed = (orjson.loads(answer.value) for answer in planned.answers)
    return completed, failed


def _understood(event: dict[str, Any], offset: int, made: datetime) -> Request:
    position = Position(EVENT_TYPE, 0, offset, int(made.timestamp() * 1000))
    envelope = open_envelope(Record(position, None, orjson.dumps(event), ()), customer_from_key=True)
    return understand(envelope, None, received=made, pattern=re.compile(".*"), auth="none")
