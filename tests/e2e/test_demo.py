"""The demo as its user meets it: a process, its output, its exit code, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from rich.cells import cell_len

from devstack.servers import Servers
from devstack.servers.reaper import alive, family
from tests.support import until

ROOT = Path(__file__).parents[2]
TRUE = "demo: 60 requests, 60 answers, 0 lost, 0 answered twice differently"
PATIENCE = 180


@dataclass(frozen=True)
class Demo:
    """A demo that runs, and what it has printed so far."""

    process: subprocess.Popen[str]
    scratch: Path

    def read_until(self, text: str) -> str:
        """What it prints up to the line with this text."""
        assert self.process.stdout
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if text in line:
                return "".join(lines)
        raise AssertionError(f"{text!r} never came:\n{''.join(lines)}")

    def end(self) -> tuple[int, str]:
        """Exit code, and the rest of what it printed."""
        assert self.process.stdout
        rest = self.process.stdout.read()
        return self.process.wait(PATIENCE), rest

    def started(self) -> list[psutil.Process]:
        """All processes that it has started so far."""
        return family(psutil.Process(self.process.pid))[1:]


def run(*arguments: str, **environment: str) -> Iterator[Demo]:
    with tempfile.TemporaryDirectory(prefix="demo-test-") as scratch:
        Path(scratch).chmod(0o711)  # where tests run as root, Postgres runs as somebody else
        process = subprocess.Popen(
            [sys.executable, "-m", "devstack.demo", *arguments],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": scratch, "PYTHONUNBUFFERED": "1", "COLUMNS": "80", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        limit = threading.Timer(PATIENCE, process.kill)
        limit.start()
        try:
            yield Demo(process, Path(scratch))
        finally:
            limit.cancel()
            process.kill()
            process.communicate()


@pytest.fixture
def demo() -> Iterator[Demo]:
    yield from run()


@pytest.fixture
def kept() -> Iterator[Demo]:
    yield from run("--keep")


def nothing_is_left(demo: Demo, members: list[psutil.Process]) -> bool:
    """Neither of these processes, nor another that has the demo's environment, nor a file."""
    return not [process for process in (*members, *with_scratch(demo.scratch)) if alive(process)] and not [
        *demo.scratch.iterdir()
    ]


def with_scratch(scratch: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("TMPDIR") == str(scratch):
                yield process


def test_the_demo_tells_the_truth_and_leaves_nothing(demo: Demo) -> None:
    began = demo.read_until("the worker is ready")
    members = demo.started()
    code, rest = demo.end()
    assert rest.splitlines()[-1] == TRUE, began + rest
    assert code == 0
    assert nothing_is_left(demo, members)
    assert max(map(cell_len, rest.splitlines())) <= 80
    assert "\x1b" not in rest, "not a terminal: no colour"


def to_type(text: str) -> list[str]:
    """The paragraphs that follow one which ends with a colon: what the user is told to type."""
    parts = re.split(r"\n\n+", text)
    return [part for before, part in pairwise(parts) if before.endswith(":")]


def in_a_shell(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_what_it_prints_to_type_next_works_as_printed(kept: Demo) -> None:
    demo = kept
    demo.read_until(TRUE)
    members = demo.started()
    exports, *commands = to_type(demo.read_until("Health is at"))
    sent_file, sent_own, rows = [in_a_shell(f"{exports}\n{command}") for command in commands]
    assert (sent_file.returncode, sent_own.returncode, rows.returncode) == (0, 0, 0)
    assert sent_file.stdout.count("200") >= 2
    assert "created" in sent_own.stdout
    assert "cus_you" in rows.stdout
    demo.process.send_signal(signal.SIGINT)
    code, rest = demo.end()
    assert code == 0, rest
    assert "the worker has stopped in order" in rest
    assert nothing_is_left(demo, members)


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("Kafka is at", signal.SIGTERM),
        ("the worker is ready", signal.SIGINT),
    ],
)
def test_an_interruption_is_one_line_and_leaves_nothing(demo: Demo, moment: str, number: signal.Signals) -> None:
    demo.read_until(moment)
    members = demo.started()
    demo.process.send_signal(number)
    code, rest = demo.end()
    assert code == 130
    assert rest.splitlines()[-1] == "demo: interrupted; nothing of it is left"
    assert "Traceback" not in rest
    assert nothing_is_left(demo, members)


def at(kafka: str, database_url: str) -> dict[str, str]:
    """The environment that names servers which run already."""
    names = {"PATIENT_UPSERT_KAFKA_BOOTSTRAP_SERVERS": kafka, "PATIENT_UPSERT_DATABASE_URL": database_url}
    return {"SERVERS": "env", **names}


async def test_on_servers_of_others_it_uses_names_of_its_own_and_removes_them(shared: Servers) -> None:
    theirs = {"PATIENT_UPSERT_UNKNOWN_CUSTOMER": "reject", "PATIENT_UPSERT_REQUEST_TOPIC": "theirs"}
    for demo in run(**at(shared.kafka, shared.database_url), **theirs):
        code, rest = demo.end()
        assert rest.splitlines()[-1] == TRUE, rest
        assert code == 0
    admin = AIOKafkaAdminClient(bootstrap_servers=shared.kafka)
    await admin.start()

    async def removed() -> bool:
        return not [topic for topic in await admin.list_topics() if topic.startswith("demo_")]

    await until(removed)  # the broker still names a topic for a moment after it was deleted
    await admin.close()
    connection = await asyncpg.connect(shared.database_url)
    assert not await connection.fetch("select datname from pg_database where datname like 'demo\\_%'")
    await connection.close()


def test_a_server_that_is_away_is_one_line() -> None:
    for demo in run(**at("127.0.0.1:1", "postgresql://127.0.0.1:1/x")):
        code, rest = demo.end()
        assert code == 1
        assert rest.count("\n") == 1, rest
        assert rest.startswith("demo: ")
