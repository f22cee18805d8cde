"""What came back, counted and compared. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from app.consumer.requester import Inbound
from devstack.demo.sample import Sample, Wanted

Place = tuple[int, int]
"""Partition and offset of a request."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The closing line in numbers."""

    requests: int
    answers: int
    """A repeated delivery of the same answer counts once, an answer to nothing counts too."""
    lost: int
    different: int

    @property
    def holds(self) -> bool:
        """Whether each request has one answer, and nothing else came."""
        return self.requests == self.answers and not self.lost and not self.different

    def __str__(self) -> str:
        return (
            f"demo: {self.requests} requests, {self.answers} answers, {self.lost} lost, "
            f"{self.different} answered twice differently"
        )


def tally(sent: Sequence[Place], answers: Iterable[Inbound]) -> Tally:
    """Count the answers to the requests at these places.

    Answered twice differently is a request with two answers that are not the same bytes, and an id with two such 200s,
    whichever requests they answer.
    """
    values: defaultdict[Place | None, set[bytes]] = defaultdict(set)
    final: defaultdict[tuple[str, str], set[bytes]] = defaultdict(set)
    blamed: set[tuple[str, str]] = set()
    for answer in answers:
        value = answer.value or b""
        values[answer.answers].add(value)
        if (identity := _identity(value)) is not None:
            final[identity].add(value)
            if len(values[answer.answers]) > 1:
                blamed.add(identity)  # counted with its place already
    twice = [place for place, given in values.items() if len(given) > 1]
    return Tally(
        requests=len(sent),
        answers=sum(map(len, values.values())),
        lost=sum(place not in values for place in sent),
        different=len(twice) + sum(len(given) > 1 for identity, given in final.items() if identity not in blamed),
    )


def _identity(value: bytes) -> tuple[str, str] | None:
    """Source and id of the request that this 200 answers; None for another answer."""
    envelope = read(value)
    return (envelope["request"]["source"], envelope["request"]["id"]) if envelope["status"] == 200 else None


def read(value: bytes | None) -> dict[str, Any]:
    """The envelope of an answer."""
    envelope: dict[str, Any] = orjson.loads(value or b"")
    return envelope


def got(envelope: dict[str, Any]) -> Wanted:
    """What an answer says, in the form of what is expected."""
    response = envelope["response"]
    codes = [response["error"]] if "error" in response else []
    codes += [f"{detail['field'] or '/'} {detail['code']}" for detail in response.get("details", [])]
    return Wanted(envelope["status"], envelope["outcome"], tuple(codes))


def by_place(answers: Iterable[Inbound]) -> dict[Place, Inbound]:
    """The first answer of each request: later ones are the same, or are counted as different."""
    first: dict[Place, Inbound] = {}
    for answer in answers:
        if answer.answers is not None:
            first.setdefault(answer.answers, answer)
    return first


def mismatches(samples: Sequence[Sample], sent: Sequence[Place], answers: Iterable[Inbound]) -> list[str]:
    """A line for each request whose answer is not the expected one. A lost one is counted elsewhere."""
    first = by_place(answers)
    found = [
        (sample, got(read(first[place].value))) for sample, place in zip(samples, sent, strict=True) if place in first
    ]
    return [
        f"{sample.label} ({sample.about}): wanted {sample.wanted}; got {was}"
        for sample, was in found
        if was != sample.wanted
    ]
