"""What must hold of Kafka, decided from what it told. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from app.cli.doctor.finding import Finding, days, either, fail, ok, skipped, warn
from app.consumer.inspect import KafkaFacts, Keys, Topic
from app.settings import PREFIX, Settings
from app.topics import ANSWER_HEADROOM, DAY_MS, REQUEST_LIMIT_BYTES, readable_ms

CHECKS: Final = (
    "kafka.topics",
    "kafka.partitions",
    "kafka.replication",
    "kafka.cleanup",
    "kafka.retention",
    "kafka.answers",
    "kafka.sizes",
    "kafka.insync",
    "kafka.rights",
    "kafka.keys",
)
SETUP: Final = "run: patient-upsert setup"
_GRANT_CONFIGS: Final = "grant this user DescribeConfigs on the topics to have it checked"


def kafka_findings(facts: KafkaFacts | str, settings: Settings) -> list[Finding]:
    """Everything to say of Kafka; `facts` may be the reason why it could not be reached."""
    if isinstance(facts, str):
        action = f"start Kafka, or correct {PREFIX}KAFKA_BOOTSTRAP_SERVERS and the login settings"
        return [fail("kafka", facts, action), *skipped(CHECKS, "Kafka was not reached")]
    findings = [ok("kafka", f"{facts.brokers} {'broker' if facts.brokers == 1 else 'brokers'}"), *_topics(facts)]
    findings += _of_topics("kafka.partitions", _there(facts), _partitions)
    findings += _of_topics("kafka.replication", _there(facts), _replication)
    findings += _of_configs("kafka.cleanup", facts.topics, _cleanup)
    findings += _of_configs("kafka.retention", [facts.request], lambda _: _retention(facts.request))
    findings += _answers(facts, settings.answer_retention_days)
    findings += _sizes(facts)
    findings += _of_configs("kafka.insync", facts.topics, _insync)
    return [*findings, *_rights(facts, settings), *_keys(facts.keys, settings)]


def _there(facts: KafkaFacts) -> list[Topic]:
    return [topic for topic in facts.topics if topic.state == "there"]


def _named(topics: Sequence[Topic]) -> str:
    return "all four topics" if len(topics) == 4 else ", ".join(topic.name for topic in topics)


def _topics(facts: KafkaFacts) -> list[Finding]:
    missing = [topic for topic in facts.topics if topic.state == "missing"]
    hidden = [topic for topic in facts.topics if topic.state == "hidden"]
    problems = [fail("kafka.topics", f"missing: {_named(missing)}", SETUP)] if missing else []
    if hidden:
        problems.append(fail("kafka.topics", f"may not be seen: {_named(hidden)}", "grant this user Describe on them"))
    return either(problems, ok("kafka.topics", "all four are there"))


def _of_topics(check: str, topics: Sequence[Topic], rule: Callable[[Sequence[Topic]], list[Finding]]) -> list[Finding]:
    return rule(topics) if topics else skipped([check], "no topic is there")


def _of_configs(check: str, topics: Sequence[Topic], rule: Callable[[Sequence[Topic]], list[Finding]]) -> list[Finding]:
    """The findings of a rule over configurations, and which topics it could not be applied to."""
    known = [topic for topic in topics if topic.configs is not None]
    unread = [topic for topic in topics if topic.configs is None and topic.state == "there"]
    findings = rule(known) if known else []
    if unread:
        reason = f"the configuration may not be read: {_named(unread)}"
        findings = [*findings, *skipped([check], reason, _GRANT_CONFIGS)]
    return findings or skipped([check], "no topic is there")


def _partitions(topics: Sequence[Topic]) -> list[Finding]:
    problems = [
        fail(
            "kafka.partitions",
            f"{topic.without_leader} of {topic.partitions} partitions of {topic.name} have no leader",
            "bring back the brokers that hold them",
        )
        for topic in topics
        if topic.without_leader
    ]
    counts = {topic.partitions for topic in topics}
    numbers = ", ".join(f"{topic.name} {topic.partitions}" for topic in topics)
    return either(problems, ok("kafka.partitions", f"{counts.pop()} each" if len(counts) == 1 else numbers))


def _replication(topics: Sequence[Topic]) -> list[Finding]:
    single = [topic for topic in topics if topic.replicas < 2]
    if single:
        action = "on more than one broker, raise their replication to 3"
        return [warn("kafka.replication", f"one replica, lost with its broker: {_named(single)}", action)]
    return [ok("kafka.replication", f"{min(topic.replicas for topic in topics)} replicas at least")]


def _cleanup(topics: Sequence[Topic]) -> list[Finding]:
    problems = [
        fail(
            "kafka.cleanup",
            f"{topic.name} is compacted: records are removed while newer ones of their key stand, read or not",
            f"set cleanup.policy=delete on {topic.name}",
        )
        for topic in topics
        if "compact" in _config(topic, "cleanup.policy", "delete")
    ]
    return either(problems, ok("kafka.cleanup", "no topic is compacted"))


def _retention(topic: Topic) -> list[Finding]:
    """Of the request topic: an outage must be outlived."""
    check, kept = "kafka.retention", int(_config(topic, "retention.ms", "-1"))
    problems = []
    if 0 <= kept < DAY_MS:
        message = f"requests are removed after {days(kept)}, read or not: a longer outage loses them"
        problems.append(warn(check, message, f"raise retention.ms of {topic.name} to a day at least"))
    if (size := int(_config(topic, "retention.bytes", "-1"))) >= 0:
        message = f"a partition of more than {size} bytes loses its oldest requests, read or not"
        problems.append(warn(check, message, f"set retention.bytes=-1 on {topic.name}"))
    return either(problems, ok(check, f"requests stay {'for ever' if kept < 0 else days(kept)}"))


def _answers(facts: KafkaFacts, kept_days: int | None) -> list[Finding]:
    """Stored answers outlive every record that could ask for them: requests, and dead letters that are replayed."""
    check, topics = "kafka.answers", (facts.request, facts.dlq)
    if kept_days is None:
        return [ok(check, "stored answers stay for ever")]
    unread = [topic for topic in topics if topic.configs is None]
    if unread:
        message = f"no stored answer is removed: the configuration is not known of {_named(unread)}"
        return [warn(check, message, "grant the worker's user DescribeConfigs on the topics")]
    times = {topic.name: readable_ms(topic.configs or {}) for topic in topics}
    unlimited = [name for name, time in times.items() if time is None]
    if unlimited:
        message = f"no stored answer is removed: {' and '.join(unlimited)} may be read for ever"
        return [warn(check, message, f"limit retention.ms there, or leave {PREFIX}ANSWER_RETENTION_DAYS out")]
    longest = max(time or 0 for time in times.values())
    if kept_days * DAY_MS < longest:
        message = f"stored answers stay {days(longest)}, not {kept_days}: for as long a record may ask for them"
        return [warn(check, message, f"raise {PREFIX}ANSWER_RETENTION_DAYS, or lower retention.ms or segment.ms")]
    return [ok(check, f"stored answers stay {kept_days} days; no record can ask for one after {days(longest)}")]


def _sizes(facts: KafkaFacts) -> list[Finding]:
    check, request = "kafka.sizes", facts.request
    if request.configs is None:
        reason = f"the configuration of {request.name} is not known"
        return skipped([check], reason, _GRANT_CONFIGS if request.state == "there" else None)
    needed = int(_config(request, "max.message.bytes", str(REQUEST_LIMIT_BYTES))) + ANSWER_HEADROOM

    def rule(topics: Sequence[Topic]) -> list[Finding]:
        small = [topic for topic in topics if int(_config(topic, "max.message.bytes", "0")) < needed]
        problems = [
            fail(
                check,
                f"{topic.name} takes smaller records than the answer to the largest request",
                f"set max.message.bytes={needed} on {topic.name}",
            )
            for topic in small
        ]
        return either(problems, ok(check, "every answer and dead letter fits its topic"))

    return _of_configs(check, [facts.completed, facts.failed, facts.dlq], rule)


def _insync(topics: Sequence[Topic]) -> list[Finding]:
    """Whether a record that was acknowledged outlives the loss of one broker. One replica is told of elsewhere."""
    problems = []
    for topic in topics:
        least = int(_config(topic, "min.insync.replicas", "1"))
        if least > topic.replicas:
            message = f"{topic.name} cannot be written: min.insync.replicas is {least}, replicas are {topic.replicas}"
            problems.append(
                fail("kafka.insync", message, f"lower min.insync.replicas of {topic.name}, or add replicas")
            )
        elif least < 2 <= topic.replicas:
            message = f"{topic.name} acknowledges records that only one broker has"
            problems.append(warn("kafka.insync", message, f"set min.insync.replicas=2 on {topic.name}"))
        if topic.replicas > 1 and _config(topic, "unclean.leader.election.enable", "false") == "true":
            message = f"{topic.name} may be led by a broker that lacks acknowledged records"
            problems.append(warn("kafka.insync", message, f"set unclean.leader.election.enable=false on {topic.name}"))
    single = all(topic.replicas < 2 for topic in topics)
    well = "one replica: no other is waited for" if single else "an acknowledged record is on two brokers at least"
    return either(problems, ok("kafka.insync", well))


def _rights(facts: KafkaFacts, settings: Settings) -> list[Finding]:
    check = "kafka.rights"
    problems, untold = [], []
    for topic in _there(facts):
        right = "Read" if topic is facts.request else "Write"
        if topic.rights is None:
            untold.append(topic.name)
        elif right not in topic.rights:
            problems.append(fail(check, f"no right to {right.lower()} {topic.name}", f"grant this user {right} on it"))
    if facts.group is not None and "Read" not in facts.group:
        problems.append(
            fail(check, f"no right to consume in the group {settings.group_id}", "grant this user Read on the group")
        )
    if facts.producer is False:
        action = "grant this user IdempotentWrite on the cluster (Kafka before 2.8), or Write on the topics"
        problems.append(fail(check, "no right to an idempotent producer", action))
    untold += [f"group {settings.group_id}"] if facts.group is None else []
    untold += ["idempotent producer"] if facts.producer is None else []
    if not _there(facts):
        return [*problems, *skipped([check], "no topic is there")]
    if untold:
        return [*problems, *skipped([check], f"Kafka did not say what is allowed: {', '.join(untold)}")]
    return either(problems, ok(check, "requests may be read, answers and dead letters written"))


def _keys(keys: Keys | None, settings: Settings) -> list[Finding]:
    """A key that is not the customer: no order, and an identity that may be mistaken for one."""
    check = "kafka.keys"
    if keys is None:
        return skipped([check], "no request could be read")
    if not keys.named:
        return [ok(check, "no request names a customer yet" if keys.sampled else "no requests yet")]
    problems = []
    producers = "have producers use the customer id as the record key"
    if keys.different:
        message = f"{keys.different} of {keys.named} requests have a key that is not their customer: order is not kept"
        guess = f"set {PREFIX}CUSTOMER_FROM_KEY=false, so that such a key is never taken for a customer; "
        problems.append(warn(check, message, (guess if settings.customer_from_key else "") + producers))
    if keys.absent:
        message = f"{keys.absent} of {keys.named} requests have no key: the order of a customer's requests is not kept"
        problems.append(warn(check, message, producers))
    return either(problems, ok(check, f"of {keys.named} requests, no key names another customer"))


def _config(topic: Topic, name: str, default: str) -> str:
    return (topic.configs or {}).get(name, default)
