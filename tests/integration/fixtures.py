"""The published fixtures, as `contracts/fixtures/README.md` explains them: read, published, compared. Pure.

Nothing here knows the worker, so that it can be read as a pattern for a runner in another language. `request` turns a
record of a case into bytes to publish, `Comparison` tells how an answer differs from the one that is expected.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[2] / "contracts" / "fixtures"
SCHEMA: Final = "schema.json"

_PLACEHOLDER: Final = re.compile(r"\$\{([a-z.-]+)(?::([a-z0-9-]+))?\}")
_PATIENT: Final = re.compile(r"pat_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_NUMBERED: Final = re.compile(r"(.*?)(\d+)")
_ANSWER_IDS: Final = uuid.UUID("a37b0ae3-a2aa-5c21-8a8c-69180bc39067")

Header = tuple[bytes, bytes | None]


@dataclass(frozen=True, slots=True)
class Case:
    """One case; `name` is that of its file and its own."""

    name: str
    description: str
    rules: tuple[str, ...]
    settings: Mapping[str, str]
    before: Mapping[str, list[dict[str, Any]]]
    records: tuple[Mapping[str, Any], ...]


def files(folder: Path = FOLDER) -> Iterator[tuple[str, Any]]:
    """The name of each file of cases, and what it holds."""
    for path in sorted(folder.glob("*.json")):
        if path.name != SCHEMA:
            yield path.stem, json.loads(path.read_text(encoding="utf-8"))


def cases(folder: Path = FOLDER) -> list[Case]:
    """Every case of every file."""
    return [
        Case(
            name=f"{name}/{case['name']}",
            description=case["description"],
            rules=tuple(case["rules"]),
            settings=case.get("settings", {}),
            before=case.get("before", {"customers": [], "patients": []}),
            records=tuple(case["records"]),
        )
        for name, content in files(folder)
        for case in content["cases"]
    ]


@dataclass(frozen=True, slots=True)
class Sent:
    """A record as bytes, to be published. Without a timestamp it has that of its publication."""

    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    timestamp: int | None


@dataclass(frozen=True, slots=True)
class Received:
    """A record of an answer or dead letter topic."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]

    def header(self, name: str) -> str | None:
        """The text of the first header of this name."""
        return next((value.decode() for key, value in self.headers if key == name.encode() and value), None)


def request(record: Mapping[str, Any], names: Mapping[str, str]) -> Sent:
    """The record to publish; `names` holds the place-holders that are known before: topics and group."""
    return Sent(
        key=_key(record),
        value=_value(record),
        headers=headers_of(record.get("headers", []), names),
        timestamp=record.get("timestamp"),
    )


def _key(record: Mapping[str, Any]) -> bytes | None:
    return _base64(record["key_base64"]) if "key_base64" in record else _text(record["key"])


def _value(record: Mapping[str, Any]) -> bytes | None:
    if "value_base64" in record:
        return _base64(record["value_base64"])
    if "value_text" in record:
        return _text(record["value_text"])
    if "value_parts" in record:
        return "".join(part["text"] * part.get("times", 1) for part in record["value_parts"]).encode()
    return None if record["value"] is None else json.dumps(record["value"], ensure_ascii=False).encode()


def headers_of(pairs: list[list[Any]], names: Mapping[str, str]) -> tuple[Header, ...]:
    """Headers as bytes: a name or value is a text, or `{"base64": …}`; a value may be null."""
    return tuple((_header_part(name, names) or b"", _header_part(value, names)) for name, value in pairs)


def _header_part(part: Any, names: Mapping[str, str]) -> bytes | None:
    return _base64(part["base64"]) if isinstance(part, dict) else _text(filled(part, names))


def _text(value: str | None) -> bytes | None:
    return None if value is None else value.encode()


def _base64(value: str) -> bytes:
    return base64.b64decode(value, validate=True)


def filled(value: Any, names: Mapping[str, str]) -> Any:
    """The JSON value with every place-holder in it that has a name here; others stay as they are."""
    if isinstance(value, dict):
        return {key: filled(member, names) for key, member in value.items()}
    if isinstance(value, list):
        return [filled(member, names) for member in value]
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda found: names.get(found[1], found[0]), value)
    return value


def with_place(names: Mapping[str, str], partition: int, offset: int, timestamp: int) -> dict[str, str]:
    """The names with the place at which a record was published."""
    return {**names, "partition": str(partition), "offset": str(offset), "timestamp": str(timestamp)}


def place_of(headers: tuple[Header, ...]) -> tuple[bytes | None, ...]:
    """Topic, partition and offset of the request that an answer with these headers is for."""
    return _values(headers, "request-topic", "request-partition", "request-offset")


def letter_of(headers: tuple[Header, ...]) -> tuple[bytes | None, ...]:
    """Topic, partition and offset of the request that was made a dead letter with these headers."""
    return _values(headers, "__dlq.errors.topic", "__dlq.errors.partition", "__dlq.errors.offset")


def _values(headers: tuple[Header, ...], *names: str) -> tuple[bytes | None, ...]:
    found = dict(headers)
    return tuple(found.get(name.encode()) for name in names)


