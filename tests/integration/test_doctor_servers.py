"""What doctor finds on real servers."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from pydantic import SecretStr

import app.consumer.inspect as kafka_room
import app.store.inspect as postgres_room
from app.cli.doctor import examine
from app.cli.doctor.finding import Finding
from app.consumer.requester import Outbound, open_requester
from app.settings import Settings
from app.store.inspect import inspect_postgres
from devstack.servers import Servers
from tests.support import PATIENCE, body, plain, until, with_database

COMMAND = Path(sys.executable).with_name("patient-upsert")
UNSAFE = "postgres.durability"
"""Fails on the servers that all tests share: they run with fsync=off."""


_WORST = ("ok", "skipped", "warn", "fail")


async def found(settings: Settings) -> dict[str, Finding]:
    """The findings by check; of several, the worst."""
    return {finding.check: finding for finding in sorted(await examine(settings), key=_severity)}


def _severity(finding: Finding) -> int:
    return _WORST.index(finding.status.value)


def not_well(findings: dict[str, Finding]) -> dict[str, str]:
    """What failed or was skipped, durability apart."""
    statuses = {check: finding.status.value for check, finding in findings.items() if check != UNSAFE}
    return {check: status for check, status in statuses.items() if status in ("fail", "skipped")}


async def configure(settings: Settings, topic: str, **configs: str) -> None:
    """Set these on a topic; every other configuration of its own goes back to the default."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    named = {name.replace("_", "."): value for name, value in configs.items()}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, named)])
    await admin.close()


async def becomes(settings: Settings, check: str, status: str) -> Finding:
    """Await that the check ends so: what was just set may not be known to the broker yet."""

    async def ends() -> Finding | None:
        finding = (await found(settings))[check]
        return finding if finding.status == status else None

    finding = await until(ends)
    assert isinstance(finding, Finding)
    return finding


@pytest.fixture
async def settings(settings: Settings) -> Settings:
    """As everywhere; the broker knows of the topics already."""
    await becomes(settings, "kafka.topics", "ok")
    return settings


async def command(settings: Settings, *arguments: str, **changes: str) -> tuple[int, str]:
    """Exit code and everything that the command prints."""
    given = {name: getattr(settings, name) for name in ("kafka_bootstrap_servers", "group_id")}
    given |= {f"{name}_topic": getattr(settings, f"{name}_topic") for name in ("request", "completed", "failed", "dlq")}
    given |= {"database_url": settings.database_url.get_secret_value(), **changes}
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        "doctor",
        *arguments,
        env={**os.environ, **{f"PATIENT_UPSERT_{name.upper()}": value for name, value in given.items()}},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(2 * PATIENCE):
        out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


@asynccontextmanager
async def role(url: str, *statements: str) -> AsyncIterator[str]:
    """The URL of a new role; `{role}` in the statements is its name."""
    name = f"role_{uuid4().hex[:8]}"
    connection = await asyncpg.connect(url)
    await connection.execute(f"create role {name} login password 'parole'")
    for statement in statements:
        await connection.execute(statement.format(role=name))
    try:
        parts = urlsplit(url)
        yield parts._replace(netloc=f"{name}:parole@{parts.hostname}:{parts.port}").geturl()
    finally:
        await connection.execute(f"drop owned by {name}")
        await connection.execute(f"drop role {name}")
        await connection.close()


ALL_RIGHTS = (
    "grant select, insert, update on customers, assignments to {role}",
    "grant select, insert, delete on requests to {role}",
    "grant select on patient_upsert_revision to {role}",
)


def at(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"database_url": SecretStr(url)})


async def test_what_setup_makes_is_well(settings: Settings) -> None:
    async def well() -> bool:
        return not_well(await found(settings)) == {}

    await until(well)
    findings = await found(settings)
    assert findings["kafka"].message == "1 broker"
    assert findings["kafka.partitions"].message == "3 each"
    assert findings["kafka.retention"].message == "requests stay 7 days"
    assert findings["kafka.replication"].status == "warn"
    assert findings["kafka.keys"].message == "no requests yet"
    assert findings["postgres.version"].status == "ok"


