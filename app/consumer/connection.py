"""How this process reaches Kafka: the arguments that every client of it shares."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Final

from aiokafka.abc import AbstractTokenProvider

from app.settings import PREFIX, Settings, SettingsError

CLIENT_ID: Final = "patient-upsert"
REQUEST_LIMIT_MS: Final = 10_000
"""Milliseconds for one request to a broker; also how long an answer may stay unacknowledged."""
METADATA_AGE_MS: Final = 5_000
"""A topic that was deleted and made again is noticed after this time at the latest."""


def connection(settings: Settings) -> dict[str, Any]:
    """The arguments that aiokafka's consumer, producer and admin client have in common. Raises OSError."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "client_id": CLIENT_ID,
        "request_timeout_ms": REQUEST_LIMIT_MS,
        "metadata_max_age_ms": METADATA_AGE_MS,
        "security_protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_security_protocol.endswith("SSL"):
        arguments["ssl_context"] = _ssl_context(settings)
    if not settings.kafka_security_protocol.startswith("SASL"):
        return arguments
    arguments["sasl_mechanism"] = settings.kafka_sasl_mechanism
    if settings.kafka_sasl_token_file is not None:
        return arguments | {"sasl_oauth_token_provider": TokenFile(settings.kafka_sasl_token_file)}
    assert settings.kafka_sasl_password is not None
    return arguments | {
        "sasl_plain_username": settings.kafka_sasl_username,
        "sasl_plain_password": settings.kafka_sasl_password.get_secret_value(),
    }


class TokenFile(AbstractTokenProvider):  # type: ignore[misc, unused-ignore]
    """The token of OAUTHBEARER, from a file that someone else renews: read for each connection."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def token(self) -> str:
        """The token that stands there now. Raises OSError."""
        try:
            return self._file.read_text(encoding="ascii").strip()
        except UnicodeDecodeError:
            raise OSError("no token") from None


def check_certificates(settings: Settings) -> None:
    """Raises SettingsError when the files of certificates cannot be used."""
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ssl_cafile)
    except OSError:  # which ssl.SSLError is
        raise SettingsError([f"{PREFIX}KAFKA_SSL_CAFILE: must hold certificates (PEM)"]) from None
    try:
        _load_our_own(context, settings)
    except OSError:
        line = "must hold a certificate (PEM), with its key, without a password, there or in KAFKA_SSL_KEYFILE"
        raise SettingsError([f"{PREFIX}KAFKA_SSL_CERTFILE: {line}"]) from None


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.kafka_ssl_cafile)
    _load_our_own(context, settings)
    return context


def _load_our_own(context: ssl.SSLContext, settings: Settings) -> None:
    if settings.kafka_ssl_certfile:
        # without a password of ours, OpenSSL would ask whoever sits at the terminal
        context.load_cert_chain(settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile, password="")
