"""Tokens for tests, signed by keys that are made on the spot."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from pydantic import SecretStr

ISSUER = "https://issuer.example"
AUDIENCE = "patient-upsert"
SECRET = "invented-for-tests-and-32-bytes-long"
BEGIN = 1_767_323_000
"""When tokens begin to hold, in Unix seconds: 45.678 s before the records of `tests.unit.making` were made."""
END = BEGIN + 600


@cache
def private(kind: str) -> Any:
    """The one private key of this kind; `RSA` and `RSA-1024` by their size, curves by their names, others Ed25519."""
    if kind.startswith("RSA"):
        return rsa.generate_private_key(65537, 1024 if kind == "RSA-1024" else 2048)
    if kind.startswith("P-256"):
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "P-384":
        return ec.generate_private_key(ec.SECP384R1())
    return ed25519.Ed25519PrivateKey.generate()


def public(kind: str, **changes: Any) -> dict[str, Any]:
    """The public half as an entry of a JWKS; its `kid` is the kind."""
    algorithm = RSAAlgorithm if kind.startswith("RSA") else ECAlgorithm if kind.startswith("P-") else OKPAlgorithm
    entry: dict[str, Any] = json.loads(algorithm.to_jwk(private(kind).public_key()))
    entry.pop("key_ops", None)
    return {name: value for name, value in ({"kid": kind, **entry} | changes).items() if value is not None}


def jwks(*kinds: str) -> bytes:
    """A JSON Web Key Set with the public keys of these kinds."""
    return json.dumps({"keys": [public(kind) for kind in kinds]}).encode()


def token(kind: str = "Ed25519", *, algorithm: str | None = None, kid: str | None = "", **changes: Any) -> bytes:
    """A token that is good for any customer; claims that are given as `...` are left out."""
    given = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "scope": "patient:upsert",
        "nbf": BEGIN,
        "exp": END,
        "sub": "svc",
    } | changes
    claims = {name: value for name, value in given.items() if value is not ...}
    key: Any = SECRET if kind == "secret" else private(kind)
    by_kind = "RS256" if kind.startswith("RSA") else "ES256" if kind.startswith("P-256") else "EdDSA"
    name = algorithm or ("HS256" if kind == "secret" else by_kind)
    headers = {"kid": kind if kid == "" else kid} if kid is not None else None
    return jwt.encode(claims, key, algorithm=name, headers=headers).encode()


GUARDED: dict[str, Any] = {
    "auth": "jwt",
    "auth_issuer": ISSUER,
    "auth_audience": AUDIENCE,
    "auth_secret": SecretStr(SECRET),
}
"""Settings under which `token("secret")` is accepted."""


def bearing(given: bytes) -> tuple[str, bytes]:
    """The header that carries this token."""
    return "authorization", b"Bearer " + given
