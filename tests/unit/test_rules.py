"""The list of rules is true: each has a test, and each test that names one names one that exists."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.rules import ROOT, faults, page, read_sections

SECTIONS = {"Forms": {"R3.1": "A frame is stripped."}, "Plan": {"R6.1": "a|b <c>"}}
TESTS = {
    "R3.1": ["tests/unit/test_b.py::test_two", "tests/unit/test_a.py::test_one"],
    "R6.1": ["tests/unit/test_a.py::test_one"],
}


def test_the_page_is_up_to_date_and_every_rule_has_its_tests() -> None:
    command = [sys.executable, "-m", "tests.rules", "--check"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (found.stderr, found.returncode) == ("", 0)


def test_the_page_shows_each_rule_with_its_tests() -> None:
    assert page(SECTIONS, TESTS).endswith(
        "\n## Forms\n\n"
        "| rule | what holds | tests |\n"
        "|---|---|---|\n"
        "| R3.1 | A frame is stripped. | `unit/test_a.py::test_one`<br>`unit/test_b.py::test_two` |\n"
        "\n## Plan\n\n"
        "| rule | what holds | tests |\n"
        "|---|---|---|\n"
        "| R6.1 | a\\|b &lt;c> | `unit/test_a.py::test_one` |\n"
    )


def test_true_rules_have_no_fault() -> None:
    assert faults(SECTIONS, [], TESTS) == []


def test_a_rule_without_a_test_an_unknown_rule_and_a_repeated_id_are_told() -> None:
    tests = {"R3.1": [], "R6.1": ["t::a"], "R9.9": ["t::a", "t::b"]}
    assert faults(SECTIONS, ["R6.1"], tests) == [
        "R6.1: this id is given to two rules",
        "R3.1: no test holds this rule",
        "R9.9: there is no such rule; named by t::a, t::b",
    ]


def test_sections_and_rules_are_in_the_order_of_their_ids(tmp_path: Path) -> None:
    def put(name: str, *ids: str) -> None:
        text = "".join(f'[[rule]]\nid = "{id}"\ntext = "{id}."\n' for id in ids)
        (tmp_path / name).write_text(text, encoding="utf-8")

    put("6-delivery.toml", "R6.50")
    put("6-plan.toml", "R6.2", "R6.10", "R6.1")
    put("5-customers.toml", "R5C.1")
    put("5-fields.toml", "R5.1", "R6.2")
    assert read_sections(tmp_path) == (
        {
            "Fields": {"R5.1": "R5.1.", "R6.2": "R6.2."},
            "Customers": {"R5C.1": "R5C.1."},
            "Plan": {"R6.1": "R6.1.", "R6.2": "R6.2.", "R6.10": "R6.10."},
            "Delivery": {"R6.50": "R6.50."},
        },
        ["R6.2"],
    )


def test_a_name_that_is_no_rules_is_told(tmp_path: Path) -> None:
    (tmp_path / "3-forms.toml").write_text('[[rule]]\nid = "3.1"\ntext = "x"\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"3\.1: a rule is named like R3\.1"):
        read_sections(tmp_path)
