"""The report: a file of the lines that were refused, to be corrected and sent again. It holds health data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from app.cli.send.source import Source
from app.cli.send.wrong import WrongUse


def write_report(source: Source, codes: Mapping[int, str], name: str, wanted: Path | None) -> Path:
    """Read the file again, and write the lines that have codes. Nobody else may read what is written.

    Args:
        source: the file.
        codes: why each line was refused.
        name: what the ids of the file's lines begin with.
        wanted: where to write; else beside the file, under a name that is free: an older report may be being corrected.

    Raises:
        WrongUse: it cannot be written.
    """
    path = wanted or _free_beside(source)
    marked = source.path is not None and source.path.open("rb").read(3) == b"\xef\xbb\xbf"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise WrongUse(f"{path}: the refused lines cannot be written there: {error.strerror}; see --report") from None
    with open(descriptor, "w", encoding="utf-8-sig" if marked else "utf-8", newline="") as written:  # noqa: PTH123
        written.writelines(source.refused(codes, name))
    return path


def _free_beside(source: Source) -> Path:
    assert source.path is not None
    ending = source.path.suffix if source.is_csv else ".jsonl"
    begin = source.path.name.removesuffix(source.path.suffix)
    names = (f"{begin}.refused{'' if number == 1 else f'-{number}'}{ending or '.csv'}" for number in count(1))
    return next(path for path in map(source.path.with_name, names) if not path.exists())
