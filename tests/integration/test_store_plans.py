"""How rows are found: by an index, whatever the tables were like when the connection was opened."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import app
from app.model import Writes
from app.store import open_store
from app.store.rows import query
from tests.integration.store_rows import admin, answer, customer, key, known, patient, rows, stored, with_rows
from tests.roles import as_worker
from tests.support import until

ROWS = 20_000
ASKED = 100


async def fill(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Many rows, of which no statistics know."""
    await connection.execute(
        f"""
        set session_replication_role = replica;
        insert into customers (customer, first_name, last_name, patient, patient_first_name, patient_last_name,
            date_of_birth, address, city, state, postal_code, country, effective_at, patient_created_at,
            patient_updated_at)
        select 'many_' || n, 'a', 'b', 'pat_many_' || n, 'a', 'b', '1980-01-01', 'c', 'd', '', '', 'e', now(), now(),
            now() from generate_series(1, {ROWS}) as n;
        insert into requests
        select decode(md5(n::text), 'hex'), 's', n::text, 'c', 't', 0, n, -1,
            decode(md5('') || md5(''), 'hex'), 'created', 'x', now() from generate_series(1, {ROWS}) as n;
        insert into assignments (group_id, topic, partition, head, tail, held)
        select 'g', 'g', n, 1, 1, true from generate_series(1, {ROWS}) as n on conflict do nothing
        """
    )


