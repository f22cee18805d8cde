"""Several workers under one parent: they share the work, and end together."""

from __future__ import annotations

import asyncio
import signal
import socket

import psutil
import pytest

from app.settings import Settings
from devstack.servers.waiting import free_port
from tests.e2e.test_process import STOP_LIMIT, WORKER, Process, environment, process, refusal
from tests.faults.broker_side import all_answered, answers, committed, foreign
from tests.support import plain, until

TWO = (*WORKER, "--workers", "2")


def children(worker: Process) -> list[psutil.Process]:
    return psutil.Process(worker.child.pid).children()


async def both_ready(worker: Process) -> list[psutil.Process]:
    """The two processes, once each says so on its own port."""
    await worker.until_ready()
    await Process(worker.child, worker.port + 1).until_ready()
    return children(worker)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes)


@pytest.mark.rule("R6.95")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_two_workers_share_the_partitions_and_end_together_in_order(settings: Settings, number: int) -> None:
    async with process(settings, *TWO) as worker:
        started = await both_ready(worker)
        assert len(started) == 2
        places = await foreign(settings).send(settings, *(plain(f"cus_{number}") for number in range(200)))
        await all_answered(settings, *places)
        pages = [(await Process(worker.child, port).page("/metrics"))[1] for port in (worker.port, worker.port + 1)]
        assert all("patient_upsert_answers_total{" in page for page in pages)
        code, seconds = await worker.stopped(number)
    assert code == 0
    assert seconds < STOP_LIMIT
    assert gone(started)
    assert {len(found) for found in (await answers(settings)).values()} == {1}
    assert sum((await committed(settings)).values()) == len(places)


@pytest.mark.rule("R6.96")
async def test_when_one_of_two_workers_dies_the_other_ends_in_order_and_the_parent_says_so(settings: Settings) -> None:
    async with process(settings, *TWO) as worker:
        first, other = await both_ready(worker)
        first.kill()
        code = await asyncio.to_thread(worker.child.wait, 30)
    assert code == 128 + signal.SIGKILL
    assert gone([other])


@pytest.mark.rule("R6.96")
async def test_a_worker_that_someone_else_stops_ends_the_others_and_is_a_failure(settings: Settings) -> None:
    async with process(settings, *TWO) as worker:
        first, other = await both_ready(worker)
        first.terminate()
        code = await asyncio.to_thread(worker.child.wait, 30)
    assert code == 1
    assert gone([other])


@pytest.mark.rule("R6.96")
async def test_workers_end_by_themselves_when_their_parent_is_killed(settings: Settings) -> None:
    async with process(settings, *TWO) as worker:
        started = await both_ready(worker)
        try:
            await worker.stopped(signal.SIGKILL)
            await until(lambda: gone(started))
        finally:
            for one in started:
                if one.is_running():
                    one.kill()


@pytest.mark.rule("R6.97")
async def test_with_one_of_the_ports_in_use_no_worker_starts(settings: Settings) -> None:
    first = free_port()
    with socket.create_server(("127.0.0.1", first + 1)):
        given = environment(settings, PATIENT_UPSERT_HTTP_PORT=str(first), PATIENT_UPSERT_HTTP_HOST="127.0.0.1")
        code, (line,) = await asyncio.to_thread(refusal, given, TWO)
    assert code == 1
    assert f"127.0.0.1:{first + 1}" in line
    assert "PATIENT_UPSERT_HTTP_PORT" in line


@pytest.mark.rule("R6.97")
async def test_more_workers_than_there_are_ports_above_the_first_are_refused_in_one_line(settings: Settings) -> None:
    code, (line,) = await asyncio.to_thread(refusal, environment(settings, PATIENT_UPSERT_HTTP_PORT="65535"), TWO)
    assert code == 1
    assert "65534" in line
