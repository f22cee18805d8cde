"""The headers of records as models: what a producer sets, and what an answer and a dead letter bring.

Header values are bytes in UTF-8; the schemas describe them as the strings that they hold.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from app.contracts.events import (
    GIVEN_ID,
    GIVEN_SOURCE,
    GIVEN_SUBJECT,
    GIVEN_TIME,
    GIVEN_TYPE,
    TIME,
    AnyText,
    EventTime,
    Identifier,
    Source,
    optional_members,
)
from app.envelope import LETTER_PATTERNS
from app.model import EVENT_TYPE
from app.request.published import NO_LINE_BREAK, customer_schema
from app.response import LETTER_SENTENCE, SOURCE


def _whole(pattern: str, longest: int, **more: Any) -> WithJsonSchema:
    """A text that is this pattern from its begin to its end."""
    return WithJsonSchema(
        {"type": "string", "minLength": 1, "maxLength": longest, "pattern": f"^(?:{pattern})$", "not": NO_LINE_BREAK}
        | more
    )


Topic = Annotated[str, _whole(LETTER_PATTERNS["topic"], 249)]
Partition = Annotated[str, _whole(LETTER_PATTERNS["partition"], 9)]
Offset = Annotated[str, _whole(LETTER_PATTERNS["offset"], 18)]
Timestamp = Annotated[str, _whole(LETTER_PATTERNS["timestamp"], 15)]
Tracing = Annotated[str, WithJsonSchema({"type": "string", "maxLength": 1024})]
CONTENT_TYPE: Final = Field(
    default=None,
    alias="content-type",
    title="Content type",
    description="Of the value; it is read as JSON whatever stands here.",
    examples=["application/json"],
)


class _Record(BaseModel):
    model_config = ConfigDict(extra="allow", hide_input_in_errors=True, json_schema_extra=optional_members)


class _Traced(_Record):
    traceparent: Tracing | None = Field(
        default=None,
        title="Trace parent",
        description="W3C trace context; the answer carries it too.",
        examples=["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
    )
    tracestate: Tracing | None = Field(
        default=None,
        title="Trace state",
        description="W3C trace context; the answer carries it too.",
        examples=["vendor=value"],
    )
    correlation_id: Tracing | None = Field(
        default=None,
        title="Correlation id",
        description="Whatever the producer tells its answers by; the answer carries it too.",
        examples=["batch-7"],
    )


class _Asked(_Traced):
    authorization: Annotated[str, WithJsonSchema({"type": "string", "maxLength": 16384})] | None = Field(
        default=None,
        title="Authorization",
        description="The word Bearer, a space and a token, where the worker tells callers apart (AUTH=jwt). It is "
        "never passed on.",
        examples=["Bearer eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl"],
    )


class BinaryHeaders(_Asked):
    """The headers of a request as a CloudEvent 1.0 in binary mode. The value of the record is the request."""

    ce_specversion: Literal["1.0"] = Field(
        title="Version of CloudEvents", description="What the form is recognised by.", examples=["1.0"]
    )
    ce_id: Identifier = GIVEN_ID
    ce_source: Source = GIVEN_SOURCE
    ce_type: Literal["patient.upsert.requested"] = GIVEN_TYPE
    ce_subject: Annotated[str, WithJsonSchema(customer_schema())] | None = GIVEN_SUBJECT
    ce_time: EventTime | None = GIVEN_TIME
    content_type: AnyText = CONTENT_TYPE


class StructuredHeaders(_Asked):
    """The headers of a request as a CloudEvent 1.0 in structured mode. The value of the record is the event."""

    content_type: AnyText = Field(
        default=None,
        alias="content-type",
        title="Content type",
        description="What the form is recognised by; a JSON object with specversion is recognised without it.",
        examples=["application/cloudevents+json; charset=utf-8", "application/cloudevents+json"],
    )


class KeyHeaders(_Asked):
    """The headers of a plain request with a key of its own. The value of the record is the request."""

    idempotency_key: Identifier = Field(
        alias="idempotency-key",
        title="Idempotency key",
        description="The request's id: the same request again gets the first answer again.",
        examples=["7c4e0f86-4d0c-4d0e-9a55-3f1f0f6f7a10"],
    )
    source: Source | None = Field(
        default=None,
        title="Source",
        description="Who asks. Without it the source is kafka:<topic>#<customer>: keys are then a customer's own.",
        examples=["/clinics/example"],
    )
    content_type: AnyText = CONTENT_TYPE


class PlainHeaders(_Asked):
    """The headers of a plain request. The value of the record is the request, and its place is its id.

    Sent again it is another request: a producer that repeats what it sends needs a key of its own.
    """

    content_type: AnyText = CONTENT_TYPE


class AnswerHeaders(_Traced):
    """The headers of an answer: CloudEvents 1.0 in binary mode, and where the request lay."""

    ce_specversion: Literal["1.0"] = Field(
        title="Version of CloudEvents", description="The version of the specification.", examples=["1.0"]
    )
    ce_id: Annotated[
        str,
        _whole("[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", 36, format="uuid", minLength=36),
    ] = Field(
        title="Id",
        description="The same for an answer that is repeated: deduplicate on it.",
        examples=["2f1c7a52-6d8e-5b0f-9a44-0f6f7a103f1f"],
    )
    ce_source: Literal["/patient-upsert"] = Field(title="Source", description="The worker.", examples=[SOURCE])
    ce_type: Topic = Field(title="Type", description="The topic of the answer.", examples=["patient.upsert.completed"])
    ce_time: Annotated[str, WithJsonSchema({**TIME, "minLength": 24, "maxLength": 24})] = Field(
        title="Time", description="When the answer was decided.", examples=["2024-01-01T00:00:00.000Z"]
    )
    ce_subject: Annotated[str, Field(min_length=1, max_length=255)] | SkipJsonSchema[None] = Field(
        default=None,
        title="Subject",
        description="The customer; left out when none could be told.",
        examples=["cus_1042"],
    )
    content_type: Literal["application/json"] = Field(
        alias="content-type", title="Content type", description="Of the value.", examples=["application/json"]
    )
    request_topic: Topic = Field(
        alias="request-topic",
        title="Topic of the request",
        description="Where the request lay.",
        examples=[EVENT_TYPE],
    )
    request_partition: Partition = Field(
        alias="request-partition",
        title="Partition of the request",
        description="Where the request lay.",
        examples=["3"],
    )
    request_offset: Offset = Field(
        alias="request-offset", title="Offset of the request", description="Where the request lay.", examples=["1042"]
    )
    replayed: Literal["true"] | SkipJsonSchema[None] = Field(
        default=None,
        title="Replayed",
        description="There when the answer comes from the store: the request was answered before.",
        examples=["true"],
    )


class LetterHeaders(_Record):
    """The headers of a dead letter: those of the request but authorization, and those of KIP-1191.

    Key and value are those of the request, byte for byte. Put back on the request topic with these headers, it takes
    the place, the time and so the id that it first had.
    """

    topic: Topic = Field(
        alias="__dlq.errors.topic", title="Topic", description="Where the request lay.", examples=[EVENT_TYPE]
    )
    partition: Partition = Field(
        alias="__dlq.errors.partition", title="Partition", description="Where the request lay.", examples=["3"]
    )
    offset: Offset = Field(
        alias="__dlq.errors.offset", title="Offset", description="Where the request lay.", examples=["1042"]
    )
    timestamp: Timestamp = Field(
        alias="__dlq.errors.timestamp",
        title="Timestamp",
        description="Of the request, in Unix milliseconds; -1 when it had none.",
        examples=["1704067200000"],
    )
    group: Annotated[str, Field(min_length=1, max_length=249)] = Field(
        alias="__dlq.errors.group",
        title="Group",
        description="The consumer group of the worker.",
        examples=["patient-upsert"],
    )
    message: Literal["the request could not be processed"] = Field(
        alias="__dlq.errors.message",
        title="Message",
        description="A fixed text; the cause is in the worker's log.",
        examples=[LETTER_SENTENCE],
    )
