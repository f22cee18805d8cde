"""The schema comes about from nothing, once, whoever asks for it how often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from app.errors import SetupNeeded, Transient
from app.migrations import head_revision
from app.store import open_store
from app.store.migrate import migrate
from tests.integration.store_rows import admin


@pytest.fixture
async def empty_url(database_url: str) -> AsyncIterator[str]:
    name = f"empty_{uuid4().hex[:8]}"
    async with admin(database_url) as connection:
        await connection.execute(f"create database {name} template template0")
    yield urlunsplit(urlsplit(database_url)._replace(path=f"/{name}"))
    async with admin(database_url) as connection:
        await connection.execute(f"drop database {name} with (force)")


async def tables(url: str) -> set[str]:
    async with admin(url) as connection:
        rows = await connection.fetch("select tablename from pg_tables where schemaname = 'public'")
    return {row["tablename"] for row in rows}


ALL = {"customers", "patients", "requests", "assignments", "patient_upsert_revision"}


@pytest.mark.rule("R7.13")
async def test_an_empty_database_is_brought_to_the_newest_revision(empty_url: str) -> None:
    async with open_store(empty_url, pool_size=1, statement_cache=0) as store:
        with pytest.raises(SetupNeeded, match=r"^postgres: the tables are missing; run: patient-upsert setup$"):
            await store.check()
        assert await migrate(empty_url) == "0002"
        await store.check()
    assert await tables(empty_url) == ALL


@pytest.mark.rule("R7.13")
async def test_it_may_be_run_again(empty_url: str) -> None:
    assert [await migrate(empty_url), await migrate(empty_url)] == ["0002", "0002"]


@pytest.mark.rule("R7.13")
async def test_it_may_be_run_twice_at_once(empty_url: str) -> None:
    assert await asyncio.gather(*(migrate(empty_url) for _ in range(4))) == ["0002"] * 4
    assert await tables(empty_url) == ALL


async def test_a_database_of_a_newer_version_is_left_as_it_is(empty_url: str) -> None:
    await migrate(empty_url)
    async with admin(empty_url) as connection:
        await connection.execute("update patient_upsert_revision set version_num = '9999'")
    assert await migrate(empty_url) == "9999"


async def test_a_failure_changes_nothing(empty_url: str) -> None:
    async with admin(empty_url) as connection:
        await connection.execute("create table requests ()")
    with pytest.raises(Transient, match=r"^postgres: SQLSTATE 42P07$") as caught:
        await migrate(empty_url)
    assert caught.value.__context__ is None
    assert await tables(empty_url) == {"requests"}


async def test_a_server_that_is_away_is_transient() -> None:
    with pytest.raises(Transient, match=r"^postgres: connection lost or refused$"):
        await migrate("postgresql://postgres:hunter2@127.0.0.1:1/postgres")
    with pytest.raises(Transient, match=r"^postgres: the address cannot be read: correct DATABASE_URL$"):
        await migrate("postgres+asyncpg://hunter2")


def test_the_revisions_form_one_line_and_their_files_are_named_after_them() -> None:
    config = Config()
    config.set_main_option("script_location", "app:migrations")
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [head_revision()]
    for script in scripts.walk_revisions():
        assert script.module.__name__[:4] == script.revision
        assert script.revision.isdigit()
        assert len(script.revision) == 4


async def test_every_rule_of_the_tables_has_a_name_of_ours(database_url: str) -> None:
    async with admin(database_url) as connection:
        rows = await connection.fetch(
            """
            select conname, relname from pg_constraint join pg_class on pg_class.oid = conrelid
            where contype in ('c', 'u', 'f', 'p') and relname in ('customers', 'patients', 'requests')
            """
        )
    assert len(rows) > 30
    for row in rows:
        assert row["conname"].startswith(row["relname"] + "_")
        assert not row["conname"].endswith("_check"), "named by the server"
