"""Judges a recorded history by the rules alone: it knows what was asked and what is there, not how the worker decides.

Pure. Nothing of `app/` is used, so that a fault of the worker cannot hide in its judge.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, TypeVar

T = TypeVar("T")
K = TypeVar("K")

Place = tuple[int, int]
Row = Mapping[str, Any]
Headers = Sequence[tuple[str, bytes | None]]

LETTER = "__dlq.errors."
KEPT_WHEN_ABSENT = ("email", "gender", "address2")
SHOWN = (
    *("email", "phone", "firstName", "lastName", "dateOfBirth", "gender"),
    *("address", "address2", "city", "state", "postalCode", "country"),
)


class Broken(StrEnum):
    """What can be wrong with a history."""

    LOST = "lost"
    DOUBLED = "double effect"
    ANSWER = "broken answer"
    ORDER = "order violated"
    UNASKED = "answer without request"
    WRONG = "wrong answer"
    GHOST = "ghost row"
    LETTER = "dead letter without cause"
    LEAK = "value in a log"
    REPEATED = "repeated answer"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that is wrong, and where; it shows no value of a request."""

    broken: Broken
    about: str


@dataclass(frozen=True, slots=True)
class Requested:
    """A request record that Kafka has acknowledged, with what its producer meant by it.

    `data` is the body, in the form in which the answer shows it. `meant`: `failed` is a fault of ours that gets 500.
    `expired`: it left the topic and may have done so unread.
    """

    place: Place
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    source: str | None
    id: str | None
    customer: str | None
    data: Mapping[str, Any]
    meant: Literal["applied", "refused", "failed"] = "applied"
    event_time: int | None = None
    expired: bool = False

    @property
    def identity(self) -> tuple[str | None, str | None]:
        return self.source, self.id

    @property
    def content(self) -> tuple[str | None, str]:
        return self.customer, json.dumps(self.data, sort_keys=True)

    @property
    def effective(self) -> int:
        return self.timestamp if self.event_time is None else min(self.event_time, self.timestamp)


@dataclass(frozen=True)
class Published:
    """An answer or a dead letter as it lies in its topic."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @cached_property
    def envelope(self) -> dict[str, Any]:
        return dict(json.loads(self.value or b"{}"))

    @property
    def status(self) -> int:
        return int(self.envelope.get("status", 0))

    def header(self, name: str) -> str | None:
        return next((value.decode() for key, value in self.headers if key == name and value is not None), None)

    def place(self, prefix: str, topic: str) -> Place | None:
        """The place in `topic` that the headers of this prefix name."""
        partition, offset = self.header(f"{prefix}partition"), self.header(f"{prefix}offset")
        if self.header(f"{prefix}topic") != topic or partition is None or offset is None:
            return None
        return int(partition), int(offset)

    @property
    def at(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


def patients_in(customers: Iterable[Row]) -> list[Row]:
    """The patients in these rows of `customers`, their columns called as those of the answer's patient."""
    own = ("created_at", "updated_at", "deleted_at", "first_name", "last_name")
    return [
        {**row, **{name: row[f"patient_{name}"] for name in own}} for row in customers if row["patient"] is not None
    ]


@dataclass(frozen=True)
class History:
    """All that was asked and all that is there afterwards. `repeats`: whether answers may have been repeated."""

    topic: str
    requests: Sequence[Requested]
    answers: Sequence[Published]
    letters: Sequence[Published]
    customers: Sequence[Row]
    patients: Sequence[Row]
    stored: Sequence[Row]
    log: Sequence[str]
    canaries: Sequence[str]
    repeats: bool = True

    @cached_property
    def at(self) -> dict[Place, Requested]:
        return {request.place: request for request in self.requests}

    @cached_property
    def answered(self) -> dict[Place, list[Published]]:
        """The answers by the place of their request, in the order of their publication."""
        found: dict[Place, list[Published]] = defaultdict(list)
        for answer in sorted(self.answers, key=lambda answer: (answer.timestamp, answer.topic, answer.offset)):
            if (place := answer.place("request-", self.topic)) in self.at:
                found[place].append(answer)
        return found

    @cached_property
    def groups(self) -> dict[tuple[str | None, str | None], list[Requested]]:
        """The requests by source and id; those without stand alone."""
        found: dict[tuple[str | None, str | None], list[Requested]] = defaultdict(list)
        for request in self.requests:
            whole = request.source is not None and request.id is not None
            found[request.identity if whole else (None, str(request.place))].append(request)
        return found

    @property
    def repeated(self) -> int:
        """How many answers were published again."""
        return sum(len(found) - 1 for found in self.answered.values())


