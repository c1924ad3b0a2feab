"""What the Hub remembers of a login between two requests; pure.

It is kept in JupyterHub's encrypted ``auth_state``, and only there do tokens go. Without
encryption nothing but the pins is remembered, in memory, until the Hub restarts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

EARLY = 60.0
"""Seconds before its end at which an access token counts as used up."""

TOKEN_ENTRIES = ("access_token", "refresh_token", "id_token", "scope", "expires_at")
"""What of a token response is stored."""


@dataclass(frozen=True, slots=True)
class Pins:
    """Who logged in and when. Times are seconds since 1970.

    ``login_at`` is the last real login and never moves by a refresh; ``confirmed_at`` is the last
    time that the provider confirmed the person.
    """

    iss: str
    sub: str
    login_at: float
    confirmed_at: float

    @classmethod
    def from_state(cls, state: object) -> Pins | None:
        """The pins of a stored state, or None if it is not one of ours."""
        if not isinstance(state, Mapping):
            return None
        iss, sub = state.get("iss"), state.get("sub")
        login_at, confirmed_at = state.get("login_at"), state.get("confirmed_at")
        if not isinstance(iss, str) or not isinstance(sub, str):
            return None
        if not isinstance(login_at, int | float) or not isinstance(confirmed_at, int | float):
            return None
        return cls(iss, sub, login_at, confirmed_at)

    def as_state(self) -> dict[str, Any]:
        """The pins as entries of ``auth_state``."""
        return asdict(self)

    def too_old(self, now: float, max_age: float) -> bool:
        """Whether a real login is due. A time in the future (a clock set back) is too old too."""
        age = now - self.login_at
        return age > max_age or age < -EARLY

    def in_grace(self, now: float, grace: float) -> bool:
        """Whether the session may go on although the provider could not be asked."""
        return now - self.confirmed_at <= grace


def clean_token_response(answer: Mapping[str, Any], now: float) -> dict[str, Any] | None:
    """The parts of a token response that we use, or None if it is not one.

    Only known keys survive, so nothing that a provider adds can pose as an entry of ours.
    """
    access, kind = answer.get("access_token"), answer.get("token_type")
    if not isinstance(access, str) or not access.isascii() or not access.isprintable():
        return None
    if not access or not isinstance(kind, str) or kind.lower() != "bearer":
        return None
    clean: dict[str, Any] = {"access_token": access, "token_type": "Bearer"}
    for name in ("id_token", "refresh_token"):
        value = answer.get(name)
        if value is not None:
            if not isinstance(value, str) or not value:
                return None
            clean[name] = value
    scope = answer.get("scope", "")
    clean["scope"] = scope.split() if isinstance(scope, str) else []
    lifetime = answer.get("expires_in")
    if isinstance(lifetime, int | float) and not isinstance(lifetime, bool) and lifetime > 0:
        clean["expires_at"] = now + lifetime
    return clean


def is_used_up(token_info: Mapping[str, Any], now: float) -> bool:
    """Whether the access token is known to be at its end; False if the provider did not say."""
    expires_at = token_info.get("expires_at")
    return isinstance(expires_at, int | float) and now >= expires_at - EARLY
