"""Kafka and Postgres behind TLS and logins: the right wires work, of wrong ones the cause is told in one line."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg
import confluent_kafka.admin
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from pydantic import SecretStr

from app.consumer import publisher
from app.consumer.topics import create_topics
from app.settings import Settings
from devstack.servers import Servers, servers
from devstack.servers.waiting import free_port
from tests.conftest import own_settings
from tests.faults.broker_side import log_lines, log_of
from tests.roles import PASSWORD as ROLES_PASSWORD
from tests.roles import WORKER, as_worker, with_roles
from tests.support import ask, asking, page, plain, running, until

PASSWORD = "Xsecretx"
USER = f"{WORKER}:{ROLES_PASSWORD}"
LOGIN = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class Wires:
    """Servers that are configured so, and the files to reach them with."""

    servers: Servers
    folder: Path
    ports: dict[str, int]

    def file(self, name: str) -> Path:
        return self.folder / name

    def kafka(self, listener: str, protocol: str, **changes: Any) -> Settings:
        """Settings for this listener; the database is reached as ever."""
        wire = {"kafka_security_protocol": protocol, "kafka_ssl_cafile": self.file("ca.pem")}
        address = f"127.0.0.1:{self.ports[listener]}"
        return own_settings(address, as_worker(self.servers.database_url), **{**wire, **changes})

    def login(self, mechanism: str, password: str = PASSWORD, **changes: Any) -> Settings:
        name = {"kafka_sasl_username": "worker", "kafka_sasl_password": SecretStr(password)}
        return self.kafka("LOGIN", "SASL_SSL", kafka_sasl_mechanism=mechanism, **{**name, **changes})

    def postgres(self, user: str, **parameters: Any) -> Settings:
        """Settings for the database over TLS; Kafka is reached as ever."""
        address = self.servers.database_url.partition("@")[2]
        given = {"sslmode": "verify-full", "sslrootcert": self.file("ca.pem"), **parameters}
        return own_settings(self.servers.kafka, f"postgresql://{user}@{address}?{urlencode(given)}")


def write(folder: Path, name: str, *pieces: trustme.Blob) -> Path:
    file = folder / name
    file.write_bytes(b"".join(piece.bytes() for piece in pieces))
    return file


def pkcs8(key: trustme.Blob) -> trustme.Blob:
    """The key in the form that Kafka reads."""
    loaded = load_pem_private_key(key.bytes(), None)
    return trustme.Blob(loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wires]:
    """One Kafka with a listener for each wire, and one Postgres; both of this module's own."""
    if os.environ.get("SERVERS", "embedded") != "embedded":
        pytest.skip("only embedded servers can be given certificates here")
    folder, ca, other = tmp_path_factory.mktemp("wires"), trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    other.cert_pem.write_to_path(str(folder / "other.pem"))
    yesterday = datetime.now(UTC) - timedelta(days=1)
    shown = {
        "MUTUAL": ca.issue_cert("127.0.0.1"),
        "LOGIN": ca.issue_cert("127.0.0.1"),
        "ENDED": ca.issue_cert("127.0.0.1", not_after=yesterday),
        "NAMED": ca.issue_cert("elsewhere.example"),
    }
    for name, cert in shown.items():
        write(folder, f"{name}.pem", pkcs8(cert.private_key_pem), *cert.cert_chain_pems)
    for user in ("worker", "certified"):
        own = ca.issue_cert("worker@example.com", common_name=user)
        write(folder, f"{user}.pem", *own.cert_chain_pems)
        write(folder, f"{user}.key", own.private_key_pem).chmod(0o600)
    ports = {name: free_port() for name in shown}
    protocols = {"MUTUAL": "SSL", "LOGIN": "SASL_SSL", "ENDED": "SSL", "NAMED": "SSL"}
    kafka = {
        "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items()),
        "listener.security.protocol.map": ",".join(
            f"{name}:{protocol}"
            for name, protocol in {"CONTROLLER": "PLAINTEXT", "PLAINTEXT": "PLAINTEXT", **protocols}.items()
        ),
        "ssl.keystore.type": "PEM",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(folder / "ca.pem"),
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.login.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512,OAUTHBEARER",
        "listener.name.login.plain.sasl.jaas.config": f"{LOGIN}.plain.PlainLoginModule required "
        f'user_worker="{PASSWORD}";',
        "listener.name.login.scram-sha-512.sasl.jaas.config": f"{LOGIN}.scram.ScramLoginModule required;",
        "listener.name.login.oauthbearer.sasl.jaas.config": f"{LOGIN}.oauthbearer.OAuthBearerLoginModule required "
        'unsecuredLoginStringClaim_sub="broker";',
    }
    kafka |= {f"listener.name.{name.lower()}.ssl.keystore.location": str(folder / f"{name}.pem") for name in shown}
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get("PG", "18") == "18":
            patch.setenv("PG", "15")  # the wheel of 18 is built without TLS
        with servers(kafka=kafka) as found:
            add_user(found)
            yield Wires(found, folder, ports)


