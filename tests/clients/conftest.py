"""The programs of other makes, built once a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.programs import FIRST_TIME, Programs


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test of each tool chain has to fetch and build, and may have to wait for another that does."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(3 * FIRST_TIME))


@pytest.fixture(scope="session")
def programs() -> Programs:
    """Producers and consumers that others wrote."""
    return Programs()
