"""The worker as a process of its own: signals, exit codes, and what it leaves for the next one."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import asyncpg
import orjson
import pytest

from app.settings import Settings
from devstack.servers.waiting import free_port
from tests.faults.broker_side import all_answered, answers, committed, foreign
from tests.faults.conftest import Ours, ours, own  # noqa: F401 - fixtures
from tests.roles import as_owner
from tests.support import PATIENCE, plain, until, waits_for_a_lock

BIN = Path(sys.executable).parent
WORKER = (str(BIN / "patient-upsert"), "run")
STOP_LIMIT = 10.0
"""Seconds in which the worker must have ended, by design."""


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """What a process needs to run with these settings."""
    kept = {name: value for name, value in os.environ.items() if "PATIENT_UPSERT" not in name}
    values = {
        f"PATIENT_UPSERT_{name.upper()}": str(value)
        for name, value in settings.model_dump(exclude_defaults=True).items()
        if name != "database_url"
    }
    return {**kept, **values, "PATIENT_UPSERT_DATABASE_URL": settings.database_url.get_secret_value(), **more}


class Process:
    """A worker that was started."""

    def __init__(self, child: subprocess.Popen[bytes], port: int) -> None:
        self.child, self.port = child, port

    async def page(self, path: str) -> tuple[int, str]:
        """Status and text of one of its pages; (0, "") while it does not listen."""

        def get() -> tuple[int, str]:
            try:
                with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                    return answer.status, answer.read().decode()
            except HTTPError as error:
                with error:
                    return error.code, error.read().decode()
            except OSError:
                return 0, ""

        assert self.child.poll() is None, "the worker has ended"
        return await asyncio.to_thread(get)

    async def until_ready(self) -> None:
        async def is_ready() -> bool:
            return (await self.page("/readyz"))[0] == 200

        await until(is_ready)

    async def stopped(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Its exit code after this signal, and the seconds it took."""
        began = time.monotonic()
        self.child.send_signal(number)
        code = await asyncio.to_thread(self.child.wait, PATIENCE)
        return code, time.monotonic() - began


@asynccontextmanager
async def process(settings: Settings, *command: str, **more: str) -> AsyncIterator[Process]:
    """A worker of these settings, ended with the block at the latest."""
    port = free_port()
    given = environment(settings, PATIENT_UPSERT_HTTP_PORT=str(port), PATIENT_UPSERT_HTTP_HOST="127.0.0.1", **more)
    arguments = [word.replace("{port}", str(port)) for word in command or WORKER]
    with tempfile.TemporaryFile() as log:
        child = await asyncio.to_thread(subprocess.Popen, arguments, env=given, stdout=subprocess.DEVNULL, stderr=log)
        try:
            yield Process(child, port)
        finally:
            child.kill()
            child.wait()
            log.seek(0)
            sys.stderr.write(log.read().decode())  # pytest shows it when the test fails


async def busy(worker: Process) -> bool:
    return "patient_upsert_answers_total{" in (await worker.page("/metrics"))[1]


@pytest.mark.rule("R6.75")
async def test_on_sigterm_under_load_the_batch_in_hand_is_finished_and_the_next_worker_answers_nothing_twice(
    settings: Settings,
) -> None:
    settings = settings.model_copy(update={"batch_max_records": 100})
    places = await foreign(settings).send(settings, *(plain(f"cus_{number % 200}") for number in range(6000)))
    database = await asyncpg.connect(as_owner(settings))
    await database.execute("begin; lock table requests in exclusive mode")
    async with process(settings) as worker:
        await until(lambda: waits_for_a_lock(settings))
        stopping = asyncio.create_task(worker.stopped())
        await asyncio.sleep(0)  # the signal is sent
        await database.execute("rollback")
        code, seconds = await stopping
    await database.close()
    assert code == 0
    assert seconds < STOP_LIMIT
    given = await answers(settings)
    assert 0 < len(given) < len(places)
    ends = await committed(settings)
    assert set(given) == {place for place in places if place[1] < ends.get(place[0], 0)}
    async with process(settings) as worker:
        given = await all_answered(settings, *places)
        code, _ = await worker.stopped(signal.SIGINT)
    assert code == 0
    assert {len(found) for found in given.values()} == {1}


