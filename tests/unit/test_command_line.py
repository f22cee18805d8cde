"""The commands as a shell and a terminal see them: help, completion, width, colour."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("patient-upsert")
COMMANDS = ["setup", "run", "send", "watch", "doctor", "dlq", "contracts"]


def told(*arguments: str, **environment: str) -> str:
    """What the command prints, as to a pipe."""
    given = {**{name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}, **environment}
    done = subprocess.run([COMMAND, *arguments], env=given, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def completed(line: str) -> list[str]:
    """What bash would offer behind this line."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_PATIENT_UPSERT_COMPLETE": "complete_bash"}
    return told(**asked).split()


def test_a_shell_completes_commands_and_options() -> None:
    assert set(completed("patient-upsert ")) == set(COMMANDS)
    assert completed("patient-upsert wa") == ["watch"]
    assert completed("patient-upsert send --dry") == ["--dry-run"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_fits_a_terminal_of_80_columns_without_colour(command: str) -> None:
    text = told(command, "--help", COLUMNS="80", TERM="dumb")
    assert re.search(rf"Example: .*patient-upsert {command}\b", " ".join(text.split()))
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
