"""Attacks that once succeeded (docs/security-review.md), each as small as it can be."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import cramjam
import pytest
import uvicorn
from aiokafka import TopicPartition
from aiokafka.codec import snappy_decode
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from typer.testing import CliRunner

from app.authorise import EVERYONE
from app.cli import app
from app.cli.dlq import work
from app.consumer import bounds
from app.consumer.bounds import MOST_HEADERS
from app.consumer.decode import (
    MOST_INFLATED,
    TolerantPartition,
    TolerantRecords,
    _unsnap,
    as_records,
    install,
    to_record,
)
from app.consumer.publisher import outgoing
from app.consumer.requester import Outbound
from app.envelope import MAX_RECORD
from app.model import Headers
from app.response import answer_headers
from app.settings import MEBIBYTE
from app.usual import Usual
from tests.faults.batches import batch, placed, sealed
from tests.support import PATIENCE, until
from tests.unit.making import EVENT, NOW, decided, record, request_of
from tests.unit.protocol import SETTINGS

run = importlib.import_module("app.cli.run")  # in app.cli the command has that name
XERIAL = b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1)
ONE = Outbound(b"k", b"{}", (("h", b"1"),))
HALF = bytes(cramjam.snappy.compress_raw(b" " * (MOST_INFLATED // 2)))


def read(data: bytes) -> list[Any]:
    install()
    splitter = TolerantRecords(data)
    return list(TolerantPartition(TopicPartition("t", 0), splitter, [], 0, None, None, True, READ_COMMITTED))


@pytest.mark.rule("R18.1")
@pytest.mark.parametrize("codec", [1, 2, 3, 4], ids=["gzip", "snappy", "lz4", "zstd"])
def test_a_batch_that_unpacks_to_more_than_the_limit_is_answered_unread_and_its_neighbours_are_read(codec: int) -> None:
    bomb = batch([Outbound(None, b" " * MOST_INFLATED)], codec=codec)
    assert len(bomb) < MOST_INFLATED / 20
    full = batch([Outbound(None, b" " * (MOST_INFLATED - 1000))], base=2, codec=codec)
    found = [to_record(raw) for raw in read(bomb + batch([Outbound(None, b"{}")], base=1, codec=codec) + full)]
    assert [each.position.offset for each in found] == [0, 1, 2]
    assert [each.undecodable for each in found] == [True, False, False]
    assert [len(each.value or b"") for each in found] == [0, 2, MOST_INFLATED - 1000]


@pytest.fixture(params=["compiled", "plain"])
def either_part(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once with the compiled part, where there is one, and once without."""
    if request.param == "plain":
        monkeypatch.setattr(bounds, "part", None)


def claiming(deltas: Sequence[int], last: int, *, base: int = 0, codec: int = 0) -> bytes:
    """A batch that ends `last` behind its first offset, whose records say to lie so far behind it."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, 0, 1 << 16)
    for delta in deltas:
        builder.append(delta, 1, None, b"{}", [])
    raw = placed(bytes(builder.build()), base)
    return sealed(raw[:23] + struct.pack(">i", last) + raw[27:])


@pytest.mark.rule("R18.4")
@pytest.mark.usefixtures("either_part")
@pytest.mark.parametrize("codec", [0, 1], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("deltas", "read_still"),
    [((6,), 0), ((1_000_000,), 0), ((0, 0), 1), ((1, 0), 0), ((-3,), 0), ((0, -1), 1), ((0, 9, 1), 1), ((0, 1, 2), 3)],
)
def test_a_record_that_claims_the_offset_of_another_is_answered_in_its_own_place(
    deltas: tuple[int, ...], read_still: int, codec: int
) -> None:
    evil = claiming(deltas, len(deltas) - 1, base=7, codec=codec)
    behind = 7 + len(deltas)
    found = [to_record(raw) for raw in read(evil + batch([Outbound(None, b"{}")], base=behind))]
    assert [each.position.offset for each in found] == list(range(7, behind + 1))
    assert [each.undecodable for each in found] == [number >= read_still for number in range(len(deltas))] + [False]


OVERFLOWING: Final = """
import struct, sys
from tests.faults.batches import HEAD
from tests.unit import test_attacks as here
if sys.argv[1] == "plain":
    here.bounds.part = None
records = [bytes([0, 0, *here.vary(0), *here.vary(length), *b"v", *here.vary(0)]) for length in here.LENGTHS]
for record in records:
    whole = here.vary(len(record)) + record
    raw = here.claiming([0], 0)[:HEAD] + whole
    print([each.undecodable for each in map(here.to_record, here.read(here.sealed(raw)))])
