"""The schema comes about from nothing, once, whoever asks for it how often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from app.errors import SetupNeeded, Transient
from app.migrations import head_revision
from app.model import Writes
from app.store import open_store
from app.store.migrate import migrate
from tests.integration.store_rows import admin, answer, customer, rows, stored, with_rows
from tests.support import until


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


ALL = {"customers", "requests", "assignments", "patient_upsert_revision"}


@pytest.mark.rule("R7.13")
async def test_an_empty_database_is_brought_to_the_newest_revision(empty_url: str) -> None:
    async with open_store(empty_url, pool_size=1, statement_cache=0) as store:
        with pytest.raises(SetupNeeded, match=r"^postgres: the tables are missing; run: patient-upsert setup$"):
            await store.check()
        assert await migrate(empty_url) == "0003"
        await store.check()
    assert await tables(empty_url) == ALL


@pytest.mark.rule("R7.13")
async def test_it_may_be_run_again(empty_url: str) -> None:
    assert [await migrate(empty_url), await migrate(empty_url)] == ["0003", "0003"]


@pytest.mark.rule("R7.13")
async def test_it_may_be_run_twice_at_once(empty_url: str) -> None:
    assert await asyncio.gather(*(migrate(empty_url) for _ in range(4))) == ["0003"] * 4
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


@pytest.mark.rule("R14.11")
async def test_workers_write_undisturbed_while_setup_goes_from_the_first_revision_to_the_newest(empty_url: str) -> None:
    await at_revision(empty_url, "0001")
    written = 0
    async with open_store(empty_url, pool_size=4, statement_cache=100) as store, admin(empty_url) as connection:

        async def work(name: str) -> None:
            """One row after the other, as an older worker does, until the schema is the newest."""
            nonlocal written
            await with_rows(store, name)
            version = 1
            while not done.is_set():
                version += 1
                changed = rows(customer(name, phone=f"{version:03}", version=version))
                await stored(store, Writes(changed=changed, answers=(answer(f"{name}_{version}"),)))
                written += 1

        done = asyncio.Event()
        workers = [asyncio.create_task(work(f"cus_{number}")) for number in range(3)]
        await until(lambda: written > 50)
        assert await migrate(empty_url) == "0003"
        after = written
        await until(lambda: written > after + 50)
        done.set()
        await asyncio.gather(*workers)  # none of their transactions failed
        assert await connection.fetchval("select count(*) from requests") == written
        assert await valid(connection)


async def at_revision(url: str, revision: str) -> None:
    """A database as a worker of that time left it."""
    await migrate(url)
    async with admin(url) as connection:
        if revision < "0003":
            await connection.execute("drop index requests_received_at")
        if revision < "0002":
            await connection.execute("drop table assignments")
        await connection.execute("update patient_upsert_revision set version_num = $1", revision)


async def valid(connection: Any) -> bool | None:
    """Whether the index of the answers is complete; None when it is not there."""
    found = await connection.fetchval(
        "select indisvalid from pg_index where indexrelid = to_regclass('requests_received_at')"
    )
    return None if found is None else bool(found)


@pytest.mark.rule("R14.11")
async def test_an_index_that_was_broken_off_is_built_anew(empty_url: str) -> None:
    await at_revision(empty_url, "0002")
    async with admin(empty_url) as connection:
        await connection.execute("create index requests_received_at on requests (received_at)")
        await connection.execute(
            "update pg_index set indisvalid = false where indexrelid = 'requests_received_at'::regclass"
        )
        assert await asyncio.gather(*(migrate(empty_url) for _ in range(3))) == ["0003"] * 3
        assert await valid(connection) is True


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
            where contype in ('c', 'u', 'f', 'p') and relname in ('customers', 'requests')
            """
        )
    assert len(rows) > 30
    for row in rows:
        assert row["conname"].startswith(row["relname"] + "_")
        assert not row["conname"].endswith("_check"), "named by the server"
