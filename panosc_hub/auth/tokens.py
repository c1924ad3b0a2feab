"""The id_token: signature and claims, as OpenID Connect Core section 3.1.3.7 asks; pure.

The algorithm comes from our list and never from the token alone, so ``none`` and an HMAC made
with the provider's public key are refused before any key is looked up.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, RSAKey

from panosc_hub.auth.claims import checked_subject
from panosc_hub.auth.problems import LoginRefused

ALGORITHMS = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC"}
"""Accepted signature algorithms and the type of key that each one needs."""

MAX_TOKEN_LENGTH = 65536
MIN_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class Header:
    """What the token says of its signature: used to find the key, trusted for nothing else."""

    alg: str
    kid: str | None


@dataclass(frozen=True, slots=True)
class Expected:
    """What an id_token must say. ``nonce`` None is for a refresh, where none is sent."""

    issuer: str
    client_id: str
    nonce: str | None
    leeway: int


def nonce_for(code_verifier: str) -> str:
    """The nonce that belongs to a PKCE verifier.

    It is derived, so that the state cookie of the browser needs no further secret; it is not
    the code challenge, which anybody on the way can read.
    """
    return hashlib.sha256(b"oidc nonce:" + code_verifier.encode()).hexdigest()


def header_of(token: str) -> Header:
    """The signature header; raises LoginRefused unless its algorithm is on our list."""
    if len(token) > MAX_TOKEN_LENGTH or token.count(".") != 2:
        raise LoginRefused("id_token is too long or not a signed JWT")
    try:
        part = token.split(".")[0]
        header = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        alg, kid = header["alg"], header.get("kid")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LoginRefused("id_token has no readable header") from error
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        raise LoginRefused(f"id_token is signed with {alg!r}, which is not accepted"[:200])
    if kid is not None and not isinstance(kid, str):
        raise LoginRefused("id_token has a kid that is not a string")
    return Header(alg, kid)


def key_from(entries: list[dict[str, Any]], header: Header) -> Key | None:
    """The one key of a JWKS that fits; None if there is none or more than one."""
    kty = ALGORITHMS[header.alg]
    fits = [
        entry
        for entry in entries
        if entry.get("kty") == kty
        and entry.get("use", "sig") == "sig"
        and entry.get("alg", header.alg) == header.alg
        and (kty != "EC" or entry.get("crv") == "P-256")
        and (header.kid is None or entry.get("kid") == header.kid)
    ]
    if len(fits) != 1:
        return None
    public: dict[str, str | list[str]] = {
        name: fits[0][name] for name in ("kty", "n", "e", "crv", "x", "y") if name in fits[0]
    }
    try:
        if kty == "EC":
            return ECKey.import_key(public)
        key = RSAKey.import_key(public)
        bits = key.public_key.key_size
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise LoginRefused("the provider publishes a key that cannot be read") from error
    if bits < MIN_RSA_BITS:
        raise LoginRefused(f"the provider's key has {bits} bits, fewer than {MIN_RSA_BITS}")
    return key


def _moment(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LoginRefused(f"id_token has no valid {name}")
    return value


def _check_audience(claims: dict[str, Any], client_id: str) -> None:
    aud, azp = claims.get("aud"), claims.get("azp")
    audience = [aud] if isinstance(aud, str) else aud
    if not isinstance(audience, list) or client_id not in audience:
        raise LoginRefused("id_token is for another client (aud)")
    if azp is None and len(audience) > 1:
        raise LoginRefused("id_token has several audiences and no azp")
    if azp is not None and azp != client_id:
        raise LoginRefused("id_token was issued to another client (azp)")


def _check_times(claims: dict[str, Any], now: float, leeway: int) -> None:
    if now > _moment(claims, "exp") + leeway:
        raise LoginRefused("id_token is expired")
    if _moment(claims, "iat") > now + leeway:
        raise LoginRefused("id_token was issued in the future (iat)")
    if "nbf" in claims and _moment(claims, "nbf") > now + leeway:
        raise LoginRefused("id_token is not valid yet (nbf)")


def _check_nonce(claims: dict[str, Any], nonce: str | None) -> None:
    if nonce is None:
        return
    given = claims.get("nonce")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
        raise LoginRefused("id_token has no nonce or that of another login")


def _check_access_token(claims: dict[str, Any], access_token: str) -> None:
    """All accepted algorithms use SHA-256, so ``at_hash`` does too."""
    if "at_hash" not in claims:
        return
    half = hashlib.sha256(access_token.encode()).digest()[:16]
    want = base64.urlsafe_b64encode(half).rstrip(b"=").decode()
    if claims["at_hash"] != want:
        raise LoginRefused("id_token belongs to another access token (at_hash)")


def verify(
    token: str, key: Key, header: Header, expected: Expected, *, access_token: str, now: float
) -> dict[str, Any]:
    """The claims of a valid id_token; raises LoginRefused with the first thing that is wrong."""
    try:
        claims = jwt.decode(token, key, algorithms=[header.alg]).claims
    except (JoseError, ValueError, TypeError) as error:
        raise LoginRefused("the signature of the id_token is not valid") from error
    if claims.get("iss") != expected.issuer:
        raise LoginRefused("id_token is from another issuer (iss)")
    checked_subject(claims.get("sub"))
    _check_audience(claims, expected.client_id)
    _check_times(claims, now, expected.leeway)
    _check_nonce(claims, expected.nonce)
    _check_access_token(claims, access_token)
    return claims
