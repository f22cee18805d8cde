"""Kafka's record batches, decoded so that no batch can stop its partition.

aiokafka decodes header names as strict UTF-8 and gives up on a batch whose checksum or codec is broken: the position
then never moves, and stepping over the batch by hand loses the good records in it. `install` puts `TolerantRecords` in
the place where its fetcher splits a response into batches. Whatever cannot be decoded comes out as a record of which
only the position is known, so that it can be answered like any other.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import aiokafka.consumer.fetcher
import aiokafka.record.default_records
import cramjam
from aiokafka.codec import _detect_xerial_stream
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.memory_records import MemoryRecords

from app.compiled import part
from app.consumer.bounds import AT_ONCE, FEW_HEADERS, HEADERS_BY_HAND, MOST_HEADERS, Allowance, number_at, weigh
from app.model import NO_TIMESTAMP, Position, Record, made
from app.settings import MEBIBYTE

UNDECODABLE: Final = "undecodable\x00"
"""The name of the only header of a record that could not be decoded; compared by identity, so nobody can send it."""

_HEAD = struct.Struct(">qiibIhiqqqhii")
_LENGTH_END: Final = 12
_PIECE: Final = struct.Struct(">i")
_XERIAL_HEAD: Final = 16
_LOG_APPEND_TIME: Final = 1
_CODEC: Final = 0x07
"""The bits of the attributes that name it."""
MOST_INFLATED: Final = 16 * MEBIBYTE
"""Bytes that a compressed batch may unpack to. Of some codecs a few kilobytes unpack to gigabytes, before any of its
records can be noted as the one that kills: such a batch would kill every worker that fetches it, for ever."""
_ROOM: Final = mmap.mmap(-1, MOST_INFLATED)  # one for all: the system gives its pages when they are first written


def _bounded(inflate: Callable[[Any, Any], int]) -> Callable[[Any], bytes]:
    """A codec that gives up where its output grows larger than it may. Not for several threads."""

    def decode(packed: Any) -> bytes:
        return _ROOM[: inflate(packed, _ROOM)]

    return decode


def _unsnap(packed: Any) -> bytes:
    """Snappy, as it is or in the pieces that Java's library makes; each says first how large it becomes."""
    pieces, written, room = memoryview(packed), 0, memoryview(_ROOM)
    if not _detect_xerial_stream(packed):
        return _ROOM[: cramjam.snappy.decompress_raw_into(pieces, room)]
    pieces = pieces[_XERIAL_HEAD:]
    while pieces:
        (size,) = _PIECE.unpack_from(pieces)
        if size <= 0:
            raise ValueError("a piece without a size")
        written += cramjam.snappy.decompress_raw_into(pieces[_PIECE.size : _PIECE.size + size], room[written:])
        pieces = pieces[_PIECE.size + size :]
    return _ROOM[:written]


_INFLATE: Final = {
    "gzip_decode": _bounded(cramjam.gzip.decompress_into),
    "lz4_decode": _bounded(cramjam.lz4.decompress_into),
    "zstd_decode": _bounded(cramjam.zstd.decompress_into),
    "snappy_decode": _unsnap,
}
"""By their names in aiokafka."""
_CODECS: dict[int, Callable[[bytes], bytes]] = {
    0: bytes,
    1: _INFLATE["gzip_decode"],
    2: _INFLATE["snappy_decode"],
    3: _INFLATE["lz4_decode"],
    4: _INFLATE["zstd_decode"],
}
_MOST_RECORDS: Final = 1_000_000
_REMEMBERED: Final = 1000


def install() -> None:
    """Make every consumer of this process tolerant. May be called again."""
    fetcher: Any = aiokafka.consumer.fetcher
    fetcher.MemoryRecords = TolerantRecords
    fetcher.PartitionRecords = TolerantPartition
    # where the batches themselves look their codecs up: the compiled module, or the one in Python
    reader = sys.modules[aiokafka.record.default_records.DefaultRecordBatch.__module__]
    for name, inflate in _INFLATE.items():
        setattr(reader, name, inflate)


def to_record(raw: Any) -> Record:
    """The consumer record of aiokafka as ours."""
    return _to_record(raw, raw)


def as_records(value: bytes | None) -> bytes | None:
    """The value as it is. A consumer that has this as its `value_deserializer` gives records that are ours already."""
    return value


