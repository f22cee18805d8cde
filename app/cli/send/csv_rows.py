"""CSV: its columns, and the REST body that a row stands for. Pure."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.cli.send.wrong import WrongUse
from app.request import RequestData

DELIMITERS: Final = (",", ";", "\t")
FIELDS: Final = tuple(str(field.alias) for field in RequestData.model_fields.values())
REQUIRED: Final = tuple(str(field.alias) for field in RequestData.model_fields.values() if field.is_required())
NAMING: Final = ("customer", "patient")
"""One of these must have a column; an empty cell there names nobody."""
CLEARED: Final = frozenset(FIELDS) - frozenset(REQUIRED) - frozenset(NAMING)
"""What `--empty clear` clears where a cell is empty."""
PLACE: Final = ("_file", "_line")
CODES: Final = "_codes"
"""The columns that a report adds in front: where the row came from, and why it was refused."""


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """How CSV is read. `mapping` gives a field by the name of its column."""

    mapping: Mapping[str, str]
    delimiter: str | None = None
    empty_clears: bool = False
    id_column: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Row:
    """A row as it was read: the line on which it begins, its cells, and its text. No cells: it cannot be read."""

    line: int
    cells: tuple[str, ...] | None
    text: str


@dataclass(frozen=True, slots=True, repr=False)
class Columns:
    """What the columns of one file mean: for each field its index, and those of the id and of the place, if any."""

    names: tuple[str, ...]
    fields: tuple[tuple[int, str], ...]
    id: int | None
    place: tuple[int, int] | None
    empty_clears: bool

    def body(self, cells: Sequence[str]) -> dict[str, str]:
        """The REST body. An empty cell is sent where the field is required; else the field is left out."""
        body = {}
        for index, name in self.fields:
            cell = cells[index] if index < len(cells) else ""
            if cell.strip() or name in REQUIRED:
                body[name] = cell
            elif self.empty_clears and name in CLEARED:
                body[name] = ""
        return body

    def given_id(self, cells: Sequence[str]) -> str | None:
        """The id that the row brings, if it does."""
        return self._cell(cells, self.id)

    def given_place(self, cells: Sequence[str]) -> tuple[str, str] | None:
        """File and line of a row that a report took over."""
        file, line = (self._cell(cells, index) for index in self.place or (None, None))
        return (file, line) if file and line and line.isdecimal() and line.isascii() else None

    def too_many(self, cells: Sequence[str]) -> bool:
        """Whether there is something in a cell that has no column."""
        return any(cell.strip() for cell in cells[len(self.names) :])

    @staticmethod
    def _cell(cells: Sequence[str], index: int | None) -> str | None:
        return cells[index].strip() or None if index is not None and index < len(cells) else None


def rows(lines: Iterable[str], delimiter: str) -> Iterator[Row]:
    """The rows that hold anything, the header among them. Lines must come with their ends, as `newline=""` gives them.

    One that cannot be read, for its quotes, ends where that shows; reading goes on behind it.
    """
    taken: list[str] = []

    def kept() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    reader = csv.reader(kept(), delimiter=delimiter, strict=True)
    while True:
        begin = reader.line_num + 1
        taken.clear()
        try:
            cells = tuple(next(reader))
        except StopIteration:
            return
        except csv.Error:
            yield Row(begin, None, "".join(taken))
            continue
        if any(cell.strip() for cell in cells):
            yield Row(begin, cells, "".join(taken))


def sniff(header: str) -> str:
    """The delimiter that the header has most of, outside quotes; a comma where it has none."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(DELIMITERS, key=bare.count)


def columns_of(name: str, header: Row, options: CsvOptions) -> Columns:
    """What the columns of this file mean.

    Raises:
        WrongUse: one means nothing, two mean the same, or one is missing; the text names them.
    """
    if header.cells is None:
        raise WrongUse(f"{name}: the first line must name the columns")
    names = [cell.strip() for cell in header.cells]
    while names and not names[-1]:
        names.pop()
    meanings = {column: _meaning(column, options) for column in names}
    _all_known(name, names, meanings)
    fields = tuple((index, field) for index, column in enumerate(names) if (field := meanings[column]))
    _each_once(name, [field for _, field in fields])
    missing = [field for field in REQUIRED if field not in meanings.values()]
    if not any(field in meanings.values() for field in NAMING):
        missing.insert(0, NAMING[0])
    absent = [column for column in (*options.mapping, options.id_column) if column and column not in meanings]
    if absent:
        raise WrongUse(f"{name}: has no column {_listed(absent)}")
    if missing:
        raise WrongUse(f'{name}: has no column for {_listed(missing)}; name it so, or --map "COLUMN={missing[0]}"')
    return Columns(
        names=tuple(names),
        fields=fields,
        id=names.index(options.id_column) if options.id_column else None,
        place=(names.index(PLACE[0]), names.index(PLACE[1])) if set(PLACE) <= set(names) else None,
        empty_clears=options.empty_clears,
    )


def _meaning(column: str, options: CsvOptions) -> str | None:
    """The field of a column; "" for one that is none on purpose, None for one that nobody knows."""
    if column in options.mapping:
        return options.mapping[column]
    if column.startswith("_") or column == options.id_column:
        return ""
    return next((field for field in FIELDS if field.casefold() == column.casefold()), None)


def _all_known(name: str, names: Sequence[str], meanings: Mapping[str, str | None]) -> None:
    unknown = [column or "(without a name)" for column in names if meanings[column] is None]
    if unknown:
        raise WrongUse(
            f"{name}: no field is called {_listed(unknown)}; "
            f'say which it is, as --map "{unknown[0]}=firstName", or begin its name with _ to leave it out'
        )


def _each_once(name: str, fields: Sequence[str]) -> None:
    twice = [field for field, count in Counter(fields).items() if count > 1]
    if twice:
        raise WrongUse(f"{name}: more than one column is {_listed(twice)}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def parse_mapping(given: Sequence[str]) -> dict[str, str]:
    """`--map COLUMN=FIELD`, each. Raises WrongUse."""
    mapping = {}
    for text in given:
        column, equals, field = (part.strip() for part in text.rpartition("="))
        known = next((name for name in FIELDS if name.casefold() == field.casefold()), None)
        if not column or not equals or known is None:
            raise WrongUse(f"--map {text}: must be COLUMN=FIELD, a field being one of {_listed(FIELDS)}")
        mapping[column] = known
    return mapping


def parse_delimiter(given: str | None) -> str | None:
    """`--delimiter`: one character, or the word tab. Raises WrongUse."""
    if given is None:
        return None
    delimiter = {"tab": "\t", "\\t": "\t"}.get(given, given)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise WrongUse("--delimiter: must be one character, or tab")
    return delimiter
