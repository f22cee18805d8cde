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
    """A line cannot be sent; the text says which, and why. It never shows the line."""


def read_requests(name: str, text: str) -> Iterator[Outbound]:
    """The requests in a file: JSON Lines, or JSON with one object or an array of them.

    An object is one of: the REST body; a CloudEvent in structured form (it has `specversion`); or `{"record": {…}}`,
    a record given as it is: `key`, `headers` (name to text, or a list of pairs), and `value`, `value_text` or
    `value_base64`. Of keys and headers, `key_base64` and pairs with an object `{"base64": …}` may hold any bytes.

    Raises:
        NotSendable: the file holds something else.
    """
    try:
        whole = json.loads(text)
    except ValueError:
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                yield _request(f"{name}, line {number}", _parsed(f"{name}, line {number}", line))
        return
    for number, item in enumerate(whole if isinstance(whole, list) else [whole], start=1):
        yield _request(f"{name}, request {number}", item)


def _parsed(where: str, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        raise NotSendable(f"{where}: is not JSON") from None


def _request(where: str, item: Any) -> Outbound:
    if not isinstance(item, dict):
        raise NotSendable(f"{where}: must be a JSON object")
    if set(item) == {"record"} and isinstance(item["record"], dict):
        return _record(where, item["record"])
    value = json.dumps(item, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if "specversion" in item:
        data = item.get("data")
        customer = item.get("subject") or (data.get("customer") if isinstance(data, dict) else None)
        return Outbound(_text(customer), value, (("content-type", b"application/cloudevents+json"),))
    return Outbound(_text(item.get("customer")), value)


def _record(where: str, record: dict[str, Any]) -> Outbound:
    unknown = set(record) - {"key", "key_base64", "headers", "value", "value_text", "value_base64"}
    if unknown:
        raise NotSendable(f"{where}: a record has key, key_base64, headers, value, value_text, value_base64 only")
    key = _bytes(where, record["key_base64"]) if "key_base64" in record else _text(record.get("key"))
    if "value_base64" in record:
        value: bytes | None = _bytes(where, record["value_base64"])
    elif "value_text" in record:
        value = str(record["value_text"]).encode()
    else:
        given = record.get("value")
        value = None if given is None else json.dumps(given, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return Outbound(key, value, _headers(where, record.get("headers", {})))


def _headers(where: str, headers: Any) -> Headers:
    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    try:
        return tuple((str(name), _header_value(where, value)) for name, value in pairs)
    except (TypeError, ValueError):
        raise NotSendable(f"{where}: headers must be an object, or a list of pairs") from None


def _header_value(where: str, value: Any) -> bytes | None:
    return _bytes(where, value.get("base64")) if isinstance(value, dict) else _text(value)


def _text(value: Any) -> bytes | None:
    return None if value is None else str(value).encode("utf-8", "surrogatepass")


def _bytes(where: str, value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise NotSendable(f"{where}: what is called base64 must be base64") from None
