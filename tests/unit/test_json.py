"""JSON as it is received, and the canonical form that fingerprints compare."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.envelope.json import NotReadable, canonical_bytes, read_json

texts = st.text(st.characters(exclude_categories=[]) | st.sampled_from('\ud800"\\/é\u2028\x00'), max_size=8)
numbers = (
    st.integers()
    | st.integers(2**53 - 2, 2**53 + 2)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(10**6), 10**6).map(float)
    | st.sampled_from([1e16, 1e17, 1e21, 1e22, -0.0, 2.0**63])
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def canonical(value: bytes) -> bytes:
    return canonical_bytes(read_json(value))


def written_anew(value: Any, chance: random.Random) -> str:
    """The same JSON as another program might write it."""
    space = chance.choice(["", " ", "\n\t", " \r\n"])
    if isinstance(value, dict):
        members = list(value.items())
        chance.shuffle(members)
        inner = f"{space},{space}".join(
            f"{written_anew(name, chance)}{space}:{space}{written_anew(member, chance)}" for name, member in members
        )
        return f"{{{space}{inner}{space}}}"
    if isinstance(value, list):
        return f"[{space}{f'{space},'.join(written_anew(member, chance) for member in value)}{space}]"
    if isinstance(value, str):
        return f'"{"".join(_escaped(character, chance) for character in value)}"'
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e25:
        whole = int(value)
        return chance.choice([f"{whole}.0", f"{whole}", f"{whole}e0", f"{whole}.000E+0", f"{whole}.0e-0"])
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return chance.choice([f"{value}", f"{value}.0", f"{value}e0", f"{value}.00E+0"])
    return json.dumps(value)


def _escaped(character: str, chance: random.Random) -> str:
    plain = json.dumps(character, ensure_ascii=False)[1:-1]
    lone = 0xD800 <= ord(character) < 0xE000
    return json.dumps(character)[1:-1] if lone or chance.random() < 0.3 else plain


def typed(value: Any) -> Any:
    """A value that equals another one exactly when both are the same JSON: 1 is 1.0, and neither is true."""
    if isinstance(value, dict):
        return ("object", frozenset((name, typed(member)) for name, member in value.items()))
    if isinstance(value, list):
        return ("array", tuple(typed(member) for member in value))
    return (isinstance(value, bool), value)


@pytest.mark.rule("R6.7")
@settings(deadline=None)
@given(value=values, chance=st.randoms(use_true_random=False))
def test_a_copy_that_was_written_anew_is_the_same(value: Any, chance: random.Random) -> None:
    plain = json.dumps(value, ensure_ascii=True).encode()
    copy = written_anew(value, chance).encode()
    assert canonical(copy) == canonical(plain)


few = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 1.0, 0.5, "", "1", "a", "\u00e9", "e\u0301", "\ud800", "\ud801"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "\ud800"]), inner, max_size=2)
    ),
    max_leaves=3,
)


@pytest.mark.rule("R6.8")
@settings(deadline=None, max_examples=500)
@given(first=few, second=few)
def test_other_content_is_another(first: Any, second: Any) -> None:
    same = canonical(json.dumps(first).encode()) == canonical(json.dumps(second).encode())
    assert same == (typed(first) == typed(second))


@pytest.mark.rule("R6.7")
@pytest.mark.parametrize(
    ("written", "same"),
    [
        (b'{"b":2,"a":1}', b'{"a":1,"b":2}'),
        (b"1.0", b"1"),
        (b"1e2", b"100"),
        (b"-0.0", b"0"),
        (b"1e17", b"100000000000000000"),
        (b"9007199254740992.0", b"9007199254740992"),
        (b"1e22", b"10000000000000000000000"),
        (b"0.10", b"0.1"),
        (b'"\\u00e9\\/"', '"é/"'.encode()),
        (b'"\\ud83d\\ude00"', '"😀"'.encode()),
        (b'["\\uD800"]', b'[ "\\ud800" ]'),
        (b'{"a":1,"a":2}', b'{"a":2}'),
    ],
)
def test_two_ways_to_write_the_same(written: bytes, same: bytes) -> None:
    assert canonical(written) == canonical(same)


@pytest.mark.rule("R6.8")
@pytest.mark.parametrize(
    ("one", "other"),
    [(b"1", b'"1"'), (b"1", b"true"), (b"0", b"false"), (b"null", b"0"), (b"[]", b"{}"), (b'""', b"null"),
     (b"[1,2]", b"[2,1]"), (b'"e\xcc\x81"', b'"\xc3\xa9"'), (b'"a"', b'"A"'), (b'" a"', b'"a"'),
     (b"9007199254740993", b"9007199254740992"), (b"0.1", b"0.2"), (b'["\\ud800"]', b'["\\ud801"]')],
)  # fmt: skip
def test_two_things_that_differ(one: bytes, other: bytes) -> None:
    assert canonical(one) != canonical(other)


@pytest.mark.rule("R6.7")
def test_the_canonical_form_is_sorted_and_without_spaces() -> None:
    assert canonical(b'{"b": [1.0, null], "a": "\\u00e9", "\\u00e9": 1e17}') == (
        '{"a":"é","b":[1,null],"é":100000000000000000}'.encode()
    )


@pytest.mark.rule("R3.29")
@settings(deadline=None)
@given(value=st.binary(max_size=40) | st.text(max_size=20).map(str.encode))
def test_any_bytes_are_read_or_told(value: bytes) -> None:
    try:
        read = read_json(value)
    except NotReadable as error:
        told = error.code.value
    else:
        told = "read" if canonical(canonical_bytes(read)) == canonical_bytes(read) else "read differently"
    assert told in ("not_json", "too_deep", "read")


@pytest.mark.parametrize("digits", ["9" * 18, "9" * 19, "9" * 20, "9" * 4300, "1" + "0" * 400])
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_whole_number_beyond_64_bits_counts_as_it_is_written(sign: str, digits: str) -> None:
    odd = '"\\ud800"'  # which only the slower reader takes
    written = f"{sign}{digits}"
    assert canonical(f'{{"b": {written}, "a": {odd}}}'.encode()) == f'{{"a":{odd},"b":{written}}}'.encode()


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_whole_number_of_more_digits_than_python_makes_integers_of_is_not_read(sign: str) -> None:
    for digits in ("9" * 4301, "9" * 100_000):
        with pytest.raises(NotReadable) as caught:
            read_json(f'{{"a": {sign}{digits}}}'.encode())
        assert caught.value.code == "not_json"
