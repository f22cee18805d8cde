"""Development servers, the same choice for demo, tests and bench; `SERVERS` says which.

- `SERVERS=embedded` (default): real Kafka and Postgres as child processes; needs Python and nothing else.
- `SERVERS=docker`: both as containers, by testcontainers.
- `SERVERS=env`: servers that run already, at the addresses in the environment.

`PG` is the version of PostgreSQL for the first two: 15, 16, 17 or 18 (default).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from .model import DEFAULT_POSTGRES, POSTGRES_VERSIONS, Control, Kind, Options, Servers, ServersError, to_stderr

__all__ = ["Control", "Kind", "Servers", "ServersError", "servers"]


@contextmanager
def servers(
    *,
    durable: bool = False,
    nodes: int = 1,
    full_jvm: bool = False,
    kafka: Mapping[str, str] | None = None,
    say: Callable[[str], None] = to_stderr,
) -> Iterator[Servers]:
    """Kafka and Postgres for as long as the context lasts; nothing of them stays, however this process ends.

    `durable` has Postgres write through to the disk, `nodes` is the number of Kafka nodes, `full_jvm` gives Kafka the
    optimising compiler and a larger heap, `kafka` are further settings of its nodes. Raises `ServersError`, always
    one line.
    """
    options = Options(durable, nodes, full_jvm, _postgres_version(os.environ), say, kafka or {})
    match os.environ.get("SERVERS") or "embedded":
        case "embedded":
            from .embedded import embedded_servers

            with embedded_servers(options) as found:
                yield found
        case "docker":
            from .containers import docker_servers

            with docker_servers(options) as found:
                yield found
        case "env":
            yield from_environment(os.environ)
        case other:
            raise ServersError(f"SERVERS is {other!r}; it can be embedded (default), docker or env")


def _postgres_version(environ: Mapping[str, str]) -> int:
    known = {str(version): version for version in POSTGRES_VERSIONS}
    wanted = environ.get("PG") or str(DEFAULT_POSTGRES)
    if wanted not in known:
        *others, last = known
        raise ServersError(f"PG is {wanted!r}; it can be {', '.join(others)} or {last} (default {DEFAULT_POSTGRES})")
    return known[wanted]


def from_environment(environ: Mapping[str, str]) -> Servers:
    """Addresses under the names that the worker itself reads."""
    return Servers(
        kafka=_address(environ, "KAFKA_BOOTSTRAP_SERVERS"), database_url=_address(environ, "DATABASE_URL"), kind="env"
    )


def _address(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(f"PATIENT_UPSERT_{name}") or environ.get(name)
    if not value:
        raise ServersError(f"SERVERS=env needs PATIENT_UPSERT_{name} (or {name})")
    return value
