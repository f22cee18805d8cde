"""The table of all cases, in the order in which they are shown."""

from __future__ import annotations

from tests.faults.matrix.case import Case
from tests.faults.matrix.cases import crash, group, inputs, kafka, postgres

CASES: dict[str, Case] = {
    case.name: case for case in (*crash.CASES, *postgres.CASES, *kafka.CASES, *group.CASES, *inputs.CASES)
}