def _to_record(of: Any, raw: Any) -> Record:
    """The record `raw` of the partition `of`."""
    if part is not None:
        return part.to_record(of.topic, of.partition, raw, UNDECODABLE)
    headers = tuple(raw.headers)
    undecodable = bool(headers) and headers[0][0] is UNDECODABLE
    position = made(Position, (of.topic, of.partition, raw.offset, raw.timestamp))
    by_broker = raw.timestamp_type == _LOG_APPEND_TIME
    return Record(position, raw.key, raw.value, () if undecodable else headers, undecodable, by_broker)


@dataclass(frozen=True, slots=True, repr=False)
class _Decoded:
    """One record, with the attributes that aiokafka's fetcher reads."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    checksum: None = None


class TolerantRecords:
    """Splits a fetch response into record batches, as aiokafka's MemoryRecords does."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self.position: Callable[[], int] | None = None
        """Gives the next offset to read, once the fetcher has said it."""

    def size_in_bytes(self) -> int:
        """Bytes of the whole response for this partition."""
        return len(self._data)

    def _end(self) -> int:
        """Where the next batch ends; beyond the data when it is cut off."""
        if self._at + _LENGTH_END > len(self._data):
            return len(self._data) + 1
        (length,) = struct.unpack_from(">i", self._data, self._at + 8)
        return self._at + _LENGTH_END + int(length)

    def has_next(self) -> bool:
        """Whether a whole batch follows."""
        return self._at < self._end() <= len(self._data)

    def next_batch(self) -> Any:
        """The next batch, or None after the last."""
        if not self.has_next():
            return None
        start, self._at = self._at, self._end()
        raw = bytes(self._data[start : self._at])
        try:
            batch: Any = MemoryRecords(raw).next_batch()
            intact = batch.validate_crc()
        except Exception:  # noqa: BLE001 - whatever is wrong with it, its records are answered
            return _BrokenBatch(raw, trusted=False)
        if intact:
            return batch if batch.is_control_batch else _TolerantBatch(batch, raw)
        if _seen_before(raw):
            return _BrokenBatch(raw, trusted=False)
        self._at = len(self._data)
        return _RefetchedBatch(raw, self.position)


class TolerantPartition(PartitionRecords):
    """The records of one partition; tells their splitter how far they were read.

    Once the allowance is spent it gives no more, and what is left is fetched again.
    """

    allowance: Final = Allowance()
    """Of all partitions together; only records of ours are counted."""

    def __init__(
        self, tp: Any, records: TolerantRecords, aborted: Any, fetch_offset: int, key: Any, value: Any, *options: Any
    ) -> None:
        super().__init__(tp, records, aborted, fetch_offset, key, value, *options)  # type: ignore[no-untyped-call]
        if value is as_records:  # a consumer record of aiokafka between its own and ours would double the cost
            self._consumer_record = _to_record  # type: ignore[method-assign]
        this = weakref.proxy(self)  # a cycle would keep the response, up to a megabyte, until the collector comes
        records.position = lambda: int(this.next_fetch_offset)

    def __next__(self) -> Any:
        if self.allowance.spent:
            self._records_iterator = iter(())  # the one before holds us, and what it has unpacked
            raise StopIteration
        record = super().__next__()  # type: ignore[no-untyped-call]
        if type(record) is Record:
            self.allowance.take(record)
        return record


_broken_before: OrderedDict[bytes, None] = OrderedDict()


def _seen_before(raw: bytes) -> bool:
    """Whether these very bytes came before: then they lie broken in the log, and were not broken on the way here."""
    digest = hashlib.sha256(raw).digest()
    seen = digest in _broken_before
    _broken_before[digest] = None
    if len(_broken_before) > _REMEMBERED:
        _broken_before.popitem(last=False)
    return seen


class _Batch:
    """What the fetcher asks of every batch. This one is neither transactional nor a control batch."""

    is_control_batch = False
    is_transactional = False
    producer_id: int | None = None
    base_offset = 0
    next_offset = 0

    def validate_crc(self) -> bool:
        """True: it was validated before, and what failed is dealt with here."""
        return True


class _TolerantBatch(_Batch):
    """An intact batch: decoded by aiokafka, and record by record where that fails or would take too much."""

    def __init__(self, batch: Any, raw: bytes) -> None:
        self._batch, self._raw = batch, raw
        self.is_transactional = batch.is_transactional
        self.producer_id = batch.producer_id
        self.base_offset = batch.base_offset
        self.next_offset = batch.next_offset

    def __iter__(self) -> Iterator[Any]:
        with suppress(Exception):  # a header name, a codec, a length: told apart record by record
            if self._is_simple():
                return iter(list(self._batch))
        return iter(_BrokenBatch(self._raw, trusted=True))

    def _is_simple(self) -> bool:
        """Whether its records are where they say, and do not take much: aiokafka makes objects of all of them."""
        head = _HEAD.unpack_from(self._raw)
        body = _CODECS[head[5] & _CODEC](self._raw[_HEAD.size :])
        return weigh(body, head[12], head[6]) < AT_ONCE


