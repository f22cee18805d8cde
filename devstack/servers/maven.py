"""What comes from Maven Central: fetched once, then kept in the user's cache."""

from __future__ import annotations

import fcntl
import os
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from .model import Options, ServersError

Fetch = Callable[[Any, Path], None]
"""Given jgo's MavenContext and an empty directory, puts there what is to be kept."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A directory of the cache, and how to fill it."""

    name: str
    what: str  # for people
    size: str
    fetch: Fetch

    def path(self, options: Options) -> Path:
        """The directory; touches the network only when the cache does not hold it yet."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "patient-upsert"
        place = cache / self.name
        if not place.exists():  # it is moved into place when complete, so existing means complete
            try:
                cache.mkdir(parents=True, exist_ok=True)
                with (cache / "lock").open("w") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX)  # of several processes one fetches, the others wait for it
                    if not place.exists():
                        options.say(f"fetching {self.what} from Maven Central, once ({self.size})")
                        self._fill(place)
            # requests' errors are OSErrors; jgo raises the others for what it cannot find, parse or read
            except (OSError, RuntimeError, ValueError, ElementTree.ParseError, zipfile.BadZipFile) as error:
                raise ServersError(
                    f"{self.what} could not be fetched ({type(error).__name__}: {_one_line(error)}); "
                    "behind a TLS proxy set REQUESTS_CA_BUNDLE to its certificates, or use SERVERS=docker"
                ) from error
        return place

    def _fill(self, place: Path) -> None:
        from jgo.maven import MavenContext  # half a second, and needed once

        with tempfile.TemporaryDirectory(prefix="fetching-", dir=place.parent) as scratch:
            complete = Path(scratch) / "complete"
            complete.mkdir()
            # Not ~/.m2: jgo would take a file that an interrupted download left there for whole.
            self.fetch(MavenContext(repo_cache=Path(scratch) / "repository"), complete)
            complete.rename(place)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[-200:]  # urllib3 puts the cause last
