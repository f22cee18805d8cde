"""Record batches as bytes: what aiokafka's builder makes of records, and what went wrong with it on the way."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from app.consumer.requester import Outbound

HEAD = 61
"""Bytes before the first record."""
_CRC, _CHECKED = 17, 21
_ATTRIBUTES, _LAST_DELTA, _COUNT = 21, 23, 57
TIME = 1_700_000_000_000


def batch(
    records: Sequence[Outbound],
    *,
    base: int = 0,
    codec: int = 0,
    transactional: bool = False,
    producer: int = -1,
    time: int = TIME,
) -> bytes:
    """One batch, the records a millisecond apart. Codecs: 1 gzip, 2 snappy, 3 lz4, 4 zstd."""
    builder = DefaultRecordBatchBuilder(2, codec, int(transactional), producer, 0 if producer >= 0 else -1, 0, 1 << 24)
    for at, record in enumerate(records):
        builder.append(at, time + at, record.key, record.value, list(record.headers))
    return placed(bytes(builder.build()), base)


def placed(raw: bytes, base: int) -> bytes:
    """The batch at another offset; its checksum does not cover that."""
    return struct.pack(">q", base) + raw[8:]


def sealed(raw: bytes) -> bytes:
    """The batch with a length and a checksum that hold."""
    measured = raw[:8] + struct.pack(">i", len(raw) - 12) + raw[12:]
    return measured[:_CRC] + struct.pack(">I", calc_crc32c(measured[_CHECKED:])) + measured[_CHECKED:]


def replaced(raw: bytes, old: bytes, new: bytes) -> bytes:
    """The batch with these bytes put in place of others of the same length, and a checksum that holds."""
    assert len(old) == len(new)
    assert old in raw
    return sealed(raw.replace(old, new))


def control(base: int, *, producer: int, commit: bool) -> bytes:
    """The marker with which the broker ends a transaction."""
    key = struct.pack(">hh", 0, int(commit))
    raw = batch([Outbound(key, struct.pack(">hi", 0, 0))], base=base, transactional=True, producer=producer)
    (attributes,) = struct.unpack_from(">h", raw, _ATTRIBUTES)
    return sealed(raw[:_ATTRIBUTES] + struct.pack(">h", attributes | 0x20) + raw[_ATTRIBUTES + 2 :])


def with_log_time(raw: bytes, time: int) -> bytes:
    """The batch as a topic with `message.timestamp.type=LogAppendTime` keeps it."""
    (attributes,) = struct.unpack_from(">h", raw, _ATTRIBUTES)
    stamped = raw[:_ATTRIBUTES] + struct.pack(">h", attributes | 0x08) + raw[_ATTRIBUTES + 2 :]
    return sealed(stamped[:35] + struct.pack(">q", time) + stamped[43:])


def with_rubbish_body(raw: bytes, codec: int) -> bytes:
    """The batch with a checksum that holds, and a body that its codec does not accept."""
    (attributes,) = struct.unpack_from(">h", raw, _ATTRIBUTES)
    named = raw[:_ATTRIBUTES] + struct.pack(">h", (attributes & ~7) | codec) + raw[_ATTRIBUTES + 2 : HEAD]
    return sealed(named + b"\xde\xad\xbe\xef" * 8)


def flipped(raw: bytes, at: int = -3) -> bytes:
    """The batch with one bit turned over, as a bad disk or cable does it."""
    bad = bytearray(raw)
    bad[at] ^= 0x10
    return bytes(bad)


def with_counts(raw: bytes, *, last_delta: int, count: int) -> bytes:
    """The batch whose head claims other numbers; the checksum then fails."""
    return raw[:_LAST_DELTA] + struct.pack(">i", last_delta) + raw[27:_COUNT] + struct.pack(">i", count) + raw[HEAD:]


def split(data: bytes) -> list[bytes]:
    """The batches of a fetch response; what is cut off at its end comes last."""
    parts, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from(">i", data, at + 8) if at + 12 <= len(data) else (len(data),)
        parts.append(data[at : at + 12 + length])
        at += 12 + length
    return parts
