"""The envelope room: which form a record has, and which request it is (id, source, customer). Pure."""

from app.envelope.forms import (
    LETTER_PATTERNS,
    MAX_RECORD,
    MAX_VALUE,
    TIME_PATTERN,
    is_identifier,
    open_envelope,
    read_time,
)
from app.envelope.headers import LONGEST_PASSED_ON, READ
from app.envelope.identity import Identity, identify

__all__ = [
    "LETTER_PATTERNS",
    "LONGEST_PASSED_ON",
    "MAX_RECORD",
    "MAX_VALUE",
    "READ",
    "TIME_PATTERN",
    "Identity",
    "identify",
    "is_identifier",
    "open_envelope",
    "read_time",
]
