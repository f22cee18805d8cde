"""What may be shown of an answer: no health data, unless it is asked for. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import orjson

from app.model import Record, from_milliseconds
from app.response import timestamp

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_POSITION: Final = re.compile(r"\d{1,10}/\d{1,19}")
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_CODE: Final = re.compile(r"[a-z0-9_]{1,50}")


@dataclass(frozen=True, slots=True, repr=False)
class Seen:
    """What may be shown of an answer without showing health data, and apart from it the response."""

    record: Record
    status: int | None = None
    """None, as all below, for a record that is not an answer of this worker."""
    outcome: str | None = None
    request: dict[str, str | None] | None = None
    error: str | None = None
    details: tuple[tuple[str, str], ...] = ()
    response: Any = None

    @property
    def customer(self) -> str | None:
        """Whose it is."""
        return self.request["customer"] if self.request else None

    @property
    def replayed(self) -> bool:
        """Whether its bytes came from the store."""
        return ("replayed", b"true") in self.record.headers

    @property
    def place(self) -> str | None:
        """Partition and offset of the request, as the headers of every answer tell them."""
        told = [value for name, value in self.record.headers if name in ("request-partition", "request-offset")]
        place = b"/".join(value or b"" for value in told).decode("ascii", "replace")
        return place if _POSITION.fullmatch(place) else None

    @property
    def topic(self) -> str:
        """The topic of the request, as those headers tell it; empty where it is no name of a topic."""
        told = dict(self.record.headers).get("request-topic") or b""
        name = told.decode("ascii", "replace")
        return name if _TOPIC.fullmatch(name) else ""

    def line(self, *, values: bool) -> dict[str, Any]:
        """The answer as one line of JSON."""
        place = self.record.position
        line: dict[str, Any] = {
            "time": timestamp(from_milliseconds(place.timestamp)),
            "topic": place.topic,
            "partition": place.partition,
            "offset": place.offset,
            "status": self.status,
            "outcome": self.outcome,
            "request": self.request,
            "error": self.error,
            "details": [{"field": field, "code": code} for field, code in self.details],
            "replayed": self.replayed,
        }
        return line | {"response": self.response} if values else line


def seen(record: Record) -> Seen:
    """Read an answer. Anyone may write to a topic, so what has not the form of ours is not looked into."""
    try:
        envelope = orjson.loads(record.value or b"")
        asked, body = envelope["request"], envelope["response"]
        return Seen(
            record,
            status=_of(int, envelope["status"]),
            outcome=_code(envelope["outcome"]),
            request={name: None if asked[name] is None else _id(asked[name]) for name in ("id", "source", "customer")},
            error=_code(body["error"]) if "error" in body else None,
            details=tuple((_id(detail["field"]), _code(detail["code"])) for detail in body.get("details", ())),
            response=body,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return Seen(record)


def _of(kind: type[Any], value: Any) -> Any:
    if type(value) is not kind:
        raise ValueError
    return value


def _code(value: Any) -> str:
    if not _CODE.fullmatch(_of(str, value)):
        raise ValueError
    return str(value)


def _id(value: Any) -> str:
    """An id or a JSON Pointer: neither holds control characters, which a terminal might obey."""
    if len(_of(str, value)) > 1000 or _CONTROL.search(value):
        raise ValueError
    return str(value)
