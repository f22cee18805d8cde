"""The headers of a record, by lower-case name, as far as the worker reads them."""

from __future__ import annotations

from collections.abc import Mapping

from app.errors import Fault, FaultCode
from app.model import Headers

LETTER = "__dlq.errors."
PASSED_ON = ("traceparent", "tracestate", "correlation_id")
LONGEST_PASSED_ON = 1024
"""Bytes. Compressed, a request may bear megabytes here, and no topic would take the answer that bore them too."""

READ = {
    **{f"ce_{name}": f"/{name}" for name in ("specversion", "id", "source", "type", "time", "subject")},
    **{f"{LETTER}{name}": f"/{LETTER}{name}" for name in ("topic", "partition", "offset", "timestamp")},
    **{name: f"/{name}" for name in ("content-type", "idempotency-key", "source", "authorization", *PASSED_ON)},
}
"""The headers that are read, each with what a fault in it is called. Others may hold anything."""
_PASSED_ON = frozenset(PASSED_ON)
_LETTER = frozenset(name for name in READ if name.startswith(LETTER))


class HeaderMap:
    """Looks headers up whatever their case. `faults` tells which were repeated with different values."""

    __slots__ = ("_values", "faults")

    def __init__(self, headers: Headers) -> None:
        self._values: dict[str, bytes | None] = {}
        self.faults: list[Fault] = []
        values = self._values
        for name, value in headers:
            if name not in READ:  # nearly all are written in lower case
                name = name.lower()
                if name not in READ:
                    continue
            if name not in values:
                values[name] = value
            elif values[name] != value:
                fault = Fault(READ[name], FaultCode.HEADER_REPEATED)
                if fault not in self.faults:
                    self.faults.append(fault)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def raw(self, name: str) -> bytes | None:
        """The value as it came; None when the header is absent or null."""
        return self._values.get(name)

    def text(self, name: str) -> str | None:
        """The value as text; None when the header is absent or null. One that is not UTF-8 is noted as a fault."""
        value = self._values.get(name)
        if value is None:
            return None
        try:
            return value.decode()
        except UnicodeDecodeError:
            self.faults.append(Fault(READ[name], FaultCode.HEADER_NOT_UTF8))
            return None

    def passed_on(self) -> Headers:
        """The tracing headers, for the answer; those that are too long for it are left out."""
        return passed_on(self._values)

    @property
    def of_letter(self) -> bool:
        """Whether any of the headers is there that tell where a dead letter first lay."""
        return not _LETTER.isdisjoint(self._values)


def passed_on(values: Mapping[str, bytes | None]) -> Headers:
    """See `HeaderMap.passed_on`; of headers by lower-case name."""
    if _PASSED_ON.isdisjoint(values):
        return ()
    given = [(name, values.get(name)) for name in PASSED_ON]
    return tuple([(name, value) for name, value in given if value is not None and len(value) <= LONGEST_PASSED_ON])
