"""Kafka away, hanging, refusing, or moving things around."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._resource import ResourceType

from app.topics import topic_configs
from devstack.servers import Control
from tests.faults.broker_side import configure, delete_topic, deny, expire, make_topics, permit
from tests.faults.matrix.case import Case, Needs
from tests.faults.matrix.cases.postgres import admin
from tests.faults.matrix.world import PATIENCE, NotRun, World
from tests.support import until, waits_for_a_lock

LIMIT = 60.0


def control_of(world: World) -> Control:
    """Hold over the broker."""
    if world.servers.kafka_control is None:
        raise NotRun("this broker is not ours to stop")
    return world.servers.kafka_control


async def restart(world: World) -> None:
    """Killed and started at once, then stopped in order and started."""
    control = control_of(world)
    async with world.running():
        await world.start()
        for end in (control.kill, control.stop):
            await world.working()
            await world.caught_up()
            await asyncio.to_thread(end)
            await asyncio.to_thread(control.start)
            world.mark()
        await world.working(300)


async def stopped(world: World) -> None:
    """Connections stay open and nothing is answered."""
    await world.hanging(control_of(world))


async def reset_in_flight(world: World) -> None:
    """A fifth of the publications is cut off: half before Kafka has them, half before their acknowledgement."""
    between = world.proxy
    if between is None:
        raise NotRun("there is nothing between the worker and this broker")
    topics = [topic.encode() for topic in (world.settings.completed_topic, world.settings.failed_topic)]
    async with world.running():
        await world.start()
        # Produce requests have key 0 in front; of the other clients of this proxy, none writes answers.
        between.cuts = lambda data: (
            data[4:6] == b"\0\0" and any(topic in data for topic in topics) and world.rng.random() < 0.2
        )
        cut = between.done
        assert await world.tail.until(lambda: between.done >= cut + 15, PATIENCE), "too few publications were cut"
        between.cuts = None
        world.mark()
        await world.working(300)


async def waits(world: World, text: str) -> None:
    """Await that the newest worker says in its log that it waits for this."""
    await until(lambda: text in world.logs[-1].read_text(), PATIENCE)


async def too_large(world: World) -> None:
    """The topic of the answers takes none of them for a while."""
    topic = world.settings.completed_topic
    async with world.running():
        await world.start()
        await world.working()
        await configure(world.settings, topic, max_message_bytes="600")
        await waits(world, "refuses the record as too large")
        await asyncio.sleep(5)
        await configure(
            world.settings, topic, max_message_bytes=topic_configs(world.settings)[topic]["max.message.bytes"]
        )
        world.mark()
        await world.working(300)


async def missing(world: World) -> None:
    """The topic of the answers is deleted under the worker before it has any, and made again."""
    await world.start()
    await waits(world, '"assigned"')
    await delete_topic(world.settings, world.settings.completed_topic)
    async with world.running():
        await waits(world, "is missing")
        await world.sent()
        await make_topics(world.settings)
        world.renew_tail()
        world.mark()
        await world.working(300)


async def right(world: World) -> None:
    """The right to write answers is taken away for a while."""
    topic = world.settings.completed_topic
    async with world.running():
        await world.start()
        await world.working()
        await deny(world.settings, ResourceType.TOPIC, topic, AclOperation.WRITE)
        await waits(world, "may not be written")
        await asyncio.sleep(5)
        await permit(world.settings, ResourceType.TOPIC, topic, AclOperation.WRITE)
        world.mark()
        await world.working(300)


async def session(world: World) -> None:
    """A worker hangs with its batch in the database until the group has given its partitions away, and wakes up."""
    async with world.running():
        sleeper = await world.start()
        await world.working()
        async with admin(world) as holder:
            await holder.execute("begin")
            await holder.execute("lock table requests in exclusive mode")
            await until(lambda: waits_for_a_lock(world.settings), PATIENCE)
            sleeper.child.send_signal(signal.SIGSTOP)
            await world.start()
            await waits(world, '"assigned"')
            await holder.execute("rollback")
        world.mark()
        await world.working()
        sleeper.child.send_signal(signal.SIGCONT)
        await world.working(300)


async def expired(world: World) -> None:
    """Records leave the topic before anyone has read them; the log must tell the range."""
    async with world.running():
        worker = await world.start()
        await world.working()
    await world.caught_up()
    await world.stop(worker)
    async with world.running():
        await world.sent(200)
    places = [request.place for request in world.load.requests]
    unread = sorted(offset for partition, offset in places if partition == 0 and (0, offset) not in world.tail.first)
    gone = unread[: len(unread) // 2]
    await expire(world.settings, 0, gone[-1] + 1)
    world.load.expire(0, gone[-1] + 1)
    async with world.running():
        await world.start()
        world.mark()
        await world.working(200)
    await world.caught_up()
    log = world.logs[-1].read_text()
    assert "records_expired_unread" in log, "nothing was said of the expired records"
    assert f'"first": {gone[0]}, "last": {gone[-1]}' in log, "the range of the expired records is wrong"


async def leader_moved(world: World) -> None:
    """The node that leads the first partition of the requests is stopped in order and comes back."""
    await _node_away(world, lambda: _leader(world), kill=False)


async def coordinator_moved(world: World) -> None:
    """The node that coordinates the group is stopped in order and comes back."""
    await _node_away(world, lambda: _coordinator(world), kill=False)


async def node_killed(world: World) -> None:
    """A node is killed and comes back."""
    await _node_away(world, lambda: world.rng.randint(1, 3), kill=True)


async def _node_away(world: World, which: Callable[[], int], *, kill: bool) -> None:
    async with world.running():
        await world.start()
        await world.working()
        node = world.servers.kafka_nodes[(await asyncio.to_thread(which)) - 1]
        world.mark()
        await asyncio.to_thread(node.kill if kill else node.stop)
        await world.working(500)
        await asyncio.to_thread(node.start)
        world.mark()
        await world.working(500)


def _client(world: World) -> AdminClient:
    return AdminClient({"bootstrap.servers": world.settings.kafka_bootstrap_servers})


def _leader(world: World) -> int:
    topics = _client(world).list_topics(world.settings.request_topic, timeout=LIMIT).topics
    return int(topics[world.settings.request_topic].partitions[0].leader)


def _coordinator(world: World) -> int:
    client, group = _client(world), world.settings.group_id
    return int(client.describe_consumer_groups([group])[group].result(LIMIT).coordinator.id)


CASES = (
    Case("kafka-restart", "Kafka killed and started, stopped and started", restart, Needs.OWN),
    Case("kafka-stopped", "Kafka hangs for 40 s (SIGSTOP)", stopped, Needs.OWN),
    Case("kafka-reset-in-flight", "connection reset while answers are in flight", reset_in_flight, Needs.PROXY),
    Case("kafka-too-large", "answers too large for their topic", too_large),
    Case("kafka-topic-missing", "topic of the answers missing", missing),
    Case("kafka-right", "right to write answers taken away", right, in_suite=True),
    Case("kafka-session", "session times out with a batch in the database", session),
    Case("kafka-expired", "records expire unread", expired, in_suite=True),
    Case("kafka-leader", "three nodes: leader moved", leader_moved, Needs.THREE),
    Case("kafka-coordinator", "three nodes: coordinator moved", coordinator_moved, Needs.THREE),
    Case("kafka-node", "three nodes: one killed and back", node_killed, Needs.THREE),
)
