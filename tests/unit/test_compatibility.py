"""Which changes of a schema break those who build against it, rule by rule."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from app.cli import app
from app.contracts.compatibility import Change, Role, changes

CONTRACTS = Path(__file__).parents[2] / "contracts"
TEXT = {"type": "string"}


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


WIDER: dict[str, tuple[Any, Any]] = {
    "a type more": (TEXT, {"type": ["string", "null"]}),
    "number for integer": ({"type": "integer"}, {"type": "number"}),
    "any type": (TEXT, {}),
    "anything for nothing": (False, TEXT),
    "an alternative more": ({"anyOf": [TEXT]}, {"anyOf": [TEXT, {"type": "null"}]}),
    "alternatives for a type": ({"type": ["string", "null"]}, {"anyOf": [TEXT, {"type": "null"}, {"type": "integer"}]}),
    "a value more": ({"enum": ["a"]}, {"enum": ["a", "b"]}),
    "a value beside a fixed one": ({"const": 1}, {"enum": [1, 2]}),
    "any text for fixed ones": ({"enum": ["a", "b"]}, {"type": "string", "maxLength": 3, "pattern": "^[a-z]$"}),
    "shorter texts": ({"minLength": 2}, {"minLength": 1}),
    "longer texts": ({"maxLength": 2}, {"maxLength": 3}),
    "texts of any length": ({"maxLength": 2, "minLength": 1}, {}),
    "smaller numbers": ({"minimum": 2}, {"minimum": 1}),
    "larger numbers": ({"maximum": 2}, {"maximum": 3}),
    "no exclusive bounds": ({"exclusiveMinimum": 1, "exclusiveMaximum": 9}, {"exclusiveMinimum": 0}),
    "fewer items": ({"minItems": 2}, {"minItems": 1}),
    "more items": ({"maxItems": 2}, {"maxItems": 3}),
    "fewer members": ({"minProperties": 2}, {"minProperties": 1}),
    "more members": ({"maxProperties": 2}, {"maxProperties": 3}),
    "no pattern": ({"pattern": "^a$"}, {}),
    "no format": ({"format": "date"}, {}),
    "no not": ({"not": TEXT}, {}),
    "no condition": ({"if": TEXT, "then": {"minLength": 1}}, {}),
    "no contains": ({"contains": TEXT}, {}),
    "no oneOf": ({"oneOf": [TEXT, {"type": "null"}]}, {}),
    "no multiple": ({"multipleOf": 2}, {}),
    "one rule of several": ({"allOf": [{"minLength": 1}, {"pattern": "a"}]}, {"allOf": [{"pattern": "a"}]}),
    "a looser rule of several": ({"allOf": [{"minLength": 2}]}, {"minLength": 1}),
    "not required": ({**of(a=TEXT), "required": ["a"]}, of(a=TEXT)),
    "wider inside a field": (of(a={"maxLength": 1}), of(a={"maxLength": 2})),
    "wider inside items": ({"items": {"maxLength": 1}}, {"items": {"maxLength": 2}}),
    "items of any kind": ({"items": TEXT}, {}),
    "wider inside the first item": ({"prefixItems": [{"maxLength": 1}]}, {"prefixItems": [{"maxLength": 2}]}),
    "no rule for the second item": ({"prefixItems": [TEXT, TEXT]}, {"prefixItems": [TEXT]}),
    "further fields": ({**of(a=TEXT), "additionalProperties": False}, of(a=TEXT)),
    "further fields of another kind": ({"additionalProperties": TEXT}, {"additionalProperties": {}}),
    "wider inside a definition": (
        {"$ref": "#/$defs/A", "$defs": {"A": {"maxLength": 1}}},
        {"$ref": "#/$defs/B", "$defs": {"B": {"maxLength": 2}}},
    ),
    "wider beside a reference": (
        {"$ref": "#/$defs/A", "maxLength": 1, "$defs": {"A": TEXT}},
        {"$ref": "#/$defs/A", "maxLength": 2, "$defs": {"A": TEXT}},
    ),
    "wider beside alternatives": (
        {"maxLength": 5, "anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]},
        {"maxLength": 5, "anyOf": [{"type": "string", "maxLength": 4}, {"type": "null"}]},
    ),
}
"""Each with a schema and one that takes more."""

UNLIKE: dict[str, tuple[Any, Any]] = {
    "another type": (TEXT, {"type": "integer"}),
    "another pattern": ({"pattern": "a"}, {"pattern": "a|b"}),
    "another format": ({"format": "date"}, {"format": "date-time"}),
    "another not": ({"not": {"pattern": "a"}}, {"not": {"pattern": "b"}}),
    "another condition": ({"if": TEXT, "then": {"minLength": 1}}, {"if": TEXT, "then": {"minLength": 0}}),
    "another oneOf": ({"oneOf": [TEXT]}, {"oneOf": [TEXT, {"type": "null"}]}),
    "true for one": ({"enum": [1]}, {"enum": [True]}),
    "a keyword nobody knows": ({"x-rule": 1}, {"x-rule": 2}),
    "another encoding": ({"contentEncoding": "base64"}, {"contentEncoding": "base16"}),
    "a field by another name": (of(a=TEXT), of(b=TEXT)),
    "further fields forbidden where one is new": (
        {**of(a=TEXT), "additionalProperties": False},
        {**of(b=TEXT), "additionalProperties": False},
    ),
    "a schema within itself": ({"$ref": "#", "maxLength": 1}, {"$ref": "#", "maxLength": 2, "pattern": "a"}),
}
"""Neither takes all that the other one takes, or nobody can tell."""


def verdicts(old: Any, new: Any, role: Role) -> set[str]:
    return {"breaking" if change.breaking else "compatible" for change in changes(old, new, role)}


@pytest.mark.rule("R8.6")
@pytest.mark.parametrize("name", WIDER)
def test_a_request_may_widen_and_not_narrow(name: str) -> None:
    narrow, wide = WIDER[name]
    assert verdicts(narrow, wide, Role.REQUEST) == {"compatible"}
    assert "breaking" in verdicts(wide, narrow, Role.REQUEST)


@pytest.mark.rule("R8.7")
@pytest.mark.parametrize("name", WIDER)
def test_an_answer_may_narrow_and_not_widen(name: str) -> None:
    narrow, wide = WIDER[name]
    assert verdicts(wide, narrow, Role.ANSWER) == {"compatible"}
    assert "breaking" in verdicts(narrow, wide, Role.ANSWER)


@pytest.mark.rule("R8.8")
@pytest.mark.parametrize("name", UNLIKE)
@pytest.mark.parametrize("role", list(Role))
def test_what_cannot_be_judged_is_breaking_in_both_directions(name: str, role: Role) -> None:
    one, other = UNLIKE[name]
    assert "breaking" in verdicts(one, other, role)
    assert "breaking" in verdicts(other, one, role)


@pytest.mark.rule("R8.6")
def test_a_new_field_of_a_request_may_be_left_out_and_an_old_one_may_not_go() -> None:
    assert changes(of(a=TEXT), of(a=TEXT, b=TEXT), Role.REQUEST) == [Change("/b", "properties", "is new", False)]
    assert changes(of(a=TEXT, b=TEXT), of(a=TEXT), Role.REQUEST) == [Change("/b", "properties", "is gone", True)]
    required = {**of(a=TEXT, b=TEXT), "required": ["b"]}
    assert "breaking" in verdicts(of(a=TEXT), required, Role.REQUEST)


@pytest.mark.rule("R8.7")
def test_an_answer_may_gain_fields_and_not_lose_one() -> None:
    gained = {**of(a=TEXT, b=TEXT), "required": ["b"]}
    assert verdicts(of(a=TEXT), gained, Role.ANSWER) == {"compatible"}
    assert changes(of(a=TEXT, b=TEXT), of(a=TEXT), Role.ANSWER) == [Change("/b", "properties", "is gone", True)]
    closed = {**of(a=TEXT), "additionalProperties": False}
    assert "breaking" in verdicts(closed, {**of(a=TEXT, b=TEXT), "additionalProperties": False}, Role.ANSWER)


@pytest.mark.rule("R8.7")
def test_an_answer_may_know_a_new_code_where_room_was_left() -> None:
    def open_to(*codes: str) -> dict[str, Any]:
        return {"type": "string", "maxLength": 64, "anyOf": [{"enum": list(codes)}, {"pattern": "^[a-z_]*$"}]}

    assert verdicts(open_to("a"), open_to("a", "b_c"), Role.ANSWER) == set()
    assert "breaking" in verdicts(open_to("a"), open_to("a", "B"), Role.ANSWER)


@pytest.mark.rule("R8.6", "R8.7")
@pytest.mark.parametrize("role", list(Role))
def test_what_only_explains_a_schema_is_no_change(role: Role) -> None:
    explained = {
        **of(a={**TEXT, "title": "A", "description": "b", "examples": ["c"], "default": "d"}),
        "$schema": "s",
        "$comment": "c",
    }
    assert changes(of(a=TEXT), explained, role) == []
    assert changes(of(title=TEXT), of(title={"type": "string", "title": "T"}), role) == []


small = st.integers(0, 3)
named = st.lists(st.sampled_from(["a", "bb", 1, True, None]), min_size=1, max_size=2, unique_by=repr)
names = st.sampled_from(["p", "q"])
leaves = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "integer", "number", "object", "array", ["string", "null"]]),
        "enum": named,
        "minLength": small,
        "maxLength": small,
        "minimum": small,
        "maxItems": small,
        "pattern": st.sampled_from(["^a", "b$"]),
        "required": st.lists(names, max_size=1),
    },
)
rules = st.recursive(
    leaves | st.booleans(),
    lambda inner: st.tuples(
        leaves,
        st.fixed_dictionaries(
            {},
            optional={
                "properties": st.dictionaries(names, inner, max_size=2),
                "additionalProperties": inner,
                "items": inner,
                "prefixItems": st.lists(inner, min_size=1, max_size=2),
                "anyOf": st.lists(inner, min_size=1, max_size=2),
                "allOf": st.lists(inner, min_size=1, max_size=2),
                "not": inner,
            },
        ),
    ).map(lambda both: both[0] | both[1]),
    max_leaves=4,
)
json_values = st.recursive(
    st.sampled_from(["", "a", "ab", "bbbb", 0, 1, 3, 2.5, True, None]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Any, Any]:
    """A schema and a slightly changed one: two of chance would have nothing in common."""
    old = draw(rules)
    new = copy.deepcopy(old)
    at = new
    while isinstance(at, dict):
        inner: list[Any] = [member for member in at.values() if isinstance(member, dict)]
        inner += [
            each for member in at.values() if isinstance(member, list) for each in member if isinstance(each, dict)
        ]
        deeper: bool = draw(st.booleans())
        if inner and deeper:
            at = draw(st.sampled_from(inner))
            continue
        removes: bool = draw(st.booleans())
        if at and removes:
            del at[draw(st.sampled_from(sorted(at)))]
        change = draw(rules)
        at.update(change if isinstance(change, dict) else {})
        break
    return old, new


@pytest.mark.rule("R8.8")
@settings(deadline=None, max_examples=400, suppress_health_check=list(HealthCheck))
@given(pair=pairs(), values=st.lists(json_values, min_size=5, max_size=20))
def test_no_value_shows_that_a_change_breaks_which_was_called_compatible(
    pair: tuple[Any, Any], values: list[Any]
) -> None:
    old, new = (jsonschema.Draft202012Validator(schema) for schema in pair)
    found = changes(*pair, Role.REQUEST)
    if any(change.breaking or change.rule == "properties" for change in found):
        return  # a field that is new was free before: its name is reserved
    assert [value for value in values if old.is_valid(value) and not new.is_valid(value)] == []


# --- the real schemas and the command


def current(name: str) -> Any:
    return json.loads((CONTRACTS / "schemas" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.rule("R8.6")
def test_a_longer_name_and_a_new_way_to_name_a_gender_widen_the_requests() -> None:
    longer = copy.deepcopy(current("request"))
    longer["$defs"]["Name"]["maxLength"] = 250
    longer["properties"]["gender"]["anyOf"].append({"type": "integer"})
    longer["properties"]["email"]["anyOf"][0]["maxLength"] = 300
    assert verdicts(current("request"), longer, Role.REQUEST) == {"compatible"}
    assert sorted({change.path for change in changes(longer, current("request"), Role.REQUEST) if change.breaking}) == [
        "/email",
        "/firstName",
        "/gender",
        "/lastName",
    ]


@pytest.mark.rule("R8.7")
def test_a_new_outcome_breaks_the_answers() -> None:
    more = copy.deepcopy(current("answer-completed"))
    more["properties"]["outcome"]["enum"].append("merged")
    assert [str(change) for change in changes(current("answer-completed"), more, Role.ANSWER)] == [
        'breaking: /outcome: enum: promises less ("merged")'
    ]


@pytest.mark.rule("R8.9")
def test_nothing_breaks_what_was_released() -> None:
    result = CliRunner().invoke(app, ["contracts", "--folder", str(CONTRACTS), "check"])
    assert result.exit_code == 0, result.output


@pytest.mark.rule("R8.9")
def test_the_command_tells_breaking_changes_and_differing_files_and_exits_with_1(tmp_path: Path) -> None:
    runner, folder = CliRunner(), ["contracts", "--folder", str(tmp_path)]
    assert runner.invoke(app, folder).exit_code == 0
    (tmp_path / "schemas").rename(tmp_path / "v1")
    differs = runner.invoke(app, [*folder, "check"])
    assert differs.exit_code == 1
    assert "schemas/request.json: differs; run: patient-upsert contracts\n" in differs.output
    assert "since v1: 0 compatible changes, 0 breaking" in differs.output

    assert runner.invoke(app, folder).exit_code == 0
    released = json.loads((tmp_path / "v1" / "request.json").read_text(encoding="utf-8"))
    released["properties"]["city"]["maxLength"] = 101
    (tmp_path / "v1" / "request.json").write_text(json.dumps(released), encoding="utf-8")
    (tmp_path / "v1" / "gone.json").write_text("{}", encoding="utf-8")
    (tmp_path / "v1" / "request-event.json").unlink()
    breaking = runner.invoke(app, [*folder, "check"])
    assert breaking.exit_code == 1
    assert "request: breaking: /city: maxLength: takes less (101 against 100)\n" in breaking.output
    assert "gone: breaking: /: is gone\n" in breaking.output
    assert "request-event: compatible: /: is new\n" in breaking.output
    assert "since v1: 1 compatible changes, 2 breaking" in breaking.output


@pytest.mark.rule("R8.9")
def test_a_folder_without_a_release_cannot_be_checked(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["contracts", "--folder", str(tmp_path), "check"])
    assert result.exit_code == 2
