"""The envelope room: which form a record has, and which request it is (id, source, customer). Pure."""

from app.envelope.forms import LETTER_PATTERNS, TIME_PATTERN, is_identifier, open_envelope
from app.envelope.identity import Identity, identify

__all__ = ["LETTER_PATTERNS", "TIME_PATTERN", "Identity", "identify", "is_identifier", "open_envelope"]
