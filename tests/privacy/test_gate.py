"""The privacy gate: whatever goes wrong with records that are full of canaries, nobody hears one where none may be.

Searched are the log at level debug (with all that libraries say), metrics and health pages, answers that refuse, what
dead letters have been given, every error of the worker with its traceback, what `doctor` says, and the log of
PostgreSQL itself, told to log as much as it can in all three formats.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import zip_longest

import orjson
import psutil
import pytest
from faststream.asgi import AsgiFastStream
from pydantic import SecretStr
from sqlalchemy import Connection

import app.store.faults
import app.store.migrate
from app.cli.doctor import examine
from app.consumer.requester import Outbound
from app.errors import Transient, WorkerError
from app.main import create_app
from app.settings import Settings, SettingsError, load_settings
from app.store.migrate import migrate
from tests.conftest import own_settings
from tests.e2e.test_process import BIN, environment, process
from tests.faults import batches
from tests.faults.broker_side import all_answered, everything, foreign, publish_batch
from tests.faults.conftest import Ours
from tests.integration.store_rows import admin
from tests.integration.test_telemetry import CONTEXT, collector
from tests.integration.test_tokens import Issuer, good, guarded, now
from tests.privacy.canaries import BIRD, Aviary, Seen
from tests.privacy.records import body, event, refused, valid
from tests.roles import MIGRATOR, PASSWORD, WORKER, as_role
from tests.support import page, ready, until, with_database
from tests.tokens import bearing, token
from tests.unit.test_callers import serving

TALKATIVE = {
    "logging_collector": "on",
    "log_destination": "stderr,csvlog,jsonlog",
    "log_min_duration_statement": "0",
    "log_error_verbosity": "verbose",
    "log_min_messages": "debug1",
    "log_parameter_max_length_on_error": "-1",
}
SILENT = "set log_min_messages = panic; set log_min_duration_statement = -1"
"""For what the test itself says to the server."""
LARGE = {"message.max.bytes": 3 * 1024 * 1024}
PASSED_ON = 500
"""Bytes of a log in which every search would find nothing, because nothing is there."""


def superuser(ours: Ours, own: Settings) -> str:
    """The database of the worker."""
    name = own.database_url.get_secret_value().rpartition("/")[2]
    return with_database(ours.servers.database_url, name)


def with_password(own: Settings, password: str) -> Settings:
    """The worker, which logs in with this one."""
    url = own.database_url.get_secret_value().replace(f":{PASSWORD}@", f":{password}@")
    return own.model_copy(update={"database_url": SecretStr(url)})


async def execute(url: str, *statements: str) -> None:
    async with admin(url) as connection:
        await connection.execute(SILENT)
        for statement in statements:
            await connection.execute(statement)


@pytest.fixture(scope="module")
async def talkative(ours: Ours) -> Ours:
    """A server that logs what it can, to files that it can be asked for."""
    await execute(ours.servers.database_url, *(f"alter system set {k} = '{v}'" for k, v in TALKATIVE.items()))
    await asyncio.to_thread(ours.postgres.stop)
    await asyncio.to_thread(ours.postgres.start)
    return ours


async def server_log(ours: Ours, after: Sequence[str] = ()) -> list[str]:
    """The log of PostgreSQL in each of its formats; only what came after what was read before."""
    async with admin(ours.servers.database_url) as connection:
        await connection.execute(SILENT)
        names = [row[0] for row in await connection.fetch("select name from pg_ls_logdir() order by 1")]
        asked = "select convert_from(pg_read_binary_file('log/' || $1), 'LATIN1')"
        texts = [str(await connection.fetchval(asked, name)) for name in names]
    assert len(texts) >= 3
    assert all(len(text) > PASSED_ON for text in texts)
    return [text.removeprefix(known) for text, known in zip_longest(texts, after, fillvalue="")]


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> list[WorkerError]:
    """Every error that the worker makes."""
    made: list[WorkerError] = []

    def init(self: WorkerError, *arguments: object) -> None:
        Exception.__init__(self, *arguments)
        made.append(self)

    monkeypatch.setattr(WorkerError, "__init__", init)
    return made


@contextmanager
def everything_logged() -> Iterator[None]:
    """As where somebody has logging print what it is given, at the lowest level."""
    root, handler = logging.getLogger(), logging.StreamHandler(sys.stderr)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


@asynccontextmanager
async def watched(settings: Settings, seen: Seen) -> AsyncIterator[AsgiFastStream]:
    """A worker whose pages are looked at all the time."""
    application = create_app(settings.model_copy(update={"log_level": "debug"}))

    async def look() -> None:
        while True:
            for name in ("/livez", "/readyz", "/metrics"):
                seen.add(name, str(await page(application, name)))
            await asyncio.sleep(0.2)

    async with application.start_lifespan_context():
        looking = asyncio.create_task(look())
        try:
            yield application
        finally:
            looking.cancel()


async def published(settings: Settings, seen: Seen) -> list[int]:
    """Look at all that the worker has published; the statuses of the answers."""
    statuses = []
    for answer in await everything(settings, settings.failed_topic):
        seen.add("answer that refuses", str(answer.value), str(answer.headers))
        statuses.append(orjson.loads(answer.value or b"{}")["status"])
    for answer in await everything(settings, settings.completed_topic):
        seen.add("headers of an answer", str(answer.headers))
    for letter in await everything(settings, settings.dlq_topic):
        added = [
            (name, value) for name, value in letter.headers if name.startswith("__dlq.") or name == "authorization"
        ]
        seen.add("headers of a dead letter", str(added))
    return sorted(statuses)


async def away(application: AsgiFastStream, part: str) -> None:
    async def told() -> bool:
        return part in str((await page(application, "/readyz"))[1])

    await until(told)


def told(errors: list[WorkerError]) -> list[str]:
    return [f"{error} {error!r} {''.join(traceback.format_exception(error))}" for error in errors]


TRIGGER = """
create function sing() returns trigger language plpgsql as $$
begin
    if new.city like '%raises' then
        raise exception 'row %', new using errcode = '22000', detail = new.city, hint = new.first_name;
    end if;
    return new;
