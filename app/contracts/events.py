"""A request as a CloudEvent in structured mode, as a model, and the attributes that other forms have in headers."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from app.envelope import TIME_PATTERN
from app.model import EVENT_TYPE
from app.request import RequestData
from app.request.published import NO_LINE_BREAK, customer_schema, identifier_schema, nullable

Identifier = Annotated[str, WithJsonSchema(identifier_schema())]
Source = Annotated[str, WithJsonSchema(identifier_schema(reserved="kafka:"))]
Subject = Annotated[str | None, WithJsonSchema(nullable(customer_schema()))]
AnyText = Annotated[str | None, WithJsonSchema({"type": ["string", "null"], "maxLength": 1024})]
TIME: Final = {
    "type": "string",
    "format": "date-time",
    "minLength": 20,
    "maxLength": 64,
    "pattern": f"^{TIME_PATTERN}$",
    "not": NO_LINE_BREAK,
}
EventTime = Annotated[str, WithJsonSchema(TIME)]
NullableEventTime = Annotated[str | None, WithJsonSchema({"anyOf": [TIME, {"type": "null"}]})]


GIVEN_ID: Final = Field(
    title="Id",
    description="The request's id. With the source it is the idempotency key: the same request again gets the first "
    "answer again.",
    examples=["7c4e0f86-4d0c-4d0e-9a55-3f1f0f6f7a10"],
)
GIVEN_SOURCE: Final = Field(
    title="Source",
    description="Who asks: a URI reference. It must not begin with kafka:, which is what the worker makes itself.",
    examples=["/clinics/example"],
)
GIVEN_TYPE: Final = Field(title="Type", description="What the event is.", examples=[EVENT_TYPE])
GIVEN_SUBJECT: Final = Field(
    default=None,
    title="Subject",
    description="The customer, where the data do not name it; else the same.",
    examples=["cus_1042"],
)
GIVEN_TIME: Final = Field(
    default=None,
    title="Time",
    description="When the request was made, as in RFC 3339. With it, a request older than what stands is answered "
    "superseded.",
    examples=["2024-01-01T00:00:00Z"],
)


def optional_members(schema: dict[str, Any]) -> None:
    """What may be left out has no default: it is not there."""
    for member in schema["properties"].values():
        member.pop("default", None)


def _with_data(schema: dict[str, Any]) -> None:
    optional_members(schema)
    schema["oneOf"] = [
        {"title": "As JSON", "required": ["data"], "properties": {"data": {"type": "object"}}},
        {"title": "As base64", "required": ["data_base64"], "properties": {"data_base64": {"type": "string"}}},
    ]


class StructuredEvent(BaseModel):
    """A request as a CloudEvent 1.0 in structured mode: the value of the record.

    Extensions are accepted. The data are given as JSON or as base64, not both; a member that is null counts as absent.
    """

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True, json_schema_extra=_with_data)

    specversion: Literal["1.0"] = Field(
        title="Version of CloudEvents", description="The version of the specification.", examples=["1.0"]
    )
    id: Identifier = GIVEN_ID
    source: Source = GIVEN_SOURCE
    type: Literal["patient.upsert.requested"] = GIVEN_TYPE
    subject: Subject = GIVEN_SUBJECT
    time: NullableEventTime = GIVEN_TIME
    datacontenttype: AnyText = Field(
        default=None,
        title="Content type of the data",
        description="Not looked at: the data are JSON.",
        examples=["application/json"],
    )
    dataschema: AnyText = Field(
        default=None,
        title="Schema of the data",
        description="Not looked at.",
        examples=["https://example.com/patient-upsert/v1/request.json"],
    )
    data: RequestData | None = Field(default=None, title="Data", description="The request.", examples=[])
    data_base64: Annotated[
        str | None,
        WithJsonSchema(
            {
                "type": ["string", "null"],
                "contentEncoding": "base64",
                "contentMediaType": "application/json",
                "maxLength": 1024 * 1024,
                "pattern": "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
            }
        ),
    ] = Field(
        default=None,
        title="Data as base64",
        description="The request as JSON in base64, as some libraries send it.",
        examples=["e30="],
    )
