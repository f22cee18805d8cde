"""Rows to store, each valid by itself; a test changes what it is about."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Any

import asyncpg

from app.model import Customer, Known, Outcome, Patient, Position, Row, StoredAnswer, Writes
from app.store import Store

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
LATER = datetime(2026, 1, 2, 3, 4, 6, 1000, tzinfo=UTC)


def customer(name: str, **changes: Any) -> Customer:
    values: dict[str, Any] = {
        "email": "ann@example.com",
        "first_name": "Ann",
        "last_name": "Other",
        "billing_address_id": None,
        "phone": "+1 555 0100",
        "has_account": False,
        "metadata": "{}",
        "created_at": NOW,
        "updated_at": NOW,
        "deleted_at": None,
        "version": 1,
    }
    return Customer(customer=name, **(values | changes))


def patient(owner: str, **changes: Any) -> Patient:
    values: dict[str, Any] = {
        "patient": f"pat_{owner}",
        "first_name": "Ann",
        "last_name": "Other",
        "date_of_birth": date(1980, 2, 29),
        "gender": "female",
        "address": "1 Main Street",
        "address2": None,
        "city": "Springfield",
        "state": "",
        "postal_code": "",
        "country": "US",
        "effective_at": NOW,
        "created_at": NOW,
        "updated_at": NOW,
        "deleted_at": None,
    }
    return Patient(customer=owner, **(values | changes))


def rows(*parts: Customer | Patient, version: int = 1) -> tuple[Row, ...]:
    """The rows of which these are parts. A part that is not given is as usual; `version` is that of its row."""
    customers = {part.customer: part for part in parts if isinstance(part, Customer)}
    patients = {part.customer: part for part in parts if isinstance(part, Patient)}
    return tuple(
        (customers.get(name) or customer(name, version=version), patients.get(name) or patient(name))
        for name in dict.fromkeys(part.customer for part in parts)
    )


def key(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:16]


def answer(name: str, **changes: Any) -> StoredAnswer:
    values: dict[str, Any] = {
        "key": key(name),
        "source": "/upstream",
        "id": name,
        "customer": "cus_1",
        "position": Position("patient.upsert.requested", 3, 41, 1767323045678),
        "fingerprint": bytes(range(32)),
        "outcome": Outcome.CREATED,
        "answer": b'{"status": 200}',
        "received_at": NOW,
    }
    return StoredAnswer(**(values | changes))


async def stored(store: Store, writes: Writes) -> None:
    """Write and commit."""
    async with store.transaction() as transaction:
        await transaction.write(writes)
        await transaction.commit()


async def with_rows(store: Store, *names: str) -> None:
    """Store a customer and a patient under each of these names."""
    await stored(store, Writes(new=rows(*map(customer, names))))


async def known(store: Store, *names: str, keys: tuple[bytes, ...] = ()) -> Known:
    """What the store holds."""
    async with store.transaction() as transaction:
        return await transaction.read(keys, names)


@asynccontextmanager
async def admin(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Someone else's connection."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()
