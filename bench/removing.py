"""The worker as users run it, but that it looks for old answers all the time and not every ten minutes."""

from __future__ import annotations

from unittest import mock

import typer

from app import housekeeping
from app.cli.run import run

if __name__ == "__main__":
    with mock.patch.object(housekeeping, "EVERY_SECONDS", 0.1):
        typer.run(run)
