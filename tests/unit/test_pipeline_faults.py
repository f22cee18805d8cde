"""A batch when others move its rows, when the database refuses or is away, and when its partitions are given away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from app.errors import Abandoned, Conflict, DataFault, Fatal, Transient
from app.model import Answer
from tests.unit.making import after, customer, decided, holding, parsed, patient, request_of
from tests.unit.making import record as made
from tests.unit.making_store import Memory, Passes, events, moved, pipeline


def told(answers: list[Answer]) -> list[str]:
    return [answer.error or answer.outcome.value for answer in answers]


AWAY = Transient("postgres: connection lost or refused")
REFUSED = DataFault("postgres: SQLSTATE 22001")
MOVED = Conflict("a row has moved")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that are waited for, without waiting."""
    waited: list[float] = []
    real: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return waited


# --- conflicts


@pytest.mark.rule("R6.26")
async def test_a_batch_whose_rows_have_moved_is_read_and_decided_again() -> None:
    memory = Memory(holding(customer(), patient()))
    memory.meanwhile = [moved(memory, "cus_1")]
    worker = pipeline(memory)
    (answer,) = await worker.process(events("1", customer="cus_1"), Passes())
    assert parsed(answer)["response"]["first_name"] == "Moved"
    assert memory.known.customers["cus_1"].version == 6
    assert (memory.committed, memory.locks) == ([["1"]], [False, False])
    assert worker.metrics.registry.get_sample_value("patient_upsert_conflicts_total") == 1


@pytest.mark.rule("R6.26", "R6.2")
async def test_a_request_that_someone_else_answered_meanwhile_gets_that_answer() -> None:
    memory = Memory()
    batch = events("1", "2")
    elsewhere = decided(request_of(batch[0]), new_patient_id=lambda: "pat_elsewhere")

    def answer_elsewhere() -> None:
        memory.known = after(memory.known, elsewhere.writes)

    memory.meanwhile = [answer_elsewhere]
    answers = await pipeline(memory).process(batch, Passes())
    assert [answer.replayed for answer in answers] == [True, False]
    assert answers[0].value == elsewhere.answers[0].value
    assert memory.known.patients["cus_1"].patient == "pat_elsewhere"
    assert memory.committed == [["2"]]


@pytest.mark.rule("R6.27")
async def test_after_two_conflicts_the_rows_are_locked() -> None:
    memory = Memory(raises={"write": [MOVED] * 4})
    answers = await pipeline(memory).process(events("1"), Passes())
    assert told(answers) == ["created"]
    assert memory.locks == [False, False, True, True, True]


@pytest.mark.rule("R6.27")
async def test_conflicts_of_one_batch_do_not_lock_the_next() -> None:
    memory = Memory(raises={"write": [MOVED] * 3})
    worker = pipeline(memory)
    await worker.process(events("1"), Passes())
    await worker.process(events("2"), Passes())
    assert memory.locks == [False, False, True, True, False]


# --- faults of data


@pytest.mark.rule("R6.28", "R6.24", "R4.22")
async def test_a_request_that_the_database_refuses_stands_alone_with_a_500() -> None:
    memory = Memory(poison={"5"})
    answers = await pipeline(memory).process(events(*"12345678"), Passes())
    assert told(answers) == ["created"] * 4 + ["internal_error"] + ["created"] * 3
    assert memory.committed == [["1", "2", "3", "4"], ["6"], ["7", "8"]]
    assert [answer.dead_letter for answer in answers] == [False] * 4 + [True] + [False] * 3
    assert answers[4].value == (
        b'{"status":500,"outcome":"failed","request":{"id":"5","source":"/upstream","customer":"cus_5"},'
        b'"response":{"error":"internal_error","details":['
        b'{"field":"","code":"failed","message":"the request could not be processed"}]}}'
    )
    assert "cus_5" not in memory.known.customers


@pytest.mark.rule("R6.28", "R6.14")
async def test_the_halves_are_applied_in_order() -> None:
    memory = Memory(poison={"2"})
    batch = events("1", "2", "3", "4", customer="cus_1")
    batch[3] = events("x", "x", "x", "4", customer="cus_1", city="Last")[3]
    answers = await pipeline(memory).process(batch, Passes())
    assert told(answers) == ["created", "internal_error", "unchanged", "updated"]
    assert memory.known.patients["cus_1"].city == "Last"
    assert memory.committed == [["1"], ["3", "4"]]


