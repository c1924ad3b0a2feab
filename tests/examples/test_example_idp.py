"""The example facility's identity provider, spoken to by HTTP as a browser and a hub would."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import json
import os
import re
import secrets
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from examples.idp import PEOPLE, Idp, IdpError, running_idp, start_idp, stop_idp

pytestmark = pytest.mark.skipif(
    shutil.which("npm") is None, reason="the identity provider needs Node.js and npm"
)

REDIRECT = "http://127.0.0.1:9/hub/oauth_callback"
SCOPES = (
    "openid profile email eduperson_entitlement eduperson_assurance voperson_external_affiliation"
)
GROUP = "urn:geant:eduteams.example:service:umbrella.example:group:umbrella:demo"


class Browser:
    """One person's browser and the hub behind the redirect address, in one object."""

    def __init__(self, idp: Idp) -> None:
        self.idp = idp
        self.http = httpx.AsyncClient(trust_env=False, timeout=10)
        self.verifier = secrets.token_urlsafe(48)
        self.nonce = secrets.token_urlsafe(16)

    async def __aenter__(self) -> Browser:
        found = await self.http.get(f"{self.idp.issuer}/.well-known/openid-configuration")
        self.metadata: dict[str, Any] = found.json()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    def request(self, **changes: str | None) -> dict[str, str]:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        params = {
            "client_id": self.idp.client_id,
            "response_type": "code",
            "redirect_uri": REDIRECT,
            "scope": SCOPES,
            "state": "the-state",
            "nonce": self.nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            **changes,
        }
        return {k: v for k, v in params.items() if v is not None}

    async def follow(self, answer: httpx.Response) -> httpx.Response:
        """Follow redirects up to the hub's address, which is not called."""
        while answer.is_redirect:
            target = str(answer.next_request.url) if answer.next_request else ""
            if target.startswith(REDIRECT):
                break
            answer = await self.http.get(target)
        return answer

    async def login(self, data: dict[str, str], **changes: str | None) -> dict[str, str]:
        """Log in with the form; returns the parameters that reach the hub."""
        params = self.request(**changes)
        shown = await self.follow(
            await self.http.get(self.metadata["authorization_endpoint"], params=params)
        )
        if not shown.is_redirect:
            assert "<form" in shown.text, shown.text
            action = html.unescape(re.findall(r'action="([^"]+)"', shown.text)[0])
            shown = await self.follow(await self.http.post(self.idp.issuer + action, data=data))
        assert shown.is_redirect, shown.text
        query = parse_qs(urlsplit(shown.headers["location"]).query)
        return {k: v[0] for k, v in query.items()}

    async def token(self, **data: str) -> httpx.Response:
        return await self.http.post(
            self.metadata["token_endpoint"],
            data=data,
            auth=(self.idp.client_id, self.idp.client_secret),
        )

    async def exchange(self, code: str) -> dict[str, Any]:
        answer = await self.token(
            grant_type="authorization_code",
            code=code,
            redirect_uri=REDIRECT,
            code_verifier=self.verifier,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def userinfo(self, access_token: str) -> httpx.Response:
        return await self.http.get(
            self.metadata["userinfo_endpoint"],
            headers={"Authorization": f"Bearer {access_token}"},
        )


@pytest.fixture
async def idp():
    async with running_idp(REDIRECT) as running:
        yield running


@pytest.fixture
async def browser(idp):
    async with Browser(idp) as one:
        yield one


async def test_login_gives_entitlements_in_userinfo_and_not_in_the_id_token(browser):
    back = await browser.login({"person": "paula"})
    assert back["iss"] == browser.idp.issuer
    assert back["state"] == "the-state"
    tokens = await browser.exchange(back["code"])

    keys = (await browser.http.get(browser.metadata["jwks_uri"])).json()
    claims = jwt.decode(
        tokens["id_token"], KeySet.import_key_set(keys), algorithms=["RS256"]
    ).claims
    assert claims["iss"] == browser.idp.issuer
    assert claims["aud"] == "panosc-hub"
    assert claims["nonce"] == browser.nonce
    assert re.fullmatch(r"[0-9a-f]{64}@eduteams\.example", claims["sub"])
    assert not {"eduperson_entitlement", "name", "email"} & set(claims)

    info = (await browser.userinfo(tokens["access_token"])).json()
    assert info["sub"] == claims["sub"]
    assert info["name"] == "Paula Principal"
    assert info["eduperson_entitlement"] == [
        f"{GROUP}:users#umbrella.example",
        f"{GROUP}:proposal:HG-123#umbrella.example",
    ]
    assert isinstance(info["eduperson_assurance"], list)
    assert isinstance(info["voperson_external_affiliation"], list)
    assert "refresh_token" not in tokens  # offline_access was not asked for


async def test_entitlements_need_their_scope(browser):
    back = await browser.login({"person": "paula"}, scope="openid profile")
    tokens = await browser.exchange(back["code"])
    info = (await browser.userinfo(tokens["access_token"])).json()
    assert info["name"] == "Paula Principal"
    assert "eduperson_entitlement" not in info


async def test_the_code_is_worth_nothing_without_its_verifier(browser):
    for verifier in ({}, {"code_verifier": secrets.token_urlsafe(48)}):
        back = await browser.login({"person": "paula"})  # a fresh code for each attempt
        answer = await browser.token(
            grant_type="authorization_code",
            code=back["code"],
            redirect_uri=REDIRECT,
            **verifier,
        )
        assert answer.status_code == 400
        assert answer.json()["error"] == "invalid_grant"


async def test_a_request_without_pkce_is_refused(browser):
    answer = await browser.http.get(
        browser.metadata["authorization_endpoint"],
        params=browser.request(code_challenge=None, code_challenge_method=None),
    )
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query["error"] == ["invalid_request"]
    assert "code" not in query
    assert browser.metadata["code_challenge_methods_supported"] == ["S256"]


async def test_an_unregistered_redirect_address_is_refused_on_the_spot(browser):
    answer = await browser.http.get(
        browser.metadata["authorization_endpoint"],
        params=browser.request(redirect_uri="http://127.0.0.1:9/elsewhere"),
    )
    assert answer.status_code == 400
    assert "location" not in answer.headers


async def test_the_client_secret_is_checked(browser):
    back = await browser.login({"person": "paula"})
    answer = await browser.http.post(
        browser.metadata["token_endpoint"],
        data={
            "grant_type": "authorization_code",
            "code": back["code"],
            "redirect_uri": REDIRECT,
            "code_verifier": browser.verifier,
        },
        auth=("panosc-hub", "not-the-secret"),
    )
    assert answer.status_code == 401


async def test_nobody_logs_in_with_an_entitlement_of_another_authority_only(browser):
    back = await browser.login({"username": "nobody@elsewhere.example"})
    tokens = await browser.exchange(back["code"])
    info = (await browser.userinfo(tokens["access_token"])).json()
    assert info["eduperson_entitlement"]
    assert not [e for e in info["eduperson_entitlement"] if "umbrella" in e]


async def test_an_unknown_name_is_explained_on_the_login_page(browser):
    shown = await browser.follow(
        await browser.http.get(browser.metadata["authorization_endpoint"], params=browser.request())
    )
    action = html.unescape(re.findall(r'action="([^"]+)"', shown.text)[0])
    again = await browser.http.post(browser.idp.issuer + action, data={"username": '"><b>x'})
    assert again.status_code == 422
    assert 'role="alert"' in again.text
    assert "<b>" not in again.text
    for label in ("E-mail or user name", "no password", "(paula)", "(nobody)"):
        assert label in again.text


async def test_cancel_sends_access_denied_to_the_hub(browser):
    back = await browser.login({"cancel": "yes"})
    assert back["error"] == "access_denied"


async def test_a_refresh_token_rotates_and_shows_a_removed_group_at_once(tmp_path):
    people = tmp_path / "people.json"
    people.write_bytes(PEOPLE.read_bytes())
    async with running_idp(REDIRECT, people=people) as idp, Browser(idp) as browser:
        back = await browser.login(
            {"person": "mira"}, scope=f"{SCOPES} offline_access", prompt="consent"
        )
        tokens = await browser.exchange(back["code"])

        content = json.loads(people.read_text())
        mira = next(p for p in content["people"] if p["username"] == "mira")
        mira["groups"].remove("umbrella:demo:proposal:p2222")
        people.write_text(json.dumps(content))

        fresh = await browser.token(
            grant_type="refresh_token", refresh_token=tokens["refresh_token"]
        )
        assert fresh.status_code == 200, fresh.text
        assert fresh.json()["refresh_token"] != tokens["refresh_token"]
        info = (await browser.userinfo(fresh.json()["access_token"])).json()
        assert f"{GROUP}:proposal:HG-123#umbrella.example" in info["eduperson_entitlement"]
        assert f"{GROUP}:proposal:p2222#umbrella.example" not in info["eduperson_entitlement"]

        revoked = await browser.http.post(
            browser.metadata["revocation_endpoint"],
            data={"token": fresh.json()["refresh_token"]},
            auth=(idp.client_id, idp.client_secret),
        )
        assert revoked.status_code == 200
        again = await browser.token(
            grant_type="refresh_token", refresh_token=fresh.json()["refresh_token"]
        )
        assert again.status_code == 400


async def log_out(browser: Browser, tokens: dict[str, Any], **params: str) -> httpx.Response:
    """Ask for the logout page and answer it with yes."""
    shown = await browser.http.get(
        browser.metadata["end_session_endpoint"],
        params={"id_token_hint": tokens["id_token"], **params},
    )
    assert shown.status_code == 200
    xsrf = re.findall(r'name="xsrf" value="([^"]+)"', shown.text)[0]
    action = html.unescape(re.findall(r'action="([^"]+)"', shown.text)[0])
    return await browser.http.post(action, data={"xsrf": xsrf, "logout": "yes"})


async def test_logout_ends_the_session_and_returns_to_the_registered_address():
    after = "http://127.0.0.1:9/hub/"
    async with running_idp(REDIRECT, post_logout_redirect_uri=after) as idp, Browser(idp) as b:
        tokens = await b.exchange((await b.login({"person": "ada"}))["code"])
        # The session is alive: a second login shows no page and needs no person.
        await b.login({"person": "not used"})

        done = await log_out(b, tokens, post_logout_redirect_uri=after, state="bye")
        assert done.headers["location"] == f"{after}?state=bye"

        asked = await b.follow(
            await b.http.get(b.metadata["authorization_endpoint"], params=b.request())
        )
        assert asked.status_code == 200
        assert "Log in" in asked.text


async def test_logout_is_told_to_the_hub_through_the_back_channel():
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    class Logout(RequestHandler):
        def post(self) -> None:
            told.set_result(self.get_body_argument("logout_token"))

    sockets = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(Application([("/logout", Logout)]))
    server.add_sockets(sockets)
    uri = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/logout"
    try:
        async with running_idp(REDIRECT, backchannel_logout_uri=uri) as idp, Browser(idp) as b:
            tokens = await b.exchange((await b.login({"person": "ingo"}))["code"])
            keys = KeySet.import_key_set((await b.http.get(b.metadata["jwks_uri"])).json())
            await log_out(b, tokens)
            logout = jwt.decode(await asyncio.wait_for(told, 10), keys, algorithms=["RS256"])
            login = jwt.decode(tokens["id_token"], keys, algorithms=["RS256"])
    finally:
        server.stop()
        await server.close_all_connections()
    assert logout.header["typ"] == "logout+jwt"
    assert logout.claims["sub"] == login.claims["sub"]
    assert logout.claims["sid"] == login.claims["sid"]


def test_the_provider_ends_when_its_standard_input_is_closed():
    process, _ = start_idp(REDIRECT, client_secret="x" * 16)
    assert process.poll() is None
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(5) == 0
    stop_idp(process)


def test_the_provider_ends_when_its_parent_is_killed():
    program = (
        "import os, signal\n"
        "from examples.idp import start_idp\n"
        f"process, issuer = start_idp({REDIRECT!r}, client_secret='x' * 16)\n"
        "print(process.pid, flush=True)\n"
        "signal.pause()\n"
    )
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    try:
        pid = int(parent.stdout.readline())
    finally:
        parent.kill()
        parent.wait()
    _wait_until_gone(pid)
    parent.stdout.close()


def _wait_until_gone(pid: int) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([handle], [], [], 5)
        assert ready, f"process {pid} still runs"
    finally:
        os.close(handle)


@pytest.mark.parametrize("missing", ["secret", "redirect"])
def test_a_wrong_call_is_explained(missing, monkeypatch, capfd):
    monkeypatch.delenv("PANOSC_IDP_CLIENT_SECRET", raising=False)
    if missing == "secret":
        with pytest.raises(IdpError, match="PANOSC_IDP_CLIENT_SECRET"):
            start_idp(REDIRECT)
    else:
        with pytest.raises(IdpError, match="status 2"):
            start_idp([], client_secret="x" * 16)
        assert "--redirect-uri is required" in capfd.readouterr().err


def test_the_lock_file_pins_contents_and_names_no_registry():
    lock = json.loads((Path(__file__).parents[2] / "examples/idp/package-lock.json").read_text())
    packages = {name: p for name, p in lock["packages"].items() if name}
    assert all(p["integrity"].startswith("sha512-") for p in packages.values())
    assert not [name for name, p in packages.items() if "resolved" in p]
    assert packages["node_modules/oidc-provider"]["version"].startswith("9.13.")
