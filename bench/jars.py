"""The jars of Kafka Connect and of Debezium's JDBC sink, from Maven Central."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any, Final

from devstack.servers.maven import Kept
from devstack.servers.model import DEFAULT_POSTGRES, KAFKA_VERSION, Options, to_stderr

DEBEZIUM: Final = "3.6.0.Final"
_CONNECT: Final = (
    f"org.apache.kafka:connect-runtime:{KAFKA_VERSION}",
    f"org.apache.kafka:connect-json:{KAFKA_VERSION}",
)
_SINK: Final = f"io.debezium:debezium-connector-jdbc:{DEBEZIUM}"
# The version that Debezium names is not published for hibernate-core's own; this one is, and has the same interface.
_REPLACED: Final = {"hibernate-agroal": "org.hibernate.orm:hibernate-agroal:7.2.19.Final"}
# They come with Connect; a second copy in the plug-in's folder would be loaded, and be strange to the first.
_NOT_IN_PLUGIN: Final = {
    "jackson-core",
    "jackson-databind",
    "jackson-annotations",
    "connect-api",
    "kafka-clients",
    "slf4j-api",
}
# Drivers and dialects of other databases: half of the download.
_NOT_NEEDED: Final = {"mysql-connector-j", "mariadb-java-client", "mssql-jdbc", "ojdbc11", "jcc"}


def connect() -> tuple[Path, Path]:
    """The folder of Connect's jars and the one that holds the sink as a plug-in; fetched once, about 100 MB."""
    options = Options(False, 1, False, DEFAULT_POSTGRES, to_stderr)
    what = f"Kafka Connect {KAFKA_VERSION} and Debezium's JDBC sink {DEBEZIUM}"
    kept = Kept(f"connect-{KAFKA_VERSION}-debezium-{DEBEZIUM}", what, "100 MB", _fetch).path(options)
    return kept / "connect", kept / "plugins"


def _fetch(maven: Any, complete: Path) -> None:
    _put(maven, _CONNECT, complete / "connect", set())
    _put(maven, (_SINK,), complete / "plugins" / "debezium", _NOT_IN_PLUGIN | _NOT_NEEDED)


def _put(maven: Any, wanted: tuple[str, ...], folder: Path, left_out: set[str]) -> None:
    folder.mkdir(parents=True)
    resolved = _resolved(maven, wanted)
    # What stands in for another brings what it needs beside it, but replaces nothing else.
    there = set[str]()
    for found in sorted(resolved, key=lambda one: one.artifact.artifactId in _REPLACED):
        name = found.artifact.artifactId
        replaced = _REPLACED.get(name)
        for one in _resolved(maven, (replaced,)) if replaced else (found,):
            if (named := one.artifact.artifactId) not in left_out | there:
                there.add(named)
                _jar(one, folder)


def _resolved(maven: Any, wanted: tuple[str, ...]) -> list[Any]:
    inputs, transitive = maven.resolver.resolve([maven.create_dependency(name) for name in wanted])
    return [found for found in [*inputs, *transitive] if found.scope in (None, "compile", "runtime")]


def _jar(dependency: Any, folder: Path) -> None:
    jar = dependency.artifact.resolve()
    if not zipfile.is_zipfile(jar):
        raise zipfile.BadZipFile(f"{jar.name} is not a jar")
    shutil.move(jar, folder)
