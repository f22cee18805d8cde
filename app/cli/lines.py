"""What `send` reads: files of requests, each turned into a record. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from app.consumer.requester import Outbound
from app.errors import WorkerError
from app.model import Headers


class NotSendable(WorkerError):
    """A line cannot be sent; the text says which, and `why`. It never shows the line."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.why = why


def read_requests(name: str, text: str) -> Iterator[Outbound]:
    """The requests in a file: JSON Lines, or JSON with one object or an array of them.

    An object is one of: the REST body; a CloudEvent in structured form (it has `specversion`); or `{"record": {…}}`,
    a record given as it is: `key`, `headers` (name to text, or a list of pairs), and `value`, `value_text` or
    `value_base64`. Of keys and headers, `key_base64` and pairs with an object `{"base64": …}` may hold any bytes.

    Raises:
        NotSendable: the file holds something else.
    """
    try:
        whole = parse(name, text)
    except NotJson:
        pass
    else:
        for number, item in enumerate(whole if isinstance(whole, list) else [whole], start=1):
            yield request_of(f"{name}, request {number}", item)
        return
    for number, line in enumerate(text.split("\n"), start=1):  # JSON may hold other line separators, as U+2028
        if line.strip():
            yield request_of(f"{name}, line {number}", parse(f"{name}, line {number}", line))


class NotJson(NotSendable):
    """As a whole it is not JSON; its lines may be."""


def parse(where: str, text: str) -> Any:
    """The JSON in this text. Raises NotSendable."""
    try:
        return json.loads(text)
    except ValueError:
        raise NotJson(where, "is not JSON") from None
    except RecursionError:
        raise NotSendable(where, "is nested too deeply") from None


def is_body(item: Any) -> bool:
    """Whether this is the REST body, and neither an event nor a record."""
    return isinstance(item, dict) and "specversion" not in item and not _is_record(item)


def _is_record(item: dict[str, Any]) -> bool:
    return set(item) == {"record"} and isinstance(item["record"], dict)


def request_of(where: str, item: Any) -> Outbound:
    """The record that an object of the file is sent as. Raises NotSendable."""
    if not isinstance(item, dict):
        raise NotSendable(where, "must be a JSON object")
    if _is_record(item):
        return _record(where, item["record"])
    value = _json(item)
    if "specversion" in item:
        data = item.get("data")
        customer = item.get("subject") or (data.get("customer") if isinstance(data, dict) else None)
        return Outbound(_text(customer), value, (("content-type", b"application/cloudevents+json"),))
    return Outbound(_text(item.get("customer")), value)


def _record(where: str, record: dict[str, Any]) -> Outbound:
    unknown = set(record) - {"key", "key_base64", "headers", "value", "value_text", "value_base64"}
    if unknown:
        raise NotSendable(where, "a record has key, key_base64, headers, value, value_text, value_base64 only")
    key = _bytes(where, record["key_base64"]) if "key_base64" in record else _text(record.get("key"))
    if "value_base64" in record:
        value: bytes | None = _bytes(where, record["value_base64"])
    elif "value_text" in record:
        value = _text(record["value_text"])
    else:
        given = record.get("value")
        value = None if given is None else _json(given)
    return Outbound(key, value, _headers(where, record.get("headers", {})))


def _headers(where: str, headers: Any) -> Headers:
    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    try:
        given = tuple((str(name), _header_value(where, value)) for name, value in pairs)
        for name, _ in given:
            name.encode()
    except UnicodeEncodeError:
        raise NotSendable(where, "the name of a header holds half a character") from None
    except (TypeError, ValueError):
        raise NotSendable(where, "headers must be an object, or a list of pairs") from None
    return given


def _header_value(where: str, value: Any) -> bytes | None:
    return _bytes(where, value.get("base64")) if isinstance(value, dict) else _text(value)


def _json(value: Any) -> bytes:
    """The value as JSON in UTF-8. Half a surrogate pair stays escaped, as it was: it has no form in UTF-8."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def _text(value: Any) -> bytes | None:
    return None if value is None else str(value).encode("utf-8", "surrogatepass")


def _bytes(where: str, value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise NotSendable(where, "what is called base64 must be base64") from None
