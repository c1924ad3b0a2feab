"""A hardened OpenID Connect relying party for JupyterHub, on top of oauthenticator.

oauthenticator gives the code flow, PKCE and the state cookie. This class adds what is needed to
trust the answer: discovery, nonce, signature and claims of the id_token, the issuer of the
callback (RFC 9207), userinfo bound to the id_token, and a refresh that authorises again.

The life of a login::

    LoginHandler -> provider -> CallbackHandler -> get_token_info   id_token verified
                                                -> token_to_user    userinfo, Person
                                                -> check_allowed -> Hub user
    every auth_refresh_age and before every spawn -> refresh_user (see refresh.py)

It relies only on methods that oauthenticator documents for overriding. Subclasses override
:meth:`OIDCAuthenticator.groups_of` and :meth:`OIDCAuthenticator.account_of`.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from traitlets import TraitError

from panosc_hub.auth import handlers
from panosc_hub.auth.accounts import ACCOUNT, AccountMapper, Identity, find_account
from panosc_hub.auth.claims import normalise
from panosc_hub.auth.problems import LoginRefused, ProviderUnavailable
from panosc_hub.auth.provider import Provider, url_problem
from panosc_hub.auth.refresh import Refresher
from panosc_hub.auth.sessions import TOKEN_ENTRIES, Pins, clean_token_response
from panosc_hub.auth.settings import OIDCSettings
from panosc_hub.auth.tokens import Expected, header_of, nonce_for, verify
from panosc_hub.core.identity import Person


class OIDCAuthenticator(OIDCSettings):
    """Log in with any OpenID Connect provider that supports discovery."""

    login_handler = handlers.LoginHandler
    callback_handler = handlers.CallbackHandler
    logout_handler = handlers.LogoutHandler

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        name = type(self).__name__
        if not self.issuer:
            raise TraitError(f"c.{name}.issuer is not set: give the URL of your provider")
        if problem := url_problem(self.issuer, allow_http=self.allow_http_issuer):
            raise TraitError(f"c.{name}.issuer: {problem}")
        if not self.client_id:
            raise TraitError(f"c.{name}.client_id is not set: it comes from your registration")
        if "openid" not in self.scope:
            raise TraitError(f"c.{name}.scope must contain 'openid'")
        if not self.account_mappers:
            raise TraitError(
                f"c.{name}.account_mappers is empty: say how people get their account, "
                "for example ['panosc_hub.auth.accounts.FileMapper']"
            )
        self.mappers: list[AccountMapper] = [cls(parent=self) for cls in self.account_mappers]
        self.provider = self._make_provider()
        self.refresher = Refresher(self)
        if not self.enable_auth_state:
            self.log.warning(
                "auth_state is off (no JUPYTERHUB_CRYPT_KEY): a removed group is noticed at the "
                "next login only, at most %d s later",
                self.max_session_age,
            )

    def _make_provider(self) -> Provider:
        options = {
            **self.http_request_kwargs,
            "connect_timeout": self.http_timeout,
            "request_timeout": self.http_timeout,
            "validate_cert": self.validate_server_cert,
        }
        return Provider(
            self.issuer,
            client=lambda: self.http_client,
            request_options=options,
            allow_http=self.allow_http_issuer,
        )

    async def discover(self) -> None:
        """Make ``authorize_url`` known to the handlers; raises ProviderUnavailable."""
        self.authorize_url = (await self.provider.metadata()).authorization_endpoint

    def build_token_info_request_headers(self) -> dict[str, str]:
        """Basic authentication with both parts form-encoded (RFC 6749, section 2.3.1)."""
        headers = {"Accept": "application/json"}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        if self.basic_auth:
            pair = f"{quote(self.client_id, safe='')}:{quote(self.client_secret, safe='')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return headers

    async def get_token_info(self, handler: Any, params: Mapping[str, Any]) -> dict[str, Any]:
        """Exchange a code or refresh token and verify the id_token, if there is one.

        Raises LoginRefused or ProviderUnavailable. A login must bring an id_token with our
        nonce; a refresh may come without.
        """
        form = {name: str(value) for name, value in params.items() if value not in (None, "")}
        answer = await self.provider.token(self.build_token_info_request_headers(), form)
        now = time.time()
        info = clean_token_response(answer, now)
        if info is None:
            raise ProviderUnavailable("the token response has no usable bearer token")
        refreshing = params.get("grant_type") == "refresh_token"
        if "id_token" in info:
            header = header_of(info["id_token"])
            nonce = None if refreshing else nonce_for(params["code_verifier"])
            expected = Expected(self.issuer, self.client_id, nonce, self.leeway)
            key = await self.provider.key(header)
            info["id_claims"] = verify(
                info["id_token"], key, header, expected, access_token=info["access_token"], now=now
            )
        elif not refreshing:
            raise LoginRefused("the token response has no id_token")
        return info

    async def token_to_user(self, token_info: Mapping[str, Any]) -> dict[str, Any]:
        """The person behind an access token: userinfo, groups and account.

        ``id_claims`` in ``token_info`` is what was verified before: the id_token at login, the
        pins at a refresh. Raises LoginRefused, NotLinked or an Unavailable.
        """
        subject = token_info["id_claims"]["sub"]
        raw = await self.provider.userinfo(token_info["access_token"])
        claims = normalise(raw, self.multi_claims())
        if claims["sub"] != subject:
            raise LoginRefused(f"userinfo is about {claims['sub']}, the id_token about {subject}")
        person = await self.person_of(Identity(self.issuer, subject, claims))
        kept = {name: claims[name] for name in claims if name not in self.multi_claims()}
        return {
            **kept,
            "account": person.name,
            "groups": sorted(person.groups),
            "facility_admin": person.admin,
        }

    def multi_claims(self) -> frozenset[str]:
        """Names of the multi-valued claims to read; they are used and not stored."""
        return frozenset()

    async def person_of(self, identity: Identity) -> Person:
        """Authorise: groups first, then the account. Raises NotLinked or AccountsUnavailable."""
        groups = self.groups_of(identity)
        return Person(
            name=await self.account_of(identity),
            groups=groups,
            admin=bool(groups & set(self.admin_groups)),
            subject=identity.subject,
            display_name=identity.claims.get("name", ""),
            email=identity.claims.get("email", ""),
        )

    def groups_of(self, identity: Identity) -> frozenset[str]:
        """Hub groups of a person; raises NotLinked to keep them out. For subclasses."""
        return frozenset()

    async def account_of(self, identity: Identity) -> str:
        """The Hub user name of a person, from the mappers and never from a claim."""
        return await find_account(self.mappers, identity)

    def user_info_to_username(self, user_info: Mapping[str, Any]) -> str:
        account: str = user_info["account"]
        return account

    def normalize_username(self, username: str) -> str:
        """Nothing is changed: a name that must be mended is a name that can collide."""
        return username

    def validate_username(self, username: str) -> bool:
        return bool(ACCOUNT.fullmatch(username)) and bool(super().validate_username(username))

    def build_auth_state_dict(
        self, token_info: Mapping[str, Any], user_info: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Pins and claims; tokens only if the Hub encrypts what it stores."""
        now = time.time()
        pins = Pins(
            self.issuer, token_info["id_claims"]["sub"], token_info.get("login_at", now), now
        )
        state = {**pins.as_state(), self.user_auth_state_key: dict(user_info)}
        if self.enable_auth_state:
            state |= {name: token_info[name] for name in TOKEN_ENTRIES if name in token_info}
        return state

    async def get_user_groups(self, auth_state: Mapping[str, Any]) -> set[str]:
        return set(auth_state[self.user_auth_state_key]["groups"])

    async def update_auth_model(self, auth_model: dict[str, Any]) -> dict[str, Any]:
        """Set admin both ways, so that a removed administrator loses the right at once."""
        state = auth_model["auth_state"]
        admin = state[self.user_auth_state_key]["facility_admin"]
        auth_model["admin"] = auth_model["name"] in self.admin_users or admin
        self.refresher.remember(auth_model["name"], state)
        return auth_model

    async def check_allowed(self, username: str, auth_model: Any) -> bool:
        """Whoever got here is known to the facility; ``allowed_*`` can only narrow it down."""
        if auth_model is None:
            return True
        narrowed = self.allowed_users or self.allowed_groups or self.allowed_scopes
        return not narrowed or bool(await super().check_allowed(username, auth_model))

    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> Any:
        """Authorise again; see :class:`panosc_hub.auth.refresh.Refresher`."""
        return await self.refresher.refresh(user)
