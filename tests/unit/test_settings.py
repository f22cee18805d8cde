"""Settings: where they come from, what they refuse, and that no secret shows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.settings import Settings, SettingsError, load_settings

P = "PATIENT_UPSERT_"
URL = "postgresql://user:Xsecretx@host:5432/database"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with what must be set, and nothing else of ours."""
    for name in [name for name in os.environ if name.upper().startswith(P)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABASE_URL", URL)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")
    return monkeypatch


def load(environment: pytest.MonkeyPatch, **changes: str) -> Settings:
    for name, value in changes.items():
        environment.setenv(P + name, value)
    return load_settings()


def refused(environment: pytest.MonkeyPatch, **changes: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(environment, **changes)
    assert str(caught.value) == "\n".join(caught.value.lines)
    return caught.value.lines


def test_the_defaults_are_those_that_are_documented() -> None:
    given = load_settings().model_dump(exclude={"database_url", "kafka_bootstrap_servers"})
    assert given == {
        "database_pool_size": 4,
        "database_statement_cache": 100,
        "kafka_security_protocol": "PLAINTEXT",
        "kafka_sasl_mechanism": "SCRAM-SHA-512",
        "kafka_sasl_username": None,
        "kafka_sasl_password": None,
        "kafka_sasl_token_file": None,
        "kafka_ssl_cafile": None,
        "kafka_ssl_certfile": None,
        "kafka_ssl_keyfile": None,
        "group_id": "patient-upsert",
        "request_topic": "patient.upsert.requested",
        "completed_topic": "patient.upsert.completed",
        "failed_topic": "patient.upsert.failed",
        "dlq_topic": "patient.upsert.requested.dlq",
        "topic_partitions": 12,
        "topic_replication": None,
        "batch_max_records": 1000,
        "batch_max_bytes": 4194304,
        "batch_max_wait_ms": 0,
        "unknown_customer": "create",
        "customer_from_key": True,
        "customer_pattern": "^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$",
        "stale_events": "supersede",
        "answer_retention_days": None,
        "auth": "none",
        "auth_jwks_url": None,
        "auth_jwks_file": None,
        "auth_secret": None,
        "auth_algorithms": None,
        "auth_issuer": None,
        "auth_audience": None,
        "auth_scope": "patient:upsert",
        "auth_leeway_seconds": 60,
        "http_host": "0.0.0.0",
        "http_port": 8080,
        "log_format": "json",
        "log_level": "info",
    }


def test_the_addresses_are_read_with_and_without_the_prefix(environment: pytest.MonkeyPatch) -> None:
    given = load_settings()
    assert (given.database_url.get_secret_value(), given.kafka_bootstrap_servers) == (URL, "kafka:9092")
    given = load(environment, DATABASE_URL="postgres://other", KAFKA_BOOTSTRAP_SERVERS="other:1")
    assert (given.database_url.get_secret_value(), given.kafka_bootstrap_servers) == ("postgres://other", "other:1")


def test_no_other_name_is_read_without_the_prefix(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GROUP_ID", "other")
    environment.setenv("HTTP_PORT", "99")
    assert (load_settings().group_id, load_settings().http_port) == ("patient-upsert", 8080)


def test_names_are_read_whatever_their_case(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("patient_upsert_group_id", "other")
    assert load_settings().group_id == "other"


def test_what_must_be_set_is_told(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("DATABASE_URL")
    environment.delenv("KAFKA_BOOTSTRAP_SERVERS")
    assert refused(environment) == [
        "PATIENT_UPSERT_DATABASE_URL: must be set",
        "PATIENT_UPSERT_KAFKA_BOOTSTRAP_SERVERS: must be set",
    ]


def test_what_only_talks_to_kafka_needs_no_database(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("DATABASE_URL")
    assert load_settings(needs_database=False).kafka_bootstrap_servers == "kafka:9092"
    environment.setenv("DATABASE_URL", "unusable")
    assert load_settings(needs_database=False).kafka_bootstrap_servers == "kafka:9092"


def test_every_fault_is_told_in_a_line_of_its_own(environment: pytest.MonkeyPatch) -> None:
    lines = refused(
        environment,
        BATCH_MAX_RECORD="5",
        TOPIC_PARTITIONS="0",
        BATCH_MAX_BYTES="many",
        UNKNOWN_CUSTOMER="ignore",
        NOTHING_LIKE_IT="1",
    )
    assert lines == [
        "PATIENT_UPSERT_BATCH_MAX_RECORD: there is no such setting; did you mean PATIENT_UPSERT_BATCH_MAX_RECORDS?",
        "PATIENT_UPSERT_NOTHING_LIKE_IT: there is no such setting; `patient-upsert run --help` lists them",
        "PATIENT_UPSERT_TOPIC_PARTITIONS: input should be greater than or equal to 1",
        "PATIENT_UPSERT_BATCH_MAX_BYTES: input should be a valid integer, unable to parse string as an integer",
        "PATIENT_UPSERT_UNKNOWN_CUSTOMER: input should be 'create' or 'reject'",
    ]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DATABASE_URL", "mysql://Xsecretx", "must begin with postgresql://"),
        ("CUSTOMER_PATTERN", "([Xsecretx", "must be a regular expression"),
        ("DLQ_TOPIC", "Xsecretx/", "must be a topic name: 1 to 249 of A-Z a-z 0-9 . _ -"),
        ("REQUEST_TOPIC", "..", "must be a topic name: 1 to 249 of A-Z a-z 0-9 . _ -"),
        ("FAILED_TOPIC", "a" * 250, "must be a topic name: 1 to 249 of A-Z a-z 0-9 . _ -"),
        ("KAFKA_SSL_CAFILE", "/Xsecretx", "must be a file that can be read"),
        ("KAFKA_BOOTSTRAP_SERVERS", "", "string should have at least 1 character"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:1,SASL_SSL://user:Xsecretx@b:2", "must be host:port,host:port and nothing else"),
        ("CUSTOMER_FROM_KEY", "Xsecretx", "input should be a valid boolean, unable to interpret input"),
        ("HTTP_PORT", "65536", "input should be less than or equal to 65535"),
    ],
)
def test_a_bad_value_is_told_and_not_shown(
    environment: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    (line,) = refused(environment, **{name: value})
    assert line == f"PATIENT_UPSERT_{name}: {message}"


def test_the_topics_must_differ(environment: pytest.MonkeyPatch) -> None:
    assert refused(environment, DLQ_TOPIC="patient.upsert.failed") == [
        "PATIENT_UPSERT_*: REQUEST_TOPIC, COMPLETED_TOPIC, FAILED_TOPIC and DLQ_TOPIC must differ"
    ]


def test_a_sasl_protocol_needs_name_and_password(environment: pytest.MonkeyPatch) -> None:
    told = ["PATIENT_UPSERT_*: KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD are needed with a SASL protocol"]
    assert refused(environment, KAFKA_SECURITY_PROTOCOL="SASL_SSL") == told
    assert refused(environment, KAFKA_SASL_USERNAME="worker") == told
    given = load(environment, KAFKA_SASL_PASSWORD="Xsecretx")
    assert given.kafka_sasl_password is not None
    assert given.kafka_sasl_password.get_secret_value() == "Xsecretx"


# --- files with secrets


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_secret_may_be_in_a_file(environment: pytest.MonkeyPatch, tmp_path: Path, ending: str) -> None:
    environment.delenv("DATABASE_URL")
    (tmp_path / "url").write_text(URL + ending, encoding="utf-8", newline="")
    (tmp_path / "password").write_text(" Xsecretx " + ending, encoding="utf-8", newline="")
    given = load(
        environment,
        DATABASE_URL_FILE=str(tmp_path / "url"),
        KAFKA_SASL_PASSWORD_FILE=str(tmp_path / "password"),
    )
    assert given.database_url.get_secret_value() == URL
    assert given.kafka_sasl_password == SecretStr(" Xsecretx ")


@pytest.mark.parametrize("prefix", ["", P])
def test_a_secret_in_the_environment_goes_before_its_file(
    environment: pytest.MonkeyPatch, tmp_path: Path, prefix: str
) -> None:
    (tmp_path / "url").write_text("postgresql://file", encoding="utf-8")
    environment.setenv(f"{prefix}DATABASE_URL", URL)
    assert load(environment, DATABASE_URL_FILE=str(tmp_path / "url")).database_url.get_secret_value() == URL


def test_a_file_that_cannot_be_read_is_told_beside_the_other_faults(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.delenv("DATABASE_URL")
    (tmp_path / "bytes").write_bytes(b"\xff")
    changes = {"DATABASE_URL_FILE": "/missing", "KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "bytes"), "NO_NAME": "1"}
    assert refused(environment, **changes) == [
        "PATIENT_UPSERT_NO_NAME: there is no such setting; `patient-upsert run --help` lists them",
        "PATIENT_UPSERT_DATABASE_URL_FILE: must be a file that can be read",
        "PATIENT_UPSERT_KAFKA_SASL_PASSWORD_FILE: must be a file that can be read",
    ]


def test_only_secrets_are_read_from_files(environment: pytest.MonkeyPatch) -> None:
    assert refused(environment, GROUP_ID_FILE="/any") == [
        "PATIENT_UPSERT_GROUP_ID_FILE: there is no such setting; did you mean PATIENT_UPSERT_GROUP_ID?"
    ]


def test_no_secret_shows(environment: pytest.MonkeyPatch) -> None:
    given = load(environment, KAFKA_SASL_PASSWORD="Xsecretx")
    assert "Xsecretx" not in f"{given!r} {given} {given.model_dump()} {given.model_dump_json()}"


# --- what Kubernetes puts there


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVICE_HOST", "10.0.0.1"),
        ("SERVICE_PORT", "8080"),
        ("SERVICE_PORT_HTTP", "8080"),
        ("PORT", "tcp://10.0.0.1:8080"),
        ("PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("METRICS_SERVICE_HOST", "10.0.0.1"),
        ("METRICS_PORT_53_UDP_PROTO", "udp"),
        ("HTTP_PORT", "tcp://10.0.0.1:8080"),
    ],
)
def test_service_links_are_no_settings(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert load(environment, **{name: value}).http_port == 8080


@pytest.mark.parametrize("name", ["SERVICE", "PORT_TCP", "SERVICE_HOSTS", "HTTP_PORT_8080"])
def test_what_only_resembles_a_service_link_is_told(environment: pytest.MonkeyPatch, name: str) -> None:
    assert refused(environment, **{name: "1"})[0].startswith(f"PATIENT_UPSERT_{name}: there is no such setting")


def test_settings_cannot_be_changed_nor_invented() -> None:
    given: Any = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        given.group_id = "other"
    with pytest.raises(ValueError, match="extra"):
        Settings(no_such="x")  # type: ignore[call-arg]


# --- callers

JWT = {"AUTH": "jwt", "AUTH_ISSUER": "https://issuer.example", "AUTH_AUDIENCE": "patient-upsert"}
LONG = "Xsecretx" * 4


@pytest.mark.rule("R9.15")
def test_keys_are_named_in_one_of_three_ways(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "given"
    file.write_text(LONG + "\n")
    given = load(environment, **JWT, AUTH_SECRET_FILE=str(file))
    assert given.auth_secret == SecretStr(LONG)
    assert (given.algorithms, LONG in repr(given)) == (("HS256",), False)
    environment.delenv(P + "AUTH_SECRET_FILE")
    given = load(environment, AUTH_JWKS_FILE=str(file), AUTH_ALGORITHMS="ES256, PS512")
    assert (given.auth_jwks_file, given.algorithms) == (file, ("ES256", "PS512"))
    environment.delenv(P + "AUTH_JWKS_FILE")
    environment.delenv(P + "AUTH_ALGORITHMS")
    given = load(environment, AUTH_JWKS_URL="https://issuer.example:8443/keys?a=b")
    assert (given.auth_jwks_url, given.algorithms) == (
        "https://issuer.example:8443/keys?a=b",
        ("RS256", "ES256", "EdDSA"),
    )
    assert load(environment, AUTH_JWKS_URL="http://127.0.0.1:8080/keys").auth_jwks_url == "http://127.0.0.1:8080/keys"


KEYS_AT = {"AUTH_JWKS_URL": "https://issuer.example/keys"}


@pytest.mark.rule("R9.15")
@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"AUTH": "basic"}, "AUTH: input should be 'none' or 'jwt'"),
        (JWT, "*: one of AUTH_JWKS_URL, AUTH_JWKS_FILE and AUTH_SECRET_FILE is needed with AUTH=jwt"),
        (
            {**JWT, **KEYS_AT, "AUTH_SECRET": LONG},
            "*: one of AUTH_JWKS_URL, AUTH_JWKS_FILE and AUTH_SECRET_FILE is needed with AUTH=jwt",
        ),
        ({"AUTH": "jwt", **KEYS_AT}, "*: AUTH_ISSUER and AUTH_AUDIENCE are needed with AUTH=jwt"),
        (
            {"AUTH": "jwt", "AUTH_ISSUER": "a", **KEYS_AT},
            "*: AUTH_ISSUER and AUTH_AUDIENCE are needed with AUTH=jwt",
        ),
        (KEYS_AT, "*: AUTH_JWKS_URL is of use with AUTH=jwt only: set that, or leave it out"),
        ({"AUTH_ISSUER": "a"}, "*: AUTH_ISSUER is of use with AUTH=jwt only: set that, or leave it out"),
        ({**JWT, "AUTH_SECRET": "Xsecretx"}, "AUTH_SECRET: must have 32 bytes or more"),
        (
            {**JWT, **KEYS_AT, "AUTH_ALGORITHMS": "RS256,HS256"},
            "*: AUTH_ALGORITHMS must be some of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA "
            "with these keys",
        ),
        (
            {**JWT, "AUTH_SECRET": LONG, "AUTH_ALGORITHMS": "RS256"},
            "*: AUTH_ALGORITHMS must be some of HS256, HS384, HS512 with these keys",
        ),
        ({**JWT, **KEYS_AT, "AUTH_SCOPE": "a b"}, "AUTH_SCOPE: string should match pattern '^[!-~]+$'"),
        (
            {**JWT, **KEYS_AT, "AUTH_LEEWAY_SECONDS": "3601"},
            "AUTH_LEEWAY_SECONDS: input should be less than or equal to 3600",
        ),
        ({**JWT, "AUTH_JWKS_FILE": "/nowhere"}, "AUTH_JWKS_FILE: must be a file that can be read"),
    ],
)
def test_what_is_wrong_with_callers_is_told_in_one_line(
    environment: pytest.MonkeyPatch, changes: dict[str, str], line: str
) -> None:
    assert refused(environment, **changes) == [f"PATIENT_UPSERT_{line}"]


@pytest.mark.rule("R9.2", "R9.15")
@pytest.mark.parametrize("name", ["none", "RS256,none", "NONE", "", "rs256", "RS256;ES256"])
def test_no_algorithm_that_signs_nothing_can_be_set(environment: pytest.MonkeyPatch, name: str) -> None:
    assert refused(environment, **JWT, **KEYS_AT, AUTH_ALGORITHMS=name) == [
        "PATIENT_UPSERT_AUTH_ALGORITHMS: must be some of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, "
        "ES512, EdDSA, HS256, HS384, HS512, with commas between"
    ]


@pytest.mark.rule("R9.15")
@pytest.mark.parametrize(
    "url",
    [
        "",
        "issuer.example/keys",
        "http://issuer.example/keys",
        "http://localhost.example/keys",
        "file:///etc/keys",
        "ftp://localhost/keys",
        "https://",
        "https://user:Xsecretx@issuer.example/keys",
        "https://issuer.example/a b",
        "https://issuer.example:port/",
        "https://[::1/",
    ],
)
def test_keys_come_from_where_they_cannot_be_forged_on_their_way(environment: pytest.MonkeyPatch, url: str) -> None:
    assert refused(environment, **JWT, AUTH_JWKS_URL=url) == [
        "PATIENT_UPSERT_AUTH_JWKS_URL: must be an address with https://, or with http:// on this very machine, "
        "without a user"
    ]


@pytest.mark.rule("R10.3")
@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "OAUTHBEARER"},
            "KAFKA_SASL_TOKEN_FILE is needed with KAFKA_SASL_MECHANISM=OAUTHBEARER",
        ),
        (
            {"KAFKA_SASL_TOKEN_FILE": __file__},
            "KAFKA_SASL_TOKEN_FILE is of use with KAFKA_SASL_MECHANISM=OAUTHBEARER only",
        ),
        ({"KAFKA_SSL_KEYFILE": __file__}, "KAFKA_SSL_KEYFILE is of use with KAFKA_SSL_CERTFILE only"),
    ],
)
def test_a_login_that_does_not_fit_together_is_told_in_one_line(
    environment: pytest.MonkeyPatch, changes: dict[str, str], line: str
) -> None:
    assert refused(environment, **changes) == [f"PATIENT_UPSERT_*: {line}"]
