"""The jars of Apache Kafka, from Maven Central."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

from .maven import Kept
from .model import KAFKA_VERSION, Options

KAFKA = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}"
# kafka_2.13 names no logging backend, and without one every fault of the broker is silent. Taken alone: resolved
# together with Kafka, the versions that log4j's own parent wishes for would replace Kafka's.
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"


def kafka_class_path(options: Options) -> str:
    """The class path of Kafka."""
    jars = Kept(f"kafka-{KAFKA_VERSION}", f"Apache Kafka {KAFKA_VERSION}", "42 MB", _fetch)
    return str(jars.path(options) / "*")


def _fetch(maven: Any, complete: Path) -> None:
    inputs, transitive = maven.resolver.resolve([maven.create_dependency(KAFKA)])
    kafka = [found for found in [*inputs, *transitive] if found.scope in (None, "compile", "runtime")]
    for dependency in [*kafka, maven.create_dependency(LOGGING)]:
        jar = dependency.artifact.resolve()
        if not zipfile.is_zipfile(jar):
            raise zipfile.BadZipFile(f"{jar.name} is not a jar")
        shutil.move(jar, complete)
