"""What is asked: the same records for every contestant, and how many answers of each kind they must get."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from app.model import EVENT_TYPE
from bench.people import customer, person

SOURCE: Final = "/bench"
_NEWEST: Final = 1000
"""A request is sent again while it is among so many of the newest."""


class Ask(NamedTuple):
    """One record to be published."""

    key: bytes
    value: bytes
    headers: list[tuple[str, str | bytes | None]]


@dataclass(frozen=True, slots=True)
class Load:
    """Records of one kind. `make` gives them anew, always the same; `wrong` of them must get a 400, the rest a 200."""

    name: str
    count: int
    wrong: int
    make: Callable[[], Iterator[Ask]]


class _Maker:
    """Makes the records of one load; the seed decides them all."""

    def __init__(self, seed: str, customers: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - not a secret
        self._seed, self._customers = seed.replace(" ", "-"), customers  # it is part of ids
        self._made = 0

    def new(self) -> Ask:
        """A request for a customer who is not there yet."""
        self._made += 1
        return self._ask(f"new_{self._seed}_{self._made}", person(self._made))

    def update(self) -> Ask:
        """One that changes what stands; each differs from all before it."""
        self._made += 1
        number = self.rng.randrange(self._customers)
        return self._ask(customer(number), person(number, self._made))

    def unchanged(self) -> Ask:
        """One that says what stands already."""
        number = self.rng.randrange(self._customers)
        return self._ask(customer(number), person(number))

    def hot(self) -> Ask:
        """One that changes the one customer."""
        self._made += 1
        return self._ask(customer(0), person(0, self._made))

    def invalid(self) -> Ask:
        """One of four that must be refused."""
        self._made += 1
        body = person(self._made)
        match self._made % 4:
            case 0:
                del body["lastName"]
            case 1:
                body["dateOfBirth"] = "2999-01-01"
            case 2:
                body["email"] = "no address"
            case _:
                body["phone"] = "1"
        return self._ask(customer(self.rng.randrange(self._customers)), body)

    def poison(self) -> Ask:
        """One of twelve that no client of good will sends, of a size like the others' or a few times that."""
        self._made += 1
        ask = self._ask(customer(self.rng.randrange(self._customers)), person(self._made))
        match self._made % 12:
            case 0:
                return ask._replace(value=b"\xff" + self.rng.randbytes(len(ask.value)))
            case 1:
                return ask._replace(value=ask.value[: len(ask.value) // 2])
            case 2:
                return ask._replace(value=b"\0\0\0\0\1" + ask.value[:-1])
            case 3:
                return ask._replace(value=b'{"gender":' * 300)
            case 4:
                return ask._replace(value=orjson.dumps({f"k{number}": number for number in range(300)}))
            case 5:
                return ask._replace(value=b'{"phone":' + b"9" * 3_000 + b"}")
            case 6:
                return ask._replace(value=b'{"city":"' + b"\\ud800" * 300 + b'"}')
            case 7:
                return ask._replace(value=orjson.dumps({**orjson.loads(ask.value), "city": "e\u0301" * 1_000}))
            case 8:
                return ask._replace(value=b"[" + b"{}," * 700 + b"{}]")
            case 9:
                return ask._replace(value=orjson.dumps({**orjson.loads(ask.value), "email": "a." * 1_000 + "@b"}))
            case 10:
                return ask._replace(headers=[*ask.headers, ("CE_ID", b"another")])
            case _:
                return ask._replace(headers=[*ask.headers[:1], ("ce_id", b"\xff" * 300), *ask.headers[2:]])

    def _ask(self, name: str, body: dict[str, Any]) -> Ask:
        id = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        headers: list[tuple[str, str | bytes | None]] = [
            ("ce_specversion", b"1.0"),
            ("ce_id", id.encode()),
            ("ce_source", SOURCE.encode()),
            ("ce_type", EVENT_TYPE.encode()),
            ("content-type", b"application/json"),
        ]
        return Ask(name.encode(), orjson.dumps({"customer": name, **body}), headers)


def uniform(name: str, count: int, *, customers: int, seed: str) -> Load:
    """A load of one kind: `new`, `update`, `unchanged`, `hot`, `invalid` or `poison`."""

    def make() -> Iterator[Ask]:
        one = getattr(_Maker(seed, customers), name)
        return (one() for _ in range(count))

    return Load(name, count, count if name in {"invalid", "poison"} else 0, make)


def mix(count: int, *, customers: int, seed: str, name: str = "mix") -> Load:
    """60 % updates, 30 % new, 5 % sent again under their id, 5 % invalid, in an order that the seed decides."""
    again, wrong, new = (round(count * share) for share in (0.05, 0.05, 0.3))
    kinds = ["again"] * again + ["invalid"] * wrong + ["new"] * new
    kinds += ["update"] * (count - len(kinds))

    def make() -> Iterator[Ask]:
        maker = _Maker(seed, customers)
        order = kinds.copy()
        maker.rng.shuffle(order)
        newest: list[Ask] = []
        for number, kind in enumerate(order):
            if kind == "again" and newest:
                yield newest[maker.rng.randrange(len(newest))]
                continue
            # Nothing stands before the first that could be sent again.
            ask: Ask = maker.update() if kind == "again" else getattr(maker, kind)()
            if kind != "invalid":
                if len(newest) < _NEWEST:
                    newest.append(ask)
                else:
                    newest[number % _NEWEST] = ask
            yield ask

    return Load(name, count, wrong, make)
