"""The roles of deploy/postgres-roles.sql: each may do what it is for, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest

from app.settings import Settings
from app.store.inspect import NEEDED
from app.store.migrate import migrate
from devstack.servers import Servers
from tests.integration.store_rows import admin
from tests.integration.test_doctor_servers import at, found
from tests.roles import FILE, MIGRATOR, OWNER, READER, WORKER, as_role, with_roles
from tests.support import with_database

FORBIDDEN_TO_THE_WORKER = [
    "drop table customers",
    "truncate customers",
    "alter table requests add column more text",
    "alter table customers disable trigger all",
    "alter type patient_upsert_change add attribute more text",
    "drop type patient_upsert_change",
    "delete from customers",
    "update requests set outcome = 'updated'",
    "update patient_upsert_revision set version_num = '9999'",
    "create table more (x text)",
    "create schema more",
    "create index more on customers (email)",
    "create trigger more before update on customers for each row execute function patient_upsert_count_change()",
    "create or replace function patient_upsert_count_change() returns trigger language plpgsql as 'begin end'",
    "select * from other.accounts",
    "insert into other.accounts values ('x')",
    "select * from pg_authid",
    "select pg_read_file('PG_VERSION')",
    "copy customers to program 'cat'",
    f"grant {OWNER} to {WORKER}",
    f"set role {OWNER}",
    f"set role {MIGRATOR}",
    f"alter role {WORKER} superuser",
    "set log_min_messages = error",
    "set log_parameter_max_length = -1",
    "set session_replication_role = replica",
]
FORBIDDEN_TO_THE_READER = [
    "insert into customers (customer, first_name, last_name) values ('cus_1', 'Ann', 'Other')",
    "update customers set city = 'Rome'",
    "delete from requests",
    "truncate assignments",
    "create table more (x text)",
    "select * from other.accounts",
    f"set role {OWNER}",
]


async def refused(connection: asyncpg.Connection[asyncpg.Record], statement: str) -> bool:
    try:
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return True
    return False


@pytest.mark.rule("R11.2")
async def test_the_worker_and_the_reader_may_do_nothing_that_they_are_not_for(database_url: str) -> None:
    async with admin(database_url) as superuser:
        await superuser.execute("create schema other; create table other.accounts (x text)")
    for role, forbidden in ((WORKER, FORBIDDEN_TO_THE_WORKER), (READER, FORBIDDEN_TO_THE_READER)):
        async with admin(as_role(database_url, role)) as connection:
            assert [statement for statement in forbidden if not await refused(connection, statement)] == []
    async with admin(as_role(database_url, READER)) as connection:
        for table in NEEDED:
            assert await connection.fetchval(f"select count(*) from {table}") in (0, 1)


async def rights(url: str, role: str) -> dict[str, tuple[str, ...]]:
    """What this role was granted of any relation outside the catalogue, itself or as one of everybody."""
    asked = """
        select c.relname, array_agg(distinct lower(a.privilege_type))
        from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
        where n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
            and a.grantee in (0, to_regrole($1)::oid)
        group by 1
    """
    async with admin(url) as connection:
        return {row[0]: tuple(sorted(row[1])) for row in await connection.fetch(asked, role)}


@pytest.mark.rule("R11.2")
async def test_setup_grants_the_worker_what_it_uses_and_no_more(database_url: str) -> None:
    needed = {table: tuple(sorted(used)) for table, used in NEEDED.items()}
    assert await rights(database_url, WORKER) == needed
    async with admin(database_url) as superuser:
        await superuser.execute(f"grant truncate on requests to {WORKER}; revoke select on customers from {WORKER}")
    await migrate(as_role(database_url, MIGRATOR))
    assert await rights(database_url, WORKER) == needed


UNLOGGED = {
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "log_min_error_statement": "panic",
}


async def test_nothing_has_the_server_log_a_statement_of_the_reader_which_may_hold_values(database_url: str) -> None:
    async with admin(as_role(database_url, READER)) as connection:
        assert {name: await connection.fetchval(f"show {name}") for name in UNLOGGED} == UNLOGGED


@pytest.mark.parametrize("role", [MIGRATOR, WORKER, READER])
async def test_a_database_that_prints_plans_prints_none_of_these_roles_with_the_values_in_them(
    database_url: str, role: str
) -> None:
    printed = ("debug_print_parse", "debug_print_rewritten", "debug_print_plan")
    async with admin(database_url) as superuser:
        for name in printed:
            await superuser.execute(
                f"alter database {await superuser.fetchval('select current_database()')} set {name} = on"
            )
    async with admin(as_role(database_url, role)) as connection:
        assert [await connection.fetchval(f"show {name}") for name in printed] == ["off"] * 3


async def test_a_table_of_a_later_version_is_the_owners_and_the_readers(database_url: str) -> None:
    async with admin(as_role(database_url, MIGRATOR)) as connection:
        await connection.execute("create table later (x text)")
        assert await connection.fetchval("select tableowner from pg_tables where tablename = 'later'") == OWNER
    assert (await rights(database_url, READER))["later"] == ("select",)
    assert "later" not in await rights(database_url, WORKER)


@asynccontextmanager
async def empty(shared: Servers) -> AsyncIterator[str]:
    name = f"roles_{uuid4().hex[:8]}"
    async with admin(shared.database_url) as superuser:
        await superuser.execute(f"create database {name}")
        yield with_database(shared.database_url, name)
        await superuser.execute(f"drop database {name} with (force)")


async def test_a_database_that_another_role_has_migrated_is_taken_over(shared: Servers) -> None:
    async with empty(shared) as url:
        await migrate(url)
        await with_roles(url, shared.database_url)
        async with admin(url) as superuser:
            await superuser.execute(FILE.read_text())  # again: nothing to do
            owners = await superuser.fetch("select tableowner from pg_tables where schemaname = 'public'")
            assert {row[0] for row in owners} == {OWNER}
            function = "select proowner::regrole::text from pg_proc where proname = 'patient_upsert_count_change'"
            assert await superuser.fetchval(function) == OWNER
            change = "select typowner::regrole::text from pg_type where typname = 'patient_upsert_change'"
            assert await superuser.fetchval(change) == OWNER
        assert await rights(url, WORKER) == {table: tuple(sorted(used)) for table, used in NEEDED.items()}
        assert (await rights(url, READER)).keys() == NEEDED.keys()


async def test_without_the_roles_nothing_is_granted(shared: Servers) -> None:
    async with empty(shared) as url:
        await migrate(url)  # as a superuser, who is not the owner's role
        assert await rights(url, WORKER) == {}


async def test_doctor_tells_whose_errors_the_server_logs(settings: Settings, database_url: str) -> None:
    assert (await found(settings))["postgres.log"].status == "ok"
    finding = (await found(at(settings, database_url)))["postgres.log"]
    assert (finding.status, finding.message) == (
        "warn",
        "the server logs the errors of postgres, with rows and values in them",
    )
