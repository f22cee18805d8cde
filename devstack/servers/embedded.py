"""Kafka and Postgres as child processes of this one: real servers on a machine with Python and nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .cleanup import Cleanup
from .jars import kafka_class_path
from .kafka import EmbeddedKafka
from .model import Options, Servers
from .postgres import EmbeddedPostgres
from .programs import postgres_programs
from .waiting import run


@contextmanager
def embedded_servers(options: Options) -> Iterator[Servers]:
    """Start both, yield their addresses, and remove both with all data."""
    class_path = kafka_class_path(options)
    programs = postgres_programs(options)
    options.say("starting Kafka and Postgres")
    cleanup = Cleanup()
    started = []
    try:
        directory = Path(tempfile.mkdtemp(prefix="patient-upsert-")).resolve()
        cleanup.directory(directory)
        postgres = EmbeddedPostgres(directory, cleanup, options, programs)
        kafka = EmbeddedKafka(directory, cleanup, options, class_path)
        started = [postgres.control, *kafka.nodes]
        run(postgres.starting(), kafka.starting())
        yield Servers(
            kafka=kafka.bootstrap,
            database_url=postgres.database_url,
            kind="embedded",
            postgres_version=options.postgres,
            kafka_control=kafka.control,
            postgres_control=postgres.control,
            kafka_nodes=kafka.nodes,
        )
    finally:
        cleanup.close()
        for server in started:
            server.collect()
