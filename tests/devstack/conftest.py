"""Servers for the tests of the servers: their own, since they are stopped and killed here.

`@pytest.mark.servers("docker")` says for which SERVERS a test has a meaning. With others it is deselected, which is
said in a line before the run: a skip would pass for something that was tried.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from devstack.servers import Servers, servers

KIND = os.environ.get("SERVERS") or "embedded"
left_out = pytest.StashKey[int]()


@pytest.fixture(scope="session")
def own_servers() -> Iterator[Servers]:
    with servers() as found:
        yield found


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "servers(*kinds): the kinds of servers, by SERVERS, that the test is about")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not about the servers of this run."""
    others = [item for item in items if any(KIND not in mark.args for mark in item.iter_markers("servers"))]
    if others:
        config.stash[left_out] = len(others)
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


def pytest_report_collectionfinish(config: pytest.Config) -> str | None:
    count = config.stash.get(left_out, 0)
    return f"left out: {count} tests that are not about SERVERS={KIND}" if count else None
