"""What a token says, once one of our keys has been found to have signed it. Pure.

Signatures are PyJWT's; times are not judged here, so that a verdict can be kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Any, Final, Literal

import orjson
from jwt import PyJWK, PyJWS, PyJWTError, get_unverified_header

from app.authorise.decide import Caller

Material = Any
_JWS: Final = PyJWS()
_WEAKEST_RSA: Final = 2048

KEY_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA",)),
    "ES256": ("P-256",),
    "ES384": ("P-384",),
    "ES512": ("P-521",),
    "EdDSA": ("Ed25519", "Ed448"),
    **dict.fromkeys(("HS256", "HS384", "HS512"), ("secret",)),
}
"""The kinds of key that each algorithm takes. A key is never used in another way: a public key is no secret."""


class Unverified(Enum):
    """The verdict on a token that no key of ours has signed: newer keys may show another one."""

    UNVERIFIED = "unverified"


UNVERIFIED: Final = Unverified.UNVERIFIED
Verdict = Caller | None | Literal[Unverified.UNVERIFIED]
"""Of a token: what it allows; nothing, whatever the keys; or nothing as far as these keys tell."""


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """A key that verifies. `kind` is RSA, a curve, or secret; `algorithm` the only one it is for, if it says so."""

    id: str | None
    kind: str
    algorithm: str | None
    material: Material

    def __repr__(self) -> str:
        return f"Key({self.kind})"


Keys = tuple[Key, ...]


class NoKeys(Exception):
    """What should be keys is none; the text says in which way, and names no part of it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a token must say. `leeway` is in seconds, for clocks that differ."""

    algorithms: frozenset[str]
    issuer: str
    audience: str
    scope: str
    leeway: float


def secret_key(secret: str) -> Keys:
    """A shared secret as the only key."""
    return (Key(None, "secret", None, secret.encode()),)


def read_keys(text: bytes) -> Keys:
    """The keys of a JWKS that verify signatures; others in it are passed over.

    Raises:
        NoKeys: it is no JWKS, or holds no such key.
    """
    try:
        entries = orjson.loads(text)["keys"]
        keys = tuple(key for key in map(_read_key, entries) if key is not None)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is none
        raise NoKeys("no JSON Web Key Set") from None
    if not keys:
        raise NoKeys("a JSON Web Key Set without a public key for signatures")
    return keys


def _read_key(entry: Any) -> Key | None:
    if not isinstance(entry, dict):
        return None
    kind = "RSA" if entry.get("kty") == "RSA" else entry.get("crv")
    # a secret that is published is none, and a private key that is published is not to be trusted
    if entry.get("use", "sig") != "sig" or "d" in entry or not any(kind in kinds for kinds in KEY_KINDS.values()):
        return None
    try:
        material = PyJWK(entry).key
    except (PyJWTError, ValueError, TypeError):  # of parameters that are none, the last two come through
        return None
    if kind == "RSA" and material.key_size < _WEAKEST_RSA:
        return None
    return Key(entry.get("kid"), str(kind), entry.get("alg"), material)


def verify(token: bytes, keys: Keys, policy: Policy) -> Verdict:
    """What this token allows, whenever. Never raises."""
    try:
        header = get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in policy.algorithms or "crit" in header:
            return None
        fitting = [key for key in keys if _fits(key, algorithm, header.get("kid"))]
        for key in fitting:
            if (claims := _signed(token, key, algorithm)) is not None:
                return _caller(orjson.loads(claims), policy)
    except Exception:  # noqa: BLE001 - a stranger wrote this: whatever it breaks, it is no token of ours
        return None
    return UNVERIFIED


def _fits(key: Key, algorithm: str, id: str | None) -> bool:
    right_kind = key.kind in KEY_KINDS[algorithm] and key.algorithm in (None, algorithm)
    return right_kind and (id is None or key.id is None or key.id == id)


def _signed(token: bytes, key: Key, algorithm: str) -> bytes | None:
    """The claims, when this key has signed them."""
    try:
        return bytes(_JWS.decode_complete(token, key.material, algorithms=[algorithm])["payload"])
    except PyJWTError:
        return None


def _caller(claims: dict[str, Any], policy: Policy) -> Caller | None:
    """A claim of the wrong kind is no claim: what cannot be read allows nothing."""
    begins, ends = _time(claims, "nbf", -inf), _time(claims, "exp", None)
    customers = claims.get("customers", ...)
    if begins is None or ends is None or claims.get("iss") != policy.issuer:
        return None
    if policy.audience not in _texts(claims.get("aud"), separated=False):
        return None
    if policy.scope not in _texts(claims.get("scope", claims.get("scp")), separated=True):
        return None
    if customers is ...:
        return Caller(begins - policy.leeway, ends + policy.leeway)
    if not isinstance(customers, list) or not all(isinstance(customer, str) for customer in customers):
        return None
    return Caller(begins - policy.leeway, ends + policy.leeway, frozenset(customers))


def _time(claims: dict[str, Any], name: str, absent: float | None) -> float | None:
    value = claims.get(name, absent)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _texts(claim: Any, *, separated: bool) -> list[Any]:
    if isinstance(claim, str):
        return claim.split() if separated else [claim]
    return claim if isinstance(claim, list) else []
