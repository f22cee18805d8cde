"""The one place that wires the rooms: `create_app` gives the ASGI application that `patient-upsert run` serves."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any, Final

import orjson
from faststream.asgi import AsgiFastStream, AsgiResponse, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.authorise import make_callers
from app.compiled import part
from app.consumer import UpsertBroker
from app.consumer.offsets import Partition
from app.consumer.retention import longest_readable_ms
from app.housekeeping import Housekeeping
from app.model import Answer, Record, Request
from app.pipeline import Gate, Pipeline
from app.settings import Settings, load_settings
from app.store import Store, open_store
from app.telemetry import Health, Metrics, configure_logging, log, make_traces
from app.waiting import ended

TIDY_LIMIT: Final = 1.0
"""Seconds for the removal of old answers to end, which is cut off at any point without harm."""


class _Rooms:
    """What exists only while the application runs."""

    store: Store
    pipeline: Pipeline

    def __init__(self, group: str) -> None:
        self.group = group

    async def understand(self, records: Sequence[Record]) -> list[Request]:
        return await self.pipeline.understand(records)

    async def apply(self, requests: Sequence[Request], gate: Gate) -> list[Answer]:
        return await self.pipeline.apply(requests, gate)

    def give_up(self, record: Record) -> Answer:
        return self.pipeline.give_up(record)

    async def begun(self, begins: Mapping[Partition, tuple[int, int]]) -> dict[Partition, tuple[int, int]]:
        found: dict[Partition, tuple[int, int]] = {}
        for topic in {topic for topic, _ in begins}:
            ours = {partition: offsets for (of, partition), offsets in begins.items() if of == topic}
            deaths = await self.pipeline.until_there(partial(self.store.begin_assignment, self.group, topic, ours))
            found |= {(topic, partition): died for partition, died in deaths.items()}
        return found

    async def touching(self, partition: Partition, offset: int | None) -> None:
        await self.pipeline.until_there(partial(self.store.touch_record, self.group, *partition, offset))

    async def over(self, partitions: Collection[Partition]) -> None:
        for topic in {topic for topic, _ in partitions}:
            ours = [number for of, number in partitions if of == topic]
            await self.pipeline.until_there(partial(self.store.end_assignment, self.group, topic, ours))

    async def check(self) -> None:
        await self.store.check()


def create_app(settings: Settings | None = None) -> AsgiFastStream:
    """The worker with its health and metrics pages. Nothing is connected before it is started.

    Args:
        settings: where the servers are; by default those of the environment.

    Raises:
        SettingsError: the environment cannot be used, or asks for traces that cannot be had.
    """
    settings = settings or load_settings()
    configure_logging(settings.log_format, settings.log_level)
    traces = make_traces(os.environ)
    health, metrics, rooms = Health(), Metrics(), _Rooms(settings.group_id)
    metrics.observed.health, metrics.traces = health, traces
    callers = make_callers(settings, health)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        log.info(
            "start",
            version=version("patient-upsert"),
            compiled=part is not None,
            traces=traces is not None,
            **_shown(settings),
        )
        if settings.auth == "none":
            log.info(
                "callers_not_told_apart", auth="none", guard="Kafka's own access rules: who may write to the topic"
            )
        async with (
            open_store(
                settings.database_url.get_secret_value(),
                pool_size=settings.database_pool_size,
                statement_cache=settings.database_statement_cache,
            ) as store,
            callers.running(),
        ):
            rooms.store = store
            metrics.observed.pool = store.use
            rooms.pipeline = Pipeline(store, settings, health, metrics, callers=callers)
            housekeeping = Housekeeping(store, partial(longest_readable_ms, settings), settings, metrics)
            tidying = asyncio.create_task(housekeeping.run())
            try:
                yield
            finally:
                await ended([tidying], TIDY_LIMIT)
        if traces is not None:
            await asyncio.to_thread(traces.close)
        log.info("stop")

    broker = UpsertBroker(settings, rooms, health=health, metrics=metrics)
    return AsgiFastStream(
        broker,
        lifespan=lifespan,
        logger=None,
        asgi_routes=[*_health_pages(health), ("/metrics", _metrics_page(metrics))],
    )


def _health_pages(health: Health) -> list[tuple[str, Any]]:
    @get(include_in_schema=False)
    async def livez(_scope: Any) -> AsgiResponse:
        """Whether the process should be left running."""
        return _page(200 if health.live else 503, {"live": health.live})

    @get(include_in_schema=False)
    async def readyz(_scope: Any) -> AsgiResponse:
        """Whether records are being answered, and if not, what is missing."""
        return _page(200 if health.ready else 503, {"ready": health.ready, "waiting": health.missing})

    return [("/livez", livez), ("/readyz", readyz)]


def _metrics_page(metrics: Metrics) -> Any:
    @get(include_in_schema=False)
    async def page(_scope: Any) -> AsgiResponse:
        """The metrics, for Prometheus."""
        return AsgiResponse(generate_latest(metrics.registry), 200, {"content-type": CONTENT_TYPE_LATEST})

    return page


def _page(status: int, content: dict[str, Any]) -> AsgiResponse:
    return AsgiResponse(orjson.dumps(content), status, {"content-type": "application/json"})


def _shown(settings: Settings) -> dict[str, Any]:
    """The effective settings for the start line; secrets show as stars."""
    shown = {name: str(value) for name, value in settings.model_dump().items() if value is not None}
    if (url := settings.auth_jwks_url) is not None:  # an address may hold a secret behind its path
        path = re.split("[?#]", url, maxsplit=1)[0]
        shown["auth_jwks_url"] = path if path == url else f"{path}?**********"
    return shown
