"""Why the bench ends early."""

from __future__ import annotations


class BenchError(RuntimeError):
    """The bench cannot go on, or what it measured did not do the work. One line; the end of a log may follow it."""
