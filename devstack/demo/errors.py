"""Why the demo ends early."""

from __future__ import annotations


class DemoError(RuntimeError):
    """The demo cannot go on. The message says why; the last lines of a log may follow it."""
