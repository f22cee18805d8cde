"""Postgres away, hanging, full, read-only or in the way."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from pydantic import SecretStr

from app.settings import Settings
from devstack.servers import Control
from devstack.servers.waiting import HOST
from tests.faults.matrix.case import Case, Needs
from tests.faults.matrix.proxy import proxy
from tests.faults.matrix.world import PATIENCE, NotRun, World
from tests.support import until

DEADLOCKED = "select from pg_stat_database where datname = current_database() and deadlocks > 0"
COMMIT = b"Q\x00\x00\x00\x0bcommit\x00"


def control_of(world: World) -> Control:
    """Hold over the server."""
    if world.servers.postgres_control is None:
        raise NotRun("this server is not ours to stop")
    return world.servers.postgres_control


async def restart(world: World) -> None:
    """Killed three times and started at once."""
    async with world.running():
        await world.start()
        for _ in range(3):
            await world.working()
            await asyncio.to_thread(control_of(world).kill)
            await asyncio.to_thread(control_of(world).start)
            world.mark()
        await world.working(300)


async def stopped(world: World) -> None:
    """Connections stay open and nothing is answered."""
    await world.hanging(control_of(world))


def at_port(world: World, *ports: int) -> Settings:
    """The settings with other ports for the same server."""
    parts = urlsplit(world.settings.database_url.get_secret_value())
    hosts = ",".join(f"{HOST}:{port}" for port in ports)
    user = parts.netloc.rpartition("@")[0]
    url = urlunsplit(parts._replace(netloc=f"{user}@{hosts}"))
    return world.settings.model_copy(update={"database_url": SecretStr(url)})


def port_of(world: World) -> int:
    port = urlsplit(world.database_url).port
    assert port is not None
    return port


async def reset_in_commit(world: World) -> None:
    """A fifth of the commits is cut off: half before Postgres has it, half before its reply."""
    async with proxy(port_of(world), world.rng) as between:
        async with world.running():
            await world.start(settings=at_port(world, between.port))
            between.cuts = lambda data: COMMIT in data and world.rng.random() < 0.2
            assert await world.tail.until(lambda: between.done >= 15, PATIENCE), "too few commits were cut"
            between.cuts = None
            world.mark()
            await world.working(300)
        await world.finished()


async def second_address(world: World) -> None:
    """Of two addresses one goes away, comes back, and the other goes."""
    async with proxy(port_of(world), world.rng) as one, proxy(port_of(world), world.rng) as two:
        async with world.running():
            await world.start(settings=at_port(world, one.port, two.port))
            await world.working()
            for gone in (one, two):
                await gone.close()
                world.mark()
                await world.working(200)
                await gone.open()
        await world.finished()


@asynccontextmanager
async def admin(world: World) -> AsyncIterator[asyncpg.Connection]:
    """A connection beside the worker's."""
    connection = await asyncpg.connect(world.database_url)
    try:
        yield connection
    finally:
        await connection.close()


async def throw_out(world: World) -> None:
    """End every connection to the database but this one's."""
    await world.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
        " and pid <> pg_backend_pid()"
    )


async def too_many_connections(world: World) -> None:
    """For ten seconds the server has no connection left for the worker's role."""
    role = f"role_{world.settings.group_id}"
    for statement in (
        f"create role {role} login password 'secret'",
        f"grant select, insert, update on all tables in schema public to {role}",
    ):
        await world.query(statement)
    parts = urlsplit(world.database_url)
    url = urlunsplit(parts._replace(netloc=f"{role}:secret@{parts.hostname}:{parts.port}"))
    async with world.running():
        await world.start(settings=world.settings.model_copy(update={"database_url": SecretStr(url)}))
        await world.working()
        await world.query(f"alter role {role} connection limit 0")
        await throw_out(world)
        await asyncio.sleep(10)
        await world.query(f"alter role {role} connection limit -1")
        world.mark()
        await world.working(300)


async def read_only(world: World) -> None:
    """For ten seconds the primary takes no writes, as after a failover behind the same address."""
    name = world.settings.group_id
    async with world.running():
        await world.start()
        await world.working()
        await world.query(f"alter database {name} set default_transaction_read_only = on")
        await throw_out(world)
        await asyncio.sleep(10)
        await world.execute(f"begin read write; alter database {name} reset default_transaction_read_only; commit")
        await throw_out(world)
        world.mark()
        await world.working(300)


async def trigger(world: World, body: str, table: str = "requests", each: str = "statement") -> None:
    """Have something happen before each insert."""
    await world.query(
        f"create function trouble() returns trigger language plpgsql as $$ begin {body}; return new; end $$"
    )
    await world.query(f"create trigger trouble before insert on {table} for each {each} execute function trouble()")


