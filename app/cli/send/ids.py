"""Which request a line of a file is: the id that it is sent under, and how its answer is known again. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import Any, Final

from app.cli.send.source import Item
from app.envelope.json import canonical_bytes

SOURCE: Final = "patient-upsert/send"
_LONGEST_NAME: Final = 200
"""Bytes. An id may have 255, of which a line number and a hash want some."""
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Naming:
    """How the requests of one file are named.

    `name` is what their ids begin with; without one only ids that the file gives are sent. `trail` is what tells the
    answers to this very file from all others; it is None where nobody will look for them again.
    """

    name: str | None
    trail: str | None = None
    renamed: bool = False
    """`name` was given by hand, and holds for lines that a report took over too."""
    token: str | None = field(default=None, repr=False)
    """What each request is to show, unless it brings a header of its own."""

    def named(self, item: Item) -> Item:
        """The item as it is sent. Events and records say themselves who they are; they are given a token at most."""
        if item.request is None:
            return item
        headers: list[tuple[str, bytes | None]] = list(item.request.headers)
        if self.token is not None and not any(name.lower() == "authorization" for name, _ in headers):
            headers.append(("authorization", f"Bearer {self.token}".encode()))
        if item.body is None:
            return replace(item, request=replace(item.request, headers=tuple(headers)))
        if item.id is not None:  # counts for its customer only, as any key without a source
            headers.append(("idempotency-key", item.id.encode("utf-8", "surrogatepass")))
        elif self.name is not None:
            headers += [("idempotency-key", self._id(item).encode()), ("source", SOURCE.encode())]
        if self.trail is not None:
            headers.append(("correlation_id", f"{self.trail}/{item.line}".encode()))
        return replace(item, request=replace(item.request, headers=tuple(headers)))

    def _id(self, item: Item) -> str:
        """The same for the same content in the same place: sent again it is recognised, corrected it is new."""
        own = self.name or "", str(item.line)
        name, line = own if self.renamed or item.place is None else item.place
        return f"{id_part(name)}/{line[:20]}/{_digest(item.body)[:16]}"

    def line_of(self, correlation: str | None) -> int | None:
        """The line that an answer belongs to, by its correlation id; None when it is none of this file's."""
        if correlation is None or self.trail is None:
            return None
        trail, _, line = correlation.rpartition("/")
        return int(line) if trail == self.trail and line.isdecimal() else None


def id_part(name: str) -> str:
    """The name, or its hash where it could not be a part of an id."""
    encoded = name.encode("utf-8", "surrogateescape")
    if len(encoded) <= _LONGEST_NAME and not _CONTROL.search(name) and name.isprintable():
        return name
    return hashlib.sha256(encoded).hexdigest()[:32]


def _digest(body: dict[str, Any] | None) -> str:
    return hashlib.sha256(canonical_bytes(body)).hexdigest()
