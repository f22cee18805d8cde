"""`patient-upsert contracts`: the documents that others build against, and whether a change of them breaks anyone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from app.contracts import documents
from app.contracts.compatibility import Change, Role, changes
from app.contracts.schemas import REQUESTS, schemas

HELP: Final = """Write the schemas, the examples and the AsyncAPI document of requests and answers.

Example: patient-upsert contracts
"""
CHECK_HELP: Final = """Compare the files with the models, and the models with what was released: exit code 1 when a file
differs or a change is breaking.

Requests may only widen, answers may only narrow or gain fields. Example: patient-upsert contracts check
"""
RELEASED: Final = "v1"

Folder = Annotated[Path, typer.Option(help="Where they are")]
contracts = typer.Typer(invoke_without_command=True, help=HELP)


@contracts.callback()
def write(context: typer.Context, folder: Folder = Path("contracts")) -> None:
    """Write every file that differs."""
    if context.invoked_subcommand is not None:
        context.obj = folder
        return
    console = Console(highlight=False)
    current = documents()
    stale = _stale(folder, current)
    for name in stale:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(current[name], encoding="utf-8")
        console.print(f"{folder / name}: written", markup=False)
    console.print(f"{len(current)} documents, {len(stale)} written")


@contracts.command("check", help=CHECK_HELP)
def check(context: typer.Context) -> None:
    """Write nothing."""
    folder: Path = context.obj
    console = Console(highlight=False, soft_wrap=True, markup=False)
    current = documents()
    stale = _stale(folder, current)
    for name in stale:
        console.print(f"{folder / name}: differs; run: patient-upsert contracts")
    found = against_release(_released(folder / RELEASED), schemas())
    for name, change in found:
        console.print(f"{name}: {change}")
    breaking = sum(change.breaking for _, change in found)
    console.print(
        f"{len(current)} documents, {len(stale)} differ; since {RELEASED}: {len(found) - breaking} compatible changes, "
        f"{breaking} breaking"
    )
    raise typer.Exit(1 if stale or breaking else 0)


def against_release(released: dict[str, Any], current: dict[str, Any]) -> list[tuple[str, Change]]:
    """What has changed since the release, schema by schema."""
    found: list[tuple[str, Change]] = []
    for name in sorted(released.keys() | current.keys()):
        if name not in current:
            found.append((name, Change("", "schema", "is gone", breaking=True)))
        elif name not in released:
            found.append((name, Change("", "schema", "is new", breaking=False)))
        else:
            role = Role.REQUEST if name in REQUESTS else Role.ANSWER
            found += [(name, change) for change in changes(released[name], current[name], role)]
    return found


def _released(folder: Path) -> dict[str, Any]:
    released = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    if not released:
        raise typer.BadParameter(f"there are no schemas in {folder}")
    return released


def _stale(folder: Path, current: dict[str, str]) -> list[str]:
    return [name for name, text in current.items() if _read(folder / name) != text]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
