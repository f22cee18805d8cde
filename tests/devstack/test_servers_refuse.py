"""What cannot be had is said on one line; what two processes want at once is fetched once."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devstack.servers import ServersError, from_environment, jars, servers
from devstack.servers.cleanup import Cleanup
from devstack.servers.model import Options
from devstack.servers.process import LocalServer

ROOT = Path(__file__).parents[2]
QUIET = Options(durable=False, nodes=1, full_jvm=False, say=lambda text: None)


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


def test_two_that_need_the_jars_fetch_them_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[Path] = []
    both_ask = threading.Barrier(2, timeout=10)

    def fetch(cache: Path, wanted: Path) -> None:
        fetched.append(wanted)
        wanted.mkdir()

    def ask() -> str:
        both_ask.wait()
        return jars.kafka_class_path(QUIET)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(jars, "_fetch", fetch)
    with ThreadPoolExecutor() as pool:
        first, second = pool.submit(ask), pool.submit(ask)
        assert first.result() == second.result()
    assert len(fetched) == 1


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
