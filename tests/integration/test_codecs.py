"""Compressed requests, from the two client families."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaProducer

from app.consumer.connection import connection
from app.settings import Settings
from tests.faults.broker_side import all_answered, foreign
from tests.support import plain, running

CODECS = ["gzip", "snappy", "lz4", "zstd"]


@pytest.mark.rule("R6.62")
async def test_requests_are_answered_whatever_their_codec_and_whoever_compressed_them(settings: Settings) -> None:
    places = []
    for codec in CODECS:
        requests = [plain(f"cus_{codec}_{number}") for number in range(20)]
        places += await foreign(settings, **{"compression.type": codec}).send(settings, *requests)
        async with AIOKafkaProducer(**connection(settings), compression_type=codec, linger_ms=20) as producer:
            futures = [await producer.send(settings.request_topic, r.value, key=r.key) for r in requests]
            placed = [await future for future in futures]
        places += [(record.partition, record.offset) for record in placed]
    async with running(settings):
        given = await all_answered(settings, *places)
    assert {answer.status for found in given.values() for answer in found} == {200}
    assert len(given) == 2 * 20 * len(CODECS)
