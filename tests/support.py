"""What tests on real servers share: a running worker, and someone who asks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import orjson
from faststream.asgi import AsgiFastStream

from app.consumer.requester import Inbound, Outbound, Requester, open_requester
from app.main import create_app
from app.settings import Settings

PATIENCE = 120.0
"""Seconds after which what is awaited is taken as never coming: long, for machines that have other work."""

BODY: dict[str, Any] = {
    "firstName": "Ada",
    "lastName": "Example",
    "dateOfBirth": "1990-05-17",
    "gender": "female",
    "phone": "+44 20 7946 0000",
    "email": "ada@clinic.local",
    "address": "1 Example Street",
    "address2": None,
    "city": "London",
    "state": "",
    "postalCode": "N1 9GU",
    "country": "GB",
}
"""A valid REST body; the patient is invented."""


def with_database(url: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def body(**changes: Any) -> bytes:
    """The value of a plain request."""
    return orjson.dumps({**BODY, **changes})


def plain(customer: str | None = "cus_1", headers: Sequence[tuple[str, bytes | None]] = (), **changes: Any) -> Outbound:
    """A plain request whose key names the customer."""
    return Outbound(None if customer is None else customer.encode(), body(**changes), tuple(headers))


def event(
    id: str, customer: str = "cus_1", *, source: str = "/tests", time: str | None = None, **changes: Any
) -> Outbound:
    """A CloudEvent in binary mode."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", b"patient.upsert.requested"),
        ("content-type", b"application/json"),
    ]
    if time is not None:
        headers.append(("ce_time", time.encode()))
    return Outbound(customer.encode(), body(**changes), tuple(headers))


async def until(condition: Callable[[], Awaitable[Any]] | Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Await that the condition holds, looking often; its value. Fails when it never does."""
    async with asyncio.timeout(patience):
        while True:
            value = condition()
            if isinstance(value, Awaitable):
                value = await value
            if value:
                return value
            await asyncio.sleep(0.02)


async def waits_for_a_lock(settings: Settings) -> bool:
    """Whether somebody waits for a lock in this database.

    Asked over a connection of its own: inside a transaction, PostgreSQL would tell what it told the first time.
    """
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    try:
        waiting = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        return bool(await connection.fetch(waiting))
    finally:
        await connection.close()


@asynccontextmanager
async def child(*command: str | Path, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of this command, which does not outlive the block."""
    process = await asyncio.create_subprocess_exec(*command, **options)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[AsgiFastStream]:
    """The worker in this process, wired as in production, until the block ends."""
    app = create_app(settings)
    async with app.start_lifespan_context():
        yield app


async def page(app: AsgiFastStream, path: str) -> tuple[int, Any]:
    """Status and body of a page of the worker."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "http_version": "1.1"}
    await app(scope, receive, send)
    content = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], orjson.loads(content) if content[:1] == b"{" else content.decode()


async def ready(app: AsgiFastStream) -> None:
    """Await that the worker says that it is ready."""

    async def is_ready() -> bool:
        return (await page(app, "/readyz"))[0] == 200

    await until(is_ready)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as a consumer sees it."""

    record: Inbound
    envelope: dict[str, Any]

    @property
    def status(self) -> int:
        return int(self.envelope["status"])

    @property
    def outcome(self) -> str:
        return str(self.envelope["outcome"])

    @property
    def response(self) -> dict[str, Any]:
        return dict(self.envelope["response"])

    @property
    def codes(self) -> set[tuple[str, str]]:
        """Field and code of each detail."""
        return {(detail["field"], detail["code"]) for detail in self.response["details"]}


async def ask(requester: Requester, *requests: Outbound) -> list[Answered]:
    """Publish these, await an answer to each, and give the last answer of each in their order."""
    before = len(requester.sent)
    async for _ in requester.send_all(requests):
        pass
    places = requester.sent[before:]
    async with asyncio.timeout(PATIENCE):
        while not all(place in requester.answered for place in places):
            await requester.receive()
    return [answered(requester.answered[place][-1]) for place in places]


def answered(record: Inbound) -> Answered:
    """An answer record, parsed."""
    return Answered(record, orjson.loads(record.value or b""))


@asynccontextmanager
async def asking(settings: Settings) -> AsyncIterator[Requester]:
    """A running worker that is ready, and someone who asks it."""
    async with running(settings) as app:
        await ready(app)
        async with open_requester(settings) as requester:
            yield requester
