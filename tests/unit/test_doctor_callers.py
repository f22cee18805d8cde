"""What doctor says of callers."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from app.cli.doctor.callers import callers_findings
from app.settings import Settings
from tests.tokens import SECRET

NONE = Settings(database_url=SecretStr("postgresql://db/x"), kafka_bootstrap_servers="kafka:9092")
JWT = {"auth": "jwt", "auth_issuer": "https://issuer.example", "auth_audience": "patient-upsert"}
URL = NONE.model_copy(update={**JWT, "auth_jwks_url": "https://issuer.example/keys?key=Xsecretx"})
SHARED = NONE.model_copy(update={**JWT, "auth_secret": SecretStr(SECRET)})


@pytest.mark.parametrize(
    ("settings", "facts", "status", "message"),
    [
        (NONE, 0, "ok", "not told apart: whoever may write to patient.upsert.requested may change every patient"),
        (URL, 1, "ok", "tokens of https://issuer.example for patient-upsert, verified by 1 key"),
        (URL, 2, "ok", "tokens of https://issuer.example for patient-upsert, verified by 2 keys"),
        (SHARED, 1, "ok", "tokens of https://issuer.example for patient-upsert, verified by 1 key"),
        (URL, "callers: the keys cannot be had", "fail", "callers: the keys cannot be had"),
    ],
)
def test_what_tells_callers_apart_is_said(settings: Settings, facts: int | str, status: str, message: str) -> None:
    (finding,) = callers_findings(facts, settings)
    assert (finding.check, finding.status, finding.message) == ("callers", status, message)
    assert finding.action == ("correct PATIENT_UPSERT_AUTH_JWKS_URL" if status == "fail" else None)
    assert "Xsecretx" not in str(finding)
