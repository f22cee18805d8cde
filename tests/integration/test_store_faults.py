"""What the store makes of bad values, of a server that goes away or hangs, and of being cancelled."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

import app.store.pool
import app.store.transaction
from app.errors import Conflict, DataFault, Transient
from app.model import Known, Position, Writes
from app.store import Store, open_store
from devstack.servers.waiting import HOST, free_port
from tests.integration.store_rows import admin, answer, customer, key, known, patient, rows, stored, with_rows

LIMIT = 0.3
ENOUGH = 20.0
"""Seconds: less than the limit of a statement, so that a limit which is not `LIMIT` shows."""


@asynccontextmanager
async def store_of(url: str, size: int = 1) -> AsyncIterator[Store]:
    """One connection, so that a spoilt one would be met again."""
    async with open_store(url, pool_size=size, statement_cache=100) as store:
        yield store


@pytest.fixture
async def store(worker_url: str) -> AsyncIterator[Store]:
    async with store_of(worker_url) as opened:
        yield opened


def assert_silent(error: BaseException, *values: str) -> None:
    """No value, and nothing of the driver, is in the error or what a log would make of it."""
    assert error.__cause__ is None
    assert error.__context__ is None
    text = "".join(traceback.format_exception(error)) + repr(error) + str(error)
    for value in (*values, "DETAIL", "asyncpg.exceptions", "invalid input", "Failing row"):
        assert value not in text


SECRET = "Xanthippe"
BAD = {
    "rule of a table": Writes(new=rows(customer("cus_1", first_name=SECRET * 40))),
    "missing value": Writes(new=rows(customer("cus_1", first_name=None, last_name=SECRET))),
    "NUL": Writes(new=rows(customer("cus_1", first_name=SECRET + "\0"))),
    "lone surrogate": Writes(new=rows(customer("cus_1", first_name=SECRET + "\ud800"))),
    "not a date": Writes(new=rows(patient("cus_1", date_of_birth=SECRET))),
    "number too large": Writes(changed=rows(customer("cus_0", email=SECRET, version=2**63))),
    "NUL in an answer": Writes(answers=(answer("r1", id=SECRET + "\0"),)),
    "lone surrogate in an answer": Writes(answers=(answer("r1", id=SECRET + "\ud800"),)),
    "answer of the wrong kind": Writes(answers=(answer("r1", answer=SECRET),)),
    "rule of the answers": Writes(answers=(answer("r1", source=SECRET * 100),)),
    "offset too large": Writes(answers=(answer("r1", position=Position(SECRET, 0, 2**63, -1)),)),
}


@pytest.mark.rule("R7.6")
@pytest.mark.rule("R7.8")
@pytest.mark.parametrize("writes", BAD.values(), ids=BAD.keys())
async def test_a_bad_value_is_a_fault_of_data_and_the_connection_stays(
    store: Store, database_url: str, writes: Writes
) -> None:
    await stored(store, Writes(new=rows(customer("cus_0"))))
    async with admin(database_url) as connection:
        before = await backends(connection)
        with pytest.raises(DataFault) as caught:
            await stored(store, writes)
        assert_silent(caught.value, SECRET)
        assert (await known(store, "cus_0", "cus_1", keys=(key("r1"),))).customers.keys() == {"cus_0"}
        assert await backends(connection) == before


async def backends(connection: asyncpg.Connection[asyncpg.Record]) -> list[int]:
    """The processes that serve the other connections to this database."""
    rows = await connection.fetch(
        "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        " and backend_type = 'client backend' order by pid"
    )
    return [row["pid"] for row in rows]


@pytest.mark.rule("R7.6")
@pytest.mark.parametrize("name", ["cus\0", "cus\ud800"])
async def test_a_name_that_cannot_be_asked_for_is_a_fault_of_data(store: Store, name: str) -> None:
    with pytest.raises(DataFault) as caught:
        await known(store, name)
    assert_silent(caught.value, name)
    with pytest.raises(DataFault):
        await store.owners([name])
    assert await known(store, "cus_1") == Known()


async def terminate(url: str) -> None:
    """End every other connection to this database, as an operator or a failover does."""
    async with admin(url) as connection:
        for pid in await backends(connection):
            assert await connection.fetchval(f"select pg_terminate_backend({pid}, 5000)")


@pytest.mark.rule("R7.1")
@pytest.mark.rule("R7.7")
@pytest.mark.rule("R7.8")
@pytest.mark.parametrize("moment", ["idle", "before reading", "before writing", "before the answers", "before commit"])
async def test_a_lost_connection_is_transient_and_the_next_transaction_works(
    store: Store, database_url: str, moment: str
) -> None:
    async def attempt() -> None:
        async with store.transaction() as transaction:
            if moment == "before reading":
                await terminate(database_url)
            await transaction.read([key("r1")], ["cus_1"])
            if moment == "before writing":
                await terminate(database_url)
            await transaction.write(Writes(new=rows(customer("cus_1"))))
            if moment == "before the answers":
                await terminate(database_url)
            await transaction.write(Writes(answers=(answer("r1"),)))
            if moment == "before commit":
                await terminate(database_url)
            await transaction.commit()

    if moment == "idle":
        await store.check()
        await terminate(database_url)
        with suppress(Transient):  # the pool may notice in time
            await attempt()
    else:
        with pytest.raises(Transient) as caught:
            await attempt()
        assert_silent(caught.value)
        assert await known(store, "cus_1", keys=(key("r1"),)) == Known()
        moment = "none"
        await attempt()
    moment = "none"
    with suppress(Conflict):
        await attempt()
    assert (await known(store, "cus_1")).customers.keys() == {"cus_1"}


async def test_an_error_in_the_middle_spoils_the_commit_too(store: Store) -> None:
    async with store.transaction() as transaction:
        with pytest.raises(DataFault):
            await transaction.write(Writes(new=rows(customer("cus_1", first_name=""))))
        with pytest.raises(Transient, match="rolled back instead of committed"):
            await transaction.commit()
    assert await known(store, "cus_1") == Known()


@pytest.mark.rule("R7.7")
async def test_a_schema_change_under_a_live_connection_is_transient_once(store: Store, database_url: str) -> None:
    await with_rows(store, "cus_1")
    await known(store, "cus_1")
    async with admin(database_url) as connection:
        await connection.execute("alter table customers alter column city type varchar(100)")
    with pytest.raises(Transient, match=r"^postgres: SQLSTATE 0A000$"):
        await known(store, "cus_1")
    assert (await known(store, "cus_1")).patients["cus_1"].city == "Springfield"


@pytest.mark.rule("R7.7")
async def test_a_column_of_the_answers_that_changes_its_type_is_transient_once(store: Store, database_url: str) -> None:
    await stored(store, Writes(answers=(answer("r1"),)))
    async with admin(database_url) as connection:
        await connection.execute("alter table requests alter column record_partition type bigint")
    with pytest.raises(Transient):
        await stored(store, Writes(answers=(answer("r2"),)))
    await stored(store, Writes(answers=(answer("r2"),)))
    assert (await known(store, keys=(key("r2"),))).answers.keys() == {key("r2")}


async def test_an_added_column_disturbs_nothing(store: Store, database_url: str) -> None:
    await with_rows(store, "cus_1")
    await stored(store, Writes(answers=(answer("r1"),)))
    async with admin(database_url) as connection:
        for table in ("customers", "requests"):
            await connection.execute(f"alter table {table} add column added text default 'x'")
    await stored(store, Writes(changed=rows(patient("cus_1"), version=2), answers=(answer("r2"),)))
    assert (await known(store, "cus_1", keys=(key("r2"),))).customers["cus_1"].version == 2


@pytest.mark.rule("R7.1")
@pytest.mark.parametrize("what", ["reading", "writing", "answers", "commit", "own work"])
async def test_being_cancelled_leaves_nothing_behind_and_the_pool_usable(
    store: Store, database_url: str, what: str
) -> None:
    await with_rows(store, "cus_1")
    reached = asyncio.Event()

    async def attempt() -> None:
        async with store.transaction(lock=True) as transaction:
            if what == "own work":
                reached.set()
                await asyncio.Event().wait()
            if what == "reading":
                reached.set()
                await transaction.read((), ["cus_1"])
            if what == "writing":
                reached.set()
                await transaction.write(Writes(changed=rows(customer("cus_1", version=2))))
            if what == "answers":
                reached.set()
                await transaction.write(Writes(answers=(answer("r1"),)))
            await transaction.write(Writes(new=rows(customer("cus_2"))))
            reached.set()
            await transaction.commit()

    async with admin(database_url) as other:
        # Someone else holds what the attempt needs, so that it is met in the middle of its statement.
        await other.execute("begin; select from customers for update; lock table requests")
        task = asyncio.create_task(attempt())
        await reached.wait()
        if what != "commit":
            done, _ = await asyncio.wait([task], timeout=0.1)
            assert not done
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await other.execute("rollback")
    found = await known(store, "cus_1", keys=(key("r1"),))
    assert found.customers["cus_1"].version == 1
    assert found.answers == {}
    await store.check()


async def test_being_cancelled_while_waiting_for_a_connection_costs_none(store: Store) -> None:
    async with store.transaction():
        waiting = [asyncio.create_task(store.check()) for _ in range(3)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        assert all(
            isinstance(result, asyncio.CancelledError)
            for result in await asyncio.gather(*waiting, return_exceptions=True)
        )
    await store.check()


@pytest.mark.rule("R7.9")
async def test_waiting_for_a_free_connection_has_an_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.store.pool, "ACQUIRE_SECONDS", LIMIT)
    async with store.transaction():
        with pytest.raises(Transient, match=r"^postgres: no answer in time$"):
            await store.check()
    monkeypatch.undo()  # a busy machine may need longer than this limit
    await store.check()


class Wire:
    """A wire to the server that can be held (nothing passes, nothing breaks) or cut."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.cut_after: bytes | None = None
        """Once the client has sent this, and the server has answered it, the answer is lost."""
        self._writers: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[str]:
        """The URL of this end."""
        port = free_port()  # nobody else gets it while it is not laid
        async with await asyncio.start_server(self._connected, HOST, port):
            netloc = self._target.netloc.rpartition("@")[0] + f"@127.0.0.1:{port}"
            try:
                yield urlunsplit(self._target._replace(netloc=netloc))
            finally:
                self.flowing.set()
                self.cut()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._writers |= {writer, back}
        with suppress(ConnectionError):
            await asyncio.gather(self._pump(reader, back, sent=True), self._pump(there, writer, sent=False))
        self._writers -= {writer, back}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, sent: bool) -> None:
        while data := await reader.read(65536):
            await self.flowing.wait()
            if not sent and self.cut_after == b"":
                self.cut_after = None
                self.cut()
                return
            if sent and self.cut_after and self.cut_after in data:
                self.cut_after = b""
            writer.write(data)
        writer.close()


