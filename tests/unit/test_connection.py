"""TLS and logins of Kafka from the settings, and what is said of certificates."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiokafka.errors import KafkaConnectionError, SaslAuthenticationFailed
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import SecretStr

from app.certificates import certificate_fault
from app.consumer.connection import check_certificates, connection
from app.consumer.follow import Follower
from app.consumer.reasons import reason_of
from app.consumer.requester import open_requester
from app.consumer.topics import create_topics
from app.errors import Transient
from app.main import create_app
from app.settings import Settings, SettingsError
from app.store.faults import connecting


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ca.pem`, `own.pem` with `own.key`, and `locked.key`, which is `own.key` with a password."""
    folder, ca = tmp_path_factory.mktemp("files"), trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    own = ca.issue_cert("worker@example.com")
    own.cert_chain_pems[0].write_to_path(str(folder / "own.pem"))
    own.private_key_pem.write_to_path(str(folder / "own.key"))
    key = load_pem_private_key(own.private_key_pem.bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"Xsecretx"))
    (folder / "locked.key").write_bytes(locked)
    (folder / "other").write_text("Xsecretx")
    return folder


def settings(**changes: Any) -> Settings:
    given: dict[str, Any] = {"kafka_bootstrap_servers": "k:9092", "database_url": SecretStr("postgresql://unused")}
    return Settings(**given, kafka_security_protocol="SSL", **changes)


@pytest.mark.rule("R10.1")
def test_certificate_and_host_name_are_always_checked(files: Path) -> None:
    own = {"kafka_ssl_certfile": files / "own.pem", "kafka_ssl_keyfile": files / "own.key"}
    context = connection(settings(kafka_ssl_cafile=files / "ca.pem", **own))["ssl_context"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(context.get_ca_certs()) == 1


CERTFILE = "must hold a certificate (PEM), with its key, without a password, there or in KAFKA_SSL_KEYFILE"


@pytest.mark.rule("R10.3")
@pytest.mark.parametrize(
    ("names", "line"),
    [
        ({"cafile": "other"}, "KAFKA_SSL_CAFILE: must hold certificates (PEM)"),
        ({"certfile": "other"}, f"KAFKA_SSL_CERTFILE: {CERTFILE}"),
        ({"certfile": "own.pem"}, f"KAFKA_SSL_CERTFILE: {CERTFILE}"),
        ({"certfile": "own.pem", "keyfile": "other"}, f"KAFKA_SSL_CERTFILE: {CERTFILE}"),
        ({"certfile": "own.pem", "keyfile": "locked.key"}, f"KAFKA_SSL_CERTFILE: {CERTFILE}"),
        ({"certfile": "ca.pem", "keyfile": "own.key"}, f"KAFKA_SSL_CERTFILE: {CERTFILE}"),
    ],
    ids=str,
)
def test_certificates_that_cannot_be_used_stop_the_start(files: Path, names: dict[str, str], line: str) -> None:
    given = settings(**{f"kafka_ssl_{name}": files / file for name, file in names.items()})
    for start in (check_certificates, create_app):
        with pytest.raises(SettingsError) as caught:
            start(given)
        assert caught.value.lines == [f"PATIENT_UPSERT_{line}"]


@pytest.mark.rule("R10.4")
async def test_the_token_of_a_login_is_read_for_each_connection(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a.b.c\n")
    given = settings(kafka_sasl_mechanism="OAUTHBEARER", kafka_sasl_token_file=file)
    arguments = connection(given.model_copy(update={"kafka_security_protocol": "SASL_SSL"}))
    assert (arguments["sasl_mechanism"], "sasl_plain_password" in arguments) == ("OAUTHBEARER", False)
    provider = arguments["sasl_oauth_token_provider"]
    assert await provider.token() == "a.b.c"
    file.write_text("d.e.f")
    assert await provider.token() == "d.e.f"
    file.write_bytes(b"\xff")
    with pytest.raises(OSError, match="no token"):
        await provider.token()


def fault(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "Xsecretx")
    error.verify_code = code
    return error


@pytest.mark.rule("R10.2")
@pytest.mark.parametrize(
    ("code", "told"),
    [
        (9, "that does not hold yet"),
        (10, "that has expired"),
        (18, "that none of the certificates we trust vouches for"),
        (20, "that none of the certificates we trust vouches for"),
        (23, "that was withdrawn"),
        (62, "that is not for this host name"),
        (64, "that is not for this address"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_told_by_its_number(code: int, told: str) -> None:
    assert certificate_fault(fault(code)) == told
    assert reason_of(fault(code)) == f"shows a certificate {told}"
    assert str(connecting(fault(code))) == f"postgres: the server shows a certificate {told}"


@pytest.mark.rule("R10.2")
def test_what_else_is_wrong_is_told_by_its_kind_and_never_by_its_text() -> None:
    assert certificate_fault(ssl.SSLError(1, "Xsecretx")) is None
    assert reason_of(ssl.SSLError(1, "Xsecretx")) == "does not agree on TLS"
    assert str(connecting(ssl.SSLError(1, "Xsecretx"))) == "postgres: the server does not agree on TLS"
    assert reason_of(SaslAuthenticationFailed("Xsecretx")) == "refuses the login"
    assert reason_of(KafkaConnectionError("Xsecretx")).startswith("hangs up: it may want another")
    assert reason_of(RuntimeError("Xsecretx")) == "fails with RuntimeError"


async def test_whoever_cannot_connect_is_told_why(free_address: str) -> None:
    settings = Settings(database_url=SecretStr("postgresql://db/x"), kafka_bootstrap_servers=free_address)
    cause = f"kafka: {free_address} refuses connections"
    with pytest.raises(Transient) as asked:
        async with open_requester(settings):
            pass
    with pytest.raises(Transient) as followed:
        await Follower(settings, [settings.completed_topic], None).poll()
    with pytest.raises(Transient) as created:
        await create_topics(settings)
    assert [str(asked.value), str(followed.value), str(created.value)] == [cause] * 3


@pytest.fixture
def free_address() -> str:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"127.0.0.1:{closed.getsockname()[1]}"
