"""What `doctor` says: findings, and how they are put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say of one check. `action` says what to do; what is well needs none."""

    check: str
    status: Status
    message: str
    action: str | None = None


def ok(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(check, Status.OK, message)


def warn(check: str, message: str, action: str) -> Finding:
    """The worker works, but someone should know."""
    return Finding(check, Status.WARN, message, action)


def fail(check: str, message: str, action: str) -> Finding:
    """The worker does not work, or a guarantee does not hold."""
    return Finding(check, Status.FAIL, message, action)


def skipped(checks: Iterable[str], reason: str, action: str | None = None) -> list[Finding]:
    """Checks that could not be made, for this reason."""
    return [Finding(check, Status.SKIPPED, f"not checked: {reason}", action) for check in checks]


def either(problems: Sequence[Finding], well: Finding) -> list[Finding]:
    """The problems; where there are none, that all is well."""
    return list(problems) or [well]


def days(milliseconds: int) -> str:
    """A time as a person would say it: `7 days`, `1.5 hours`."""
    units = ((86_400_000, "days"), (3_600_000, "hours"), (60_000, "minutes"))
    length, unit = next((found for found in units if milliseconds >= found[0]), (1000, "seconds"))
    return f"{round(milliseconds / length, 1):g} {unit}"
