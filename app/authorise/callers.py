"""The callers of records: tokens verified once and remembered, by keys that are fetched when they must be."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Final, Protocol

from app.authorise.decide import EVERYONE, Caller, bearer
from app.authorise.token import UNVERIFIED, Keys, NoKeys, Policy, Verdict, read_keys, secret_key, verify
from app.errors import Transient
from app.model import Record
from app.settings import PREFIX, Settings, SettingsError
from app.telemetry import Health
from app.waiting import ended, within

REFRESH_SECONDS: Final = 300.0
"""How often keys are looked for anew, so that one that was withdrawn is soon used no more."""
LONGEST_USE: Final = 3600.0
"""Seconds for which keys are used that could not be had anew: a shorter outage of their server is not felt."""
SHORTEST_USE: Final = 10.0
"""Seconds in which a token that no key verifies is no reason to fetch the keys again: anyone can make up tokens."""
RETRY_SECONDS: Final = 5.0
FETCH_LIMIT: Final = 10.0
_SOCKET_LIMIT: Final = 5.0
_LARGEST_SET: Final = 1024 * 1024
REMEMBERED: Final = 10_000
"""Tokens, each with about 300 bytes: as many as a batch can have."""

Fetch = Callable[[], bytes]


class Callers(Protocol):
    """Tells callers apart."""

    async def of(self, records: Sequence[Record]) -> list[Caller | None]:
        """The caller of each record, None where none is accepted. Raises Transient while keys are out of reach."""

    def running(self) -> Any:
        """A context in which keys are kept up to date."""


class Everyone:
    """`AUTH=none`: Kafka's own access rules guard the topic, and every record in it is a caller's to make."""

    async def of(self, records: Sequence[Record]) -> list[Caller | None]:
        """EVERYONE, each time."""
        return [EVERYONE] * len(records)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Nothing has to be kept up to date."""
        yield


