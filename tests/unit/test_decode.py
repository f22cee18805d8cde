"""What the tolerant decoder makes of record batches, sound and broken."""

from __future__ import annotations

import gc
import gzip
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED

from app.consumer import decode
from app.consumer.decode import TolerantPartition, TolerantRecords, as_records, to_record
from app.consumer.requester import Outbound
from app.model import Record
from tests.faults import batches
from tests.faults.batches import TIME, batch

ONE, TWO, THREE = (Outbound(b"k%d" % n, b"v%d" % n, (("h", b"%d" % n), ("empty", None))) for n in (1, 2, 3))
BAD_NAME = Outbound(b"k", b"v", (("before", b"1"), ("zzqq", b"2")))


@pytest.fixture(autouse=True)
def _nothing_seen_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_broken_before", type(decode._broken_before)())


def fetch(
    data: bytes, *, at: int = 0, aborted: list[tuple[int, int]] | None = None
) -> tuple[list[tuple[int, bytes | None]], int]:
    """Offset and value of what a consumer reads from this response, and where it reads next."""
    partition = TolerantPartition(
        TopicPartition("t", 0), TolerantRecords(data), aborted or [], at, None, None, True, READ_COMMITTED
    )
    found = [to_record(raw) for raw in partition]
    return [(record.position.offset, None if record.undecodable else record.value) for record in found], int(
        partition.next_fetch_offset
    )


def records(data: bytes) -> list[Record]:
    """The records of a response, broken ones too: it is fetched twice. The worker's consumer gives them as ours."""

    def read(deserializer: Any = None) -> Iterator[Any]:
        yield from TolerantPartition(TopicPartition("t", 0), TolerantRecords(data), [], 0, None, deserializer, True, 1)

    list(read())
    found = [to_record(raw) for raw in read()]
    assert list(read(as_records)) == found
    return found


def test_a_response_is_let_go_as_soon_as_it_is_read() -> None:
    response = TolerantRecords(batch([ONE, TWO]))
    kept = weakref.ref(response)
    gc.disable()
    try:
        partition = TolerantPartition(TopicPartition("t", 0), response, [], 0, None, as_records, True, READ_COMMITTED)
        assert len(list(partition)) == 2
        del response, partition
        assert kept() is None
    finally:
        gc.enable()


@pytest.mark.rule("R18.6")
def test_a_response_is_let_go_as_soon_as_no_more_of_it_may_be_read() -> None:
    response = TolerantRecords(batch([ONE]) + batch([TWO], base=1))
    kept = weakref.ref(response)
    gc.disable()
    try:
        partition = TolerantPartition(TopicPartition("t", 0), response, [], 0, None, as_records, True, READ_COMMITTED)
        partition.allowance.renew(1)
        assert len(list(partition)) == 1
        assert list(partition) == []
        del response, partition
        assert kept() is None
    finally:
        TolerantPartition.allowance.renew(1 << 60)
        gc.enable()


@pytest.mark.rule("R6.50")
@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4], ids=["plain", "gzip", "snappy", "lz4", "zstd"])
def test_an_intact_batch_is_decoded_whatever_its_codec(codec: int) -> None:
    first, second = records(batch([ONE, TWO], base=7, codec=codec))
    assert (first.position.offset, first.position.timestamp) == (7, TIME)
    assert (second.position.offset, second.position.timestamp) == (8, TIME + 1)
    assert (first.key, first.value) == (b"k1", b"v1")
    assert first.headers == (("h", b"1"), ("empty", None))
    assert not first.undecodable