async def test_compaction_of_the_request_topic_fails(settings: Settings) -> None:
    await configure(settings, settings.request_topic, cleanup_policy="compact")
    finding = await becomes(settings, "kafka.cleanup", "fail")
    assert finding.action == f"set cleanup.policy=delete on {settings.request_topic}"
    code, said = await command(settings, "--json")
    assert code == 1
    assert [entry["status"] for entry in orjson.loads(said) if entry["check"] == "kafka.cleanup"] == ["fail"]


async def test_an_answer_topic_that_is_too_small_fails(settings: Settings) -> None:
    await configure(settings, settings.completed_topic, max_message_bytes="1060863")
    await configure(settings, settings.request_topic, max_message_bytes="1000000")
    await configure(settings, settings.failed_topic, max_message_bytes="1065536")
    finding = await becomes(settings, "kafka.sizes", "fail")
    assert finding.action == f"set max.message.bytes=1065536 on {settings.completed_topic}"


async def test_a_missing_topic_fails_and_is_not_created(settings: Settings) -> None:
    other = settings.model_copy(update={"dlq_topic": f"{settings.dlq_topic}.other"})
    for _ in range(2):
        finding = await becomes(other, "kafka.topics", "fail")
        assert finding.message == f"missing: {other.dlq_topic}"


async def test_a_database_without_the_tables_fails(settings: Settings, shared: Servers) -> None:
    name = f"empty_{uuid4().hex[:8]}"
    connection = await asyncpg.connect(shared.database_url)
    await connection.execute(f"create database {name}")
    findings = await found(at(settings, with_database(shared.database_url, name)))
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()
    assert not_well(findings) == {"postgres.schema": "fail", "postgres.rights": "skipped"}
    assert "patient-upsert setup" in str(findings["postgres.schema"].action)


