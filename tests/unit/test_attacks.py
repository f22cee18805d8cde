"""Attacks that once succeeded (docs/security-review.md), each as small as it can be."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import struct
import sys
from typing import Any

import cramjam
import pytest
import uvicorn
from aiokafka import TopicPartition
from aiokafka.codec import snappy_decode
from aiokafka.consumer.fetcher import READ_COMMITTED

from app.cli.dlq import work
from app.consumer.decode import MOST_INFLATED, TolerantPartition, TolerantRecords, _unsnap, install, to_record
from app.consumer.requester import Outbound
from app.response import answer_headers
from tests.faults.batches import batch
from tests.support import PATIENCE, until
from tests.unit.making import EVENT, decided, record, request_of

run = importlib.import_module("app.cli.run")  # in app.cli the command has that name
XERIAL = b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1)
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
