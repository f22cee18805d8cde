"""The files that `send` reads: a line at a time, as often as needed, and never a whole file of lines at once."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol, TextIO

from app.cli.lines import NotJson, NotSendable, is_body, parse, request_of
from app.cli.send.csv_rows import CODES, PLACE, Columns, CsvOptions, Row, columns_of, rows, sniff
from app.cli.send.wrong import WrongUse
from app.consumer.requester import Outbound
from app.envelope.forms import MAX_VALUE
from app.errors import SENTENCES, FaultCode

Form = Literal["csv", "json"]
CSV_ENDINGS: Final = (".csv", ".tsv")


class Problem(NamedTuple):
    """Why a line cannot be sent at all."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True, repr=False)
class Item:
    """One request of a file, and the line on which it begins. No request: `problem` says why.

    `body` is the REST body, and None for events and records. `id` is the one that the file gives, `place` the file and
    line from which a report took it over.
    """

    line: int
    request: Outbound | None = None
    problem: Problem | None = None
    body: dict[str, Any] | None = None
    id: str | None = None
    place: tuple[str, str] | None = None

    def __repr__(self) -> str:
        return f"Item({self.line})"


class Reading(Protocol):
    """A form of file. Line numbers are those of the file; in a JSON array, requests are counted instead."""

    def items(self, lines: TextIO) -> Iterator[Item]:
        """What there is to send."""

    def count(self, lines: TextIO) -> int:
        """How many items there are. Raises WrongUse when the file cannot be one of this form."""

    def refused(self, lines: TextIO, codes: Mapping[int, str], name: str) -> Iterator[str]:
        """The text of a file that holds just these lines, to be corrected and sent again. `name` begins their ids."""


@dataclass(frozen=True, slots=True)
class CsvReading:
    """Comma separated values with a line of names."""

    name: str
    options: CsvOptions

    def items(self, lines: TextIO) -> Iterator[Item]:
        columns, _, found = self._open(lines)
        return (_bounded(self._item(columns, row)) for row in found) if columns else iter(())

    def count(self, lines: TextIO) -> int:
        return sum(1 for _ in self._open(lines)[2])

    def refused(self, lines: TextIO, codes: Mapping[int, str], name: str) -> Iterator[str]:
        columns, delimiter, found = self._open(lines)
        if columns is None:
            return
        added = (*PLACE, CODES)
        kept = [index for index, name in enumerate(columns.names) if name not in added]
        yield _csv_line([*added, *(columns.names[index] for index in kept)], delimiter)
        for row in found:
            if row.line not in codes:
                continue
            cells = row.cells or ()
            first = [*(columns.given_place(cells) or (name, str(row.line))), codes[row.line]]
            if row.cells is None:  # as it stands: only who wrote it can tell where its cells end
                yield _csv_line(first, delimiter).rstrip("\n") + delimiter + row.text.rstrip("\r\n") + "\n"
                continue
            own = [cells[index] for index in kept if index < len(cells)]
            yield _csv_line([*first, *own, *cells[len(columns.names) :]], delimiter)

    def _open(self, lines: TextIO) -> tuple[Columns | None, str, Iterator[Row]]:
        begin: list[str] = []
        for line in lines:
            begin.append(line)
            if line.strip():
                break
        delimiter = self.options.delimiter or sniff("".join(begin))
        found = rows(chain(begin, lines), delimiter)
        header = next(found, None)
        return (columns_of(self.name, header, self.options) if header else None), delimiter, found

    @staticmethod
    def _item(columns: Columns, row: Row) -> Item:
        if row.cells is None:
            return Item(row.line, problem=Problem("unreadable_row", "its quotes do not match"))
        if columns.too_many(row.cells):
            return Item(row.line, problem=Problem("too_many_cells", "has more cells than there are columns"))
        body = columns.body(row.cells)
        request = request_of(f"line {row.line}", body)
        return Item(row.line, request, None, body, columns.given_id(row.cells), columns.given_place(row.cells))


