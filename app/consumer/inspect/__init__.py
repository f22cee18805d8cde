"""What `doctor` asks Kafka: plain facts, judged elsewhere. Nothing is changed, and every question has a time limit."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from app.consumer.connection import check_certificates, connection
from app.consumer.inspect.protocol import group_rights, may_produce, metadata, rights_of
from app.consumer.inspect.sample import Keys, sample_keys
from app.consumer.reasons import reason_of, why_not_reached
from app.errors import Transient
from app.settings import Settings, SettingsError
from app.waiting import within

__all__ = ["KafkaFacts", "Keys", "Topic", "configs_of", "inspect_kafka"]

T = TypeVar("T")

START_SECONDS: Final = 8.0
ASK_SECONDS: Final = 5.0
"""For one question; a cluster in reach answers within a tenth."""
CLOSE_SECONDS: Final = 2.0
_MISSING: Final = 3
_HIDDEN: Final = 29


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as the cluster describes it to this user."""

    name: str
    state: Literal["there", "missing", "hidden"]
    """`hidden`: this user may not see it, so it cannot be told whether it is there."""
    partitions: int = 0
    without_leader: int = 0
    replicas: int = 0
    """Of the partition that has the fewest."""
    rights: frozenset[str] | None = None
    """What this user may do with it; None when the broker does not say."""
    configs: Mapping[str, str] | None = None
    """None when they may not be read."""


@dataclass(frozen=True, slots=True)
class KafkaFacts:
    """What the cluster told."""

    brokers: int
    request: Topic
    completed: Topic
    failed: Topic
    dlq: Topic
    group: frozenset[str] | None
    """What this user may do with the consumer group; None when it was not told."""
    producer: bool | None
    """Whether this user may have an idempotent producer; None when it was not told."""
    keys: Keys | None
    """None when no requests could be read."""

    @property
    def topics(self) -> tuple[Topic, ...]:
        """All four."""
        return self.request, self.completed, self.failed, self.dlq


async def inspect_kafka(settings: Settings) -> KafkaFacts:
    """Ask the cluster. Raises Transient, whose text says what stands in the way of reaching it."""
    try:
        check_certificates(settings)
    except SettingsError as error:
        raise Transient(str(error)) from None
    admin = AIOKafkaAdminClient(**connection(settings) | {"request_timeout_ms": int(ASK_SECONDS * 1000)})
    reached = False
    try:
        await within(admin.start(), START_SECONDS)
        reached = True
        return await _facts(admin, settings)
    except (KafkaError, OSError, TimeoutError) as error:
        cause = reason_of(error) if reached else None
    finally:
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            await within(admin.close(), CLOSE_SECONDS)
    raise Transient(cause or await why_not_reached(settings))


async def _facts(admin: AIOKafkaAdminClient, settings: Settings) -> KafkaFacts:
    client = admin._client
    names = list(settings.topics)
    told = await within(metadata(client, names), ASK_SECONDS)
    by_name = {topic["topic"]: topic for topic in told["topics"]}
    configs = await _or_none(configs_of(admin, [name for name in names if _state(by_name[name]) == "there"])) or {}
    request, completed, failed, dlq = (_topic(by_name[name], configs.get(name)) for name in names)
    return KafkaFacts(
        brokers=len(told["brokers"]),
        request=request,
        completed=completed,
        failed=failed,
        dlq=dlq,
        group=await _or_none(group_rights(client, settings.group_id)),
        producer=await _or_none(may_produce(client)),
        keys=await _or_none(sample_keys(settings, request.partitions), limit=None) if request.partitions else None,
    )


def _topic(told: Mapping[str, Any], configs: Mapping[str, str] | None) -> Topic:
    partitions = told["partitions"]
    return Topic(
        name=told["topic"],
        state=_state(told),
        partitions=len(partitions),
        without_leader=sum(partition["leader"] < 0 for partition in partitions),
        replicas=min((len(partition["replicas"]) for partition in partitions), default=0),
        rights=rights_of(told.get("authorized_operations")),
        configs=configs,
    )


def _state(told: Mapping[str, Any]) -> Literal["there", "missing", "hidden"]:
    code = told["error_code"]
    return "missing" if code == _MISSING else "hidden" if code == _HIDDEN else "there"


async def configs_of(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    """The configuration of each of these topics that this user may read."""
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs(resources):
        for code, _message, _kind, name, entries in response.resources:  # type: ignore[attr-defined]
            if code == 0:
                found[name] = {entry[0]: entry[1] for entry in entries if entry[1] is not None}
    return found


async def _or_none(question: Awaitable[T], limit: float | None = ASK_SECONDS) -> T | None:
    """The answer, or None when there is none: one question that fails leaves the others."""
    try:
        return await within(question, limit)
    except (KafkaError, OSError, TimeoutError, NotImplementedError):  # the last: a broker too old for the question
        return None
