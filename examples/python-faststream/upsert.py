"""Publishes a request and awaits its answer: `upsert.py CUSTOMER DATE_OF_BIRTH`."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Any
from uuid import uuid4

from faststream.kafka import KafkaBroker

REQUESTS = os.environ.get("REQUEST_TOPIC", "patient.upsert.requested")
COMPLETED = os.environ.get("COMPLETED_TOPIC", "patient.upsert.completed")
FAILED = os.environ.get("FAILED_TOPIC", "patient.upsert.failed")
SOURCE = "/examples/faststream"

broker = KafkaBroker(os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"), logger=None)
waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}


# A group for each instance: an answer goes to all instances, and the one that waits for it takes it.
@broker.subscriber(
    COMPLETED, FAILED, group_id=f"example-faststream-{socket.gethostname()}", auto_offset_reset="earliest"
)
async def receive(answer: dict[str, Any]) -> None:
    """The consumer: hands an answer to whoever awaits it. The same answer may come twice."""
    if answer["request"]["source"] == SOURCE and (future := waiting.pop(answer["request"]["id"], None)):
        future.set_result(answer)


async def upsert(patient: dict[str, Any]) -> dict[str, Any]:
    """The producer: publishes a request and awaits its answer."""
    request_id = str(uuid4())  # keep it with your data: sent again under its id, a request takes effect once
    future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    waiting[request_id] = future
    headers = {"idempotency-key": request_id, "source": SOURCE}
    await broker.publish(patient, REQUESTS, key=patient["customer"].encode(), headers=headers)
    async with asyncio.timeout(30):
        return await future


async def main(customer: str, date_of_birth: str) -> None:
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
    async with broker:
        await broker.start()
        answer = await upsert(patient)
    response = answer["response"]
    if answer["status"] == 200:  # created, updated, unchanged or superseded
        print(answer["outcome"], response["patient"])
    else:
        faults = ", ".join(f"{fault['field']} {fault['code']}" for fault in response["details"])
        print(f"{answer['outcome']} {response['error']}: {faults}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
