"""How what is published is put together: which partition takes a record, and what goes there in one piece."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder

from app.consumer.publisher import SHORT_KEY, Outgoing, _hash, _pieces, _remembered_hash
from app.model import Position


def outgoing(offset: int, key: bytes | None, *, size: int = 10, topic: str = "done", partition: int = 0) -> Outgoing:
    return Outgoing(Position("asked", partition, offset, 0), topic, key, b"v" * size, [("name", b"value")])


def producer(partitions: int = 4, *, led: set[int] | None = None, piece: int = 1000) -> Any:
    """What the client knows of topics, with pieces of its own kind."""
    cluster = SimpleNamespace(
        partitions_for_topic=lambda _: set(range(partitions)),
        available_partitions_for_topic=lambda _: set(range(partitions)) if led is None else led,
    )
    return SimpleNamespace(client=SimpleNamespace(cluster=cluster), create_batch=lambda: BatchBuilder(piece, 0))


# What org.apache.kafka.common.utils.Utils.murmur2 gives, as its own test lists it.
JAVA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize("key", JAVA)
def test_a_key_lies_where_the_java_client_puts_it(key: bytes) -> None:
    assert _hash(key) == JAVA[key] & 0x7FFFFFFF
    (piece,) = _pieces(producer(7), [outgoing(0, key)])
    assert piece.partition == (JAVA[key] & 0x7FFFFFFF) % 7


def test_a_long_key_lies_where_it_would_without_being_remembered() -> None:
    assert SHORT_KEY == 128
    assert _hash(b"k" * 129) == _remembered_hash(b"k" * 129)


def test_the_records_of_a_partition_stay_in_order_and_its_second_piece_waits_for_the_first_of_all_others() -> None:
    given = [outgoing(offset, b"%d" % (offset % 3), size=300) for offset in range(30)]
    pieces = _pieces(producer(), given)
    assert [piece.number for piece in pieces] == sorted(piece.number for piece in pieces)
    assert max(piece.number for piece in pieces) > 2
    for key in (b"0", b"1", b"2"):
        published = [record.position.offset for piece in pieces for record in piece.records if record.key == key]
        assert published == [record.position.offset for record in given if record.key == key]
    assert sum(len(piece.records) for piece in pieces) == 30
    assert all(piece.batch.record_count() == len(piece.records) for piece in pieces)


def test_a_record_larger_than_a_piece_is_one_of_its_own() -> None:
    given = [outgoing(0, b"k"), outgoing(1, b"k", size=5000), outgoing(2, b"k"), outgoing(3, b"k")]
    pieces = _pieces(producer(), given)
    assert [[record.position.offset for record in piece.records] for piece in pieces] == [[0], [1], [2, 3]]


def test_a_record_without_key_goes_to_a_partition_that_has_a_leader() -> None:
    given = [outgoing(0, None, partition=number) for number in range(4)]
    pieces = _pieces(producer(led={1, 3}), given)
    assert {piece.partition: len(piece.records) for piece in pieces} == {1: 2, 3: 2}
    (piece,) = _pieces(producer(1, led=set()), [outgoing(0, None, partition=9)])
    assert piece.partition == 0
