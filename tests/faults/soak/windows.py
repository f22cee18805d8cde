"""The load in windows: each has customers of its own, is judged once all of it is final, and is then dropped.

So the memory of a soak does not grow with its length. What is kept of a judged window: eight bytes a request, to tell
an answer that comes late, and a sum over its rows, to tell whether anybody has touched them since.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.faults.checker import LETTER, Broken, Place, Published, Requested, Verdict
from tests.faults.matrix.load import Asked, Load

ANSWER = "request-"
REFUSED = 1
"""Stands for an answer that is not a 200: a refusal may be answered differently later on."""


@dataclass(eq=False)
class Window:
    """Some thousands of requests, one after the other, and all that is published about them."""

    number: int
    load: Load
    source: Iterator[Asked]
    sent: int = 0
    closed: bool = False
    """Whether no more requests come."""
    places: dict[Place, Requested] = field(default_factory=dict)
    missing: set[Place] = field(default_factory=set)
    """Places that have no answer yet."""
    answers: list[Published] = field(default_factory=list)
    letters: list[Published] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        """With which the names of its customers begin."""
        return prefix(self.number)

    @property
    def acknowledged(self) -> bool:
        """Whether Kafka has told of all that was sent."""
        return self.closed and len(self.load.requests) + len(self.load.refused) == self.sent

    @property
    def answered(self) -> bool:
        """Whether all is sent and answered."""
        return self.acknowledged and len(self.places) == len(self.load.requests) and not self.missing

    def look(self) -> None:
        """Take note of what Kafka has acknowledged since the last look."""
        for request in self.load.requests[len(self.places) :]:
            self.places[request.place] = request
            self.missing.add(request.place)

    def last_offsets(self) -> dict[int, int]:
        """The last offset of its requests by partition."""
        found: dict[int, int] = {}
        for partition, offset in self.places:
            found[partition] = max(offset, found.get(partition, 0))
        return found


def prefix(number: int) -> str:
    """With which the names of a window's customers begin."""
    return f"w{number}."


@dataclass
class Judged:
    """What is kept of requests once their window is judged."""

    _kept: dict[int, array[int]] = field(default_factory=dict)
    failed: set[Place] = field(default_factory=set)

    def keep(self, window: Window) -> None:
        """Remember what was answered to its requests."""
        for answer in window.answers:
            if (place := answer.place(ANSWER, window.load.settings.request_topic)) is not None:
                self._set(place, _digest(answer))
        self.failed |= {place for place, request in window.places.items() if request.meant == "failed"}

    def knows(self, place: Place) -> bool:
        """Whether this request was answered in a window that is judged."""
        return self._get(place) != 0

    def about(self, place: Place, answer: Published) -> Iterator[Verdict]:
        """What is wrong with an answer that comes after the judgement: it must be a repetition."""
        if self._get(place) != _digest(answer):
            yield Verdict(Broken.ANSWER, f"{answer.at} differs from what was answered before its window was judged")

    def _get(self, place: Place) -> int:
        partition, offset = place
        kept = self._kept.get(partition)
        return kept[offset] if kept is not None and offset < len(kept) else 0

    def _set(self, place: Place, digest: int) -> None:
        partition, offset = place
        kept = self._kept.setdefault(partition, array("Q"))
        if offset >= len(kept):
            kept.frombytes(bytes(8 * (offset + 1 - len(kept))))
        kept[offset] = max(digest, kept[offset])


def _digest(answer: Published) -> int:
    if answer.status != 200:
        return REFUSED
    whole = (answer.header("ce_id") or "").encode() + (answer.value or b"")
    return int.from_bytes(hashlib.blake2b(whole, digest_size=8).digest()) | 2


@dataclass
class Windows:
    """The windows that are open or wait for their judgement, and what is published about each."""

    topic: str
    open: list[Window] = field(default_factory=list)
    judged: Judged = field(default_factory=Judged)
    late: list[Verdict] = field(default_factory=list)
    answered: int = 0
    """Requests that have an answer."""
    repeated: int = 0
    """Answers to requests that had one already."""
    _waiting: deque[tuple[Published, str]] = field(default_factory=deque)

    def take(self, answers: Iterable[Published], letters: Iterable[Published]) -> None:
        """Put what was published where it belongs; what nobody has sent yet waits: its acknowledgement may be late."""
        for window in self.open:
            window.look()
        self._waiting.extend((answer, ANSWER) for answer in answers)
        self._waiting.extend((letter, LETTER) for letter in letters)
        for _ in range(len(self._waiting)):
            published, head = self._waiting.popleft()
            if not self._placed(published, head):
                self._waiting.append((published, head))

    def _placed(self, published: Published, head: str) -> bool:
        place = published.place(head, self.topic)
        if place is None:
            return False
        for window in self.open:
            if place in window.places:
                if head == LETTER:
                    window.letters.append(published)
                    return True
                window.answers.append(published)
                self.answered += place in window.missing
                self.repeated += place not in window.missing
                window.missing.discard(place)
                return True
        if head == LETTER:
            return place in self.judged.failed
        if self.judged.knows(place):
            self.repeated += 1
            self.late += self.judged.about(place, published)
            return True
        return False

    def drop(self, window: Window) -> None:
        """Keep of a judged window what is needed, and no more."""
        self.judged.keep(window)
        self.open.remove(window)

    def unasked(self) -> Iterator[Verdict]:
        """Once all is over: what was published about nothing that was sent."""
        for published, _ in self._waiting:
            yield Verdict(Broken.UNASKED, f"{published.at} is about nothing that was sent")