@pytest.mark.rule("R7.7")
async def test_a_commit_whose_answer_is_lost_is_transient_and_may_have_happened(worker_url: str) -> None:
    wire = Wire(worker_url)
    async with wire.laid() as url, store_of(url) as store:
        await store.check()
        async with store.transaction() as transaction:
            await transaction.write(Writes(answers=(answer("r1"),)))
            wire.cut_after = b"commit\0"
            with pytest.raises(Transient, match="the outcome of the commit is unknown") as caught:
                await transaction.commit()
        assert_silent(caught.value)
        assert (await known(store, keys=(key("r1"),))).answers.keys() == {key("r1")}


HANGING: dict[str, Callable[[Store], Awaitable[object]]] = {
    "check": lambda store: store.check(),
    "owners": lambda store: store.owners(["pat_1"]),
    "reading": lambda store: known(store, "cus_1"),
    "writing": lambda store: stored(store, Writes(new=rows(customer("cus_1")))),
}


@pytest.mark.rule("R7.9")
@pytest.mark.parametrize("moment", ["connect", "begin", "read", "write", "answers", "commit", "rollback", "close"])
async def test_a_server_that_hangs_costs_no_more_than_the_limit(
    worker_url: str, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    wire = Wire(worker_url)

    def hang_at(this: str) -> None:
        if moment != this:
            return
        wire.flowing.clear()
        for module, name in (
            (app.store.transaction, "STATEMENT_SECONDS"),
            (app.store.transaction, "ROLLBACK_SECONDS"),
            (app.store.pool, "ACQUIRE_SECONDS"),
            (app.store.pool, "CLOSE_SECONDS"),
        ):
            monkeypatch.setattr(module, name, LIMIT)

    async def attempt(store: Store) -> None:
        async with store.transaction() as transaction:
            hang_at("read")
            await transaction.read([key("r1")], ["cus_1"])
            hang_at("write")
            await transaction.write(Writes(new=rows(customer("cus_1"))))
            hang_at("answers")
            await transaction.write(Writes(answers=(answer("r1"),)))
            hang_at("commit")
            if moment != "rollback":
                await transaction.commit()
            hang_at("rollback")

    async with wire.laid() as url, asyncio.timeout(ENOUGH), store_of(url) as store:
        hang_at("connect")
        if moment != "connect":
            await store.check()
        hang_at("begin")
        (failure,) = await asyncio.gather(attempt(store), return_exceptions=True)
        if moment in ("rollback", "close"):
            assert failure is None
        else:
            assert isinstance(failure, Transient)
            assert "no answer in time" in str(failure)
            assert_silent(failure)
        if moment != "close":
            wire.flowing.set()
            monkeypatch.undo()
            await store.check()
        hang_at("close")


@pytest.mark.rule("R7.14")
async def test_a_store_opened_while_the_server_is_away_works_once_it_is_there(worker_url: str) -> None:
    wire = Wire(worker_url)
    async with wire.laid() as url:
        pass
    async with store_of(url) as store:
        with pytest.raises(Transient, match=r"^postgres: connection lost or refused$") as caught:
            await store.check()
        assert_silent(caught.value)
        port = urlsplit(url).port
        server = await asyncio.start_server(wire._connected, HOST, port)
        await store.check()
        server.close()
        wire.cut()


@pytest.mark.rule("R7.8")
@pytest.mark.parametrize(
    "url", ["postgresql+asyncpg://u:hunter2@h/d", "postgresql://u:hunter2@h:port/d", "hunter2", "postgresql://[hunter2"]
)
async def test_an_address_that_cannot_be_read_is_not_quoted(url: str) -> None:
    async with store_of(url) as store:
        with pytest.raises(Transient) as caught:
            await store.check()
    assert_silent(caught.value, "hunter2")


@pytest.mark.parametrize("call", HANGING.values(), ids=HANGING.keys())
async def test_every_call_works_again_after_a_restart(
    store: Store, database_url: str, call: Callable[[Store], Awaitable[object]]
) -> None:
    await store.check()
    await terminate(database_url)
    with suppress(Transient):
        await call(store)
    await call(store) if call is not HANGING["writing"] else None
    await store.check()
