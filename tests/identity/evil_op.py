"""An OpenID provider that can be told to lie: it signs anything and fails at will.

It behaves by default: code flow with PKCE S256, RS256, rotating refresh tokens. A test changes
one thing and looks at what the Hub makes of it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

CLIENT_ID = "hub"
CLIENT_SECRET = "s3cret:with%signs"
SUBJECT = "a1b2c3@eduteams.example"
NAMESPACE = "urn:geant:umbrella.example"
AUTHORITY = "umbrella.example"

# Made once: keys are slow to make and nothing secret hangs on them.
RSA = RSAKey.generate_key(2048, {"kid": "rsa-1"})
OTHER_RSA = RSAKey.generate_key(2048, {"kid": "rsa-1"})
with warnings.catch_warnings():  # it warns, rightly, that the key is short
    warnings.simplefilter("ignore")
    WEAK_RSA = RSAKey.generate_key(1024, {"kid": "weak"})
EC = ECKey.generate_key("P-256", {"kid": "ec-1"})


def entitlement(group: str) -> str:
    return f"{NAMESPACE}:group:umbrella:demo:{group}#{AUTHORITY}"


def signed(claims: dict[str, Any], key: Any = RSA, alg: str = "RS256", **header: Any) -> str:
    header = {"alg": alg, "kid": key.kid, **header}
    return jwt.encode({k: v for k, v in header.items() if v}, claims, key, algorithms=[alg])


def unsigned(claims: dict[str, Any]) -> str:
    parts = ({"alg": "none", "kid": "rsa-1"}, claims)
    return ".".join(_b64(json.dumps(part).encode()) for part in parts) + "."


def hmac_with_public_key(claims: dict[str, Any]) -> str:
    """The classic confusion: the public key, known to all, used as a shared secret."""
    parts = ({"alg": "HS256", "kid": "rsa-1"}, claims)
    text = ".".join(_b64(json.dumps(part).encode()) for part in parts)
    mac = hmac.new(RSA.as_pem(private=False), text.encode(), hashlib.sha256).digest()
    return f"{text}.{_b64(mac)}"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class EvilOP:
    """The provider and its knobs; :meth:`behave` sets all of them back."""

    def __init__(self) -> None:
        sockets = bind_sockets(0, "127.0.0.1")
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        paths = ("discovery", "jwks", "authorize", "token", "userinfo", "end_session")
        routes = [(f"/{path}", _Page, {"op": self, "page": path}) for path in paths[1:]]
        routes.append(
            (r"/\.well-known/openid-configuration", _Page, {"op": self, "page": "discovery"})
        )
        self._server = HTTPServer(Application(routes))
        self._server.add_sockets(sockets)
        self.behave()

    async def stop(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()

    def behave(self) -> None:
        self.calls: Counter[str] = Counter()
        self.status: dict[str, int] = {}
        self.body: dict[str, str] = {}
        self.moved: dict[str, str] = {}
        self.discovery: dict[str, Any] = {}
        self.keys: list[dict[str, Any]] = [k.as_dict(private=False) for k in (RSA, EC)]
        self.sign: Callable[[dict[str, Any]], str] = signed
        self.id_claims: dict[str, Any] = {}
        self.callback: dict[str, str | None] = {}
        self.token_answer: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {
            "sub": SUBJECT,
            "name": "Paula Principal",
            "email": "paula@university.example",
            "eduperson_entitlement": [entitlement("proposal:HG-123")],
        }
        self.codes: dict[str, dict[str, str]] = {}
        self.access_tokens: set[str] = set()
        self.refresh_tokens: set[str] = set()
        self.issued: list[str] = []
        self.issued_codes: list[str] = []

    # --- what the pages answer -------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        document = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "jwks_uri": f"{self.url}/jwks",
            "end_session_endpoint": f"{self.url}/end_session",
            "authorization_response_iss_parameter_supported": True,
        }
        return _changed(document, self.discovery)

    def callback_url(self, query: dict[str, str]) -> str:
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        self.issued_codes.append(code)
        answer = {"code": code, "state": query["state"], "iss": self.url}
        return query["redirect_uri"] + "?" + urlencode(_changed(answer, self.callback))

    def id_token(self, nonce: str | None, access_token: str) -> str:
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": SUBJECT,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            "at_hash": _b64(half),
        }
        return self.sign(_changed(claims, self.id_claims))

    def tokens(self, form: dict[str, str]) -> dict[str, Any] | None:
        if form.get("grant_type") == "refresh_token":
            if form["refresh_token"] not in self.refresh_tokens:
                return None
            self.refresh_tokens.remove(form["refresh_token"])
            nonce = None
        else:
            query = self.codes.pop(form.get("code", ""), None)
            verifier = form.get("code_verifier", "").encode()
            challenge = _b64(hashlib.sha256(verifier).digest())
            if query is None or query["code_challenge"] != challenge:
                return None
            nonce = query["nonce"]
        access, refresh = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self.access_tokens.add(access)
        self.refresh_tokens.add(refresh)
        answer = {
            "access_token": access,
            "refresh_token": refresh,
            "id_token": self.id_token(nonce, access),
            "token_type": "Bearer",
            "expires_in": 300,
        }
        self.issued += [access, refresh, answer["id_token"]]
        return _changed(answer, self.token_answer)


def _changed(original: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in {**original, **changes}.items() if v is not None}


class _Page(RequestHandler):
    def initialize(self, op: EvilOP, page: str) -> None:
        self.op, self.page = op, page

    def _fails(self) -> bool:
        self.op.calls[self.page] += 1
        if self.page in self.op.body:
            self.write(self.op.body[self.page])
            return True
        if self.page in self.op.moved:
            self.redirect(self.op.moved[self.page], status=307)
            return True
        if self.page in self.op.status:
            self.set_status(self.op.status[self.page])
            return True
        return False

    def get(self) -> None:
        op = self.op
        if self._fails():
            return
        if self.page == "discovery":
            self.write(op.document())
        elif self.page == "jwks":
            self.write({"keys": op.keys})
        elif self.page == "authorize":
            query = {name: self.get_argument(name) for name in self.request.arguments}
            assert query["code_challenge_method"] == "S256"
            self.redirect(op.callback_url(query))
        elif self.page == "userinfo":
            scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
            if scheme != "Bearer" or token not in op.access_tokens:
                self.set_status(401)
                return
            self.write(json.dumps(op.userinfo))

    def post(self) -> None:
        op = self.op
        if self._fails():
            return
        pair = base64.b64encode(b"hub:s3cret%3Awith%25signs").decode()
        if self.request.headers.get("Authorization") != f"Basic {pair}":
            self.set_status(401)
            self.write({"error": "invalid_client"})
            return
        form = {name: self.get_argument(name) for name in self.request.body_arguments}
        answer = op.tokens(form)
        if answer is None:
            self.set_status(400)
            self.write({"error": "invalid_grant"})
            return
        self.write(answer)
