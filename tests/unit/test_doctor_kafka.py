"""What doctor decides from what Kafka told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from app.cli.doctor.finding import Finding, Status, days
from app.cli.doctor.kafka import CHECKS, kafka_findings
from app.consumer.inspect import KafkaFacts, Keys, Topic
from app.settings import Settings

ALL = frozenset({"Read", "Write", "Describe", "DescribeConfigs"})
SETTINGS = Settings(database_url=SecretStr("postgresql://db/x"), kafka_bootstrap_servers="kafka:9092")
DAY_MS = 86_400_000


def topic(name: str, size: int, **changes: Any) -> Topic:
    configs = {
        "cleanup.policy": "delete",
        "retention.ms": "604800000",
        "retention.bytes": "-1",
        "segment.ms": "604800000",
        "max.message.bytes": str(size),
        "min.insync.replicas": "2",
        "unclean.leader.election.enable": "false",
    }
    return replace(Topic(name, "there", 12, 0, 3, ALL, configs), **changes)


HEALTHY = KafkaFacts(
    brokers=3,
    request=topic("requested", 1_000_000),
    completed=topic("completed", 1_065_536),
    failed=topic("failed", 1_065_536),
    dlq=topic("dlq", 1_065_536),
    group=ALL,
    producer=True,
    keys=Keys(sampled=10, named=10),
)


def configured(base: Topic, **configs: str) -> Topic:
    return replace(base, configs={**(base.configs or {}), **{key.replace("_", "."): v for key, v in configs.items()}})


def having(**topics: Topic) -> KafkaFacts:
    changes: dict[str, Any] = dict(topics)
    return replace(HEALTHY, **changes)


def problems(facts: KafkaFacts) -> list[tuple[str, str]]:
    """Check and status of everything that is not well."""
    found = kafka_findings(facts, SETTINGS)
    return [(finding.check, finding.status.value) for finding in found if finding.status is not Status.OK]


def only(facts: KafkaFacts, check: str, settings: Settings = SETTINGS) -> Finding:
    (finding,) = [found for found in kafka_findings(facts, settings) if found.check == check]
    return finding


def test_a_healthy_cluster_is_well_in_every_check() -> None:
    findings = kafka_findings(HEALTHY, SETTINGS)
    assert {finding.check for finding in findings} == {"kafka", *CHECKS}
    assert problems(HEALTHY) == []


def test_a_cluster_out_of_reach_fails_and_skips_the_rest() -> None:
    first, *rest = kafka_findings("kafka:9092 refuses connections", SETTINGS)
    assert (first.check, first.status, first.message) == ("kafka", "fail", "kafka:9092 refuses connections")
    assert first.action is not None
    assert "KAFKA_BOOTSTRAP_SERVERS" in first.action
    assert [finding.check for finding in rest] == list(CHECKS)
    assert {(finding.status, finding.message) for finding in rest} == {
        (Status.SKIPPED, "not checked: Kafka was not reached")
    }


def test_a_missing_topic_fails_and_says_what_creates_it() -> None:
    facts = replace(HEALTHY, dlq=Topic("dlq", "missing"))
    assert problems(facts) == [("kafka.topics", "fail")]
    assert only(facts, "kafka.topics").message == "missing: dlq"
    assert only(facts, "kafka.topics").action == "run: patient-upsert setup"


def test_a_topic_that_may_not_be_seen_fails_apart_from_a_missing_one() -> None:
    facts = replace(HEALTHY, dlq=Topic("dlq", "hidden"))
    assert problems(facts) == [("kafka.topics", "fail")]
    assert only(facts, "kafka.topics").message == "may not be seen: dlq"


def test_without_any_topic_what_is_said_of_topics_is_skipped() -> None:
    facts = replace(
        HEALTHY,
        request=Topic("requested", "missing"),
        completed=Topic("completed", "missing"),
        failed=Topic("failed", "missing"),
        dlq=Topic("dlq", "missing"),
        keys=None,
    )
    skipped = [check for check in CHECKS[1:] if check != "kafka.answers"]  # which stay, whatever the topics
    assert problems(facts) == [("kafka.topics", "fail"), *((check, "skipped") for check in skipped)]


def test_partitions_without_a_leader_fail() -> None:
    facts = replace(HEALTHY, failed=replace(HEALTHY.failed, without_leader=2))
    assert problems(facts) == [("kafka.partitions", "fail")]
    assert only(facts, "kafka.partitions").message == "2 of 12 partitions of failed have no leader"


def test_numbers_of_partitions_may_differ() -> None:
    facts = replace(HEALTHY, failed=replace(HEALTHY.failed, partitions=3))
    assert problems(facts) == []
    assert only(facts, "kafka.partitions").message == "requested 12, completed 12, failed 3, dlq 12"


def test_one_replica_warns() -> None:
    facts = replace(HEALTHY, request=configured(replace(HEALTHY.request, replicas=1), min_insync_replicas="1"))
    assert problems(facts) == [("kafka.replication", "warn")]
    assert only(facts, "kafka.replication").message == "one replica, lost with its broker: requested"


def test_two_replicas_are_enough() -> None:
    facts = replace(HEALTHY, request=replace(HEALTHY.request, replicas=2))
    assert problems(facts) == []
    assert only(facts, "kafka.replication").message == "2 replicas at least"


@pytest.mark.parametrize("policy", ["compact", "compact,delete", "delete,compact"])
@pytest.mark.parametrize("role", ["request", "completed", "failed", "dlq"])
def test_compaction_fails(role: str, policy: str) -> None:
    facts = having(**{role: configured(getattr(HEALTHY, role), cleanup_policy=policy)})
    assert problems(facts) == [("kafka.cleanup", "fail")]
    name = getattr(HEALTHY, role).name
    assert only(facts, "kafka.cleanup").action == f"set cleanup.policy=delete on {name}"


def test_requests_that_stay_less_than_a_day_warn() -> None:
    shorter = replace(HEALTHY, request=configured(HEALTHY.request, retention_ms=str(DAY_MS - 1)))
    enough = replace(HEALTHY, request=configured(HEALTHY.request, retention_ms=str(DAY_MS)))
    assert problems(shorter) == [("kafka.retention", "warn")]
    assert problems(enough) == []


def test_requests_that_are_removed_by_size_warn() -> None:
    facts = replace(HEALTHY, request=configured(HEALTHY.request, retention_bytes="1000"))
    assert problems(facts) == [("kafka.retention", "warn")]


def test_how_long_requests_and_stored_answers_stay_is_told() -> None:
    for_ever = replace(HEALTHY, request=configured(HEALTHY.request, retention_ms="-1"))
    assert problems(for_ever) == []
    assert only(HEALTHY, "kafka.retention").message == "requests stay 7 days"
    assert only(for_ever, "kafka.retention").message == "requests stay for ever"
    assert only(HEALTHY, "kafka.answers").message == "stored answers stay for ever"
    told = "stored answers stay 15 days; no record can ask for one after 15 days"
    assert only(HEALTHY, "kafka.answers", keeping(15)) == Finding("kafka.answers", Status.OK, told)


def keeping(days: int) -> Settings:
    return SETTINGS.model_copy(update={"answer_retention_days": days})


@pytest.mark.rule("R14.9")
def test_answers_stay_as_long_as_a_request_or_a_letter_may_be_read_whatever_is_set() -> None:
    found = only(HEALTHY, "kafka.answers", keeping(14))
    assert (found.status, found.message) == (
        Status.WARN, "stored answers stay 15 days, not 14: for as long a record may ask for them",
    )  # fmt: skip
    letters = replace(HEALTHY, dlq=configured(HEALTHY.dlq, retention_ms=str(30 * DAY_MS)))
    assert only(letters, "kafka.answers", keeping(37)).message.startswith("stored answers stay 38 days, not 37")
    assert only(letters, "kafka.answers", keeping(38)).status is Status.OK


@pytest.mark.rule("R14.9")
@pytest.mark.parametrize("role", ["request", "dlq"])
@pytest.mark.parametrize(
    "changes",
    [
        {"retention_ms": "-1"},
        {"retention_ms": str(2**63 - 1)},
        {"segment_ms": str(2**63 - 1)},
        {"cleanup_policy": "compact"},
    ],
)
def test_nothing_is_removed_while_a_topic_is_kept_for_ever(role: str, changes: dict[str, str]) -> None:
    facts = having(**{role: configured(getattr(HEALTHY, role), **changes)})
    found = only(facts, "kafka.answers", keeping(10_000))
    name = getattr(HEALTHY, role).name
    assert (found.status, found.message) == (Status.WARN, f"no stored answer is removed: {name} may be read for ever")


@pytest.mark.rule("R14.9")
@pytest.mark.parametrize("role", ["request", "dlq"])
def test_nothing_is_removed_while_a_configuration_is_not_known(role: str) -> None:
    facts = having(**{role: replace(getattr(HEALTHY, role), configs=None)})
    found = only(facts, "kafka.answers", keeping(10_000))
    name = getattr(HEALTHY, role).name
    told = f"no stored answer is removed: the configuration is not known of {name}"
    assert (found.status, found.message) == (Status.WARN, told)


@pytest.mark.parametrize("role", ["completed", "failed", "dlq"])
def test_a_topic_that_is_too_small_for_the_largest_answer_fails(role: str) -> None:
    small = configured(getattr(HEALTHY, role), max_message_bytes="1065535")
    facts = having(**{role: small})
    assert problems(facts) == [("kafka.sizes", "fail")]
    assert only(facts, "kafka.sizes").action == f"set max.message.bytes=1065536 on {small.name}"


def test_a_topic_that_cannot_have_the_replicas_it_asks_for_fails() -> None:
    facts = replace(HEALTHY, completed=configured(HEALTHY.completed, min_insync_replicas="4"))
    assert problems(facts) == [("kafka.insync", "fail")]


def test_an_acknowledgement_of_one_of_several_replicas_warns() -> None:
    facts = replace(HEALTHY, request=configured(HEALTHY.request, min_insync_replicas="1"))
    assert problems(facts) == [("kafka.insync", "warn")]
    assert only(facts, "kafka.insync").action == "set min.insync.replicas=2 on requested"


def test_a_leader_that_lacks_records_warns() -> None:
    facts = replace(HEALTHY, request=configured(HEALTHY.request, unclean_leader_election_enable="true"))
    assert problems(facts) == [("kafka.insync", "warn")]


def test_configurations_that_may_not_be_read_are_said_to_be_unchecked() -> None:
    facts = replace(HEALTHY, request=replace(HEALTHY.request, configs=None))
    assert problems(facts) == [
        ("kafka.cleanup", "skipped"),
        ("kafka.retention", "skipped"),
        ("kafka.sizes", "skipped"),
        ("kafka.insync", "skipped"),
    ]
    assert "DescribeConfigs" in str(only(facts, "kafka.sizes").action)


def test_compaction_of_one_topic_is_told_while_another_may_not_be_read() -> None:
    facts = replace(
        HEALTHY,
        request=configured(HEALTHY.request, cleanup_policy="compact"),
        dlq=replace(HEALTHY.dlq, configs=None),
    )
    assert ("kafka.cleanup", "fail") in problems(facts)
    assert ("kafka.cleanup", "skipped") in problems(facts)


@pytest.mark.parametrize(
    ("role", "lacking", "message"),
    [
        ("request", "Read", "no right to read requested"),
        ("completed", "Write", "no right to write completed"),
        ("failed", "Write", "no right to write failed"),
        ("dlq", "Write", "no right to write dlq"),
    ],
)
def test_a_right_that_lacks_fails_and_is_named(role: str, lacking: str, message: str) -> None:
    facts = having(**{role: replace(getattr(HEALTHY, role), rights=ALL - {lacking})})
    assert problems(facts) == [("kafka.rights", "fail")]
    assert only(facts, "kafka.rights").message == message
    assert only(facts, "kafka.rights").action == f"grant this user {lacking} on it"


def test_rights_that_the_worker_does_not_use_may_lack() -> None:
    answers = replace(HEALTHY.completed, rights=frozenset({"Write"}))
    facts = replace(HEALTHY, request=replace(HEALTHY.request, rights=frozenset({"Read"})), completed=answers)
    assert problems(facts) == []


def test_a_group_that_may_not_be_joined_fails() -> None:
    facts = replace(HEALTHY, group=frozenset({"Describe"}))
    assert problems(facts) == [("kafka.rights", "fail")]
    assert only(facts, "kafka.rights").message == "no right to consume in the group patient-upsert"


def test_an_idempotent_producer_that_is_refused_fails() -> None:
    assert problems(replace(HEALTHY, producer=False)) == [("kafka.rights", "fail")]


@pytest.mark.parametrize(
    "untold", [{"group": None}, {"producer": None}, {"request": replace(HEALTHY.request, rights=None)}]
)
def test_rights_that_the_broker_does_not_tell_are_said_to_be_unchecked(untold: dict[str, Any]) -> None:
    assert problems(replace(HEALTHY, **untold)) == [("kafka.rights", "skipped")]


def test_keys_that_differ_from_the_customer_warn_and_name_the_setting() -> None:
    facts = replace(HEALTHY, keys=Keys(sampled=12, named=10, different=3))
    assert problems(facts) == [("kafka.keys", "warn")]
    finding = only(facts, "kafka.keys")
    assert finding.message == "3 of 10 requests have a key that is not their customer: order is not kept"
    assert "PATIENT_UPSERT_CUSTOMER_FROM_KEY=false" in str(finding.action)


def test_the_setting_is_not_named_where_it_is_set() -> None:
    facts = replace(HEALTHY, keys=Keys(sampled=12, named=10, different=3))
    finding = only(facts, "kafka.keys", SETTINGS.model_copy(update={"customer_from_key": False}))
    assert finding.action == "have producers use the customer id as the record key"


def test_requests_without_a_key_warn() -> None:
    facts = replace(HEALTHY, keys=Keys(sampled=12, named=10, absent=1))
    assert problems(facts) == [("kafka.keys", "warn")]


def test_no_requests_yet_are_well_and_unreadable_ones_skipped() -> None:
    assert only(replace(HEALTHY, keys=Keys()), "kafka.keys").message == "no requests yet"
    assert problems(replace(HEALTHY, keys=None)) == [("kafka.keys", "skipped")]


@pytest.mark.parametrize("finding", kafka_findings(replace(HEALTHY, producer=False), SETTINGS))
def test_what_failed_says_what_to_do(finding: Finding) -> None:
    assert (finding.action is not None) == (finding.status is Status.FAIL)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (604_800_000, "7 days"),
        (86_399_999, "24 hours"),
        (5_400_000, "1.5 hours"),
        (60_000, "1 minutes"),
        (0, "0 seconds"),
    ],
)
def test_a_length_of_time_reads_as_a_person_would_say_it(milliseconds: int, text: str) -> None:
    assert days(milliseconds) == text
