"""Whether a change of a schema breaks those who build against it. Pure.

A request that was valid must stay valid and be read as before; an answer must stay what its readers were promised. Both
are one question, "does this schema take every value that the other one takes?", asked keyword by keyword. What cannot
be judged is called breaking.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

Schema = Any
"""A JSON Schema: an object, or true or false."""


class Role(Enum):
    """Who writes the values of a schema: producers, or the worker."""

    REQUEST = "request"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: where (a JSON Pointer into the schema's values), by which rule, and what it means."""

    path: str
    rule: str
    text: str
    breaking: bool

    def __str__(self) -> str:
        return f"{'breaking' if self.breaking else 'compatible'}: {self.path or '/'}: {self.text}"


@dataclass(frozen=True, slots=True)
class _Reason:
    """Why one schema may refuse what another one takes."""

    path: str
    rule: str
    text: str


_ANNOTATIONS: Final = frozenset(
    (
        *("$schema", "$id", "$comment", "$defs", "title", "description", "examples", "default", "deprecated"),
        *("readOnly", "writeOnly", "contentMediaType"),
    )
)
_LOWER: Final = ("minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum")
_UPPER: Final = ("maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum")
_TOGETHER: Final = (("properties", "additionalProperties"), ("prefixItems", "items"), ("if", "then", "else"))
"""Keywords that mean something only with each other."""
_ADDED: Final = "property without a rule"
"""Only the schema that should take more has a rule for this property."""
_UNREAD: Final = "property without a reader"
"""Only the schema that should take less knows this property."""
_HARMLESS: Final = {Role.REQUEST: {_ADDED}, Role.ANSWER: {_UNREAD}}
"""A new field of a request that may be left out, and a new field of an answer: unknown names are reserved."""


def changes(old: Schema, new: Schema, role: Role) -> list[Change]:
    """Every difference between two schemas that matters, breaking ones first."""
    before, after = _plain(old, old), _plain(new, new)
    wide, narrow = (after, before) if role is Role.REQUEST else (before, after)
    judge = _Judge(_HARMLESS[role])
    found = list(dict.fromkeys(judge.reasons(wide, narrow, "")))
    breaking = [reason for reason in found if reason.rule not in judge.harmless]
    fine = [reason for reason in found if reason.rule in judge.harmless]
    known = {(reason.path, reason.rule) for reason in breaking}
    back = dict.fromkeys(_Judge(set()).reasons(narrow, wide, ""))
    fine += [each for each in back if each.rule not in (_ADDED, _UNREAD) and (each.path, each.rule) not in known]
    return [*(_change(each, role, True) for each in breaking), *(_change(each, role, False) for each in fine)]


def _change(reason: _Reason, role: Role, breaking: bool) -> Change:
    if reason.rule in (_ADDED, _UNREAD):
        added = (reason.rule == _ADDED) == (role is Role.REQUEST)
        return Change(reason.path, "properties", "is new" if added else "is gone", breaking)
    verb = "takes" if role is Role.REQUEST else "promises"
    text = f"{reason.rule}: {verb} {'less' if breaking else 'more'}"
    return Change(reason.path, reason.rule, f"{text} ({reason.text})", breaking)