@pytest.mark.rule("R6.51")
@pytest.mark.parametrize("codec", [0, 1], ids=["plain", "gzip"])
def test_of_a_header_name_that_is_not_utf8_only_its_record_suffers(codec: int, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = batches.replaced(batch([ONE, BAD_NAME, TWO], base=3), b"zzqq", b"\xff\xfe\xfd\xfc")
    if codec:
        body = gzip.compress(raw[batches.HEAD :])
        raw = batches.sealed(raw[:22] + bytes([1]) + raw[23 : batches.HEAD] + body)
    before, bad, behind = records(raw)
    assert bad.undecodable
    assert (bad.key, bad.position.offset, bad.position.timestamp) == (b"k", 4, TIME + 1)
    assert bad.headers == ()
    assert (before.undecodable, behind.undecodable) == (False, False)
    assert before.headers == ONE.headers
    assert (behind.value, behind.position.offset, behind.position.timestamp) == (b"v2", 5, TIME + 2)


@pytest.mark.rule("R6.51")
def test_a_batch_stamped_by_the_broker_keeps_its_one_time_beside_a_bad_header_name() -> None:
    raw = batches.replaced(batch([ONE, BAD_NAME]), b"zzqq", b"\xff\xfe\xfd\xfc")
    assert [record.position.timestamp for record in records(batches.with_log_time(raw, TIME + 99))] == [TIME + 99] * 2


@pytest.mark.rule("R6.52")
def test_a_checksum_that_fails_once_leaves_the_position_where_it_is_and_the_second_fetch_is_read() -> None:
    good = batch([ONE, TWO], base=5) + batch([THREE], base=7)
    bad = batches.flipped(batch([ONE, TWO], base=5)) + batch([THREE], base=7)
    assert fetch(bad, at=5) == ([], 5)
    assert fetch(good, at=5) == ([(5, b"v1"), (6, b"v2"), (7, b"v3")], 8)


@pytest.mark.rule("R6.52")
def test_a_checksum_that_fails_once_never_moves_the_position_back() -> None:
    assert fetch(batches.flipped(batch([ONE, TWO, THREE], base=5)), at=7) == ([], 7)


@pytest.mark.rule("R6.52")
def test_what_lies_before_a_checksum_that_fails_once_is_read_and_what_lies_behind_waits() -> None:
    bad = batch([ONE], base=0) + batches.flipped(batch([TWO], base=1)) + batch([THREE], base=2)
    assert fetch(bad) == ([(0, b"v1")], 1)


@pytest.mark.rule("R6.53")
def test_a_checksum_that_fails_again_gives_each_position_of_the_batch_and_the_next_batch_is_read() -> None:
    bad = batch([ONE], base=0) + batches.flipped(batch([ONE, TWO], base=1)) + batch([THREE], base=3)
    fetch(bad)
    assert fetch(bad, at=1) == ([(1, None), (2, None), (3, b"v3")], 4)


@pytest.mark.rule("R6.53")
def test_of_a_batch_with_a_broken_checksum_nothing_is_trusted() -> None:
    first, second = records(batches.flipped(batch([ONE, TWO], base=4)))
    for record, offset in ((first, 4), (second, 5)):
        assert record.undecodable
        assert (record.key, record.value, record.headers) == (None, None, ())
        assert (record.position.offset, record.position.timestamp) == (offset, -1)


@pytest.mark.rule("R6.53")
@pytest.mark.parametrize(("last_delta", "count"), [(5_000_000, 5_000_001), (-7, -6), (1, 900), (2**31 - 1, 3), (-1, 0)])
def test_a_head_that_claims_nonsense_counts_as_one_record(last_delta: int, count: int) -> None:
    bad = batches.with_counts(batch([ONE, TWO]), last_delta=last_delta, count=count)
    fetch(bad)
    assert fetch(bad) == ([(0, None)], 1)


@pytest.mark.rule("R6.54")
@pytest.mark.parametrize("codec", [1, 2, 3, 4, 5], ids=["gzip", "snappy", "lz4", "zstd", "unknown"])
def test_a_body_that_its_codec_does_not_accept_gives_each_position_at_once(codec: int) -> None:
    bad = batches.with_rubbish_body(batch([ONE, TWO]), codec)
    assert fetch(bad + batch([THREE], base=2)) == ([(0, None), (1, None), (2, b"v3")], 3)


@pytest.mark.rule("R6.54")
def test_records_before_a_broken_structure_are_read_and_those_behind_are_told_by_their_positions() -> None:
    raw = batch([ONE, TWO, THREE])
    at = raw.index(b"k2") - 1  # the length of the second key, now longer than everything
    bad = batches.sealed(raw[:at] + b"\x7e" + raw[at + 1 :])
    assert fetch(bad) == ([(0, b"v1"), (1, None), (2, None)], 3)


@pytest.mark.rule("R6.55")
def test_aborted_records_and_the_markers_of_transactions_are_left_out() -> None:
    data = (
        batch([ONE], base=0, transactional=True, producer=9)
        + batch([TWO], base=1, transactional=True, producer=8)
        + batches.control(2, producer=9, commit=False)
        + batches.control(3, producer=8, commit=True)
        + batch([THREE], base=4, transactional=True, producer=9)
        + batches.control(5, producer=9, commit=True)
    )
    assert fetch(data, aborted=[(9, 0)]) == ([(1, b"v2"), (4, b"v3")], 6)


@pytest.mark.rule("R6.55")
def test_a_bad_header_name_in_an_aborted_transaction_is_left_out_too() -> None:
    bad = batches.replaced(batch([BAD_NAME], transactional=True, producer=9), b"zzqq", b"\xff\xfe\xfd\xfc")
    data = bad + batches.control(1, producer=9, commit=False)
    assert fetch(data, aborted=[(9, 0)]) == ([], 2)


@pytest.mark.rule("R6.50")
def test_a_fetch_offset_within_a_batch_skips_what_was_read_before() -> None:
    assert fetch(batch([ONE, TWO, THREE], base=10), at=11) == ([(11, b"v2"), (12, b"v3")], 13)
    bad = batches.with_rubbish_body(batch([ONE, TWO, THREE], base=10), 1)
    assert fetch(bad, at=11) == ([(11, None), (12, None)], 13)


@pytest.mark.rule("R6.50")
@pytest.mark.parametrize("kept", [5, 11, 12, 30, 70])
def test_a_batch_that_is_cut_off_is_left_for_the_next_fetch(kept: int) -> None:
    whole, cut = batch([ONE]), batch([TWO, THREE], base=1)
    assert kept < len(cut)
    assert fetch(whole + cut[:kept]) == ([(0, b"v1")], 1)


def test_nothing_in_a_response_gives_nothing() -> None:
    assert fetch(b"", at=4) == ([], 4)
    assert not TolerantRecords(b"").has_next()
    assert TolerantRecords(b"").next_batch() is None


@pytest.mark.rule("R6.51")
def test_nobody_can_send_the_mark_of_an_undecodable_record() -> None:
    forged = Outbound(b"k", b"v", ((str(decode.UNDECODABLE), None),))
    (record,) = records(batch([forged]))
    assert not record.undecodable
    assert record.value == b"v"


def test_the_memory_of_broken_batches_stays_small() -> None:
    for number in range(1100):
        list(TolerantRecords(batches.flipped(batch([ONE], base=number))).next_batch())
    assert len(decode._broken_before) == 1000