@pytest.mark.rule("R6.57")
async def test_after_sigkill_under_load_every_request_is_answered_and_repeated_answers_are_the_same_bytes(
    settings: Settings,
) -> None:
    settings = settings.model_copy(update={"batch_max_records": 100})
    places = await foreign(settings).send(settings, *(plain(f"cus_{number % 200}") for number in range(3000)))
    async with process(settings) as worker:
        await until(lambda: busy(worker))
        assert (await worker.stopped(signal.SIGKILL))[0] == -signal.SIGKILL
    async with process(settings):
        given = await all_answered(settings, *places)
    assert set(given) == set(places)
    assert all(len({answer.record.value for answer in found}) == 1 for found in given.values())


@pytest.mark.rule("R6.75")
@pytest.mark.parametrize("how", ["stop", "pause"])
@pytest.mark.parametrize("away", ["kafka", "postgres"])
async def test_on_sigterm_the_worker_ends_in_time_also_with_a_server_away(
    ours: Ours,  # noqa: F811
    own: Settings,  # noqa: F811
    away: str,
    how: str,
) -> None:
    control: Any = getattr(ours, away)
    end, begin = {"stop": (control.stop, control.start), "pause": (control.pause, control.resume)}[how]
    async with process(own) as worker:
        await worker.until_ready()
        producer = foreign(own)
        places = await producer.send(own, *(plain(f"cus_{number}") for number in range(3)))
        sending = asyncio.create_task(producer.send(own, *(plain(f"cus_{number}") for number in range(600))))
        await until(lambda: busy(worker))
        await asyncio.to_thread(end)
        try:

            async def noticed() -> bool:
                return (await worker.page("/readyz"))[0] == 503

            if how == "stop":  # what hangs is noticed late
                await until(noticed)
            code, seconds = await worker.stopped()
        finally:
            await asyncio.to_thread(begin)
        assert code == 0
        assert seconds < STOP_LIMIT
        places += await sending
    async with process(own):
        given = await all_answered(own, *places)
    assert all(len({answer.record.value for answer in found}) == 1 for found in given.values())


@pytest.mark.rule("R6.81")
async def test_faststreams_own_command_runs_the_worker(settings: Settings) -> None:
    command = (str(BIN / "faststream"), "run", "app.main:create_app", "--factory", "--port", "{port}")
    async with process(settings, *command) as worker:
        await worker.until_ready()
        places = await foreign(settings).send(settings, plain("cus_1"))
        given = await all_answered(settings, *places)
        code, seconds = await worker.stopped()
    assert given[places[0]][0].status == 200
    assert seconds < STOP_LIMIT
    assert code in (0, 128 + signal.SIGTERM, -signal.SIGTERM)
    assert set((await committed(settings)).values()) == {1}


def refusal(environ: Mapping[str, str], command: Sequence[str] = WORKER) -> tuple[int, list[str]]:
    """Exit code and lines of a worker that cannot start."""
    done = subprocess.run(command, env=environ, capture_output=True, timeout=PATIENCE, check=False)
    assert done.stdout == b""
    return done.returncode, done.stderr.decode().splitlines()


@pytest.mark.rule("R6.82")
async def test_a_port_in_use_is_one_line_and_exit_code_1(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = environment(settings, PATIENT_UPSERT_HTTP_PORT=str(port), PATIENT_UPSERT_HTTP_HOST="127.0.0.1")
        code, lines = await asyncio.to_thread(refusal, given)
    assert code == 1
    (line,) = lines
    assert f"127.0.0.1:{port}" in line
    assert "PATIENT_UPSERT_HTTP_PORT" in line


@pytest.mark.rule("R6.82")
async def test_settings_that_cannot_be_used_are_one_line_each_and_exit_code_2(settings: Settings) -> None:
    given = environment(settings, PATIENT_UPSERT_HTTP_PORT="many", PATIENT_UPSERT_GROOP_ID="x")
    code, lines = await asyncio.to_thread(refusal, given)
    assert code == 2
    assert [line.split(":")[0] for line in lines] == ["PATIENT_UPSERT_GROOP_ID", "PATIENT_UPSERT_HTTP_PORT"]
    assert "PATIENT_UPSERT_GROUP_ID" in lines[0]


@pytest.mark.rule("R6.82")
async def test_the_pages_of_a_running_worker_tell_its_state(settings: Settings) -> None:
    async with process(settings) as worker:
        await worker.until_ready()
        assert orjson.loads((await worker.page("/readyz"))[1]) == {"ready": True, "waiting": {}}
        assert orjson.loads((await worker.page("/livez"))[1]) == {"live": True}
