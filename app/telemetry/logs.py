"""The log: one line a batch and one a change of state, never one a record."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, Literal

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger("patient_upsert")

_LIBRARIES: Final = ("aiokafka", "faststream", "asyncpg", "asyncio", "alembic", "uvicorn", "opentelemetry", "urllib3")


def configure_logging(form: Literal["json", "console"], level: str) -> None:
    """Send the log of the worker to standard error, and keep quiet what libraries say.

    Texts of drivers can hold values of a request, so of the libraries only the fact that they complained is of use, and
    that the worker tells itself.
    """
    rank = logging.getLevelNamesMapping()[level.upper()]
    renderer: Any = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(rank),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    for name in _LIBRARIES:
        library = logging.getLogger(name)
        library.handlers = [logging.NullHandler()]
        library.propagate = False
