"""Reading and writing a batch on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from asyncpg import CheckViolationError

from app.errors import Conflict, DataFault, SetupNeeded, Transient
from app.model import Known, Outcome, Position, Writes
from app.store import Store, open_store
from tests.integration.store_rows import (
    LATER,
    NOW,
    admin,
    answer,
    customer,
    key,
    known,
    patient,
    rows,
    stored,
    with_rows,
)


@pytest.fixture(params=[100, 0], ids=["statement cache", "no statement cache"])
async def store(request: pytest.FixtureRequest, worker_url: str) -> AsyncIterator[Store]:
    async with open_store(worker_url, pool_size=3, statement_cache=request.param) as opened:
        yield opened


async def test_every_column_comes_back_as_it_was_stored(store: Store) -> None:
    first = customer(
        "cus_1",
        email="zoë@example.com",
        first_name="Zoë",
        last_name="Ōe 大江",
        billing_address_id="addr_1",
        phone="+44 20 7946 0000",
        has_account=True,
        metadata='{"a": [1, null, "é"]}',
        created_at=datetime(1, 1, 1, 0, 0, 0, 1000, tzinfo=UTC),
        updated_at=datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC),
        deleted_at=LATER,
        version=7,
    )
    profile = patient(
        "cus_1",
        patient="legacy id",
        first_name="Ἀθηνᾶ",
        last_name="ניר",
        date_of_birth=date(1, 1, 2),  # the driver takes the first for -infinity, which no table of ours takes
        gender="non-binary",
        address="1 Main Street",
        address2="Flat 2",
        city="München",
        state="BY",
        postal_code="80331",
        country="DE",
        effective_at=LATER,
        updated_at=LATER,
        deleted_at=LATER,
    )
    given = answer("r1", outcome=Outcome.SUPERSEDED, position=Position("t", 0, 2**40, -1), id="é" * 100)
    await stored(store, Writes(new=rows(first, profile), answers=(given,)))

    found = await known(store, "cus_1", keys=(given.key,))

    assert found.customers == {"cus_1": first}
    assert found.patients == {"cus_1": profile}
    assert found.answers == {given.key: given}
    assert found.customers["cus_1"].created_at.tzinfo is UTC


async def test_nulls_come_back_as_nulls(store: Store) -> None:
    first = customer("cus_1", email=None, phone=None)
    profile = patient("cus_1", gender=None, address2=None)
    await stored(store, Writes(new=rows(first, profile)))
    found = await known(store, "cus_1")
    assert found.customers["cus_1"] == first
    assert found.patients["cus_1"] == profile


WITHOUT_PATIENT = "insert into customers (customer, first_name, last_name) values ('cus_1', 'Ann', 'Other')"


async def test_a_customer_that_another_system_has_made_gets_its_patient(store: Store, database_url: str) -> None:
    async with admin(database_url) as connection:
        await connection.execute(WITHOUT_PATIENT)
    await stored(store, Writes(changed=rows(patient("cus_1", patient="pat_made"), version=2)))
    assert (await known(store, "cus_1")).patients == {"cus_1": patient("cus_1", patient="pat_made")}
    with pytest.raises(Conflict):  # made by one worker, and by another that had read before
        await stored(store, Writes(changed=rows(patient("cus_1", patient="pat_other"), version=2)))


@pytest.mark.rule("R7.11")
@pytest.mark.parametrize(
    "change", ["patient = null", "city = null", "patient_updated_at = null", "effective_at = null"]
)
async def test_a_patient_is_whole_or_none(store: Store, database_url: str, change: str) -> None:
    await with_rows(store, "cus_1")
    async with admin(database_url) as connection:
        with pytest.raises(CheckViolationError):
            await connection.execute(f"update customers set {change}")


@pytest.mark.rule("R7.11")
@pytest.mark.parametrize("time", ["infinity", "-infinity"])
async def test_every_time_is_finite(store: Store, database_url: str, time: str) -> None:
    await with_rows(store, "cus_1")
    async with admin(database_url) as connection:
        asked = "select column_name from information_schema.columns where table_name = 'customers' and data_type ~ $1"
        columns = [row[0] for row in await connection.fetch(asked, "^(date|time)")]
        assert len(columns) == 8
        for column in columns:
            with pytest.raises(CheckViolationError):
                await connection.execute(f"update customers set {column} = '{time}'")


async def test_what_is_not_there_is_not_found(store: Store, database_url: str) -> None:
    async with admin(database_url) as connection:
        await connection.execute(WITHOUT_PATIENT)
    found = await known(store, "cus_1", "cus_2", keys=(key("r1"),))
    assert found.customers.keys() == {"cus_1"}
    assert found.patients == {}
    assert found.answers == {}


async def test_nothing_is_asked_for_and_nothing_is_written(store: Store) -> None:
    async with store.transaction(lock=True) as transaction:
        assert await transaction.read((), ()) == Known()
        await transaction.write(Writes())
        await transaction.commit()
    assert await store.owners(()) == {}


async def test_a_change_writes_what_a_request_may_change_and_leaves_the_rest(store: Store) -> None:
    await with_rows(store, "cus_1")
    changed = customer("cus_1", email=None, phone="1234", first_name="Other", updated_at=LATER, version=2)
    profile = patient(
        "cus_1",
        first_name="Bea",
        last_name="New",
        date_of_birth=date(1990, 1, 1),
        gender=None,
        address="2 High Street",
        address2="Flat 3",
        city="Paris",
        state="IDF",
        postal_code="75001",
        country="FR",
        effective_at=LATER,
        updated_at=LATER,
    )
    await stored(store, Writes(changed=rows(changed, profile)))
    found = await known(store, "cus_1")
    assert found.customers["cus_1"] == changed._replace(first_name="Ann")
    assert found.patients["cus_1"] == profile


async def test_the_first_moment_of_time_comes_back_as_it_was(store: Store) -> None:
    """Some senders say 0001-01-01T00:00:00Z for "no time"; the driver knows it as -infinity, which has no zone."""
    zero = datetime(1, 1, 1, tzinfo=UTC)
    await stored(store, Writes(new=rows(customer("cus_1"), patient("cus_1", effective_at=zero))))
    assert (await known(store, "cus_1")).patients["cus_1"].effective_at == zero
    await stored(store, Writes(changed=rows(patient("cus_1", effective_at=zero), version=2)))
    assert (await known(store, "cus_1")).patients["cus_1"].effective_at == zero


@pytest.mark.rule("R7.4")
@pytest.mark.parametrize(
    "value",
    [
        b'{ "b" : 1.0,\n "a": "\\u00e9 \xc3\xa9", "a": 2 }',
        bytes(range(256)) * 5_000,
        b"\x00",
    ],
    ids=["odd JSON", "a megabyte of any bytes", "a zero"],
)
async def test_an_answer_comes_back_byte_for_byte(store: Store, value: bytes) -> None:
    await stored(store, Writes(answers=(answer("r1", answer=value),)))
    assert (await known(store, keys=(key("r1"),))).answers[key("r1")].answer == value


async def test_the_longest_ids_fit(store: Store) -> None:
    topic, name = "t" * 249, "c" * 255
    position = Position(topic, 2**31 - 1, 2**63 - 1, 2**63 - 1)
    given = answer("r1", source=f"kafka:{topic}#{name}", id=position.id, customer=name, position=position)
    await stored(store, Writes(new=rows(customer(name), patient(name, patient=name)), answers=(given,)))
    found = await known(store, name, keys=(given.key,))
    assert found.answers == {given.key: given}
    assert found.patients.keys() == {name}


async def test_owners_are_told_for_deleted_patients_too(store: Store) -> None:
    await with_rows(store, "cus_1")
    await stored(store, Writes(new=rows(customer("cus_2"), patient("cus_2", deleted_at=LATER))))
    assert await store.owners(["pat_cus_2", "pat_cus_1", "pat_cus_1", "pat_other"]) == {
        "pat_cus_1": "cus_1",
        "pat_cus_2": "cus_2",
    }


@pytest.mark.rule("R7.1")
async def test_leaving_without_a_commit_stores_nothing(store: Store) -> None:
    async with store.transaction() as transaction:
        await transaction.write(Writes(new=rows(customer("cus_1")), answers=(answer("r1"),)))
    with suppress(ZeroDivisionError):
        async with store.transaction() as transaction:
            await transaction.write(Writes(new=rows(customer("cus_1"))))
            raise ZeroDivisionError
    found = await known(store, "cus_1", keys=(key("r1"),))
    assert found == Known()


CONFLICTS: dict[str, Any] = {
    "new customer": Writes(new=rows(customer("cus_1"))),
    "changed customer": Writes(changed=rows(customer("cus_1", version=3))),
    "changed customer that is gone": Writes(changed=rows(customer("cus_9", version=2))),
    "new patient under a known id": Writes(new=rows(patient("cus_8", patient="pat_cus_1"))),
    "changed patient": Writes(changed=rows(patient("cus_1"), version=1)),
    "changed patient of another": Writes(changed=rows(patient("cus_1", patient="pat_x"), version=2)),
    "deleted customer": Writes(changed=rows(customer("cus_2", version=2))),
    "deleted patient": Writes(changed=rows(patient("cus_3"), version=2)),
    "answer": Writes(answers=(answer("r1", answer=b"other"),)),
}


@pytest.mark.rule("R7.1")
@pytest.mark.rule("R7.2")
@pytest.mark.rule("R7.3")
@pytest.mark.parametrize("writes", CONFLICTS.values(), ids=CONFLICTS.keys())
async def test_a_row_that_has_moved_is_a_conflict_and_nothing_is_stored(store: Store, writes: Writes) -> None:
    await with_rows(store, "cus_1")
    await stored(
        store,
        Writes(
            new=rows(customer("cus_2", deleted_at=LATER), patient("cus_3", deleted_at=LATER)),
            answers=(answer("r1"),),
        ),
    )
    before = await known(store, "cus_1", "cus_2", "cus_3", keys=(key("r1"), key("r2")))
    writes = replace(writes, new=(*rows(customer("cus_0")), *writes.new), answers=(answer("r2"), *writes.answers))
    with pytest.raises(Conflict):
        await stored(store, writes)
    assert await known(store, "cus_0", "cus_1", "cus_2", "cus_3", keys=(key("r1"), key("r2"))) == before


@pytest.mark.rule("R7.12")
@pytest.mark.parametrize("column", ["last_name", "patient_last_name"])
async def test_a_change_by_another_system_is_noticed(store: Store, database_url: str, column: str) -> None:
    await with_rows(store, "cus_1")
    async with admin(database_url) as connection:
        await connection.execute(f"update customers set {column} = 'Changed'")
    assert (await known(store, "cus_1")).customers["cus_1"].version == 2


@pytest.mark.rule("R7.2")
async def test_of_two_workers_that_read_the_same_one_gets_a_conflict(store: Store) -> None:
    await with_rows(store, "cus_1")
    async with store.transaction() as one, store.transaction() as two:
        await one.read((), ["cus_1"])
        await two.read((), ["cus_1"])
        await one.write(Writes(changed=rows(patient("cus_1", city="Rome"), version=2)))
        waiting = asyncio.create_task(two.write(Writes(changed=rows(patient("cus_1", city="Oslo"), version=2))))
        await one.commit()
        with pytest.raises(Conflict):
            await waiting
    assert (await known(store, "cus_1")).patients["cus_1"].city == "Rome"


async def test_locked_rows_wait_for_their_turn_and_then_see_what_stands(store: Store) -> None:
    await with_rows(store, "cus_1", "cus_2")
    async with store.transaction(lock=True) as one, store.transaction(lock=True) as two:
        await one.read((), ["cus_1"])
        waiting = asyncio.create_task(two.read((), ["cus_2", "cus_1"]))
        assert not (await asyncio.wait([waiting], timeout=0.2))[0]
        await one.write(Writes(changed=rows(patient("cus_1", city="Rome"), version=2)))
        await one.commit()
        assert (await waiting).patients["cus_1"].city == "Rome"
        await two.write(Writes(changed=rows(patient("cus_1", city="Oslo"), version=3)))
        await two.commit()


@pytest.mark.rule("R7.5")
@pytest.mark.parametrize("lock", [(False, False), (True, False), (True, True)], ids=["no", "one", "both"])
async def test_workers_with_the_same_rows_never_wait_in_a_circle(store: Store, lock: tuple[bool, bool]) -> None:
    names = [f"cus_{number:03d}" for number in range(60)]
    await with_rows(store, *names[:40])
    versions = dict.fromkeys(names[:40], 1)

    async def work(mine: list[str], *, lock: bool) -> Writes | None:
        async with store.transaction(lock=lock) as transaction:
            await transaction.read((), mine)
            writes = Writes(
                changed=rows(*(customer(name, version=versions[name] + 1) for name in mine[::2])),
                new=rows(*map(customer, reversed(names[40:]))),
                answers=tuple(answer(name) for name in mine),
            )
            try:
                await transaction.write(writes)
            except Conflict:
                return None
            return writes  # left without a commit: the next round finds the same rows

    for _ in range(10):
        # Transient (a deadlock is SQLSTATE 40P01) would rise from here.
        await asyncio.gather(work(names[:40], lock=lock[0]), work(names[39::-1], lock=lock[1]))


@pytest.mark.rule("R7.11")
@pytest.mark.parametrize(
    "writes",
    [
        Writes(new=rows(customer("cus_1", first_name=""))),
        Writes(new=rows(customer("cus_1", last_name="x" * 201))),
        Writes(new=rows(customer("cus_1", phone="1" * 41))),
        Writes(new=rows(customer("cus_1", email="x" * 255))),
        Writes(new=rows(customer("cus_1", metadata="[]"))),
        Writes(new=rows(customer("cus_1", metadata="not JSON"))),
        Writes(new=rows(customer("cus_1", metadata='{"a": "' + "x" * 16_384 + '"}'))),
        Writes(new=rows(customer("cus_1", deleted_at=datetime(2020, 1, 1, tzinfo=UTC)))),
        Writes(new=rows(customer("cus_1", version=0))),
        Writes(new=rows(customer("c" * 256))),
        Writes(new=rows(customer(""))),
        Writes(new=rows(patient("cus_1", address="x" * 301))),
        Writes(new=rows(patient("cus_1", city=""))),
        Writes(new=rows(patient("cus_1", country="x" * 101))),
        Writes(new=rows(patient("cus_1", gender=""))),
        Writes(new=rows(patient("cus_1", state=None))),
        Writes(answers=(answer("r1", outcome=Outcome.REJECTED),)),
        Writes(answers=(answer("r1", key=b"short"),)),
        Writes(answers=(answer("r1", fingerprint=b"short"),)),
        Writes(answers=(answer("r1", source=""),)),
        Writes(answers=(answer("r1", id="x" * 512),)),
        Writes(answers=(answer("r1", answer=b""),)),
    ],
)
async def test_what_breaks_a_rule_of_the_fields_is_a_fault_of_data(store: Store, writes: Writes) -> None:
    await stored(store, Writes(new=rows(customer("cus_0"))))
    with pytest.raises(DataFault, match=r"^postgres: SQLSTATE (23514|23502|22P02)$"):
        await stored(store, writes)


async def test_check_is_content_with_its_own_schema(store: Store) -> None:
    await store.check()


async def test_check_accepts_a_schema_that_a_newer_version_has_migrated(store: Store, database_url: str) -> None:
    async with admin(database_url) as connection:
        await connection.execute("update patient_upsert_revision set version_num = '9999'")
    await store.check()


@pytest.mark.rule("R7.13")
@pytest.mark.parametrize("change", ["update patient_upsert_revision set version_num = '0000'"])
async def test_check_says_what_to_run_when_the_schema_is_behind(store: Store, database_url: str, change: str) -> None:
    async with admin(database_url) as connection:
        await connection.execute(change)
    with pytest.raises(
        SetupNeeded, match=r"^postgres: the schema is at 0000, 0003 is needed; run: patient-upsert setup"
    ):
        await store.check()


@pytest.mark.rule("R7.13")
@pytest.mark.parametrize("change", ["drop table patient_upsert_revision", "delete from patient_upsert_revision"])
async def test_check_says_what_to_run_when_the_schema_is_missing(store: Store, database_url: str, change: str) -> None:
    async with admin(database_url) as connection:
        await connection.execute(change)
    with pytest.raises(SetupNeeded, match=r"run: patient-upsert setup$"):
        await store.check()


async def test_a_database_that_is_missing_is_transient_and_says_so(worker_url: str) -> None:
    async with open_store(f"{worker_url}_gone", pool_size=1, statement_cache=0) as store:
        with pytest.raises(Transient, match=r"^postgres: SQLSTATE 3D000 \(the database does not exist"):
            await store.check()


async def test_rows_are_as_precise_as_the_answers(store: Store) -> None:
    await stored(store, Writes(new=rows(customer("cus_1", created_at=NOW.replace(microsecond=678400)))))
    assert (await known(store, "cus_1")).customers["cus_1"].created_at == NOW
