"""Writes docs/errors.md from the codes: `python -m tests.errors`; `--check` only compares."""

from __future__ import annotations

import sys
from pathlib import Path

from app.contracts.catalogue import page

PAGE = Path(__file__).parents[1] / "docs" / "errors.md"


def main() -> int:
    """Exit code 1 when `--check` finds a difference."""
    if "--check" in sys.argv:
        return 0 if page() == PAGE.read_text(encoding="utf-8") else 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
