"""The naive contestant: the handler as FastStream's tutorial has it, one record and one transaction at a time.

It stands for what a team writes in an afternoon: the same tables, the same answers in kind (one 200 or 400 a request,
the stored answer for a request that is sent again), the offset committed after the publication. It lacks most of what
the worker promises: order after a crash, stale events, records that cannot be decoded, rules for texts.

    python -m bench.naive          with the worker's own settings in the environment
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import orjson
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage
from pydantic import BaseModel, EmailStr, Field, PastDate, ValidationError

from app.settings import Settings, load_settings

_FIND: Final = "select answer from requests where key = $1"
_CUSTOMER: Final = """
    insert into customers (
        customer, email, first_name, last_name, phone, patient, patient_first_name, patient_last_name, date_of_birth,
        gender, address, address2, city, state, postal_code, country, effective_at, patient_created_at,
        patient_updated_at
    ) values ($1, $2, $3, $4, $5, $6, $3, $4, $7, $8, $9, $10, $11, $12, $13, $14, now(), now(), now())
    on conflict (customer) do update set
        email = excluded.email, phone = excluded.phone, patient_first_name = excluded.first_name,
        patient_last_name = excluded.last_name, date_of_birth = excluded.date_of_birth, gender = excluded.gender,
        address = excluded.address, address2 = excluded.address2, city = excluded.city, state = excluded.state,
        postal_code = excluded.postal_code, country = excluded.country, effective_at = now(), updated_at = now(),
        patient_updated_at = now()
    returning
        customer, email, first_name, last_name, billing_address_id, phone, has_account, created_at, updated_at,
        patient, version
"""
_ANSWER: Final = """
    insert into requests (
        key, source, id, customer, record_topic, record_partition, record_offset, record_timestamp, fingerprint,
        outcome, answer, received_at
    ) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, now())
"""


class PatientRequest(BaseModel):
    """The REST body."""

    customer: str = Field(min_length=1, max_length=255)
    firstName: str = Field(min_length=1, max_length=200)  # noqa: N815 - names of the REST operation
    lastName: str = Field(min_length=1, max_length=200)  # noqa: N815
    dateOfBirth: PastDate  # noqa: N815
    gender: str | None = None
    phone: str = Field(min_length=3, max_length=40)
    email: EmailStr | None = None
    address: str = Field(min_length=1, max_length=300)
    address2: str | None = None
    city: str = Field(min_length=1, max_length=100)
    state: str = Field(max_length=100)
    postalCode: str = Field(max_length=100)  # noqa: N815
    country: str = Field(min_length=1, max_length=100)


def create_app(settings: Settings) -> FastStream:
    """The application."""
    broker = KafkaBroker(
        settings.kafka_bootstrap_servers,
        acks="all",
        enable_idempotence=True,
        allow_auto_create_topics=False,
        logger=None,
    )
    app = FastStream(broker, logger=None)
    pool: asyncpg.Pool[Any]

    @app.on_startup
    async def connect() -> None:
        nonlocal pool
        pool = await asyncpg.create_pool(settings.database_url.get_secret_value(), min_size=1, max_size=4)

    @app.after_shutdown
    async def disconnect() -> None:
        await pool.close()

    @broker.subscriber(
        settings.request_topic,
        group_id=settings.group_id,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.MANUAL,
        decoder=_raw,
    )
    async def upsert(body: bytes, message: KafkaMessage) -> None:
        asked = {"id": message.headers.get("ce_id"), "source": message.headers.get("ce_source")}
        try:
            request = PatientRequest.model_validate_json(body)
        except ValidationError as error:
            details = [
                {"field": "/" + "/".join(map(str, fault["loc"])), "code": fault["type"]}
                for fault in error.errors(include_input=False, include_url=False, include_context=False)
            ]
            answer = _envelope(400, "rejected", asked, {"error": "validation_failed", "details": details})
            topic = settings.failed_topic
        else:
            async with pool.acquire() as connection, connection.transaction():
                answer = await _apply(connection, request, message, {**asked, "customer": request.customer})
            topic = settings.completed_topic
        raw: Any = message.raw_message
        headers = {
            "request-topic": raw.topic,
            "request-partition": str(raw.partition),
            "request-offset": str(raw.offset),
            "ce_specversion": "1.0",
            "ce_id": str(uuid.uuid4()),
            "ce_source": "/patient-upsert",
            "ce_type": topic,
            "ce_time": datetime.now(UTC).isoformat(),
            "content-type": "application/json",
        }
        await broker.publish(answer, topic, key=raw.key, headers=headers)
        await message.ack()

    return app


async def _raw(message: KafkaMessage) -> bytes:
    return message.body


async def _apply(connection: Any, request: PatientRequest, message: KafkaMessage, asked: dict[str, Any]) -> bytes:
    """The effect of one request and its answer, which is stored with it."""
    key = hashlib.sha256(f"{asked['source']}\n{asked['id']}".encode()).digest()[:16]
    if (stored := await connection.fetchval(_FIND, key)) is not None:
        return bytes(stored)
    row = dict(await connection.fetchrow(
        _CUSTOMER, request.customer, request.email, request.firstName, request.lastName, request.phone,
        f"pat_{uuid.uuid4()}", request.dateOfBirth, request.gender, request.address, request.address2, request.city,
        request.state, request.postalCode, request.country,
    ))  # fmt: skip
    outcome = "created" if row.pop("version") == 1 else "updated"
    body = {**request.model_dump(), "deleted_at": None, "metadata": {}, **row}
    answer = _envelope(200, outcome, asked, body)
    raw: Any = message.raw_message
    await connection.execute(
        _ANSWER, key, asked["source"], asked["id"], request.customer, raw.topic, raw.partition, raw.offset,
        raw.timestamp, hashlib.sha256(message.body).digest(), outcome, answer,
    )  # fmt: skip
    return answer


def _envelope(status: int, outcome: str, asked: dict[str, Any], body: dict[str, Any]) -> bytes:
    return orjson.dumps({"status": status, "outcome": outcome, "request": asked, "response": body})


if __name__ == "__main__":
    asyncio.run(create_app(load_settings()).run())
