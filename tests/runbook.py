"""The commands of docs/runbook.md: what stands in its `sh` blocks, and when they can be run; and its PromQL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

RUNBOOK = Path(__file__).parents[1] / "docs" / "runbook.md"
SHELL = "Your shell"
"""The heading whose block sets the variables that all others use."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command, the heading over it, and what its block says of who can run it: nothing, or the word after `sh`."""

    heading: str
    when: str
    text: str


def runbook() -> list[Command]:
    """All commands, in order; a line that ends in a backslash goes on in the next."""
    found = []
    parts = re.split(r"^#{2,4} (.+)$", RUNBOOK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        for when, block in re.findall(r"^```sh ?(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            lines = re.sub(r"\\\n\s*", "", block).splitlines()
            found += [Command(heading, when, line) for line in lines if line.strip()]
    return found


def commands(heading: str) -> list[str]:
    """Those under this heading; there must be some."""
    found = [command.text for command in runbook() if command.heading == heading]
    assert found, f"the runbook has no command under {heading}"
    return found


def expressions() -> list[str]:
    """The PromQL in it."""
    return re.findall(r"^```promql\n(.*?)\n```$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def metrics() -> list[str]:
    """The names of metrics that its commands look for: as `patient_upsert_(a|b)_total`, each spelt out."""
    found = []
    for command in runbook():
        for before, choices, after in re.findall(r"(patient_upsert_\w*)(?:\(([\w|]+)\)(\w*))?", command.text):
            found += [f"{before}{choice}{after}" for choice in choices.split("|")]
    return [name for name in found if name.strip("_") not in ("patient_upsert", "patient_upsert_worker")]
