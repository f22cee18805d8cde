"""The bench itself, small: every contestant does its work, all is written, nothing is left. Never how fast."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient

from bench.report import read
from devstack.servers import Servers
from tests.readme import ROOT

LIMIT = 600


def bench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    given = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=LIMIT, check=False)


async def left(shared: Servers) -> tuple[list[str], list[str]]:
    """Databases and topics of the bench."""
    connection = await asyncpg.connect(shared.database_url)
    databases = [row[0] for row in await connection.fetch("select datname from pg_database where datname ~ '^bench_'")]
    await connection.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=shared.kafka)
    await admin.start()
    topics = [topic for topic in await admin.list_topics() if topic.startswith("bench_")]
    await admin.close()
    return databases, topics


async def test_a_small_run_has_every_contestant_and_load_and_leaves_nothing(shared: Servers, tmp_path: Path) -> None:
    environment = {"SERVERS": "env", "KAFKA_BOOTSTRAP_SERVERS": shared.kafka, "DATABASE_URL": shared.database_url}
    done = await asyncio.to_thread(bench, "--quick", "--scale", "0.01", "--out", str(tmp_path), **environment)
    assert done.returncode == 0, done.stderr
    results = read(tmp_path / "results.json")
    kinds = ("new", "update", "unchanged", "hot", "invalid", "poison")
    mixes = ("mix, 64 partitions", "mix, larger table", "mix, answers removed")
    assert {(run.contestant, run.load) for run in results.runs} == {
        ("floor", "mix"), ("naive", "mix"), ("ours", "mix"), ("ours", "replay"),
        *(("ours", kind) for kind in (*kinds, *mixes)),
    }  # fmt: skip
    levels = ("100/s", "quarter", "half", "three quarters", "nine tenths")
    assert [(one.contestant, one.level) for one in results.latencies] == [
        ("naive", "100/s"), *(("ours", level) for level in levels),
    ]  # fmt: skip
    assert all(run.peak_memory > 0 for run in results.runs if run.contestant != "floor")
    assert "| mix against naive |" in (tmp_path / "performance.md").read_text(encoding="utf-8")
    for plot in ("throughput", "latency"):
        # What so few requests cost is not known, so the other two plots are not drawn.
        assert (tmp_path / "plots" / f"{plot}.png").read_bytes()[:4] == b"\x89PNG"
        assert "<svg" in (tmp_path / "plots" / f"{plot}.svg").read_text(encoding="utf-8")
    assert await left(shared) == ([], [])


async def test_without_servers_the_bench_says_so_in_one_line() -> None:
    done = await asyncio.to_thread(bench, "--quick", SERVERS="nowhere")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("bench: SERVERS is 'nowhere'")


async def test_the_help_has_an_example() -> None:
    done = await asyncio.to_thread(bench, "--help")
    assert done.returncode == 0
    assert "Example: python -m bench --quick" in done.stdout