def check(history: History) -> list[Verdict]:
    """All that is wrong with this history."""
    rules = (_lost, _broken_answers, _unasked, _doubled, _order, _ghosts, _letters, _leaks, _repeats)
    return [verdict for rule in rules for verdict in rule(history)]


def tally(verdicts: Iterable[Verdict]) -> Counter[Broken]:
    """How often each rule is broken."""
    return Counter(verdict.broken for verdict in verdicts)


def _lost(history: History) -> Iterator[Verdict]:
    """Every record has an answer, and of the valid ones of an id one has its effect."""
    for request in history.requests:
        if not request.expired and not history.answered.get(request.place):
            yield Verdict(Broken.LOST, f"{request.place} has no answer")
    effects = {(row["source"], row["id"]) for row in history.stored}
    for identity, group in history.groups.items():
        valid = [request for request in group if request.meant == "applied" and not request.expired]
        statuses = {answer.status for request in valid for answer in history.answered.get(request.place, ())}
        if valid and identity not in effects:
            yield Verdict(Broken.LOST, f"{valid[0].place} has no effect")
        elif valid and statuses and 200 not in statuses:
            yield Verdict(Broken.LOST, f"{valid[0].place} never got its 200")


def _broken_answers(history: History) -> Iterator[Verdict]:
    """Of an id and a content: after a 200, the same bytes only, under the same event id."""
    for group in history.groups.values():
        for same in _by(group, lambda request: request.content).values():
            answers = [answer for request in same for answer in history.answered.get(request.place, ())]
            answers.sort(key=lambda answer: answer.timestamp)
            first = next((answer for answer in answers if answer.status == 200), None)
            if first is None:
                continue
            for answer in answers:
                same_answer = answer.value == first.value and answer.header("ce_id") == first.header("ce_id")
                if not same_answer and (answer.status == 200 or answer.timestamp > first.timestamp):
                    yield Verdict(Broken.ANSWER, f"{answer.at} differs from {first.at}")


def _unasked(history: History) -> Iterator[Verdict]:
    """Every answer names a record that was sent, whose it is, and says what its producer may expect."""
    for answer in history.answers:
        request = history.at.get(answer.place("request-", history.topic) or (-1, -1))
        if request is None:
            yield Verdict(Broken.UNASKED, f"{answer.at} answers nothing")
            continue
        asked = answer.envelope.get("request", {})
        named = asked.get("source"), asked.get("id"), asked.get("customer")
        wanted = request.source, request.id, request.customer
        if any(found not in (expected, None) for found, expected in zip(named, wanted, strict=True)):
            yield Verdict(Broken.UNASKED, f"{answer.at} is not about {request.place}")
        if answer.status == 200 and (request.meant != "applied" or named != wanted or not _shows(answer, request)):
            yield Verdict(Broken.WRONG, f"{answer.at} should not be a 200, or not this one")


def _shows(answer: Published, request: Requested) -> bool:
    """Whether the body is this request's; one that was superseded shows another."""
    if answer.envelope.get("outcome") == "superseded":
        return True
    body = answer.envelope["response"]
    return all(body[name] == value for name, value in request.data.items() if name in SHOWN)


