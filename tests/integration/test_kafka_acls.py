"""The users of deploy/kafka-acls.sh on a Kafka that allows nobody anything: enough, and no more."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import confluent_kafka.admin
import pytest
from confluent_kafka import KafkaException, Producer
from pydantic import SecretStr

from app.consumer.requester import open_requester
from app.consumer.topics import create_topics
from app.settings import Settings
from devstack.servers import Servers, servers
from devstack.servers.waiting import free_port
from tests.conftest import own_settings
from tests.integration.test_doctor_servers import found, not_well
from tests.kafka_tools import kafka_tools
from tests.roles import as_worker, with_roles
from tests.support import ask, plain, ready, running, until

SCRIPT = Path(__file__).parents[2] / "deploy" / "kafka-acls.sh"
SETUP, WORKER, PASSWORD = "patient-upsert-setup", "patient-upsert-worker", "parole"
LIMIT = 30


@dataclass(frozen=True)
class Guarded:
    """Settings of the one who may do anything, and of the same servers as a user."""

    settings: Settings
    port: int

    def as_user(self, user: str) -> Settings:
        return self.settings.model_copy(
            update={
                "kafka_bootstrap_servers": f"127.0.0.1:{self.port}",
                "kafka_security_protocol": "SASL_PLAINTEXT",
                "kafka_sasl_mechanism": "PLAIN",
                "kafka_sasl_username": user,
                "kafka_sasl_password": SecretStr(PASSWORD),
            }
        )

    def library(self, user: str) -> dict[str, Any]:
        """The same for librdkafka."""
        return {
            "bootstrap.servers": f"127.0.0.1:{self.port}",
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": user,
            "sasl.password": PASSWORD,
            "log_level": 0,
        }


@pytest.fixture(scope="module")
def started() -> Iterator[tuple[Servers, int]]:
    """Servers of this module's own; one listener is for who may do anything, the other for users with names."""
    if os.environ.get("SERVERS", "embedded") != "embedded":
        pytest.skip("only embedded servers can be given users here")
    port = free_port()
    users = " ".join(f'user_{user}="{PASSWORD}"' for user in (SETUP, WORKER))
    kafka = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "listeners": f"LOGIN://127.0.0.1:{port}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,LOGIN:SASL_PLAINTEXT",
        "listener.name.login.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.login.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule "
        f"required {users};",
    }
    with servers(kafka=kafka) as found:
        yield found, port


@pytest.fixture
async def guarded(started: tuple[Servers, int]) -> Guarded:
    found, port = started
    await with_roles(found.database_url, found.database_url)
    return Guarded(own_settings(found.kafka, as_worker(found.database_url)), port)


async def script(guarded: Guarded, folder: Path) -> None:
    settings = guarded.settings
    names = ("request_topic", "completed_topic", "failed_topic", "dlq_topic", "group_id")
    given = {f"PATIENT_UPSERT_{name.upper()}": str(getattr(settings, name)) for name in names}
    given |= {
        "BOOTSTRAP": settings.kafka_bootstrap_servers,
        "KAFKA_ACLS": str(kafka_tools(folder) / "kafka-acls.sh"),
        "PATH": os.defpath,
    }
    process = await asyncio.create_subprocess_exec(SCRIPT, env=given, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


def refusal(work: Callable[[], Any]) -> str:
    """What Kafka says to it."""
    try:
        work()
    except KafkaException as error:
        return str(error.args[0].name())
    return "done"


def attempts(guarded: Guarded, user: str) -> dict[str, Callable[[], Any]]:
    """What a user may try that is not its business."""
    settings, library = guarded.settings, guarded.library(user)
    names: Any = confluent_kafka.admin  # which says nothing of what it exports
    admin = names.AdminClient(library)

    def of(futures: Any) -> None:
        for future in futures.values():
            future.result(LIMIT)

    def write(topic: str) -> None:
        producer, failed = Producer(library), []
        producer.produce(topic, b"x", on_delivery=lambda error, _: failed.append(error))
        producer.flush(LIMIT)
        if failed[0] is not None:
            raise KafkaException(failed[0])

    def read(topic: str) -> None:
        consumer = confluent_kafka.Consumer({**library, "group.id": settings.group_id})
        try:
            if (hidden := consumer.list_topics(topic, LIMIT).topics[topic].error) is not None:
                raise KafkaException(hidden)
            consumer.assign([confluent_kafka.TopicPartition(topic, 0, 0)])
            record = consumer.poll(LIMIT)
            if record is not None and record.error() is not None:
                raise KafkaException(record.error())
        finally:
            consumer.close()

    change = names.ConfigEntry("retention.ms", "1", incremental_operation=names.AlterConfigOpType.SET)
    resource = names.ConfigResource(names.ResourceType.TOPIC, settings.request_topic, incremental_configs=[change])
    more = names.AclBinding(
        names.ResourceType.TOPIC,
        "*",
        names.ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        names.AclOperation.ALL,
        names.AclPermissionType.ALLOW,
    )
    return {
        "write requests": lambda: write(settings.request_topic),
        "read answers": lambda: read(settings.completed_topic),
        "read refusals": lambda: read(settings.failed_topic),
        "read dead letters": lambda: read(settings.dlq_topic),
        "delete a topic": lambda: of(admin.delete_topics([settings.request_topic], request_timeout=LIMIT)),
        "create another topic": lambda: of(admin.create_topics([names.NewTopic("other", 1)], request_timeout=LIMIT)),
        "add partitions": lambda: of(admin.create_partitions([names.NewPartitions(settings.request_topic, 9)])),
        "change a topic": lambda: of(admin.incremental_alter_configs([resource])),
        "give itself a right": lambda: of(admin.create_acls([more], request_timeout=LIMIT)),
    }


@pytest.mark.rule("R11.3")
async def test_the_rights_of_setup_and_worker_are_enough_and_no_more(guarded: Guarded, tmp_path: Path) -> None:
    await script(guarded, tmp_path)
    setup, worker = guarded.as_user(SETUP), guarded.as_user(WORKER)
    assert set((await create_topics(setup)).values()) == {True}
    assert set((await create_topics(setup)).values()) == {False}
    async with running(worker) as app:
        await ready(app)
        async with open_requester(guarded.settings) as requester:
            answers = await ask(requester, plain("cus_1"), plain("cus_1", city=7))
    assert [answer.status for answer in answers] == [200, 400]

    async def well() -> bool:
        return not_well(await found(worker)) == {}

    await until(well)
    for user in (SETUP, WORKER):
        tried = attempts(guarded, user)
        said = {what: await asyncio.to_thread(refusal, work) for what, work in tried.items()}
        assert {what: name for what, name in said.items() if not name.endswith("AUTHORIZATION_FAILED")} == {}, user
