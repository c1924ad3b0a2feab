"""The identity provider as seen over HTTP: discovery, keys, tokens and userinfo.

Answers are bounded in time and size, redirects are not followed, and every URL that discovery
names is held to the same rule as the issuer: https, or http on this machine.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from joserfc.jwk import Key
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from panosc_hub.auth.problems import LoginExpired, LoginRefused, ProviderUnavailable
from panosc_hub.auth.tokens import Header, key_from

MAX_BODY = 1 << 20
"""Largest answer of a provider, in bytes. A person with 1000 groups needs about 100 kB."""

KEY_REREAD_INTERVAL = 60.0
"""Seconds between two readings of the keys because of an unknown kid. Whoever can make us see
tokens could otherwise make us call the provider at will."""

_DISCOVERY_TRIES = 3
_DISCOVERY_PAUSE = 0.2
_DISCOVERY_REST = 5.0
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")


def url_problem(url: str, *, allow_http: bool = False) -> str | None:
    """Why a URL of a provider cannot be used, or None if it can."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return f"{url!r} is not a URL"
    if not host or parts.username is not None or parts.fragment:
        return f"{url!r} needs a host, and must have neither a user name nor a fragment"
    if parts.scheme == "https" or (parts.scheme == "http" and (allow_http or _is_loopback(host))):
        return None
    return f"{url!r} must begin with https://; http:// is accepted on 127.0.0.1 and localhost only"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What we use of the discovery document; optional endpoints are empty if not offered."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str
    jwks_uri: str
    end_session_endpoint: str = ""
    sends_iss: bool = False

    @classmethod
    def parse(cls, document: Mapping[str, Any], issuer: str, *, allow_http: bool) -> Metadata:
        """Checked metadata; raises ProviderUnavailable, because a wrong document proves nothing."""
        if document.get("issuer") != issuer:
            raise ProviderUnavailable(
                f"the discovery document names the issuer {document.get('issuer')!r}, and "
                f"{issuer!r} is configured; both must be the same, character by character"
            )
        urls: dict[str, str] = {}
        needed = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
        for name in (*needed, "end_session_endpoint"):
            url = document.get(name)
            if url is None and name not in needed:
                continue
            if not isinstance(url, str):
                raise ProviderUnavailable(f"the discovery document has no {name}")
            if problem := url_problem(url, allow_http=allow_http):
                raise ProviderUnavailable(f"discovery, {name}: {problem}")
            urls[name] = url
        sends_iss = document.get("authorization_response_iss_parameter_supported") is True
        return cls(issuer=issuer, sends_iss=sends_iss, **urls)


