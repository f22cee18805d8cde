"""Kafka and Postgres as Docker containers, by testcontainers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from docker.errors import DockerException
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.network import Network

from .cleanup import Cleanup
from .kafka import CLUSTER_ID, broker_settings
from .model import KAFKA_IMAGE, Options, Servers, ServersError
from .postgres import server_settings
from .reaper import LABEL
from .waiting import Starting, Together, free_port, kafka_answers, postgres_answers, run, until

KAFKA_DATA = "/tmp/kafka-data"  # noqa: S108 - inside the container
# The image's own start formats the data directory, which is refused when the container starts again on its data.
KAFKA_COMMAND = f"""
[ -e {KAFKA_DATA}/meta.properties ] || exec /etc/kafka/docker/run
exec java $KAFKA_HEAP_OPTS -cp "/opt/kafka/libs/*" kafka.Kafka /opt/kafka/config/server.properties
"""


@contextmanager
def docker_servers(options: Options) -> Iterator[Servers]:
    """Start both, yield their addresses, and remove the containers, their volumes and their network."""
    testcontainers_config.ryuk_disabled = True  # Cleanup does Ryuk's work, without one more image
    cleanup = Cleanup()
    try:
        with _engine_faults_as_one_line():
            host = str(DockerClient().host())
            cleanup.containers(label := secrets.token_hex(8))  # not the session: a process may have several of us
            options.say("starting the containers of Kafka and Postgres")
            postgres, database_url = _postgres(host, label, options)
            nodes, bootstrap = _kafka(host, label, options)
            kafka = Together(nodes)
            run(postgres.starting(), kafka.starting())
        yield Servers(
            kafka=bootstrap,
            database_url=database_url,
            kind="docker",
            postgres_version=options.postgres,
            kafka_control=kafka,
            postgres_control=postgres,
            kafka_nodes=nodes,
        )
    finally:
        cleanup.close()


@dataclass(slots=True)
class ContainerServer:
    """The hold over one container. Its host ports are fixed, so they outlast a restart."""

    name: str
    container: DockerContainer
    ready: Callable[[], bool]
    _created: bool = False

    def starting(self) -> Starting:
        if self._created:
            self._engine().start()
        else:
            self.container.start()
            self._created = True

        def ready() -> bool:
            engine = self._engine()
            engine.reload()
            if engine.status == "exited":
                raise ServersError(f"{self.name} ended while it started: {self._last_words()}")
            return self.ready()

        yield from until(ready, lambda: f"{self.name} did not answer in time: {self._last_words()}")

    def start(self) -> None:
        run(self.starting())

    def stop(self) -> None:
        self._engine().stop(timeout=60)

    def kill(self) -> None:
        self._engine().kill()
        self._engine().wait()

    def pause(self) -> None:
        self._engine().pause()

    def resume(self) -> None:
        self._engine().unpause()

    def _engine(self) -> Any:
        return self.container.get_wrapped_container()

    def _last_words(self) -> str:
        lines = self._engine().logs(tail=4).decode(errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines)[-1000:]


def _postgres(host: str, label: str, options: Options) -> tuple[ContainerServer, str]:
    port, password = free_port(), secrets.token_hex(8)
    container = (
        DockerContainer(f"postgres:{options.postgres}")
        .with_env("POSTGRES_PASSWORD", password)
        .with_command(["postgres", *server_settings(options.durable)])
        .with_bind_ports(5432, port)
        .with_kwargs(stop_signal="SIGINT", labels={LABEL: label})  # "fast": does not wait for clients to leave
    )
    server = ContainerServer("postgres", container, lambda: postgres_answers(host, port))
    return server, f"postgresql://postgres:{password}@{host}:{port}/postgres"


def _kafka(host: str, label: str, options: Options) -> tuple[tuple[ContainerServer, ...], str]:
    """Testcontainers' own KafkaContainer fits Confluent's images only; apache/kafka is configured by KAFKA_*."""
    network = Network(docker_network_kw={"labels": {LABEL: label}}).create()
    numbers = range(1, options.nodes + 1)
    common = broker_settings(options.nodes) | {
        "inter.broker.listener.name": "INTERNAL",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093,INTERNAL://:9094",
        "controller.quorum.voters": ",".join(f"{n}@kafka-{n}:9093" for n in numbers),
        "log.dirs": KAFKA_DATA,
        **options.kafka,
    }
    ports = [free_port() for _ in numbers]
    nodes = tuple(_node(n, host, port, label, network, common, options) for n, port in zip(numbers, ports, strict=True))
    return nodes, ",".join(f"{host}:{port}" for port in ports)


def _node(
    n: int, host: str, port: int, label: str, network: Network, common: dict[str, str], options: Options
) -> ContainerServer:
    advertised = f"PLAINTEXT://{host}:{port},INTERNAL://kafka-{n}:9094"
    settings = common | {"node.id": str(n), "advertised.listeners": advertised}
    container = (
        DockerContainer(KAFKA_IMAGE, env={_variable(key): value for key, value in settings.items()})
        .with_env("CLUSTER_ID", CLUSTER_ID)
        .with_env("KAFKA_HEAP_OPTS", "-Xms1g -Xmx1g" if options.full_jvm else "-Xmx512m")
        .with_command(["bash", "-c", KAFKA_COMMAND])
        .with_bind_ports(9092, port)
        .with_kwargs(labels={LABEL: label})
        .with_network(network)
        .with_network_aliases(f"kafka-{n}")
    )
    return ContainerServer(f"kafka-{n}", container, lambda: kafka_answers(host, port))


def _variable(key: str) -> str:
    return "KAFKA_" + key.upper().replace(".", "_")


@contextmanager
def _engine_faults_as_one_line() -> Iterator[None]:
    try:
        yield
    except (DockerException, OSError) as error:
        cause = " ".join(str(error).split())[:300]
        raise ServersError(f"Docker: {cause}; SERVERS=embedded needs no Docker") from error