@dataclass(slots=True)
class Comparison:
    """The answers of one case, compared one after the other: made values that have one name must be one value.

    `earliest` and `latest` bound the times that the worker makes.
    """

    earliest: datetime
    latest: datetime
    made: dict[tuple[str, str], str] = field(default_factory=dict)
    _answer_id: str = ""

    def answer(self, expected: Mapping[str, Any], received: Received, names: Mapping[str, str]) -> list[str]:
        """How an answer differs from what is expected of it; empty when it does not."""
        value = json.loads(received.value or b"null")
        self._answer_id = answer_id(received, value, names["timestamp"])
        wrong = [] if _key(expected) == received.key else [f"key: expected {_key(expected)!r}, was {received.key!r}"]
        return [
            *wrong,
            *self._topic_and_headers(expected, received, names),
            *self._same("value", filled(expected["value"], names), value),
        ]

    def dead_letter(
        self, expected: Mapping[str, Any], received: Received, sent: Sent, names: Mapping[str, str]
    ) -> list[str]:
        """How a dead letter differs from what is expected of it: key and value are those of the request."""
        wrong = [] if received.value == sent.value else ["value: is not that of the request, byte for byte"]
        wrong += [] if received.key == sent.key else ["key: is not that of the request"]
        return [*wrong, *self._topic_and_headers(expected, received, names)]

    def _topic_and_headers(
        self, expected: Mapping[str, Any], received: Received, names: Mapping[str, str]
    ) -> list[str]:
        wrong = self._same("topic", filled(expected["topic"], names), received.topic)
        # by name only: the order of headers with different names is not promised
        given = sorted(headers_of(expected["headers"], names), key=lambda header: header[0])
        there = sorted(received.headers, key=lambda header: header[0])
        if [name for name, _ in given] != [name for name, _ in there]:
            return [*wrong, f"headers: expected {[name for name, _ in given]}, were {[name for name, _ in there]}"]
        for (name, value), (_, was) in zip(given, there, strict=True):
            where = f"header {name!r}"
            if value is None or was is None or not _PLACEHOLDER.fullmatch(value.decode("latin-1")):
                wrong += [] if value == was else [f"{where}: expected {value!r}, was {was!r}"]
            else:
                wrong += self._made(where, value.decode(), was.decode(errors="replace"))
        return wrong

    def _same(self, where: str, expected: Any, was: Any) -> list[str]:
        """Compared as JSON, with the order of members: what is written down is what the worker publishes."""
        if isinstance(expected, dict) and isinstance(was, dict):
            if list(expected) != list(was):
                return [f"{where}: expected the members {list(expected)}, were {list(was)}"]
            return [fault for key in expected for fault in self._same(f"{where}/{key}", expected[key], was[key])]
        if isinstance(expected, list) and isinstance(was, list) and len(expected) == len(was):
            pairs = enumerate(zip(expected, was, strict=True))
            return [fault for at, (one, other) in pairs for fault in self._same(f"{where}/{at}", one, other)]
        if isinstance(expected, str) and isinstance(was, str) and _PLACEHOLDER.fullmatch(expected):
            return self._made(where, expected, was)
        same = type(expected) is type(was) and expected == was
        return [] if same else [f"{where}: expected {expected!r}, was {was!r}"]

    def _made(self, where: str, expected: str, was: str) -> list[str]:
        """A value that the worker makes: of its form, and the same wherever it has the same name."""
        found = _PLACEHOLDER.fullmatch(expected)
        assert found is not None
        kind, name = found[1], found[2]
        if not self._well_formed(kind, was):
            return [f"{where}: {was!r} is no {expected}"]
        if name is None:
            return []
        if (known := self.made.setdefault((kind, name), was)) != was:
            return [f"{where}: {expected} was {known!r} before, and is {was!r} here"]
        return [f"{where}: {expected} {problem}" for problem in self._against_others(kind, name, was)]

    def _well_formed(self, kind: str, was: str) -> bool:
        if kind == "patient":
            return _PATIENT.fullmatch(was) is not None
        if kind == "time":
            return _TIME.fullmatch(was) is not None and self.earliest <= datetime.fromisoformat(was) <= self.latest
        return kind == "answer-id" and was == self._answer_id

    def _against_others(self, kind: str, name: str, was: str) -> Iterator[str]:
        """Ids of different names differ; of times whose names differ in their number, the higher is later."""
        for (other_kind, other), value in self.made.items():
            if other_kind != kind or other == name:
                continue
            if kind != "time":
                if value == was:
                    yield f"is the same as {other}"
                continue
            mine, theirs = _NUMBERED.fullmatch(name), _NUMBERED.fullmatch(other)
            if mine and theirs and mine[1] == theirs[1]:
                earlier, later = (was, value) if int(mine[2]) < int(theirs[2]) else (value, was)
                if earlier >= later:
                    yield f"does not lie as it should beside {other}"


def answer_id(received: Received, value: Any, timestamp: str) -> str:
    """The id that this answer must have: by source, id and bytes, else by the place of the request."""
    asked = value["request"] if isinstance(value, dict) else {}
    source, id = asked.get("source"), asked.get("id")
    if source is None or id is None:
        topic, partition, offset = (received.header(f"request-{part}") for part in ("topic", "partition", "offset"))
        source, id = f"kafka:{topic}", f"{topic}/{partition}/{offset}@{timestamp}"
    return id_of(source, id, received.value or b"")


def id_of(source: str, id: str, value: bytes) -> str:
    """The UUID of version 5 that stands for these bytes in answer to this request."""
    return str(uuid.uuid5(_ANSWER_IDS, f"{source}\n{id}\n{value.decode()}"))
