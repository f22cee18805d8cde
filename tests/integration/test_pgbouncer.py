"""Postgres behind pgbouncer in transaction mode, as Debian packages it: everything that talks to the database."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from app.settings import Settings
from app.store import open_store
from devstack.servers import Servers
from devstack.servers.cleanup import Cleanup
from devstack.servers.process import LocalServer, User
from devstack.servers.waiting import free_port, postgres_answers
from tests.conftest import own_settings
from tests.faults.broker_side import all_answered, answers, foreign, make_topics
from tests.integration.test_doctor_servers import found, not_well
from tests.roles import MIGRATOR, PASSWORD, WORKER, as_role, as_worker
from tests.support import PATIENCE, plain, ready, running, until

REQUESTS = 1000
MIGRATE = "import asyncio, sys; from app.store.migrate import migrate; asyncio.run(migrate(sys.argv[1]))"


@dataclass(frozen=True)
class Bouncer:
    """A pgbouncer in front of the databases of the shared server."""

    port: int
    control: LocalServer

    def through(self, url: str) -> str:
        """The same address by way of it."""
        parts = urlsplit(url)
        return parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{self.port}").geturl()


@pytest.fixture(scope="module")
def bouncer(shared: Servers) -> Iterator[Bouncer]:
    """Two connections to the server a role and database: fewer than the clients have, so that they change hands."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("pgbouncer is missing: apt-get install pgbouncer")
        pytest.skip("pgbouncer is missing: apt-get install pgbouncer")
    server, port = urlsplit(shared.database_url), free_port()
    with tempfile.TemporaryDirectory() as name:
        home, cleanup = Path(name), Cleanup()
        (home / "users").write_text("".join(f'"{role}" "{PASSWORD}"\n' for role in (MIGRATOR, WORKER)))
        (home / "pgbouncer.ini").write_text(f"""\
[databases]
* = host={server.hostname} port={server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {home}/users
pool_mode = transaction
default_pool_size = 2
server_login_retry = 1
server_round_robin = 1
""")
        user = None
        if os.geteuid() == 0:  # it does not run as root
            user = User(65534, 65534)
            home.chmod(0o755)
        control = LocalServer(
            name="pgbouncer",
            command=(program, str(home / "pgbouncer.ini")),
            home=home,
            log=home / "log",
            cleanup=cleanup,
            ready=lambda: postgres_answers("127.0.0.1", port),
            user=user,
        )
        try:
            control.start()
            yield Bouncer(port, control)
        finally:
            cleanup.close()
            control.collect()


@pytest.fixture
async def settings(shared: Servers, database_url: str, bouncer: Bouncer) -> Settings:
    """As everywhere, but by way of pgbouncer and without named statements, which this one does not keep apart."""
    own = own_settings(
        shared.kafka,
        bouncer.through(as_worker(database_url)),
        database_statement_cache=0,
        batch_max_records=25,
        log_level="error",
    )
    await make_topics(own)
    return own


@pytest.mark.rule("R16.1")
async def test_requests_are_answered_once_each_through_pgbouncer_and_its_restart(
    settings: Settings, bouncer: Bouncer, database_url: str
) -> None:
    requests = [plain(f"cus_{number // 2}", phone=f"+44 20 {number:08}") for number in range(REQUESTS)]
    producer = foreign(settings)
    async with running(settings) as one, running(settings) as other:
        await ready(one)
        await ready(other)
        places = await producer.send(settings, *requests[: REQUESTS // 2])
        await until(lambda: answers(settings))
        bouncer.control.kill()
        places += await producer.send(settings, *requests[REQUESTS // 2 :])
        bouncer.control.start()
        given = await all_answered(settings, *places)
    assert len(given) == REQUESTS
    assert all(len({each.record.value for each in same}) == 1 for same in given.values())
    assert Counter(same[0].outcome for same in given.values()) == {"created": REQUESTS // 2, "updated": REQUESTS // 2}
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("select count(*) from requests") == REQUESTS
    assert await connection.fetchval("select count(*) from customers") == REQUESTS // 2
    await connection.close()


@pytest.mark.rule("R16.2")
async def test_setup_may_be_run_again_through_pgbouncer_and_doctor_finds_all_in_order(
    settings: Settings, bouncer: Bouncer, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("drop table customers, requests, assignments, patient_upsert_revision")
    await connection.execute("drop function patient_upsert_count_change")
    await connection.execute("drop type patient_upsert_change")
    await connection.close()
    for _ in range(3):  # each in a process of its own, on connections that the one before has used
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", MIGRATE, bouncer.through(as_role(database_url, MIGRATOR)))
        )
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() == 0
    findings = await found(settings)
    assert findings["postgres.schema"].status == findings["postgres.rights"].status == "ok"
    assert {check for check in not_well(findings) if check.startswith("postgres")} == set()


@pytest.mark.rule("R16.1")
async def test_two_workers_take_turns_in_removing_answers_through_pgbouncer(settings: Settings) -> None:
    url = settings.database_url.get_secret_value()
    before = datetime.now(UTC)
    async with (
        open_store(url, pool_size=2, statement_cache=0) as one,
        open_store(url, pool_size=2, statement_cache=0) as other,
        one.transaction() as held,
    ):
        assert await held.remove_answers("t", datetime(2000, 1, 1, tzinfo=UTC), before, 10) == []
        assert await other.remove_answers("t", datetime(2000, 1, 1, tzinfo=UTC), before, 10) is None
        await held.commit()
        assert await other.remove_answers("t", datetime(2000, 1, 1, tzinfo=UTC), before, 10) == []
