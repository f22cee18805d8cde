"""The containers as a user has them: `make test ARGS=tests/compose/smoke.py`.

Not called test_*, so that the suite, which needs no Docker, leaves it out. Without Docker it fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, takewhile
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from app.consumer.requester import Outbound, open_requester
from app.settings import Settings
from devstack.servers.waiting import free_port
from tests.support import Answered, ask, event

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "devstack" / "sample" / "first.jsonl"
COMMAND = Path(sys.executable).with_name("patient-upsert")
LARGEST_IMAGE = 250_000_000
PATIENCE = 600
"""Seconds for one command; a first build fetches every package."""


def run(*command: str | Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """This command and all it said, whether it worked or not."""
    return subprocess.run(
        command, env=environment, timeout=PATIENCE, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@dataclass(frozen=True, slots=True)
class Stack:
    """The services of docker-compose.yml under names and ports of their own."""

    name: str
    directory: Path
    """A copy of what the services are made of, so that no .env of the developer is read."""
    kafka_port: int
    environment: dict[str, str]

    def docker(self, *arguments: str | Path) -> str:
        done = run("docker", *arguments, environment=self.environment)
        assert done.returncode == 0, done.stdout
        return done.stdout.strip()

    def compose(self, *arguments: str) -> str:
        own = ("--project-name", self.name, "--file", self.directory / "docker-compose.yml")
        return self.docker("compose", *own, *arguments)

    def up(self) -> None:
        """All services, waited for. What they said is shown when one does not come."""
        try:
            self.compose("up", "--wait", "--quiet-pull")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.compose('logs', '--tail=30')}") from None

    def send(self) -> None:
        """The sample from the host, as the README has it."""
        servers = {"KAFKA_BOOTSTRAP_SERVERS": f"localhost:{self.kafka_port}"}
        done = run(COMMAND, "send", SAMPLE, environment={**self.environment, **servers})
        assert done.returncode == 0, done.stdout
        assert f"{len(SAMPLE.read_text().splitlines())} x 200" in done.stdout.splitlines()

    def ask(self, request: Outbound) -> tuple[tuple[int, int], Answered]:
        """The place that Kafka gave this request, and its answer as a consumer on the host reads it."""
        settings = Settings(
            kafka_bootstrap_servers=f"localhost:{self.kafka_port}",
            database_url=SecretStr("postgresql://not-needed"),
        )

        async def exchange() -> tuple[tuple[int, int], Answered]:
            async with open_requester(settings) as requester:
                [answer] = await ask(requester, request)
                return requester.sent[0], answer

        return asyncio.run(exchange())

    def container(self, service: str) -> dict[str, Any]:
        """What Docker knows of the container of this service."""
        id = self.compose("ps", "--all", "--quiet", service)
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", id))
        return found[0]

    def left(self, kind: str) -> list[str]:
        """The ids of what there is of this project."""
        everything = ("--all",) if kind == "container" else ()
        label = f"label=com.docker.compose.project={self.name}"
        return self.docker(kind, "ls", "--quiet", "--filter", label, *everything).splitlines()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The image built from this checkout; nothing runs yet."""
    name = f"patient-upsert-{uuid4().hex[:8]}"
    port = free_port()
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("COMPOSE_", "PATIENT_UPSERT_"))},
        "WORKER_IMAGE": f"{name}:smoke",
        "POSTGRES_PASSWORD": "p@ss/w:rd#%20$&",  # every character that a URL or a shell would mind
        "KAFKA_PORT": str(port),
        "POSTGRES_PORT": str(free_port()),
        "HTTP_PORT": str(free_port()),
    }
    directory = tmp_path_factory.mktemp("compose")
    shutil.copy(ROOT / "docker-compose.yml", directory)
    shutil.copytree(ROOT / "deploy", directory / "deploy")
    stack = Stack(name, directory, port, environment)
    # The network of the host: where packages can be had from this machine, they can be had in the build.
    stack.docker("build", "--quiet", "--network=host", "--tag", environment["WORKER_IMAGE"], ROOT)
    yield stack
    stack.docker("image", "rm", environment["WORKER_IMAGE"])


