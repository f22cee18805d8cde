"""Temporary: `database_url` on a server that runs already. To be replaced by the one on devstack."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from app.migrations.run import migrate

SERVER = os.environ.get("STORE_TEST_SERVER", "postgresql://postgres@127.0.0.1:55999")


@pytest.fixture(scope="session")
async def template() -> AsyncIterator[str]:
    name = f"template_{uuid4().hex[:8]}"
    connection = await asyncpg.connect(f"{SERVER}/postgres")
    await connection.execute(f"create database {name}")
    await migrate(f"{SERVER}/{name}")
    yield name
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()


@pytest.fixture
async def database_url(template: str) -> AsyncIterator[str]:
    name = f"test_{uuid4().hex[:8]}"
    connection = await asyncpg.connect(f"{SERVER}/postgres")
    await connection.execute(f"create database {name} template {template}")
    yield f"{SERVER}/{name}"
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()