"""
LENGTHS: Final = (2**31, 2**32, 2**33 + 1, 2**40, 2**62, -(2**31), -(2**40), 1, 2, 100)


def vary(number: int) -> bytes:
    """The number as Kafka writes it in a record."""
    left, written = ((number << 1) ^ (number >> 63)) & (1 << 64) - 1, b""
    while left > 127:
        left, written = left >> 7, written + bytes([left & 127 | 128])
    return written + bytes([left])


@pytest.mark.rule("R18.4")
@pytest.mark.parametrize("part", ["compiled", "plain"])
def test_a_length_beyond_the_batch_ends_no_process(part: str) -> None:
    done = subprocess.run([sys.executable, "-c", OVERFLOWING, part], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split("\n")) == (0, ["[True]"] * len(LENGTHS) + [""]), done.stderr[-300:]


@pytest.mark.rule("R18.5")
@pytest.mark.usefixtures("either_part")
def test_of_a_record_with_a_flood_of_headers_only_the_place_is_read_and_its_neighbours_are_read() -> None:
    flood = batch([ONE, Outbound(None, b"{}", (("a", b""),) * 1_000_000), ONE], codec=4)
    assert len(flood) < 100_000
    tracemalloc.start()
    try:
        found = [to_record(raw) for raw in read(flood)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [each.undecodable for each in found] == [False, True, False]
    assert found[0].headers == found[2].headers == ONE.headers
    assert peak < 16 * MEBIBYTE


@pytest.mark.rule("R18.5")
@pytest.mark.usefixtures("either_part")
def test_a_batch_has_so_many_headers_in_all_that_are_read_and_records_with_few_are_read_beyond() -> None:
    many, few = Outbound(None, b"{}", (("a", b""),) * 9_000), Outbound(None, b"{}", (("a", b""),) * 100)
    found = [to_record(raw) for raw in read(batch([*[many] * 20, few], codec=4))]
    assert [each.undecodable for each in found] == [False] * 11 + [True] * 9 + [False]


@pytest.mark.rule("R18.5")
@pytest.mark.usefixtures("either_part")
def test_as_many_headers_as_are_allowed_are_read_and_not_one_more() -> None:
    many = tuple((f"x-{number}", b"y") for number in range(MOST_HEADERS))
    more = Outbound(None, b"{}", (*many, ("x", b"y")))
    found = [to_record(raw) for raw in read(batch([Outbound(None, b"{}", many), more], codec=4))]
    assert [(each.undecodable, each.headers) for each in found] == [(False, many), (True, ())]


@pytest.mark.rule("R18.6")
def test_what_is_handed_over_at_once_is_bounded_by_its_size_and_the_rest_is_fetched_again() -> None:
    install()
    large = [batch([Outbound(None, b" " * MEBIBYTE)], base=number, codec=4) for number in range(20)]
    allowance = TolerantPartition.allowance

    def fetch(at: int) -> tuple[int, int]:
        """How many records are handed over from there, and where the next fetch begins."""
        allowance.renew(4 * MEBIBYTE)
        data = b"".join(large[at:])
        partition = TolerantPartition(
            TopicPartition("t", 0), TolerantRecords(data), [], at, None, as_records, True, READ_COMMITTED
        )
        return len(list(partition)), int(partition.next_fetch_offset)

    try:
        assert [fetch(0), fetch(4), fetch(18), fetch(20)] == [(4, 4), (4, 8), (2, 20), (0, 20)]
        allowance.renew(1)  # one is always handed over
        assert len(read_as_ours(large[0] + large[1])) == 1
    finally:
        allowance.renew(1 << 60)


def read_as_ours(data: bytes) -> list[Any]:
    splitter = TolerantRecords(data)
    return list(TolerantPartition(TopicPartition("t", 0), splitter, [], 0, None, as_records, True, READ_COMMITTED))


@pytest.mark.rule("R18.7")
@pytest.mark.parametrize("headers", [EVENT, ()], ids=["event", "plain"])
@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 400)])
def test_a_record_whose_dead_letter_no_topic_would_take_is_too_large(headers: Headers, more: int, status: int) -> None:
    given = record(headers=headers)
    filled = replace(given, headers=(*headers, ("f", b"y" * (MAX_RECORD + more - given.size - 1))))
    (answer,) = decided(request_of(filled)).answers
    assert answer.status == status
    assert answer.error == (None if status == 200 else "record_too_large")
    at_once = Usual(SETTINGS).request(filled, EVERYONE, NOW)
    assert at_once is None or status == 200


@pytest.mark.rule("R18.8")
@pytest.mark.parametrize(("size", "kept"), [(MEBIBYTE, True), (MEBIBYTE + 1, False), (8 * MEBIBYTE, False)])
def test_a_key_that_no_answer_could_bear_is_left_out_of_it(size: int, kept: bool) -> None:
    key = b"k" * size
    (answer,) = decided(request_of(record(b"{", EVENT, key=key))).answers
    (given,) = outgoing(answer, SETTINGS)
    assert (answer.status, given.key) == (400, key if kept else None)


@pytest.mark.rule("R18.1")
@pytest.mark.parametrize("pieces", [(1000,), (1,), (7, 0, 500), ()], ids=["one", "a byte", "an empty one", "none"])
def test_snappy_in_pieces_is_what_it_was(pieces: tuple[int, ...]) -> None:
    packed = [bytes(cramjam.snappy.compress_raw(bytes([65 + number]) * size)) for number, size in enumerate(pieces)]
    whole = XERIAL + b"".join(struct.pack(">i", len(piece)) + piece for piece in packed)
    expected = b"".join(bytes([65 + number]) * size for number, size in enumerate(pieces))
    if pieces:
        assert _unsnap(whole) == expected == snappy_decode(whole)
    raw = bytes(cramjam.snappy.compress_raw(expected))
    assert _unsnap(raw) == expected


@pytest.mark.rule("R18.1")
@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xff\xff\xff\xff\x0f",  # 4 GiB, it says
        *(
            XERIAL + tail
            for tail in (
                b"\0",
                struct.pack(">i", -4) + b"abc",
                struct.pack(">i", 0) + b"abc",
                struct.pack(">i", 2**31 - 1) + b"abc",
                (struct.pack(">i", len(HALF)) + HALF) * 3,
            )
        ),
    ],
    ids=["nothing", "4 GiB", "no size", "back", "stays", "far", "16 MiB and a half"],
)
def test_snappy_that_is_none_or_too_large_is_refused(packed: bytes) -> None:
    with pytest.raises((ValueError, struct.error, cramjam.DecompressionError)):
        _unsnap(packed)


@pytest.mark.rule("R4.19")
@pytest.mark.parametrize("name", ["traceparent", "tracestate", "correlation_id"])
def test_a_tracing_header_too_long_for_an_answer_is_left_out(name: str) -> None:
    """Compressed, a header of megabytes fits into a request; no topic would take the answer that bore it."""
    for length, passed in ((1024, True), (1025, False)):
        (answer,) = decided(request_of(record(headers=(*EVENT, (name, b"a" * length))))).answers
        assert answer.status == 200
        assert (name in dict(answer_headers(answer, "t"))) is passed


@pytest.mark.rule("R18.2")
async def test_a_connection_that_never_asks_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_CONNECTION_SECONDS", 0.05)
    config = uvicorn.Config(lambda: None, log_config=None, lifespan="off", http=run._BriefProtocol)
    config.load()
    state = uvicorn.server.ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: run._BriefProtocol(config, state, {}), "127.0.0.1", 0)
    async with server:
        for sent in (b"", b"GET /livez HTTP/1.1\r\nX: ", b"POST / HTTP/1.1\r\nContent-Length: 99\r\nHost: x\r\n\r\na"):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(sent)
            with contextlib.suppress(ConnectionResetError):
                await reader.read()
            assert not state.connections
            writer.close()


@pytest.mark.rule("R18.2")
async def test_connections_beyond_a_number_are_ended_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_CONNECTIONS", 2)
    config = uvicorn.Config(lambda: None, log_config=None, lifespan="off", http=run._BriefProtocol)
    config.load()
    state = uvicorn.server.ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: run._BriefProtocol(config, state, {}), "127.0.0.1", 0)
    async with server:
        address = server.sockets[0].getsockname()
        kept = [await asyncio.open_connection(*address) for _ in range(2)]
        await until(lambda: len(state.connections) == 2)
        reader, writer = await asyncio.open_connection(*address)
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(PATIENCE):
                assert await reader.read() == b""
        await until(lambda: len(state.connections) == 2)
        for _, open_writer in [*kept, (reader, writer)]:
            open_writer.close()
        await until(lambda: not state.connections)


@pytest.mark.rule("R18.3")
def test_nothing_that_a_terminal_obeys_is_printed_of_a_letter(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    commands = "\x9b\u202e\u2028\u2066\x1b\x7f"
    for line in ({"id": commands}, {"id": commands, "name": "Zoë \u200d"}, f"0/1 {commands}"):
        work.say(line)
    sys.stdout.flush()
    printed = capfdbinary.readouterr().out.decode()
    assert "Zoë" in printed
    assert not set(commands) & set(printed)


@pytest.mark.rule("R18.3")
@pytest.mark.parametrize("arguments", [["zz\x1b[31m"], ["{csv}"], ["{csv}", "--name", "\udcff"]])
def test_nothing_that_a_terminal_obeys_is_printed_of_a_file_and_its_name(arguments: list[str], tmp_path: Path) -> None:
    csv = tmp_path / "x.csv"
    csv.write_text("a\x1b]0;pwn,b\n1,2\n")
    said = CliRunner(env={"KAFKA_BOOTSTRAP_SERVERS": "unused:9092"}).invoke(
        app, ["send", *(argument.format(csv=csv) for argument in arguments)]
    )
    assert said.exit_code == 2
    assert "\x1b" not in said.output
    assert len(said.output.splitlines()) == 1
