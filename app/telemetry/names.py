"""The list of metrics: names, meanings and what bounds each label. `docs/metrics.md` is made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

PREFIX: Final = "patient_upsert_"

STAGES: Final = {
    "understand": "recognise and check the requests, and look up tokens and patients",
    "read": "read stored answers and rows",
    "plan": "decide, without I/O",
    "write": "send what changed to Postgres",
    "commit": "COMMIT",
    "publish": "publish the answers, to their acknowledgement",
    "offsets": "commit the offsets",
}
"""The stages of a batch, in their order."""

RETRIES: Final = {
    "connection": "the connection to Postgres was lost or refused",
    "timeout": "Postgres gave no answer in time",
    "tls": "the certificate or TLS of Postgres",
    "login": "Postgres does not let the role in (SQLSTATE class 28)",
    "read_only": "Postgres is a standby, or held read-only (25)",
    "rolled_back": "deadlock or serialization (40)",
    "schema": "a table, column or right is missing, or a plan is out of date (42)",
    "resources": "no connection, disk or memory left (53)",
    "lock": "a lock was not to be had (55)",
    "shutdown": "Postgres was shut down, or an operator has intervened (57)",
    "callers": "the keys of callers cannot be had",
    "publication": "an answer or dead letter of a stopped partition was refused again",
    "other": "anything else",
}
"""Why something is tried again."""

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_AGES: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
_RECORDS: Final = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name as Prometheus stores it, what it says, and by label what bounds its values."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: Mapping[str, str] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()


_list: list[Metric] = []


def _metric(
    name: str,
    kind: Literal["counter", "gauge", "histogram"],
    meaning: str,
    labels: Mapping[str, str] | None = None,
    buckets: tuple[float, ...] = (),
) -> Metric:
    _list.append(Metric(PREFIX + name, kind, meaning, labels or {}, buckets))
    return _list[-1]


ANSWERS = _metric(
    "answers_total",
    "counter",
    "Requests decided, their effect committed. `superseded` is an outcome. One that comes again is counted again.",
    {"outcome": "the outcomes of `docs/errors.md`", "code": "its codes; empty for a 200"},
)
REPLAYS = _metric("replays_total", "counter", "Of these, answers that came from the store")
KEY_DIFFERS = _metric(
    "keys_that_differ_total",
    "counter",
    "Records whose key is not their customer: Kafka keeps no order between them and the customer's others",
)
DEAD_LETTERS = _metric("dead_letters_total", "counter", "Dead letters published and acknowledged")
CONFLICTS = _metric("conflicts_total", "counter", "Batches read again because somebody else had moved rows")
RETRIES_TOTAL = _metric(
    "retries_total", "counter", "What was tried again after a wait, by cause", {"cause": "the causes below"}
)
EXPIRED = _metric(
    "records_expired_unread_total",
    "counter",
    "Offsets that left the topic before they were read: requests that nobody will answer",
)
REBALANCES = _metric("rebalances_total", "counter", "Assignments of partitions received from the consumer group")
REMOVED = _metric("answers_removed_total", "counter", "Stored answers removed by their age")
BATCH_RECORDS = _metric("batch_records", "histogram", "Records of a batch", buckets=_RECORDS)
STAGE_SECONDS = _metric(
    "stage_seconds",
    "histogram",
    "Duration of a stage of a batch, failed attempts included",
    {"stage": "the stages below"},
    _SECONDS,
)
ANSWER_SECONDS = _metric(
    "answer_seconds",
    "histogram",
    "From the timestamp of a record to the acknowledgement of its answer; records without timestamp do not count, "
    "and one from the future counts as 0",
    buckets=_AGES,
)
OLDEST_SECONDS = _metric(
    "oldest_unanswered_seconds",
    "gauge",
    "Age of the oldest record of the partition that has no published answer, by its timestamp; 0 when there is none. "
    "Of a record not yet fetched it is the longest that it can have waited. Absent while the worker has no partitions",
    {"partition": "the number of a partition of the request topic"},
)
LAG = _metric(
    "partition_lag",
    "gauge",
    "Offsets between the first record without a published answer and the end of the partition, as of the last fetch",
    {"partition": "the number of a partition of the request topic"},
)
ASSIGNED = _metric("assigned_partitions", "gauge", "Partitions that this worker has")
STOPPED = _metric(
    "stopped_partitions", "gauge", "Of these, those that wait for an answer or dead letter to be publishable"
)
READY = _metric("ready", "gauge", "1 when `/readyz` says 200")
WAITING = _metric(
    "waiting",
    "gauge",
    "1 for each part that is waited for; for `partition` the number of them",
    {"part": "the parts below"},
)
POOL = _metric(
    "database_connections",
    "gauge",
    "Connections of the pool; `limit` is PATIENT_UPSERT_DATABASE_POOL_SIZE",
    {"state": "`busy`, `idle`, `limit`"},
)
BUILD = _metric("build_info", "gauge", "1", {"version": "one value a process", "python": "one value a process"})

METRICS: Final = tuple(_list)
"""Every metric of the worker's own."""
