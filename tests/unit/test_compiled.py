"""The compiled part against the plain rooms: it gives exactly what they give, or leaves the matter to them."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import re
import subprocess
import sys
import tracemalloc
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from math import inf
from types import SimpleNamespace
from typing import Any, Final

import pytest
from aiokafka.partitioner import murmur2
from hypothesis import given, settings
from hypothesis import strategies as st

from app import response
from app.authorise import EVERYONE, Caller
from app.compiled import part
from app.consumer import decode
from app.consumer.publisher import _hash
from app.envelope import open_envelope
from app.envelope.json import _plain_canonical
from app.model import (
    UNSET,
    Answer,
    Customer,
    Envelope,
    Headers,
    Outcome,
    Patient,
    Position,
    Record,
    Request,
    StoredAnswer,
)
from app.pipeline import uuid7
from app.settings import Settings
from app.understand import understand
from app.usual import Usual
from tests.support import BODY, body
from tests.unit.making import EVENT, MADE_MS, NOW, customer, decided, holding, patient, record, request

if part is None and (os.environ.get("WITHOUT_COMPILER") or not os.environ.get("CI")):
    pytest.skip("the compiled part is not built: no C compiler, or WITHOUT_COMPILER", allow_module_level=True)

built: Any = part
NEEDS: Final[dict[str, Any]] = {"kafka_bootstrap_servers": "unused:9092", "database_url": "postgresql://unused"}
DEFAULT, NO_KEYS = Settings(**NEEDS), Settings(**NEEDS, customer_from_key=False)
PATTERN: Final = Settings(**NEEDS, customer_pattern="cus_[0-9 ]+|.*é")


def test_the_part_is_built() -> None:
    assert part is not None, "run `make setup` where there is a C compiler, or set WITHOUT_COMPILER"


@pytest.fixture(autouse=True)
def _built(request: pytest.FixtureRequest) -> None:
    if part is None and request.function is not test_the_part_is_built:
        pytest.skip("there is no compiled part, which a test of its own tells")


def exactly(value: Any) -> Any:
    """The value with the types of all that is in it."""
    if dataclasses.is_dataclass(value):
        return type(value), [exactly(getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, tuple):
        return type(value), [exactly(member) for member in value]
    return type(value), value, getattr(value, "tzinfo", None)


def plainly(call: Callable[[], Any]) -> Any:
    """What this gives where nothing is compiled."""
    with pytest.MonkeyPatch.context() as patch:
        for room in ("app.plan", "app.response", "app.pipeline", "app.consumer.decode", "app.consumer.publisher"):
            patch.setattr(f"{room}.part", None)
        return call()


# --- JSON -------------------------------------------------------------------------------------------------------------

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
nested = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
)


def canonical_by(room: Callable[[Any, int], Any], value: Any, depth: int) -> str:
    """What comes of a copy, with the types of all that is in it: True is not 1, nor is 1.0."""
    try:
        return repr(room(copy.deepcopy(value), depth))
    except RecursionError:
        return "too deep"


@settings(max_examples=500, deadline=None)
@given(value=nested, depth=st.integers(0, 5))
def test_a_value_is_brought_to_the_form_that_the_plain_room_gives_it(value: Any, depth: int) -> None:
    assert canonical_by(built.canonical, value, depth) == canonical_by(_plain_canonical, value, depth)


# --- requests ---------------------------------------------------------------------------------------------------------


def understood(one: Record, by: Settings = DEFAULT, caller: Caller | None = EVERYONE) -> Request:
    """The record as the plain rooms understand it."""
    envelope = open_envelope(one, customer_from_key=by.customer_from_key)
    return understand(envelope, None, received=NOW, pattern=re.compile(by.customer_pattern), caller=caller)


def at_once(one: Any) -> Request | Envelope | None:
    return Usual(DEFAULT).request(one, EVERYONE, NOW)


FORMS: Final[list[list[tuple[str, bytes | None]]]] = [
    EVENT,
    [*EVENT, ("ce_time", b"2026-01-02T03:04:04Z")],
    [("content-type", b"application/json"), *EVENT, ("ce_subject", b"cus_1"), ("traceparent", b"00-1")],
    [("idempotency-key", b"key-1")],
    [("source", b"/shop"), ("idempotency-key", b"key-1"), ("content-type", b"application/json")],
    [],
    [("correlation_id", b"c"), ("tracestate", b"s"), ("x-other", b"\xff"), ("authorization", b"Bearer x")],
]
IDS: Final = [b"evt-1", b"a b~", b"kafka:x", b"a" * 255, b"a" * 256, "clé".encode(), b"a\x7f", b"a\n", b" "]
TRACES: Final = [b"00-1", b"t" * 1024, b"t" * 1025]
TIMES = [b"2025-12-31t23:00:00.1234567+02:00", b"2099-01-01 00:00:00z", b"2026-02-30T00:00:00Z", b"2026-01-01"]
TIMES += [b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:59-23:59", b"2026-01-02T03:04:05.678Z"]
TYPES = [b"application/json", b"Application/JSON", b"application/json; charset=utf-8", b"text/plain"]
TYPES += [b"application/cloudevents+json"]
LETTER: Final = {"topic": [b"t"], "partition": [b"0"], "OFFSET": [b"1"], "timestamp": [b"-1"]}
HEADERS: Final[dict[str, list[bytes]]] = {f"__dlq.errors.{name}": values for name, values in LETTER.items()} | {
    "ce_specversion": [b"1.0", b"0.3"], "ce_type": [b"patient.upsert.requested", b"other"], "ce_id": IDS, "CE_ID": IDS,
    "ce_source": IDS, "idempotency-key": IDS, "source": IDS, "SOURCE": IDS, "ſource": IDS, "ce_time": TIMES,
    "Ce_Time": TIMES, "ce_subject": [b"cus_1", b"cus_2", b"a b", b"zo\xc3\xab", b"pat_1"], "content-type": TYPES,
    "Content-Type": TYPES, "ce_datacontenttype": TYPES, "traceparent": TRACES, "tracestate": TRACES, "": [b"x"],
    "correlation_id": TRACES, "TraceParent": TRACES, "authorization": [b"Bearer x"], "x-other": [b"x"],
}  # fmt: skip
PAIRS: Final = [(name, value) for name, values in HEADERS.items() for value in (*values, None, b"", b"\xff")]


@st.composite
def odd_headers(draw: st.DrawFn) -> Headers:
    """One of the forms with a header or two more or otherwise, at times in another order or one fewer."""
    chosen = draw(st.sampled_from(FORMS))
    for more in draw(st.lists(st.sampled_from(PAIRS), max_size=2)):
        instead = draw(st.booleans())
        chosen = [*(pair for pair in chosen if not instead or pair[0] != more[0]), more]
    if chosen and draw(st.integers(0, 5)) == 5:
        chosen = draw(st.permutations(chosen))[draw(st.integers(0, 1)) :]
    return tuple(chosen)


characters = st.characters(min_codepoint=0x20, max_codepoint=0x7E) | st.characters(
    min_codepoint=0xA1, max_codepoint=0xFF
)
characters |= characters | st.sampled_from(" \0\n\x85\xa0\xad\u0301\u0308\u200b\u202e\u3164玲ŒяЙ²ª7٣\ud800\U0001f600")
sizes = st.sampled_from([39, 40, 41, 99, 100, 101, 199, 200, 201, 253, 254, 255, 299, 300, 301])
ends = st.sampled_from(["", "", " ", "é", "玲", "\xa0"])
longer = st.builds(str.__mul__, st.sampled_from("aé7玲\u0301"), sizes)
texts = st.text(characters, max_size=9) | st.builds("{}{}{}".format, ends, longer, ends)
DAYS = ["2026-01-02", "2026-01-03", "2026-01-04", "1876-01-01", "1876-01-02", "1876-01-03", "2000-02-29"]
DAYS += ["2001-02-29", "2001-02-03T00:00:00Z", " 2001-02-03 ", "2001-02-03T01:00", "20010203", "2001-W05-6"]
good_days = st.dates(date(1877, 1, 1), date(2025, 1, 1)).map(date.isoformat)
days = st.sampled_from([*DAYS, "0000-01-01", "3026-01-02"]) | st.dates().map(date.isoformat) | good_days
spoils = st.tuples(st.integers(0, 9), st.sampled_from("x:/ 0-٣"))
days |= st.builds(lambda day, spoil: day[: spoil[0]] + spoil[1] + day[spoil[0] + 1 :], days, spoils)
USERS: Final = [
    "ada",
    "a.b+c",
    "a..b",
    ".a",
    "a.",
    "",
    "A'{}",
    "é",
    "a b",
    '"a"',
    "a" * 64,
    "a" * 65,
    "a(b)",
    " ada",
    "a\t",
]
HOSTS: Final = ["clinic.local", "CLINIC.Example", "bücher.example", "xn--bcher-kva.example", "a@b.example", "", "local",
                "[1.2.3.4]", "a..b", ".a.b", "-a.b", ("x" * 60 + ".") * 3 + "example", "a.b ", "a_b.c"]  # fmt: skip
mails = (
    st.builds("{}@{}".format, st.sampled_from(USERS), st.sampled_from(HOSTS))
    | st.just("nobody")
    | st.just(f" {'a' * 60}@{'b.' * 96}cd")
)
members = st.none() | texts | st.just(1) | st.just([{"code": "F"}])
coded = st.dictionaries(st.sampled_from(["value", "code", "text", "display", "coding"]), members, max_size=2)
ODD: Final = [None, True, 0, 2**63, 2**64, -(2**63) - 1, 1.0, 1.5, -0.0, 1e300, [], ["a"], {}, {"a": 1.0}, {"a": [1]}]
odd = st.sampled_from([*ODD, {"a": {"b": ""}}, {"b": None, "a": True, "é": -1}, "", " ", ...])
NAMES: Final = ["cus_1", "cus_2", "", 5, "a b", "é", "cus_1 2", "x" * 100, "x" * 101, "_a", ["a"], "pat_1", None]
OWN: Final[dict[str, st.SearchStrategy[Any]]] = {
    "dateOfBirth": days, "email": mails, "gender": coded | texts, "phone": st.text("12 +-(é²٣", max_size=6) | texts,
    "customer": st.sampled_from(NAMES),
    "patient": st.sampled_from(["pat_1", "", None, 5, "a\n", "p" * 255, "é" * 127, "é" * 128, "\ud800"]),
}  # fmt: skip
FIELDS: Final = dict.fromkeys([*BODY, "x", "é", "specversion"], texts) | OWN
each = [st.tuples(st.just(name), values | values | values | odd) for name, values in FIELDS.items()]


def written(changes: dict[str, Any], ascii: bool, indent: int | None) -> bytes:
    given = {name: value for name, value in (BODY | changes).items() if value is not ...}
    return json.dumps(given, ensure_ascii=ascii, indent=indent).encode(errors="surrogatepass")


WHOLE: Final = body()
RAW = [None, b"", b"[]", b"{", b"\0\0\0\0\1" + WHOLE, b"\xef\xbb\xbf" + WHOLE, b" " + WHOLE + b"\n", b"{}"]
RAW += [WHOLE[:-1] + b',"city":"Leeds"}', WHOLE[:-1] + b',"x":1e999}', WHOLE + b" " * 1024 * 1024]
odd_values = st.builds(
    written, st.lists(st.one_of(each), max_size=2).map(dict), st.booleans(), st.sampled_from([None, 1])
)
KEYS: Final = [b"cus_1", b"cus_2", None, b"", b"pat_1", b"\xff", "é".encode(), b"a b", b"a\n"]
STAMPS: Final = [MADE_MS, MADE_MS + 7 * 3_600_000, MADE_MS + 6 * 3_600_000, -1, 0, -2, -(10**17), 10**14, 2**62]


def as_record(value: bytes | None, headers: Headers, by_broker: bool, key: bytes | None, timestamp: int) -> Record:
    return dataclasses.replace(record(b"", headers, key=key, timestamp=timestamp), value=value, broker_time=by_broker)


def mostly(usual: Any, odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 3).flatmap(lambda number: odd if number == 3 else st.sampled_from(usual))


records = st.builds(
    as_record, odd_values | mostly([WHOLE], st.sampled_from(RAW)), mostly(list(map(tuple, FORMS)), odd_headers()),
    st.booleans(), mostly([b"cus_1"], st.sampled_from(KEYS)), mostly([MADE_MS], st.sampled_from(STAMPS)),
)  # fmt: skip
CALLERS = [EVERYONE, EVERYONE, None, Caller(0, 1), Caller(-inf, inf, frozenset(["cus_1"])), Caller(-inf, inf)]
CALLERS += [Caller(-inf, inf, frozenset(["other"])), Caller(MADE_MS / 1000, NOW.timestamp())]
everywhere = st.sampled_from([DEFAULT, DEFAULT, NO_KEYS, PATTERN])


def assert_alike(
    one: Record, found: Request | Envelope | None, by: Settings = DEFAULT, caller: Caller | None = EVERYONE
) -> None:
    if isinstance(found, Envelope):
        assert exactly(found) == exactly(open_envelope(one, customer_from_key=by.customer_from_key)), one.value
        assert understood(one, by, EVERYONE).refusal, one.value
    elif found is not None:
        assert exactly(found) == exactly(understood(one, by, caller)), one.value
        assert (found.record, found.position) == (one, one.position)


@settings(max_examples=1500, deadline=None)
@given(some=st.lists(records, min_size=1, max_size=2), by=everywhere, caller=st.sampled_from(CALLERS))
def test_what_is_understood_at_once_is_what_the_plain_rooms_understand(
    some: list[Record], by: Settings, caller: Caller | None
) -> None:
    usual = Usual(by)
    for one in some:
        assert_alike(one, usual.request(one, caller, NOW), by, caller)


@pytest.mark.parametrize(
    "year", ["2000", "3000", "20x1", "2x01", "30xx", "29:0", "300/", "x001", "0000", "0001", "9999"]
)
def test_a_day_is_read_at_once_as_the_plain_rooms_read_it(year: str) -> None:
    for rest in ("-01-02", "-1x-02", "-01-x2", "/01-02", "-00-02", "-01-00", "-13-02", "-02-29", "-01-2", "-01-022"):
        for timestamp in STAMPS:
            one = record(body(dateOfBirth=year + rest), timestamp=timestamp)
            assert_alike(one, at_once(one))


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_each_header_counts_in_each_form_as_in_the_plain_rooms(form: list[tuple[str, bytes | None]]) -> None:
    usual = Usual(DEFAULT)
    for pair in PAIRS:
        for kept in (form, [other for other in form if other[0] != pair[0]]):
            for one in (record(body(), [*kept, pair]), record(body(customer="cus_1"), [pair, *kept], key=b"cus_2")):
                assert_alike(one, usual.request(one, EVERYONE, NOW))


def test_each_character_of_latin_1_counts_in_each_field_as_in_the_plain_rooms() -> None:
    usual = Usual(DEFAULT)
    for character in map(chr, range(0x101)):
        for text in (character, f"{character}ab", f"12{character}", f"a{character}@b.example", f"200{character}-01-02"):
            for name in (*OWN, "firstName", "address", "state", "address2"):
                one = record(body(**{name: text}))
                assert_alike(one, usual.request(one, EVERYONE, NOW))


@pytest.mark.parametrize("limit", [40, 100, 200, 255, 300])
def test_a_text_is_too_long_where_it_is_for_the_plain_rooms(limit: int) -> None:
    usual = Usual(DEFAULT)
    for text in (
        end + letter * length + end for length in range(limit - 2, limit + 3) for letter in "a7é玲" for end in ("", " ")
    ):
        for name in [*BODY, *OWN]:
            one = record(body(**{name: text}))
            assert_alike(one, usual.request(one, EVERYONE, NOW))


def test_each_address_is_the_one_of_the_plain_rooms() -> None:
    usual, b = Usual(DEFAULT), "b" * 60
    longest = [f"{b}.{b}.{b}.example", f"{b}.{b.upper()}.{'é' * 26}.example"]
    longest += [f"{b}.{'b' * 20}.{('é' * 50).encode('idna').decode()}.example"]  # longer when it is not in ASCII
    for user in (*USERS, *("a" * length for length in range(56, 68))):
        for host in (*HOSTS, *longest):
            one = record(body(email=f"{user}@{host}"))
            assert_alike(one, usual.request(one, EVERYONE, NOW))


@pytest.mark.parametrize("name", ["Ada", " O'Neill ", "Zoë", "Иван", "玲", "e\u0301", "Йо\u0308"])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_what_is_plainly_usual_is_understood_at_once(form: list[tuple[str, bytes | None]], name: str) -> None:
    value = body(firstName=name, city=name, gender=name, customer="cus_1", patient="pat_1")
    for one in (record(body(lastName=name), form), record(value, form, key=None), record(value, form, timestamp=-1)):
        found = at_once(one)
        assert isinstance(found, Request)
        assert found.data is not None
        assert_alike(one, found)


def test_what_is_usual_but_for_a_field_is_opened_at_once() -> None:
    for form in FORMS:
        for faulty in (body(firstName=""), body(phone=7), body(dateOfBirth="2999-01-01"), body(email="x"), b"{}"):
            one = record(faulty, form)
            assert isinstance(at_once(one), Envelope)
            assert_alike(one, at_once(one))


READ_PLAINLY: Final = {"email": "zoë@bücher.example", "gender": {"code": "F"}, "phone": "٠٢٠ 555", "x": 1,
                       "dateOfBirth": "2001-02-03T00:00Z"}  # fmt: skip


@pytest.mark.parametrize("field", READ_PLAINLY)
def test_what_only_a_plain_rule_can_read_is_understood_at_once_too(field: str) -> None:
    one = record(body(**{field: READ_PLAINLY[field]}), EVENT)
    assert isinstance(at_once(one), Request)
    assert_alike(one, at_once(one))


# --- effects and answers ----------------------------------------------------------------------------------------------

letters = st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\\0\x1f\x7f\b\t\n\f\r\u2028/é玲\U0001f600')
told = st.text(letters, max_size=6)
perhaps = st.none() | told
moments = st.datetimes(timezones=st.just(UTC), max_value=datetime(9000, 1, 1))
customers = st.builds(
    customer, told, email=perhaps, first_name=told, last_name=told, billing_address_id=perhaps, phone=perhaps,
    has_account=st.booleans(), deleted_at=st.none() | moments, created_at=moments, updated_at=moments,
    metadata=st.sampled_from(["{}", '{"vip": 1}', ' {"a":"é\u2028\\u0000"}', "[]", ""]),
)  # fmt: skip
patients = st.builds(
    patient, told, patient=told, first_name=told, last_name=told, date_of_birth=st.dates(), gender=perhaps,
    address=told, address2=perhaps, city=told, state=told, postal_code=told, country=told, updated_at=moments,
)  # fmt: skip
traced = st.sampled_from([(), (("traceparent", b"\xff"),)])
asked = st.fixed_dictionaries({"id": told, "source": told, "customer": told, "passed_on": traced})


@settings(max_examples=400, deadline=None)
@given(asked=asked, outcome=st.sampled_from(Outcome), payer=customers, owned=patients, now=moments)
def test_an_answer_is_what_the_plain_room_makes_of_it(
    asked: dict[str, Any], outcome: Outcome, payer: Customer, owned: Patient, now: datetime
) -> None:
    one = dataclasses.replace(request(), **asked)
    value = response.success_value(one, outcome, payer, owned)
    assert exactly(value) == exactly(plainly(lambda: response.success_value(one, outcome, payer, owned)))
    made = response.success(one, outcome, payer, owned, now=now)
    assert exactly(made) == exactly(plainly(lambda: response.success(one, outcome, payer, owned, now=now)))
    assert built.name_uuid(bytes(20)) == "00000000-0000-5000-8000-000000000000"


@pytest.mark.parametrize(
    "name", [*Customer._fields[:6], "metadata", *(f"patient {name}" for name in Patient._fields[:12])]
)
def test_half_a_character_is_written_by_nobody(name: str) -> None:
    half: dict[str, Any] = {name.removeprefix("patient "): "a\ud800"}
    payer, owned = (customer(), patient()._replace(**half)) if " " in name else (customer()._replace(**half), patient())
    if name != "patient customer":  # nobody writes that either
        with pytest.raises((UnicodeEncodeError, TypeError)):
            response.success_value(request(), Outcome.UPDATED, payer, owned)
        with pytest.raises((UnicodeEncodeError, TypeError)):
            plainly(lambda: response.success_value(request(), Outcome.UPDATED, payer, owned))


STANDING: Final = {"firstName": "Alan", "lastName": "Sample", "dateOfBirth": "1980-02-29", "address": "9 Old Road",
                   "state": "West Yorkshire", "postalCode": "LS1", "country": "GB"}  # fmt: skip
wishes = st.fixed_dictionaries(
    {"phone": st.sampled_from(["+1 555 0100", "555"]), "city": st.sampled_from(["Leeds", "Leeds", "York"])},
    optional={"email": st.sampled_from([None, "old@clinic.local"]), "gender": st.sampled_from([None, "male"]),
              "address2": st.sampled_from([None, "Flat 3"])},
)  # fmt: skip


def asking(id: bytes, wish: dict[str, Any], time: bytes | None, timestamp: int) -> Request:
    """An event for the patient that stands, with these fields otherwise."""
    headers = [(name, id if name == "ce_id" else value) for name, value in (*EVENT, ("ce_time", time))]
    return understood(record(json.dumps(STANDING | wish).encode(), headers, timestamp=timestamp))


times = st.sampled_from([None, b"2025-06-01T12:00:00Z", b"2024-01-01T00:00:00Z"])
asks = st.builds(
    asking, st.sampled_from([b"1", b"2", b"3"]), wishes, times, st.sampled_from([MADE_MS, 1_748_779_200_000])
)
later = st.sampled_from([NOW - timedelta(days=400), NOW, NOW + timedelta(hours=1)])
payers = st.builds(customer, email=st.sampled_from([None, "old@clinic.local"]), updated_at=later)
owned = st.builds(patient, address2=st.sampled_from([None, "Flat 3"]), updated_at=later, effective_at=later)
rows = st.lists(payers, max_size=1).flatmap(lambda some: st.lists(owned, max_size=1).map(lambda more: [*some, *more]))


@settings(max_examples=400, deadline=None)
@given(requests=st.lists(asks, min_size=1, max_size=4), rows=rows)
def test_a_batch_has_the_effect_that_it_has_in_the_plain_room(requests: list[Request], rows: list[Any]) -> None:
    assert all(one.data is not None for one in requests)
    compiled, plain = (
        decided(*requests, known=holding(*rows)),
        plainly(lambda: decided(*requests, known=holding(*rows))),
    )
    assert exactly(compiled.answers) == exactly(plain.answers)
    assert exactly(compiled.writes) == exactly(plain.writes)


# --- Kafka and ids ----------------------------------------------------------------------------------------------------


@given(data=st.binary(max_size=20) | st.binary(max_size=300))
def test_a_key_has_the_place_that_clients_of_kafka_give_it(data: bytes) -> None:
    for key in (data, *(bytes([byte]) * len(data) for byte in (0, 0x7F, 0x80, 0xFF))):
        assert exactly(_hash(key)) == exactly(murmur2(key) & 0x7FFFFFFF)


SAME_TEXT: Final = "".join(["undecodable", "\0"])
pieces = st.none() | st.binary(max_size=9)
pairs = st.tuples(st.sampled_from([decode.UNDECODABLE, SAME_TEXT, "é玲", ""]), pieces)
numbers = st.integers(-1, 2**63 - 1)
raws = st.fixed_dictionaries(
    {"offset": numbers, "timestamp": numbers, "timestamp_type": st.sampled_from([0, 1, None]), "key": pieces,
     "value": pieces, "headers": st.lists(pairs, max_size=3)}
)  # fmt: skip


@given(raw=raws)
def test_a_record_of_the_client_becomes_what_the_plain_room_makes_of_it(raw: dict[str, Any]) -> None:
    headers = raw["headers"]
    for row in (headers, tuple(headers)):
        of = SimpleNamespace(topic="t", partition=3, **(raw | {"headers": row}))
        found = decode.to_record(of)
        assert exactly(found) == exactly(plainly(partial(decode.to_record, of)))
        assert found.undecodable is bool(headers and headers[0][0] is decode.UNDECODABLE)
        assert exactly(built.size_of(found)) == exactly(found.size)


def test_ids_are_of_version_7_with_their_time_and_no_two_are_the_same() -> None:
    times = [MADE_MS + number % 3 for number in range(5000)] + [0, 1, 2**48 - 1]
    ids = [uuid.UUID(built.uuid7(time)) for time in times]
    assert [id.int >> 80 for id in ids] == times
    assert {(id.version, id.variant) for id in ids} == {(7, uuid.RFC_4122)}
    assert len({id.int & 2**62 - 1 for id in ids}) == len(times)
    for text in (uuid7(), plainly(uuid7)):
        assert (type(text), str(uuid.UUID(text)), uuid.UUID(text).version) == (str, text, 7)


def in_a_process(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_processes_that_are_forked_make_ids_of_their_own() -> None:
    code = (
        "import os; from app.pipeline import uuid7; uuid7(); os.fork(); os.write(1, (uuid7()[14:] + chr(10)).encode())"
    )
    first, second = in_a_process(code)
    assert first != second


# --- what nobody passes -----------------------------------------------------------------------------------------------

PAYER, OWNED, ASKED, GIVEN = customer(), patient(), request(), record(headers=EVENT)
CLIENT: Final = SimpleNamespace(
    headers=[("a", b"b"), ("c", None)], offset=1, timestamp=1, timestamp_type=0, key=None, value=None
)
TICK: Final = timedelta(milliseconds=1)
but: Final = dataclasses.replace


def value(payer: Any = PAYER, owned: Any = OWNED, asked: Any = ASKED, outcome: Any = Outcome.UPDATED) -> Any:
    return built.success_value(asked, outcome, payer, owned, response.timestamp)


def final(asked: Any = ASKED, payer: Any = PAYER, value: Any = b"{}", namespace: Any = bytes(16)) -> Any:
    return built.final(asked, Outcome.UPDATED, payer, OWNED, NOW, value, namespace)


def effect(payer: Any = PAYER, owned: Any = OWNED, data: Any = ASKED.data, tick: Any = TICK) -> Any:
    return built.effect(data, "cus_1", payer, owned, NOW, NOW, tick, str)


def reader(**changes: Any) -> Any:
    given: dict[str, Any] = {"from_key": True, "pattern": None, "event_type": b"", "names": (), "rules": {}}
    return built.Reader(**(given | {"largest": 1, "largest_record": 1, "longest_traced": 1} | changes))


def client(headers: Any) -> Any:
    return built.to_record("t", 0, SimpleNamespace(**(vars(CLIENT) | {"headers": headers})), "x")


def size(*headers: Any) -> Any:
    return built.size_of(but(GIVEN, headers=headers))


NO_ROWS: Final = ["()", "PAYER[:11]", "[*PAYER]", "OWNED[:15]", "[*OWNED]", "5", "'cus_1'"]
NO_PAIRS: Final = ["()", "('a',)", "[]", "['a']", "None", "5", "(None, None)"]
NO_HEADERS: Final = [*NO_PAIRS, "('ce_id',)", "['ce_id', b'1']", "(5, b'')", "('ce_id', 5)"]
WRONG: Final = [
    *(f"{name}({row})" for name in ("value", "effect") for row in (*NO_ROWS, "OWNED", "PAYER, PAYER")),
    *(f"{name}(PAYER, {row})" for name in ("value", "effect") for row in NO_ROWS),
    "effect(data=None)", "value(asked=None)",
    "effect(PAYER._replace(updated_at=None))", "effect(PAYER._replace(updated_at=NOW), tick=None)",
    "value(None)", "value(PAYER, None)",
    *(f"value(PAYER._replace({name}=5))" for name in Customer._fields[:-1] if name != "has_account"),
    *(f"value(PAYER, OWNED._replace({name}={other}))" for name in ("patient", "date_of_birth", "country", "updated_at")
      for other in (5, "b'x'", "[]")),
    "value(PAYER, OWNED._replace(date_of_birth=None))", "value(PAYER._replace(metadata=None))", "value(outcome=200)",
    *(f"final(payer={row})" for row in ("()", "[]", "None", "5")), "final(namespace=None)", "final(value='{}')",
    *(f"final(but(ASKED, {name}=None))" for name in ("source", "id", "key", "fingerprint", "record")), "final(None)",
    "final(but(ASKED, source=b's'))", r"final(but(ASKED, id='\ud800'))", "built.name_uuid(bytes(15))",
    "built.name_uuid(None)", "built.canonical({}, None)",
    "built.murmur2('a')", "built.murmur2(None)", "built.murmur2(bytearray(4))",
    "built.uuid7(-1)", "built.uuid7(2**64)", "built.uuid7(None)", "reader()",
    "reader(event_type=None)", "reader(names=None)", "reader(largest='1')",
    "client([()])", "client([[]])", "client([None])", "client([5])", "client(None)",
    "built.to_record('t', 0, None, 'x')", "built.size_of(None)", "built.size_of(but(GIVEN, key=5))", "size(('a', 5))",
    *(f"size({pair})" for pair in NO_PAIRS),
]  # fmt: skip
LEFT: Final = [
    *(f"but(GIVEN, headers=({pair},))" for pair in NO_HEADERS), "but(GIVEN, headers=None)", "but(GIVEN, headers=[])",
    "but(GIVEN, value='{}')", "but(GIVEN, value=bytearray(b'{}'))",
    "but(GIVEN, key='cus_1')", "but(GIVEN, key=5)", "but(GIVEN, key=bytearray(b'a'))", "but(GIVEN, position=None)",
    "but(GIVEN, position=Position('t', 0, 0, None))", "None",
]  # fmt: skip


def is_refused(code: str) -> bool:
    """Whether a process survives this, and nothing comes of it."""
    if pid := os.fork():
        return os.waitpid(pid, 0)[1] == 0
    if code in LEFT:
        os._exit(at_once(eval(code)) is not None)
    try:
        eval(code)
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError):
        os._exit(0)
    os._exit(1)


def test_what_nobody_passes_is_refused_or_left_to_the_plain_rooms_and_ends_no_process() -> None:
    code = "from tests.unit.test_compiled import *; print([code for code in (*WRONG, *LEFT) if not is_refused(code)])"
    assert in_a_process(code) == ["[]"]


# --- memory -----------------------------------------------------------------------------------------------------------

ROUNDS: Final = 20_000
USUAL, FAULTY = Usual(DEFAULT), record(body(city=None), EVENT)
AGAIN: Final[dict[str, Callable[[], Any]]] = {
    "a request": lambda: USUAL.request(GIVEN, EVERYONE, NOW),
    "a request with a fault": lambda: USUAL.request(FAULTY, EVERYONE, NOW),
    "a nested value": lambda: built.canonical({"a": [1.0, {"b": 2.5}]}, 32),
    "a value": value,
    "an answer": final,
    "an effect": effect,
    "an effect on nothing": lambda: effect(None, None),
    "a record": lambda: built.to_record("t", 0, CLIENT, decode.UNDECODABLE),
    "a size": lambda: built.size_of(GIVEN),
    "an id": lambda: built.uuid7(MADE_MS),
}
SHARED: Final[list[Any]] = [
    GIVEN, GIVEN.position, *GIVEN.position, GIVEN.value, GIVEN.key, GIVEN.headers, *GIVEN.headers, *GIVEN.headers[0],
    FAULTY, FAULTY.value, ASKED, ASKED.data, ASKED.key, ASKED.fingerprint, ASKED.source, ASKED.passed_on, PAYER, *PAYER,
    OWNED, *OWNED, NOW, TICK, UNSET, EVERYONE, *Outcome, Request, Record, Position, Customer, Patient, StoredAnswer,
    Answer, type(ASKED.data), CLIENT, CLIENT.headers, *CLIENT.headers, decode.UNDECODABLE, None, True, False, "", b"",
]  # fmt: skip


@pytest.mark.parametrize("what", AGAIN)
def test_nothing_is_kept_of_what_was_done(what: str) -> None:
    call = AGAIN[what]
    tracemalloc.start(1)
    try:
        for _ in range(500):
            call()
        before, held = [sys.getrefcount(one) for one in SHARED], tracemalloc.get_traced_memory()[0]
        for _ in range(ROUNDS):
            call()
        grown = tracemalloc.get_traced_memory()[0] - held
        moved = [sys.getrefcount(one) - count for one, count in zip(SHARED, before, strict=True)]
    finally:
        tracemalloc.stop()
    assert max(map(abs, moved)) < ROUNDS // 100
    assert grown < 5 * ROUNDS, "bytes: the smallest object has more"
