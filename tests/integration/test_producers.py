"""Requests from producers that know nothing of this worker."""

from __future__ import annotations

import struct

import orjson
import pytest

from app.consumer.requester import Outbound
from app.settings import Settings
from tests.faults.broker_side import answers_at, foreign
from tests.support import BODY, Answered, asking, body

TYPE = b"patient.upsert.requested"
STRUCTURED = {"specversion": "1.0", "id": "s1", "source": "/clinic", "type": TYPE.decode(), "subject": "cus_s"}


async def told(settings: Settings, *requests: Outbound) -> list[Answered]:
    """What librdkafka publishes, and what the worker says to it."""
    async with asking(settings) as requester:
        return await answers_at(requester, *await foreign(settings).send(settings, *requests))


@pytest.mark.rule("R6.63")
async def test_the_plain_rest_body_with_the_customer_as_key_is_all_that_a_request_needs(settings: Settings) -> None:
    (answer,) = await told(settings, Outbound(b"cus_1", orjson.dumps(BODY)))
    assert (answer.status, answer.outcome) == (200, "created")
    assert answer.record.key == b"cus_1"
    assert answer.record.header("ce_subject") == "cus_1"
    assert answer.response["firstName"] == "Ada"


@pytest.mark.rule("R6.64")
async def test_cloud_events_are_told_by_their_headers_or_their_body_whatever_the_case_of_the_names(
    settings: Settings,
) -> None:
    binary = [("CE_SpecVersion", b"1.0"), ("Ce_Id", b"b1"), ("CE_SOURCE", b"/clinic"), ("ce_TYPE", TYPE)]
    mislabelled = (("content-type", b"application/json"),)
    labelled = (("Content-Type", b"application/cloudevents+json; charset=utf-8"),)
    based = {**STRUCTURED, "id": "s3", "data_base64": "e30="}
    answers = await told(
        settings,
        Outbound(b"cus_b", body(), tuple(binary)),
        Outbound(None, orjson.dumps({**STRUCTURED, "data": BODY}), labelled),
        Outbound(None, orjson.dumps({**STRUCTURED, "id": "s2", "data": BODY}), mislabelled),
        Outbound(None, orjson.dumps(based), labelled),
        Outbound(b"cus_k", body(), (("Idempotency-Key", b"k1"),)),
    )
    requests = [answer.envelope["request"] for answer in answers]
    assert [(request["id"], request["source"], request["customer"]) for request in requests] == [
        ("b1", "/clinic", "cus_b"),
        ("s1", "/clinic", "cus_s"),
        ("s2", "/clinic", "cus_s"),
        ("s3", "/clinic", "cus_s"),
        ("k1", f"kafka:{settings.request_topic}#cus_k", "cus_k"),
    ]
    assert [answer.status for answer in answers] == [200, 200, 200, 400, 200]


@pytest.mark.rule("R6.65")
async def test_the_frame_that_confluents_serializers_put_before_the_json_is_stripped(settings: Settings) -> None:
    frame = struct.pack(">bI", 0, 7)
    (answer,) = await told(settings, Outbound(b"cus_1", frame + body()))
    assert answer.status == 200


@pytest.mark.rule("R6.66")
async def test_tracing_headers_are_passed_on_and_no_others(settings: Settings) -> None:
    trace = (("TraceParent", b"00-abc-def-01"), ("correlation_id", b"c1"), ("x-secret", b"s"), ("authorization", b"t"))
    (answer,) = await told(settings, Outbound(b"cus_1", body(), trace))
    assert answer.record.header("traceparent") == "00-abc-def-01"
    assert answer.record.header("correlation_id") == "c1"
    assert {name for name, _ in answer.record.headers} == {
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_time",
        "ce_subject",
        "content-type",
        "request-topic",
        "request-partition",
        "request-offset",
        "traceparent",
        "correlation_id",
    }
