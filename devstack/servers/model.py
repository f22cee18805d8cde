"""What callers see of the development servers, and the error they may meet."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Kind = Literal["embedded", "docker", "env"]

POSTGRES_VERSIONS = (15, 16, 17, 18)
DEFAULT_POSTGRES = 18
KAFKA_VERSION = "4.3.1"
KAFKA_IMAGE = f"apache/kafka:{KAFKA_VERSION}"


class ServersError(RuntimeError):
    """The servers cannot be had. The message is one line: the cause, and what to do or the last lines of the log."""


class Control(Protocol):
    """Hold over one server, or over all nodes of one, for fault tests. Address and data stay the same throughout."""

    def start(self) -> None:
        """Start it again after `stop` or `kill`; returns when it answers."""

    def stop(self) -> None:
        """Shut it down in order; returns when it is gone."""

    def kill(self) -> None:
        """End it at once, as a crash would; returns when it is gone."""

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing is answered."""

    def resume(self) -> None:
        """Let a paused server go on."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Addresses of a running Kafka and Postgres."""

    kafka: str  # bootstrap servers: host:port[,host:port…]
    database_url: str  # of a role that may create databases
    kind: Kind
    postgres_version: int | None = None  # None with kind env: whatever runs there
    kafka_control: Control | None = None  # None with kind env: these servers are not ours
    postgres_control: Control | None = None
    kafka_nodes: tuple[Control, ...] = ()  # node 1, 2, 3


def to_stderr(text: str) -> None:
    """Progress goes to stderr: stdout belongs to the program that asked for servers."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller asked for."""

    durable: bool  # fsync of Postgres on
    nodes: int  # Kafka nodes
    full_jvm: bool  # optimising compiler and a larger heap
    postgres: int  # major version
    say: Callable[[str], None]
    kafka: Mapping[str, str] = field(default_factory=dict)  # further settings of its nodes
