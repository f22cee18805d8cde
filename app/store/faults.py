"""What an error of the driver means, judged by its class and SQLSTATE alone, and the time limit of every call."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg

from app.certificates import certificate_fault
from app.errors import Conflict, DataFault, SetupNeeded, Transient, WorkerError

T = TypeVar("T")
Judge = Callable[[Exception], WorkerError]

SETUP: Final = "run: patient-upsert setup"

_DATA_STATES: Final = frozenset({"23502", "23514"})
"""A missing value, and a rule of a table that does not hold. With class 22 they are the faults of data."""
_FORM_STATES: Final = frozenset({"22P03", "22P04"})
"""Binary data or COPY of the wrong form: the driver's idea of the table is out of date, no value is at fault."""
_KINDS: Final = {
    "08": "connection",
    "25": "read_only",
    "28": "login",
    "40": "rolled_back",
    "42": "schema",
    "53": "resources",
    "55": "lock",
    "57": "shutdown",
}
"""By class of the SQLSTATE: what a retry is counted by."""
_POOLED: Final = "another session's statements were met: behind pgbouncer set DATABASE_STATEMENT_CACHE=0"
_ADVICE: Final = {
    "3D000": "the database does not exist: create it, or correct DATABASE_URL",
    "3F000": "the schema does not exist: create it, or correct the search_path of the role",
    "28P01": "the password is wrong: correct DATABASE_URL",
    "28000": "the role may not log in: correct DATABASE_URL or the server's pg_hba.conf",
    "42501": "the role lacks a right: grant it what patient-upsert doctor says",
    "42P01": f"a table is missing; {SETUP}",
    "42703": f"a column is missing; {SETUP}",
    "25006": "the server is read-only: a standby, or held so by its operator",
    "53300": "the server has no connection left: lower DATABASE_POOL_SIZE or raise max_connections",
    "53100": "the disk of the server is full: make room on it",
    "26000": _POOLED,
    "42P05": _POOLED,
    "55P03": "another session holds a lock on these tables: end it",
}


async def limited(work: Awaitable[T], seconds: float, judge: Judge) -> T:
    """The result of `work`, given up after `seconds`; whatever it raises becomes what `judge` makes of it.

    Raised outside the `except` block, so that the new error carries no trace of the driver's.
    """
    try:
        async with asyncio.timeout(seconds):
            return await work
    except Exception as error:  # noqa: BLE001 - the driver raises many things, and none may pass as it is
        fault = judge(error)
    raise fault


def away(error: Exception) -> WorkerError:
    """Where no data travel (connecting, begin, commit), every error means that the server cannot serve us now."""
    return Transient(f"postgres: {_what(error)}", _kind(error))


def connecting(error: Exception) -> WorkerError:
    """Where a connection is opened: the address itself may be at fault."""
    # asyncpg.ClientConfigurationError is a ValueError, and so is what a certificate that is not trusted raises
    if isinstance(error, ValueError) and not isinstance(error, ssl.SSLError):
        return Transient("postgres: the address cannot be read: correct DATABASE_URL")
    return away(error)


def data(error: Exception) -> WorkerError:
    """Where data travel: some errors are theirs."""
    return DataFault(f"postgres: {_what(error)}") if _is_data_fault(error) else away(error)


def taken(error: Exception) -> WorkerError:
    """Where rows are added by COPY: a key that is there already was added by someone else."""
    if isinstance(error, asyncpg.UniqueViolationError):
        return Conflict("postgres: someone else has answered a request of this batch")
    return data(error)


def schema(error: Exception) -> WorkerError:
    """Where the revision is read: its table is missing until `setup` has run."""
    if isinstance(error, asyncpg.UndefinedTableError):
        return SetupNeeded(f"postgres: the tables are missing; {SETUP}")
    return away(error)


def sqlstate(error: BaseException) -> str | None:
    """The SQLSTATE of an error that the server sent (or the driver in its name)."""
    return error.sqlstate if isinstance(error, asyncpg.PostgresError) else None


def _is_data_fault(error: Exception) -> bool:
    state = sqlstate(error)
    if state is not None:
        return (state.startswith("22") and state not in _FORM_STATES) or state in _DATA_STATES
    if isinstance(error, asyncpg.InterfaceError):
        return isinstance(error, asyncpg.exceptions.DataError)
    # COPY lets through what Python raises when a value does not fit its column; UnicodeEncodeError is a ValueError.
    return isinstance(error, ValueError | TypeError | OverflowError)


def _kind(error: Exception) -> str:
    """One of `app.telemetry.names.RETRIES`."""
    state = sqlstate(error)
    if isinstance(error, TimeoutError) or state == "57014":  # the server's own limit
        return "timeout"
    if isinstance(error, ssl.SSLError) or certificate_fault(error) is not None:
        return "tls"
    if state is not None:
        return _KINDS.get(state[:2], "other")
    return "connection" if isinstance(error, OSError | asyncpg.InterfaceError) else "other"


def _what(error: Exception) -> str:
    state = sqlstate(error)
    if state is not None and not state.startswith("08"):
        advice = _ADVICE.get(state)
        return f"SQLSTATE {state} ({advice})" if advice else f"SQLSTATE {state}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if (fault := certificate_fault(error)) is not None:
        return f"the server shows a certificate {fault}"
    if isinstance(error, ssl.SSLError):
        return "the server does not agree on TLS"
    if state is not None or isinstance(error, OSError):
        return "connection lost or refused"
    if isinstance(error, asyncpg.InterfaceError):  # from a connection that was closed under us
        return f"connection lost ({type(error).__name__})"
    return type(error).__name__
