"""Values that can be told again wherever they turn up, whatever has been done to them on the way."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Final

BIRD: Final = "Zeisig"
"""In no text of ours, of a driver or of a server."""
BIRTHDAY: Final = "1931-03-07"
PHONE: Final = "5550417263"
_SPELLINGS: Final = (
    *(form for bird in (BIRD, BIRD.lower(), BIRD.upper()) for form in (bird.encode().hex(),)),
    BIRTHDAY,
    "1931, 3, 7",
    "19310307",
    PHONE,
)


def _in_base64(text: str) -> list[str]:
    """What of it is the same in base64 wherever it begins."""
    return [base64.b64encode(b"\0" * ahead + text.encode())[(0, 2, 3)[ahead] : -4].decode() for ahead in range(3)]


_ENCODED: Final = tuple(form for bird in (BIRD, BIRD.lower()) for form in _in_base64(bird + "0000"))


class Aviary:
    """Gives each place a canary of its own, and knows where one that is heard came from."""

    def __init__(self) -> None:
        self._places: list[str] = []

    def canary(self, place: str) -> str:
        """A new one, for this place."""
        self._places.append(place)
        return f"{BIRD}{len(self._places) - 1:04}"

    def heard(self, text: str) -> list[str]:
        """The places whose canaries are in this text."""
        numbers = {int(number) for number in re.findall(rf"{BIRD}(\d{{4}})", text, re.IGNORECASE)}
        places = {self._places[number] if number < len(self._places) else "elsewhere" for number in numbers}
        if not places and BIRD.lower() in text.lower():
            places.add("part of one")
        places |= {f"as {form}" for form in (*_SPELLINGS, *_ENCODED) if form.lower() in text.lower()}
        return sorted(places)


class Seen:
    """All that someone can see who may not see health data, by where it is to be seen."""

    def __init__(self, aviary: Aviary) -> None:
        self._aviary = aviary
        self.texts: dict[str, list[str]] = {}

    def add(self, where: str, *texts: str) -> None:
        self.texts.setdefault(where, []).extend(texts)

    def finds(self) -> set[tuple[str, str]]:
        """Where a canary was heard, and whose it is."""
        return {(where, place) for where, texts in self.texts.items() for text in texts for place in self._of(text)}

    def _of(self, text: str) -> Iterable[str]:
        return self._aviary.heard(text)
