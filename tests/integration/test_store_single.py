"""A transaction of one request has statements of its own, and means the same as any other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from app.errors import Conflict, DataFault, WorkerError
from app.model import Known, Writes
from app.store import Store, open_store
from tests.integration.store_rows import LATER, admin, answer, customer, key, known, patient, rows, stored, with_rows
from tests.integration.test_store import CONFLICTS
from tests.integration.test_store_faults import BAD, SECRET, assert_silent

NAMES = ("cus_0", "cus_1", "cus_2", "cus_3", "cus_8", "cus_9", "cus_new")
KEYS = (key("r1"), key("r2"))
YEAR = datetime(1950, 1, 1, tzinfo=UTC)


@pytest.fixture(params=[100, 0], ids=["statement cache", "no statement cache"])
async def store(request: pytest.FixtureRequest, worker_url: str) -> AsyncIterator[Store]:
    async with open_store(worker_url, pool_size=1, statement_cache=request.param) as opened:
        yield opened


def answered(writes: Writes) -> Writes:
    """With an answer, which no change is without."""
    return replace(writes, answers=writes.answers or (answer("r2"),))


async def outcome(store: Store, url: str, writes: Writes, *, single: bool) -> tuple[str, str, Known]:
    """What becomes of these: the error, and what stands then."""
    async with admin(url) as connection:
        await connection.execute("truncate customers, requests")
    await with_rows(store, "cus_0", "cus_1")
    deleted = rows(customer("cus_2", deleted_at=LATER), patient("cus_3", deleted_at=LATER))
    await stored(store, Writes(new=deleted, answers=(answer("r1"),)))
    error: WorkerError | None = None
    try:
        async with store.transaction(single=single) as transaction:
            await transaction.write(writes)
            await transaction.commit()
    except WorkerError as raised:
        error = raised
        assert_silent(raised, SECRET)
    return type(error).__name__, str(error), await known(store, *NAMES, keys=KEYS)


WHOLE: dict[str, Any] = {
    "first_name": "Zoë",
    "last_name": "Sample",
    "date_of_birth": date(1901, 1, 1),
    "gender": None,
    "address": "2 Invented Street",
    "address2": "Flat",
    "city": "Rome",
    "state": "RM",
    "postal_code": "00100",
    "country": "Italy",
    "effective_at": LATER,
    "created_at": YEAR,
    "updated_at": LATER,
}
CHANGED = customer("cus_1", email=None, phone="+39 06 1234", updated_at=LATER, version=2)
GOOD: dict[str, Writes] = {
    "changed": Writes(changed=rows(CHANGED, patient("cus_1", **WHOLE))),
    "changed back to nulls": Writes(changed=rows(patient("cus_1", gender=None, address2=None), version=2)),
    "new": Writes(new=rows(customer("cus_new", has_account=True, metadata='{"a": 1}'), patient("cus_new", **WHOLE))),
    "answer alone": Writes(answers=(answer("r2", answer=b"\x00\xff", source="é"),)),
}


@pytest.mark.rule("R7.16")
@pytest.mark.parametrize("writes", GOOD.values(), ids=GOOD.keys())
async def test_what_one_request_changes_is_stored_as_that_of_many(
    store: Store, database_url: str, writes: Writes
) -> None:
    writes = answered(writes)
    error, _, stands = await outcome(store, database_url, writes, single=True)
    assert error == "NoneType"
    assert stands.answers[key("r2")] == writes.answers[0]
    for row in (*writes.new, *writes.changed):
        assert (stands.customers[row[0].customer], stands.patients[row[0].customer]) == row
    assert (error, "None", stands) == await outcome(store, database_url, writes, single=False)


REFUSED: dict[str, Writes] = CONFLICTS | BAD


@pytest.mark.rule("R7.16")
@pytest.mark.parametrize("writes", REFUSED.values(), ids=REFUSED.keys())
async def test_what_cannot_be_stored_for_one_request_is_refused_as_for_many_and_leaves_nothing(
    store: Store, database_url: str, writes: Writes
) -> None:
    writes = answered(writes)
    before = (await outcome(store, database_url, Writes(), single=True))[2]
    error, text, stands = await outcome(store, database_url, writes, single=True)
    assert error in (Conflict.__name__, DataFault.__name__)
    assert stands == before
    assert (error, text.partition(":")[0]) == (
        (await outcome(store, database_url, writes, single=False))[0],
        "postgres",
    )


@pytest.mark.rule("R7.16")
@pytest.mark.parametrize("keys", [(), KEYS[:1], KEYS[1:]], ids=["no key", "stored", "not stored"])
@pytest.mark.parametrize("names", [(), ("cus_0",), ("cus_9",), ("cus_bare",)], ids=["none", "there", "not", "bare"])
async def test_one_request_reads_what_many_would(
    store: Store, database_url: str, keys: tuple[bytes, ...], names: tuple[str, ...]
) -> None:
    await stored(store, Writes(new=rows(customer("cus_0")), answers=(answer("r1"),)))
    async with admin(database_url) as connection:
        await connection.execute(
            "insert into customers (customer, first_name, last_name) values ('cus_bare', 'Ann', 'O')"
        )
    async with store.transaction(single=True) as transaction:
        found = await transaction.read(keys, names)
    assert found == await known(store, *names, keys=keys)
    assert (set(found.answers), set(found.customers)) == ({*keys} - {key("r2")}, {*names} - {"cus_9"})


@pytest.mark.rule("R7.16")
async def test_more_than_one_request_is_not_for_it(store: Store) -> None:
    async with store.transaction(single=True) as transaction:
        with pytest.raises(ValueError, match="too many values"):
            await transaction.read(KEYS, ())
        with pytest.raises(ValueError, match="too many values"):
            await transaction.read((), NAMES)
        with pytest.raises(ValueError, match="too many values"):
            await transaction.write(Writes(answers=(answer("r1"), answer("r2"))))
        with pytest.raises(ValueError, match="too many values"):
            await transaction.write(answered(Writes(new=rows(customer("cus_1"), customer("cus_2")))))
