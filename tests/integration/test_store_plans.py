"""How rows are found: by an index, whatever the tables were like when the connection was opened."""

from __future__ import annotations

import asyncpg
import pytest

from app.model import Writes
from app.store import open_store
from app.store.rows import query
from tests.integration.store_rows import admin, answer, customer, key, known, patient, stored, with_rows
from tests.support import until

ROWS = 20_000
ASKED = 100


async def fill(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Many rows, of which no statistics know."""
    await connection.execute(
        f"""
        set session_replication_role = replica;
        insert into customers (customer, first_name, last_name)
        select 'many_' || n, 'a', 'b' from generate_series(1, {ROWS}) as n;
        insert into patients (patient, customer, first_name, last_name, date_of_birth, address, city, state,
            postal_code, country, effective_at)
        select 'pat_' || customer, customer, 'a', 'b', '1980-01-01', 'c', 'd', '', '', 'e', now() from customers
        where customer like 'many%';
        insert into requests
        select decode(md5(n::text), 'hex'), 's', n::text, 'c', 't', 0, n, -1,
            decode(md5('') || md5(''), 'hex'), 'created', 'x', now() from generate_series(1, {ROWS}) as n
        """
    )


async def settle(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Statistics that say "empty", and nobody to correct them."""
    for table in ("customers", "patients", "requests"):
        await connection.execute(f"alter table {table} set (autovacuum_enabled = false)")
        await connection.execute(f"vacuum analyze {table}")


@pytest.mark.rule("R7.10")
async def test_a_connection_opened_on_empty_tables_stays_fast_as_they_fill(database_url: str) -> None:
    names = [f"many_{number}" for number in range(1, ASKED + 1)]
    rounds = 8  # more than the five after which Postgres may keep a plan
    async with admin(database_url) as connection:
        await settle(connection)
        async with open_store(database_url, pool_size=1, statement_cache=100) as store:
            await with_rows(store, "cus_1")
            for number in range(rounds):
                await known(store, "cus_1", keys=(key("r"),))
                changed = {"version": number + 2}
                await stored(
                    store,
                    Writes(
                        changed_customers=(customer("cus_1", **changed),),
                        changed_patients=(patient("cus_1", **changed),),
                    ),
                )
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
                    changed_customers=tuple(customer(name, version=2) for name in names),
                    changed_patients=tuple(patient(name, patient=f"pat_{name}", version=2) for name in names),
                    new_customers=(customer("new"),),
                    new_patients=(patient("new"),),
                    answers=(answer("new"),),
                ),
            )
        scans = await counted(connection)
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
            where t.relname in ('customers', 'patients', 'requests') group by 1, 2, 4
            """
        )
        if rows and all(row["written"] for row in rows):
            return {row["relname"]: (row["seq_scan"], row["read"]) for row in rows}
        return {}

    found: dict[str, tuple[int, int]] = await until(reported)
    return found


EXPECTED = {
    "read_rows": ["customers_pkey", "patients_customer_key"],
    "read_answers": ["requests_pkey"],
    "read_owners": ["patients_pkey"],
    "lock_customers": ["customers_pkey"],
    "lock_patients": ["patients_customer_key"],
    "update_customers": ["customers_pkey"],
    "update_patients": ["patients_"],
}


@pytest.mark.rule("R7.10")
@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
@pytest.mark.parametrize("name", EXPECTED)
async def test_the_plan_looks_each_key_up(database_url: str, name: str, filled: bool) -> None:
    async with admin(database_url) as connection:
        await settle(connection)
        if filled:
            await fill(connection)
        await connection.execute(query("begin"))
        text = query(name)
        statement = await connection.prepare(text)
        arrays = [f"array[null]::{parameter.name}" for parameter in statement.get_parameters()]
        if filled:
            arrays[0] = (
                "array(select decode(md5(n::text), 'hex') from generate_series(1, 100) n)"
                if name == "read_answers"
                else "array(select 'many_' || n from generate_series(1, 100) n)"
            )
        for number in range(len(arrays), 0, -1):
            text = text.replace(f"${number}::{statement.get_parameters()[number - 1].name}", arrays[number - 1])
            text = text.replace(f"${number}::", f"{arrays[number - 1]}::")
        plan = "\n".join(row[0] for row in await connection.fetch(f"explain (costs off) {text}"))
        await connection.execute("rollback")
    for index in EXPECTED[name]:
        assert index in plan, plan
    for word in ("Seq Scan", "Hash", "Merge", "Bitmap"):
        assert word not in plan, plan
