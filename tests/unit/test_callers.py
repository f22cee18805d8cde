"""Tokens are verified once, by keys that are fetched when they must be; while those are away, nobody is denied."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import urllib.error
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.authorise import EVERYONE, Caller, Callers, callers, make_callers
from app.authorise.callers import (
    LONGEST_USE,
    REFRESH_SECONDS,
    REMEMBERED,
    SHORTEST_USE,
    Everyone,
    TokenCallers,
    download,
    inspect_callers,
)
from app.authorise.token import Policy, verify
from app.errors import Transient
from app.model import Record
from app.settings import Settings, SettingsError
from app.telemetry import Health
from tests.support import until
from tests.tokens import AUDIENCE, BEGIN, END, ISSUER, SECRET, bearing, jwks, public, token
from tests.unit.making import record

GOOD = Caller(BEGIN, END)
POLICY = Policy(frozenset({"EdDSA"}), ISSUER, AUDIENCE, "patient:upsert", 0)


def of(given: bytes) -> Record:
    return record(None, [bearing(given)])


class Issuer:
    """Publishes keys; counts how often it is asked, and may be away."""

    def __init__(self, *kinds: str) -> None:
        self.text, self.asked = jwks(*kinds), 0
        self.error: Exception | None = None

    def __call__(self) -> bytes:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.text


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def told_apart(issuer: Issuer, watch: Watch | None = None, health: Health | None = None) -> TokenCallers:
    return TokenCallers(POLICY, issuer, health or Health(), clock=watch or Watch())


@pytest.mark.rule("R9.1", "R9.9")
async def test_each_record_has_its_caller_and_a_token_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[bytes] = []

    def counting(given: bytes, *rest: Any) -> Any:
        verified.append(given)
        return verify(given, *rest)

    monkeypatch.setattr(callers, "verify", counting)
    there = told_apart(Issuer("Ed25519"))
    held, none = token(customers=["cus_1"]), token(scope="other")
    batch = [of(token()), record(), of(held), of(token()), of(none), of(b"x.y.z")]
    expected = [GOOD, None, Caller(BEGIN, END, frozenset({"cus_1"})), GOOD, None, None]
    assert [await there.of(batch), await there.of(batch)] == [expected, expected]
    assert sorted(verified) == sorted({token(), held, none, b"x.y.z"})


@pytest.mark.rule("R9.9", "R9.10")
async def test_of_a_token_only_a_digest_is_remembered_and_only_of_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "REMEMBERED", 2)
    there = told_apart(Issuer("Ed25519"))
    given = [token(sub=str(number)) for number in range(4)]
    await there.of([of(one) for one in given])
    assert len(there._verdicts) == 2
    assert not {bytes(part) for one in given for part in one.split(b".")} & set(there._verdicts)
    assert all(len(digest) == 32 for digest in there._verdicts)
    assert await there.of([of(given[0])]) == [GOOD]
    assert Settings.model_fields["batch_max_records"].metadata[1].le <= REMEMBERED


@pytest.mark.rule("R9.8")
async def test_keys_are_fetched_once_for_many_batches() -> None:
    issuer = Issuer("Ed25519")
    there = told_apart(issuer)
    assert issuer.asked == 0
    for _ in range(3):
        assert await there.of([of(token())]) == [GOOD]
    assert issuer.asked == 1


@pytest.mark.rule("R9.8")
async def test_a_batch_without_tokens_waits_for_no_keys() -> None:
    issuer = Issuer()
    issuer.error = OSError()
    assert await told_apart(issuer).of([record()]) == [None]
    assert issuer.asked == 0


@pytest.mark.rule("R9.8")
async def test_a_token_of_a_new_key_has_the_keys_fetched_but_not_again_and_again() -> None:
    issuer, watch = Issuer("Ed25519"), Watch()
    there = told_apart(issuer, watch)
    new = of(token("Ed25519-new"))
    assert await there.of([of(token()), new]) == [GOOD, None]
    assert issuer.asked == 1  # they had just come
    issuer.text = jwks("Ed25519", "Ed25519-new")
    watch.now += SHORTEST_USE - 1
    assert (await there.of([new]), issuer.asked) == ([None], 1)
    watch.now += 1
    assert (await there.of([new]), issuer.asked) == ([GOOD], 2)
    watch.now += SHORTEST_USE
    forged = of(token("Ed25519-forged", kid="Ed25519"))
    assert (await there.of([forged, new]), issuer.asked) == ([None, GOOD], 3)
    assert (await there.of([forged, of(token("Ed25519-other"))]), issuer.asked) == ([None, None], 3)


@pytest.mark.rule("R9.8")
async def test_a_key_that_was_withdrawn_verifies_nothing_any_more_not_even_what_it_has() -> None:
    issuer, watch = Issuer("Ed25519", "Ed25519-new"), Watch()
    there = told_apart(issuer, watch)
    assert await there.of([of(token())]) == [GOOD]
    issuer.text = jwks("Ed25519-new")
    watch.now += LONGEST_USE
    assert await there.of([of(token())]) == [None]


@pytest.mark.rule("R9.7")
@pytest.mark.parametrize(
    ("error", "text", "cause"),
    [
        (TimeoutError(), b"", "callers: the keys cannot be had: no answer in time"),
        (ConnectionError("Xsecretx"), b"", "callers: the keys cannot be had: connection lost or refused, or the file "),
        (None, b"<html>Xsecretx", "callers: the keys cannot be used: they are no JSON Web Key Set"),
    ],
)
async def test_while_keys_cannot_be_had_nobody_is_denied(error: Exception | None, text: bytes, cause: str) -> None:
    issuer = Issuer("Ed25519")
    issuer.error, issuer.text = error, text
    there = told_apart(issuer)
    with pytest.raises(Transient, match=re.escape(cause)) as caught:
        await there.of([of(token())])
    assert "Xsecretx" not in str(caught.value)
    assert caught.value.__cause__ is None
    issuer.error, issuer.text = None, jwks("Ed25519")
    assert await there.of([of(token())]) == [GOOD]


@pytest.mark.rule("R9.7")
async def test_known_keys_are_used_through_an_outage_for_an_hour() -> None:
    issuer, watch = Issuer("Ed25519"), Watch()
    there = told_apart(issuer, watch)
    await there.of([of(token())])
    issuer.error = TimeoutError()
    watch.now += LONGEST_USE - 1
    assert await there.of([of(token())]) == [GOOD]
    with pytest.raises(Transient):  # signed by a key that may be there by now
        await there.of([of(token("Ed25519-new"))])
    watch.now += 1
    with pytest.raises(Transient):
        await there.of([of(token())])


@pytest.mark.rule("R9.7")
async def test_a_fetch_that_hangs_holds_up_no_batch_whose_keys_are_known() -> None:
    issuer, watch, let_go = Issuer("Ed25519"), Watch(), threading.Event()
    there = told_apart(issuer, watch)
    await there.of([of(token())])
    watch.now += REFRESH_SECONDS

    def hanging() -> bytes:
        let_go.wait()
        return issuer.text

    waiting = asyncio.create_task(there._have_keys(hanging, younger_than=REFRESH_SECONDS))
    await until(there._fetching.locked)
    try:
        assert await there.of([of(token())]) == [GOOD]
    finally:
        let_go.set()
        await waiting


@pytest.mark.rule("R9.7", "R9.8")
async def test_keys_are_looked_for_anew_and_health_says_when_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(callers, "REFRESH_SECONDS", 0.001)
    issuer, watch, health = Issuer("Ed25519"), Watch(), Health()
    issuer.error = TimeoutError()
    there = told_apart(issuer, watch, health)
    async with there.running():
        await until(lambda: "callers" in health.missing)
        assert health.missing["callers"] == "callers: the keys cannot be had: no answer in time"
        issuer.error = None
        await until(lambda: health.has("callers"))
        issuer.text, asked = jwks("Ed25519-new"), issuer.asked
        watch.now += REFRESH_SECONDS
        await until(lambda: issuer.asked > asked)
        await until(lambda: there._text == issuer.text)
        issuer.error, asked = TimeoutError(), issuer.asked
        watch.now += 1
        await until(lambda: issuer.asked > asked + 1)
        assert health.has("callers")
        watch.now += LONGEST_USE
        await until(lambda: not health.has("callers"))
    asked = issuer.asked
    assert await there.of([record()]) == [None]
    assert issuer.asked == asked


# --- from the settings


def settings(**changes: Any) -> Settings:
    given: dict[str, Any] = {"kafka_bootstrap_servers": "unused:9092", "database_url": SecretStr("postgresql://unused")}
    given |= {"auth": "jwt", "auth_issuer": ISSUER, "auth_audience": AUDIENCE, **changes} if changes else {}
    return Settings(**given)


@pytest.mark.rule("R9.13")
async def test_without_tokens_every_record_is_a_callers_to_make() -> None:
    everyone = make_callers(settings(), Health())
    assert isinstance(everyone, Everyone)
    assert await everyone.of([record(), of(b"x")]) == [EVERYONE] * 2


@pytest.mark.rule("R9.2", "R9.3")
async def test_a_shared_secret_needs_no_server() -> None:
    there = make_callers(settings(auth_secret=SecretStr(SECRET), auth_leeway_seconds=7), Health())
    assert await there.of([of(token("secret")), of(token("RSA"))]) == [Caller(BEGIN - 7, END + 7), None]


@pytest.mark.rule("R9.8")
async def test_a_file_of_keys_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(jwks("Ed25519"))
    there = make_callers(settings(auth_jwks_file=file, auth_leeway_seconds=0), Health())
    assert isinstance(there, TokenCallers)
    watch = Watch()
    there._clock = watch
    there._fetched = watch.now
    assert await there.of([of(token())]) == [GOOD]
    file.write_bytes(jwks("Ed25519-new"))
    watch.now += SHORTEST_USE
    assert await there.of([of(token("Ed25519-new"))]) == [GOOD]


@pytest.mark.rule("R9.7")
def test_a_file_without_keys_stops_the_start_with_one_line(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [public("Ed25519", use="enc")]}))
    with pytest.raises(SettingsError) as caught:
        make_callers(settings(auth_jwks_file=file), Health())
    assert caught.value.lines == [
        "PATIENT_UPSERT_AUTH_JWKS_FILE: the keys cannot be used: "
        "they are a JSON Web Key Set without a public key for signatures"
    ]


# --- over HTTP


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """An HTTP server on this machine; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/keys"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def with_status(status: int, content: bytes = b"", **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


