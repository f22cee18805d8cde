"""What is fuzzed, and what must hold whatever comes in. Each target takes bytes and raises AssertionError.

An input of `envelope` is a record as text: its key in the first line, then a header a line, an empty line, the value.
An input of `request` is the JSON of a REST body. Where there is the compiled part, it must understand either as the
plain rooms do.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from app.authorise import EVERYONE
from app.envelope import open_envelope
from app.envelope.json import NotReadable, canonical_bytes, read_json
from app.errors import SENTENCES, ErrorCode, Fault
from app.model import Answer, Envelope, Known, PatientData, Record, Request
from app.request import _by_model, validate
from app.request.schema import RequestData
from app.settings import Settings
from app.usual import Usual
from tests.privacy.canaries import BIRD
from tests.unit.making import MADE, NOW, after, decided, record, request_of

READ: Final = ("specversion", "id", "source", "type", "time", "subject", "data", "data_base64")
LETTER: Final = ("topic", "partition", "offset", "timestamp")
OTHERS: Final = (
    "customer",
    "idempotency-key",
    "content-type",
    "traceparent",
    "tracestate",
    "correlation_id",
    "authorization",
)
BODY_FIELDS: Final = frozenset(field.alias or name for name, field in RequestData.model_fields.items())
NAMED: Final = frozenset(
    ["", *(f"/{name}" for name in (*BODY_FIELDS, *READ, *OTHERS)), *(f"/__dlq.errors.{name}" for name in LETTER)]
)
"""All that a fault may call what it is about: names of ours, never one that a request brought."""
OUTCOMES: Final = {
    200: {"created", "updated", "unchanged", "superseded"},
    400: {"rejected"},
    401: {"rejected"},
    404: {"rejected"},
}
AT_ONCE: Final = Usual(Settings.model_validate({"kafka_bootstrap_servers": "x", "database_url": "postgresql://x"}))


def as_record(data: bytes) -> Record:
    """The record that this text describes. Without an empty line it has no value, with an empty key none."""
    head, separator, value = data.partition(b"\n\n")
    key, *lines = head.split(b"\n")
    headers = []
    for line in lines:
        name, colon, content = line.partition(b": ")
        headers.append((name.decode(errors="replace"), content if colon else None))
    made = record(b"", headers, key=key or None)
    return Record(made.position, made.key, value if separator else None, made.headers)


def envelope(data: bytes) -> None:
    """A record is understood or refused, with one answer that is the same every time and holds nothing of it."""
    given = as_record(data)
    request, again = request_of(given), request_of(as_record(data))
    assert request == again, "understood differently the second time"
    assert_compiled_alike(given, request)
    assert (request.data is None) != (request.refusal is None), "both or neither understood and refused"
    first, second = decided(request), decided(again)
    assert first.answers == second.answers, "answered differently the second time"
    [answer] = first.answers
    assert_closed(answer)
    assert_silent(request, answer)
    if answer.status == 200:
        [replayed] = decided(again, known=after(Known(), first.writes)).answers
        assert (replayed.value, replayed.replayed) == (answer.value, True), "answered differently from what is stored"


def request(data: bytes) -> None:
    """A REST body is understood or refused alike by the short way and by the model, whatever JSON it is."""
    try:
        body = read_json(data)
    except NotReadable as error:
        assert_named(Fault("", error.code))
        return
    whole = record(data)
    assert_compiled_alike(whole, request_of(whole))
    first, second = validate(body, received_at=MADE), validate(read_json(data), received_at=MADE)
    assert first == second, "validated differently the second time"
    if isinstance(body, dict):
        assert first == _by_model(body, MADE), "the short way and the model differ"
    assert canonical_bytes(body) == canonical_bytes(read_json(data)), "two fingerprints of the same bytes"
    if isinstance(first, PatientData):
        assert BIRD not in repr(first), "a value in the repr"
        return
    assert first, "refused without a fault"
    for fault in first:
        assert_named(fault)


def assert_compiled_alike(given: Record, request: Request) -> None:
    """What is understood at once is what the plain rooms understand."""
    found = at_once(given)
    if isinstance(found, Envelope):
        assert found == open_envelope(given, customer_from_key=True), "the compiled part opens it differently"
        assert request.refusal, "the compiled part finds fault with it, and the plain rooms do not"
    else:
        assert found in (None, request), "the compiled part and the plain rooms differ"


def at_once(given: Record) -> Request | Envelope | None:
    """What the compiled part makes of a record. It is asked twice, for it remembers what neighbours share."""
    first, second = AT_ONCE.request(given, EVERYONE, NOW), AT_ONCE.request(given, EVERYONE, NOW)
    assert first == second, "understood differently the second time"
    return first


def assert_named(fault: Fault) -> None:
    """What is wrong is said in words of ours alone."""
    assert fault.field in NAMED, "a name that the request brought"
    assert fault.code in SENTENCES


def assert_closed(answer: Answer) -> None:
    """The answer is well-formed, and a refusal consists of codes, names and sentences of ours."""
    told = json.loads(answer.value)
    assert list(told) == ["status", "outcome", "request", "response"]
    assert told["status"] == answer.status
    assert told["outcome"] in OUTCOMES[answer.status]
    if answer.status == 200:
        return
    assert list(told["response"]) == ["error", "details"]
    assert ErrorCode(told["response"]["error"]).status == answer.status
    assert told["response"]["details"], "refused without a detail"
    for detail in told["response"]["details"]:
        assert set(detail) == {"field", "code", "message"}
        assert detail["field"] in NAMED, "a name that the request brought"
        assert SENTENCES[detail["code"]] == detail["message"]


def assert_silent(request: Request, answer: Answer) -> None:
    """No canary is in a repr, nor in a refusal beside the ids that have passed their rule."""
    shown = {request.id, request.source, request.customer}
    for text in (repr(request), repr(answer), repr(request.refusal), repr(request.data)):
        assert BIRD not in text or any(BIRD in (one or "") for one in shown), "a value in a repr"
    if answer.status != 200:
        assert BIRD.encode() not in json.dumps(json.loads(answer.value)["response"]).encode(), "a value in a refusal"


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {"envelope": envelope, "request": request}
