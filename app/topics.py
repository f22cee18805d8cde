"""The topics that the worker needs: what `setup` creates, and what the published contract says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.settings import MEBIBYTE, Settings

DAY_MS: Final = 24 * 60 * 60 * 1000
_FOR_EVER_MS: Final = 36_500 * DAY_MS
REQUEST_LIMIT_BYTES: Final = MEBIBYTE + 12 * 1024
"""Kafka's own default for the largest record batch of a topic."""
ANSWER_HEADROOM: Final = 64 * 1024
"""An answer repeats the request's fields and adds its own; a dead letter adds headers."""


def topic_configs(settings: Settings) -> dict[str, dict[str, str]]:
    """The configuration of every topic by its name."""
    larger = str(REQUEST_LIMIT_BYTES + ANSWER_HEADROOM)
    week, month = str(7 * DAY_MS), str(30 * DAY_MS)
    kept = {"cleanup.policy": "delete", "retention.ms": week}
    return {
        settings.request_topic: {**kept, "max.message.bytes": str(REQUEST_LIMIT_BYTES)},
        settings.completed_topic: {**kept, "max.message.bytes": larger},
        settings.failed_topic: {**kept, "max.message.bytes": larger},
        settings.dlq_topic: {**kept, "retention.ms": month, "max.message.bytes": larger},
    }


def readable_ms(configs: Mapping[str, str]) -> int | None:
    """For how long a record of a topic may be read, with a day to spare; None: for ever.

    Kafka removes whole segments, which may go on for `segment.ms` after a record was written.
    """
    kept = int(configs.get("retention.ms", "-1"))
    if kept < 0 or "compact" in configs.get("cleanup.policy", "delete"):
        return None
    readable = kept + int(configs.get("segment.ms", str(7 * DAY_MS))) + DAY_MS
    return readable if readable < _FOR_EVER_MS else None