class TokenCallers:
    """`AUTH=jwt`. Tokens are remembered by their digest only, and forgotten when the keys change.

    Args:
        policy: what a token must say.
        fetch: gives the text of the JWKS, in a thread; raises OSError. None where `keys` never change.
        keys: those that are known from the start.
        health: told while keys are out of reach.
        clock: seconds.
    """

    def __init__(
        self,
        policy: Policy,
        fetch: Fetch | None,
        health: Health,
        *,
        keys: Keys = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy, self._fetch, self._health, self._clock = policy, fetch, health, clock
        self._keys = keys
        self._text: bytes | None = None
        self._fetched: float | None = clock() if keys else None
        self._fetching = asyncio.Lock()
        self._verdicts: OrderedDict[bytes, Verdict] = OrderedDict()

    async def of(self, records: Sequence[Record]) -> list[Caller | None]:
        """The caller of each record. Raises Transient while keys are out of reach that are needed to tell."""
        tokens = [bearer(record) for record in records]
        given = {token for token in tokens if token is not None}
        if given and self._fetch is not None:
            await self._have_keys(self._fetch, younger_than=LONGEST_USE)
        callers = self._look_at(given)
        if UNVERIFIED in callers.values() and self._fetch is not None:  # perhaps signed with a key that is new
            await self._have_keys(self._fetch, younger_than=SHORTEST_USE)
            callers = self._look_at(given)
        found = [callers[token] if token is not None else None for token in tokens]
        return [None if caller is UNVERIFIED else caller for caller in found]

    def _look_at(self, tokens: Collection[bytes]) -> dict[bytes, Verdict]:
        """Every token of a batch is looked at once, however often it comes in it."""
        return {token: self._verdict(token) for token in tokens}

    def _verdict(self, token: bytes) -> Verdict:
        digest = hashlib.sha256(token).digest()
        if digest in self._verdicts:
            self._verdicts.move_to_end(digest)
            return self._verdicts[digest]
        verdict = self._verdicts[digest] = verify(token, self._keys, self._policy)
        if len(self._verdicts) > REMEMBERED:
            self._verdicts.popitem(last=False)
        return verdict

    async def _have_keys(self, fetch: Fetch, *, younger_than: float) -> None:
        """Return when the keys are young enough, be it that they are fetched. Raises Transient."""
        if self._age() < younger_than:  # then nobody waits for a server
            return
        async with self._fetching:
            if self._age() < younger_than:
                return
            began = self._clock()
            try:
                text = await within(_in_thread(fetch), FETCH_LIMIT)
                if text != self._text:
                    self._keys = read_keys(text)
                    self._text = text
                    self._verdicts.clear()
            except (OSError, NoKeys) as error:
                raise Transient(f"callers: {_what(error)}", "callers") from None
            self._fetched = began

    def _age(self) -> float:
        return inf if self._fetched is None else self._clock() - self._fetched

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Within, keys are looked for every few minutes, and health knows when there are none."""
        if self._fetch is None:
            yield
            return
        refreshing = asyncio.create_task(self._refresh(self._fetch))
        try:
            yield
        finally:
            await ended([refreshing])

    async def _refresh(self, fetch: Fetch) -> None:
        while True:
            try:
                await self._have_keys(fetch, younger_than=REFRESH_SECONDS)
            except Transient as error:
                if self._age() >= LONGEST_USE:
                    self._health.waits("callers", str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._health.ok("callers")
                await asyncio.sleep(REFRESH_SECONDS)


def make_callers(settings: Settings, health: Health) -> Callers:
    """Callers as the settings want them told apart.

    Raises:
        SettingsError: the file of keys holds none.
    """
    if settings.auth == "none":
        return Everyone()
    assert settings.auth_issuer is not None
    assert settings.auth_audience is not None
    policy = Policy(
        algorithms=frozenset(settings.algorithms),
        issuer=settings.auth_issuer,
        audience=settings.auth_audience,
        scope=settings.auth_scope,
        leeway=settings.auth_leeway_seconds,
    )
    if settings.auth_secret is not None:
        return TokenCallers(policy, None, health, keys=secret_key(settings.auth_secret.get_secret_value()))
    if settings.auth_jwks_file is not None:
        file = settings.auth_jwks_file
        try:
            keys = read_keys(_read(file))
        except (OSError, NoKeys) as error:
            raise SettingsError([f"{PREFIX}AUTH_JWKS_FILE: {_what(error)}"]) from None
        return TokenCallers(policy, lambda: _read(file), health, keys=keys)
    url = settings.auth_jwks_url
    assert url is not None
    return TokenCallers(policy, lambda: download(url), health)


async def inspect_callers(settings: Settings) -> int:
    """By how many keys tokens can be verified now; 0 where none are needed. Raises Transient."""
    if settings.auth == "none":
        return 0
    if settings.auth_secret is not None:
        return len(secret_key(settings.auth_secret.get_secret_value()))
    file, url = settings.auth_jwks_file, settings.auth_jwks_url
    fetch = partial(_read, file) if file is not None else partial(download, str(url))
    try:
        return len(read_keys(await within(_in_thread(fetch), FETCH_LIMIT)))
    except (OSError, NoKeys) as error:
        cause = _what(error)
    raise Transient(f"callers: {cause}")


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_LARGEST_SET)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Keys come from the address that the settings name, and from no other."""

    def redirect_request(self, *_: Any) -> None: ...


def download(url: str) -> bytes:
    """What is at this address. Blocks, for `FETCH_LIMIT` seconds at the most; raises OSError."""
    deadline = time.monotonic() + FETCH_LIMIT
    https = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    opener = urllib.request.build_opener(_NoRedirect, https)
    content = b""
    try:
        with opener.open(url, timeout=_SOCKET_LIMIT) as response:
            while part := response.read1(64 * 1024):
                content += part
                if len(content) > _LARGEST_SET or time.monotonic() > deadline:
                    raise TimeoutError
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        raise
    except (http.client.HTTPException, ValueError):  # ValueError: a name that no host can have
        raise ConnectionError from None
    return content


async def _in_thread(fetch: Fetch) -> bytes:
    """What it fetches. Its thread is a daemon: one of asyncio's would be waited for when the process ends."""
    fetched: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    threading.Thread(target=_fetch_for, args=(fetched, fetch), name="keys", daemon=True).start()
    try:
        return await fetched
    finally:
        del fetched  # which holds the error, which would hold us


def _fetch_for(fetched: asyncio.Future[bytes], fetch: Fetch) -> None:
    try:
        settle = partial(fetched.set_result, fetch())
    except Exception as error:  # noqa: BLE001 - raised where it is awaited
        settle = partial(fetched.set_exception, error.with_traceback(None))  # which holds us, and we a socket

    def unless_given_up() -> None:
        if not fetched.done():
            settle()

    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        fetched.get_loop().call_soon_threadsafe(unless_given_up)


def _what(error: Exception) -> str:
    """What to say of keys that cannot be had or used: never their address, nor what was found there."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the keys cannot be had: their server answers {error.code}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return "the keys cannot be had: the certificate of their server is not trusted"
    if isinstance(reason, TimeoutError):
        return "the keys cannot be had: no answer in time"
    if isinstance(reason, OSError):
        return "the keys cannot be had: connection lost or refused, or the file cannot be read"
    return f"the keys cannot be used: they are {error}"
