"""Writes docs/metrics.md from the list of metrics: `python -m tests.metrics`; `--check` only compares."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from app.telemetry.health import PARTS
from app.telemetry.names import METRICS, RETRIES, STAGES, Metric

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"

HEAD = """\
# Metrics

What `/metrics` says, for Prometheus. Beside these there are the `process_*` metrics of prometheus-client: memory, CPU,
open files. No label holds a value of a request. [alerts.yml](../deploy/alerts.yml) and
[dashboard.json](../deploy/grafana/dashboard.json) are made of these; [runbook.md](runbook.md) says what to do.

This page is generated: the list stands in `app/telemetry/names.py`; `make metrics` writes it anew.

With `run --workers N` each process has a page of its own, on `HTTP_PORT` and the ports after it, and tells of its own
partitions: scrape all N, then take the `sum` of counters and lag, the `max` of ages and the `min` of
`patient_upsert_ready`. When one ends, all end ([0013](decisions/0013-several-workers.md)), so all targets go together.
With `HTTP_PORT=0` nobody knows the ports beforehand.

Lag and age are what the worker knows without asking Kafka: as of its last fetch. From a partition that is stopped, and
while a batch waits for Postgres, nothing is fetched: the lag stands still and the age grows, so alert on the age. While
Kafka is away both tell of what was fetched before. A worker without partitions tells neither: then
`patient_upsert_ready` is 0.
"""


def page() -> str:
    """The text of docs/metrics.md."""
    rows = [f"| `{metric.name}` | {metric.kind} | {_labels(metric)} | {metric.meaning} |" for metric in METRICS]
    parts = [
        HEAD,
        _table(["metric", "kind", "labels", "meaning"], rows),
        f"## Stages\n\n{_terms('stage', STAGES)}\nA connection of the pool and BEGIN lie before `read`, in no stage.\n",
        f"## Causes of retries\n\n{_terms('cause', RETRIES)}",
        f"## Parts that are waited for\n\n{_terms('part', PARTS)}",
    ]
    return "\n".join(parts)


def _labels(metric: Metric) -> str:
    return "; ".join(f"`{name}`: {bound}" for name, bound in metric.labels.items())


def _terms(title: str, terms: Mapping[str, str]) -> str:
    return _table([title, "meaning"], [f"| `{name}` | {meaning} |" for name, meaning in terms.items()])


def _table(titles: Iterable[str], rows: Iterable[str]) -> str:
    names = list(titles)
    return "\n".join([f"| {' | '.join(names)} |", "|---" * len(names) + "|", *rows, ""])


def main() -> int:
    """Exit code 1 when `--check` finds a difference."""
    if "--check" in sys.argv:
        return 0 if page() == PAGE.read_text(encoding="utf-8") else 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
