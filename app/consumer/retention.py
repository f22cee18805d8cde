"""For how long requests and dead letters may be read, by the configuration of their topics."""

from __future__ import annotations

import contextlib
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from app.consumer.connection import REQUEST_LIMIT_MS, connection
from app.consumer.inspect import configs_of
from app.consumer.publisher import cause_of
from app.errors import Transient
from app.settings import Settings
from app.topics import readable_ms
from app.waiting import within

_LIMIT: Final = REQUEST_LIMIT_MS / 1000
_CLOSE_SECONDS: Final = 2.0


async def longest_readable_ms(settings: Settings) -> int | None:
    """The longest time for which a request, or a dead letter that was one, may be read; None: for ever, or not known.

    Raises Transient when Kafka is away.
    """
    topics = [settings.request_topic, settings.dlq_topic]
    admin = AIOKafkaAdminClient(**connection(settings))
    try:
        await within(admin.start(), _LIMIT)
        found = await within(configs_of(admin, topics), _LIMIT)
    except (KafkaError, OSError, TimeoutError) as error:
        cause = cause_of(error)
    else:
        times = [readable_ms(found[topic]) if topic in found else None for topic in topics]
        known = [time for time in times if time is not None]
        return max(known) if len(known) == len(topics) else None
    finally:
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            await within(admin.close(), _CLOSE_SECONDS)
    raise Transient(cause)