@pytest.mark.rule("R6.28")
@pytest.mark.parametrize("call", ["read", "write"])
async def test_a_refusal_of_the_database_at_any_call_concerns_one_request(call: str) -> None:
    memory = Memory(raises={call: [REFUSED, REFUSED]})
    assert told(await pipeline(memory).process(events("1", "2"), Passes())) == ["internal_error", "created"]


@pytest.mark.rule("R6.9", "R6.28")
async def test_a_failed_request_may_be_sent_again() -> None:
    memory = Memory(poison={"1"})
    worker = pipeline(memory)
    assert told(await worker.process(events("1"), Passes())) == ["internal_error"]
    memory.poison.clear()
    assert told(await worker.process(events("1"), Passes())) == ["created"]


@pytest.mark.rule("R6.28", "R4.14")
async def test_a_failed_request_is_logged_with_its_place_and_cause_and_no_value() -> None:
    with capture_logs() as logged:
        await pipeline(Memory(poison={"1"})).process(events("1"), Passes())
    assert logged == [
        {
            "event": "request_failed",
            "log_level": "error",
            "position": "patient.upsert.requested/3/100@1767323045678",
            "cause": "postgres: SQLSTATE 23514",
        }
    ]


def ids(count: int, name: str = "p") -> list[str]:
    return [f"{name}{number}" for number in range(count)]


@pytest.mark.rule("R6.29")
async def test_50_failures_in_a_row_stop_the_worker() -> None:
    memory = Memory(poison=set(ids(60)))
    with pytest.raises(Fatal, match="50 requests in a row could not be processed: postgres: SQLSTATE 23514"):
        await pipeline(memory).process(events(*ids(60)), Passes())
    assert told(await pipeline(memory).process(events(*ids(49)), Passes())) == ["internal_error"] * 49


@pytest.mark.rule("R6.29")
async def test_failures_are_counted_over_batches() -> None:
    worker = pipeline(Memory(poison=set(ids(50))))
    await worker.process(events(*ids(49)), Passes())
    with pytest.raises(Fatal):
        await worker.process(events("p49"), Passes())


@pytest.mark.rule("R6.29")
async def test_a_request_that_the_database_takes_begins_the_count_anew() -> None:
    worker = pipeline(Memory(poison=set(ids(98))))
    batch = [*events(*ids(49)), *events("good"), *events(*ids(98)[49:])]
    answers = await worker.process(batch, Passes())
    assert told(answers) == ["internal_error"] * 49 + ["created"] + ["internal_error"] * 49
    with pytest.raises(Fatal):
        await worker.process(events("p0"), Passes())


@pytest.mark.rule("R6.29")
async def test_refusals_and_replays_do_not_begin_the_count_anew() -> None:
    memory = Memory()
    worker = pipeline(memory)
    await worker.process(events("good"), Passes())
    memory.poison = set(ids(50))
    for number in range(49):
        await worker.process([*events(f"p{number}"), *events("bad", city=7), *events("good")], Passes())
    with pytest.raises(Fatal):
        await worker.process([*events("good"), *events("p49")], Passes())


# --- the database is away


@pytest.mark.rule("R6.30")
@pytest.mark.parametrize("call", ["begin", "read", "write", "commit"])
async def test_while_the_database_is_away_the_batch_waits(call: str, waits: list[float]) -> None:
    memory = Memory(raises={call: [AWAY, AWAY, AWAY]})
    assert told(await pipeline(memory).process(events("1", "2"), Passes())) == ["created", "created"]
    assert memory.committed == [["1", "2"]]
    assert len(waits) == 3


@pytest.mark.rule("R6.30")
async def test_the_lookup_of_patients_waits_as_well(waits: list[float]) -> None:
    memory = Memory(holding(customer(), patient()), raises={"owners": [AWAY, AWAY]})
    batch = [made(b'{"patient":"pat_cus_1"}', key=None)]
    assert told(await pipeline(memory).process(batch, Passes())) == ["validation_failed"]
    assert len(waits) == 2


