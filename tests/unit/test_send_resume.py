"""The progress kept beside a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli.send.resume import Keeper, Progress, load, path_of
from app.cli.send.wrong import WrongUse


def kept_lines(path: Path) -> int | None:
    progress = load(path)
    return progress.line if progress else None


def test_what_is_kept_can_be_loaded(tmp_path: Path) -> None:
    path = path_of(tmp_path / "a.csv")
    assert path == tmp_path / "a.csv.sent"
    assert load(path) is None
    progress = Progress("digest", 7, {"topic/0": 3})
    Keeper(path, progress).keep()
    assert load(path) == progress
    assert list(tmp_path.iterdir()) == [path]


def test_it_is_written_down_every_thousand_lines_or_every_second(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.sent"
    keeper = Keeper(path, Progress("digest"))
    seen = []
    for line, now in [(2, 100.0), (1000, 100.9), (1001, 100.99), (2000, 101.0), (2001, 101.99), (2002, 102.0)]:
        keeper.acknowledged(line, now)
        seen.append(kept_lines(path))
    assert seen == [None, 1000, 1000, 2000, 2000, 2002]
    keeper.acknowledged(2003, 102.5)
    path.unlink()
    keeper.tick(102.9)
    assert kept_lines(path) is None
    keeper.tick(103.0)
    assert kept_lines(path) == 2003


def test_nothing_is_kept_before_anything_is_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.sent"
    Keeper(path, Progress("digest")).keep()
    assert not path.exists()


def test_it_is_forgotten_when_done_with(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.sent"
    keeper = Keeper(path, Progress("digest", 1))
    keeper.forget()
    keeper.keep()
    keeper.forget()
    assert not path.exists()


def test_a_place_that_cannot_be_written_is_no_hindrance(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "none" / "a.csv.sent", Progress("digest", 1))
    keeper.keep()
    assert keeper.failed
    keeper.acknowledged(5000, 0.0)
    keeper.forget()


def test_without_a_file_nothing_is_kept() -> None:
    keeper = Keeper(None, Progress(""))
    keeper.acknowledged(5000, 0.0)
    keeper.keep()
    keeper.forget()
    assert not keeper.failed


@pytest.mark.parametrize("content", ["", "[]", "7", "{}", json.dumps({"digest": "x", "line": "y", "heard_from": None})])
def test_what_is_something_else_is_not_written_over(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.csv.sent"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(WrongUse, match="is in the way"):
        load(path)
