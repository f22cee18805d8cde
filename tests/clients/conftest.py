"""The programs of other makes, built once a run."""

from __future__ import annotations

import pytest

from tests.clients.programs import Programs


@pytest.fixture(scope="session")
def programs() -> Programs:
    """Producers and consumers that others wrote."""
    return Programs()