@dataclass(frozen=True, slots=True)
class JsonReading:
    """JSON Lines, or JSON with one object or an array of them."""

    name: str

    def items(self, lines: TextIO) -> Iterator[Item]:
        return (_bounded(self._item(number, text)) for number, text in self._texts(lines))

    def count(self, lines: TextIO) -> int:
        return sum(1 for _ in self._texts(lines))

    def refused(self, lines: TextIO, codes: Mapping[int, str], name: str) -> Iterator[str]:
        for number, text in self._texts(lines):
            if number in codes:
                yield text.rstrip("\r\n") + "\n"

    @staticmethod
    def _item(number: int, text: str) -> Item:
        try:
            item = parse(f"line {number}", text)
            request = request_of(f"line {number}", item)
        except NotSendable as error:
            return Item(number, problem=Problem("not_sendable", error.why))
        return Item(number, request, None, item if is_body(item) else None)

    def _texts(self, lines: TextIO) -> Iterator[tuple[int, str]]:
        """The JSON text of each request. Only what is not JSON Lines is read as a whole."""
        numbered = enumerate(lines, start=1)
        first = next(((number, line) for number, line in numbered if line.strip()), None)
        if first is None:
            return
        if self._is_a_line(first[1]):
            yield from ((number, line) for number, line in chain([first], numbered) if line.strip())
            return
        text = first[1] + lines.read()
        try:
            whole = parse(self.name, text)
        except NotJson:
            if text.lstrip().startswith("["):
                raise NotSendable(self.name, "begins as an array of JSON, and is none") from None
            following = enumerate(text.split("\n"), start=first[0])
            yield from ((number, line) for number, line in following if line.strip())
            return
        for number, item in enumerate(whole if isinstance(whole, list) else [whole], start=1):
            yield number, json.dumps(item)

    @staticmethod
    def _is_a_line(line: str) -> bool:
        try:
            return not isinstance(parse("", line), list)
        except NotJson:
            return False
        except NotSendable:
            return True


def _bounded(item: Item) -> Item:
    """The topic refuses what is larger than the worker takes, and would refuse its neighbours with it."""
    if item.request is not None and len(item.request.value or b"") > MAX_VALUE:
        return Item(item.line, problem=Problem(FaultCode.TOO_LARGE.value, SENTENCES[FaultCode.TOO_LARGE]))
    return item


def _csv_line(cells: list[str], delimiter: str) -> str:
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter, lineterminator="\n").writerow(cells)
    return written.getvalue()


@dataclass(frozen=True, slots=True)
class Source:
    """A file to send, or standard input, which can be read once only."""

    name: str
    path: Path | None
    reading: Reading

    @property
    def is_csv(self) -> bool:
        """Whether it is read as CSV."""
        return isinstance(self.reading, CsvReading)

    @contextmanager
    def opened(self) -> Iterator[TextIO]:
        """Its text. Raises WrongUse when it cannot be read, and NotSendable when it turns out not to be UTF-8."""
        newline = "" if self.is_csv else "\n"
        try:
            if self.name == "-":
                yield io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline=newline)
                return
            with Path(self.name).open(encoding="utf-8-sig", newline=newline) as lines:
                yield lines
        except UnicodeDecodeError:
            raise WrongUse(f"{self.name}: must be in UTF-8; save it so, in Excel as CSV UTF-8") from None
        except OSError as error:
            raise WrongUse(f"{self.name}: cannot be read: {error.strerror}") from None

    def items(self) -> Iterator[Item]:
        """What there is to send, read as it is asked for."""
        with self.opened() as lines:
            yield from self.reading.items(lines)

    def refused(self, codes: Mapping[int, str], name: str) -> Iterator[str]:
        """The text of a file with just these lines, each with its codes where the form has room for them."""
        with self.opened() as lines:
            yield from self.reading.refused(lines, codes, name)

    def count(self) -> int | None:
        """How many items there are; None where that would use them up."""
        if self.path is None:
            return None
        with self.opened() as lines:
            return self.reading.count(lines)

    def digest(self) -> str:
        """The same as long as the file and the way of reading it are the same."""
        assert self.path is not None
        with self.path.open("rb") as content:
            read = hashlib.file_digest(content, "sha256")
        read.update(repr(self.reading).encode())
        return read.hexdigest()


def open_source(name: str, form: Form | None, options: CsvOptions) -> Source:
    """The file of this name; `-` is standard input. Pipes and devices are read once, as that is.

    Raises:
        WrongUse: there is no such file.
    """
    path = Path(name)
    if name != "-" and (not path.exists() or path.is_dir()):
        raise WrongUse(f"{name}: must be a file that can be read")
    is_csv = form == "csv" or (form is None and path.suffix.lower() in CSV_ENDINGS)
    reading = CsvReading(path.name, options) if is_csv else JsonReading(name)
    return Source(name, path if name != "-" and path.is_file() else None, reading)