@dataclass(frozen=True, slots=True)
class _Judge:
    """Says why `wide` may refuse a value that `narrow` takes. `harmless` are the rules that do not count."""

    harmless: set[str]

    def takes(self, wide: Schema, narrow: Schema, path: str) -> bool:
        return not self._count(self.reasons(wide, narrow, path))

    def _count(self, reasons: Iterable[_Reason]) -> int:
        return sum(reason.rule not in self.harmless for reason in reasons)

    def reasons(self, wide: Schema, narrow: Schema, path: str) -> Iterator[_Reason]:
        if _same(wide, narrow) or wide == {} or narrow is False:
            return
        if wide is False:
            yield _Reason(path, "false", "nothing is taken")
            return
        if "anyOf" in narrow:
            shared = {name: member for name, member in narrow.items() if name != "anyOf"}
            for branch in narrow["anyOf"]:
                yield from self.reasons(wide, _both(shared, branch), path)
            return
        if "anyOf" in wide and isinstance(narrow.get("type"), list):
            for kind in narrow["type"]:
                yield from self.reasons(wide, narrow | {"type": kind}, path)
            return
        for rule in _split(wide):
            if any(_same(rule, {name: part[name] for name in rule if name in part}) for part in _parts(narrow)):
                continue
            if "anyOf" in rule:
                yield from self._alternatives(rule["anyOf"], narrow, path)
            else:  # each part of `narrow` holds: the one that says most about this rule decides
                yield from min((list(self._rule(rule, part, path)) for part in _parts(narrow)), key=self._count)

    def _alternatives(self, branches: list[Schema], narrow: Schema, path: str) -> Iterator[_Reason]:
        found = [list(self.reasons(branch, narrow, path)) for branch in branches]
        best = min(found, key=self._count)
        if self._count(best):
            yield _Reason(path, "anyOf", "no alternative fits")
        else:
            yield from best

    def _rule(self, wide: Schema, narrow: Schema, path: str) -> Iterator[_Reason]:
        rule = next(iter(wide))
        if _each_named(narrow, rule, wide[rule]):
            return
        if rule == "type":
            kinds, allowed = _kinds(narrow), _kinds(wide)
            if not kinds or not all(_is_kind(kind, allowed) for kind in kinds):
                yield _Reason(path, rule, f"{_listed(kinds)} against {_listed(allowed)}")
        elif rule in ("enum", "const"):
            yield from self._named(wide, narrow, path)
        elif rule in _LOWER or rule in _UPPER:
            yield from self._limit(rule, wide[rule], narrow, path)
        elif rule == "required":
            missing = sorted(set(wide[rule]) - set(narrow.get(rule, ())))
            yield from (_Reason(f"{path}/{name}", rule, "is required on one side only") for name in missing)
        elif rule in ("properties", "additionalProperties"):
            yield from self._members(wide, narrow, path)
        elif rule in ("prefixItems", "items"):
            yield from self._items(wide, narrow, path)
        else:
            yield _Reason(path, rule, "is another one" if rule in narrow else "is on one side only")

    def _named(self, wide: Schema, narrow: Schema, path: str) -> Iterator[_Reason]:
        allowed, given = _named_by(wide), _named_by(narrow)
        assert allowed is not None
        if given is None:
            yield _Reason(path, "enum", "any value against fixed ones")
        elif missing := [value for value in given if not _in(value, allowed)]:
            yield _Reason(path, "enum", ", ".join(json.dumps(value) for value in missing))

    def _limit(self, rule: str, bound: float, narrow: Schema, path: str) -> Iterator[_Reason]:
        given = narrow.get(rule, 0 if rule in ("minLength", "minItems", "minProperties") else None)
        if given is None or (given < bound if rule in _LOWER else given > bound):
            yield _Reason(path, rule, f"{'none' if given is None else given} against {bound}")

    def _members(self, wide: Schema, narrow: Schema, path: str) -> Iterator[_Reason]:
        ours, theirs = wide.get("properties", {}), narrow.get("properties", {})
        others, rest = wide.get("additionalProperties", {}), narrow.get("additionalProperties", {})
        for name, member in ours.items():
            if name in theirs:
                yield from self.reasons(member, theirs[name], f"{path}/{name}")
            elif rest is not False:
                yield _Reason(f"{path}/{name}", _ADDED, "")
        for name in sorted(theirs.keys() - ours.keys()):
            if others == {}:
                yield _Reason(f"{path}/{name}", _UNREAD, "")
            else:
                yield _Reason(f"{path}/{name}", "additionalProperties", "further ones are not taken as they come")
        if not self.takes(others, rest, path):
            yield _Reason(path, "additionalProperties", "further ones are not taken as they come")

    def _items(self, wide: Schema, narrow: Schema, path: str) -> Iterator[_Reason]:
        ours, theirs = wide.get("prefixItems", []), narrow.get("prefixItems", [])
        others, rest = wide.get("items", {}), narrow.get("items", {})
        for place in range(max(len(ours), len(theirs))):
            one = ours[place] if place < len(ours) else others
            other = theirs[place] if place < len(theirs) else rest
            yield from self.reasons(one, other, f"{path}/{place}")
        yield from self.reasons(others, rest, f"{path}/*")


