"""Why no broker can be had: the client tells only that it is so, this asks each address for the reason."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from app.certificates import certificate_fault
from app.consumer.connection import connection
from app.errors import Transient
from app.settings import Settings
from app.waiting import within

TRY_SECONDS: Final = 8.0


async def why_not_reached(settings: Settings) -> str:
    """The reason, by address; nothing of it is the text of an error."""
    arguments = connection(settings)
    servers = arguments.pop("bootstrap_servers")
    arguments.pop("metadata_max_age_ms")
    hosts = [(host, port) for host, port, _ in collect_hosts(servers, randomize=False)]

    async def reason(host: str, port: int) -> str:
        try:
            made = await within(create_conn(host, port, **arguments), TRY_SECONDS)
        except (KafkaError, OSError, TimeoutError) as error:
            return f"{host}:{port} {reason_of(error)}"
        made.close()
        return f"{host}:{port} was reached, but does not answer{_hint(settings)}"

    return "; ".join(await asyncio.gather(*(reason(host, port) for host, port in hosts)))


@asynccontextmanager
async def connecting(settings: Settings) -> AsyncIterator[None]:
    """Whoever cannot connect within is told why. Raises Transient."""
    try:
        yield
        return
    except (KafkaConnectionError, TimeoutError):
        pass  # asked for below, outside: the new error carries nothing of this one
    raise Transient(f"kafka: {await why_not_reached(settings)}")


def _hint(settings: Settings) -> str:
    """With OAUTHBEARER the client does not notice that its token was refused, and waits."""
    given = settings.kafka_security_protocol.startswith("SASL") and settings.kafka_sasl_mechanism == "OAUTHBEARER"
    return ": it may refuse the token in KAFKA_SASL_TOKEN_FILE" if given else ""


_REASONS: Final[tuple[tuple[Callable[[BaseException], bool], str], ...]] = (
    (lambda error: isinstance(error, NodeNotReadyError), "the brokers name addresses that cannot be reached from here"),
    (
        lambda error: isinstance(error, SaslAuthenticationFailed | AuthenticationFailedError),
        "refuses the login",
    ),
    (lambda error: isinstance(error, UnsupportedSaslMechanismError), "does not know this login mechanism"),
    (lambda error: isinstance(error, socket.gaierror), "is a name that cannot be resolved"),
    (lambda error: isinstance(error, ssl.SSLError), "does not agree on TLS"),
    (lambda error: isinstance(error, ConnectionRefusedError), "refuses connections"),
    (lambda error: isinstance(error, TimeoutError), "does not answer in time"),
    (
        lambda error: isinstance(error, KafkaConnectionError | ConnectionResetError),
        "hangs up: it may want another KAFKA_SECURITY_PROTOCOL, or a certificate of ours",
    ),
)


def reason_of(error: BaseException) -> str:
    """What to say of an error of the client: its kind, never its text."""
    if (fault := certificate_fault(error)) is not None:
        return f"shows a certificate {fault}"
    return next((text for holds, text in _REASONS if holds(error)), f"fails with {type(error).__name__}")
