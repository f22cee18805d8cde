"""A record that kills every process that touches it costs three of them, and nobody else anything."""

from __future__ import annotations

import asyncio
import sys

import pytest

from app.settings import Settings
from tests.e2e.test_process import process
from tests.faults.broker_side import all_answered, everything, foreign, until_committed
from tests.faults.killing import DEADLY
from tests.support import plain, until

PATIENCE_FOR_ALL = 120.0
"""Seconds: the group waits for each that died until its session is over."""
COMMAND = (sys.executable, "-m", "tests.faults.killing", "run")


@pytest.mark.rule("R6.87")
async def test_a_record_that_kills_gets_500_and_a_dead_letter_after_three_deaths_on_it_and_is_passed_by(
    settings: Settings,
) -> None:
    producer = foreign(settings)
    harmless = await producer.send(settings, *(plain(f"cus_{n}") for n in range(5)), partition=0)
    (deadly,) = await producer.send(settings, plain("cus_7", city=DEADLY), partition=0)
    harmless += await producer.send(settings, *(plain(f"cus_{n}") for n in range(10, 15)), partition=0)
    harmless += await producer.send(settings, *(plain(f"cus_{n}") for n in range(20, 30)), partition=1)
    answering = asyncio.create_task(all_answered(settings, *harmless, deadly, patience=PATIENCE_FOR_ALL))
    deaths = 0
    while not answering.done():
        async with process(settings, *COMMAND) as worker:
            await until(lambda: answering.done() or worker.child.poll() is not None, PATIENCE_FOR_ALL)
            if worker.child.poll() is None:
                await until_committed(settings, p0=11, p1=10)
                assert (await worker.stopped())[0] == 0
            else:
                deaths += 1
    given = await answering
    assert deaths == 3
    assert {given[place][-1].status for place in harmless} == {200}
    assert [(answer.status, answer.envelope["request"]["id"]) for answer in given[deadly]] == [(500, None)]
    (letter,) = await everything(settings, settings.dlq_topic)
    assert letter.value == plain("cus_7", city=DEADLY).value
