"""Refresh: is this still the same person, and what may they do now?

=====================================================  =====================================
What we learn                                          What happens
=====================================================  =====================================
the provider confirms the person                       groups, admin and account renewed
another subject, no group left, account gone, blocked  login required
refresh token revoked, session too old                 login required; servers go on
no answer, 5xx, nonsense, account list unreadable      unchanged within ``refresh_grace``
=====================================================  =====================================
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from panosc_hub.auth.accounts import Identity
from panosc_hub.auth.problems import LoginExpired, LoginRefused
from panosc_hub.auth.sessions import TOKEN_ENTRIES, Pins, is_used_up
from panosc_hub.errors import NotAllowed, Unavailable

if TYPE_CHECKING:
    from panosc_hub.auth.oidc import OIDCAuthenticator

Outcome = bool | dict[str, Any]


class Refresher:
    """Runs refreshes for one authenticator, at most one at a time for each person.

    A page makes several requests at once. If each spent the same rotating refresh token, the
    provider would take the second for a theft and revoke the session; so they share one result.
    """

    def __init__(self, authenticator: OIDCAuthenticator) -> None:
        self._auth = authenticator
        self._log = authenticator.log
        self._running: dict[str, asyncio.Task[Outcome]] = {}
        self._remembered: dict[str, Pins] = {}

    def remember(self, name: str, state: Mapping[str, Any]) -> None:
        """Keep the pins of a login in memory, for Hubs without ``auth_state``."""
        pins = Pins.from_state(state)
        if pins and not self._auth.enable_auth_state:
            self._remembered[name] = pins

    async def refresh(self, user: Any) -> Outcome:
        """True (unchanged), False (login required) or a new auth model."""
        task = self._running.get(user.name)
        if task is None:
            task = asyncio.create_task(self._refresh(user))
            self._running[user.name] = task
            task.add_done_callback(lambda _: self._running.pop(user.name, None))
        outcome = await asyncio.shield(task)
        return dict(outcome) if isinstance(outcome, dict) else outcome

    async def _refresh(self, user: Any) -> Outcome:
        state: dict[str, Any] = {}
        if self._auth.enable_auth_state:
            state = await user.get_auth_state() or {}
            pins = Pins.from_state(state)
        else:
            pins = self._remembered.get(user.name)
        now = time.time()
        if pins is None or pins.iss != self._auth.issuer:
            self._log.info("%s: nothing is known of their login; login required", user.name)
            return False
        if pins.too_old(now, self._auth.max_session_age):
            self._log.info("%s: the session reached its greatest age; login required", user.name)
            return False
        try:
            if not self._auth.enable_auth_state:
                return await self._check_locally(user.name, pins)
            return await self._authorise(user, state, pins)
        except Unavailable as problem:
            kept = pins.in_grace(now, self._auth.refresh_grace)
            verdict = "session kept" if kept else "grace is over; login required"
            detail = getattr(problem, "detail", problem)
            self._log.warning("%s: cannot refresh (%s); %s", user.name, detail, verdict)
            return kept
        except LoginExpired as problem:
            self._log.info("%s: %s; login required", user.name, problem.detail)
            return False
        except NotAllowed as problem:
            detail = getattr(problem, "detail", problem)
            self._log.warning("%s (%s): refused at refresh: %s", user.name, pins.sub, detail)
            return False

    async def _check_locally(self, name: str, pins: Pins) -> bool:
        """Without stored tokens only the account can be looked up again."""
        account = await self._auth.account_of(Identity(pins.iss, pins.sub))
        if account != name:
            raise LoginRefused(f"the account is now {account}")
        if not self._auth.check_blocked_users(name):
            raise LoginRefused("the account is blocked")
        return True

    async def _authorise(self, user: Any, state: dict[str, Any], pins: Pins) -> dict[str, Any]:
        tokens: dict[str, Any] = {name: state[name] for name in TOKEN_ENTRIES if name in state}
        tokens |= {"id_claims": {"sub": pins.sub}, "login_at": pins.login_at}
        can_renew = "refresh_token" in tokens
        if can_renew and is_used_up(tokens, time.time()):
            tokens = await self._renew(user, state, tokens)
            can_renew = False
        try:
            info = await self._auth.token_to_user(tokens)
        except LoginExpired:
            if not can_renew:
                raise
            tokens = await self._renew(user, state, tokens)
            info = await self._auth.token_to_user(tokens)
        return await self._model(user.name, tokens, info)

    async def _renew(
        self, user: Any, state: dict[str, Any], tokens: dict[str, Any]
    ) -> dict[str, Any]:
        """Spend the refresh token; raises LoginExpired if the provider revoked it."""
        params = self._auth.build_refresh_token_request_params(tokens["refresh_token"])
        fresh = await self._auth.get_token_info(None, params)
        claims = fresh.pop("id_claims", None)
        if claims is not None and claims["sub"] != tokens["id_claims"]["sub"]:
            raise LoginRefused(f"the refreshed id_token is about {claims['sub']}")
        tokens = {k: v for k, v in tokens.items() if k != "expires_at"} | fresh
        # A rotated refresh token works once: keep the new one even if what follows fails.
        pinned = {k: v for k, v in state.items() if k not in TOKEN_ENTRIES}
        kept = {name: tokens[name] for name in TOKEN_ENTRIES if name in tokens}
        await user.save_auth_state(pinned | kept)
        return tokens

    async def _model(
        self, name: str, tokens: dict[str, Any], info: dict[str, Any]
    ) -> dict[str, Any]:
        auth = self._auth
        account = auth.user_info_to_username(info)
        if account != name:
            raise LoginRefused(f"the account is now {account}")
        model: dict[str, Any] = {
            "name": name,
            "admin": None,
            "auth_state": auth.build_auth_state_dict(tokens, info),
        }
        model = await auth.update_auth_model(model)
        if auth.manage_groups:
            model["groups"] = sorted(await auth.get_user_groups(model["auth_state"]))
        if not auth.check_blocked_users(name, model):
            raise LoginRefused("the account is blocked")
        if not (auth.allow_all or await auth.check_allowed(name, model)):
            raise LoginRefused("the account is no longer allowed")
        return model
