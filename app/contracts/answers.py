"""The answers as models: what consumers read about each field, and what the schemas are made from."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.errors import ErrorCode, FaultCode

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
