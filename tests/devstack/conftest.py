"""Servers for the tests of the servers: their own, since they are stopped and killed here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devstack.servers import Servers, servers


@pytest.fixture(scope="session")
def own_servers() -> Iterator[Servers]:
    with servers() as found:
        yield found
