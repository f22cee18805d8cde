"""What the commands do with letters: list, try, publish again, drop."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.cli.dlq.forecast import open_forecast
from app.cli.dlq.letter import Chosen, Shown, as_request, letter_of, refusal_of, starts
from app.cli.plain import as_json as plain_json
from app.cli.plain import as_text
from app.cli.stopping import Signals
from app.consumer.letters import Again, Extent, Mover, marks_of, open_mover, open_topic
from app.consumer.marks import Marks
from app.model import Answer, Headers, Record
from app.settings import MEBIBYTE, Settings

MOST: Final = 500
"""Letters in one transaction, at most; each is over within a second or so, for workers read nothing behind it."""
MOST_BYTES: Final = 4 * MEBIBYTE


@dataclass(frozen=True, slots=True)
class Found:
    """A letter, with the first offset of the stretch that it ends: between that and it, no other letter lies."""

    letter: Shown
    first: int


async def walk(extent: Extent, chosen: Chosen, marks: dict[int, Marks], settings: Settings) -> AsyncIterator[Found]:
    """The letters that are meant, partition after partition, those that are done with too."""
    for number, start in starts(chosen, extent).items():
        async for found in walk_one(extent, number, start, chosen, marks[number], settings):
            yield found


async def walk_one(
    extent: Extent, number: int, start: int, chosen: Chosen, marks: Marks, settings: Settings
) -> AsyncIterator[Found]:
    """The letters of one partition that are meant, from an offset on."""
    first = start
    async for record in extent.records(number, start):
        letter = letter_of(record, settings, done=record.position.offset in marks)
        if chosen.has(letter):
            yield Found(letter, first)
        first = record.position.offset + 1


def say(line: dict[str, Any] | str) -> None:
    """One line on standard output."""
    sys.stdout.buffer.write((plain_json(line) if isinstance(line, dict) else as_text(line)) + b"\n")


async def listed(settings: Settings, chosen: Chosen, *, done: bool, as_json: bool) -> int:
    """Print the letters that are meant."""
    counts: Counter[str] = Counter()
    async with open_topic(settings, settings.dlq_topic) as extent:
        marks = await marks_of(settings, list(extent.ends))
        async for found in walk(extent, chosen, marks, settings):
            counts["done" if found.letter.done else "open"] += 1
            if done or not found.letter.done:
                say(found.letter.line() if as_json else found.letter.text)
    if not as_json:
        _tell(f"{counts['open']} open, {counts['done']} done with")
    return 0


async def listed_refusals(settings: Settings, chosen: Chosen, *, as_json: bool) -> int:
    """Print the refused requests that are meant."""
    count = 0
    async with open_topic(settings, settings.failed_topic) as extent:
        for number, start in starts(chosen, extent).items():
            async for record in extent.records(number, start):
                if (refusal := refusal_of(record)) is not None and chosen.has(refusal):
                    count += 1
                    say(refusal.line() if as_json else refusal.text)
    if not as_json:
        _tell(f"{count} refused")
    return 0


async def shown(settings: Settings, chosen: Chosen, *, values: bool, as_json: bool) -> int:
    """Print everything about these letters; 1 when there is none."""
    count = 0
    async with open_topic(settings, settings.dlq_topic) as extent:
        marks = await marks_of(settings, list(extent.ends))
        async for found in walk(extent, chosen, marks, settings):
            line = found.letter.line(values=values)
            sys.stdout.buffer.write(plain_json(line, indent=not as_json) + b"\n")
            count += 1
    if not count:
        _tell("there is no such letter: it has expired, or was never there")
    return 0 if count else 1


@dataclass(slots=True)
class Plan:
    """Where letters go: the request topic as it is, and the token that they are to show."""

    settings: Settings
    requests: Extent
    token: str | None = None
    _behind: Counter[int] = field(default_factory=Counter)

    def again(self, letter: Shown) -> Again | None:
        """The letter as it is to be published; None when its place is not in the request topic as it is now.

        It goes to the partition in which it lay, among the other requests of its customer. No worker would believe
        that it lay there when the topic was made anew and is shorter now.
        """
        record, place = letter.record, letter.place
        if place is None:
            return None
        partition: int | None = place.partition
        if place.topic == self.settings.request_topic:
            if place.offset >= self.requests.ends.get(place.partition, 0):
                return None
        elif place.partition not in self.requests.ends:
            partition = None
        return Again(record, (*record.headers, *self._shown_token()), partition)

    def request(self, letter: Shown) -> Record:
        """The letter as a worker will read it."""
        record = as_request(letter.record, behind=self._end(letter), now=int(time.time() * 1000))
        return Record(record.position, record.key, record.value, (*record.headers, *self._shown_token()))

    def _end(self, letter: Shown) -> int:
        number = letter.place.partition if letter.place else 0
        self._behind[number] += 1
        return self.requests.ends.get(number, 0) + self._behind[number]

    def _shown_token(self) -> Headers:
        return () if self.token is None else (("authorization", f"Bearer {self.token}".encode()),)


async def tried(settings: Settings, chosen: Chosen, token: str | None, *, as_json: bool) -> int:
    """Print what each letter would become; 1 when one would not be answered 200."""
    counts: Counter[str] = Counter()
    async with (
        open_topic(settings, settings.dlq_topic) as extent,
        open_topic(settings, settings.request_topic) as requests,
        open_forecast(settings) as forecast,
    ):
        plan, marks, batch = Plan(settings, requests, token), await marks_of(settings, list(extent.ends)), list[Shown]()

        async def flush() -> None:
            answers = iter(await forecast.answers([plan.request(each) for each in batch if plan.again(each)]))
            for each in batch:
                answer = next(answers) if plan.again(each) else None
                counts[_becomes(answer)] += 1
                _tell_becomes(each, answer, as_json=as_json)
            batch.clear()

        async for found in walk(extent, chosen, marks, settings):
            if not found.letter.done:
                batch.append(found.letter)
            if len(batch) >= MOST or sum(each.record.size for each in batch) > MOST_BYTES:
                await flush()
        await flush()
    if not as_json:
        _tell(", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "no letter is meant")
    good = ("created", "updated", "unchanged", "superseded", "already answered")
    return 0 if all(name in good for name in counts) else 1


def _becomes(answer: Answer | None) -> str:
    """The word for it in the sum."""
    if answer is None:
        return "left, for its place is not in the request topic"
    if answer.replayed:
        return "already answered"
    return answer.outcome.value if answer.error is None else f"refused {answer.error}"


def _tell_becomes(letter: Shown, answer: Answer | None, *, as_json: bool) -> None:
    response = orjson.loads(answer.value)["response"] if answer is not None and answer.error is not None else {}
    details = [{"field": each["field"], "code": each["code"]} for each in response.get("details", ())]
    if as_json:
        becomes: dict[str, Any] | None = None
        if answer is not None:
            becomes = {"status": answer.status, "outcome": answer.outcome.value, "error": answer.error}
            becomes |= {"details": details, "already_answered": answer.replayed}
        say({**letter.line(), "becomes": becomes})
        return
    about = ", ".join(f"{each['field']} {each['code']}".strip() for each in details)
    outcome = f" ({answer.outcome.value})" if answer is not None and answer.replayed else ""
    say(f"{letter.where}  {letter.customer or '-'}  {_becomes(answer)}{outcome}{': ' if about else ''}{about}")


class _Bar:
    """How far it is, over the offsets that are looked at; on standard error."""

    def __init__(self, what: str, total: int) -> None:
        columns = (TextColumn(what), BarColumn(30), MofNCompleteColumn(), TextColumn("{task.fields[moved]}"))
        self._bar = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True))
        self._task = self._bar.add_task(what, total=total, moved="")
        self._moved = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def show(self, before: int, offset: int, moved: int) -> None:
        """`offset` is the next to be looked at, `before` makes of it how many were."""
        self._bar.update(self._task, completed=before + offset, moved=str(moved))


@dataclass(slots=True)
class _Work:
    """One replay or drop. `again` makes of a letter what is published; None where nothing is."""

    mover: Mover
    again: Callable[[Shown], Again | None] | None
    rate: float | None
    marks: dict[int, Marks]
    stop: Signals
    moved: int = 0
    left: int = 0
    full: bool = False
    _batch: list[Again] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    async def partition(self, found: AsyncIterator[Found], number: int, show: Callable[[int, int], None]) -> None:
        """Move the letters of one partition, in order, a part at a time."""
        most = MOST if self.rate is None else max(1, min(MOST, int(self.rate)))
        kept = self.marks[number]
        count = 0
        async for each in found:
            if self.stop.received is not None:
                return
            if each.letter.done:
                continue
            again = self.again(each.letter) if self.again else None
            if self.again and again is None:
                self.left += 1
                continue
            wider = kept.having([(each.first, each.letter.record.position.offset)])
            if not wider.fits:
                self.full = True  # what lies behind is not looked at: its letters would only be more pieces
                break
            kept, count = wider, count + 1
            self._batch += [again] if again else []
            if self.again and (len(self._batch) >= most or sum(a.letter.size for a in self._batch) > MOST_BYTES):
                await self._flush(number, kept, count)
                count = 0
                show(each.letter.record.position.offset + 1, self.moved)
        if count and self.stop.received is None:
            await self._flush(number, kept, count)

    async def _flush(self, number: int, marks: Marks, count: int) -> None:
        await self.mover.move(self._batch, number, marks)
        self.moved += count
        self._batch.clear()
        if self.rate is not None:
            # a pace, not a wait for something: so many letters a second since it began
            await self.stop.pause(self._began + self.moved / self.rate - time.monotonic())


async def moved(
    settings: Settings, chosen: Chosen, *, replay: bool, rate: float | None, token: str | None, as_json: bool
) -> int:
    """Publish the letters that are meant again, or drop them; 1 when some of them had to be left."""
    stop = Signals()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(stop.caught())
        mover = await stack.enter_async_context(open_mover(settings))  # first: it ends what another had begun
        extent = await stack.enter_async_context(open_topic(settings, settings.dlq_topic))
        requests = await stack.enter_async_context(open_topic(settings, settings.request_topic))
        marks = await marks_of(settings, list(extent.ends))
        again = Plan(settings, requests, token).again if replay else None
        work = _Work(mover, again, rate, marks, stop)
        named = starts(chosen, extent) if chosen.offsets is not None else dict.fromkeys(extent.ends, 0)
        spans = {number: _span(extent, number, max(start, marks[number].position)) for number, start in named.items()}
        looked_at = 0
        with _Bar("replay" if replay else "drop", sum(map(len, spans.values()))) as bar:
            for number, span in spans.items():
                found = walk_one(extent, number, span.start, chosen, marks[number], settings)
                await work.partition(found, number, partial(bar.show, looked_at - span.start))
                if stop.received is not None:
                    break
                looked_at += len(span)
                bar.show(looked_at, 0, work.moved)
    return _conclude(work, "published again" if replay else "dropped", as_json=as_json)


def _span(extent: Extent, number: int, start: int) -> range:
    """From here to the end of the partition."""
    return range(start, max(extent.ends[number], start))


def _conclude(work: _Work, what: str, *, as_json: bool) -> int:
    if as_json:
        stopped = work.stop.received is not None
        say({"moved": work.moved, "left": work.left, "marks_full": work.full, "stopped": stopped})
    else:
        say(f"{work.moved} {what}")
    if work.left:
        _tell(f"{work.left} left: their place is not in the request topic, which was made anew since")
    if work.full:
        _tell("stopped: letters in too many pieces lie between those that are done; drop or replay the oldest first")
    if work.stop.received is not None:
        _tell("stopped; the same command goes on from here")
        return 128 + work.stop.received
    return 1 if work.left or work.full else 0


def _tell(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")