def _doubled(history: History) -> Iterator[Verdict]:
    """One stored answer an id, one profile and one creation a customer, and no more changes than effects."""
    for identity, count in Counter((row["source"], row["id"]) for row in history.stored).items():
        if count > 1:
            yield Verdict(Broken.DOUBLED, f"{count} effects under one id of {identity[0]}")
    for customer, count in Counter(row["customer"] for row in history.patients).items():
        if count > 1:
            yield Verdict(Broken.DOUBLED, f"{count} profiles of {customer}")
    effects = _by(history.stored, lambda row: row["customer"])
    for customer, rows in effects.items():
        if sum(row["outcome"] == "created" for row in rows) > 1:
            yield Verdict(Broken.DOUBLED, f"{customer} was created twice")
    for row in (*history.customers, *history.patients):
        if row["version"] > len(effects.get(row["customer"], ())) > 0:
            yield Verdict(Broken.DOUBLED, f"{row['customer']} was changed more often than asked")


def _order(history: History) -> Iterator[Verdict]:
    """The effects, in the order in which `updated_at` puts them, are a fold in the order of each partition."""
    profiles = {row["customer"]: row for row in history.patients}
    contacts = {row["customer"]: row for row in history.customers}
    for customer, rows in _by(history.stored, lambda row: row["customer"]).items():
        effects = sorted((_Effect.of(row, history) for row in rows), key=lambda effect: effect.rank)
        if any(effect.request is None for effect in effects):
            continue  # a ghost
        yield from _partition_order(customer, effects, history)
        state = _State()
        for effect in effects:
            if (state := state.after(effect)).wrong:
                yield Verdict(Broken.ORDER, f"{customer}: {effect.place} is not the fold up to it")
                break
        else:
            if not state.is_row(contacts.get(customer), profiles.get(customer)):
                yield Verdict(Broken.ORDER, f"{customer}: what stands is not the fold of its requests")


@dataclass(frozen=True)
class _Effect:
    """A stored answer, with the request from which it came."""

    place: Place
    outcome: str
    body: Row
    request: Requested | None

    @classmethod
    def of(cls, row: Row, history: History) -> _Effect:
        place = row["record_partition"], row["record_offset"]
        return cls(place, row["outcome"], json.loads(row["answer"])["response"], history.at.get(place))

    @property
    def changes(self) -> bool:
        return self.outcome in ("created", "updated")

    @property
    def rank(self) -> tuple[Any, ...]:
        """What changes nothing comes after the change whose result it shows.

        In which order those came that change nothing is not to be seen, so they get the one that works if any does.
        """
        effective = self.request.effective if self.request else 0
        return self.body["updated_at"], not self.changes, self.outcome == "superseded", effective, self.place


def _partition_order(customer: str, effects: Sequence[_Effect], history: History) -> Iterator[Verdict]:
    for numbered in _by(effects, lambda effect: effect.place[0]).values():
        numbered = sorted(numbered, key=lambda effect: effect.place)
        for before, after in itertools.pairwise(numbered):
            older, newer = before.body["updated_at"], after.body["updated_at"]
            if newer < older or (newer == older and after.changes):
                yield Verdict(Broken.ORDER, f"{customer}: {after.place} took effect before {before.place}")
    for effect in effects:
        assert effect.request is not None
        for other in history.groups[effect.request.identity]:
            earlier = other.place[0] == effect.place[0] and other.place[1] < effect.place[1]
            if earlier and other.meant == "applied" and not other.expired:
                yield Verdict(Broken.ORDER, f"{customer}: {effect.place} took the effect of {other.place}")


