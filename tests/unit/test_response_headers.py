"""The headers of answers and dead letters, and the ids that consumers deduplicate on."""

from __future__ import annotations

import uuid

import pytest

from app.errors import ErrorCode, Fault, FaultCode, Refusal
from app.model import Answer, Headers, Known, Request
from app.response import answer_headers, letter_headers, refused
from tests.support import body
from tests.unit.making import EVENT, NOW, after, decided, request, request_of
from tests.unit.making import record as made

FAILURE = Refusal(ErrorCode.INTERNAL_ERROR, (Fault("", FaultCode.FAILED),))
NAMESPACE = uuid.uuid5(uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8"), "/patient-upsert")  # RFC 9562: of URLs
COMPLETED = "patient.upsert.completed"
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LETTER: Headers = (
    ("__dlq.errors.topic", b"older.topic"),
    ("__dlq.errors.partition", b"5"),
    ("__dlq.errors.offset", b"99"),
    ("__dlq.errors.timestamp", b"1700000000000"),
    ("__dlq.errors.group", b"older"),
    ("__dlq.errors.message", b"older message"),
)


def answer_to(given: Request) -> Answer:
    return decided(given).answers[0]


@pytest.mark.rule("R4.15", "R4.16", "R4.18", "R4.20")
def test_the_headers_of_an_answer() -> None:
    headers = answer_headers(answer_to(request()), COMPLETED)
    assert [(name, value) for name, value in headers if name != "ce_id"] == [
        ("ce_specversion", b"1.0"),
        ("ce_source", b"/patient-upsert"),
        ("ce_type", b"patient.upsert.completed"),
        ("ce_time", b"2026-01-02T03:04:07.000Z"),
        ("content-type", b"application/json"),
        ("request-topic", b"patient.upsert.requested"),
        ("request-partition", b"3"),
        ("request-offset", b"7"),
        ("ce_subject", b"cus_1"),
    ]
    assert len(headers) == 10


@pytest.mark.rule("R4.15")
def test_the_type_of_an_answer_is_the_topic_it_goes_to() -> None:
    assert dict(answer_headers(answer_to(request(city=7)), "my.failed"))["ce_type"] == b"my.failed"


@pytest.mark.rule("R4.16")
def test_the_id_of_an_answer_is_a_uuid_of_source_id_and_value() -> None:
    answer = answer_to(request())
    named = f"/upstream\nevt-1\n{answer.value.decode()}"
    assert dict(answer_headers(answer, COMPLETED))["ce_id"].decode() == str(uuid.uuid5(NAMESPACE, named))


@pytest.mark.rule("R4.16")
def test_a_repeated_answer_has_the_same_id_and_another_answer_another() -> None:
    first = answer_to(request(city=7))
    assert answer_to(request(city=7, offset=8)).id == first.id
    assert answer_to(request(city=7, state=7)).id != first.id
    assert answer_to(request(city=7, id="evt-2")).id != first.id
    assert answer_to(request(city=7, source="/b")).id != first.id
    assert answer_to(request()).id != first.id


@pytest.mark.rule("R4.16", "R4.21")
def test_an_answer_from_the_store_has_the_id_and_the_time_of_the_first() -> None:
    first = decided(request())
    (again,) = decided(request(offset=8), known=after(Known(), first.writes), now=NOW.replace(year=2027)).answers
    assert (again.id, again.value, again.time) == (first.answers[0].id, first.answers[0].value, NOW)
    headers = dict(answer_headers(again, COMPLETED))
    assert headers["replayed"] == b"true"
    assert headers["request-offset"] == b"8"
    assert "replayed" not in dict(answer_headers(first.answers[0], COMPLETED))


@pytest.mark.rule("R4.21")
def test_a_refusal_is_never_replayed() -> None:
    assert "replayed" not in dict(answer_headers(answer_to(request(city=7)), COMPLETED))


@pytest.mark.rule("R4.17")
def test_refusals_of_records_without_an_id_have_ids_of_their_own() -> None:
    nameless = [("ce_specversion", b"1.0")]
    ids = [answer_to(request_of(made(body(), nameless, offset=offset))).id for offset in (7, 8)]
    sourceless = (("idempotency-key", b"key-1"),)
    ids += [answer_to(request_of(made(body(), sourceless, key=None, offset=offset))).id for offset in (7, 8)]
    assert len(set(ids)) == 4


@pytest.mark.rule("R4.16", "R4.17")
def test_the_refusal_of_a_record_without_an_id_is_named_by_its_place() -> None:
    answer = answer_to(request_of(made(body(), [("ce_specversion", b"1.0")])))
    place = "patient.upsert.requested/3/7@1767323045678"
    assert answer.id == str(uuid.uuid5(NAMESPACE, f"kafka:patient.upsert.requested\n{place}\n{answer.value.decode()}"))


@pytest.mark.rule("R4.18")
def test_without_a_customer_there_is_no_subject() -> None:
    assert "ce_subject" not in dict(answer_headers(answer_to(request_of(made(key=None))), COMPLETED))


@pytest.mark.rule("R4.19")
def test_tracing_headers_are_passed_on_as_they_came() -> None:
    given: Headers = (
        ("Traceparent", TRACE),
        ("tracestate", b"a=\xff"),
        ("CORRELATION_ID", b"7"),
        ("authorization", b"Bearer x"),
        ("baggage", b"name=Ada"),
    )
    for value in (body(), b"{"):
        headers = answer_headers(answer_to(request_of(made(value, given))), COMPLETED)
        assert headers[-3:] == [("traceparent", TRACE), ("tracestate", b"a=\xff"), ("correlation_id", b"7")]
        assert {"authorization", "baggage"}.isdisjoint(dict(headers))


@pytest.mark.rule("R4.19")
def test_a_tracing_header_that_is_null_is_not_passed_on() -> None:
    assert "traceparent" not in dict(answer_headers(answer_to(request_of(made(headers=[("traceparent", None)]))), "x"))


@pytest.mark.rule("R4.20")
def test_the_answer_to_a_replayed_dead_letter_says_where_the_request_first_lay() -> None:
    headers = dict(answer_headers(answer_to(request_of(made(headers=LETTER))), COMPLETED))
    assert (headers["request-topic"], headers["request-partition"], headers["request-offset"]) == (
        b"older.topic",
        b"5",
        b"99",
    )


# --- dead letters


def letter(headers: Headers) -> list[tuple[str, bytes | None]]:
    answer = refused(request_of(made(headers=headers)), FAILURE, now=NOW)
    assert answer.dead_letter
    return letter_headers(answer, "patient-upsert")


OURS = [
    ("__dlq.errors.topic", b"patient.upsert.requested"),
    ("__dlq.errors.partition", b"3"),
    ("__dlq.errors.offset", b"7"),
    ("__dlq.errors.timestamp", b"1767323045678"),
    ("__dlq.errors.group", b"patient-upsert"),
    ("__dlq.errors.message", b"the request could not be processed"),
]


@pytest.mark.rule("R4.23", "R4.25")
def test_a_dead_letter_has_the_headers_of_the_request_and_the_six_of_kip_1191() -> None:
    given = (*EVENT, ("X-Tag", b"\xff"), ("x-tag", b""), ("null", None), ("traceparent", TRACE))
    assert letter(given) == [*given, *OURS]


@pytest.mark.rule("R4.23")
@pytest.mark.parametrize("name", ["authorization", "Authorization", "AUTHORIZATION"])
def test_a_dead_letter_has_no_credentials(name: str) -> None:
    kept = (("x-authorization", b"a"), ("authorization-info", b"b"))
    assert letter((kept[0], (name, b"Bearer x"), kept[1])) == [*kept, *OURS]


@pytest.mark.rule("R4.24")
def test_a_dead_letter_of_a_dead_letter_still_names_the_first_place() -> None:
    assert letter((("x", b"1"), *LETTER)) == [
        ("x", b"1"),
        ("__dlq.errors.topic", b"older.topic"),
        ("__dlq.errors.partition", b"5"),
        ("__dlq.errors.offset", b"99"),
        ("__dlq.errors.timestamp", b"1700000000000"),
        ("__dlq.errors.group", b"patient-upsert"),
        ("__dlq.errors.message", b"the request could not be processed"),
    ]


@pytest.mark.rule("R4.22")
def test_nothing_else_asks_for_a_dead_letter() -> None:
    wrong = [request(), request(city=7), request_of(made(b"{")), request_of(made(undecodable=True))]
    wrong += [request(patient="pat_unknown")]
    assert [answer.dead_letter for answer in decided(*wrong).answers] == [False] * 5
