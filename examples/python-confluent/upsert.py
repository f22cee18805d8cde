"""Publishes a request and awaits its answer: `upsert.py CUSTOMER DATE_OF_BIRTH`."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, Producer, TopicPartition

SERVERS = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")
REQUESTS = os.environ.get("REQUEST_TOPIC", "patient.upsert.requested")
COMPLETED = os.environ.get("COMPLETED_TOPIC", "patient.upsert.completed")
FAILED = os.environ.get("FAILED_TOPIC", "patient.upsert.failed")
SOURCE = "/examples/confluent"


def publish(patient: dict[str, Any]) -> str:
    """The producer: publishes a request; its id."""
    request_id = str(uuid4())  # keep it with your data: sent again under its id, a request takes effect once
    # By librdkafka's default this customer's requests would lie in another partition than those of other clients.
    producer = Producer({"bootstrap.servers": SERVERS, "partitioner": "murmur2_random", "enable.idempotence": True})
    headers: dict[str, str | bytes | None] = {"idempotency-key": request_id, "source": SOURCE}
    faults: list[Any] = []
    producer.produce(
        REQUESTS,
        json.dumps(patient).encode(),
        key=patient["customer"],
        headers=headers,
        on_delivery=lambda error, _: faults.append(error) if error else None,
    )
    if producer.flush(30) or faults:
        raise SystemExit(f"not published: {faults}")
    return request_id


def open_consumer() -> Consumer:
    """The consumer: reads all partitions of both topics from now on. A group has to be named, but is not joined."""
    consumer = Consumer({"bootstrap.servers": SERVERS, "group.id": "example", "enable.auto.commit": False})
    places = []
    for topic in (COMPLETED, FAILED):
        for partition in consumer.list_topics(topic, timeout=30).topics[topic].partitions:
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
            places.append(TopicPartition(topic, partition, end))
    consumer.assign(places)
    return consumer


def await_answer(consumer: Consumer, request_id: str) -> dict[str, Any]:
    """The answer to this request. Others pass by; the same answer may come twice."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        record = consumer.poll(1)
        if record is None:
            continue
        if record.error():
            raise SystemExit(str(record.error()))
        answer: dict[str, Any] = json.loads(record.value() or b"")
        if (answer["request"]["source"], answer["request"]["id"]) == (SOURCE, request_id):
            return answer
    raise SystemExit("no answer in 30 seconds: does the worker run?")


def main(customer: str, date_of_birth: str) -> None:
    patient = {
        "customer": customer,
        "firstName": "Zoë",
        "lastName": "Sample",
        "dateOfBirth": date_of_birth,
        "gender": "female",
        "phone": "+1 (202) 555-0143",
        "email": "zoe.sample@clinic.example",
        "address": "12 Invented Street",
        "address2": None,
        "city": "Springfield",
        "state": "OR",
        "postalCode": "97475",
        "country": "US",
    }
    consumer = open_consumer()  # before publishing: the answer may come at once
    answer = await_answer(consumer, publish(patient))
    consumer.close()
    response = answer["response"]
    if answer["status"] == 200:  # created, updated, unchanged or superseded
        print(answer["outcome"], response["patient"])
    else:
        faults = ", ".join(f"{fault['field']} {fault['code']}" for fault in response["details"])
        print(f"{answer['outcome']} {response['error']}: {faults}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
