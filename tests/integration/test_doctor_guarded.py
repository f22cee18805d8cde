"""Doctor on servers that are as production has them: durable, and with access rules."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from app.consumer.follow import Follower
from app.consumer.topics import create_topics
from app.errors import SetupNeeded
from app.settings import Settings
from devstack.servers import Servers, servers
from tests.conftest import own_settings
from tests.integration.test_doctor_servers import becomes, command, found, not_well
from tests.roles import as_worker, with_roles
from tests.support import until

TOPIC, GROUP = 2, 3
ALL, READ, WRITE, DESCRIBE, DESCRIBE_CONFIGS = 2, 3, 4, 8, 10
DENY, ALLOW = 2, 3
SELF = "User:ANONYMOUS"
RULES = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
    # the worst case for a command that must change nothing
    "auto.create.topics.enable": "true",
}


@pytest.fixture(scope="module")
def guarded() -> Iterator[Servers]:
    """Servers of this module's own."""
    if os.environ.get("SERVERS") == "env":
        pytest.skip("the rules of servers that are not ours are not to be changed")
    with servers(durable=True, kafka=RULES) as started:
        yield started


@pytest.fixture
async def settings(guarded: Servers) -> Settings:
    """Topics and group of the test's own, one database for all."""
    await with_roles(guarded.database_url, guarded.database_url)
    own = own_settings(guarded.kafka, as_worker(guarded.database_url))
    await create_topics(own)
    await becomes(own, "kafka.topics", "ok")
    return own


async def rule(settings: Settings, kind: int, name: str, operation: int, permission: int) -> None:
    """Add an access rule for this user, who has no name here."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    response: Any = await admin._send_request(CreateAclsRequest(kind, name, 3, SELF, "*", operation, permission))
    await admin.close()
    assert [code for code, _ in response.creation_responses] == [0]


async def allow_only(settings: Settings, kind: int, name: str, *operations: int) -> None:
    for operation in operations:
        await rule(settings, kind, name, operation, ALLOW)


async def test_a_healthy_setup_fails_nowhere_and_exits_with_0(settings: Settings) -> None:
    # The first question after a group has to wait for its coordinator, longer on a busy machine than doctor does.
    await becomes(settings, "kafka.rights", "ok")
    findings = await found(settings)
    assert not_well(findings) == {}
    assert findings["postgres.durability"].status == "ok"
    code, said = await command(settings)
    assert code == 0
    assert "1 warned" in said.splitlines()[-1]
    assert "\x1b" not in said


async def test_the_rights_that_the_worker_uses_are_enough(settings: Settings) -> None:
    await allow_only(settings, TOPIC, settings.request_topic, READ, DESCRIBE_CONFIGS)
    for topic in (settings.completed_topic, settings.failed_topic, settings.dlq_topic):
        await allow_only(settings, TOPIC, topic, WRITE, DESCRIBE_CONFIGS)
    await allow_only(settings, GROUP, settings.group_id, READ)

    async def enforced() -> bool:
        return not_well(await found(settings)) == {}

    await until(enforced)


@pytest.mark.parametrize(
    ("topic", "left", "lacking"),
    [("request_topic", WRITE, "read"), ("completed_topic", READ, "write"), ("dlq_topic", READ, "write")],
)
async def test_a_right_that_lacks_fails_and_is_named(settings: Settings, topic: str, left: int, lacking: str) -> None:
    name = getattr(settings, topic)
    await allow_only(settings, TOPIC, name, left, DESCRIBE_CONFIGS)
    finding = await becomes(settings, "kafka.rights", "fail")
    assert finding.message == f"no right to {lacking} {name}"


async def test_a_topic_that_may_not_be_seen_fails(settings: Settings) -> None:
    await rule(settings, TOPIC, settings.dlq_topic, ALL, DENY)
    finding = await becomes(settings, "kafka.topics", "fail")
    assert finding.message == f"may not be seen: {settings.dlq_topic}"


@pytest.mark.parametrize("left", [[DESCRIBE], []])
async def test_a_group_that_may_not_be_joined_fails(settings: Settings, left: list[int]) -> None:
    await allow_only(settings, GROUP, settings.group_id, *left)
    if not left:
        await rule(settings, GROUP, settings.group_id, ALL, DENY)
    finding = await becomes(settings, "kafka.rights", "fail")
    assert finding.message == f"no right to consume in the group {settings.group_id}"


async def test_configurations_that_may_not_be_read_are_said_to_be_unchecked(settings: Settings) -> None:
    await allow_only(settings, TOPIC, settings.request_topic, READ)
    finding = await becomes(settings, "kafka.retention", "skipped")
    assert "DescribeConfigs" in str(finding.action)
    assert set(not_well(await found(settings)).values()) == {"skipped"}


async def test_neither_doctor_nor_watch_makes_a_broker_create_topics(guarded: Servers) -> None:
    settings = own_settings(guarded.kafka, as_worker(guarded.database_url))
    following = Follower(settings, [settings.completed_topic, settings.failed_topic], None)
    for _ in range(2):
        assert (await found(settings))["kafka.topics"].message == "missing: all four topics"
        with pytest.raises(SetupNeeded):
            await following.poll()
    _, said = await command(settings, "--json")
    assert [entry["status"] for entry in orjson.loads(said) if entry["check"] == "kafka.topics"] == ["fail"]