end
$$;
create trigger sing before insert or update on customers for each row execute function sing();
alter table customers add constraint no_song check (city not like '%breaks a rule');
alter table customers add constraint one_song unique (last_name)
"""


async def provoke_postgres(url: str, settings: Settings, aviary: Aviary) -> None:
    """Faults that validation cannot know of: 23514, an error whose very text holds the row, and 23505."""
    await execute(url, TRIGGER)
    bad = [
        event(aviary, f"bad {way}", body(aviary, way, city=f"{aviary.canary(way)} {way}"), f"cus_{way[:5]}")
        for way in ("breaks a rule", "raises")
    ]
    places = await foreign(settings).send(settings, *bad)
    given = await all_answered(settings, *places)
    assert [given[place][0].status for place in places] == [500, 500]


@pytest.mark.rule("R11.1")
async def test_no_value_of_a_request_and_no_secret_is_heard_whatever_goes_wrong(
    talkative: Ours,
    own: Settings,
    errors: list[WorkerError],
    capfd: pytest.CaptureFixture[str],
) -> None:
    aviary = Aviary()
    seen, url = Seen(aviary), superuser(talkative, own)
    password = aviary.canary("password of the worker")
    await execute(url, f"alter role {WORKER} password '{password}'")
    settings = with_password(own, password)
    try:
        with everything_logged():
            async with watched(settings, seen) as application:
                await ready(application)
                good, bad = valid(aviary), refused(aviary)
                producer = foreign(settings, **LARGE)
                places = await producer.send(settings, *good, *bad)
                name = aviary.canary("header name that is not UTF-8").encode()

                def spoil(raw: bytes) -> bytes:
                    return batches.replaced(raw, name, b"\xff" + name[1:])

                odd = Outbound(b"cus_9", good[0].value, ((name.decode(), b"1"),))
                places.append((0, await publish_batch(settings, 0, spoil, odd)))
                await all_answered(settings, *places)
                # one of the bad names a patient that does not exist; the odd one is a 400 more
                assert await published(settings, seen) == [400] * len(bad) + [404]
                await provoke_postgres(url, settings, aviary)
                await provoke_uniqueness(url, settings, aviary, application)
                await provoke_absence(talkative, settings, url, application)
                seen.add("doctor", *map(str, await examine(settings)))
            await published(settings, seen)
    finally:
        await execute(url, f"alter role {WORKER} password '{PASSWORD}'")
    captured = capfd.readouterr()
    seen.add("log", captured.err, captured.out)
    seen.add("error", *told(errors))
    seen.add("log of PostgreSQL", *await server_log(talkative))
    assert "request_failed" in captured.err
    assert "SQLSTATE" in str(seen.texts["error"])
    assert len(errors) > 5
    assert set(seen.texts) == {
        "/livez", "/readyz", "/metrics", "log", "error", "doctor", "log of PostgreSQL",
        "answer that refuses", "headers of an answer", "headers of a dead letter",
    }  # fmt: skip
    assert seen.finds() == set()


async def provoke_uniqueness(url: str, settings: Settings, aviary: Aviary, application: AsgiFastStream) -> None:
    """23505 again and again, until the constraint is gone."""
    same = aviary.canary("the same last name")
    twins = [event(aviary, f"twin {n}", body(aviary, f"twin {n}", lastName=same), f"cus_twin{n}") for n in (1, 2)]
    places = await foreign(settings).send(settings, *twins, partition=0)

    async def conflicts() -> bool:
        text = (await page(application, "/metrics"))[1]
        count = next(line for line in text.splitlines() if line.startswith("patient_upsert_conflicts_total "))
        return float(count.split()[1]) >= 3

    await until(conflicts)
    await execute(url, "alter table customers drop constraint one_song")
    given = await all_answered(settings, *places)
    assert [given[place][0].status for place in places] == [200, 200]


async def provoke_absence(ours: Ours, settings: Settings, url: str, application: AsgiFastStream) -> None:
    """A database that is killed and comes back with another password, then Kafka that is killed."""
    own = settings.database_url.get_secret_value()
    password = own.partition(f"{WORKER}:")[2].partition("@")[0]
    await asyncio.to_thread(ours.postgres.kill)
    await asyncio.to_thread(ours.postgres.start)
    await execute(url, f"alter role {WORKER} password 'another'")
    [place] = await foreign(settings).send(settings, event(Aviary(), "while away", {"firstName": "x"}))
    await away(application, "28P01")
    await execute(url, f"alter role {WORKER} password '{password}'")
    await all_answered(settings, place)
    await asyncio.to_thread(ours.kafka.kill)
    await away(application, "kafka")
    await asyncio.to_thread(ours.kafka.start)
    await ready(application)


LEAKS = {
    "the text of the driver": "log",
    "a worker whose errors the server logs": "log of PostgreSQL",
    "a library that is heard": "log",
}


@pytest.mark.rule("R11.1")
@pytest.mark.parametrize("leak", LEAKS)
async def test_the_gate_finds_a_leak_that_is_put_back_by_hand(
    talkative: Ours,
    own: Settings,
    errors: list[WorkerError],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    leak: str,
) -> None:
    aviary = Aviary()
    seen, url = Seen(aviary), superuser(talkative, own)
    settings = own
    if leak == "the text of the driver":
        monkeypatch.setattr(app.store.faults, "_what", lambda error: f"{error} {error.as_dict()}")
    elif leak == "a worker whose errors the server logs":
        settings = own.model_copy(update={"database_url": SecretStr(url)})
    with everything_logged():
        async with watched(settings, seen) as application:
            await ready(application)
            if leak == "a library that is heard":
                logging.getLogger("sqlalchemy").warning("row %s", aviary.canary("a library"))
            else:
                await provoke_postgres(url, settings, aviary)
    captured = capfd.readouterr()
    seen.add("log", captured.err)
    seen.add("error", *told(errors))
    if "server" in leak:
        seen.add("log of PostgreSQL", *await server_log(talkative))
    assert LEAKS[leak] in {where for where, _ in seen.finds()}


@pytest.mark.rule("R11.1")
async def test_no_secret_is_heard_of_servers_that_are_not_there_and_settings_that_are_wrong(
    talkative: Ours, errors: list[WorkerError], monkeypatch: pytest.MonkeyPatch
) -> None:
    aviary = Aviary()
    seen = Seen(aviary)
    gone = f"postgresql://{aviary.canary('user')}:{aviary.canary('password')}@127.0.0.1:1/x?application_name={BIRD}"
    settings = own_settings(
        "127.0.0.1:1",
        gone,
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_username=aviary.canary("Kafka's user"),
        kafka_sasl_password=SecretStr(aviary.canary("Kafka's password")),
    )
    seen.add("doctor", *map(str, await examine(settings)))
    wrong = as_role(talkative.servers.database_url, MIGRATOR).replace(f":{PASSWORD}@", f":{aviary.canary('setup')}@")
    for url in (gone, wrong):
        with pytest.raises(Transient):
            await migrate(url)
    seen.add("error", *told(errors))
    for name in Settings.model_fields:
        if name not in ("group_id", "kafka_bootstrap_servers", "kafka_sasl_username", "http_host"):
            monkeypatch.setenv(f"PATIENT_UPSERT_{name.upper()}", aviary.canary(name) + " \n")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert len(caught.value.lines) > 10
    seen.add("settings", str(caught.value), "".join(traceback.format_exception(caught.value)))
    assert seen.finds() == set()


@pytest.mark.rule("R11.1")
async def test_no_row_is_heard_of_a_migration_that_fails(
    talkative: Ours,
    own: Settings,
    errors: list[WorkerError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aviary = Aviary()
    seen, url = Seen(aviary), superuser(talkative, own)
    migrator = as_role(url, MIGRATOR)
    name = aviary.canary("first name")
    row = f"insert into customers (customer, first_name, last_name) values ('cus_%s', '{name}', 'x')"
    await execute(url, row % 1, row % 2)
    before = await server_log(talkative)

    def revise(connection: Connection) -> None:
        connection.exec_driver_sql("create unique index on customers (first_name)")

    monkeypatch.setattr(app.store.migrate, "_grant", revise)
    with pytest.raises(Transient, match="23505"):
        await migrate(migrator)
    seen.add("error", *told(errors))
    seen.add("log of PostgreSQL", *await server_log(talkative, before))
    assert seen.finds() == set()


def shown(request: Outbound, token: bytes) -> Outbound:
    """The request with this token instead of the one that it had."""
    others = (header for header in request.headers if header[0] != "authorization")
    return Outbound(request.key, request.value, (*others, bearing(token)))


@pytest.mark.rule("R11.1", "R9.11")
async def test_no_token_no_secret_and_no_value_is_heard_of_a_process_that_traces_and_tells_callers_apart(
    talkative: Ours, own: Settings, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    aviary = Aviary()
    seen, url = Seen(aviary), superuser(talkative, own)
    before = await server_log(talkative)
    password = aviary.canary("password of the worker")
    await execute(
        url,
        f"alter role {WORKER} password '{password}'",
        "alter table customers add constraint no_song check (city not like '%breaks a rule')",
    )
    issuer = Issuer()
    issuer.there = True
    claims = {name: aviary.canary(f"claim {name}") for name in ("sub", "jti", "name")}
    tokens = [
        aviary.canary("no token").encode(),
        good(exp=now() - 60, **claims),
        good(**claims)[:-4] + b"AAAA",
        good(**claims | {"customers": [aviary.canary("claim customers")]}),
        token(kid=aviary.canary("kid"), nbf=now() - 600, exp=now() + 600, **claims),
        token("P-256", nbf=now() - 600, exp=now() + 600, **claims),
    ]
    refused = [shown(event(aviary, f"refused {n}", body(aviary, f"refused {n}")), t) for n, t in enumerate(tokens)]
    traced = event(aviary, "traced", body(aviary, "traced"))
    state = [("traceparent", CONTEXT), ("tracestate", f"x={aviary.canary('tracestate')}".encode())]
    traced = Outbound(traced.key, traced.value, (*traced.headers, *state))
    fault = event(aviary, "fault", body(aviary, "fault", city=f"{aviary.canary('fault')} breaks a rule"), "cus_2")
    requests = [*refused, shown(traced, good(**claims)), shown(fault, good(**claims))]
    with collector() as (kept, address), serving(issuer) as keys:
        address_of_keys = f"{keys}?{aviary.canary('key in the address of the keys')}"
        settings = with_password(guarded(own, address_of_keys), password)
        more = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={aviary.canary('header for the collector')}",
            "PATIENT_UPSERT_LOG_LEVEL": "debug",
        }
        try:
            async with process(settings, **more) as worker:
                await worker.until_ready()
                places = await foreign(settings).send(settings, *requests)
                await all_answered(settings, *places)
                for name in ("/livez", "/readyz", "/metrics"):
                    seen.add(name, str(await worker.page(name)))
                seen.add("arguments", *psutil.Process(worker.child.pid).cmdline())
                command = [str(BIN / "patient-upsert"), "doctor"]
                given = environment(settings, **more)
                doctor = await asyncio.to_thread(subprocess.run, command, env=given, capture_output=True, check=False)
                await worker.stopped()
        finally:
            await execute(url, f"alter role {WORKER} password '{PASSWORD}'")
    assert await published(settings, seen) == [401] * len(refused) + [500]
    assert b"callers" in doctor.stdout
    seen.add("doctor", doctor.stdout.decode(), doctor.stderr.decode())
    assert any(span.links for span in kept.spans)
    seen.add("traces", kept.raw.decode("latin-1"))
    captured = capfd.readouterr()
    assert "request_failed" in captured.err
    seen.add("log", captured.err, captured.out)
    seen.add("log of PostgreSQL", *await server_log(talkative, before))
    assert seen.finds() == {("headers of an answer", "tracestate")}  # which is passed on


def test_a_canary_is_heard_in_every_spelling() -> None:
    aviary = Aviary()
    canary = aviary.canary("city")

    for text in (canary, canary.upper(), f"x{canary}x", repr(canary.encode()), canary.encode().hex(), "1931-03-07"):
        assert aviary.heard(f"log {text} line") != []
    for ahead in range(3):
        assert aviary.heard(base64.b64encode(b"x" * ahead + canary.encode() + b"yy").decode()) != []
    assert aviary.heard("a line without one") == []
