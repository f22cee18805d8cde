"""A free port is given away once, whichever process asks."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.servers.waiting import HOST, free_port

ROOT = Path(__file__).parents[2]
PROGRAM = """
from devstack.servers.waiting import free_port
print(free_port(), flush=True)
input()
"""


@pytest.fixture
def other() -> Iterator[subprocess.Popen[str]]:
    """Another process, which has asked for a port, prints it, and does not listen on it yet."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def spare_port() -> int:
    """A port that nobody has asked for."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def offered(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """Have these ports tried, in this order."""
    offers = iter(ports)
    monkeypatch.setattr("random.randint", lambda *_: next(offers))


def test_a_port_that_another_process_has_asked_for_is_not_given_to_this_one(
    other: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert other.stdout
    theirs, ours, third = int(other.stdout.readline()), free_port(), spare_port()
    offered(monkeypatch, theirs, ours, third)
    assert free_port() == third


def test_a_port_of_a_process_that_has_ended_is_free_again(
    other: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert other.stdout
    theirs = int(other.stdout.readline())
    other.communicate("")
    offered(monkeypatch, theirs)
    assert free_port() == theirs


def test_a_port_on_which_somebody_listens_is_not_given_away(monkeypatch: pytest.MonkeyPatch) -> None:
    spare = spare_port()
    with socket.create_server((HOST, 0)) as listening:
        offered(monkeypatch, listening.getsockname()[1], spare)
        assert free_port() == spare
