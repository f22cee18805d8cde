"""What must hold of Postgres, decided from what it told. Pure."""

from __future__ import annotations

from typing import Final

from app.cli.doctor.finding import Finding, either, fail, ok, skipped, warn
from app.migrations import VERSION_TABLE, head_revision
from app.settings import PREFIX, Settings
from app.store.inspect import PostgresFacts, Server

OLDEST: Final = 15
NEWEST: Final = 18
CLOCK_SECONDS: Final = 2.0
CHECKS: Final = (
    "postgres.version",
    "postgres.schema",
    "postgres.rights",
    "postgres.log",
    "postgres.writable",
    "postgres.durability",
    "postgres.failover",
    "postgres.connections",
    "postgres.clock",
)
SETUP: Final = "run: patient-upsert setup"


def postgres_findings(facts: PostgresFacts | str, settings: Settings) -> list[Finding]:
    """Everything to say of Postgres; `facts` may be the reason why it could not be reached."""
    if isinstance(facts, str):
        action = f"start Postgres, or correct {PREFIX}DATABASE_URL"
        return [fail("postgres", facts, action), *skipped(CHECKS, "Postgres was not reached")]
    server = facts.server
    return [
        ok("postgres", f"database {server.database} as {server.role}"),
        *_version(server),
        *_schema(facts),
        *_rights(facts),
        *_log(server),
        *_writable(server),
        *_durability(server),
        *_failover(server),
        *_connections(server, settings.database_pool_size),
        *_clock(server),
    ]


def _version(server: Server) -> list[Finding]:
    check, known = "postgres.version", f"{OLDEST} to {NEWEST} are known to work"
    if server.version < OLDEST:
        return [fail(check, f"{server.version} is too old", f"use a newer one: {known}")]
    if server.version > NEWEST:
        return [warn(check, f"{server.version} is newer than this worker", f"try it before you rely on it: {known}")]
    return [ok(check, str(server.version))]


def _schema(facts: PostgresFacts) -> list[Finding]:
    check, needed = "postgres.schema", head_revision()
    if VERSION_TABLE in facts.denied:
        return skipped([check], f"{VERSION_TABLE} may not be read")
    if facts.missing:
        message = f"not found: {', '.join(facts.missing)}"
        return [fail(check, message, f"{SETUP}; or correct the search_path of {facts.server.role}")]
    if facts.revision is None or facts.revision < needed:
        return [fail(check, f"at {facts.revision or 'no revision'}, {needed} is needed", SETUP)]
    newer = ", made by a newer version" if facts.revision > needed else ""
    return [ok(check, f"at {facts.revision}{newer}")]


def _rights(facts: PostgresFacts) -> list[Finding]:
    check = "postgres.rights"
    problems = [
        fail(
            check,
            f"{facts.server.role} may not {', '.join(rights)} in {table}",
            f"grant {', '.join(rights)} on {table} to {facts.server.role}",
        )
        for table, rights in facts.denied.items()
    ]
    if facts.missing:
        return [*problems, *skipped([check], f"not found: {', '.join(facts.missing)}")]
    return either(problems, ok(check, f"{facts.server.role} may use the tables"))


def _log(server: Server) -> list[Finding]:
    """PostgreSQL writes the row that it refuses into its log: health data where nobody looks after them."""
    check, action = "postgres.log", "log in as patient_upsert_worker of deploy/postgres-roles.sql, or set what it sets"
    if server.errors_logged:
        return [warn(check, f"the server logs the errors of {server.role}, with rows and values in them", action)]
    if server.values_logged:
        return [warn(check, f"a statement of {server.role} that the server logs shows its values", action)]
    return [ok(check, "the server logs no row and no value")]


def _writable(server: Server) -> list[Finding]:
    check = "postgres.writable"
    if server.standby:
        return [fail(check, "the server is a standby", f"name the primary in {PREFIX}DATABASE_URL")]
    if server.read_only:
        message = "transactions are read-only"
        return [fail(check, message, f"set default_transaction_read_only=off for {server.role}")]
    return [ok(check, "the server takes writes")]


def _durability(server: Server) -> list[Finding]:
    """No request is lost as far as Postgres keeps the commits that it acknowledges."""
    check = "postgres.durability"
    problems = []
    if not server.fsync:
        message = "fsync is off: a crash of the machine loses commits, or the whole database"
        problems.append(fail(check, message, "set fsync=on on the server"))
    if server.synchronous_commit == "off":
        message = "synchronous_commit is off: a crash of the server loses commits that it has acknowledged"
        problems.append(fail(check, message, f"alter role {server.role} set synchronous_commit = on"))
    if not server.full_page_writes:
        message = "full_page_writes is off: a crash of the machine may leave pages half written"
        problems.append(warn(check, message, "set full_page_writes=on, unless the file system writes pages whole"))
    return either(problems, ok(check, "an acknowledged commit is on disk"))


def _failover(server: Server) -> list[Finding]:
    check, lost = "postgres.failover", "a failover may lose acknowledged commits"
    standbys = f"{server.replicas} {'standby' if server.replicas == 1 else 'standbys'}"
    if server.standby:
        return skipped([check], "the server is a standby")
    if server.synchronous_standby_names == "":
        if server.replicas:
            action = "name standbys in synchronous_standby_names, or accept that their answers are then wrong"
            return [warn(check, f"{standbys}, none synchronous: {lost}", action)]
        return [ok(check, "no standby follows this server")]
    if server.synchronous_commit in ("local", "off"):
        message = f"synchronous_commit is {server.synchronous_commit}: no standby is waited for, {lost}"
        return [warn(check, message, f"alter role {server.role} set synchronous_commit = on")]
    return [ok(check, f"{standbys}, commits wait for synchronous ones")]


def _connections(server: Server, pool: int) -> list[Finding]:
    check, setting = "postgres.connections", f"{PREFIX}DATABASE_POOL_SIZE"
    if pool > server.connection_limit:
        message = f"the pool takes up to {pool} connections, {server.connection_limit} are allowed"
        return [fail(check, message, f"lower {setting}, or raise the limit of the server, the database or the role")]
    others = server.connections - 1
    if pool > server.connection_limit - others:
        message = f"the pool takes up to {pool} connections; of {server.connection_limit}, {others} are open"
        return [warn(check, message, f"lower {setting} or close others, unless these are workers' own")]
    return [ok(check, f"{pool} a worker, of {server.connection_limit}; {others} others are open")]


def _clock(server: Server) -> list[Finding]:
    check, ahead = "postgres.clock", server.clock_ahead
    if abs(ahead) > CLOCK_SECONDS:
        where = "ahead of" if ahead > 0 else "behind"
        message = f"the server's clock is {abs(ahead):.0f} s {where} this machine's"
        return [warn(check, message, "synchronise both clocks (NTP)")]
    return [ok(check, "the server's clock and this machine's agree")]
