"""confluent-kafka and the CloudEvents SDK of Python: see tests/clients/README.md."""

from __future__ import annotations

import base64
import json
import sys
import warnings
from datetime import datetime
from typing import Any

from cloudevents.core.bindings.kafka import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from confluent_kafka import Message, Producer


def written(one: dict[str, Any]) -> tuple[dict[str, bytes], bytes]:
    """Headers and value as the SDK gives them."""
    attributes = {**one["event"], "datacontenttype": "application/json"}
    data = attributes.pop("data", None)
    if "data_base64" in attributes:
        data = base64.b64decode(attributes.pop("data_base64"))
    if one["with"] == "cloudevents v1":
        return written_v1(one["mode"], attributes, data)
    event = CloudEvent({**attributes, "time": datetime.fromisoformat(attributes["time"])}, data)
    message = to_binary_event(event) if one["mode"] == "binary" else to_structured_event(event)
    return message.headers, message.value if isinstance(message.value, bytes) else message.value.encode()


def written_v1(mode: str, attributes: dict[str, Any], data: Any) -> tuple[dict[str, bytes], bytes]:
    """The interface of version 1, which version 2 keeps: in structured mode it labels the event as its data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cloudevents.v1.http import CloudEvent as Version1
        from cloudevents.v1.kafka import to_binary, to_structured

        message = (to_binary if mode == "binary" else to_structured)(Version1(attributes, data))
    return message.headers, message.value if isinstance(message.value, bytes) else message.value.encode()


def main() -> None:
    """Publish the cases on stdin; their places on stdout."""
    task = json.load(sys.stdin)
    places: list[dict[str, int]] = []

    def noting(error: Any, message: Message) -> None:
        assert error is None, error
        places.append({"partition": message.partition() or 0, "offset": message.offset() or 0})

    config = {"bootstrap.servers": task["bootstrap"]}
    producers = {False: Producer(config), True: Producer({**config, "partitioner": "murmur2_random"})}
    for one in task["cases"]:
        headers, value = written(one) if "event" in one else ({}, one["value"].encode())
        named: Any = {**headers, **{name: text.encode() for name, text in one.get("headers", {}).items()}}
        producer = producers["murmur2" in one["with"]]
        producer.produce(task["topic"], value, one.get("key"), headers=named, on_delivery=noting)
        producer.flush()
    json.dump(places, sys.stdout)


if __name__ == "__main__":
    main()
