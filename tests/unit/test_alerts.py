"""Alerts, dashboard and runbook name what there is. promtool tries the alerts, where it is found."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from app.errors import ErrorCode
from app.model import Outcome
from app.telemetry.health import PARTS
from app.telemetry.names import METRICS, RETRIES, STAGES
from tests import runbook
from tests.rules import ROOT

ALERTS = ROOT / "deploy" / "alerts.yml"
CASES = ROOT / "deploy" / "alerts_test.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
RUNBOOK = ROOT / "docs" / "runbook.md"

VALUES = {
    "outcome": {outcome.value for outcome in Outcome},
    "code": {code.value for code in ErrorCode},
    "cause": set(RETRIES),
    "part": set(PARTS),
    "stage": set(STAGES),
    "state": {"busy", "idle", "limit"},
}


def read(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    return [rule for group in read(ALERTS)["groups"] for rule in group["rules"]]


def shown() -> Iterator[str]:
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


def named(expressions: str) -> set[str]:
    """The metrics in these, without what Prometheus adds to histograms."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"patient_upsert_\w+", expressions)}


@pytest.mark.rule("R13.5")
def test_alerts_and_dashboard_name_only_metrics_and_label_values_that_there_are() -> None:
    known = {metric.name for metric in METRICS}
    expressions = [*(rule["expr"] for rule in rules()), *shown(), *runbook.expressions(), *runbook.metrics()]
    for expression in expressions:
        assert named(expression) - known == set(), expression
        for label, _, value in re.findall(r'(\w+)(=~?)"([^"$]+)"', expression):
            assert set(value.split("|")) <= VALUES[label], expression
    assert known - named(" ".join(shown())) == set(), "not on the dashboard"


@pytest.mark.rule("R13.5")
def test_each_alert_and_each_part_that_can_be_missing_has_its_entry_in_the_runbook() -> None:
    entries = re.findall(r"^### (.+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in {"page", "ticket"}
    assert {rule["alert"] for rule in rules()} | set(PARTS) <= set(entries)


@pytest.mark.rule("R13.5")
def test_every_variable_of_the_runbooks_commands_is_set_in_its_first_block() -> None:
    at_first = {found for line in runbook.commands(runbook.SHELL) for found in re.findall(r"(\w+)=", line)}
    used = {name for each in runbook.runbook() for name in re.findall(r"\$\{?([A-Z_]+)", each.text)}
    assert {name for name in used - at_first if not name.startswith("PATIENT_UPSERT_")} == set()


@pytest.mark.rule("R13.5")
def test_links_inside_the_runbook_lead_somewhere() -> None:
    text = RUNBOOK.read_text(encoding="utf-8")
    headings = re.findall(r"^##+ (.+)$", text, re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) - anchors == set()


@pytest.mark.rule("R13.6")
def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires: dict[bool, set[str]] = {True: set(), False: set()}
    for case in read(CASES)["tests"]:
        for check in case["alert_rule_test"]:
            fires[bool(check["exp_alerts"])].add(check["alertname"])
    alerts = {rule["alert"] for rule in rules()}
    assert fires == {True: alerts, False: alerts}


def promtool(*arguments: str) -> None:
    """Runs it; what it complains of is the failure."""
    found = shutil.which("promtool")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is missing: apt-get install prometheus")
        pytest.skip("promtool is missing: apt-get install prometheus")
    done = subprocess.run([found, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.rule("R13.6")
def test_promtool_accepts_the_alerts_and_sees_them_fire_in_their_cases_only() -> None:
    promtool("check", "rules", str(ALERTS))
    promtool("test", "rules", str(CASES))


@pytest.mark.rule("R13.5")
def test_promtool_accepts_what_dashboard_and_runbook_ask(tmp_path: Path) -> None:
    expressions = [expr.replace("$__rate_interval", "1m").replace("$instance", ".*") for expr in shown()]
    expressions += runbook.expressions()
    asked = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(expressions)]
    path = tmp_path / "dashboard.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": asked}]}), encoding="utf-8")
    promtool("check", "rules", str(path))
