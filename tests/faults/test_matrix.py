"""The part of the fault matrix that runs with the suite; `make faults` runs all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.servers import Servers, servers
from tests.faults.conftest import Ours
from tests.faults.matrix.case import Needs, run
from tests.faults.matrix.cases import CASES

SEED = 1


@pytest.fixture(scope="module")
def three() -> Iterator[Servers]:
    """Three Kafka nodes."""
    with servers(nodes=3) as found:
        yield found


@pytest.mark.parametrize("name", [case.name for case in CASES.values() if case.in_suite])
async def test_under_this_fault_nothing_is_lost_doubled_or_answered_in_two_ways(
    name: str, ours: Ours, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    case = CASES[name]
    found = request.getfixturevalue("three") if case.needs is Needs.THREE else ours.servers
    result = await run(case, found, SEED, tmp_path)
    assert result.not_run is None
    assert result.trouble is None
    assert result.verdicts == []