class _RefetchedBatch(_Batch):
    """A batch whose checksum fails for the first time: without records, it leaves the position where it is."""

    def __init__(self, raw: bytes, position: Callable[[], int] | None) -> None:
        (self.base_offset,) = struct.unpack_from(">q", raw)
        # which may lie within the batch: what was read before is not read again
        self.next_offset = position() if position else self.base_offset

    def __iter__(self) -> Iterator[Any]:
        return iter(())


class _BrokenBatch(_Batch):
    """A batch that aiokafka cannot decode. `trusted` says that its checksum holds, and so its head."""

    def __init__(self, raw: bytes, *, trusted: bool) -> None:
        self._raw, self._trusted = raw, trusted
        self._headers_left = HEADERS_BY_HAND
        (self.base_offset,) = struct.unpack_from(">q", raw)
        head = _HEAD.unpack_from(raw) if len(raw) >= _HEAD.size else (0,) * 13
        self._attributes, last_delta, self._first_time, self._max_time, count = *head[5:9], head[12]
        # a broken head may claim anything: then only the record that the batch begins with is known to be there
        plausible = 0 <= last_delta < _MOST_RECORDS and count == last_delta + 1
        self._count = last_delta + 1 if trusted or plausible else 1
        self._whole = count == last_delta + 1  # of a compacted batch, some are gone
        self.next_offset = self.base_offset + self._count

    def __iter__(self) -> Iterator[_Decoded]:
        done = 0
        if self._trusted:
            for record in self._readable():
                yield record
                done = record.offset - self.base_offset + 1
        timestamp = self._max_time if self._trusted else NO_TIMESTAMP
        for offset in range(self.base_offset + done, self.next_offset):
            yield _Decoded(offset, timestamp, 0, None, None, [(UNDECODABLE, None)])

    def _readable(self) -> Iterator[_Decoded]:
        """The records up to the first whose structure is broken. A header name that is not UTF-8 breaks nothing."""
        try:
            body = bytearray(_CODECS[self._attributes & _CODEC](self._raw[_HEAD.size :]))
        except Exception:  # noqa: BLE001 - an unknown codec, or data that it does not accept
            return
        at, offset = 0, self.base_offset - 1
        for _ in range(self._count):
            try:
                record, at = self._read(body, at)
            except (IndexError, ValueError):
                return
            if not offset < record.offset < self.next_offset or (self._whole and record.offset > offset + 1):
                return  # it claims the place of another
            offset = record.offset
            yield record

    def _read(self, body: bytearray, at: int) -> tuple[_Decoded, int]:
        length, at = number_at(body, at, len(body))
        end = at + length
        if not at < end <= len(body):
            raise ValueError("the record is longer than its batch")
        _, at = number_at(body, at, end)
        time_delta, at = number_at(body, at, end)
        offset_delta, at = number_at(body, at, end)
        key, at = _read_bytes(body, at, end)
        value, at = _read_bytes(body, at, end)
        count, at = number_at(body, at, end)
        headers: list[tuple[str, bytes | None]] = []
        if count > FEW_HEADERS:
            self._headers_left -= count
        if count > MOST_HEADERS or (count > FEW_HEADERS and self._headers_left < 0):
            headers, count, at = [(UNDECODABLE, None)], 0, end
        for _ in range(count):
            name, at = _read_bytes(body, at, end)
            content, at = _read_bytes(body, at, end)
            try:
                headers.append(((name or b"").decode(), content))
            except UnicodeDecodeError:
                headers.insert(0, (UNDECODABLE, None))
        if at != end:
            raise ValueError("the record does not end where it says")
        appended = self._attributes & 0x08  # the broker's clock, one time for the whole batch
        timestamp = self._max_time if appended else self._first_time + time_delta
        offset = self.base_offset + offset_delta
        return _Decoded(offset, timestamp, int(bool(appended)), key, value, headers), end


def _read_bytes(body: bytearray, at: int, end: int) -> tuple[bytes | None, int]:
    length, at = number_at(body, at, end)
    if length < 0:
        return None, at
    if at + length > end:
        raise ValueError("longer than its record")
    return bytes(body[at : at + length]), at + length
