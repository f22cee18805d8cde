"""One batch against the database: read, write, commit."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from asyncpg import InterfaceError

from app.errors import Conflict, DataFault, Transient, WorkerError
from app.model import Known, Row, Writes
from app.store import rows
from app.store.faults import Judge, away, data, limited, schema, taken
from app.store.rows import query

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.pool import PoolConnectionProxy

T = TypeVar("T")

STATEMENT_SECONDS: Final = 30.0
"""The slowest statement of a full batch takes under a second; the server's own limit (begin.sql) comes first."""
ROLLBACK_SECONDS: Final = 5.0
"""A server that has not rolled back by then hangs; closing the connection rolls back as well."""

_by_key = attrgetter("key")


def _by_customer(row: Row) -> str:
    return row[0].customer


class Transaction:
    """An open transaction. Leaving its context without `commit` rolls it back.

    Rows are locked in one order everywhere, so that workers wait for each other but never in a circle: customers that
    change, new customers, answers; inside each by key.

    With `single` it is for one request: one key, one customer, one row of each kind. Its statements are of single
    values, so that their plans may be kept, and need no second round trip for COPY.
    """

    def __init__(self, connection: PoolConnectionProxy[Record], *, lock: bool, single: bool) -> None:
        self._connection = connection
        self._lock = lock
        self._single = single
        self._open = False
        self._broken = False

    async def begin(self) -> None:
        """Called by the store, which hands out open transactions only. Raises Transient."""
        text = query("begin") if self._single else query("begin") + query("plan_anew")
        await self._run(self._execute(text), away)
        self._open = True

    async def only_read(self) -> None:
        """Have the server refuse every write from here on. Raises Transient."""
        await self._run(self._execute("set transaction read only"), away)

    async def read(self, keys: Collection[bytes], customers: Collection[str]) -> Known:
        """The stored answers under these keys and the rows of these customers, deleted ones too.

        Raises Transient, and DataFault when a name of a customer cannot be sent.
        """
        names, keys = sorted(set(customers)), sorted(set(keys))
        if not names and not keys:
            return Known()
        if names and self._lock:
            await self._run(self._execute(query("lock_customers"), names), data)
        if self._single:
            return rows.known(await self._run(self._rows(query("read_one"), _one(keys), _one(names)), data))
        return rows.known(await self._run(self._rows(query("read"), keys, names), data))

    async def write(self, writes: Writes) -> None:
        """Store what one batch changes.

        Raises Conflict when a row has moved or a key is taken, DataFault when a value cannot be stored, Transient.
        After any of them this transaction can only be left.
        """
        if self._single:
            await self._write_one(writes)
            return
        await self._change("customers", sorted(writes.changed, key=_by_customer))
        await self._copy("customers", list(map(rows.new, sorted(writes.new, key=_by_customer))), rows.COLUMNS)
        answers = sorted(writes.answers, key=_by_key)
        await self._copy("requests", [rows.row_of(answer) for answer in answers], rows.ANSWER_COLUMNS)

    async def commit(self) -> None:
        """Make it last. Raises Transient, after which it may or may not have been committed."""
        self._open = False
        try:
            done = await self._run(self._execute("commit"), away)
        except Transient as error:
            text, kind = f"{error}; the outcome of the commit is unknown", error.kind
        else:
            if done == "COMMIT":
                return
            text, kind = "postgres: rolled back instead of committed", "rolled_back"
        raise Transient(text, kind)

    async def owners(self, patients: Collection[str]) -> dict[str, str]:
        """See `Store.owners`."""
        asked = sorted(set(patients))
        found = await self._run(self._rows(query("read_owners"), asked), data) if asked else []
        return {row[0]: row[1] for row in found}

    async def begin_assignment(
        self, group: str, topic: str, begins: Mapping[int, tuple[int, int]]
    ) -> dict[int, tuple[int, int]]:
        """Note the first and the last offset of the first batch of each partition's assignment.

        Returns how many of the last assignments in a row died on that first record, and the last offset of the batch in
        which they did.
        """
        heads, tails = zip(*begins.values(), strict=True)
        asked = self._rows(query("begin_assignment"), group, topic, list(begins), list(heads), list(tails))
        return {row[0]: (row[1], row[2]) for row in await self._run(asked, away)}

    async def touch_record(self, group: str, topic: str, partition: int, offset: int | None) -> None:
        """Note which record of a searched partition is processed alone now; None: none."""
        await self._run(self._execute(query("touch_record"), group, topic, partition, offset), away)

    async def end_assignment(self, group: str, topic: str, partitions: Collection[int]) -> None:
        """Note that the assignments of these partitions have ended in order."""
        await self._run(self._execute(query("end_assignment"), group, topic, list(partitions)), away)

    async def remove_answers(self, topic: str, since: datetime, before: datetime, most: int) -> list[datetime] | None:
        """Remove the oldest answers to requests of this topic that were given from `since` on and before `before`.

        Returns when they had been given; None when another worker is at it.
        """
        ((ours,),) = await self._run(self._rows(query("take_turn")), away)
        if not ours:
            return None
        return [
            row[0] for row in await self._run(self._rows(query("remove_answers"), since, before, topic, most), away)
        ]

    async def revision(self) -> str | None:
        """At which revision the schema is. Raises Transient, and SetupNeeded when there is none."""
        found = await self._run(self._rows(query("read_revision")), schema)
        return found[0][0] if found else None

    async def end(self) -> None:
        """Roll back what is open. A connection of which we cannot be sure is closed and never used again."""
        try:
            if self._open and not self._broken:
                with suppress(WorkerError):  # closed below, which rolls back too
                    await self._run(self._execute("rollback"), away, ROLLBACK_SECONDS)
        finally:
            if self._broken:
                with suppress(InterfaceError):  # it is closed already
                    self._connection.terminate()

    async def _run(self, work: Awaitable[T], judge: Judge, seconds: float | None = None) -> T:
        try:
            return await limited(work, seconds or STATEMENT_SECONDS, judge)
        except (DataFault, Conflict):
            raise
        except BaseException:  # also cancelled: what the server does at this moment is unknown
            self._broken = True
            raise

    async def _change(self, table: str, changed: Collection[Row]) -> None:
        if not changed:
            return
        tag = await self._run(self._execute(query(f"update_{table}"), list(map(rows.change, changed))), data)
        _all_of(len(changed), tag)

    async def _write_one(self, writes: Writes) -> None:
        """An answer, and the row that it speaks of, if it is new or changed."""
        if not writes:
            return
        (answer,) = map(rows.row_of, writes.answers)
        if writes.changed:
            (row,) = map(rows.change, writes.changed)
            _all_of(1, await self._run(self._execute(query("change_one"), *row, *answer), taken))
        elif writes.new:
            (row,) = map(rows.new, writes.new)
            await self._run(self._execute(query("create_one"), *row, *answer), taken)
        else:
            await self._run(self._execute(query("answer_one"), *answer), taken)

    async def _copy(self, table: str, records: Sequence[tuple[Any, ...]], columns: Sequence[str]) -> None:
        # Half the cost of an insert from arrays, here and there. A taken key is an error, so there is nothing to count.
        if records:
            await self._run(self._copied(table, records, columns), taken)

    # A connection that was closed under us raises when it is called, not when it is awaited: hence these three.

    async def _execute(self, text: str, *arguments: Any) -> str:
        return await self._connection.execute(text, *arguments)

    async def _rows(self, text: str, *arguments: Any) -> list[Record]:
        return await self._connection.fetch(text, *arguments)

    async def _copied(self, table: str, records: Sequence[tuple[Any, ...]], columns: Sequence[str]) -> str:
        try:
            return await self._connection.copy_records_to_table(table, records=records, columns=columns)
        except AttributeError:  # from a value of the wrong kind, and from a connection that is lost on the way
            if self._connection.is_closed():
                raise
            raise TypeError from None


def _one(values: Sequence[T]) -> T | None:
    """The only value, if there is any."""
    if not values:
        return None
    (only,) = values
    return only


def _all_of(count: int, tag: str) -> None:
    """Raise Conflict unless a statement has done so many rows."""
    if int(tag.rpartition(" ")[2]) != count:
        raise Conflict("postgres: a row has moved since it was read")
