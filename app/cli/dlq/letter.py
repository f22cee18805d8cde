"""What may be shown of a dead letter or a refusal, and which ones are meant. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from app.cli.watch.seen import seen
from app.consumer.letters import Extent
from app.envelope import identify, open_envelope
from app.errors import SENTENCES, ErrorCode
from app.model import Position, Record, from_milliseconds
from app.response import timestamp
from app.settings import Settings

MESSAGE: Final = "__dlq.errors.message"
_CODES: Final = {sentence.encode(): code.value for code, sentence in SENTENCES.items()}
"""The code of each text that a letter can bear. Any other text is not ours and is not shown."""


@dataclass(frozen=True, slots=True, repr=False)
class Shown:
    """A letter or a refusal, with what may be shown of its request without showing health data."""

    record: Record
    id: str | None
    source: str | None
    customer: str | None
    place: Position | None
    """Where the request lay; None where the letter does not say so rightly."""
    codes: tuple[str, ...]
    """The error first, then what was wrong in particular."""
    fields: tuple[str, ...] = ()
    """For each code but the first: a JSON Pointer to what it is about."""
    done: bool = False

    @property
    def where(self) -> str:
        """Partition and offset in the topic that it lies in: its name on the command line."""
        return f"{self.record.position.partition}/{self.record.position.offset}"

    @property
    def text(self) -> str:
        """One line for people."""
        place = f"{self.place.partition}/{self.place.offset}" if self.place else "-"
        about = [f"{field} {code}".strip() for field, code in zip(self.fields, self.codes[1:], strict=True)]
        told = f"{self.codes[0] if self.codes else '-'}{': ' if about else ''}{', '.join(about)}"
        asked = f"{self.customer or '-'}  {self.id or '-'}"
        return f"{self.where}  {_time(self.record)}  {asked}  request {place}  {told}{'  done' if self.done else ''}"

    def line(self, *, values: bool = False) -> dict[str, Any]:
        """One object for programs."""
        place = self.record.position
        line: dict[str, Any] = {
            "topic": place.topic,
            "partition": place.partition,
            "offset": place.offset,
            "time": _time(self.record),
            "request": {"id": self.id, "source": self.source, "customer": self.customer},
            "place": None if self.place is None else self.place._asdict(),
            "error": self.codes[0] if self.codes else None,
            "details": [
                {"field": field, "code": code} for field, code in zip(self.fields, self.codes[1:], strict=True)
            ],
            "done": self.done,
        }
        return line | {"record": sendable(self.record)} if values else line


def _time(record: Record) -> str:
    return timestamp(from_milliseconds(record.position.timestamp))


def letter_of(record: Record, settings: Settings, *, done: bool = False) -> Shown:
    """A record of the dead letter topic. What has not passed its rule is left out."""
    asked = as_request(record)
    envelope = open_envelope(asked, customer_from_key=settings.customer_from_key)
    identity = identify(envelope, owner=None, pattern=re.compile(settings.customer_pattern))
    code = _CODES.get(_header(record, MESSAGE) or b"")
    return Shown(
        record,
        id=envelope.id if envelope.id != asked.position.id else None,
        source=identity.source,
        customer=identity.customer,
        place=envelope.position if envelope.replayed_letter else None,
        codes=(ErrorCode.INTERNAL_ERROR.value, code) if code else (),
        fields=("",) if code else (),
        done=done,
    )


def as_request(letter: Record, behind: int | None = None, now: int | None = None) -> Record:
    """The letter as the request it becomes: in the topic and partition that it names, behind all that lie there.

    `behind` is the offset that it would have, and `now` its time (Unix milliseconds), where that matters.
    """
    topic, partition = _header(letter, "__dlq.errors.topic"), _header(letter, "__dlq.errors.partition")
    own = letter.position
    known = topic is not None and partition is not None and partition.isdigit() and len(partition) < 10
    place = Position(
        topic.decode(errors="replace") if known and topic is not None else own.topic,
        int(partition) if known and partition is not None else own.partition,
        behind if behind is not None else 10**18,
        now if now is not None else own.timestamp,
    )
    return Record(place, letter.key, letter.value, letter.headers, letter.undecodable)


def _header(record: Record, name: str) -> bytes | None:
    return next((value for key, value in record.headers if key == name), None)


def refusal_of(record: Record) -> Shown | None:
    """A record of the failed topic, if it is the answer to a request that was refused."""
    answer = seen(record)
    if answer.error is None or answer.request is None or answer.outcome != "rejected":
        return None
    place = (answer.place or "").split("/")
    return Shown(
        record,
        id=answer.request["id"],
        source=answer.request["source"],
        customer=answer.customer,
        place=Position(answer.topic, int(place[0]), int(place[1]), -1) if len(place) == 2 else None,
        codes=(answer.error, *(code for _, code in answer.details)),
        fields=tuple(field for field, _ in answer.details),
    )


@dataclass(frozen=True, slots=True, repr=False)
class Chosen:
    """Which letters are meant: those that fit everything that is given."""

    code: str | None = None
    customer: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    offsets: Mapping[int, tuple[tuple[int, int], ...]] | None = None
    """By partition, from a first to a last one."""

    @property
    def all(self) -> bool:
        """Whether nothing is given."""
        return self == Chosen()

    def has(self, letter: Shown) -> bool:
        """Whether this one is meant."""
        time = from_milliseconds(letter.record.position.timestamp)
        return (
            (self.code is None or self.code in letter.codes)
            and (self.customer is None or self.customer == letter.customer)
            and (self.since is None or time >= self.since)
            and (self.until is None or time < self.until)
            and (self.offsets is None or self._names(letter.record.position))
        )

    def _names(self, place: Position) -> bool:
        assert self.offsets is not None
        return any(first <= place.offset <= last for first, last in self.offsets.get(place.partition, ()))


def starts(chosen: Chosen, extent: Extent) -> dict[int, int]:
    """Where to begin to read each partition that is meant."""
    if chosen.offsets is None:
        return dict(extent.begins)
    named = chosen.offsets
    return {number: min(first for first, _ in named[number]) for number in extent.begins if number in named}


def sendable(record: Record) -> dict[str, Any]:
    """The record itself, in the form that `patient-upsert send` reads: health data."""
    given: dict[str, Any] = {"headers": [[name, _text_or_base64(value)] for name, value in record.headers]}
    if record.key is None or _text(record.key) is not None:
        given["key"] = None if record.key is None else _text(record.key)
    else:
        given["key_base64"] = base64.b64encode(record.key).decode()
    if record.value is None:
        given["value"] = None
    elif (text := _text(record.value)) is not None:
        given["value_text"] = text
    else:
        given["value_base64"] = base64.b64encode(record.value).decode()
    return given


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _text_or_base64(value: bytes | None) -> Any:
    if value is None or (text := _text(value)) is None:
        return None if value is None else {"base64": base64.b64encode(value).decode()}
    return text
