"""The commands of the examples run as their READMEs have them, and say what is written behind them."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.settings import Settings
from tests.clients.programs import FIRST_TIME, alone, hurried, needed, run
from tests.support import asking

EXAMPLES = Path(__file__).parents[2] / "examples"
NEEDED = {
    "python-faststream": (),
    "python-confluent": (),
    "java": ("java", "mvn"),
    "javascript": ("node", "npm"),
    "go": ("go",),
}
COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # Maven ends with one, also when it is told to be quiet


def commands(folder: str) -> list[tuple[str, str]]:
    """Each command of a README, and what it says there that it prints."""
    block = (EXAMPLES / folder / "README.md").read_text(encoding="utf-8").partition("```sh\n")[2].partition("```")[0]
    return [(line, line.partition("  # ")[2]) for line in block.splitlines()]


@asynccontextmanager
async def _alone() -> AsyncIterator[None]:
    """Its commands fetch and build; no other tool chain does so meanwhile."""
    held = alone()
    await asyncio.to_thread(held.__enter__)
    try:
        yield
    finally:
        held.__exit__(None, None, None)


def test_every_folder_is_tried_and_listed() -> None:
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    assert folders == set(NEEDED)
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"({folder}/README.md)" in listed for folder in folders)


@pytest.mark.parametrize("folder", NEEDED)
async def test_an_example_does_what_its_readme_says(
    settings: Settings, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed(*NEEDED[folder])
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("GOFLAGS", hurried()["GOFLAGS"])
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", settings.kafka_bootstrap_servers)
    monkeypatch.setenv("REQUEST_TOPIC", settings.request_topic)
    monkeypatch.setenv("COMPLETED_TOPIC", settings.completed_topic)
    monkeypatch.setenv("FAILED_TOPIC", settings.failed_topic)
    tried = commands(folder)
    assert [said.partition(" ")[0] for _, said in tried] == ["", "created", "rejected"]
    async with _alone(), asking(settings):
        for command, said in tried:
            out, err = await run(["sh", "-c", f"cd '{EXAMPLES / folder}' && {command}"], b"", FIRST_TIME)
            if said:
                expected = re.escape(said).replace("…", "[0-9a-f-]{36}")
                printed = COLOUR.sub("", out.decode()).strip()
                assert re.fullmatch(expected, printed), f"{command}\n{printed}\n{err.decode()}"
