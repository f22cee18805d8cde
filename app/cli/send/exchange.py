"""Sends the items of a file with a bounded number of them in flight, and hears the answers as they come."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from app.cli.send.ids import Naming
from app.cli.send.pace import Pace
from app.cli.send.source import Item
from app.cli.send.tally import Tally
from app.consumer.requester import Inbound
from app.errors import Transient

WINDOW: Final = 5000
"""Requests that are unanswered at the same time, at most; without waiting for answers, unacknowledged."""
ACKNOWLEDGED_WITHIN: Final = 25.0
_TURN_EVERY: Final = 100
_SLICE: Final = 0.2
_SOON: Final = 0.02
Place = tuple[int, int]


class Kafka(Protocol):
    """What is needed of a `Requester`."""

    @property
    def listens(self) -> bool: ...

    async def send(self, request: Any) -> asyncio.Future[Any]: ...

    def place(self, acknowledged: asyncio.Future[Any]) -> Place: ...

    async def take(self, seconds: float) -> list[tuple[Place, Inbound]]: ...


class Lines:
    """A set of line numbers that takes a byte for each line of the file, in it or not."""

    def __init__(self) -> None:
        self._marks = bytearray()
        self.count = 0

    def add(self, line: int) -> None:
        self._marks.extend(bytes(max(0, line + 1 - len(self._marks))))
        self.count += not self._marks[line]
        self._marks[line] = 1

    def discard(self, line: int) -> bool:
        """Whether it was in."""
        if line >= len(self._marks) or not self._marks[line]:
            return False
        self._marks[line] = 0
        self.count -= 1
        return True

    def __iter__(self) -> Any:
        return (line for line, mark in enumerate(self._marks) if mark)


class Exchange:
    """One file under way. `stop` may be called at any time, from the same thread.

    Args:
        kafka: sends, and reads answers if it listens.
        naming: under which ids, and how answers to an earlier run are known again.
        tally: is told of every answer.
        patience: seconds without any answer after which to give up.
        acknowledged: is told now and then up to which line Kafka has everything.
        moved: is called whenever there may be something new to show.
    """

    def __init__(
        self,
        kafka: Kafka,
        naming: Naming,
        tally: Tally,
        *,
        patience: float,
        acknowledged: Callable[[int], None],
        moved: Callable[[Exchange], None],
        pace: Pace | None = None,
        window: int = WINDOW,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kafka, self._naming, self._tally = kafka, naming, tally
        self._patience, self._acknowledged, self._moved = patience, acknowledged, moved
        self._pace, self._window, self._clock = pace or Pace(None), window, clock
        self._unacknowledged: deque[tuple[int, asyncio.Future[Any] | None]] = deque()
        self._pending: dict[Place, int] = {}
        self._former = Lines()
        self._heard = self._turned = clock()
        self.stopped = False
        self.passed = 0
        """Items that were dealt with, by this run or the one before."""
        self.sent = 0
        """Requests that this run sent, of which `answered` have their answer."""
        self.answered = 0
        self.answered_before = 0
        """Requests of the run before, of which this one has seen the answer."""
        self.all_sent = False
        self.missing = 0

    def stop(self) -> None:
        """Send nothing more, and wait for acknowledgements only."""
        self.stopped = True

    async def run(self, items: Iterable[Item], *, behind: int = 0, rereads: bool = False) -> None:
        """Send what comes behind that line, and await its answers.

        `rereads` says that the answers to what an earlier run sent are read again, and so can be awaited too.

        Raises:
            Transient: Kafka is away, or does not take a request.
        """
        try:
            self.all_sent = await self._send(items, behind, rereads)
            await self._all_acknowledged()
            while self._awaiting and self.all_sent and not self.stopped and not self._impatient():
                await self._turn(_SLICE)
        finally:
            for _, future in self._unacknowledged:
                if future is not None:  # what it says is of no use any more, and must not be complained about
                    future.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self.finished:
            self.missing = len(self._pending) + self._former.count
            self._tally.missing([*self._pending.values(), *self._former])

    @property
    def finished(self) -> bool:
        """Whether everything was sent, and the answers were awaited as long as there was hope."""
        return self.all_sent and not self.stopped

    async def _send(self, items: Iterable[Item], behind: int, rereads: bool) -> bool:
        """Whether the items came to their end."""
        for count, item in enumerate(map(self._naming.named, items)):
            if item.line <= behind:
                self._before(item, rereads)
                if count % _TURN_EVERY == 0:
                    await asyncio.sleep(0)
            elif item.request is None:
                self._tally.unsendable(item)
                self._unacknowledged.append((item.line, None))
            elif await self._may_go(count):
                if not self._awaiting:
                    self._heard = self._clock()
                self._unacknowledged.append((item.line, await self._kafka.send(item.request)))
                self.sent += 1
            else:
                return False
            self.passed += 1
        return not self.stopped

    def _before(self, item: Item, rereads: bool) -> None:
        """What an earlier run dealt with."""
        if item.request is None:
            self._tally.unsendable(item)
        elif not self._kafka.listens:
            pass
        elif rereads and item.body is not None and self._naming.trail is not None:
            self._former.add(item.line)
        else:
            self._tally.not_awaited()

    async def _may_go(self, count: int) -> bool:
        """Wait until there is room and it is time; False when there is no going on."""
        if count % _TURN_EVERY == 0 or self._clock() - self._turned > _SLICE:
            await self._turn(0)
        while not self.stopped and not self._impatient():
            due = self._pace.due_in(self._clock())
            if self._in_flight >= self._window:
                await self._turn(_SLICE)
            elif due <= 0:
                self._pace.gone(self._clock())
                return True
            elif due <= _SOON:
                await asyncio.sleep(due)
            else:
                await self._turn(min(due, _SLICE))
        return False

    @property
    def _in_flight(self) -> int:
        return len(self._unacknowledged) + len(self._pending)

    @property
    def _awaiting(self) -> int:
        return self._in_flight + self._former.count if self._kafka.listens else 0

    def _impatient(self) -> bool:
        return bool(self._awaiting) and self._clock() - self._heard > self._patience

    async def _turn(self, seconds: float) -> None:
        """Take what has come meanwhile, waiting up to so long for the first of it."""
        if self._kafka.listens:
            await self._hear(await self._kafka.take(seconds))
        elif self._unacknowledged and (oldest := self._unacknowledged[0][1]) is not None:
            await asyncio.wait({oldest}, timeout=seconds)
        else:
            await asyncio.sleep(seconds)
        self._reap()
        self._turned = self._clock()
        self._moved(self)

    async def _hear(self, answers: list[tuple[Place, Inbound]]) -> None:
        unknown = [(place, answer) for place, answer in answers if not self._matched(place, answer)]
        if unknown and self._unacknowledged:  # an answer may be here before the place of its request is
            await self._all_acknowledged()
            for place, answer in unknown:
                self._matched(place, answer)

    def _matched(self, place: Place, answer: Inbound) -> bool:
        """Whether this is the first answer to a request of this file."""
        line = self._pending.pop(place, None)
        if line is not None:
            self.answered += 1
        else:
            line = self._naming.line_of(answer.header("correlation_id")) if self._former.count else None
            if line is None or not self._former.discard(line):
                return False
            self.answered_before += 1
        self._tally.answered(line, answer)
        self._heard = self._clock()
        return True

    def _reap(self) -> None:
        """Note the places of what is acknowledged, in order, so that nothing before the last one is in doubt."""
        last = None
        while self._unacknowledged:
            line, future = self._unacknowledged[0]
            if future is not None:
                if not future.done():
                    break
                place = self._kafka.place(future)
                if self._kafka.listens:
                    self._pending[place] = line
            self._unacknowledged.popleft()
            last = line
        if last is not None:
            self._acknowledged(last)

    async def _all_acknowledged(self) -> None:
        """Wait for the acknowledgement of everything that was sent by now."""
        self._reap()
        while self._unacknowledged:
            oldest = self._unacknowledged[0][1]
            assert oldest is not None
            done, _ = await asyncio.wait({oldest}, timeout=ACKNOWLEDGED_WITHIN)
            if not done:
                raise Transient("kafka: no acknowledgement in time")
            self._reap()
        self._moved(self)