@dataclass(frozen=True)
class _State:
    """What stands of one customer, as the rules fold it."""

    body: Mapping[str, Any] = field(default_factory=dict)
    effective: int = 0
    updated: str = ""
    wrong: bool = False

    def after(self, effect: _Effect) -> _State:
        """The state once this effect is applied; `wrong` when its answer tells otherwise."""
        request = effect.request
        assert request is not None
        if self.body and request.event_time is not None and request.effective < self.effective:
            outcome, body = "superseded", dict(self.body)
        else:
            body = {name: self.body.get(name) for name in KEPT_WHEN_ABSENT}
            body |= {name: value for name, value in request.data.items() if name in SHOWN}
            outcome = "created" if not self.body else "unchanged" if body == self.body else "updated"
        shown = {name: effect.body[name] for name in SHOWN}
        wrong = outcome != effect.outcome or shown != body
        effective = self.effective if outcome == "superseded" else max(self.effective, request.effective)
        return _State(body, effective, effect.body["updated_at"], wrong)

    def is_row(self, customer: Row | None, patient: Row | None) -> bool:
        """Whether the rows hold this state and were changed by nothing after it."""
        if customer is None or patient is None:
            return False
        found = {
            "email": customer["email"],
            "phone": customer["phone"],
            "firstName": patient["first_name"],
            "lastName": patient["last_name"],
            "dateOfBirth": patient["date_of_birth"].isoformat(),
            "gender": patient["gender"],
            "address": patient["address"],
            "address2": patient["address2"],
            "city": patient["city"],
            "state": patient["state"],
            "postalCode": patient["postal_code"],
            "country": patient["country"],
        }
        updated = max(customer["updated_at"], patient["updated_at"])
        return found == self.body and updated == datetime.fromisoformat(self.updated)


def _ghosts(history: History) -> Iterator[Verdict]:
    """Every row comes from a valid request."""
    wanted = {request.customer for request in history.requests if request.meant == "applied"}
    for table, rows in (("customers", history.customers), ("patients", history.patients)):
        for row in rows:
            if row["customer"] not in wanted:
                yield Verdict(Broken.GHOST, f"{table}: nobody asked for {row['customer']}")
    for row in history.stored:
        request = history.at.get((row["record_partition"], row["record_offset"]))
        asked = request is not None and row["record_topic"] == history.topic and request.meant == "applied"
        if request is None or not asked or request.identity != (row["source"], row["id"]):
            yield Verdict(
                Broken.GHOST, f"requests: {row['record_partition']}/{row['record_offset']} did not ask for it"
            )


def _letters(history: History) -> Iterator[Verdict]:
    """A dead letter is the untouched record of a fault of ours, and goes with a 500."""
    failed = {place for place, found in history.answered.items() if any(answer.status == 500 for answer in found)}
    lettered = set()
    for letter in history.letters:
        place = letter.place(LETTER, history.topic)
        request = history.at.get(place or (-1, -1))
        if request is None or request.meant != "failed" or place not in failed:
            yield Verdict(Broken.LETTER, f"{letter.at} has no cause")
            continue
        lettered.add(place)
        headers = [header for header in letter.headers if not header[0].startswith(LETTER)]
        sent = [header for header in request.headers if header[0].lower() != "authorization"]
        if (letter.key, letter.value, headers) != (request.key, request.value, sent):
            yield Verdict(Broken.LETTER, f"{letter.at} is not the record at {place}")
    for place in sorted(failed - lettered):
        yield Verdict(Broken.LETTER, f"the 500 of {place} has no dead letter of its own")


def _leaks(history: History) -> Iterator[Verdict]:
    """No value of a request shows in a log line or in a header of an answer."""
    for number, line in enumerate(history.log, 1):
        if any(canary in line for canary in history.canaries):
            yield Verdict(Broken.LEAK, f"line {number} of the log")
    for answer in history.answers:
        text = b" ".join(value or b"" for _, value in answer.headers)
        if any(canary.encode() in text for canary in history.canaries):
            yield Verdict(Broken.LEAK, f"a header of {answer.at}")


def _repeats(history: History) -> Iterator[Verdict]:
    if history.repeats:
        return
    for place, found in history.answered.items():
        if len(found) > 1:
            yield Verdict(Broken.REPEATED, f"{place} was answered {len(found)} times")


def _by(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    found: dict[K, list[T]] = defaultdict(list)
    for item in items:
        found[key(item)].append(item)
    return found