def _plain(schema: Schema, root: Schema, within: tuple[str, ...] = ()) -> Schema:
    """The schema without what only explains it, and with what it refers to in its place.

    A reference to what it stands in itself stays, and is then equal to its like or cannot be judged.
    """
    if schema is True:
        return {}
    if not isinstance(schema, dict):
        return schema
    made = {name: _member(name, value, root, within) for name, value in schema.items() if name not in _ANNOTATIONS}
    reference = made.get("$ref")
    if reference is None or reference in within:
        return made
    target = root
    for name in filter(None, reference.removeprefix("#").split("/")):
        target = target[name]
    del made["$ref"]
    return _both(_plain(target, root, (*within, reference)), made)


def _member(name: str, value: Any, root: Schema, within: tuple[str, ...]) -> Any:
    if name in ("properties", "patternProperties", "dependentSchemas"):
        return {key: _plain(member, root, within) for key, member in value.items()}
    if name in ("allOf", "anyOf", "oneOf", "prefixItems"):
        return [_plain(member, root, within) for member in value]
    if name in ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"):
        return _plain(value, root, within)
    return value


def _both(one: Schema, other: Schema) -> Schema:
    """What takes only what both take."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return False if one is False or other is False else {}
    if one.keys() & other.keys():
        return {"allOf": [one, other]}
    return one | other


def _parts(schema: Schema) -> list[Schema]:
    """Schemas that all hold together where this one does."""
    if not isinstance(schema, dict):
        return []
    own = {name: member for name, member in schema.items() if name != "allOf"}
    return [own, *(part for inner in schema.get("allOf", ()) for part in _parts(inner) if part)]


def _split(schema: Schema) -> Iterator[Schema]:
    """Schemas of one rule each that together are this one."""
    left: dict[str, Any] = dict(schema) if isinstance(schema, dict) else {"false": True}
    for names in _TOGETHER:
        if group := {name: left.pop(name) for name in names if name in left}:
            yield group
    for inner in left.pop("allOf", ()):
        yield from _split(inner)
    yield from ({name: member} for name, member in left.items())


def _kinds(schema: Schema) -> list[str]:
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _listed(kinds: list[str]) -> str:
    return ", ".join(kinds) or "any type"


def _is_kind(kind: str, kinds: list[str]) -> bool:
    return kind in kinds or (kind == "integer" and "number" in kinds)


def _named_by(schema: Schema) -> list[Any] | None:
    """The values that a schema names, or None when it names none."""
    if "const" in schema:
        return [schema["const"]]
    return list(schema["enum"]) if "enum" in schema else None


def _in(value: Any, values: list[Any]) -> bool:
    return any(_same(value, other) for other in values)


def _same(one: Any, other: Any) -> bool:
    """Whether both are the same JSON: to Python, true is 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _each_named(narrow: Schema, rule: str, bound: Any) -> bool:
    """Whether `narrow` names its values, all of them texts, and each keeps this rule."""
    values = _named_by(narrow)
    if values is None or not all(isinstance(value, str) for value in values):
        return False
    if rule == "pattern":
        return all(re.search(bound, value) for value in values)
    if rule in ("minLength", "maxLength"):
        return all(len(value) >= bound if rule == "minLength" else len(value) <= bound for value in values)
    return rule == "type" and "string" in _kinds({"type": bound})