@asynccontextmanager
async def fetching(answer: Callable[[BaseHTTPRequestHandler], None]) -> AsyncIterator[Callers]:
    with serving(answer) as url:
        yield make_callers(settings(auth_jwks_url=url, auth_leeway_seconds=0), Health())


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.rule("R9.8")
async def test_keys_are_fetched_over_http() -> None:
    async with fetching(with_status(200, jwks("Ed25519"))) as there:
        assert await there.of([of(token())]) == [GOOD]


@pytest.mark.rule("R9.7")
@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (with_status(503, b"Xsecretx"), "their server answers 503"),
        (with_status(200, b"{" + b" " * 1_100_000), "no answer in time"),
        (with_status(200, b"short", **{"Content-Length": "9"}), "they are no JSON Web Key Set"),
    ],
    ids=["503", "endless", "cut off"],
)
async def test_what_is_wrong_with_an_answer_of_the_server_is_told_in_one_line(answer: Any, cause: str) -> None:
    async with fetching(answer) as there:
        with pytest.raises(Transient, match=cause):
            await there.of([of(token())])


@pytest.mark.rule("R9.7")
async def test_keys_are_taken_from_no_other_address() -> None:
    with serving(with_status(200, jwks("Ed25519"))) as other:
        async with fetching(with_status(302, Location=other)) as there:
            with pytest.raises(Transient, match="their server answers 302"):
                await there.of([of(token())])


