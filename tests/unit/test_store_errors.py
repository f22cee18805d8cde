"""Every error of the driver has its place, judged by class and SQLSTATE alone."""

from __future__ import annotations

import asyncio
import inspect
import traceback

import asyncpg
import pytest

from app.errors import Conflict, DataFault, SetupNeeded, Transient, WorkerError
from app.store import faults
from app.store.faults import away, connecting, data, limited, schema, taken

SECRET = "Ann-Other-1980"

# The first two characters of every SQLSTATE that the driver knows, and where errors of that class belong.
TRANSIENT_CLASSES = frozenset(
    {
        "00",
        "01",
        "02",
        "03",
        "08",
        "09",
        "0A",
        "0B",
        "0F",
        "0L",
        "0P",
        "0Z",
        "10",
        "20",
        "21",
        "23",
        "24",
        "25",
        "26",
        "27",
        "28",
        "2B",
        "2D",
        "2F",
        "34",
        "38",
        "39",
        "3B",
        "3D",
        "3F",
        "40",
        "42",
        "44",
        "53",
        "54",
        "55",
        "57",
        "58",
        "72",
        "F0",
        "HV",
        "P0",
        "XX",
    }
)
DATA_CLASSES = frozenset({"22"})
EXCEPTIONS_TO_CLASS = {"22P03": Transient, "22P04": Transient, "23502": DataFault, "23514": DataFault}
WITHOUT_SQLSTATE = {
    "PostgresError": Transient,
    "FatalPostgresError": Transient,
    "UnknownPostgresError": Transient,
    "InterfaceError": Transient,
    "ClientConfigurationError": Transient,
    "DataError": DataFault,
    "UnsupportedClientFeatureError": Transient,
    "UnsupportedServerFeatureError": Transient,
    "InternalClientError": Transient,
    "ProtocolError": Transient,
    "TargetServerAttributeNotMatched": Transient,
    "OutdatedSchemaCacheError": Transient,
}


def driver_errors() -> list[type[Exception]]:
    found = {
        value
        for value in vars(asyncpg.exceptions).values()
        if inspect.isclass(value) and issubclass(value, Exception) and not issubclass(value, Warning)
    }
    return sorted(found, key=lambda cls: (cls.__module__, cls.__name__))


def expected(cls: type[Exception]) -> type[WorkerError]:
    state = getattr(cls, "sqlstate", None)
    if state is None:
        return WITHOUT_SQLSTATE[cls.__name__]
    if state in EXCEPTIONS_TO_CLASS:
        return EXCEPTIONS_TO_CLASS[state]
    assert state[:2] in TRANSIENT_CLASSES | DATA_CLASSES, f"{cls.__name__} ({state}) has no place yet"
    return DataFault if state[:2] in DATA_CLASSES else Transient


@pytest.mark.rule("R7.6")
@pytest.mark.parametrize("cls", driver_errors(), ids=lambda cls: cls.__name__)
def test_every_error_of_the_driver_has_its_place(cls: type[Exception]) -> None:
    error = cls(SECRET)
    assert type(data(error)) is expected(cls)
    assert type(away(error)) is Transient
    assert type(connecting(error)) is Transient
    for judged in (data(error), away(error), connecting(error), taken(error), schema(error)):
        assert SECRET not in str(judged)


def test_the_driver_has_as_many_errors_as_we_think() -> None:
    assert len(driver_errors()) > 250


