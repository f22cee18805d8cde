"""The settings: read once from the environment, bounded, refused with one line each that says what to do."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "PATIENT_UPSERT_"
MEBIBYTE = 1024 * 1024
CUSTOMER_PATTERN: Final = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$"
_SIGNATURES: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_SECRET_SIGNATURES: Final = ("HS256", "HS384", "HS512")
"""Never together with the others: who knows a public key could sign with it as if it were the secret."""
_SHORTEST_SECRET: Final = 32


class SettingsError(Exception):
    """The settings cannot be used; `lines` says why, one line a fault."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def _names(given: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in given.split(","))


def _either(name: str) -> AliasChoices:
    return AliasChoices(PREFIX + name, name)


class Settings(BaseSettings):
    """Every setting of the worker. Each is an environment variable: `PATIENT_UPSERT_` and the name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, hide_input_in_errors=True, populate_by_name=True, extra="forbid"
    )

    database_url: SecretStr = Field(
        validation_alias=_either("DATABASE_URL"),
        description="Postgres, as `postgresql://user:password@host:5432/database`; also read without the prefix",
    )
    database_pool_size: int = Field(4, ge=1, le=100, description="Connections to Postgres, at most")
    database_statement_cache: int = Field(
        100, ge=0, le=10_000, description="Prepared statements a connection keeps; 0 for an old pgbouncer"
    )
    kafka_bootstrap_servers: str = Field(
        min_length=1,
        validation_alias=_either("KAFKA_BOOTSTRAP_SERVERS"),
        description="Kafka, as `host:9092,host:9092`; also read without the prefix",
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to talk to Kafka"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        "SCRAM-SHA-512", description="How to log in to Kafka, with a SASL protocol"
    )
    kafka_sasl_username: str | None = Field(None, description="Who logs in to Kafka")
    kafka_sasl_password: SecretStr | None = Field(None, description="The password of that user")
    kafka_sasl_token_file: Path | None = Field(
        None, description="With OAUTHBEARER instead: the file of the token, read for each connection"
    )
    kafka_ssl_cafile: Path | None = Field(None, description="Certificates that Kafka's must be signed by (PEM)")
    kafka_ssl_certfile: Path | None = Field(None, description="The worker's own certificate (PEM)")
    kafka_ssl_keyfile: Path | None = Field(None, description="The key of that certificate (PEM)")
    group_id: str = Field("patient-upsert", min_length=1, max_length=249, description="Consumer group")
    request_topic: str = Field("patient.upsert.requested", description="Topic of the requests")
    completed_topic: str = Field("patient.upsert.completed", description="Topic of the answers with status 200")
    failed_topic: str = Field("patient.upsert.failed", description="Topic of all other answers")
    dlq_topic: str = Field("patient.upsert.requested.dlq", description="Topic of the dead letters")
    topic_partitions: int = Field(12, ge=1, le=10_000, description="Partitions of the topics that `setup` creates")
    topic_replication: int | None = Field(
        None, ge=1, le=10, description="Replicas of those topics; without it the broker's default"
    )
    batch_max_records: int = Field(1000, ge=1, le=10_000, description="Records in one batch, at most")
    batch_max_bytes: int = Field(
        4 * MEBIBYTE, ge=1024, le=64 * MEBIBYTE, description="Bytes in one batch, at most; one record always fits"
    )
    batch_max_wait_ms: int = Field(
        0, ge=0, le=1000, description="Milliseconds a batch that is not full waits for more records"
    )
    unknown_customer: Literal["create", "reject"] = Field(
        "create", description="What a request for an unknown customer does: create it, or get a 404"
    )
    customer_from_key: bool = Field(True, description="Whether the record key may name the customer")
    customer_pattern: str = Field(CUSTOMER_PATTERN, description="Regular expression that every customer id matches")
    stale_events: Literal["supersede", "apply"] = Field(
        "supersede", description="What becomes of an event older than what stands: nothing, or applied all the same"
    )
    answer_retention_days: int | None = Field(
        None,
        ge=1,
        le=36_500,
        description="After how many days stored answers are removed, but never while their request may be read again; "
        "without it never",
    )
    auth: Literal["none", "jwt"] = Field(
        "none",
        description="How callers are told apart: by Kafka's own access rules, or by the token in `authorization`",
    )
    auth_jwks_url: str | None = Field(
        None, repr=False, description="With `jwt`: where the keys are that sign tokens (JWKS)"
    )
    auth_jwks_file: Path | None = Field(None, description="Or the file that holds them, read again every few minutes")
    auth_secret: SecretStr | None = Field(
        None, description="Or a secret of 32 bytes or more that is shared with who issues tokens"
    )
    auth_algorithms: str | None = Field(
        None, description="Signatures accepted; without it `RS256,ES256,EdDSA`, and with a shared secret `HS256`"
    )
    auth_issuer: str | None = Field(None, min_length=1, description="Who issues the tokens (`iss`), with `jwt`")
    auth_audience: str | None = Field(None, min_length=1, description="Whom they are for (`aud`), with `jwt`")
    auth_scope: str = Field("patient:upsert", pattern=r"^[!-~]+$", description="The scope that they must have")
    auth_leeway_seconds: int = Field(
        60, ge=0, le=3600, description="By how much the clocks of issuer and worker may differ"
    )
    http_host: str = Field("0.0.0.0", description="Address of the health and metrics pages")  # noqa: S104
    http_port: int = Field(8080, ge=0, le=65535, description="Port of those pages; 0 takes a free one")
    log_format: Literal["json", "console"] = Field("json", description="Form of the log lines")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="From which level on to log")

    @field_validator("http_port", mode="before")
    @classmethod
    def _not_a_service_link(cls, value: Any) -> Any:
        """Kubernetes sets this very name to an address for a Service called patient-upsert-http."""
        return 8080 if isinstance(value, str) and re.match(r"(tcp|udp|sctp)://", value) else value

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, value: SecretStr) -> SecretStr:
        if not re.match(r"postgres(ql)?://", value.get_secret_value()):
            raise ValueError("must begin with postgresql://")
        return value

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _addresses(cls, value: str) -> str:
        """They are shown in the log and on pages: a login that somebody puts among them would be, too."""
        if re.search(r"[@/\s]", value):
            raise ValueError("must be host:port,host:port and nothing else")
        return value

    @field_validator("customer_pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error:
            raise ValueError("must be a regular expression") from None
        return value

    @field_validator("request_topic", "completed_topic", "failed_topic", "dlq_topic")
    @classmethod
    def _topic_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", value) or value in {".", ".."}:
            raise ValueError("must be a topic name: 1 to 249 of A-Z a-z 0-9 . _ -")
        return value

    @field_validator("auth_jwks_url")
    @classmethod
    def _not_to_be_forged(cls, value: str | None) -> str | None:
        """Whoever can change the keys on their way can make tokens."""
        if value is None:
            return None
        try:
            found = urlsplit(value)
            local = found.scheme == "http" and found.hostname in {"localhost", "127.0.0.1", "::1"}
            fits = bool(found.hostname) and (found.scheme == "https" or local) and found.port != 0
            fits = fits and found.username is None and value.isascii() and not re.search(r"[\x00-\x20]", value)
        except ValueError:
            fits = False
        if not fits:
            raise ValueError("must be an address with https://, or with http:// on this very machine, without a user")
        return value

    @field_validator("auth_algorithms")
    @classmethod
    def _are_signatures(cls, value: str | None) -> str | None:
        if value is not None and not set(_names(value)) <= {*_SIGNATURES, *_SECRET_SIGNATURES}:
            raise ValueError(f"must be some of {', '.join((*_SIGNATURES, *_SECRET_SIGNATURES))}, with commas between")
        return value

    @field_validator("auth_secret")
    @classmethod
    def _not_to_be_guessed(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < _SHORTEST_SECRET:
            raise ValueError(f"must have {_SHORTEST_SECRET} bytes or more")
        return value

    @field_validator(
        "auth_jwks_file", "kafka_sasl_token_file", "kafka_ssl_cafile", "kafka_ssl_certfile", "kafka_ssl_keyfile"
    )
    @classmethod
    def _is_a_file(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError("must be a file that can be read")
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Settings:
        if len(set(self.topics)) < len(self.topics):
            raise ValueError("REQUEST_TOPIC, COMPLETED_TOPIC, FAILED_TOPIC and DLQ_TOPIC must differ")
        self._login_fits_together()
        self._callers_fit_together()
        return self

    def _login_fits_together(self) -> None:
        token = self.kafka_sasl_mechanism == "OAUTHBEARER"
        if (self.kafka_sasl_token_file is not None) > token:
            raise ValueError("KAFKA_SASL_TOKEN_FILE is of use with KAFKA_SASL_MECHANISM=OAUTHBEARER only")
        if self.kafka_ssl_keyfile is not None and self.kafka_ssl_certfile is None:
            raise ValueError("KAFKA_SSL_KEYFILE is of use with KAFKA_SSL_CERTFILE only")
        if not self.kafka_security_protocol.startswith("SASL"):
            return
        if token and self.kafka_sasl_token_file is None:
            raise ValueError("KAFKA_SASL_TOKEN_FILE is needed with KAFKA_SASL_MECHANISM=OAUTHBEARER")
        if not token and not (self.kafka_sasl_username and self.kafka_sasl_password):
            raise ValueError("KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD are needed with a SASL protocol")

    def _callers_fit_together(self) -> None:
        keys = [name for name in ("auth_jwks_url", "auth_jwks_file", "auth_secret") if getattr(self, name) is not None]
        others = [
            name for name in ("auth_algorithms", "auth_issuer", "auth_audience") if getattr(self, name) is not None
        ]
        if self.auth == "none":
            if found := [*keys, *others]:
                raise ValueError(f"{found[0].upper()} is of use with AUTH=jwt only: set that, or leave it out")
            return
        if len(keys) != 1:
            raise ValueError("one of AUTH_JWKS_URL, AUTH_JWKS_FILE and AUTH_SECRET_FILE is needed with AUTH=jwt")
        if self.auth_issuer is None or self.auth_audience is None:
            raise ValueError("AUTH_ISSUER and AUTH_AUDIENCE are needed with AUTH=jwt")
        suited = _SIGNATURES if self.auth_secret is None else _SECRET_SIGNATURES
        if not set(self.algorithms) <= set(suited):
            raise ValueError(f"AUTH_ALGORITHMS must be some of {', '.join(suited)} with these keys")

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The algorithms by which tokens may be signed."""
        if self.auth_algorithms is not None:
            return _names(self.auth_algorithms)
        return ("RS256", "ES256", "EdDSA") if self.auth_secret is None else ("HS256",)

    @property
    def topics(self) -> tuple[str, str, str, str]:
        """The topics that the worker needs: of requests, of both kinds of answers, of dead letters."""
        return self.request_topic, self.completed_topic, self.failed_topic, self.dlq_topic

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the files that it names."""
        return init_settings, env_settings, _SecretFiles(settings_cls)


SECRETS = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads a secret from the file that `PATIENT_UPSERT_<NAME>_FILE` names, as Docker and Kubernetes mount them."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        path = os.environ.get(f"{PREFIX}{field_name.upper()}_FILE") if field_name in SECRETS else None
        if path is None:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n"), field_name, False
        except (OSError, UnicodeDecodeError):
            raise SettingsError([f"{PREFIX}{field_name.upper()}_FILE: must be a file that can be read"]) from None

    def __call__(self) -> dict[str, Any]:
        given = {name.upper().removeprefix(PREFIX) for name in self.current_state}
        values: dict[str, Any] = {}
        lines: list[str] = []
        for name, field in self.settings_cls.model_fields.items():
            try:
                value = None if name.upper() in given else self.get_field_value(field, name)[0]
            except SettingsError as error:
                lines += error.lines
            else:
                values |= {} if value is None else {name: value}
        if lines:
            raise SettingsError(lines)
        return values


def load_settings(*, needs_database: bool = True) -> Settings:
    """The settings of this process.

    Args:
        needs_database: whether DATABASE_URL must be set; a command that only talks to Kafka does without.

    Raises:
        SettingsError: a name is unknown, or a value cannot be used.
    """
    lines = [f"{name}: there is no such setting{_hint(name)}" for name in _unknown(os.environ)]
    arguments: dict[str, Any] = {} if needs_database else {"database_url": "postgresql://not-needed"}
    try:
        settings = Settings(**arguments)
    except SettingsError as error:
        lines += error.lines
    except ValidationError as error:
        lines += [_line(fault) for fault in error.errors(include_input=False, include_url=False, include_context=False)]
    if lines:
        raise SettingsError(lines)
    return settings


def _line(fault: Any) -> str:
    message = str(fault["msg"]).removeprefix("Value error, ")
    message = message[0].lower() + message[1:] if fault["type"] != "value_error" else message
    if not fault["loc"]:
        return f"{PREFIX}*: {message}"
    name = str(fault["loc"][0]).upper()
    name = name if name.startswith(PREFIX) else PREFIX + name
    return f"{name}: {'must be set' if fault['type'] == 'missing' else message}"


_SERVICE_LINK = re.compile(r"(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_.*)?)")


def _unknown(environ: Mapping[str, str]) -> list[str]:
    """Names with our prefix that mean nothing here, but for the service links that Kubernetes injects."""
    known = {name.upper() for name in Settings.model_fields} | {f"{name.upper()}_FILE" for name in SECRETS}
    names = sorted(name for name in environ if name.upper().startswith(PREFIX))
    rests = {name: name.upper().removeprefix(PREFIX) for name in names}
    return [name for name, rest in rests.items() if rest not in known and not _SERVICE_LINK.fullmatch(rest)]


def _hint(name: str) -> str:
    known = [field.upper() for field in Settings.model_fields]
    close = difflib.get_close_matches(name.upper().removeprefix(PREFIX), known, n=1)
    return f"; did you mean {PREFIX}{close[0]}?" if close else "; `patient-upsert run --help` lists them"
