"""What happens where a tool chain is missing."""

from __future__ import annotations

import pytest

from tests.clients.programs import needed


def test_a_missing_tool_chain_is_named_as_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"^not run: no-such-tool is not installed$"):
        needed("sh", "no-such-tool")


def test_where_all_must_be_there_a_missing_tool_chain_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match=r"^not run: no-such-tool is not installed$"):
        needed("sh", "no-such-tool")


def test_a_tool_chain_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "1")
    needed("sh")