def nonsense(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"\x00\x01 nonsense\r\n\r\n")


@pytest.mark.rule("R9.7")
def test_a_server_that_is_away_or_speaks_no_http_is_an_error_that_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(OSError, match="refused"):
        download(f"http://127.0.0.1:{port}/keys")
    with (
        serving(nonsense) as url,
        pytest.raises(ConnectionError),
    ):
        download(url)


@pytest.mark.rule("R9.7")
@pytest.mark.parametrize("host", ["a..b", "x" * 64, "h%zz", "[v1.x]"])
def test_an_address_that_no_server_can_have_is_an_error_that_is_waited_for(host: str) -> None:
    with pytest.raises((ConnectionError, urllib.error.URLError)) as caught:
        download(f"http://{host}/keys")
    assert "keys cannot be had" in callers._what(caught.value)


@pytest.mark.rule("R9.8")
async def test_a_key_that_cannot_be_read_does_not_cost_the_others() -> None:
    broken = [
        {**public("RSA"), "n": 7},
        {**public("P-256"), "x": "\u00e4"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
    ]
    text = json.dumps({"keys": [*broken, "no key", None, public("Ed25519")]}).encode()
    async with fetching(with_status(200, text)) as there:
        assert await there.of([of(token())]) == [GOOD]


async def test_a_server_of_keys_that_hangs_holds_no_process_back_that_ends() -> None:
    asked, answer, before = threading.Event(), threading.Event(), set(threading.enumerate())

    def hang() -> bytes:
        asked.set()
        answer.wait()
        return jwks("Ed25519")

    waiting = asyncio.create_task(TokenCallers(POLICY, hang, Health()).of([of(token())]))
    await until(asked.is_set)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    started = set(threading.enumerate()) - before
    answer.set()
    assert [thread.daemon for thread in started] == [True]


async def test_it_is_told_by_how_many_keys_tokens_can_be_verified(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(jwks("Ed25519", "RSA"))
    assert await inspect_callers(settings(auth_jwks_file=file)) == 2
    assert await inspect_callers(settings(auth_secret=SecretStr(SECRET))) == 1
    with serving(with_status(200, jwks("Ed25519"))) as url:
        assert await inspect_callers(settings(auth_jwks_url=url)) == 1
    with serving(with_status(503)) as url, pytest.raises(Transient, match="their server answers 503"):
        await inspect_callers(settings(auth_jwks_url=url))
    file.write_text("{}")
    with pytest.raises(Transient, match="no JSON Web Key Set"):
        await inspect_callers(settings(auth_jwks_file=file))