@pytest.mark.rule("R7.6")
@pytest.mark.parametrize(
    "error",
    [
        UnicodeEncodeError("utf-8", SECRET, 0, 1, SECRET),
        OverflowError(SECRET),
        TypeError(SECRET),
        ValueError(SECRET),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_value_that_cannot_be_encoded_is_a_fault_of_data(error: Exception) -> None:
    assert type(data(error)) is DataFault
    assert SECRET not in str(data(error))


@pytest.mark.rule("R7.7")
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionResetError(SECRET), "postgres: connection lost or refused"),
        (OSError(SECRET), "postgres: connection lost or refused"),
        (TimeoutError(SECRET), "postgres: no answer in time"),
        (asyncpg.ConnectionDoesNotExistError(SECRET), "postgres: connection lost or refused"),
        (asyncpg.DeadlockDetectedError(SECRET), "postgres: SQLSTATE 40P01"),
        (asyncpg.UniqueViolationError(SECRET), "postgres: SQLSTATE 23505"),
        (asyncpg.InterfaceError(SECRET), "postgres: connection lost (InterfaceError)"),
        (KeyError(SECRET), "postgres: KeyError"),
        (
            asyncpg.InvalidCatalogNameError(SECRET),
            "postgres: SQLSTATE 3D000 (the database does not exist: create it, or correct DATABASE_URL)",
        ),
        (
            asyncpg.InvalidPasswordError(SECRET),
            "postgres: SQLSTATE 28P01 (the password is wrong: correct DATABASE_URL)",
        ),
        (
            asyncpg.UndefinedTableError(SECRET),
            "postgres: SQLSTATE 42P01 (a table is missing; run: patient-upsert setup)",
        ),
        (asyncpg.DiskFullError(SECRET), "postgres: SQLSTATE 53100 (the disk of the server is full: make room on it)"),
        *(
            (
                error(SECRET),
                f"postgres: SQLSTATE {error.sqlstate} (another session's statements were met: behind pgbouncer set "
                "DATABASE_STATEMENT_CACHE=0)",
            )
            for error in (
                asyncpg.InvalidSQLStatementNameError,
                asyncpg.DuplicatePreparedStatementError,
            )
        ),
        (
            asyncpg.LockNotAvailableError(SECRET),
            "postgres: SQLSTATE 55P03 (another session holds a lock on these tables: end it)",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_text_names_the_sqlstate_and_what_to_do(error: Exception, text: str) -> None:
    judged = data(error)
    assert type(judged) is Transient
    assert str(judged) == text


def test_a_sqlstate_that_the_driver_does_not_know_is_judged_by_its_class() -> None:
    error = asyncpg.PostgresError.new({"C": "22ZZZ", "M": SECRET})
    assert type(data(error)) is DataFault
    assert str(data(error)) == "postgres: SQLSTATE 22ZZZ"


@pytest.mark.rule("R7.3")
def test_a_taken_key_is_a_conflict_for_copy_alone() -> None:
    assert type(taken(asyncpg.UniqueViolationError(SECRET))) is Conflict
    assert type(taken(asyncpg.CheckViolationError(SECRET))) is DataFault
    assert type(taken(asyncpg.ForeignKeyViolationError(SECRET))) is Transient


def test_a_missing_revision_table_asks_for_setup() -> None:
    assert type(schema(asyncpg.UndefinedTableError(SECRET))) is SetupNeeded
    assert type(schema(asyncpg.InsufficientPrivilegeError(SECRET))) is Transient


def test_an_address_that_cannot_be_read_is_named_but_not_quoted() -> None:
    judged = connecting(asyncpg.exceptions.ClientConfigurationError(SECRET))
    assert str(judged) == "postgres: the address cannot be read: correct DATABASE_URL"


@pytest.mark.rule("R7.8")
async def test_no_trace_of_the_drivers_error_is_left() -> None:
    async def fail() -> None:
        raise asyncpg.CheckViolationError(SECRET)

    with pytest.raises(DataFault) as caught:
        await limited(fail(), 1, data)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert SECRET not in repr(error) + "".join(traceback.format_exception(error))


@pytest.mark.rule("R7.9")
async def test_work_without_an_end_is_given_up() -> None:
    with pytest.raises(Transient, match=r"^postgres: no answer in time$"):
        await limited(asyncio.Event().wait(), 0.01, away)


async def test_being_cancelled_is_not_an_error_of_the_database() -> None:
    task = asyncio.create_task(limited(asyncio.Event().wait(), 10, away))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_advice_is_given_for_known_states_only() -> None:
    known = {state for cls in driver_errors() if (state := getattr(cls, "sqlstate", None))}
    assert set(faults._ADVICE) <= known
