"""Servers that may be stopped, as for the tests of faults."""

from tests.faults.conftest import ours, own  # noqa: F401 - fixtures
