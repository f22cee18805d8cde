"""Requests published with the libraries that producers really use, and answers read with theirs."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from app.settings import Settings
from tests.clients.programs import PLAIN, SDKS, Case, Client, Place, Programs
from tests.faults.broker_side import answers_at
from tests.support import BODY, Answered, asking

NAME = "Zoë 王 👩🏽‍⚕️"
TYPE = "patient.upsert.requested"


def data(customer: str, **changes: Any) -> dict[str, Any]:
    return {**BODY, "customer": customer, "firstName": NAME, **changes}


def event(id: str, customer: str, **changes: Any) -> dict[str, Any]:
    """A CloudEvent as it is given to an SDK."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    said = {"specversion": "1.0", "id": id, "source": "/clinic", "type": TYPE, "subject": customer, "time": time}
    return {**said, "data": data(customer, **changes)}


def plain(key: str, headers: dict[str, str], value: dict[str, Any]) -> Case:
    return {"key": key, "headers": headers, "value": json.dumps(value, ensure_ascii=False)}


def seen(answer: Answered) -> tuple[int, str, str | None, str | None]:
    request = answer.envelope["request"]
    return answer.status, answer.outcome, request["source"], request["customer"]


async def told(
    settings: Settings, programs: Programs, client: Client, *cases: Case
) -> tuple[list[Place], list[Answered]]:
    """Where this client put the cases, and what the worker says to each."""
    async with asking(settings) as requester:
        places = await programs.publish(settings.kafka_bootstrap_servers, settings.request_topic, client, *cases)
        return places, await answers_at(requester, *places)


@pytest.mark.parametrize("client", PLAIN, ids=lambda client: client.name)
async def test_a_client_without_an_sdk_publishes_every_form(
    settings: Settings, programs: Programs, client: Client
) -> None:
    binary = {"ce_specversion": "1.0", "ce_id": "b1", "ce_source": "/clinic", "ce_type": TYPE}
    labelled = {"content-type": "application/cloudevents+json; charset=UTF-8"}
    based = {
        **event("s2", "cus_base64"),
        "data_base64": base64.b64encode(json.dumps(data("cus_base64")).encode()).decode(),
    }
    del based["data"]
    _, answers = await told(
        settings,
        programs,
        client,
        plain("cus_plain", {}, data("cus_plain")),
        plain("cus_key", {"idempotency-key": "k1", "source": "/clinic"}, data("cus_key")),
        plain("cus_binary", binary, data("cus_binary")),
        plain("cus_structured", labelled, event("s1", "cus_structured")),
        plain("cus_base64", labelled, based),
        plain("cus_mislabelled", {"content-type": "application/json"}, event("s3", "cus_mislabelled")),
        plain("cus_refused", {}, data("cus_refused", city="")),
    )
    kafka = f"kafka:{settings.request_topic}"
    assert [seen(answer) for answer in answers] == [
        (200, "created", kafka, "cus_plain"),
        (200, "created", "/clinic", "cus_key"),
        (200, "created", "/clinic", "cus_binary"),
        (200, "created", "/clinic", "cus_structured"),
        (200, "created", "/clinic", "cus_base64"),
        (200, "created", "/clinic", "cus_mislabelled"),
        (400, "rejected", kafka, "cus_refused"),
    ]
    assert [answer.envelope["request"]["id"] for answer in answers[1:6]] == ["k1", "b1", "s1", "s2", "s3"]
    assert {answer.response["firstName"] for answer in answers[:6]} == {NAME}
    assert answers[6].codes == {("/city", "empty")}


@pytest.mark.parametrize("client", SDKS, ids=lambda client: client.name)
async def test_an_sdk_publishes_in_both_modes_with_its_quirks(
    settings: Settings, programs: Programs, client: Client
) -> None:
    based = event("base64", "cus_base64")
    based["data_base64"] = base64.b64encode(json.dumps(based.pop("data")).encode()).decode()
    mislabelled = {"content-type": "application/json"}
    _, answers = await told(
        settings,
        programs,
        client,
        {"key": "cus_binary", "mode": "binary", "event": event("binary", "cus_binary")},
        {"key": "cus_structured", "mode": "structured", "event": event("structured", "cus_structured")},
        {"key": "cus_base64", "mode": "structured", "event": based},
        {"key": "cus_other", "mode": "structured", "event": event("other", "cus_other"), "headers": mislabelled},
        {"key": "cus_refused", "mode": "binary", "event": event("refused", "cus_refused", city="")},
    )
    assert [(*seen(answer), answer.envelope["request"]["id"]) for answer in answers] == [
        (200, "created", "/clinic", "cus_binary", "binary"),
        (200, "created", "/clinic", "cus_structured", "structured"),
        (200, "created", "/clinic", "cus_base64", "base64"),
        (200, "created", "/clinic", "cus_other", "other"),
        (400, "rejected", "/clinic", "cus_refused", "refused"),
    ]
    assert {answer.response["firstName"] for answer in answers[:4]} == {NAME}
    assert answers[4].codes == {("/city", "empty")}


async def test_one_event_published_by_every_sdk_in_both_modes_is_one_request(
    settings: Settings, programs: Programs
) -> None:
    same = event("same", "cus_1")
    places: list[Place] = []
    async with asking(settings) as requester:
        for client in SDKS:
            cases = [{"key": "cus_1", "mode": mode, "event": same} for mode in ("binary", "structured")]
            places += await programs.publish(settings.kafka_bootstrap_servers, settings.request_topic, client, *cases)
        answers = await answers_at(requester, *places)
    assert len(answers) == 10
    assert len({answer.record.value for answer in answers}) == 1
    assert (answers[0].status, answers[0].outcome) == (200, "created")
    assert [answer.record.header("replayed") for answer in answers] == [None, *["true"] * 9]


@pytest.mark.parametrize("program", ["java", "javascript"])
async def test_an_sdk_reads_the_answers_as_cloud_events(settings: Settings, programs: Programs, program: str) -> None:
    cases = [
        plain("cus_1", {"idempotency-key": "k1"}, data("cus_1")),
        plain("cus_2", {"idempotency-key": "k2"}, data("cus_2", city="")),
    ]
    _, answers = await told(settings, programs, PLAIN[0], *cases)
    topics = (settings.completed_topic, settings.failed_topic)
    read = {one["subject"]: one for one in await programs.read(program, settings.kafka_bootstrap_servers, topics, 2)}
    for answer in answers:
        one = read[answer.envelope["request"]["customer"]]
        assert json.loads(one["data"]) == answer.envelope
        assert one["id"] == answer.record.header("ce_id")
    assert [(read[name]["source"], read[name]["type"]) for name in ("cus_1", "cus_2")] == [
        ("/patient-upsert", settings.completed_topic),
        ("/patient-upsert", settings.failed_topic),
    ]
