"""Login, callback and logout pages of the OpenID Connect authenticators.

No page shows text that came from the provider or from the URL: whoever can send a person to the
callback would choose what our page says.
"""

from __future__ import annotations

import base64
import binascii
import json
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import TemplateNotFound
from oauthenticator.oauth2 import (
    OAuthCallbackHandler,
    OAuthLoginHandler,
    OAuthLogoutHandler,
)

from panosc_hub.auth.problems import BrokenLogin, LoginRefused, NotLinked, ProviderUnavailable
from panosc_hub.auth.tokens import nonce_for
from panosc_hub.errors import PanoscError
from panosc_hub.paths import template_path

STATE_COOKIE = "panosc-login-"
"""Name of the state cookies, completed by the start of the state id: one for each tab."""

STATE_DAYS = 1 / 48
"""A login must be completed within 30 minutes."""

MAX_STATE_COOKIES = 8


def decode_state(text: str) -> dict[str, str]:
    """The state of a URL or cookie; empty if it is not one."""
    try:
        state = json.loads(base64.urlsafe_b64decode(text.encode("ascii")))
    except (ValueError, binascii.Error, RecursionError):
        return {}
    if not isinstance(state, dict):
        return {}
    return {key: value for key, value in state.items() if isinstance(value, str)}


def _cookie_name(state_id: str) -> str | None:
    short = state_id[:16]
    return STATE_COOKIE + short if short.isascii() and short.isalnum() else None


async def show_problem(handler: Any, problem: PanoscError) -> None:
    """Answer with the sentence of a problem, and log its detail.

    The page is made here and not by raising HTTPError, because tornado logs that with the whole
    URL, and the URL of a callback holds the code.
    """
    detail = getattr(problem, "detail", str(problem))
    handler.log.warning("Login refused (%s): %s", problem.reason, detail)
    template, values = (
        "error.html",
        {
            "status_code": problem.status_code,
            "status_message": HTTPStatus(problem.status_code).phrase,
            "message": problem.sentence,
        },
    )
    if isinstance(problem, NotLinked):
        # Whoever was logged in before in this browser is not the person who is here now.
        handler.clear_login_cookie()
        handler._jupyterhub_user = None
        template = "not_linked.html"
        values |= {"subject": problem.subject, "auth": handler.authenticator}
    try:
        html = await handler.render_template(template, **values)
    except TemplateNotFound:
        # The authenticator alone, without our other pages: our text inside the Hub's own frame.
        source = (Path(template_path()) / template).read_text(encoding="utf-8")
        page = handler.settings["jinja2_env"].from_string(source)
        html = await handler.render_template(page, **values)
    handler.set_status(problem.status_code)
    handler.finish(html)


class LoginHandler(OAuthLoginHandler):
    """Send the person to the provider, with PKCE, state and nonce."""

    _nonce = ""

    async def get(self) -> None:
        try:
            await self.authenticator.discover()
        except ProviderUnavailable as problem:
            await show_problem(self, problem)
            return
        super().get()

    def set_state_cookie(self, state_cookie_value: str) -> None:
        """One short-lived cookie for each tab, so that two logins do not spoil each other."""
        state = decode_state(state_cookie_value)
        self._nonce = nonce_for(state["code_verifier"])
        open_logins = [name for name in self.request.cookies if name.startswith(STATE_COOKIE)]
        if len(open_logins) >= MAX_STATE_COOKIES:
            for name in open_logins:
                self.clear_cookie(name, path=self.hub.base_url)
        name = _cookie_name(state["state_id"])
        self._set_cookie(
            name,
            state_cookie_value,
            expires_days=STATE_DAYS,
            path=self.hub.base_url,
            samesite="Lax",
        )

    def authorize_redirect(self, *args: Any, **kwargs: Any) -> Any:
        extra = {**kwargs.pop("extra_params", {}), "nonce": self._nonce}
        return super().authorize_redirect(*args, extra_params=extra, **kwargs)


class CallbackHandler(OAuthCallbackHandler):
    """Receive the code; state and issuer are checked before anything else is believed."""

    _state_cookie: str | None = None

    async def get(self) -> None:
        try:
            self._metadata = await self.authenticator.provider.metadata()
            self.check_arguments()
            user = await self.login_user()
            if user is None:
                raise LoginRefused(
                    "the account is blocked or not allowed",
                    sentence=self.authenticator.custom_403_message,
                )
        except PanoscError as problem:
            await show_problem(self, problem)
            return
        self.redirect(self.get_next_url(user))

    def get_state_cookie(self) -> str:
        """The cookie of the login that the URL names; it is taken away at once."""
        if self._state_cookie is None:
            self._state_cookie = ""
            state_id = decode_state(self.get_argument("state", "")).get("state_id", "")
            name = _cookie_name(state_id)
            if name:
                value = self.get_secure_cookie(name, max_age_days=STATE_DAYS) or b""
                self._state_cookie = value.decode("utf8", "replace")
                self.clear_cookie(name, path=self.hub.base_url)
        return self._state_cookie

    def check_arguments(self) -> None:
        self.check_state()
        self.check_issuer()
        self.check_error()
        self.check_code()

    def check_state(self) -> None:
        cookie = decode_state(self.get_state_cookie()).get("state_id")
        given = decode_state(self.get_argument("state", "")).get("state_id")
        if not cookie or cookie != given:
            raise BrokenLogin("the state is missing, unknown or used up")

    def check_issuer(self) -> None:
        """RFC 9207: the answer must come from the provider that was asked."""
        given = self.get_arguments("iss", strip=False)
        expected = [self.authenticator.issuer]
        if given != expected and (given or self._metadata.sends_iss):
            raise BrokenLogin("the callback names no issuer or another one (iss)")

    def check_error(self) -> None:
        error = self.get_argument("error", "")
        if error == "access_denied":
            raise LoginRefused(
                "the provider answers access_denied",
                sentence="The login was cancelled, or the provider did not allow it.",
            )
        if error:
            raise LoginRefused(f"the provider answers {error[:40]!r}")

    def check_code(self) -> None:
        if not self.get_argument("code", ""):
            raise BrokenLogin("the callback has no code")


class LogoutHandler(OAuthLogoutHandler):
    """Log out here and, if the provider offers it, there too (OpenID Connect RP-Initiated)."""

    _provider_logout = ""

    async def handle_logout(self) -> None:
        user = self.current_user
        if user is None:
            return
        try:
            endpoint = (await self.authenticator.provider.metadata()).end_session_endpoint
        except ProviderUnavailable as problem:
            self.log.warning("Logout at the provider is left out: %s", problem.detail)
            return
        state = await user.get_auth_state() if self.authenticator.enable_auth_state else None
        id_token = (state or {}).get("id_token")
        if endpoint and id_token:
            query = {"id_token_hint": id_token, "client_id": self.authenticator.client_id}
            if self.authenticator.post_logout_redirect_url:
                query["post_logout_redirect_uri"] = self.authenticator.post_logout_redirect_url
            self._provider_logout = endpoint + ("&" if "?" in endpoint else "?") + urlencode(query)

    async def render_logout_page(self) -> None:
        if self._provider_logout:
            self.redirect(self._provider_logout)
            return
        await super().render_logout_page()
