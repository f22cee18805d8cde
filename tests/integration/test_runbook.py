"""Every command of the runbook is run, as it stands there, against real servers and a worker."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import trustme

from app.settings import Settings
from tests.e2e.test_process import BIN, environment, process
from tests.faults.broker_side import foreign, log_of
from tests.kafka_tools import kafka_tools
from tests.roles import as_owner
from tests.runbook import SHELL, Command, runbook
from tests.support import PATIENCE, plain, until

AT_ONCE = 4
"""Most of a command is the start of a program."""
MISSING = [program for program in ("curl", "jq", "openssl", "psql") if shutil.which(program) is None]


def as_here(command: str, settings: Settings) -> str:
    """The command with the names of this stack for the defaults that the runbook writes."""
    names = {
        "patient.upsert.requested": settings.request_topic,
        "patient.upsert.completed": settings.completed_topic,
        "--group patient-upsert": f"--group {settings.group_id}",
    }
    for default, name in names.items():
        command = command.replace(default, name)
    return command


async def run(command: str, given: Mapping[str, str]) -> str | None:
    """Run it in a shell in which every program of a pipe has to succeed; what is wrong with it, if anything is."""
    child = await asyncio.create_subprocess_exec(
        "bash", "-uc", f"set -o pipefail; {command}",
        env=given, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE):
        said, complaint = await child.communicate()
    # `head` and `tail` end a program early; Kafka's tools end some faults with 0, and say `Error:` on standard output.
    # `doctor` has something against servers of tests, which may lose data with their machine.
    fine = (0, 1) if command == "patient-upsert doctor" else (0, 141)
    wrong = child.returncode not in fine or b"Error" in said or b"Error" in complaint
    if wrong or (not (said + complaint).strip() and not MAY_SAY_NOTHING.search(command)):
        return f"{command}\n{child.returncode}: {said.decode()[-300:]}{complaint.decode()[-600:]}"
    return None


MAY_SAY_NOTHING = re.compile(r'"stopped"|"records_expired_unread"|\|\| true$|\|\s*head$')
"""Commands that ask for what there is none of here."""


@asynccontextmanager
async def wire(folder: Path) -> AsyncIterator[str]:
    """The address of a server that shows a certificate, for what asks when one ends; ours lies in the folder."""
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "worker.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.rule("R17.1")
async def test_every_command_of_the_runbook_does_what_it_says(
    settings: Settings, database_url: str, tmp_path: Path
) -> None:
    if MISSING and not os.environ.get("CI"):
        pytest.skip(f"{', '.join(MISSING)} missing")
    settings, log = log_of(settings), tmp_path / "worker.log"
    owner = await asyncpg.connect(as_owner(settings))
    await owner.execute("alter table customers add constraint deployed check (city <> 'Atlantis')")
    command = ("sh", "-c", f"exec {BIN}/patient-upsert run 2>{log}")
    room, found = asyncio.Semaphore(AT_ONCE), []
    async with process(settings, *command) as worker, wire(tmp_path) as tls:
        await worker.until_ready()
        spoilt = (plain(f"cus_{number}", city="Atlantis") for number in range(3))
        await foreign(settings).send(settings, *spoilt, plain("cus_9", phone="-"), partition=0)

        async def answered() -> bool:
            return 'code="validation_failed",outcome="rejected"} 1.0' in (await worker.page("/metrics"))[1]

        await until(answered)
        await owner.execute("alter table customers drop constraint deployed")
        await owner.close()
        common = {
            **environment(settings),
            "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "ADMIN_URL": database_url,
            "WORKER": f"127.0.0.1:{worker.port}",
            "LOG": str(log),
            "PATH": os.pathsep.join([str(kafka_tools(tmp_path)), str(BIN), os.environ["PATH"]]),
        }
        certificate = {"PATIENT_UPSERT_KAFKA_SSL_CERTFILE": str(tmp_path / "worker.pem")}
        special = {
            "owner": {"PATIENT_UPSERT_DATABASE_URL": as_owner(settings)},
            "tls": {"KAFKA_BOOTSTRAP_SERVERS": tls, **certificate},
        }

        async def one(command: Command) -> str | None:
            async with room:
                return await run(as_here(command.text, settings), common | special.get(command.when, {}))

        asked = [each for each in runbook() if each.heading != SHELL]
        in_turn = [each for each in asked if each.heading == "replay"]
        after = [each for each in asked if each.when == "stopped"]
        others = {each.text: each for each in asked if each not in (*in_turn, *after)}
        found += await asyncio.gather(*map(one, others.values()))
        found += [await one(command) for command in in_turn]
        await worker.stopped()
        found += [await one(command) for command in after]
    assert [wrong for wrong in found if wrong] == []
