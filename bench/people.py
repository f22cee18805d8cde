"""Invented people: bodies of requests, and the rows that stand before a run. Number and version decide every field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_FIRST: Final = ("Ada", "Zoë", "Noor", "Søren", "Łucja", "Иван", "玲", "María", "Aoife", "Kwame", "Jürgen", "Ngozi")
_LAST: Final = (
    "Example",
    "Sample",
    "Muster",
    "Ejemplo",
    "Beispiel",
    "Пример",
    "範例",
    "Esempio",
    "Voorbeeld",
    "Invented",
)
_CITIES: Final = ("Springfield", "Musterstadt", "Exempleville", "Ejemplo del Río", "Sampleton", "Voorbeeldstad")
_COUNTRIES: Final = ("US", "DE", "FR", "ES", "GB", "NL")
_GENDERS: Final = ("female", "male", "other")
_MADE: Final = "2024-01-01 00:00:00+00"
_CHUNK: Final = 5_000
"""Rows that are written at once."""


def customer(number: int) -> str:
    """The id of a customer whose row stands before the run."""
    return f"cus_{number:08d}"


def person(number: int, version: int = 0) -> dict[str, Any]:
    """The fields of a REST body. Versions of a person differ in the address, odd ones also in the phone."""
    place = number % len(_CITIES)
    phone = version if version % 2 else 0
    return {
        "firstName": _FIRST[number % len(_FIRST)],
        "lastName": f"{_LAST[number % len(_LAST)]} {number}",
        "dateOfBirth": f"{1930 + number % 90}-{1 + number % 12:02d}-{1 + number % 28:02d}",
        "gender": _GENDERS[number % len(_GENDERS)],
        "phone": f"+1 202 {number % 1000:03d} {phone % 10_000:04d}",
        "email": f"person.{number}@clinic.example",
        "address": f"{1 + version} Invented Street",
        "address2": None if number % 3 else f"Floor {number % 40}",
        "city": _CITIES[place],
        "state": "OR" if place == 0 else "",
        "postalCode": f"{number % 100_000:05d}",
        "country": _COUNTRIES[place],
    }


def rows(count: int) -> Iterator[bytes]:
    """Rows of `customers` as Postgres's text format has them, in chunks: as the worker would have stored version 0."""
    for chunk in _chunks(count):
        lines = []
        for number in chunk:
            has = person(number)
            given = (
                customer(number), has["email"], has["firstName"], has["lastName"], has["phone"], f"pat_{number:032d}",
                has["firstName"], has["lastName"], has["dateOfBirth"], has["gender"], has["address"],
                has["address2"] or "\\N", has["city"], has["state"], has["postalCode"], has["country"],
            )  # fmt: skip
            lines.append("\t".join((*given, *[_MADE] * 5)))
        yield ("\n".join(lines) + "\n").encode()


COLUMNS: Final = (
    "customer", "email", "first_name", "last_name", "phone", "patient", "patient_first_name", "patient_last_name",
    "date_of_birth", "gender", "address", "address2", "city", "state", "postal_code", "country", "created_at",
    "updated_at", "effective_at", "patient_created_at", "patient_updated_at",
)  # fmt: skip


def _chunks(count: int) -> Iterator[range]:
    return (range(first, min(first + _CHUNK, count)) for first in range(0, count, _CHUNK))
