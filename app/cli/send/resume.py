"""The progress of a file, kept beside it, so that a run that was stopped is gone on with and nothing is sent twice."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from app.cli.send.wrong import WrongUse

ENDING: Final = ".sent"
EVERY_LINES: Final = 1000
EVERY_SECONDS: Final = 1.0


@dataclass(slots=True)
class Progress:
    """How far a file was sent. Holds no health data.

    `digest` is that of the file, of how it is read and of where it goes; `line` the last one up to which Kafka has
    acknowledged everything; `heard_from` where the first run began to read answers, if it did.
    """

    digest: str
    line: int = 0
    heard_from: dict[str, int] | None = None


def path_of(file: Path) -> Path:
    """Where the progress of this file is kept."""
    return file.with_name(file.name + ENDING)


def load(path: Path) -> Progress | None:
    """What is kept there; None when nothing is.

    Raises:
        WrongUse: something else lies there, which must not be written over.
    """
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        progress = Progress(str(kept["digest"]), int(kept["line"]), kept["heard_from"])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WrongUse(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise WrongUse(f"{path}: is in the way: it should tell how far the file was sent; move it") from None
    return progress


@dataclass(slots=True)
class Keeper:
    """Writes the progress down now and then: soon enough to repeat little, seldom enough to cost nothing.

    Without a path nothing is kept. `failed` says that it could not be.
    """

    path: Path | None
    progress: Progress
    failed: bool = False
    _kept_line: int = field(init=False)
    _kept_at: float | None = None

    def __post_init__(self) -> None:
        self._kept_line = self.progress.line

    def acknowledged(self, line: int, now: float) -> None:
        """Everything up to this line is acknowledged. `now` is in seconds of any clock."""
        self.progress.line = max(line, self.progress.line)
        self.tick(now)

    def tick(self, now: float) -> None:
        """Write it down if it is time to."""
        self._kept_at = now if self._kept_at is None else self._kept_at
        ahead = self.progress.line - self._kept_line
        if ahead >= EVERY_LINES or (ahead and now - self._kept_at >= EVERY_SECONDS):
            self.keep()
            self._kept_at = now

    def keep(self) -> None:
        """Write it down now, as a whole or not at all."""
        if self.path is None or self.failed or not self.progress.line:
            return
        beside = self.path.with_name(self.path.name + ".new")
        try:
            beside.write_text(json.dumps(asdict(self.progress)) + "\n", encoding="utf-8")
            os.replace(beside, self.path)  # noqa: PTH105
        except OSError:
            self.failed = True
        self._kept_line = self.progress.line

    def forget(self) -> None:
        """The file is done with."""
        if self.path is not None and not self.failed:
            self.path.unlink(missing_ok=True)
