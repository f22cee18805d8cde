"""A pipeline on a database in which the bench's customers stand."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from app.pipeline import Pipeline
from app.settings import Settings
from app.store import open_store
from app.telemetry import Health, Metrics
from bench.arena import fill


@pytest.fixture
async def pipeline(settings: Settings, database_url: str) -> AsyncIterator[Pipeline]:
    url = settings.database_url.get_secret_value()
    connection = await asyncpg.connect(database_url)
    await fill(connection, 50)
    await connection.close()
    async with open_store(url, pool_size=2, statement_cache=100) as store:
        yield Pipeline(store, settings, Health(), Metrics())