async def settle(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Statistics that say "empty", and nobody to correct them."""
    for table in ("customers", "requests", "assignments"):
        await connection.execute(f"alter table {table} set (autovacuum_enabled = false)")
        await connection.execute(f"vacuum analyze {table}")


@pytest.mark.rule("R7.10")
async def test_a_connection_opened_on_empty_tables_stays_fast_as_they_fill(database_url: str) -> None:
    names = [f"many_{number}" for number in range(1, ASKED + 1)]
    rounds = 8  # more than the five after which Postgres may keep a plan
    async with admin(database_url) as connection:
        await settle(connection)
        async with open_store(as_worker(database_url), pool_size=1, statement_cache=100) as store:
            await with_rows(store, "cus_1")
            for number in range(rounds):
                await known(store, "cus_1", keys=(key("r"),))
                await stored(store, Writes(changed=rows(patient("cus_1"), version=number + 2)))
                await store.owners(["pat_cus_1"])
            await fill(connection)
            await connection.execute("select pg_stat_force_next_flush()")  # what `fill` read is not what is counted
            await connection.execute("select pg_stat_reset()")
            await known(store, *names, keys=tuple(map(key, names)))
            await store.owners([f"pat_{name}" for name in names])
            async with store.transaction(lock=True) as transaction:
                await transaction.read((), names)
            await stored(
                store,
                Writes(
                    changed=rows(*map(patient, names), version=2),
                    new=rows(patient("new")),
                    answers=(answer("new"),),
                ),
            )
        assert_looked_up(await counted(connection))


@pytest.mark.rule("R7.10")
async def test_so_it_does_where_each_request_has_a_transaction(database_url: str) -> None:
    async def one(name: str, version: int) -> None:
        async with store.transaction(single=True) as transaction:
            assert name in (await transaction.read((key(name),), (name,))).customers
            changed = Writes(changed=rows(patient(name), version=version), answers=(answer(f"{name} {version}"),))
            await transaction.write(changed)
            await transaction.commit()

    async with admin(database_url) as connection:
        await settle(connection)
        async with open_store(as_worker(database_url), pool_size=1, statement_cache=100) as store:
            await with_rows(store, "cus_1")
            for number in range(8):  # more than the five after which Postgres keeps a plan
                await one("cus_1", number + 2)
            await fill(connection)
            await connection.execute("select pg_stat_force_next_flush()")
            await connection.execute("select pg_stat_reset()")
            for number in range(1, ASKED + 1):
                await one(f"many_{number}", 2)
        assert_looked_up(await counted(connection))


def assert_looked_up(scans: dict[str, tuple[int, int]]) -> None:
    for table, (whole, touched) in scans.items():
        assert whole == 0, f"{table} was scanned"
        assert 0 <= touched <= 12 * ASKED, f"{table}: {touched} index entries read for {ASKED} keys"


async def counted(connection: asyncpg.Connection[asyncpg.Record]) -> dict[str, tuple[int, int]]:
    """Scans of a whole table, and index entries read, of each table; once the closed connection has reported them."""

    async def reported() -> dict[str, tuple[int, int]]:
        await connection.execute("select pg_stat_clear_snapshot()")
        rows = await connection.fetch(
            """
            select t.relname, t.seq_scan, sum(i.idx_tup_read)::bigint as read, t.n_tup_upd + t.n_tup_ins as written
            from pg_stat_user_tables t join pg_stat_user_indexes i using (relid)
            where t.relname in ('customers', 'requests') group by 1, 2, 4
            """
        )
        if rows and all(row["written"] for row in rows):
            return {row["relname"]: (row["seq_scan"], row["read"]) for row in rows}
        return {}

    found: dict[str, tuple[int, int]] = await until(reported)
    return found


FOUND_BY = {
    "read": {"requests_pkey", "customers_pkey"},
    "read_one": {"requests_pkey", "customers_pkey"},
    "change_one": {"customers_pkey"},
    "read_owners": {"customers_patient_key"},
    "lock_customers": {"customers_pkey"},
    "update_customers": {"customers_pkey"},
    "begin_assignment": set[str](),  # conflicts are found by the primary key, which a plan does not show as a scan
    "end_assignment": {"assignments_pkey"},
    "touch_record": {"assignments_pkey"},
    "remove_answers": {"requests_received_at", "requests_pkey"},
}
"""The indexes by which each statement finds its rows."""
WITHOUT_A_ROW_TO_FIND = {
    *("create_one", "answer_one"),
    *("begin", "plan_anew", "inspect_rights", "inspect_server", "inspect_index", "read_revision", "take_turn"),
}
"""New rows, settings, questions about the server, and the one row of the revision."""

KEY_BY_KEY = {
    *(
        "ModifyTable",
        "LockRows",
        "Sort",
        "Subquery Scan",
        "Nested Loop",
        "Index Scan",
        "Function Scan",
        "CTE Scan",
        "Result",
        "Limit",
    ),
}
"""The steps of a plan that reads what it was asked for and nothing else."""

VALUES: dict[str, str | int | Sequence[str | int]] = {
    "text": "g",
    "integer": 1,
    "bigint": 1,
    "timestamptz": "2020-01-01",
    "date": "2020-01-01",
    "bytea": "\\\\x00",
    "text[]": [f"many_{number}" for number in range(1, ASKED + 1)],
    "bytea[]": [f"\\\\x{number:032x}" for number in range(1, ASKED + 1)],
    "integer[]": range(1, ASKED + 1),
    "bigint[]": range(1, ASKED + 1),
    "patient_upsert_change[]": [
        f"(many_{number},,,2020-01-01,pat_many_{number},a,b,1980-01-01,,a,,c,,,e,2020-01-01,2020-01-01,2020-01-01,2)"
        for number in range(1, ASKED + 1)
    ],
}


def literal(kind: str) -> str:
    value = VALUES[kind]
    return f"'{value}'" if isinstance(value, str | int) else "'{" + ",".join(f'"{part}"' for part in value) + "}'"


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A node of a plan and all below it."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def test_every_statement_is_looked_at() -> None:
    files = {path.stem for path in Path(app.__file__).parent.joinpath("sql").iterdir()}
    assert files == FOUND_BY.keys() | WITHOUT_A_ROW_TO_FIND


@pytest.mark.rule("R7.10")
@pytest.mark.parametrize("name", FOUND_BY)
async def test_a_statement_prepared_on_empty_tables_looks_each_key_up_once_they_are_full(
    database_url: str, name: str
) -> None:
    begin = query("begin") if name.endswith("_one") else query("begin") + query("plan_anew")
    async with admin(database_url) as connection:
        await settle(connection)
        kinds = [parameter.name for parameter in (await connection.prepare(query(name))).get_parameters()]
        kinds = [{"int4": "integer", "int8": "bigint"}.get(kind, kind) for kind in kinds]
        kinds = [{"int4[]": "integer[]", "int8[]": "bigint[]"}.get(kind, kind) for kind in kinds]
        execute = f"execute statement ({', '.join(map(literal, kinds))})"
        await connection.execute(f"prepare statement as {query(name)}")
        for _ in range(8):  # more than the five after which Postgres may keep a plan
            await connection.execute(begin)
            await connection.execute(execute)
            await connection.execute("rollback")
        await fill(connection)
        await connection.execute(begin)
        (explained,) = json.loads(await connection.fetchval(f"explain (format json) {execute}"))
        await connection.execute("rollback")
    found = list(nodes(explained["Plan"]))
    scans = [node for node in found if "Index Name" in node]
    assert {node["Index Name"] for node in scans} <= FOUND_BY[name]
    assert bool(scans) == bool(FOUND_BY[name])
    assert [node for node in scans if "Index Cond" not in node] == []  # the whole index, one entry after the other
    assert {node["Node Type"] for node in found} <= KEY_BY_KEY


@pytest.mark.rule("R7.15")
async def test_a_change_touches_no_index(database_url: str) -> None:
    names = [f"cus_{number:04}" for number in range(1000)]
    changed = names[::10]
    async with open_store(as_worker(database_url), pool_size=1, statement_cache=100) as store:
        await with_rows(store, *names)
        await stored(
            store,
            Writes(
                changed=rows(
                    *(customer(name, phone="1234", version=2) for name in changed),
                    *(patient(name, city="Rome") for name in changed),
                )
            ),
        )

    async with admin(database_url) as connection:

        async def updates() -> dict[str, tuple[int, int]] | None:
            await connection.execute("select pg_stat_clear_snapshot()")
            rows = await connection.fetch("select relname, n_tup_upd, n_tup_hot_upd from pg_stat_user_tables")
            found = {row[0]: (row[1], row[2]) for row in rows if row[1]}
            return found if len(found) == 1 else None

        found = await until(updates)  # the closed connection has reported them
    assert found == {"customers": (100, 100)}
