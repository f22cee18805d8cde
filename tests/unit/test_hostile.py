"""What somebody sends who means harm: each record gets its one answer, in time and space that its size bounds."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import app
from app.envelope.forms import _any_envelope, _usual_envelope
from app.model import EVENT_TYPE, Headers, Position, Record
from app.response import answer_headers
from tests.support import BODY
from tests.unit.making import EVENT, decided, record, request_of, with_headers

MEBIBYTE = 1024 * 1024
LARGEST_REFUSAL = 8 * 1024

BOMBS: dict[str, bytes] = {
    "wide object": json.dumps({f"k{number}": number for number in range(60_000)}).encode(),
    "wide list": b"[" + b"0," * 500_000 + b"0]",
    "one key again and again": b"{" + b'"city":"x",' * 90_000 + b'"city":"y"}',
    "huge integer": b'{"phone":' + b"9" * 1_000_000 + b"}",
    "huge exponent": b'{"phone":1e999999}',
    "huge fraction": b'{"phone":0.' + b"1" * 1_000_000 + b"}",
    "not a number": b'{"phone":NaN}',
    "lone surrogates": b'{"city":"' + b"\\ud800" * 150_000 + b'"}',
    "escapes": b'{"city":"' + b"\\u0041" * 170_000 + b'"}',
    "long text": json.dumps({**BODY, "city": "x" * (MEBIBYTE - 1000)}).encode(),
    "long white space": json.dumps({**BODY, "city": " " * (MEBIBYTE - 1000)}).encode(),
    "combining marks": json.dumps({**BODY, "city": "e" + "\u0301\u0323" * 80_000}, ensure_ascii=False).encode(),
    "long e-mail": json.dumps({**BODY, "email": "a." * 200_000 + "@" + "b." * 200_000 + "com"}).encode(),
    "long phone": json.dumps({**BODY, "phone": "1-" * 400_000}).encode(),
    "long date": json.dumps({**BODY, "dateOfBirth": "2001-02-03T00:00:00." + "0" * 900_000}).encode(),
    "gender of many": json.dumps({**BODY, "gender": {"coding": [{"code": 0}] * 60_000}}).encode(),
    "base64 in base64": json.dumps(
        {"specversion": "1.0", "id": "1", "source": "/s", "type": EVENT_TYPE, "data_base64": "ey" * 400_000}
    ).encode(),
    "a frame and nothing": b"\0" * MEBIBYTE,
    "deep": b'{"gender":' * 100_000,
}


@pytest.mark.rule("R11.4")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_like_any_bad_request_and_the_refusal_is_small(bomb: str) -> None:
    (answer,) = decided(request_of(record(BOMBS[bomb], EVENT))).answers
    assert answer.status == 400
    assert len(answer.value) < LARGEST_REFUSAL


@pytest.mark.rule("R11.4")
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "flood",
    [
        tuple((f"x-{number}", b"y") for number in range(10_000)),
        tuple(("ce_id", b"%d" % number) for number in range(10_000)),
        (("x", b"y" * MEBIBYTE),),
        (("y" * MEBIBYTE, b""),),
        (("traceparent", b"0" * MEBIBYTE),),
    ],
    ids=["other names", "one name", "a large value", "a large name", "a large one that is passed on"],
)
def test_a_flood_of_headers_gets_one_answer(flood: Headers) -> None:
    (answer,) = decided(request_of(record(headers=(*EVENT, *flood)))).answers
    assert answer.status == (400 if flood[0][0] == "ce_id" else 200)
    passed_on = sum(len(name) + len(value) for name, value in answer_headers(answer, "t") if name == "traceparent")
    assert sum(len(name) + len(value) for name, value in answer_headers(answer, "t")) - passed_on < LARGEST_REFUSAL


def patterns() -> dict[str, re.Pattern[str]]:
    """Every pattern that a module of the worker has compiled."""
    found = {}
    for module in pkgutil.walk_packages(app.__path__, "app."):
        if ".migrations." not in module.name and not module.name.startswith("app.cli"):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
                    found[f"{module.name}.{name}"] = value
    return found


@pytest.mark.rule("R11.4")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", sorted(patterns()))
def test_no_pattern_takes_longer_than_its_text_is_long(name: str) -> None:
    """One that goes back over its text would need hours for these."""
    for part in ("a", "0", ".", "a.", "0 ", "-0", " ", "a@", "\u0301", "\0"):
        text = part * (200_000 // len(part))
        for end in ("", "!", "\0"):
            patterns()[name].fullmatch(text + end)


def statements(tree: ast.AST) -> Iterator[ast.JoinedStr]:
    """The f-strings that read like SQL."""
    verbs = re.compile(r"\s*(select|insert|update|delete|with|grant|revoke|drop|create|alter|set|begin|copy)\b", re.I)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and verbs.match(str(getattr(node.values[0], "value", ""))):
            yield node


def put_in(statement: ast.JoinedStr) -> set[str]:
    return {ast.unparse(value.value) for value in statement.values if isinstance(value, ast.FormattedValue)}


@pytest.mark.rule("R11.5")
def test_values_reach_the_database_as_parameters_alone() -> None:
    """No statement is put together outside app/sql, but for `setup` with names of ours."""
    root = Path(app.__file__).parent
    built = {
        f"{path.relative_to(root)}: {name}"
        for path in root.rglob("*.py")
        if path.is_relative_to(root / "store") or path.is_relative_to(root / "migrations")
        for statement in statements(ast.parse(path.read_text(encoding="utf-8")))
        for name in put_in(statement)
        if not re.fullmatch("_?[A-Z][A-Z_]*", name)
    }
    assert built == {"store/migrate.py: table", "store/migrate.py: ', '.join(rights)"}
    asked = {
        ast.unparse(call.args[0])
        for path in (root / "store").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in {"execute", "fetch", "fetchval", "fetchrow", "executemany", "prepare"}
    }
    joined = {text for text in asked if "%" in text or "+" in text or ".format" in text}
    assert joined == set()


texts = st.sampled_from(
    [b"1.0", b"0.3", EVENT_TYPE.encode(), b"other", b"e1", b"", b"\x00", b"\xff", "é".encode(), b"kafka:t", b"x" * 256,
     b"2026-01-01T00:00:00Z", b"cus_1"]
)  # fmt: skip
names = st.sampled_from(
    ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_subject", "CE_ID", "x", "traceparent",
     "content-type", "idempotency-key", "__dlq.errors.topic"]
)  # fmt: skip


READABLE: list[object] = [
    BODY,
    {**BODY, "customer": "cus_2", "patient": "pat_1"},
    {"customer": 1},
    {"patient": ""},
    {"customer": None},
    {"specversion": "1.0"},
    {"a": 1.0},
    {"a": [1.0]},
    [],
    "",
]
unreadable = st.sampled_from([None, b"", b"{", b"\0{}", b"\0\0\0\0\0{}", b" " * (MEBIBYTE + 1)])
data = st.sampled_from(READABLE).map(json.dumps).map(str.encode) | unreadable


@pytest.mark.rule("R3.39")
@settings(deadline=None, max_examples=500)
@given(
    changes=st.dictionaries(names, st.none() | texts, max_size=3),
    more=st.lists(st.tuples(names, texts), max_size=2),
    value=data,
    key=st.sampled_from([None, b"", b"cus_1", b"pat_1", b"\xff"]),
    undecodable=st.sampled_from([False, False, True]),
    from_key=st.booleans(),
)
def test_the_short_way_to_read_an_event_sees_what_the_long_one_sees(
    changes: dict[str, bytes | None],
    more: list[tuple[str, bytes]],
    value: bytes | None,
    key: bytes | None,
    undecodable: bool,
    from_key: bool,
) -> None:
    one = Record(Position("t", 0, 1, 1), key, value, (*with_headers(EVENT, **changes), *more), undecodable)
    if (found := _usual_envelope(one, from_key)) is not None:
        assert found == _any_envelope(one, from_key)


def test_the_short_way_is_taken_by_what_most_producers_send() -> None:
    more = {"ce_time": b"2026-01-02T03:04:05Z", "content-type": b"application/json", "traceparent": b"00-1"}
    more["tracestate"] = b"x" * 1025
    for headers in (EVENT, with_headers(EVENT, **more)):
        one = record(headers=headers)
        found = _usual_envelope(one, True)
        assert found == _any_envelope(one, True)
        assert found is not None
