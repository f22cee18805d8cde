"""However the process that started the servers ends, nothing of them stays."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from testcontainers.core.docker_client import DockerClient

from devstack.servers import Servers, servers
from devstack.servers.reaper import LABEL, alive, family
from devstack.servers.waiting import kafka_answers

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def started() -> Iterator[subprocess.Popen[str]]:
    # Under nohup the child would inherit that this one is ignored.
    as_we_had_it = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "devstack.servers"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGHUP, as_we_had_it)
    with process:
        yield process
        process.kill()


def addresses(process: subprocess.Popen[str]) -> tuple[str, str]:
    """The two export lines, which come when both servers are ready."""
    assert process.stdout
    kafka, postgres = process.stdout.readline(), process.stdout.readline()
    assert kafka.startswith("export PATIENT_UPSERT_KAFKA_BOOTSTRAP_SERVERS=")
    assert postgres.startswith("export PATIENT_UPSERT_DATABASE_URL=postgresql://")
    return kafka.partition("=")[2].strip(), postgres.partition("=")[2].strip()


def told(members: list[psutil.Process], what: Callable[[psutil.Process], str]) -> list[str]:
    """What each says; those that end meanwhile, as helpers of Postgres do, say nothing."""
    said = []
    for member in members:
        with contextlib.suppress(psutil.Error):
            said.append(what(member))
    return said


def data_directory(members: list[psutil.Process]) -> Path:
    works_in = [Path(cwd) for cwd in told(members, psutil.Process.cwd)]
    return next(parent for path in works_in for parent in path.parents if parent.name.startswith("patient-upsert-"))


def host_ports(container: Any) -> set[str]:
    return {bound["HostPort"] for bindings in container.ports.values() for bound in bindings or ()}


def processes_and_data(process: subprocess.Popen[str]) -> tuple[list[psutil.Process], Path]:
    """What this process has started, and where; returns when both servers are ready."""
    addresses(process)
    members = family(psutil.Process(process.pid))[1:]
    assert {"java", "postgres"} <= set(told(members, psutil.Process.name))
    return members, data_directory(members)


@pytest.mark.servers("embedded")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_processes_and_data_go_with_a_parent_that_dies(started: subprocess.Popen[str], number: signal.Signals) -> None:
    members, data = processes_and_data(started)
    started.send_signal(number)
    started.wait(PATIENCE_S)
    wait_for(lambda: not any(map(alive, members)))
    wait_for(lambda: not data.exists())


@pytest.mark.servers("embedded")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_orderly_end_is_a_success_and_ends_after_processes_and_data(
    started: subprocess.Popen[str], number: signal.Signals
) -> None:
    members, data = processes_and_data(started)
    started.send_signal(number)
    assert started.wait(PATIENCE_S) == 0
    assert not any(map(alive, members))
    assert not data.exists()


@pytest.mark.servers("embedded")
def test_a_parent_killed_amid_the_start_leaves_nothing(started: subprocess.Popen[str]) -> None:
    parent = psutil.Process(started.pid)
    wait_for(lambda: "java" in told(parent.children(), psutil.Process.name))
    members = family(parent)[1:]
    data = data_directory(members)
    started.kill()
    started.wait(PATIENCE_S)
    wait_for(lambda: not any(map(alive, members)))
    wait_for(lambda: not data.exists())


@pytest.mark.servers("docker")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_containers_volumes_and_networks_go_with_their_parent(
    started: subprocess.Popen[str], number: signal.Signals
) -> None:
    kafka, postgres = addresses(started)
    engine = DockerClient().client
    ports = {kafka.rpartition(":")[2], str(urlsplit(postgres).port)}
    ours = [container for container in engine.containers.list() if ports & host_ports(container)]
    assert len(ours) == 2
    label = {"label": f"{LABEL}={ours[0].labels[LABEL]}"}
    volumes = {mount["Name"] for c in ours for mount in c.attrs["Mounts"]}
    started.send_signal(number)
    started.wait(PATIENCE_S)
    wait_for(lambda: not engine.containers.list(all=True, filters=label))
    wait_for(lambda: not engine.networks.list(filters=label))
    wait_for(lambda: not volumes & {volume.name for volume in engine.volumes.list()})
    engine.close()


@pytest.mark.servers("embedded", "docker")
def test_servers_that_end_leave_the_others_of_their_process_alone(own_servers: Servers) -> None:
    with servers():
        pass
    host, _, port = own_servers.kafka.rpartition(":")
    assert kafka_answers(host, int(port))
