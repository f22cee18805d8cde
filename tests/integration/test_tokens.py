"""Callers are told apart by tokens: the worker on real servers, with an issuer that comes late."""

from __future__ import annotations

import struct
import time
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from aiokafka.errors import InvalidTimestampError
from aiokafka.record.util import calc_crc32c

from app import main
from app.consumer.requester import Outbound, Requester, open_requester
from app.pipeline import Pipeline
from app.settings import Settings
from tests.faults.broker_side import answers_at, configure, everything, log_lines, log_of, publish_batch
from tests.support import answered, ask, asking, event, page, plain, running, until
from tests.tokens import AUDIENCE, ISSUER, bearing, jwks, token
from tests.unit.test_callers import serving

_CHECKSUM, _ATTRIBUTES, _TIMES = 17, 21, 27
_LOG_APPEND_TIME = 0x08


@cache
def now() -> int:
    """When the test at hand began, in Unix seconds: all its tokens are of one time."""
    return int(time.time())


@pytest.fixture(autouse=True)
def _begin() -> None:
    now.cache_clear()


def good(**claims: Any) -> bytes:
    return token(**{"nbf": now() - 600, "exp": now() + 600, **claims})


def guarded(settings: Settings, url: str, **changes: Any) -> Settings:
    auth = {"auth": "jwt", "auth_jwks_url": url, "auth_issuer": ISSUER, "auth_audience": AUDIENCE}
    return settings.model_copy(update={**auth, "auth_leeway_seconds": 0, **changes})


def bearer(request: Outbound, given: bytes) -> Outbound:
    return Outbound(request.key, request.value, (*request.headers, bearing(given)))


def stamped(raw: bytes) -> bytes:
    """The batch, saying that the broker stamped it when the token still held."""
    made = bytearray(raw)
    struct.pack_into(">h", made, _ATTRIBUTES, struct.unpack_from(">h", made, _ATTRIBUTES)[0] | _LOG_APPEND_TIME)
    struct.pack_into(">qq", made, _TIMES, (now() - 120) * 1000, (now() - 120) * 1000)
    struct.pack_into(">I", made, _CHECKSUM, calc_crc32c(bytes(made[_ATTRIBUTES:])))
    return bytes(made)


async def publish(requester: Requester, *requests: Outbound) -> None:
    async for _ in requester.send_all(requests):
        pass


class Issuer:
    """Publishes its keys as soon as it is there."""

    def __init__(self) -> None:
        self.there = False

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200 if self.there else 503)
        handler.end_headers()
        handler.wfile.write(jwks("Ed25519"))


@pytest.mark.rule("R9.1", "R9.7", "R9.10", "R9.11")
async def test_requests_wait_for_the_keys_and_then_only_callers_who_may_have_an_effect(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    issuer = Issuer()
    with serving(issuer) as url:
        own = log_of(guarded(settings, url))
        async with running(own) as app:

            async def waiting(*parts: str) -> bool:
                told = (await page(app, "/readyz"))[1]["waiting"]
                return bool(told == dict.fromkeys(parts, "callers: the keys cannot be had: their server answers 503"))

            await until(lambda: waiting("callers"))
            async with open_requester(own) as requester:
                await publish(
                    requester,
                    bearer(event("1", "cus_1"), good()),
                    event("2", "cus_1", city="Leeds"),
                    bearer(event("3", "cus_2"), good(customers=["cus_1"])),
                    event("1", "cus_1"),
                )
                await until(lambda: waiting("callers", "next batch"))
                assert await requester.receive() == 0
                issuer.there = True

                async def all_answered() -> bool:
                    return await requester.receive() == 4

                await until(all_answered)
                given = [answered(requester.answered[place][0]) for place in requester.sent]
    assert [answer.status for answer in given] == [200, 401, 401, 401]
    assert {(answer.response["error"], *answer.codes) for answer in given[1:]} == {
        ("unauthorized", ("", "not_allowed"))
    }
    assert await everything(own, own.dlq_topic) == []
    printed = capsys.readouterr()
    signed = good().decode().split(".")[:2]
    everywhere = printed.out + printed.err + repr(given) + repr([answer.record.headers for answer in given])
    assert not [part for part in signed if part in everywhere]


@pytest.mark.rule("R9.3", "R9.12")
async def test_the_stamp_of_the_broker_counts_and_that_of_a_producer_never(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    issuer = Issuer()
    issuer.there = True
    old = plain("cus_1")
    ended = good(exp=now() - 60)
    with serving(issuer) as url:
        async with asking(guarded(settings, url)) as requester:
            # its producer says that it was made while the token held, and that the broker says so
            first = await publish_batch(settings, 0, stamped, bearer(old, ended))
            (answer,) = await answers_at(requester, (0, first))
        assert answer.status == 401
        await configure(settings, settings.request_topic, **{"message.timestamp.type": "LogAppendTime"})
        with pytest.raises(InvalidTimestampError):
            await publish_batch(settings, 0, stamped, bearer(old, ended))
        monkeypatch.setattr(main, "Pipeline", partial(Pipeline, clock=lambda: datetime.now(UTC) + timedelta(hours=1)))
        async with asking(guarded(settings, url)) as requester:
            answers = await ask(requester, bearer(old, good()), bearer(plain("cus_2"), ended))
        assert [answer.status for answer in answers] == [200, 401]


@pytest.mark.rule("R9.13")
async def test_without_tokens_the_start_says_what_guards_the_topic(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    async with asking(log_of(settings)) as requester:
        (answer,) = await ask(requester, bearer(plain(), b"x"))
    assert answer.status == 200
    (line,) = log_lines(capsys, "callers_not_told_apart")
    assert line["guard"] == "Kafka's own access rules: who may write to the topic"
