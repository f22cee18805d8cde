"""Waiting for servers, several at a time, without threads: a Ctrl-C then interrupts every start at once."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from .model import Control, ServersError

HOST = "127.0.0.1"
READY_WITHIN_S = 90.0  # generous: a laptop that compiles at the same time is slow, not broken
LOOK_EVERY_S = 0.02

Starting = Iterator[None]
"""A start under way: each step looks whether the server is ready, and the last one has seen that it is."""


class Server(Control, Protocol):
    """A server whose start can go on beside other starts."""

    def starting(self) -> Starting:
        """Start, and wait until it answers."""


def beside(*starts: Starting) -> Starting:
    """Several starts as one; the first error ends them all."""
    waiting = list(starts)
    while waiting := [start for start in waiting if next(start, "done") is None]:
        yield


def run(*starts: Starting) -> None:
    """See these starts through."""
    for _ in beside(*starts):
        time.sleep(LOOK_EVERY_S)


def until(condition: Callable[[], bool], too_late: Callable[[], str]) -> Starting:
    """Wait for a condition; `too_late` makes the message when the time is over."""
    deadline = time.monotonic() + READY_WITHIN_S
    while not condition():
        if time.monotonic() > deadline:
            raise ServersError(too_late())
        yield


@dataclass(frozen=True, slots=True)
class Together:
    """Several nodes held as one server."""

    nodes: Sequence[Server]

    def starting(self) -> Starting:
        # Side by side, since one node alone has no quorum and never becomes ready.
        return beside(*(node.starting() for node in self.nodes))

    def start(self) -> None:
        run(self.starting())

    def stop(self) -> None:
        *others, last = self.nodes
        for node in others:
            node.stop()
        if others:
            last.kill()  # without a quorum Kafka cannot shut down in order: it would wait for the others
        else:
            last.stop()

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def pause(self) -> None:
        for node in self.nodes:
            node.pause()

    def resume(self) -> None:
        for node in self.nodes:
            node.resume()


def free_port() -> int:
    """A TCP port that nobody listens on, another one each time, also in other processes that ask here.

    Below the range from which systems take ports for outgoing connections: a client that tries to reach a stopped
    server could otherwise be given that very port as its own, and the server could not come back.
    """
    while True:
        port = random.randint(10_000, 32_000)  # noqa: S311 - not a secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            _hold(port)
            return port


def _hold(port: int) -> None:
    """Keep the UDP port of the same number until this process ends: the sign that the TCP port is given away.

    Of processes that choose at the same time only one gets it, and no file is left by those that die. OSError: another
    process has it.
    """
    holder = socket.socket(type=socket.SOCK_DGRAM)
    try:
        holder.bind((HOST, port))
    except OSError:
        holder.close()
        raise
    holder.detach()  # its number goes with this process, and no object complains that it was not closed


def kafka_answers(host: str, port: int) -> bool:
    """Whether a Kafka node answers a metadata request (version 1, no topics) and knows of a broker."""
    request = struct.pack(">hhihi", 3, 1, 0, -1, 0)
    try:
        with socket.create_connection((host, port), timeout=2) as connection, connection.makefile("rb") as answer:
            connection.sendall(struct.pack(">i", len(request)) + request)
            head = answer.read(12)  # length, correlation id, number of brokers
    except OSError:
        return False
    return len(head) == 12 and int.from_bytes(head[8:], "big") > 0


def postgres_answers(host: str, port: int) -> bool:
    """Whether Postgres asks a client for its password; as long as it starts, it answers with an error.

    By TCP: while the Docker image initialises itself, a server that is about to go answers on the Unix socket. Spoken
    here because not every distribution of Postgres has `pg_isready`.
    """
    request = struct.pack(">i", 3 << 16) + b"user\0postgres\0\0"
    try:
        with socket.create_connection((host, port), timeout=2) as connection, connection.makefile("rb") as answer:
            connection.sendall(struct.pack(">i", len(request) + 4) + request)
            return answer.read(1) == b"R"
    except OSError:
        return False