async def test_a_schema_behind_fails(settings: Settings, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("update patient_upsert_revision set version_num = '0000'")
    await connection.close()
    finding = (await found(settings))["postgres.schema"]
    assert (finding.status, finding.action) == ("fail", "run: patient-upsert setup")


async def test_a_role_with_the_rights_that_the_worker_uses_is_well(settings: Settings, database_url: str) -> None:
    async with role(database_url, *ALL_RIGHTS) as url:
        findings = await found(at(settings, url))
    assert [check for check in not_well(findings) if check.startswith("postgres")] == []


async def test_a_role_that_may_not_insert_fails_and_the_right_is_named(settings: Settings, database_url: str) -> None:
    async with role(database_url, *ALL_RIGHTS, "revoke insert, update on customers from {role}") as url:
        finding = (await found(at(settings, url)))["postgres.rights"]
        name = urlsplit(url).username
    assert finding.status == "fail"
    assert finding.message == f"{name} may not insert, update in customers"
    assert finding.action == f"grant insert, update on customers to {name}"


async def test_a_role_that_may_not_read_the_revision_fails(settings: Settings, database_url: str) -> None:
    async with role(database_url, *ALL_RIGHTS, "revoke select on patient_upsert_revision from {role}") as url:
        findings = await found(at(settings, url))
    assert findings["postgres.schema"].status == "skipped"
    assert "patient_upsert_revision" in findings["postgres.rights"].message


async def test_commits_that_the_role_does_not_wait_for_fail(settings: Settings, database_url: str) -> None:
    async with role(database_url, *ALL_RIGHTS, "alter role {role} set synchronous_commit = off") as url:
        findings = await examine(at(settings, url))
    said = [finding.message for finding in findings if finding.check == UNSAFE and finding.status == "fail"]
    assert any(message.startswith("synchronous_commit is off") for message in said)


async def test_a_role_with_too_few_connections_fails(settings: Settings, database_url: str) -> None:
    async with role(database_url, *ALL_RIGHTS, "alter role {role} connection limit 3") as url:
        finding = (await found(at(settings, url)))["postgres.connections"]
    assert (finding.status, finding.message) == ("fail", "the pool takes up to 4 connections, 3 are allowed")


async def test_a_read_only_role_fails(settings: Settings, database_url: str) -> None:
    async with role(database_url, *ALL_RIGHTS, "alter role {role} set default_transaction_read_only = on") as url:
        finding = (await found(at(settings, url)))["postgres.writable"]
    assert finding.status == "fail"


async def test_the_clocks_are_compared(database_url: str) -> None:
    hour = timedelta(hours=1)
    same = await inspect_postgres(database_url)
    behind = await inspect_postgres(database_url, clock=lambda: datetime.now(UTC) - hour)
    ahead = await inspect_postgres(database_url, clock=lambda: datetime.now(UTC) + hour)
    assert abs(same.server.clock_ahead) < 1
    assert 3590 < behind.server.clock_ahead <= 3600
    assert -3600 <= ahead.server.clock_ahead < -3590


async def test_keys_that_differ_are_counted_and_never_shown(settings: Settings) -> None:
    requests = [
        plain("cus_1"),
        Outbound(b"key-Xanthippe", body(customer="cus_2")),
        Outbound(None, body(customer="cus_3")),
        Outbound(b"pat_1", body(customer="cus_4")),
        Outbound(b"key-Xanthippe", b"not JSON Xanthippe"),
        Outbound(b"\xff", None),
    ]
    async with open_requester(settings, listen=False) as requester:
        async for _ in requester.send_all(requests):
            pass
    findings = [finding for finding in await examine(settings) if finding.check == "kafka.keys"]
    assert [finding.message for finding in findings] == [
        "1 of 5 requests have a key that is not their customer: order is not kept",
        "1 of 5 requests have no key: the order of a customer's requests is not kept",
    ]
    _, said = await command(settings, "--json")
    assert "Xanthippe" not in said


async def test_servers_that_are_away_fail_and_what_depends_on_them_is_skipped(settings: Settings) -> None:
    away = settings.model_copy(
        update={
            "kafka_bootstrap_servers": "127.0.0.1:1",
            "database_url": SecretStr("postgresql://worker:parole@127.0.0.1:1/clinic"),
        }
    )
    findings = await found(away)
    assert findings["kafka"].message == "127.0.0.1:1 refuses connections"
    assert findings["postgres"].status == "fail"
    assert {status for check, status in not_well(findings).items() if "." in check} == {"skipped"}
    code, said = await command(away)
    assert code == 1
    assert "parole" not in said
    assert max(map(len, said.splitlines())) <= 80


async def test_a_wrong_password_is_said_without_showing_it(settings: Settings, database_url: str) -> None:
    parts = urlsplit(database_url)
    wrong = parts._replace(netloc=f"{parts.username}:parole@{parts.hostname}:{parts.port}").geturl()
    code, said = await command(at(settings, wrong), "--json")
    (finding,) = [entry for entry in orjson.loads(said) if entry["check"] == "postgres"]
    assert code == 1
    assert "28P01" in finding["message"]
    assert "parole" not in said


async def test_servers_that_hang_fail_in_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for room, name in ((kafka_room, "ASK_SECONDS"), (postgres_room, "CONNECT_SECONDS")):
        monkeypatch.setattr(room, name, 0.3)

    silent = socket.create_server(("127.0.0.1", 0))  # connects by itself, and nobody ever answers
    address = f"127.0.0.1:{silent.getsockname()[1]}"
    hanging = settings.model_copy(
        update={"kafka_bootstrap_servers": address, "database_url": SecretStr(f"postgresql://u:p@{address}/x")}
    )
    async with asyncio.timeout(PATIENCE):
        findings = await found(hanging)
    silent.close()
    assert findings["kafka"].message == f"{address} does not answer in time"
    assert findings["postgres"].message == "postgres: no answer in time"


async def test_every_bad_setting_is_told_at_once(settings: Settings) -> None:
    code, said = await command(settings, "--json", http_port="many", topicc="x", database_url="mysql://u:parole@db/x")
    lines = [entry["message"] for entry in orjson.loads(said) if entry["check"] == "settings"]
    assert code == 2
    assert sorted(line.partition(":")[0] for line in lines) == [
        "PATIENT_UPSERT_DATABASE_URL",
        "PATIENT_UPSERT_HTTP_PORT",
        "PATIENT_UPSERT_TOPICC",
    ]
    assert "parole" not in said
