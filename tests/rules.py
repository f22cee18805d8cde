"""The rules of docs/rules.d and the tests that hold them: writes docs/rules.md, or checks that it is true.

    python -m tests.rules            write docs/rules.md anew
    python -m tests.rules --check    exit with 1 when it is stale, a rule has no test, or a test names an unknown rule

Tests are collected, never run, so no server is started.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RULES = ROOT / "docs" / "rules.d"
PAGE = ROOT / "docs" / "rules.md"

HEAD = """\
# Rules

What the worker does, rule by rule, and the tests that fail when a rule is broken.

This page is generated: the rules stand in `docs/rules.d/*.toml`, and a test names the rules that it holds with
`@pytest.mark.rule("R3.1")`. Write it anew with `make rules`; `python -m tests.rules --check` says whether it is up
to date, whether each rule has a test, and whether each rule that a test names exists.
"""

Sections = dict[str, dict[str, str]]
"""By title: rule ids with their sentences."""


def read_sections(folder: Path = RULES) -> tuple[Sections, list[str]]:
    """The rules by section in the order of their ids, and the ids that stand there twice."""
    sections: Sections = {}
    repeated: list[str] = []
    seen: set[str] = set()
    for path in sorted(folder.glob("*.toml")):
        title = path.stem.partition("-")[2].replace("-", " ").capitalize()
        rules = sections.setdefault(title, {})
        for rule in tomllib.loads(path.read_text(encoding="utf-8"))["rule"]:
            if rule["id"] in seen:
                repeated.append(rule["id"])
            seen.add(rule["id"])
            rules[rule["id"]] = rule["text"]
    ordered = sorted(sections.items(), key=lambda section: min(map(_order, section[1])))
    return {title: dict(sorted(rules.items(), key=lambda rule: _order(rule[0]))) for title, rules in ordered}, repeated


def _order(id: str) -> tuple[int, str, int]:
    found = re.fullmatch(r"R(\d+)([A-Z]*)\.(\d+)", id)
    if found is None:
        raise ValueError(f"{id}: a rule is named like R3.1")
    return int(found[1]), found[2], int(found[3])


class _Collector:
    """A pytest plugin: which tests name which rules."""

    def __init__(self) -> None:
        self.tests: dict[str, list[str]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            name = item.nodeid.partition("[")[0]
            for id in (id for marker in item.iter_markers("rule") for id in marker.args):
                named = self.tests.setdefault(id, [])
                if name not in named:
                    named.append(name)


def collect_tests() -> dict[str, list[str]]:
    """The tests of each rule that a test names.

    Raises:
        RuntimeError: the tests cannot be collected.
    """
    collector, said = _Collector(), io.StringIO()
    arguments = ["--collect-only", "-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), str(ROOT / "tests")]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = pytest.main(arguments, plugins=[collector])
    if code != pytest.ExitCode.OK:
        raise RuntimeError(f"the tests cannot be collected:\n{said.getvalue()[-4000:]}")
    return collector.tests


def page(sections: Mapping[str, Mapping[str, str]], tests: Mapping[str, Iterable[str]]) -> str:
    """The text of docs/rules.md."""
    parts = [HEAD]
    for title, rules in sections.items():
        rows = [f"| {id} | {_cell(text)} | {_links(tests.get(id, ()))} |" for id, text in rules.items()]
        parts.append("\n".join([f"\n## {title}\n", "| rule | what holds | tests |", "|---|---|---|", *rows, ""]))
    return "".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("__", "\\_\\_")


def _links(tests: Iterable[str]) -> str:
    return "<br>".join(f"`{name.removeprefix('tests/')}`" for name in sorted(tests))


def faults(
    sections: Mapping[str, Mapping[str, str]], repeated: Iterable[str], tests: Mapping[str, Iterable[str]]
) -> list[str]:
    """What is wrong between the rules and the tests, one line each."""
    known = {id for rules in sections.values() for id in rules}
    return [
        *(f"{id}: this id is given to two rules" for id in repeated),
        *(f"{id}: no test holds this rule" for rules in sections.values() for id in rules if not tests.get(id)),
        *(f"{id}: there is no such rule; named by {', '.join(tests[id])}" for id in sorted(set(tests) - known)),
    ]


def main(arguments: Sequence[str]) -> int:
    """Write the page, or check it; the exit code."""
    sections, repeated = read_sections()
    try:
        tests = collect_tests()
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    wrong, text = faults(sections, repeated, tests), page(sections, tests)
    if "--check" not in arguments:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        wrong.append("docs/rules.md is stale; run: make rules")
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