@pytest.fixture(scope="module")
def stack(built: Stack) -> Iterator[Stack]:
    """The services, up once for all tests, each of which leaves them up; nothing of them is there afterwards."""
    try:
        built.up()
        yield built
    finally:
        built.compose("down", "--volumes", "--remove-orphans")
    assert {kind: built.left(kind) for kind in ("container", "volume", "network")} == {
        "container": [],
        "volume": [],
        "network": [],
    }


def test_without_a_password_compose_says_what_to_do(built: Stack) -> None:
    environment = {key: value for key, value in built.environment.items() if key != "POSTGRES_PASSWORD"}
    command = ("docker", "compose", "--file", built.directory / "docker-compose.yml")
    refused = run(*command, "up", environment=environment)
    assert refused.returncode != 0
    assert "copy .env.example to .env" in refused.stdout


def test_the_image_adds_less_than_250_mb_to_its_base(built: Stack) -> None:
    history = built.docker(
        "history", "--no-trunc", "--human=false", "--format={{.Size}} {{.CreatedBy}}", built.environment["WORKER_IMAGE"]
    )
    label = "org.opencontainers.image.title"  # our first instruction; the newest are listed first
    own = list(takewhile(lambda line: label not in line, history.splitlines()))
    assert len(own) < len(history.splitlines())
    assert 0 < sum(int(line.split()[0]) for line in own) < LARGEST_IMAGE


def test_requests_from_the_host_are_answered(stack: Stack) -> None:
    stack.send()


@pytest.mark.parametrize("service", ["kafka", "postgres", "worker"])
def test_requests_are_answered_after_a_restart(stack: Stack, service: str) -> None:
    stack.compose("restart", service)
    stack.up()
    stack.send()
    assert stack.container("worker")["RestartCount"] == 0  # it waited, instead of ending and being started again


def test_data_outlives_the_containers(stack: Stack) -> None:
    request = event("kept", "cus_kept")
    (partition, offset), first = stack.ask(request)
    stack.compose("down")
    assert stack.left("container") == []
    stack.up()
    place, again = stack.ask(request)
    assert first.outcome == "created"
    assert again.record.header("replayed") == "true"
    assert again.record.value == first.record.value
    assert place == (partition, offset + 1)  # the topic goes on where it was


def test_a_stopped_worker_ends_with_0_within_ten_seconds(stack: Stack) -> None:
    stack.compose("stop", "--timeout=10", "worker")
    assert stack.container("worker")["State"]["ExitCode"] == 0  # killed, it would be 137
    stack.up()


def test_the_worker_is_confined(stack: Stack) -> None:
    status = stack.compose("exec", "-T", "worker", "cat", "/proc/1/status")
    facts = dict(line.split(":\t", 1) for line in status.splitlines())
    assert facts["Uid"].split("\t") == ["10001"] * 4
    assert (facts["CapBnd"], facts["NoNewPrivs"]) == ("0" * 16, "1")
    writing = "for place in / /opt /opt/venv /var/tmp /tmp; do touch $place/x 2>/dev/null && echo $place; done; true"
    assert stack.compose("exec", "-T", "worker", "sh", "-c", writing) == "/tmp"


def test_the_worker_logs_in_with_the_least_rights(stack: Stack) -> None:
    def told(query: str) -> str:
        psql = ("psql", "--username=patient_upsert", "--dbname=patient_upsert", "--no-align", "--tuples-only")
        return stack.compose("exec", "-T", "postgres", *psql, f"--command={query}")

    clients = "backend_type = 'client backend' and pid <> pg_backend_pid()"
    assert told(f"select distinct usename from pg_stat_activity where {clients}") == "patient_upsert_worker"
    rights = (
        "rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, pg_has_role(rolname, 'patient_upsert_owner', 'member')"
    )
    assert told(f"select {rights} from pg_roles where rolname = 'patient_upsert_worker'") == "f|f|f|f|f"
    owners = told("select distinct tableowner from pg_tables where schemaname = 'public'")
    assert owners == "patient_upsert_owner"


def test_nothing_is_published_beyond_this_machine(stack: Stack) -> None:
    ports = [
        (service, published["HostIp"])
        for service in ("kafka", "postgres", "worker")
        for published in chain.from_iterable(
            bindings or () for bindings in stack.container(service)["NetworkSettings"]["Ports"].values()
        )
    ]
    assert ports == [("kafka", "127.0.0.1"), ("postgres", "127.0.0.1"), ("worker", "127.0.0.1")]
