"""Claims of the provider to one plain shape; pure.

Providers disagree: one sends a single entitlement as a string, another sends every scalar as a
list of one. Code that trusts the shape turns ``"urn:…"`` into groups named ``u``, ``r`` and
``n``. After :func:`normalise` a multi-valued claim is a list of strings and a scalar is a string.
Claims that nobody asked for are dropped, so that nothing else of a person is stored.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from panosc_hub.auth.problems import LoginRefused

SCALARS = frozenset({"sub", "name", "given_name", "family_name", "email", "acr"})
"""Single-valued claims that are kept, if the provider sends them."""

MAX_TEXT = 512
"""Longest value of one claim, in characters; longer ones are refused or dropped."""

_SUBJECT = re.compile(r"[\x21-\x7e]{1,255}")


def checked_subject(value: object) -> str:
    """The ``sub`` claim: 1 to 255 visible ASCII characters (OpenID Connect Core, section 2)."""
    if not isinstance(value, str) or not _SUBJECT.fullmatch(value):
        raise LoginRefused("sub is not 1 to 255 visible ASCII characters")
    return value


def _scalar(name: str, value: object) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        raise LoginRefused(f"claim {name} is a {type(value).__name__}, not a string")
    return value


def _texts(name: str, value: object) -> list[str]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise LoginRefused(f"claim {name} is not a list of strings")
    return values


def normalise(raw: Mapping[str, Any], multi: Collection[str]) -> dict[str, Any]:
    """The kept claims in their plain shape; raises LoginRefused if the shape makes no sense.

    ``multi`` names the multi-valued claims to keep. A scalar other than ``sub`` that is longer
    than ``MAX_TEXT`` or holds control characters is only for display and is left out.
    """
    claims: dict[str, Any] = {}
    for name, value in raw.items():
        if value is None:
            continue
        if name in multi:
            claims[name] = _texts(name, value)
        elif name in SCALARS:
            text = _scalar(name, value)
            if name == "sub" or (len(text) <= MAX_TEXT and text.isprintable()):
                claims[name] = text
    claims["sub"] = checked_subject(claims.get("sub"))
    return claims
