"""The settings of the OpenID Connect authenticators, and their defaults."""

from __future__ import annotations

import os
from typing import Any

from oauthenticator.oauth2 import OAuthenticator
from tornado.httpclient import AsyncHTTPClient
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from traitlets import Bool, Float, Integer, List, TraitError, Type, Unicode, default, validate

from panosc_hub.auth.accounts import ACCOUNT, AccountMapper
from panosc_hub.auth.provider import MAX_BODY


class OIDCSettings(OAuthenticator):
    """What an administrator can set; behaviour is in :class:`panosc_hub.auth.oidc`."""

    issuer = Unicode(
        config=True,
        help="""
        URL of the provider exactly as it names itself, for example
        ``https://login.example.org``. Everything else comes from
        ``<issuer>/.well-known/openid-configuration``.

        It must be https; http is accepted on 127.0.0.1 and localhost, for tests.
        """,
    )

    allow_http_issuer = Bool(
        False,
        config=True,
        help="""
        Accept http for a provider on another machine. Tokens and the client secret then cross
        the network in clear; for closed test networks only.
        """,
    )

    account_mappers = List(
        Type(klass=AccountMapper),
        config=True,
        help="""
        Classes that find the account of a person, asked in order; the first that knows the
        person decides. For example ``["panosc_hub.auth.accounts.FileMapper"]``.

        There is no default: whether people have accounts is for the facility to say.
        """,
    )

    max_session_age = Integer(
        12 * 3600,
        min=60,
        config=True,
        help="""
        Seconds after which a person must log in anew, however active they are.

        Some proxies repeat the groups of the last login at every refresh, so only a new login
        shows that a membership has ended. 12 hours is one working day. Running servers go on.
        """,
    )

    refresh_grace = Integer(
        3600,
        min=0,
        config=True,
        help="""
        Seconds for which a session goes on while the provider does not answer, counted from
        its last confirmation. Groups do not change meanwhile. After that, a login is required.
        """,
    )

    leeway = Integer(
        30, min=0, max=300, config=True, help="Accepted difference of the clocks, in seconds."
    )

    http_timeout = Float(
        10.0, min=0.1, config=True, help="Seconds to wait for one answer of the provider."
    )

    auth_refresh_strict = Bool(
        True,
        config=True,
        help="""
        Refuse requests that cannot be sent to a login page, such as those with an API token,
        once the person must log in again. JupyterHub 5 always does; JupyterHub 6.1 asks, and its
        own default would let the token of a removed person start servers.
        """,
    )

    facility_title = Unicode(
        "this facility", config=True, help="Name of the facility in sentences for people."
    )

    support_contact = Unicode(
        config=True,
        help="""
        Where to ask for help, shown to people who cannot log in: an e-mail address or an
        http(s) URL.
        """,
    )

    linking_url = Unicode(
        config=True,
        help="""
        http(s) URL of the page where people link their login to their account at the facility,
        usually in the user office portal. Shown to people who are not linked.
        """,
    )

    post_logout_redirect_url = Unicode(
        config=True,
        help="""
        Where the provider sends people after logout. It must be registered there. If empty,
        people stay on the page of the provider.
        """,
    )

    @default("scope")
    def _default_scope(self) -> list[str]:
        return ["openid", "profile", "email"]

    @default("username_pattern")
    def _default_username_pattern(self) -> str:
        return rf"\A{ACCOUNT.pattern}\Z"

    @default("enable_auth_state")
    def _default_enable_auth_state(self) -> bool:
        # Where a key is given, refresh can ask the provider; the Hub refuses to start if
        # auth_state is on without one.
        return bool(os.environ.get("JUPYTERHUB_CRYPT_KEY"))

    @default("refresh_pre_spawn")
    def _default_refresh_pre_spawn(self) -> bool:
        return True

    @default("basic_auth")
    def _default_basic_auth(self) -> bool:
        return bool(self.client_secret)

    @default("any_allow_config")
    def _default_any_allow_config(self) -> bool:
        return True

    @default("http_client")
    def _default_http_client(self) -> AsyncHTTPClient:
        if "proxy_host" in self.http_request_kwargs:
            return AsyncHTTPClient()  # only the curl client knows proxies; no streaming limit
        return SimpleAsyncHTTPClient(force_instance=True, max_body_size=MAX_BODY)

    @validate("enable_pkce")
    def _pkce_stays_on(self, proposal: Any) -> bool:
        if not proposal.value:
            raise TraitError("PKCE cannot be switched off: the nonce is derived from it")
        return True

    @validate("userdata_from_id_token")
    def _userinfo_stays_on(self, proposal: Any) -> bool:
        if proposal.value:
            raise TraitError("groups come in userinfo only; userdata_from_id_token cannot be used")
        return False

    @validate("support_contact", "linking_url")
    def _safe_link(self, proposal: Any) -> str:
        value: str = proposal.value
        mail = "@" in value and ":" not in value and proposal.trait.name == "support_contact"
        if value and not mail and not value.startswith(("https://", "http://")):
            raise TraitError(f"{proposal.trait.name} {value!r} is not an http(s) URL")
        return value
