"""What `send` reads: files of requests, each turned into a record."""

from __future__ import annotations

import json

import pytest

from app.cli.lines import NotSendable, read_requests
from app.consumer.requester import Outbound

EVENT_HEADERS = (("content-type", b"application/cloudevents+json"),)


def read(text: str) -> list[Outbound]:
    return list(read_requests("file", text))


def refusal(text: str) -> str:
    with pytest.raises(NotSendable) as caught:
        read(text)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        '{"customer":"cus_1"}\n{"customer":"cus_2"}',
        '\n{"customer":"cus_1"}\r\n\r\n  {"customer":"cus_2"}  \n\n',
        '[{"customer":"cus_1"}, {"customer":"cus_2"}]',
        '[\n {"customer": "cus_1"},\n {"customer": "cus_2"}\n]\n',
    ],
)
def test_a_file_is_json_lines_or_an_array(text: str) -> None:
    assert read(text) == [
        Outbound(b"cus_1", b'{"customer": "cus_1"}'),
        Outbound(b"cus_2", b'{"customer": "cus_2"}'),
    ]


def test_a_file_may_hold_one_object_over_many_lines() -> None:
    assert read('{\n "customer": "cus_1"\n}') == [Outbound(b"cus_1", b'{"customer": "cus_1"}')]


@pytest.mark.parametrize("text", ["", "\n", "  \r\n\n", "[]"])
def test_a_file_may_hold_nothing(text: str) -> None:
    assert read(text) == []


@pytest.mark.parametrize("separator", "\u2028\u2029\u0085")
def test_only_a_line_feed_ends_a_line(separator: str) -> None:
    text = f'{{"firstName":"A{separator}B"}}\n{{"firstName":"C"}}'
    assert [json.loads(request.value or b"") for request in read(text)] == [
        {"firstName": f"A{separator}B"},
        {"firstName": "C"},
    ]


def test_a_body_is_sent_under_its_customer() -> None:
    assert read('{"firstName": "Zo\\u00eb", "customer": 7}') == [
        Outbound(b"7", '{"firstName": "Zoë", "customer": 7}'.encode())
    ]
    assert read('{"firstName": "Zoë", "customer": null}')[0].key is None


def test_a_lone_surrogate_can_be_sent() -> None:
    assert read('{"customer": "\\ud800"}') == [Outbound(b"\xed\xa0\x80", b'{"customer": "\\ud800"}')]
    (request,) = read('{"record": {"value_text": "\\ud800"}}')
    assert request.value == b"\xed\xa0\x80"


@pytest.mark.parametrize(
    ("event", "key"),
    [
        ('{"specversion": "1.0", "subject": "cus_1", "data": {"customer": "cus_2"}}', b"cus_1"),
        ('{"specversion": "1.0", "data": {"customer": "cus_2"}}', b"cus_2"),
        ('{"specversion": "1.0", "data": [1]}', None),
        ('{"specversion": "1.0"}', None),
    ],
)
def test_an_event_is_sent_under_its_subject_or_customer(event: str, key: bytes | None) -> None:
    assert read(event) == [Outbound(key, event.encode(), EVENT_HEADERS)]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({}, Outbound(None, None)),
        ({"key": "k", "value": {"a": 1}}, Outbound(b"k", b'{"a": 1}')),
        ({"key": None, "value": None}, Outbound(None, None)),
        ({"value_text": "{"}, Outbound(None, b"{")),
        ({"value_text": ""}, Outbound(None, b"")),
        ({"value_base64": "AP8=", "key_base64": "/w=="}, Outbound(b"\xff", b"\x00\xff")),
        ({"headers": {"a": "1", "b": None, "c": {"base64": "/w=="}}},
         Outbound(None, None, (("a", b"1"), ("b", None), ("c", b"\xff")))),
        ({"headers": [["a", "1"], ["a", {"base64": ""}]]}, Outbound(None, None, (("a", b"1"), ("a", b"")))),
    ],
)  # fmt: skip
def test_a_record_is_sent_as_it_is(record: dict[str, object], expected: Outbound) -> None:
    assert read(json.dumps({"record": record})) == [expected]


def test_a_body_with_a_field_called_record_is_a_body() -> None:
    assert read('{"record": {}, "customer": "cus_1"}')[0].key == b"cus_1"
    assert read('{"record": "x"}')[0].value == b'{"record": "x"}'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": 1}\n{"Xsecretx"', "file, line 2: is not JSON"),
        ('\n\n{"Xsecretx"', "file, line 3: is not JSON"),
        ('"Xsecretx"', "file, request 1: must be a JSON object"),
        ('[{}, "Xsecretx"]', "file, request 2: must be a JSON object"),
        ('{}\n["Xsecretx"]', "file, line 2: must be a JSON object"),
        ('{"record": {"Xsecretx": 1}}',
         "file, request 1: a record has key, key_base64, headers, value, value_text, value_base64 only"),
        ('{"record": {"value_base64": "Xsecretx!"}}', "file, request 1: what is called base64 must be base64"),
        ('{"record": {"key_base64": 7}}', "file, request 1: what is called base64 must be base64"),
        ('{"record": {"headers": {"a": {"b": "Xsecretx"}}}}',
         "file, request 1: what is called base64 must be base64"),
        ('{"record": {"headers": 7}}', "file, request 1: headers must be an object, or a list of pairs"),
        ('{"record": {"headers": ["Xsecretx"]}}', "file, request 1: headers must be an object, or a list of pairs"),
        ('{"record": {"headers": {"x\\ud800": "Xsecretx"}}}',
         "file, request 1: the name of a header holds half a character"),
        ("[" * 100_000, "file: is nested too deeply"),
        ("{}\n" + "[" * 100_000, "file, line 2: is nested too deeply"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_told_and_not_shown(text: str, told: str) -> None:
    assert refusal(text) == told


def test_the_requests_before_a_fault_are_read() -> None:
    requests = read_requests("file", '{"customer": "cus_1"}\n{')
    assert next(requests).key == b"cus_1"
    with pytest.raises(NotSendable):
        next(requests)


def test_a_request_shows_nothing_of_itself() -> None:
    assert "Xsecretx" not in repr(read('{"firstName": "Xsecretx"}'))
