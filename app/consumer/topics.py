"""The creation of the topics that the worker needs."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, NoError, TopicAlreadyExistsError, for_code

from app.consumer.connection import REQUEST_LIMIT_MS, connection
from app.consumer.reasons import connecting
from app.errors import SetupNeeded, Transient
from app.settings import Settings
from app.topics import topic_configs
from app.waiting import within


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
        async with connecting(settings):
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
