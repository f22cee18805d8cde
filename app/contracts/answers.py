"""The answers as models: what consumers read about each field, and what the schemas are made from.

The limits are those that the database holds its rows to.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from app.errors import ErrorCode, FaultCode

TIME_PATTERN: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"
CODE_PATTERN: Final = "^[a-z][a-z0-9_]*$"
LONGEST_MADE_ID: Final = 511
"""Bytes of the longest id or source that the worker makes: a topic with a customer or a position."""


def _open_codes(codes: type[StrEnum]) -> WithJsonSchema:
    """The codes of this version, and room for those of later ones: a new code must not break a reader."""
    known = {"title": "Known today", "enum": [code.value for code in codes]}
    return WithJsonSchema(
        {"type": "string", "maxLength": 64, "anyOf": [known, {"title": "Of a later version", "pattern": CODE_PATTERN}]}
    )


Time = Annotated[
    str,
    WithJsonSchema(
        {"type": "string", "format": "date-time", "minLength": 24, "maxLength": 24, "pattern": TIME_PATTERN}
    ),
]
Id = Annotated[str, Field(min_length=1, max_length=255)]
MadeId = Annotated[str, Field(min_length=1, max_length=LONGEST_MADE_ID)]
PersonName = Annotated[str, Field(min_length=1, max_length=200)]
Line = Annotated[str, Field(min_length=1, max_length=300)]
Text = Annotated[str, Field(min_length=1, max_length=100)]
TextOrEmpty = Annotated[str, Field(max_length=100)]


class _Published(BaseModel):
    """Every field is always there; further ones may come with a later version."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)


class SuccessBody(_Published):
    """The customer and its patient, as `POST /clinician/patient/upsert-patient` returns them with status 200."""

    customer: Id = Field(title="Customer", description="The customer's id.", examples=["cus_1042"])
    email: Annotated[str, Field(min_length=1, max_length=254)] | None = Field(
        title="Email", description="The customer's e-mail address.", examples=["zoe.sample@clinic.example", None]
    )
    first_name: PersonName = Field(
        title="Customer's first name",
        description="The customer's first name, as it was when the customer was created.",
        examples=["Zoë"],
    )
    last_name: PersonName = Field(
        title="Customer's last name",
        description="The customer's last name, as it was when the customer was created.",
        examples=["Sample"],
    )
    billing_address_id: Id | None = Field(
        title="Billing address",
        description="The id of the customer's billing address; nothing here sets it.",
        examples=[None, "adr_77"],
    )
    phone: Annotated[str, Field(min_length=1, max_length=40)] | None = Field(
        title="Phone", description="The customer's phone number.", examples=["+1 (202) 555-0143"]
    )
    has_account: bool = Field(
        title="Has account", description="Whether the customer can log in; nothing here sets it.", examples=[False]
    )
    created_at: Time = Field(
        title="Created at", description="When the customer was created.", examples=["2024-01-01T00:00:00.000Z"]
    )
    updated_at: Time = Field(
        title="Updated at",
        description="When customer or patient last changed; of two answers for a customer, the newer one is later "
        "here.",
        examples=["2024-01-01T00:00:00.000Z"],
    )
    deleted_at: Time | None = Field(
        title="Deleted at", description="Always null: what is deleted is answered with 404.", examples=[None]
    )
    metadata: dict[str, Any] = Field(
        title="Metadata", description="Whatever other systems noted with the customer.", examples=[{}]
    )
    patient: Id = Field(
        title="Patient", description="The patient's id.", examples=["pat_0198c5d2-7d31-7c4e-9a55-3f1f0f6f7a10"]
    )
    firstName: PersonName = Field(  # noqa: N815
        title="First name", description="The patient's first name.", examples=["Zoë"]
    )
    lastName: PersonName = Field(  # noqa: N815
        title="Last name", description="The patient's last name.", examples=["Sample"]
    )
    dateOfBirth: date = Field(  # noqa: N815
        title="Date of birth", description="The patient's date of birth.", examples=["2001-02-03"]
    )
    gender: Text | None = Field(title="Gender", description="The patient's gender.", examples=["F", None])
    address: Line = Field(
        title="Address", description="The first line of the patient's address.", examples=["12 Invented Street"]
    )
    address2: Line | None = Field(
        title="Address, second line",
        description="The second line of the patient's address.",
        examples=["Flat 3", None],
    )
    city: Text = Field(title="City", description="The city or place.", examples=["Springfield"])
    state: TextOrEmpty = Field(
        title="State", description="The state, province or region; may be empty.", examples=["OR", ""]
    )
    postalCode: TextOrEmpty = Field(  # noqa: N815
        title="Postal code", description="The postal code; may be empty.", examples=["97475", ""]
    )
    country: Text = Field(
        title="Country", description="The country, a code or a name as it was given.", examples=["US"]
    )


