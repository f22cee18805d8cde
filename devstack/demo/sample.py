"""The requests of the demo: `devstack/sample/*.jsonl`, and what `expected.json` says of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.cli.lines import read_requests
from app.consumer.requester import Outbound
from devstack.demo.errors import DemoError

DIRECTORY: Final = Path(__file__).parents[1] / "sample"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The answer that a request must get."""

    status: int
    outcome: str
    codes: tuple[str, ...] = ()
    """`response.error`, then a `field code` for each of `response.details`."""

    def __str__(self) -> str:
        return " ".join([str(self.status), self.outcome, ", ".join(self.codes)]).rstrip()


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: where it stands, what it is about, and what must come back."""

    file: str
    line: int
    about: str
    request: Outbound
    wanted: Wanted

    @property
    def label(self) -> str:
        """File and line, as an editor takes it."""
        return f"{self.file}:{self.line}"


def read_sample(directory: Path = DIRECTORY) -> list[Sample]:
    """All requests, in the order in which `expected.json` names their files.

    Raises:
        DemoError: files and expectations do not match.
        NotSendable: a line cannot be sent.
    """
    expected = json.loads((directory / "expected.json").read_text(encoding="utf-8"))
    if set(expected) != {path.name for path in directory.glob("*.jsonl")}:
        raise DemoError(f"{directory}: expected.json must name the files that are there")
    return [sample for name in expected for sample in _read_file(directory / name, expected[name])]


def _read_file(path: Path, expected: list[dict[str, object]]) -> list[Sample]:
    requests = list(read_requests(path.name, path.read_text(encoding="utf-8")))
    if len(requests) != len(expected):
        raise DemoError(f"{path.name}: {len(requests)} requests, but {len(expected)} in expected.json")
    return [
        Sample(path.name, number, str(entry["about"]), request, _wanted(entry))
        for number, (request, entry) in enumerate(zip(requests, expected, strict=True), start=1)
    ]


def _wanted(entry: dict[str, object]) -> Wanted:
    codes = entry.get("codes", [])
    assert isinstance(codes, list)
    return Wanted(int(str(entry["status"])), str(entry["outcome"]), tuple(codes))
