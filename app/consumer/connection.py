"""How this process reaches Kafka: the arguments that every client of it shares."""

from __future__ import annotations

import ssl
from typing import Any, Final

from app.settings import Settings

CLIENT_ID: Final = "patient-upsert"
REQUEST_LIMIT_MS: Final = 10_000
"""Milliseconds for one request to a broker; also how long an answer may stay unacknowledged."""
METADATA_AGE_MS: Final = 5_000
"""A topic that was deleted and made again is noticed after this time at the latest."""


def connection(settings: Settings) -> dict[str, Any]:
    """The arguments that aiokafka's consumer, producer and admin client have in common."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "client_id": CLIENT_ID,
        "request_timeout_ms": REQUEST_LIMIT_MS,
        "metadata_max_age_ms": METADATA_AGE_MS,
        "security_protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_security_protocol.endswith("SSL"):
        arguments["ssl_context"] = _ssl_context(settings)
    if settings.kafka_security_protocol.startswith("SASL"):
        assert settings.kafka_sasl_password is not None
        arguments |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": settings.kafka_sasl_password.get_secret_value(),
        }
    return arguments


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.kafka_ssl_cafile)
    if settings.kafka_ssl_certfile:
        context.load_cert_chain(settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile)
    return context
