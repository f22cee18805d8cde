"""What is to be said of what tells callers apart. Pure."""

from __future__ import annotations

from app.cli.doctor.finding import Finding, fail, ok
from app.settings import PREFIX, Settings


def callers_findings(facts: int | str, settings: Settings) -> list[Finding]:
    """`facts`: by how many keys tokens can be verified, or why by none."""
    check = "callers"
    if settings.auth == "none":
        everyone = f"whoever may write to {settings.request_topic} may change every patient"
        return [ok(check, f"not told apart: {everyone}")]
    if isinstance(facts, str):
        source = "AUTH_JWKS_FILE" if settings.auth_jwks_file is not None else "AUTH_JWKS_URL"
        return [fail(check, facts, f"correct {PREFIX}{source}")]
    keys = f"{facts} {'key' if facts == 1 else 'keys'}"
    return [ok(check, f"tokens of {settings.auth_issuer} for {settings.auth_audience}, verified by {keys}")]
