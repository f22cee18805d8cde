"""What the README says is true: its commands run as written, and its tables are those of the code."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psutil

from devstack.servers import Servers
from devstack.servers.reaper import family, send
from devstack.servers.waiting import free_port
from tests.readme import README, ROOT, written
from tests.support import until

COMMAND_SECONDS = 240


def blocks() -> list[str]:
    """The fenced shell commands, in their order."""
    return re.findall(r"^```sh\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def is_ready(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as response:
            return bool(response.status == 200)
    except (HTTPError, URLError, OSError):
        return False


def test_the_parts_that_come_from_the_code_are_current() -> None:
    assert README.read_text(encoding="utf-8") == written()


def test_the_two_commands_are_what_ci_runs() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    first, *_ = blocks()
    assert first.split("\n") == ["make demo", "make test", ""]
    assert set(first.split("\n")[:2]) <= set(ci)


async def test_every_other_command_runs_as_written(shared: Servers, database_url: str) -> None:
    _, serving, *others = blocks()
    port = free_port()
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": shared.kafka,
        "DATABASE_URL": database_url,
        "PATIENT_UPSERT_HTTP_PORT": str(port),
    }
    assert serving.rstrip().endswith("patient-upsert run")
    assert len(others) == 1
    async with shell(serving, environment) as worker:
        await until(lambda: asyncio.to_thread(is_ready, port), COMMAND_SECONDS)
        for block in others:
            async with shell(block, environment) as command:
                async with asyncio.timeout(COMMAND_SECONDS):
                    assert await command.wait() == 0, block
        running = [child for child in psutil.Process(worker.pid).children() if "run" in child.cmdline()]
        assert len(running) == 1
        running[0].send_signal(signal.SIGTERM)
        async with asyncio.timeout(COMMAND_SECONDS):
            assert await worker.wait() == 0


@asynccontextmanager
async def shell(block: str, environment: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """These lines in a shell, in the folder of the project; nothing of them is left behind."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-euc", f"{block}\n:", cwd=ROOT, env=environment, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            for member in family(psutil.Process(process.pid)):
                send(member, signal.SIGKILL)
            await process.wait()