async def statement_timeout(world: World) -> None:
    """Writing the answers takes longer than the limit of a statement, until someone mends it."""
    async with world.running():
        await world.start()
        await world.working()
        await trigger(world, "perform pg_sleep(27)")
        await until(lambda: "57014" in world.logs[-1].read_text(), PATIENCE)
        await world.execute(
            "create or replace function trouble() returns trigger language plpgsql as 'begin return new; end';"
            "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'"
        )
        world.mark()
        await world.working(300)


async def deadlocks(world: World) -> None:
    """Someone locks the worker's rows in the other order, and one transaction in ten is refused as not serializable."""
    await trigger(world, "if random() < 0.1 then raise 'again' using errcode = '40001'; end if")

    async def in_the_way() -> None:
        async with admin(world) as connection:
            await connection.execute("set deadlock_timeout = '5s'")  # so that the worker is the one who gives up
            while True:
                with suppress(asyncpg.PostgresError):
                    async with connection.transaction():
                        for number in world.rng.sample(range(30), 30):
                            await connection.execute(
                                "select from customers where customer = $1 for update", f"cus_{number}"
                            )
                            await asyncio.sleep(0.005)
                await asyncio.sleep(0.2)

    async with world.running():
        await world.start()
        await world.working()
        blocking = asyncio.create_task(in_the_way())
        await asyncio.sleep(20)
        await until(lambda: world.query(DEADLOCKED), PATIENCE)
        blocking.cancel()
        await asyncio.wait({blocking})
        world.mark()
        await world.working(300)


async def disk_full(world: World) -> None:
    """The database lies on a small disk, which is full for ten seconds."""
    disk = world.directory / "disk"
    disk.mkdir()
    mounted = await asyncio.to_thread(
        subprocess.run, ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0777", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        raise NotRun("no small disk can be mounted here: it takes root")
    try:
        await _on_disk(world, disk)
    finally:
        world.kill()
        world.workers.clear()
        await _move(world, "pg_default")
        await world.query(f"drop tablespace small_{world.settings.group_id}")
        await asyncio.to_thread(subprocess.run, ["umount", str(disk)], check=True)


async def _on_disk(world: World, disk: Path) -> None:
    for part in (world.directory, *world.directory.parents[:1]):
        part.chmod(0o711)
    place = disk / "space"
    place.mkdir()
    place.chmod(0o777)
    await asyncio.to_thread(subprocess.run, ["chown", "nobody", str(place)], check=False)
    await world.query(f"create tablespace small_{world.settings.group_id} location '{place}'")
    await _move(world, f"small_{world.settings.group_id}")
    async with world.running():
        await world.start()
        await world.working()
        filler = disk / "filler"
        await asyncio.to_thread(_fill, filler)

        def noticed() -> bool:
            return "53100" in world.logs[-1].read_text()

        await until(noticed, 90)
        await asyncio.sleep(10)
        filler.unlink()
        world.mark()
        await world.working(300)
    await world.finished()


async def _move(world: World, space: str) -> None:
    connection = await asyncpg.connect(world.servers.database_url)
    await connection.execute(f"alter database {world.settings.group_id} set tablespace {space}")
    await connection.close()


def _fill(filler: Path) -> None:
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)


async def migration(world: World) -> None:
    """Columns and indexes come and go under load."""
    async with world.running():
        await world.start()
        await world.working()
        for number in range(5):
            for table in ("customers", "requests"):
                column = f"extra{number}"
                await world.query(f"alter table {table} add column {column} text not null default 'x'")
                await world.query(f"create index concurrently {table}_{column} on {table} ({column})")
            await world.working(50)
        for table in ("customers", "requests"):
            await world.query(f"alter table {table} drop column extra0")
        world.mark()
        await world.working(300)


CASES = (
    Case("postgres-restart", "Postgres killed and started, three times", restart, Needs.OWN),
    Case("postgres-stopped", "Postgres hangs for 40 s (SIGSTOP)", stopped, Needs.OWN),
    Case("postgres-reset-in-commit", "connection reset during COMMIT", reset_in_commit, in_suite=True),
    Case("postgres-connections", "too many connections", too_many_connections),
    Case("postgres-statement-timeout", "statement timeout", statement_timeout),
    Case("postgres-deadlocks", "deadlocks and serialization errors", deadlocks),
    Case("postgres-read-only", "primary read-only for 10 s", read_only),
    Case("postgres-second-address", "two addresses, one and then the other goes away", second_address),
    Case("postgres-disk-full", "disk full for 10 s", disk_full),
    Case("postgres-migration", "online migration under load", migration),
)
