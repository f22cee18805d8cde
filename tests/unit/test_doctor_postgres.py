"""What doctor decides from what Postgres told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from app.cli.doctor import postgres
from app.cli.doctor.finding import Finding, Status
from app.cli.doctor.postgres import CHECKS, postgres_findings
from app.settings import Settings
from app.store.inspect import PostgresFacts, Server

SETTINGS = Settings(
    database_url=SecretStr("postgresql://worker:secret@db/x"),
    kafka_bootstrap_servers="kafka:9092",
    database_pool_size=4,
)
SERVER = Server(
    version=18,
    database="clinic",
    role="worker",
    standby=False,
    read_only=False,
    fsync=True,
    full_page_writes=True,
    synchronous_commit="on",
    synchronous_standby_names="",
    replicas=0,
    connection_limit=97,
    connections=1,
    errors_logged=False,
    values_logged=False,
    clock_ahead=0.0,
)
HEALTHY = PostgresFacts(SERVER, "0007", {}, ())


@pytest.fixture(autouse=True)
def needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "head_revision", lambda: "0007")


def problems(facts: PostgresFacts) -> list[tuple[str, str]]:
    """Check and status of everything that is not well."""
    found = postgres_findings(facts, SETTINGS)
    return [(finding.check, finding.status.value) for finding in found if finding.status is not Status.OK]


def only(facts: PostgresFacts, check: str) -> Finding:
    (finding,) = [found for found in postgres_findings(facts, SETTINGS) if found.check == check]
    return finding


def having(**changes: Any) -> PostgresFacts:
    return replace(HEALTHY, server=replace(SERVER, **changes))


def test_a_healthy_server_is_well_in_every_check() -> None:
    assert {finding.check for finding in postgres_findings(HEALTHY, SETTINGS)} == {"postgres", *CHECKS}
    assert problems(HEALTHY) == []


def test_a_server_out_of_reach_fails_and_skips_the_rest() -> None:
    first, *rest = postgres_findings("postgres: no answer in time", SETTINGS)
    assert (first.check, first.status, first.message) == ("postgres", "fail", "postgres: no answer in time")
    assert "PATIENT_UPSERT_DATABASE_URL" in str(first.action)
    assert [finding.check for finding in rest] == list(CHECKS)
    assert {finding.status for finding in rest} == {Status.SKIPPED}


@pytest.mark.parametrize(("version", "status"), [(14, "fail"), (15, "ok"), (18, "ok"), (19, "warn")])
def test_versions_15_to_18_are_known(version: int, status: str) -> None:
    assert only(having(version=version), "postgres.version").status == status


@pytest.mark.parametrize(
    ("revision", "status", "message"),
    [
        ("0006", "fail", "at 0006, 0007 is needed"),
        (None, "fail", "at no revision, 0007 is needed"),
        ("0007", "ok", "at 0007"),
        ("0008", "ok", "at 0008, made by a newer version"),
    ],
)
def test_a_schema_behind_fails_and_one_ahead_is_accepted(revision: str | None, status: str, message: str) -> None:
    finding = only(replace(HEALTHY, revision=revision), "postgres.schema")
    assert (finding.status, finding.message) == (status, message)
    assert finding.action == ("run: patient-upsert setup" if status == "fail" else None)


def test_missing_tables_fail_once() -> None:
    facts = replace(HEALTHY, revision=None, missing=("customers",))
    assert problems(facts) == [("postgres.schema", "fail"), ("postgres.rights", "skipped")]
    assert only(facts, "postgres.schema").message == "not found: customers"


def test_a_revision_that_may_not_be_read_is_a_right_that_lacks() -> None:
    facts = replace(HEALTHY, revision=None, denied={"patient_upsert_revision": ("select",)})
    assert problems(facts) == [("postgres.schema", "skipped"), ("postgres.rights", "fail")]


@pytest.mark.parametrize("logged", ["errors_logged", "values_logged"])
def test_values_in_the_log_of_the_server_warn(logged: str) -> None:
    assert problems(having(**{logged: True})) == [("postgres.log", "warn")]


def test_a_right_that_lacks_fails_and_is_named() -> None:
    facts = replace(HEALTHY, denied={"customers": ("insert", "update")})
    assert problems(facts) == [("postgres.rights", "fail")]
    finding = only(facts, "postgres.rights")
    assert finding.message == "worker may not insert, update in customers"
    assert finding.action == "grant insert, update on customers to worker"


def test_a_standby_fails() -> None:
    assert problems(having(standby=True)) == [("postgres.writable", "fail"), ("postgres.failover", "skipped")]


def test_a_read_only_role_fails() -> None:
    assert problems(having(read_only=True)) == [("postgres.writable", "fail")]


def test_commits_that_a_crash_loses_fail() -> None:
    assert problems(having(fsync=False)) == [("postgres.durability", "fail")]
    assert problems(having(synchronous_commit="off")) == [("postgres.durability", "fail")]


@pytest.mark.parametrize("level", ["local", "remote_write", "on", "remote_apply"])
def test_every_other_level_of_commit_is_well_without_a_standby(level: str) -> None:
    assert problems(having(synchronous_commit=level)) == []


def test_pages_that_may_be_half_written_warn() -> None:
    assert problems(having(full_page_writes=False)) == [("postgres.durability", "warn")]


def test_standbys_that_no_commit_waits_for_warn() -> None:
    facts = having(replicas=2)
    assert problems(facts) == [("postgres.failover", "warn")]
    assert only(facts, "postgres.failover").message == (
        "2 standbys, none synchronous: a failover may lose acknowledged commits"
    )


def test_a_standby_that_commits_wait_for_is_well() -> None:
    assert problems(having(replicas=1, synchronous_standby_names="standby")) == []


def test_a_role_that_does_not_wait_for_the_synchronous_standby_warns() -> None:
    facts = having(replicas=1, synchronous_standby_names="standby", synchronous_commit="local")
    assert problems(facts) == [("postgres.failover", "warn")]


@pytest.mark.parametrize(
    ("limit", "connections", "status"),
    [(3, 1, "fail"), (4, 1, "ok"), (10, 7, "ok"), (10, 8, "warn")],
)
def test_the_pool_must_fit_beside_the_others(limit: int, connections: int, status: str) -> None:
    finding = only(having(connection_limit=limit, connections=connections), "postgres.connections")
    assert finding.status == status


@pytest.mark.parametrize(
    ("ahead", "status", "message"),
    [
        (2.0, "ok", "the server's clock and this machine's agree"),
        (-2.0, "ok", "the server's clock and this machine's agree"),
        (61.0, "warn", "the server's clock is 61 s ahead of this machine's"),
        (-61.0, "warn", "the server's clock is 61 s behind this machine's"),
    ],
)
def test_clocks_that_differ_warn(ahead: float, status: str, message: str) -> None:
    finding = only(having(clock_ahead=ahead), "postgres.clock")
    assert (finding.status, finding.message) == (status, message)
