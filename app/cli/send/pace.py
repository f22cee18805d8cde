"""How fast requests go. No clock of its own."""

from __future__ import annotations


class Pace:
    """Spreads requests evenly: so many a second, and no more than a tenth of a second's worth to catch up."""

    def __init__(self, rate: float | None) -> None:
        self._between = 1 / rate if rate else 0.0
        self._next: float | None = None

    def due_in(self, now: float) -> float:
        """Seconds until the next request may go."""
        return 0.0 if self._next is None or not self._between else self._next - now

    def gone(self, now: float) -> None:
        """One went."""
        since = now if self._next is None else max(self._next, now - 0.1)
        self._next = since + self._between