@pytest.mark.rule("R6.30")
async def test_it_waits_longer_each_time_and_never_long(waits: list[float]) -> None:
    memory = Memory(raises={"read": [AWAY] * 40})
    await pipeline(memory).process(events("1"), Passes())
    bounds = [0.1 * 2**number for number in range(40)]
    assert [wait for wait, bound in zip(waits, bounds, strict=True) if not 0 <= wait <= min(bound, 5)] == []
    assert len(set(waits)) > 30  # jitter
    assert max(waits) > 1


@pytest.mark.rule("R6.30", "R6.2")
async def test_a_commit_of_unknown_outcome_is_repeated_and_finds_its_answers(waits: list[float]) -> None:
    memory = Memory(raises={"committed": [AWAY]})
    answers = await pipeline(memory).process(events("1"), Passes())
    assert told(answers) == ["created"]
    assert answers[0].replayed
    assert memory.committed == [["1"]]
    assert len(waits) == 1


@pytest.mark.rule("R6.30", "R6.31")
async def test_it_says_that_it_waits_and_that_it_no_longer_does(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = pipeline(Memory(raises={"read": [AWAY]}))
    said: list[str | None] = []

    async def sleep(seconds: float) -> None:
        said.append(worker.health.missing.get("batch"))

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await worker.process(events("1"), Passes())
    assert said == ["postgres: connection lost or refused"]
    assert worker.health.has("batch")


@pytest.mark.rule("R6.31")
async def test_a_batch_that_is_given_up_while_it_waits_no_longer_counts_as_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = pipeline(Memory(raises={"read": [AWAY]}))
    waits = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waits.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "sleep", sleep)
    task = asyncio.create_task(worker.process(events("1"), Passes()))
    await waits.wait()
    assert not worker.health.has("batch")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert worker.health.has("batch")


@pytest.mark.rule("R6.31")
async def test_a_batch_that_fails_after_it_waited_no_longer_counts_as_waiting(waits: list[float]) -> None:
    worker = pipeline(Memory(raises={"read": [AWAY, REFUSED]}))
    assert told(await worker.process(events("1"), Passes())) == ["internal_error"]
    assert worker.health.has("batch")
    assert len(waits) == 1


@pytest.mark.rule("R6.35")
@pytest.mark.parametrize("call", ["owners", "read", "write", "commit"])
async def test_an_unexpected_error_rises(call: str) -> None:
    memory = Memory(raises={call: [RuntimeError("a fault of ours")]})
    with pytest.raises(RuntimeError):
        await pipeline(memory).process([*events("1"), made(b'{"patient":"pat_1"}', key=None)], Passes())
    assert memory.committed == []


# --- the gate


@pytest.mark.rule("R6.32")
async def test_each_commit_passes_the_gate_once() -> None:
    gate, memory = Passes(), Memory(poison={"2"})
    await pipeline(memory).process(events("1", "2", "3", "4"), gate)
    assert memory.committed == [["1"], ["3", "4"]]
    assert gate.passed == 2


@pytest.mark.rule("R6.32")
async def test_what_commits_nothing_does_not_pass_the_gate() -> None:
    gate, memory = Passes(closes_after=0), Memory()
    assert told(await pipeline(memory).process(events("1", city=7), gate)) == ["validation_failed"]
    assert gate.passed == 0


@pytest.mark.rule("R6.32")
async def test_behind_a_closed_gate_nothing_is_committed() -> None:
    memory = Memory()
    with pytest.raises(Abandoned):
        await pipeline(memory).process(events("1"), Passes(closes_after=0))
    assert memory.committed == []
    assert not memory.known.customers


@pytest.mark.rule("R6.32")
async def test_a_gate_that_closes_between_two_halves_keeps_the_second_from_committing() -> None:
    memory = Memory(poison={"1"})
    with pytest.raises(Abandoned):
        await pipeline(memory).process(events("1", "2", "3", "4"), Passes(closes_after=1))
    assert memory.committed == [["2"]]
