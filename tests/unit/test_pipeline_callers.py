"""A batch whose callers are told apart: who is answered what, what is written, and what waits."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from app.authorise.callers import TokenCallers
from app.model import Record
from app.pipeline import Pipeline
from app.response import answer_headers, letter_headers
from tests.support import body, until
from tests.tokens import GUARDED, bearing, token
from tests.unit.making import EVENT, NOW, customer, holding, parsed, patient, record, with_headers
from tests.unit.making_store import Memory, Passes, pipeline
from tests.unit.test_callers import POLICY, Issuer

T = int(NOW.timestamp())


def guarded(memory: Memory, **changes: Any) -> Pipeline:
    """A pipeline that accepts tokens of the shared secret."""
    return pipeline(memory, **GUARDED, auth_leeway_seconds=0, **changes)


def good(**claims: Any) -> bytes:
    return token("secret", **{"exp": T + 60, **claims})


def event(id: str, given: bytes | None, *, name: str | None = "cus_1", offset: int = 7, **changes: Any) -> Record:
    headers = list(with_headers(EVENT, ce_id=id.encode()))
    headers += [bearing(given)] if given is not None else []
    return record(body(**changes), headers, key=None if name is None else name.encode(), offset=offset)


def told(answers: Any) -> list[str]:
    return [answer.error or answer.outcome.value for answer in answers]


@pytest.mark.rule("R9.1", "R9.4", "R9.5")
async def test_only_requests_of_callers_who_may_have_an_effect() -> None:
    memory = Memory()
    batch = [
        event("1", good(), name="cus_1"),
        event("2", None, name="cus_2"),
        event("3", good(exp=T - 1), name="cus_3"),
        event("4", good(nbf=T + 5), name="cus_4"),
        event("5", good(aud="other"), name="cus_5"),
        event("6", good(customers=["cus_6"]), name="cus_6"),
        event("7", good(customers=["cus_6"]), name="cus_7"),
        event("8", token("RSA", exp=T + 60), name="cus_8"),
    ]
    answers = await guarded(memory).process(batch, Passes())
    assert told(answers) == ["created", *["unauthorized"] * 4, "created", *["unauthorized"] * 2]
    assert sorted(memory.known.customers) == ["cus_1", "cus_6"]
    assert sorted(answer.id for answer in memory.known.answers.values()) == ["1", "6"]
    assert {str(parsed(answer)["response"]) for answer in answers if answer.error} == {
        "{'error': 'unauthorized', 'details': "
        "[{'field': '', 'code': 'not_allowed', 'message': 'the caller may not do this'}]}"
    }
    assert {answer.status for answer in answers if answer.error} == {401}
    assert not any(answer.dead_letter for answer in answers)


@pytest.mark.rule("R9.14")
async def test_who_may_not_is_told_so_before_anything_else() -> None:
    batch = [
        event("1", None, phone=""),
        record(b"{", [bearing(b"x")], offset=8),
        record(None, [bearing(good()), bearing(b"other")], offset=9),
        record(undecodable=True, offset=10),
        event("2", good(), phone="", offset=11),
    ]
    answers = await guarded(Memory()).process(batch, Passes())
    assert told(answers) == ["unauthorized"] * 3 + ["invalid_event", "validation_failed"]


@pytest.mark.rule("R9.11", "R6.2", "R6.3")
async def test_a_stored_answer_is_for_a_redelivery_and_for_callers_who_may_only() -> None:
    memory = Memory()
    worker = guarded(memory)
    (first,) = await worker.process([event("1", good(), offset=1)], Passes())
    again, stranger, other, allowed = await worker.process(
        [
            event("1", None, offset=1),  # its token is accepted no more
            event("1", None, offset=2),
            event("1", good(customers=["cus_2"]), offset=3),
            event("1", good(sub="someone else"), offset=4),
        ],
        Passes(),
    )
    assert told([first, again, stranger, other, allowed]) == ["created", "created", *["unauthorized"] * 2, "created"]
    assert again.value == first.value == allowed.value
    assert "Ada" not in (stranger.value + other.value).decode()


@pytest.mark.rule("R9.6")
async def test_a_patient_of_someone_else_is_answered_like_one_that_nobody_knows() -> None:
    rows: list[Any] = [customer(), patient(), customer("cus_2"), patient("cus_2")]
    held = good(customers=["cus_1"])
    for given, code in ((held, "patient_not_found"), (None, "unauthorized")):
        for name in (None, "cus_1"):
            memory = Memory(holding(*rows))
            known = [event("1", given, name=name, patient="pat_cus_2"), event("1", given, name=name, patient="pat_no")]
            answers = await guarded(memory).process(known, Passes())
            assert told(answers) == [code, code]
            assert answers[0].value == answers[1].value
            assert answers[0].customer == answers[1].customer
            assert memory.committed == []
    own = await guarded(Memory(holding(*rows))).process([event("1", held, name=None, patient="pat_cus_1")], Passes())
    assert told(own) == ["updated"]


@pytest.mark.rule("R9.3")
async def test_a_request_that_waited_is_judged_by_the_time_at_which_the_broker_took_it() -> None:
    stamped = dataclasses.replace(event("1", good(exp=T - 1)), broker_time=True)
    late = dataclasses.replace(event("2", good(exp=T - 2), offset=8), broker_time=True)
    assert stamped.position.timestamp / 1000 < T - 1
    answers = await guarded(Memory()).process([stamped, late], Passes())
    assert told(answers) == ["created", "unauthorized"]


@pytest.mark.rule("R9.7")
async def test_a_batch_waits_for_keys_and_is_judged_by_when_it_came() -> None:
    memory, issuer = Memory(), Issuer("Ed25519")
    issuer.error = TimeoutError()
    worker = pipeline(memory)
    worker.callers = TokenCallers(POLICY, issuer, worker.health)
    times = iter([NOW])
    later = NOW.replace(year=2030)
    worker.clock = lambda: next(times, later)
    batch = [event("1", token(exp=T + 1))]
    working = asyncio.create_task(worker.process(batch, Passes()))
    await until(lambda: worker.health.missing.get("next batch") == "callers: the keys cannot be had: no answer in time")
    assert memory.read == []
    issuer.error = None
    assert told(await working) == ["created"]
    assert worker.health.has("next batch")


@pytest.mark.rule("R9.10")
async def test_a_token_goes_nowhere() -> None:
    memory = Memory(poison={"1"})
    given = good()
    kept = event("1", given)
    batch = [kept, event("2", given, name="cus_2"), event("3", good(aud="no"), name="cus_3")]
    answers = await guarded(memory).process(batch, Passes())
    assert told(answers) == ["internal_error", "created", "unauthorized"]
    written = [memory.known, memory.committed, *(answer.value for answer in answers)]
    written += [answer_headers(answer, "t") for answer in answers]
    written += [letter_headers(answer, "g") for answer in answers]
    written += [repr(kept), repr(answers)]
    text = f"{written}{[tuple(answer) for answer in memory.known.answers.values()]}"
    assert not [piece for piece in given.decode().split(".") if piece in text]