class Provider:
    """One provider. ``max_age`` is the age in seconds after which discovery and keys are re-read;
    if that fails, what was read before stays in use."""

    def __init__(
        self,
        issuer: str,
        *,
        client: Callable[[], AsyncHTTPClient],
        request_options: Mapping[str, Any],
        allow_http: bool = False,
        max_age: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = issuer
        self._client = client
        self._options = dict(request_options)
        self._allow_http = allow_http
        self._max_age = max_age
        self._clock = clock
        self._lock = asyncio.Lock()
        self._metadata: Metadata | None = None
        self._metadata_at = 0.0
        self._failure: tuple[float, ProviderUnavailable] | None = None
        self._keys: list[dict[str, Any]] | None = None
        self._keys_at = 0.0
        self._reread_at: float | None = None

    async def metadata(self) -> Metadata:
        """The discovery document, from the cache if it is young; raises ProviderUnavailable."""
        async with self._lock:
            if self._metadata is None:
                self._metadata = await self._discover()
                self._metadata_at = self._clock()
            elif self._clock() - self._metadata_at > self._max_age:
                # Once per max_age, also if it fails: an outage must not slow every page.
                self._metadata_at = self._clock()
                try:
                    self._metadata = await self._read_discovery()
                except ProviderUnavailable:
                    return self._metadata
            return self._metadata

    async def _discover(self) -> Metadata:
        # People who wait for the lock learn of a failure at once; each trying again in turn
        # would add up the time-outs.
        if self._failure and self._clock() - self._failure[0] < _DISCOVERY_REST:
            raise ProviderUnavailable(self._failure[1].detail)
        for attempt in range(1, _DISCOVERY_TRIES + 1):
            try:
                return await self._read_discovery()
            except ProviderUnavailable as error:
                self._failure = (self._clock(), error)
                if attempt == _DISCOVERY_TRIES:
                    raise
            await asyncio.sleep(_DISCOVERY_PAUSE * attempt)
        raise AssertionError("the last try returns or raises")

    async def _read_discovery(self) -> Metadata:
        url = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
        status, body = await self._request("GET", url)
        if status != 200:
            raise ProviderUnavailable(f"discovery answers {status}")
        return Metadata.parse(_json_object(body, url), self.issuer, allow_http=self._allow_http)

    async def key(self, header: Header) -> Key:
        """The key that signed; an unknown kid makes us read the keys again, but not often."""
        jwks_uri = (await self.metadata()).jwks_uri
        async with self._lock:
            if self._keys is None or self._clock() - self._keys_at > self._max_age:
                await self._read_keys(jwks_uri)
            key = key_from(self._keys or [], header)
            if key is None and self._may_reread():
                self._reread_at = self._clock()
                await self._read_keys(jwks_uri)
                key = key_from(self._keys or [], header)
        if key is None:
            raise LoginRefused("the id_token is signed with a key that the provider does not list")
        return key

    def _may_reread(self) -> bool:
        return self._reread_at is None or self._clock() - self._reread_at > KEY_REREAD_INTERVAL

    async def _read_keys(self, url: str) -> None:
        status, body = await self._request("GET", url)
        keys = _json_object(body, url).get("keys") if status == 200 else None
        if not isinstance(keys, list):
            raise ProviderUnavailable(f"the keys of the provider cannot be read ({status})")
        self._keys = [entry for entry in keys if isinstance(entry, dict)]
        self._keys_at = self._clock()

    async def token(self, headers: Mapping[str, str], form: Mapping[str, str]) -> dict[str, Any]:
        """The answer of the token endpoint.

        Raises LoginExpired only for ``invalid_grant``: that is about the code or refresh token.
        Any other refusal is about this Hub or the provider and proves nothing of the person.
        """
        url = (await self.metadata()).token_endpoint
        status, body = await self._request("POST", url, headers, urlencode(form))
        if status == 200:
            return _json_object(body, url)
        code = _error_code(body)
        if status in (400, 401, 403) and code == "invalid_grant":
            raise LoginExpired("the provider refuses the code or refresh token (invalid_grant)")
        raise ProviderUnavailable(f"the token endpoint answers {status} {code}")

    async def userinfo(self, access_token: str) -> dict[str, Any]:
        """The claims of userinfo; raises LoginExpired if the access token is no longer valid."""
        url = (await self.metadata()).userinfo_endpoint
        headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json"}
        status, body = await self._request("GET", url, headers)
        if status == 200:
            return _json_object(body, url)
        if status in (400, 401, 403):
            raise LoginExpired(f"userinfo answers {status}")
        raise ProviderUnavailable(f"userinfo answers {status}")

    async def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
    ) -> tuple[int, bytes]:
        request = HTTPRequest(
            url,
            **{
                **self._options,
                "method": method,
                "headers": {"User-Agent": "panosc_hub", **(headers or {})},
                "body": body,
                "follow_redirects": False,
            },
        )
        try:
            response = await self._client().fetch(request, raise_error=False)
        except (HTTPClientError, OSError, ValueError) as error:
            # The text of these errors can hold the URL; ours have no secret in the URL.
            raise ProviderUnavailable(f"{_where(url)}: {error}") from error
        if response.code == 599:
            raise ProviderUnavailable(f"{_where(url)}: {response.error}")
        if len(response.body) > MAX_BODY:
            raise ProviderUnavailable(f"{_where(url)}: the answer is larger than {MAX_BODY} bytes")
        return response.code, response.body


def _where(url: str) -> str:
    return url.split("?", 1)[0]


def _json_object(body: bytes, url: str) -> dict[str, Any]:
    """A page of HTML with status 200 is an outage, not a statement about a person."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProviderUnavailable(f"{_where(url)}: the answer is not JSON") from error
    if not isinstance(value, dict):
        raise ProviderUnavailable(f"{_where(url)}: the answer is not a JSON object")
    return value


def _error_code(body: bytes) -> str:
    try:
        code = json.loads(body)["error"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return ""
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""
