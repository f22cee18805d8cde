"""One batch through the rooms, on a store in memory: what is asked of it, what is committed, what is counted."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.model import Answer
from app.pipeline import TURN, Pipeline, _in_turns, uuid7
from app.telemetry import Health, Metrics
from tests.support import body
from tests.unit.making import EVENT, NOW, customer, holding, parsed, patient
from tests.unit.making import record as made
from tests.unit.making_store import Memory, Passes, events, pipeline


def told(answers: list[Answer]) -> list[str]:
    return [answer.error or answer.outcome.value for answer in answers]


@pytest.mark.rule("R6.1", "R6.10")
async def test_a_batch_is_answered_in_order_and_committed_once() -> None:
    memory = Memory()
    batch = [*events("1", "2"), made(b"{", offset=200), *events("3", city=7)]
    answers = await pipeline(memory).process(batch, Passes())
    assert told(answers) == ["created", "created", "invalid_json", "validation_failed"]
    assert [answer.record.position.offset for answer in answers] == [100, 101, 200, 100]
    assert memory.committed == [["1", "2"]]
    assert sorted(memory.known.customers) == sorted(memory.known.patients) == ["cus_1", "cus_2"]
    assert {answer.answer for answer in memory.known.answers.values()} == {answer.value for answer in answers[:2]}


@pytest.mark.rule("R6.2", "R4.21")
async def test_a_batch_that_comes_again_gets_the_same_answers_and_commits_nothing() -> None:
    memory = Memory()
    first = await pipeline(memory).process(events("1", "2"), Passes())
    gate = Passes()
    again = await pipeline(memory, unknown_customer="reject").process(events("1", "2"), gate)
    assert [answer.value for answer in again] == [answer.value for answer in first]
    assert [answer.id for answer in again] == [answer.id for answer in first]
    assert [answer.replayed for answer in [*first, *again]] == [False, False, True, True]
    assert (memory.committed, gate.passed) == ([["1", "2"]], 0)


async def test_the_store_is_asked_for_the_rows_and_answers_that_the_batch_concerns() -> None:
    memory = Memory()
    batch = [*events("1", "2"), *events("2", customer="cus_9"), made(b"{", key=None), made(undecodable=True, key=None)]
    await pipeline(memory).process(batch, Passes())
    ((keys, customers),) = memory.read
    assert customers == {"cus_1", "cus_2", "cus_9"}
    assert len(keys) == 3  # two ids, and the place of both records that name nobody
    assert memory.looked_up == []


# --- the settings


@pytest.mark.rule("R5C.9")
async def test_unknown_customers_are_created_or_not_found() -> None:
    assert told(await pipeline(Memory()).process(events("1"), Passes())) == ["created"]
    assert told(await pipeline(Memory(), unknown_customer="reject").process(events("1"), Passes())) == [
        "customer_not_found"
    ]


@pytest.mark.rule("R6.23")
async def test_older_events_are_superseded_or_applied() -> None:
    known = holding(customer(), patient(effective_at=NOW))
    old = [made(body(), (*EVENT, ("ce_time", b"2026-01-01T10:00:00Z")))]
    assert told(await pipeline(Memory(known)).process(old, Passes())) == ["superseded"]
    assert told(await pipeline(Memory(known), stale_events="apply").process(old, Passes())) == ["updated"]


@pytest.mark.rule("R3.32")
async def test_the_key_names_the_customer_or_nobody() -> None:
    assert told(await pipeline(Memory()).process(events("1"), Passes())) == ["created"]
    assert told(await pipeline(Memory(), customer_from_key=False).process(events("1"), Passes())) == [
        "customer_missing"
    ]


@pytest.mark.rule("R3.34")
async def test_the_pattern_of_customers_is_a_setting() -> None:
    batch = [made(body(customer="Ö 1"))]
    assert told(await pipeline(Memory()).process(batch, Passes())) == ["validation_failed"]
    assert told(await pipeline(Memory(), customer_pattern="Ö .").process(batch, Passes())) == ["created"]


# --- patients without a customer


@pytest.mark.rule("R5C.14", "R3.31")
async def test_only_patients_without_a_customer_are_looked_up() -> None:
    memory = Memory(holding(customer(), patient(), customer("cus_2"), patient("cus_2", patient="pat_b")))
    batch = [
        made(body(patient="pat_b"), key=b"cus_1", offset=1),
        made(body(patient="pat_cus_1", customer="cus_1"), key=None, offset=2),
        made(body(patient="pat_no"), key=None, offset=3),
        made(body(patient="pat_b", city="B"), key=None, offset=4),
    ]
    answers = await pipeline(memory).process(batch, Passes())
    assert told(answers) == ["updated", "updated", "patient_not_found", "updated"]
    assert [answer.customer for answer in answers] == ["cus_2", "cus_1", None, "cus_2"]
    assert memory.looked_up == [["pat_b", "pat_no"]]


@pytest.mark.rule("R5C.15", "R6.24")
@pytest.mark.parametrize("wrong", ["a\0", "\ud800", "a" * 256, "\x85"])
async def test_a_patient_that_can_be_none_is_not_looked_up(wrong: str) -> None:
    memory = Memory()
    bad = made(body(patient="SECRET").replace(b"SECRET", repr_json(wrong)), key=None, offset=1)
    also = made(body(patient="pat_no"), key=None, offset=2)
    answers = await pipeline(memory).process([bad, *events("1"), also], Passes())
    assert told(answers) == ["validation_failed", "created", "patient_not_found"]
    assert [detail["field"] for detail in parsed(answers[0])["response"]["details"]] == ["/patient"]
    assert memory.looked_up == [["pat_no"]]


def repr_json(text: str) -> bytes:
    return "".join(f"\\u{ord(character):04x}" for character in text).encode()


# --- clock, ids, counters


@pytest.mark.rule("R6.33")
async def test_times_are_whole_milliseconds() -> None:
    memory = Memory()
    worker = dataclasses.replace(pipeline(memory), clock=lambda: NOW + timedelta(microseconds=345_999))
    answers = await worker.process(events("1"), Passes())
    expected = NOW + timedelta(milliseconds=345)
    assert memory.known.customers["cus_1"].updated_at == memory.known.patients["cus_1"].created_at == expected
    assert answers[0].time == expected


@pytest.mark.rule("R6.17")
async def test_a_record_without_a_timestamp_takes_effect_when_it_is_received() -> None:
    memory = Memory()
    await pipeline(memory).process([made(timestamp=-1)], Passes())
    assert memory.known.patients["cus_1"].effective_at == NOW


@pytest.mark.rule("R5C.6")
async def test_a_new_patient_is_named_with_a_uuid_of_version_7() -> None:
    memory = Memory()
    worker = Pipeline(memory, pipeline(memory).settings, Health(), Metrics())
    await worker.process(events("1", "2"), Passes())
    form = r"pat_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    patients = [row.patient for row in memory.known.patients.values()]
    assert len(set(patients)) == 2
    assert [name for name in patients if not re.fullmatch(form, name)] == []
    assert abs(datetime.now(UTC) - memory.known.patients["cus_1"].created_at) < timedelta(minutes=1)


@pytest.mark.rule("R5C.6")
def test_a_uuid_of_version_7_begins_with_the_time() -> None:
    before = time.time_ns() // 1_000_000
    made_now = [uuid.UUID(uuid7()) for _ in range(1000)]
    later = time.time_ns() // 1_000_000
    assert len(set(made_now)) == 1000
    assert {(found.version, found.variant) for found in made_now} == {(7, uuid.RFC_4122)}
    assert [found for found in made_now if not before <= found.int >> 80 <= later] == []


def counted(worker: Pipeline, name: str, **labels: str) -> Any:
    return worker.metrics.registry.get_sample_value(f"patient_upsert_{name}_total", labels)


@pytest.mark.rule("R6.34", "R3.36")
async def test_answers_replays_and_keys_that_differ_are_counted() -> None:
    worker = pipeline(Memory())
    differs = made(body(customer="cus_1"), key=b"cus_2", offset=5)
    await worker.process([*events("1", "2"), *events("3", city=7), differs], Passes())
    await worker.process(events("1", "4"), Passes())
    assert counted(worker, "answers", outcome="created", code="") == 4
    assert counted(worker, "answers", outcome="rejected", code="validation_failed") == 1
    assert counted(worker, "answers", outcome="unchanged", code="") == 1
    assert counted(worker, "replays") == 1
    assert counted(worker, "keys_that_differ") == 1


async def test_while_many_records_are_understood_others_have_their_turns() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    assert await _in_turns(str, range(5 * TURN)) == list(map(str, range(5 * TURN)))
    beside.cancel()
    assert turns >= 4
