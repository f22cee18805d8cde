"""A replay that somebody watches, interrupts, or has run twice; and what a letter's token is with AUTH=jwt."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from asyncio.subprocess import PIPE
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest

from app.cli.dlq.letter import Chosen
from app.cli.dlq.work import moved, tried
from app.settings import Settings
from tests.e2e.test_process import BIN, environment
from tests.integration.test_dlq import LETTERS, REPLAY, execute, made_letters, published_again
from tests.integration.test_tokens import Issuer, bearer, good, guarded
from tests.support import PATIENCE, answered, ask, asking, child, event, until
from tests.unit.test_callers import serving

SLOWLY = ("replay", "--rate", "20")


def command(
    settings: Settings, *arguments: str, stderr: int = PIPE, **more: str
) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """`patient-upsert dlq ...` under way."""
    given = environment(settings, **more)
    return child(BIN / "patient-upsert", "dlq", *arguments, env=given, stdout=PIPE, stderr=stderr)


async def said(process: asyncio.subprocess.Process) -> list[str]:
    """What it has said on standard error, once it has ended."""
    async with asyncio.timeout(PATIENCE):
        return (await process.communicate())[1].decode().splitlines()


async def begun(settings: Settings) -> int:
    return len(await published_again(settings))


async def once_each(settings: Settings) -> bool:
    again = await published_again(settings)
    return len(again) == len({each.key for each in again}) == LETTERS


@pytest.mark.rule("R14.12")
async def test_a_replay_that_is_interrupted_ends_in_order_and_the_same_command_goes_on(settings: Settings) -> None:
    await made_letters(settings, LETTERS)
    async with command(settings, *SLOWLY) as process:
        await until(partial(begun, settings))
        process.send_signal(signal.SIGINT)
        lines = await said(process)
    assert (process.returncode, lines[-1]) == (130, "stopped; the same command goes on from here")
    assert f"{LETTERS}/{LETTERS}" not in "".join(lines)
    assert 0 < await begun(settings) < LETTERS
    assert await moved(settings, Chosen(), **REPLAY) == 0
    assert await once_each(settings)


@pytest.mark.rule("R14.13")
async def test_a_second_replay_ends_the_first_and_each_letter_is_published_once(settings: Settings) -> None:
    await made_letters(settings, LETTERS)
    async with command(settings, *SLOWLY) as first:
        await until(partial(begun, settings))
        assert await moved(settings, Chosen(), **REPLAY) == 0
        lines = await said(first)
    assert first.returncode == 1
    assert "another replay or drop has begun since, and this one ends here; what it did stays done" in lines[-1]
    assert await once_each(settings)


@pytest.mark.rule("R14.14")
async def test_how_far_a_replay_is_moves_on_a_terminal_and_is_told_once_elsewhere(settings: Settings) -> None:
    await made_letters(settings, 12)
    ours, theirs = os.openpty()
    try:
        async with command(settings, "replay", stderr=theirs, TERM="xterm", COLUMNS="100") as process:
            assert await process.wait() == 0
        shown = os.read(ours, 65_536).decode()
    finally:
        os.close(theirs)
        os.close(ours)
    assert "\x1b[2K" in shown  # a line that is drawn again
    assert re.search("replay .* 12/12 12 ", re.sub(r"\x1b\[[\d;]*m", "", shown))
    async with command(settings, "drop", "--all", "--yes") as dropping:
        (line,) = await said(dropping)
    assert re.fullmatch(r"drop \S+ 0/0 0 \S+", line.strip())


@pytest.mark.rule("R14.15")
async def test_a_letter_is_judged_by_the_token_that_its_replay_shows(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    issuer = Issuer()
    issuer.there = True
    stranger, caller = good(customers=["cus_2"]).decode(), good().decode()
    await execute(settings, "alter table customers add constraint no_atlantis check (city <> 'Atlantis')")
    with serving(issuer) as url:
        own = guarded(settings, url)
        async with asking(own) as requester:

            async def answers(count: int) -> Any:
                async def came() -> bool:
                    await requester.receive()
                    return len(requester.answered[place]) == count

                await until(came)
                return answered(requester.answered[place][-1])

            await ask(requester, bearer(event("1", "cus_1", city="Atlantis"), good()))
            (place,) = requester.sent
            assert (await answers(1)).status == 500
            await execute(settings, "alter table customers drop constraint no_atlantis")
            for token, code in ((None, 1), (stranger, 1), (caller, 0)):
                assert await tried(own, Chosen(), token, as_json=False) == code
            assert await moved(own, Chosen(), **{**REPLAY, "token": caller}) == 0
            assert (await answers(2)).outcome == "created"
    told = capfd.readouterr()
    assert told.out.count("refused unauthorized") == 2
    assert caller not in told.out + told.err


@pytest.mark.rule("R14.15")
async def test_with_tokens_a_replay_needs_one(settings: Settings) -> None:
    async with command(guarded(settings, "https://issuer.example/keys"), "replay") as process:
        lines = await said(process)
    assert process.returncode == 2
    assert "with AUTH=jwt letters need a token: --token-file" in " ".join(lines)
