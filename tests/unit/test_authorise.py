"""Who may make a request: what a token must be and say, and what a denied caller is shown."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.authorise import EVERYONE, Caller, authorise, visible
from app.authorise.decide import bearer
from app.authorise.token import UNVERIFIED, NoKeys, Policy, Verdict, read_keys, secret_key, verify
from app.envelope import open_envelope
from app.model import Request
from app.understand import understand
from tests.support import body
from tests.tokens import AUDIENCE, BEGIN, END, ISSUER, SECRET, jwks, private, public, token
from tests.unit.making import (
    EVENT,
    MADE_MS,
    NOW,
    PATTERN,
    decided,
    holding,
    opened,
    outcomes,
    parsed,
    patient,
    record,
)
from tests.unit.making import customer as stored_customer

ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA"})
KINDS = ("RSA", "P-256", "Ed25519")
KEYS = read_keys(jwks(*KINDS))


def policy(**changes: Any) -> Policy:
    given: dict[str, Any] = {"algorithms": ALGORITHMS, "issuer": ISSUER, "audience": AUDIENCE, "leeway": 0}
    return Policy(**{"scope": "patient:upsert", **given, **changes})


def verdict(given: bytes, **changes: Any) -> Verdict:
    return verify(given, KEYS, policy(**changes))


def part(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "scope": "patient:upsert", "exp": END}


# --- signatures


@pytest.mark.rule("R9.2")
@pytest.mark.parametrize("kind", KINDS)
def test_a_token_that_one_of_the_keys_has_signed_is_accepted(kind: str) -> None:
    assert verdict(token(kind)) == Caller(BEGIN, END)
    assert verdict(token(kind, kid=None)) == Caller(BEGIN, END)


@pytest.mark.rule("R9.2")
def test_a_token_without_a_signature_is_none() -> None:
    for name in ("none", "None", "NONE"):
        unsigned = f"{part({'alg': name, 'typ': 'JWT'})}.{part(CLAIMS)}.".encode()
        assert verdict(unsigned) is None
        assert not isinstance(verify(unsigned, KEYS, policy(algorithms=ALGORITHMS | {name})), Caller)


@pytest.mark.rule("R9.2")
def test_a_public_key_is_never_used_as_a_secret() -> None:
    rsa_key = private("RSA").public_key()
    for secret in (
        rsa_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        rsa_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(public("RSA")).encode(),
    ):
        signed = f"{part({'alg': 'HS256', 'kid': 'RSA'})}.{part(CLAIMS)}"
        forged = f"{signed}.{part(hmac.digest(secret, signed.encode(), hashlib.sha256))}".encode()
        assert verdict(forged) is None
        assert verify(forged, KEYS, policy(algorithms=ALGORITHMS | {"HS256"})) is UNVERIFIED


@pytest.mark.rule("R9.2")
def test_an_algorithm_that_is_not_allowed_is_refused_whoever_signed() -> None:
    assert verdict(token("RSA", algorithm="RS512")) is None
    assert verdict(token("RSA", algorithm="PS256")) is None
    assert isinstance(verdict(token("RSA", algorithm="PS256"), algorithms=frozenset({"PS256"})), Caller)
    assert verdict(token("RSA"), algorithms=frozenset({"ES256"})) is None


@pytest.mark.rule("R9.2")
def test_a_key_verifies_with_the_algorithm_that_it_is_for_only() -> None:
    allowed = policy(algorithms=frozenset({"RS256", "PS256", "ES256", "ES384"}))
    only_pss = read_keys(json.dumps({"keys": [public("RSA", alg="PS256")]}).encode())
    assert verify(token("RSA"), only_pss, allowed) is UNVERIFIED
    assert isinstance(verify(token("RSA", algorithm="PS256"), only_pss, allowed), Caller)
    other_curve = read_keys(json.dumps({"keys": [public("P-384", kid="P-256")]}).encode())
    assert verify(token("P-256"), other_curve, allowed) is UNVERIFIED


@pytest.mark.rule("R9.2")
def test_a_token_of_another_key_may_be_one_of_a_key_that_is_not_known_yet() -> None:
    assert verdict(token("Ed25519-new")) is UNVERIFIED
    assert verdict(token("Ed25519-new", kid="Ed25519")) is UNVERIFIED
    assert verdict(token("Ed25519-new", kid=None)) is UNVERIFIED
    assert verdict(token("Ed25519", kid="RSA")) is UNVERIFIED


@pytest.mark.rule("R9.2")
def test_changed_claims_or_an_unknown_extension_make_a_token_none() -> None:
    head, claims, signature = token("Ed25519").decode().split(".")
    other = part({**CLAIMS, "customers": ["cus_2"]})
    assert verdict(f"{head}.{other}.{signature}".encode()) is UNVERIFIED
    assert not isinstance(verdict(f"{head}.{claims}.".encode()), Caller)
    critical = f"{part({'alg': 'EdDSA', 'crit': ['b64'], 'b64': False})}.{claims}"
    assert verdict(f"{critical}.{part(private('Ed25519').sign(critical.encode()))}".encode()) is None


@pytest.mark.rule("R9.1")
@pytest.mark.parametrize(
    "text",
    [b".", b"..", b"a.b", b"a.b.c", b"\xff.\xfe.\xfd", b"e30.e30.e30", b"W10.e30.e30", b"bnVsbA.e30.e30", b"x" * 9999],
)
def test_what_is_no_token_is_none_and_breaks_nothing(text: bytes) -> None:
    assert verdict(text) is None


@pytest.mark.rule("R9.2")
def test_a_shared_secret_verifies_what_it_has_signed() -> None:
    only = policy(algorithms=frozenset({"HS256"}))
    assert verify(token("secret"), secret_key(SECRET), only) == Caller(BEGIN, END)
    assert verify(token("secret"), secret_key(SECRET + "x"), only) is UNVERIFIED
    assert verify(token("RSA"), secret_key(SECRET), only) is None


# --- the key set


@pytest.mark.rule("R9.2")
def test_of_a_key_set_only_public_keys_for_signatures_are_used() -> None:
    entries = [
        {"kty": "oct", "k": part(SECRET.encode()), "kid": "secret", "alg": "HS256"},
        public("RSA", use="enc"),
        public("P-256", d="AAAA"),
        public("RSA-1024"),
        {"kty": "EC", "crv": "P-256", "x": "broken", "y": "broken"},
        {"kty": "unheard-of"},
        public("Ed25519"),
    ]
    (key,) = read_keys(json.dumps({"keys": entries}).encode())
    assert (key.id, key.kind) == ("Ed25519", "Ed25519")
    assert repr(key) == "Key(Ed25519)"


@pytest.mark.rule("R9.7")
@pytest.mark.parametrize("text", [b"", b"<html>", b"[]", b"null", b'{"keys": 1}', b'{"keys": [1]}', b'{"keys": []}'])
def test_what_is_no_key_set_is_told_from_one(text: bytes) -> None:
    with pytest.raises(NoKeys, match="JSON Web Key Set"):
        read_keys(text)


# --- claims


@pytest.mark.rule("R9.4")
@pytest.mark.parametrize(
    "claims",
    [
        {"iss": ...},
        {"iss": "https://other.example"},
        {"iss": [ISSUER]},
        {"aud": ...},
        {"aud": "other"},
        {"aud": ["other"]},
        {"aud": f"{AUDIENCE} other"},
        {"scope": ...},
        {"scope": "patient:read"},
        {"scope": "patient:upsert2"},
        {"scope": 1},
        {"scope": "patient:read", "scp": "patient:upsert"},
    ],
    ids=str,
)
def test_a_token_of_another_issuer_for_another_audience_or_without_the_scope_is_none(claims: dict[str, Any]) -> None:
    if claims.get("iss") == [ISSUER]:
        signed = f"{part({'alg': 'EdDSA', 'kid': 'Ed25519'})}.{part({**CLAIMS, **claims})}"
        assert verdict(f"{signed}.{part(private('Ed25519').sign(signed.encode()))}".encode()) is None
        return
    assert verdict(token(**claims)) is None


@pytest.mark.rule("R9.4")
def test_audiences_and_scopes_may_be_several() -> None:
    assert verdict(token(aud=["other", AUDIENCE])) == Caller(BEGIN, END)
    assert verdict(token(scope="a patient:upsert b")) == Caller(BEGIN, END)
    assert verdict(token(scope=["a", "patient:upsert"])) == Caller(BEGIN, END)
    assert verdict(token(scope=..., scp="patient:upsert")) == Caller(BEGIN, END)
    assert verdict(token(scope="write"), scope="write") == Caller(BEGIN, END)


@pytest.mark.rule("R9.3")
@pytest.mark.parametrize("end", [..., None, "soon", True])
def test_a_token_that_does_not_say_when_it_ends_is_none(end: Any) -> None:
    claims = {**CLAIMS, "exp": end} if end is not ... else {k: v for k, v in CLAIMS.items() if k != "exp"}
    signed = f"{part({'alg': 'EdDSA', 'kid': 'Ed25519'})}.{part(claims)}"
    assert verdict(f"{signed}.{part(private('Ed25519').sign(signed.encode()))}".encode()) is None


@pytest.mark.rule("R9.3")
def test_a_token_without_a_begin_holds_from_ever() -> None:
    assert verdict(token(nbf=...)) == Caller(float("-inf"), END)


@pytest.mark.rule("R9.3")
def test_the_leeway_is_given_at_both_ends() -> None:
    assert verdict(token(), leeway=30) == Caller(BEGIN - 30, END + 30)


@pytest.mark.rule("R9.5")
@pytest.mark.parametrize("customers", [None, "cus_1", [1], {"cus_1": 1}, ["cus_1", None]], ids=str)
def test_a_claim_of_customers_that_cannot_be_read_allows_nothing(customers: Any) -> None:
    assert verdict(token(customers=customers)) is None


@pytest.mark.rule("R9.5")
def test_a_claim_of_customers_is_read() -> None:
    assert verdict(token(customers=["cus_1", "cus_2"])) == Caller(BEGIN, END, frozenset({"cus_1", "cus_2"}))
    assert verdict(token(customers=[])) == Caller(BEGIN, END, frozenset())


# --- the header


@pytest.mark.rule("R9.1")
@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([("authorization", b"Bearer a.b.c")], b"a.b.c"),
        ([("Authorization", b"bearer a.b.c")], b"a.b.c"),
        ([("AUTHORIZATION", b"BEARER  a.b.c ")], b"a.b.c"),
        ([("authorization", b"Bearer a"), ("Authorization", b"Bearer a")], b"a"),
        ([("authorization", b"Bearer a"), ("Authorization", b"Bearer b")], None),
        ([("authorization", b"Bearer a"), ("Authorization", None)], None),
        ([], None),
        ([("authorization", None)], None),
        ([("authorization", b"")], None),
        ([("authorization", b"Bearer ")], None),
        ([("authorization", b"Basic dXNlcg==")], None),
        ([("authorization", b"a.b.c")], None),
        ([("x-authorization", b"Bearer a.b.c")], None),
        ([("authorization", b"Bearer " + b"a" * 16_384)], None),
    ],
)
def test_the_token_is_what_stands_in_the_one_authorization_header(headers: Any, found: bytes | None) -> None:
    assert bearer(record(None, headers)) == found


# --- the decision


def denied(caller: Caller | None, customer: str | None = "cus_1", received: datetime = NOW, **changes: Any) -> bool:
    made = opened(**changes)
    refusal = authorise(made.record, customer, caller=caller, received=received)
    if refusal is None:
        return False
    assert (refusal.error.value, [(fault.field, fault.code.value) for fault in refusal.faults]) == (
        "unauthorized",
        [("", "not_allowed")],
    )
    return True


@pytest.mark.rule("R9.1", "R9.14")
def test_a_record_without_a_caller_is_denied_unless_nothing_of_it_could_be_read() -> None:
    assert denied(None)
    assert not denied(EVERYONE)
    assert not denied(None, undecodable=True)


@pytest.mark.rule("R9.3")
def test_a_token_holds_from_its_begin_until_before_its_end_when_the_record_is_read() -> None:
    now = NOW.timestamp()
    assert not denied(Caller(now, now + 1))
    assert denied(Caller(now - 1, now))
    assert denied(Caller(now + 0.001, now + 1))


@pytest.mark.rule("R9.3")
def test_where_the_broker_stamps_records_its_time_counts_however_late_the_record_is_read() -> None:
    stamped = open_envelope(record_at(MADE_MS, broker_time=True), customer_from_key=True)
    later = datetime(2027, 1, 1, tzinfo=UTC)
    caller = Caller(MADE_MS / 1000, MADE_MS / 1000 + 1)
    assert authorise(stamped.record, "cus_1", caller=caller, received=later) is None
    assert authorise(stamped.record, "cus_1", caller=Caller(0, MADE_MS / 1000), received=NOW) is not None


@pytest.mark.rule("R9.3")
def test_a_time_that_the_producer_has_set_makes_no_old_token_good() -> None:
    assert denied(Caller(MADE_MS / 1000 - 9, MADE_MS / 1000 + 1), received=NOW, timestamp=MADE_MS)


@pytest.mark.rule("R9.3")
def test_the_place_of_a_replayed_letter_is_no_time_to_judge_by() -> None:
    place = {"topic": b"t", "partition": b"0", "offset": b"1", "timestamp": str(MADE_MS).encode()}
    headers = tuple((f"__dlq.errors.{name}", value) for name, value in place.items())
    letter = open_envelope(record_at(MADE_MS + 9_000, headers, broker_time=True), customer_from_key=True)
    assert letter.position.timestamp == MADE_MS
    assert authorise(letter.record, "cus_1", caller=Caller(0, MADE_MS / 1000 + 1), received=NOW) is not None


def record_at(timestamp: int, headers: Any = (), *, broker_time: bool) -> Any:
    return dataclasses.replace(record(None, headers, timestamp=timestamp), broker_time=broker_time)


@pytest.mark.rule("R9.5")
def test_a_caller_that_is_held_to_customers_may_write_theirs_only() -> None:
    held = Caller(0, 1e12, frozenset({"cus_1"}))
    assert not denied(held, "cus_1")
    assert denied(held, "cus_2")
    assert denied(Caller(0, 1e12, frozenset()), "cus_1")
    assert not denied(held, None)  # it is refused for naming nobody, which tells nothing


@pytest.mark.rule("R9.6")
def test_a_patient_of_someone_else_is_unknown_to_a_caller_that_is_held_to_customers() -> None:
    held = Caller(0, 1e12, frozenset({"cus_1"}))
    assert visible("cus_1", held) == "cus_1"
    assert visible("cus_2", held) is None
    assert visible("cus_2", Caller(0, 1e12)) == "cus_2"
    assert visible("cus_2", None) == "cus_2"  # who comes without a token is denied, whatever the patient


# --- what a caller is shown


def asked(caller: Caller | None, owner: str | None, *, key: bytes | None, headers: Any = ()) -> Request:
    envelope = open_envelope(record(body(patient="pat_cus_2"), headers, key=key), customer_from_key=True)
    return understand(envelope, owner, received=NOW, pattern=PATTERN, caller=caller)


STRANGERS = [None, Caller(0, 1), Caller(0, 1e12, frozenset({"cus_1"}))]
KEYED = (("idempotency-key", b"k1"),)
FORMS = pytest.mark.parametrize("headers", [(), KEYED, EVENT], ids=["plain", "keyed", "event"])


@FORMS
@pytest.mark.rule("R9.6")
@pytest.mark.parametrize("key", [None, b"cus_1", b"cus_3"])
@pytest.mark.parametrize("caller", STRANGERS, ids=["none", "old", "held"])
def test_anothers_patient_and_an_unknown_one_look_alike(caller: Caller | None, key: bytes | None, headers: Any) -> None:
    rows = holding(stored_customer(), patient(), stored_customer("cus_2"), patient("cus_2"))
    known, unknown = asked(caller, "cus_2", key=key, headers=headers), asked(caller, None, key=key, headers=headers)
    (told,), (same) = decided(known, known=rows).answers, decided(unknown, known=rows).answers[0]
    assert told.value == same.value
    assert (told.status, told.customer, told.id) == (same.status, same.customer, same.id)
    assert "cus_2" not in str(parsed(told))
    assert not decided(known, known=rows).writes


@FORMS
@pytest.mark.rule("R9.6", "R9.11")
def test_a_redelivery_finds_its_answer_though_its_token_is_accepted_no_more(headers: Any) -> None:
    rows = holding(stored_customer("cus_2"), patient("cus_2"))
    first = decided(asked(Caller(0, 1e12), "cus_2", key=None, headers=headers), known=rows)
    assert outcomes(first) == ["updated"]
    known = type(rows)({answer.key: answer for answer in first.writes.answers}, rows.customers, rows.patients)
    again = decided(asked(None, "cus_2", key=None, headers=headers), known=known)
    assert (again.answers[0].value, again.answers[0].replayed) == (first.answers[0].value, True)