def add_user(found: Servers) -> None:
    """The user of SCRAM; that of PLAIN is in the settings of the broker."""
    library: Any = confluent_kafka.admin  # which says nothing of what it exports
    credential = library.ScramCredentialInfo(library.ScramMechanism.SCRAM_SHA_512, 4096)
    change = library.UserScramCredentialUpsertion("worker", credential, PASSWORD.encode())
    client = library.AdminClient({"bootstrap.servers": found.kafka})
    for future in client.alter_user_scram_credentials([change]).values():
        future.result()


@pytest.fixture(scope="module")
async def wires(started: Wires) -> Wires:
    """With a migrated database that shows a certificate, and asks one user for one."""
    await with_roles(started.servers.database_url, started.servers.database_url)
    pieces = {"server.crt": "LOGIN.pem", "server.key": "LOGIN.pem", "ca.crt": "ca.pem"}
    connection = await asyncpg.connect(started.servers.database_url)
    for name, source in pieces.items():
        text = started.file(source).read_text().strip().replace("\n", "\\n")
        script = f'cat > row; printf %b "{text}\\n" > {name}; chmod 600 {name}'  # a row not read breaks the pipe
        await connection.execute(f"copy (select 1) to program '{script}'")
    hba = "hostssl all certified all cert\\n"
    await connection.execute(
        f"copy (select 1) to program 'cat > row; printf \"{hba}\" | cat - pg_hba.conf > hba; cat hba > pg_hba.conf'"
    )
    for change in (f"create role certified login in role {WORKER}", "alter system set ssl_ca_file = 'ca.crt'"):
        await connection.execute(change)
    await connection.execute("alter system set ssl = on")
    await connection.execute("select pg_reload_conf()")

    async def encrypts() -> bool:
        other = await asyncpg.connect(started.servers.database_url)
        found = await other.fetchval("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
        await other.close()
        return bool(found)

    await until(encrypts)
    await connection.close()
    return started


def bearer(seconds: int) -> str:
    """A token as the broker's own validator for development takes it: unsigned."""
    parts = [{"alg": "none"}, {"sub": "worker", "iat": int(time.time()), "exp": time.time() + seconds}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def good(wires: Wires, wire: str) -> Settings:
    match wire:
        case "mutual":
            return wires.kafka(
                "MUTUAL", "SSL", kafka_ssl_certfile=wires.file("worker.pem"), kafka_ssl_keyfile=wires.file("worker.key")
            )
        case "OAUTHBEARER":
            wires.file("token").write_text(bearer(600) + "\n")
            return wires.login(
                wire,
                kafka_sasl_username=None,
                kafka_sasl_password=None,
                kafka_sasl_token_file=wires.file("token"),
            )
        case "postgres":
            return wires.postgres(USER)
        case "postgres certificate":
            return wires.postgres("certified", sslcert=wires.file("certified.pem"), sslkey=wires.file("certified.key"))
        case mechanism:
            return wires.login(mechanism)


@pytest.mark.rule("R10.1", "R10.4")
@pytest.mark.parametrize(
    "wire", ["PLAIN", "SCRAM-SHA-512", "OAUTHBEARER", "mutual", "postgres", "postgres certificate"]
)
async def test_requests_are_answered_over_each_wire(wires: Wires, wire: str) -> None:
    settings = good(wires, wire)
    await create_topics(settings)
    async with asking(settings) as requester:
        (answer,) = await ask(requester, plain(f"cus_{wire.replace(' ', '')}"))
    assert (answer.status, answer.outcome) == (200, "created")


UNKNOWN = "shows a certificate that none of the certificates we trust vouches for"


def wrong(wires: Wires, fault: str) -> tuple[Settings, str, str]:
    """Settings with this fault, the part that waits for it, and the cause that is told."""
    address = {name: f"kafka: 127.0.0.1:{port}" for name, port in wires.ports.items()}
    match fault:
        case "kafka: other CA":
            settings = wires.login("PLAIN", kafka_ssl_cafile=wires.file("other.pem"))
            return settings, "kafka", f"{address['LOGIN']} {UNKNOWN}"
        case "kafka: expired":
            return wires.kafka("ENDED", "SSL"), "kafka", f"{address['ENDED']} shows a certificate that has expired"
        case "kafka: other host":
            cause = "shows a certificate that is not for this address"
            return wires.kafka("NAMED", "SSL"), "kafka", f"{address['NAMED']} {cause}"
        case "kafka: no certificate":
            cause = "hangs up: it may want another KAFKA_SECURITY_PROTOCOL, or a certificate of ours"
            return wires.kafka("MUTUAL", "SSL"), "kafka", f"{address['MUTUAL']} {cause}"
        case "kafka: PLAIN" | "kafka: SCRAM-SHA-512":
            settings = wires.login(fault.partition(": ")[2], "Xotherx")
            return settings, "kafka", f"{address['LOGIN']} refuses the login"
        case "kafka: OAUTHBEARER":
            wires.file("token-ended").write_text(bearer(-600))
            settings = good(wires, "OAUTHBEARER").model_copy(
                update={"kafka_sasl_token_file": wires.file("token-ended")}
            )
            cause = "was reached, but does not answer: it may refuse the token in KAFKA_SASL_TOKEN_FILE"
            return settings, "kafka", f"{address['LOGIN']} {cause}"
        case "kafka: no TLS":
            cause = "hangs up: it may want another KAFKA_SECURITY_PROTOCOL, or a certificate of ours"
            return wires.kafka("LOGIN", "PLAINTEXT"), "kafka", f"{address['LOGIN']} {cause}"
        case "postgres: other CA":
            cause = f"postgres: the server {UNKNOWN}"
            return wires.postgres(USER, sslrootcert=wires.file("other.pem")), "postgres", cause
        case "postgres: other host":
            settings = wires.postgres(USER)
            url = settings.database_url.get_secret_value().replace("127.0.0.1", "localhost")
            cause = "postgres: the server shows a certificate that is not for this host name"
            return settings.model_copy(update={"database_url": SecretStr(url)}), "postgres", cause
        case "postgres: password":
            cause = "postgres: SQLSTATE 28P01 (the password is wrong: correct DATABASE_URL)"
            return wires.postgres(f"{WORKER}:Xotherx"), "postgres", cause
        case _:
            cause = (
                "postgres: SQLSTATE 28000 (the role may not log in: correct DATABASE_URL or the server's pg_hba.conf)"
            )
            return wires.postgres("certified"), "postgres", cause


@pytest.mark.rule("R10.2")
@pytest.mark.parametrize(
    "fault",
    [
        "kafka: other CA",
        "kafka: expired",
        "kafka: other host",
        "kafka: no certificate",
        "kafka: PLAIN",
        "kafka: SCRAM-SHA-512",
        "kafka: OAUTHBEARER",
        "kafka: no TLS",
        "postgres: other CA",
        "postgres: other host",
        "postgres: password",
        "postgres: no certificate",
    ],
)
async def test_what_is_wrong_with_a_wire_is_told_once_without_any_secret(
    wires: Wires, fault: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "REQUEST_LIMIT_MS", 2000)  # what it takes to see that a broker does not answer
    settings, part, cause = wrong(wires, fault)
    async with running(log_of(settings)) as app:

        async def told() -> Any:
            return (await page(app, "/readyz"))[1]["waiting"].get(part) not in (None, "starting")

        await until(told)
        assert (await page(app, "/readyz"))[1]["waiting"][part] == cause
        broker: Any = app.broker
        seen = broker._attempt
        await until(lambda: broker._attempt > seen + 1)  # tried again, and nothing new to say
    lines = log_lines(capsys)
    assert [line["cause"] for line in lines if line["event"] == "waiting" and line["part"] == part] == [cause]
    text = json.dumps(lines)
    assert not [secret for secret in ("Xotherx", "Xsecretx", "eyJ", "BEGIN") if secret in text]
