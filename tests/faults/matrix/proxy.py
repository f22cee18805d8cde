"""A TCP proxy that cuts connections when it sees what it was told to look for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from devstack.servers.waiting import HOST, free_port

CHUNK = 1 << 16
Cut = Callable[[bytes], bool]


@dataclass
class Proxy:
    """Passes bytes on to `target`. What a client sends is shown to `cuts`: if it says so, the connection is reset.

    One cut in two comes before the bytes are passed on, the other after: the server has them, the reply is lost.
    """

    target: int
    rng: random.Random
    port: int = field(default_factory=free_port)
    cuts: Cut | None = None
    done: int = 0
    """How many connections were cut."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen, also again after `close`."""
        self._server = await asyncio.start_server(self._serve, HOST, self.port)

    async def close(self) -> None:
        """Cut all and listen no more."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(HOST, self.target)
        ways = {asyncio.create_task(self._there(reader, back)), asyncio.create_task(_pass(there, writer))}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)  # asyncio complains of errors that nobody looks at
            writer.transport.abort()
            back.close()  # in order: the server still reads what was passed on

    async def _there(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            cut = self.cuts is not None and self.cuts(data)
            if not cut or self.rng.random() < 0.5:
                back.write(data)
                await back.drain()
            if cut:
                self.done += 1
                return


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


@asynccontextmanager
async def proxy(target: int, rng: random.Random) -> AsyncIterator[Proxy]:
    """A proxy that listens as long as the block lasts."""
    found = Proxy(target, rng)
    await found.open()
    try:
        yield found
    finally:
        await found.close()
