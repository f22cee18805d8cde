"""The search for a record that kills every process that touches it: decides, what it decides is noted elsewhere.

Nothing can be noted by a process that is killed, so what is noted is where each assignment begins. One that begins
where the last one died is suspect: its records are processed one by one, each noted first, so that the next process
knows which one it was. After three deaths on one record it is given up: answered 500 without being looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from app.consumer.offsets import Partition, partition_of
from app.model import Record
from app.telemetry import log

DEATHS_LIMIT: Final = 3


class Deaths(Protocol):
    """What is known across processes."""

    async def begun(self, begins: Mapping[Partition, tuple[int, int]]) -> Mapping[Partition, tuple[int, int]]:
        """Note the first and the last offset of each assignment's first batch.

        Returns, by partition, how many of the last assignments in a row died on that first record, and the last offset
        of the batch in which they did.
        """

    async def touching(self, partition: Partition, offset: int | None) -> None:
        """Note which record is processed alone now; None: none."""

    async def over(self, partitions: Collection[Partition]) -> None:
        """Note that these assignments have ended and nothing has died."""


class How(Enum):
    """How a part of a batch is processed."""

    TOGETHER = auto()
    ALONE = auto()
    GIVEN_UP = auto()


@dataclass(frozen=True, slots=True)
class Part:
    """Records that are processed together, or one that is processed alone or given up."""

    how: How
    records: Sequence[Record]


class Suspects:
    """The partitions of this assignment, and up to where each is searched."""

    def __init__(self, deaths: Deaths) -> None:
        self._deaths = deaths
        self._until: dict[Partition, int] = {}
        self._begun: set[Partition] = set()
        self._unended: set[Partition] = set()
        """Ended in order, which could not be noted: nobody died there."""
        self._given_up: set[tuple[Partition, int]] = set()

    def quiet(self, records: Sequence[Record]) -> bool:
        """Whether these may be looked at while others are processed: where nobody died, and where that is noted."""
        return not any(self._until.values()) and _partitions(records) <= self._until.keys()

    async def parts(self, records: Sequence[Record]) -> list[Part]:
        """The batch in the parts in which it is to be processed, one after the other; one part unless something died.

        Asks and notes only where records are the first of their partition in this assignment.
        """
        begins: dict[Partition, tuple[int, int]] = {}
        if first := _partitions(records) - self._until.keys():
            for record in records:
                partition, offset = partition_of(record.position), record.position.offset
                if partition in first:
                    begins[partition] = begins.get(partition, (offset, offset))[0], offset
        if begins:
            if late := self._unended & begins.keys():
                await self._deaths.over(late)
                self._unended -= late
            self._begun |= begins.keys()
            for partition, (deaths, last) in (await self._deaths.begun(begins)).items():
                self._until[partition] = last + 1 if deaths else 0
                if deaths:
                    log.warning(
                        "died_here", partition="/".join(map(str, partition)), deaths=deaths, searched_up_to=last
                    )
                if deaths >= DEATHS_LIMIT:
                    self._given_up.add((partition, begins[partition][0]))
        return list(self._split(records))

    def _split(self, records: Sequence[Record]) -> Iterator[Part]:
        """Partitions without suspicion go first, so that they get on."""
        suspects: list[Record] = []
        if any(self._until.values()):
            suspects = [one for one in records if one.position.offset < self._until[partition_of(one.position)]]
        if not suspects:
            yield Part(How.TOGETHER, records)
            return
        searched = {partition_of(record.position) for record in suspects}
        free = [record for record in records if partition_of(record.position) not in searched]
        if free:
            yield Part(How.TOGETHER, free)
        for record in suspects:
            given_up = (partition_of(record.position), record.position.offset) in self._given_up
            yield Part(How.GIVEN_UP if given_up else How.ALONE, [record])
        behind = [
            record
            for record in records
            if (partition := partition_of(record.position)) in searched
            and record.position.offset >= self._until[partition]
        ]
        if behind:
            yield Part(How.TOGETHER, behind)

    async def touch(self, record: Record) -> None:
        """To be called before a record is processed alone."""
        await self._deaths.touching(partition_of(record.position), record.position.offset)

    async def survived(self, record: Record) -> None:
        """To be called once a record that was processed alone has its effect: what dies now did not die on it."""
        await self._deaths.touching(partition_of(record.position), None)

    async def over(self) -> None:
        """The assignment has ended in order. Given up in time, it is noted before the next one begins here."""
        partitions = set(self._begun)
        self._unended |= partitions
        self._begun.clear()
        self._until.clear()
        self._given_up.clear()
        if partitions:
            await self._deaths.over(partitions)
            self._unended -= partitions


def _partitions(records: Sequence[Record]) -> set[Partition]:
    return {record.position[:2] for record in records}
