"""The topics that the worker needs, and their creation."""

from __future__ import annotations

from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, NoError, TopicAlreadyExistsError, for_code

from app.consumer.connection import REQUEST_LIMIT_MS, connection
from app.errors import SetupNeeded, Transient
from app.settings import MEBIBYTE, Settings
from app.waiting import within

_DAY_MS: Final = 24 * 60 * 60 * 1000
REQUEST_LIMIT_BYTES: Final = MEBIBYTE + 12 * 1024
"""Kafka's own default for the largest record batch of a topic."""
ANSWER_HEADROOM: Final = 64 * 1024
"""An answer repeats the request's fields and adds its own; a dead letter adds headers."""


def topic_configs(settings: Settings) -> dict[str, dict[str, str]]:
    """The configuration of every topic by its name."""
    larger = str(REQUEST_LIMIT_BYTES + ANSWER_HEADROOM)
    week, month = str(7 * _DAY_MS), str(30 * _DAY_MS)
    kept = {"cleanup.policy": "delete", "retention.ms": week}
    return {
        settings.request_topic: {**kept, "max.message.bytes": str(REQUEST_LIMIT_BYTES)},
        settings.completed_topic: {**kept, "max.message.bytes": larger},
        settings.failed_topic: {**kept, "max.message.bytes": larger},
        settings.dlq_topic: {**kept, "retention.ms": month, "max.message.bytes": larger},
    }


async def create_topics(settings: Settings) -> dict[str, bool]:
    """Create the topics that are missing, and leave those alone that are there.

    Returns:
        Each topic, and whether it was created now.

    Raises:
        Transient: Kafka is away.
        SetupNeeded: Kafka refuses; the text says which topic and why.
    """
    admin = AIOKafkaAdminClient(**connection(settings))
    try:
        await within(admin.start(), REQUEST_LIMIT_MS / 1000)
        created = {}
        for name, configs in topic_configs(settings).items():
            created[name] = await _create(admin, settings, name, configs)
        return created
    except (KafkaError, OSError, TimeoutError) as error:
        raise Transient(f"kafka: {type(error).__name__}") from None
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, settings: Settings, name: str, configs: dict[str, str]) -> bool:
    topic = NewTopic(name, settings.topic_partitions, settings.topic_replication or 1, topic_configs=configs)
    if settings.topic_replication is None:
        topic.replication_factor = -1  # the broker's default; the client's constructor knows no such thing
    response = await within(admin.create_topics([topic]), REQUEST_LIMIT_MS / 1000)
    errors: list[tuple[str, int]] = [error[:2] for error in response.topic_errors]  # type: ignore[attr-defined]
    error = for_code(errors[0][1])
    if error is TopicAlreadyExistsError:
        return False
    if error is not NoError:
        raise SetupNeeded(f"topic {name} could not be created: {error.__name__}")
    return True
