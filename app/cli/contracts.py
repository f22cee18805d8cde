"""`patient-upsert contracts`: the documents that others build against."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from app.contracts import documents

HELP: Final = """Write the JSON Schemas of requests and answers, with an example each.

Example: patient-upsert contracts --check
"""


def contracts(
    folder: Annotated[Path, typer.Argument(help="Where to write them")] = Path("contracts"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit with 1 where a file differs")] = False,
) -> None:
    """The command."""
    console = Console(highlight=False)
    current = documents()
    stale = {name: text for name, text in current.items() if _read(folder / name) != text}
    for name, text in stale.items():
        if not check:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        console.print(f"{folder / name}: {'differs' if check else 'written'}", markup=False)
    console.print(f"{len(current)} documents, {len(stale)} {'differ' if check else 'written'}")
    raise typer.Exit(1 if check and stale else 0)


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