class Detail(_Published):
    """One fault of a request."""

    field: Annotated[str, Field(max_length=255)] = Field(
        title="Field",
        description="JSON Pointer into the data; for a fault of event or header, its name. Empty for the whole.",
        examples=["/dateOfBirth", "/idempotency-key", ""],
    )
    code: Annotated[FaultCode, _open_codes(FaultCode)] = Field(
        title="Code",
        description="A stable code for programs. Later versions may know more codes: take an unknown one as a fault.",
        examples=["date_in_future"],
    )
    message: Annotated[str, Field(min_length=1, max_length=255)] = Field(
        title="Message", description="A fixed sentence for people.", examples=["must not be in the future"]
    )


class ErrorBody(_Published):
    """Why a request was not applied, as the REST operation returns it with status 400, 401, 404 and 500."""

    error: Annotated[ErrorCode, _open_codes(ErrorCode)] = Field(
        title="Error",
        description="A stable code for programs. Later versions may know more codes: go by the status then.",
        examples=["validation_failed"],
    )
    details: Annotated[list[Detail], Field(min_length=1, max_length=255)] = Field(
        title="Details",
        description="Every fault that was found.",
        examples=[[{"field": "/city", "code": "empty", "message": "must not be empty"}]],
    )


class Asked(_Published):
    """Which request this answers. What could not be told, or broke its own rule, is null."""

    id: MadeId | None = Field(
        title="Id", description="The request's id.", examples=["7c4e0f86-4d0c-4d0e-9a55-3f1f0f6f7a10", None]
    )
    source: MadeId | None = Field(
        title="Source",
        description="The request's source; with the id it is the idempotency key.",
        examples=["/clinics/example", None],
    )
    customer: Id | None = Field(
        title="Customer", description="The customer that the request is about.", examples=["cus_1042", None]
    )


_ASKED: Final = {"id": "7c4e0f86-4d0c-4d0e-9a55-3f1f0f6f7a10", "source": "/clinics/example", "customer": "cus_1042"}


class Success(_Published):
    """An answer on the topic of completed requests."""

    status: Literal[200] = Field(title="Status", description="As the REST operation returns it.", examples=[200])
    outcome: Literal["created", "updated", "unchanged", "superseded"] = Field(
        title="Outcome",
        description="created: the customer had no patient; updated: a field differed; unchanged: none did; superseded: "
        "something newer stands, and the body shows it.",
        examples=["created"],
    )
    request: Asked = Field(title="Request", description="Which request this answers.", examples=[_ASKED])
    response: SuccessBody = Field(title="Response", description="The body of the REST operation.", examples=[])


class Failure(_Published):
    """An answer on the topic of failed requests."""

    status: Literal[400, 401, 404, 500] = Field(
        title="Status", description="As the REST operation returns it.", examples=[400]
    )
    outcome: Literal["rejected", "failed"] = Field(
        title="Outcome",
        description="rejected: the request is at fault; failed: the worker is, and the request is a dead letter.",
        examples=["rejected"],
    )
    request: Asked = Field(title="Request", description="Which request this answers.", examples=[_ASKED])
    response: ErrorBody = Field(
        title="Response",
        description="The error body of the REST operation.",
        examples=[
            {
                "error": "validation_failed",
                "details": [{"field": "/city", "code": "empty", "message": "must not be empty"}],
            }
        ],
    )
