"""The schema, revision by revision: `versions/NNNN_name.py` beside its SQL. Revisions are four digits, so they sort.

A revision only adds (tables, columns with a default, indexes) as long as a version that does not know it may be
running; `app.store.migrate` applies them.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

VERSION_TABLE: Final = "patient_upsert_revision"
"""A name of its own: the database may be shared with another application that uses Alembic."""


@cache
def head_revision() -> str:
    """The newest revision in this installation, told by the names of the files: the worker need not load Alembic."""
    names = (entry.name[:4] for entry in files(__name__).joinpath("versions").iterdir())
    return max(name for name in names if name.isdigit())


def statements(name: str) -> list[str]:
    """The statements of `versions/<name>`, each ended by a semicolon and an empty line: the driver takes one a time."""
    text = files(__name__).joinpath("versions", name).read_text(encoding="utf-8")
    return text.strip().split(";\n\n")
