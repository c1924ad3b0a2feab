"""Login through a real Hub: the good case, and every lie that must not get in."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import evil_op
import httpx
import pytest
from evil_op import EC, OTHER_RSA, RSA, SUBJECT, WEAK_RSA, EvilOP, entitlement, signed
from real_hub import Hub

pytestmark = [
    pytest.mark.asyncio(loop_scope="package"),
    pytest.mark.filterwarnings("ignore:Key size should be"),
]

OTHER = "other@eduteams.example"


def assert_refused(hub: Hub, op: EvilOP, answer: httpx.Response, status: int = 403) -> None:
    """Refused, nobody made, no cookie that logs in, and no token on the page or in the log."""
    assert answer.status_code == status, answer.text
    assert hub.user_names() == []
    assert not answer.cookies.get("jupyterhub-hub-login", "").strip('"')
    assert "Login refused" in hub.log.text
    for secret in op.issued + op.issued_codes:
        assert secret not in answer.text
        assert secret not in hub.log.text


async def test_login_makes_the_user_with_groups(hub: Hub, op: EvilOP) -> None:
    answer = await hub.login()
    assert answer.status_code == 302, answer.text
    assert hub.user_names() == ["paula"]
    assert hub.groups("paula") == ["proposal:HG-123"]
    assert not hub.user("paula").admin


async def test_tokens_are_kept_in_auth_state_only(hub: Hub, op: EvilOP) -> None:
    await hub.login()
    user = hub.user("paula")
    state = await user.get_auth_state()
    assert {state["access_token"], state["refresh_token"], state["id_token"]} == set(op.issued)
    assert "eduperson_entitlement" not in json.dumps(state)
    plain = json.dumps([user.name, getattr(user, "user_info", None), user.spawner.user_options])
    for token in op.issued:
        assert token not in plain
        assert token.encode() not in user.encrypted_auth_state
        assert token not in hub.log.text


async def test_authorisation_request_has_pkce_nonce_and_state(hub: Hub, op: EvilOP) -> None:
    there = await hub.browser().get("/hub/oauth_login")
    query = parse_qs(urlsplit(there.headers["location"]).query)
    assert query["response_type"] == ["code"]
    assert query["code_challenge_method"] == ["S256"]
    assert len(query["nonce"][0]) == 64
    assert query["nonce"] != query["code_challenge"]
    cookie = next(c for c in there.headers.get_list("set-cookie") if "panosc-login-" in c)
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert query["nonce"][0] not in cookie


async def test_administrator_is_made_and_unmade_by_group(hub: Hub, op: EvilOP) -> None:
    op.userinfo["eduperson_entitlement"] = [entitlement("admins")]
    await hub.login()
    assert hub.user("paula").admin
    op.userinfo["eduperson_entitlement"] = [entitlement("proposal:HG-123")]
    await hub.login()
    assert not hub.user("paula").admin


@pytest.mark.parametrize(("key", "alg"), [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256")])
async def test_accepted_algorithms(hub: Hub, op: EvilOP, key: Any, alg: str) -> None:
    op.sign = lambda claims: signed(claims, key, alg)
    assert (await hub.login()).status_code == 302
    assert hub.user_names() == ["paula"]


def _broken_signature(claims: dict[str, Any]) -> str:
    head, body, signature = signed(claims).split(".")
    return f"{head}.{body}.{signature[:-8]}AAAAAAAA"


def _changed_after_signing(claims: dict[str, Any]) -> str:
    head, _, signature = signed(claims).split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims | {"x": 1}).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


SIGNATURES: dict[str, Callable[[dict[str, Any]], str]] = {
    "alg none": evil_op.unsigned,
    "HS256 with the public key": evil_op.hmac_with_public_key,
    "wrong key": lambda claims: signed(claims, OTHER_RSA),
    "unknown kid": lambda claims: signed(claims, OTHER_RSA, kid="not-listed"),
    "no kid and two keys of the type": lambda claims: signed(claims, RSA, kid=None),
    "RSA kid with ES256": lambda claims: signed(claims, EC, "ES256", kid="rsa-1"),
    "RS512": lambda claims: signed(claims, RSA, "RS512"),
    "key in the header": lambda claims: signed(
        claims, OTHER_RSA, jwk=OTHER_RSA.as_dict(private=False)
    ),
    "unknown critical header": lambda claims: signed(claims).replace(
        signed(claims).split(".")[0],
        base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"rsa-1","crit":["x"],"x":1}').decode(),
    ),
    "short key": lambda claims: signed(claims, WEAK_RSA),
    "broken signature": _broken_signature,
    "changed after signing": _changed_after_signing,
    "not a token": lambda claims: "e30.e30",
    "not base64": lambda claims: "%%%.%%%.%%%",
    "huge": lambda claims: signed(claims | {"x": "x" * 70000}),
}


@pytest.mark.parametrize("sign", SIGNATURES.values(), ids=SIGNATURES.keys())
async def test_bad_signature_is_refused(
    hub: Hub, op: EvilOP, sign: Callable[[dict[str, Any]], str]
) -> None:
    op.keys += [WEAK_RSA.as_dict(private=False), RSA.as_dict(private=False) | {"kid": "rsa-2"}]
    op.sign = sign
    assert_refused(hub, op, await hub.login())


@dataclass(frozen=True)
class FromNow:
    """Seconds from the moment of the test; that of its collection may be long ago."""

    seconds: int


def at_this_moment(claims: dict[str, Any]) -> dict[str, Any]:
    now = int(time.time())
    return {k: now + v.seconds if isinstance(v, FromNow) else v for k, v in claims.items()}


CLAIMS: dict[str, dict[str, Any]] = {
    "foreign iss": {"iss": "https://evil.example"},
    "iss with a slash more": {"iss": "http://127.0.0.1/"},
    "no iss": {"iss": None},
    "foreign aud": {"aud": "another-hub"},
    "no aud": {"aud": None},
    "aud list without us": {"aud": ["a", "b"], "azp": "hub"},
    "aud list without azp": {"aud": ["hub", "other"]},
    "foreign azp": {"aud": ["hub", "other"], "azp": "other"},
    "foreign azp with one aud": {"azp": "other"},
    "no exp": {"exp": None},
    "exp as text": {"exp": "9999999999"},
    "exp true": {"exp": True},
    "expired 40 s ago": {"exp": FromNow(-40)},
    "no iat": {"iat": None},
    "iat true": {"iat": True},
    "iat in 15 minutes": {"iat": FromNow(900), "exp": FromNow(1200)},
    "not valid yet": {"nbf": FromNow(900)},
    "no nonce": {"nonce": None},
    "other nonce": {"nonce": "0" * 64},
    "nonce as list": {"nonce": ["0" * 64]},
    "no sub": {"sub": None},
    "sub with newline": {"sub": SUBJECT + "\n"},
    "sub of another person": {"sub": OTHER},
    "foreign at_hash": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
}


@pytest.mark.parametrize("claims", CLAIMS.values(), ids=CLAIMS.keys())
async def test_bad_id_token_claim_is_refused(hub: Hub, op: EvilOP, claims: dict[str, Any]) -> None:
    op.id_claims = at_this_moment(claims)
    assert_refused(hub, op, await hub.login())


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": FromNow(3600), "iat": FromNow(10)},
        {"aud": ["hub", "other"], "azp": "hub"},
        {"aud": ["hub"]},
        {"at_hash": None},
    ],
    ids=str,
)
async def test_lawful_variants_are_accepted(hub: Hub, op: EvilOP, claims: dict[str, Any]) -> None:
    op.id_claims = at_this_moment(claims)
    assert (await hub.login()).status_code == 302


async def test_clock_difference_within_the_leeway_is_accepted(hub: Hub, op: EvilOP) -> None:
    op.id_claims = {"exp": int(time.time()) - 10}
    assert (await hub.login()).status_code == 302


async def test_replayed_id_token_of_another_login_is_refused(hub: Hub, op: EvilOP) -> None:
    await hub.login()
    old = op.issued[-1]
    await hub.forget()
    op.sign = lambda claims: old
    op.id_claims = {}
    assert_refused(hub, op, await hub.login())


CALLBACKS: dict[str, tuple[dict[str, str | None], int]] = {
    "no state": ({"state": None}, 400),
    "foreign state": ({"state": "eyJzdGF0ZV9pZCI6ICJhYmMifQ=="}, 400),
    "state that is no JSON": ({"state": "%%%"}, 400),
    "foreign iss": ({"iss": "https://evil.example"}, 400),
    "no iss although advertised": ({"iss": None}, 400),
    "no code": ({"code": None}, 400),
    "unknown code": ({"code": "guessed"}, 403),
    "error": ({"code": None, "error": "server_error"}, 403),
    "cancelled": ({"code": None, "error": "access_denied"}, 403),
}


@pytest.mark.parametrize(("callback", "status"), CALLBACKS.values(), ids=CALLBACKS.keys())
async def test_bad_callback_is_refused(
    hub: Hub, op: EvilOP, callback: dict[str, str | None], status: int
) -> None:
    op.callback = callback
    answer = await hub.login()
    assert_refused(hub, op, answer, status)
    if status == 400:
        assert op.calls["token"] == 0, "the code was sent although the callback is not valid"


async def test_foreign_iss_is_refused_even_if_not_advertised(hub: Hub, op: EvilOP) -> None:
    op.discovery = {"authorization_response_iss_parameter_supported": None}
    op.callback = {"iss": "https://evil.example"}
    assert_refused(hub, op, await hub.login(), 400)
    op.callback = {"iss": None}
    assert (await hub.login()).status_code == 302


async def test_text_of_the_provider_is_not_shown(hub: Hub, op: EvilOP) -> None:
    op.callback = {
        "code": None,
        "error": "invalid_request",
        "error_description": "Call 555 and tell your password",
    }
    answer = await hub.login()
    assert answer.status_code == 403
    assert "555" not in answer.text


async def test_callback_without_the_cookie_is_refused(hub: Hub, op: EvilOP) -> None:
    assert_refused(hub, op, await hub.login(drop_cookies=True), 400)


async def test_callback_cannot_be_used_twice(hub: Hub, op: EvilOP) -> None:
    browser = hub.browser()
    there = await browser.get("/hub/oauth_login")
    back = (await browser.get(there.headers["location"])).headers["location"]
    assert (await browser.get(back)).status_code == 302
    assert (await browser.get(back)).status_code == 400


async def test_two_tabs_can_log_in_at_once(hub: Hub, op: EvilOP) -> None:
    browser = hub.browser()
    first = await browser.get("/hub/oauth_login")
    second = await browser.get("/hub/oauth_login")
    for tab in (first, second):
        back = await browser.get(tab.headers["location"])
        assert (await browser.get(back.headers["location"])).status_code == 302


async def test_abandoned_logins_do_not_pile_up_cookies(hub: Hub, op: EvilOP) -> None:
    browser = hub.browser()
    for _ in range(20):
        await browser.get("/hub/oauth_login")
    assert sum(name.startswith("panosc-login-") for name in browser.cookies) <= 9


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/x",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:1",
    ],
)
async def test_next_leads_to_this_hub_only(hub: Hub, op: EvilOP, target: str) -> None:
    answer = await hub.login(next_url=target)
    location = urlsplit(answer.headers["location"])
    assert (location.scheme, location.netloc) == ("", "")
    assert location.path.startswith("/")
    assert not answer.headers["location"].startswith(("//", "/\\"))


USERINFO: dict[str, dict[str, Any]] = {
    "another person": {"sub": OTHER},
    "no sub": {"sub": None},
    "entitlement as dict": {"eduperson_entitlement": {"a": "b"}},
    "entitlement nested": {"eduperson_entitlement": [[entitlement("proposal:HG-123")]]},
    "entitlement as number": {"eduperson_entitlement": 5},
    "two subjects": {"sub": [SUBJECT, OTHER]},
    "name as dict": {"name": {"a": 1}},
    "10 000 groups": {
        "eduperson_entitlement": [entitlement(f"proposal:p{n}") for n in range(10000)]
    },
}


@pytest.mark.parametrize("claims", USERINFO.values(), ids=USERINFO.keys())
async def test_bad_userinfo_is_refused(hub: Hub, op: EvilOP, claims: dict[str, Any]) -> None:
    op.userinfo |= claims
    assert_refused(hub, op, await hub.login())


async def test_a_single_entitlement_as_string_is_one_group(hub: Hub, op: EvilOP) -> None:
    op.userinfo["eduperson_entitlement"] = entitlement("proposal:HG-123")
    await hub.login()
    assert hub.groups("paula") == ["proposal:HG-123"]


async def test_scalars_sent_as_lists_are_understood(hub: Hub, op: EvilOP) -> None:
    op.userinfo |= {"sub": [SUBJECT], "name": ["Paula Principal"]}
    assert (await hub.login()).status_code == 302
    assert hub.user_names() == ["paula"]


async def test_spoofed_entitlement_beside_a_real_one_grants_nothing(hub: Hub, op: EvilOP) -> None:
    good = entitlement("proposal:HG-123")
    op.userinfo["eduperson_entitlement"] = [
        good,
        good.replace("umbrella:demo:", "x:group:umbrella:demo:").replace("HG-123", "HG-9"),
        entitlement("proposal:HG-9").replace("#umbrella.example", "#evil.example"),
        entitlement("proposal:HG-9\n"),
    ]
    await hub.login()
    assert hub.groups("paula") == ["proposal:HG-123"]


# --- people whom the facility does not know -----------------------------------------------------


@pytest.mark.parametrize(
    "claims",
    [
        {"eduperson_entitlement": []},
        {"eduperson_entitlement": None},
        {"eduperson_entitlement": ["urn:geant:other.example:group:other:users#other.example"]},
    ],
    ids=["no group", "no claim", "group of another facility"],
)
async def test_person_without_a_group_gets_the_page_and_no_user(
    hub: Hub, op: EvilOP, claims: dict[str, Any]
) -> None:
    op.userinfo = {k: v for k, v in (op.userinfo | claims).items() if v is not None}
    answer = await hub.login()
    assert_refused(hub, op, answer)
    assert "Demo Light Source" in answer.text
    assert SUBJECT in answer.text
    assert "mailto:help@demo.example" in answer.text
    assert 'href="https://users.demo.example/link"' in answer.text


async def test_person_without_an_account_gets_the_page_and_no_user(hub: Hub, op: EvilOP) -> None:
    hostile = "<script>alert(1)</script>@eduteams.example"
    op.userinfo["sub"] = op.id_claims["sub"] = hostile
    answer = await hub.login()
    assert_refused(hub, op, answer)
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert" in answer.text


@pytest.mark.parametrize("claim", ["email", "preferred_username", "name"])
async def test_no_claim_can_name_the_account(hub: Hub, op: EvilOP, claim: str) -> None:
    op.userinfo |= {"sub": "new@eduteams.example", claim: "paula"}
    op.id_claims["sub"] = "new@eduteams.example"
    assert_refused(hub, op, await hub.login())


async def test_monitoring_account_and_foreign_scope_are_refused(
    hub: Hub, op: EvilOP, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = hub.app.authenticator
    mapper = auth.mappers[0]
    accounts = {"test@eduteams.example": "robot", "x@evil.example": "eve", SUBJECT: "paula"}
    monkeypatch.setattr(mapper, "accounts", accounts)
    monkeypatch.setattr(auth, "subject_scope", "eduteams.example")
    for subject in ("test@eduteams.example", "x@evil.example"):
        op.userinfo["sub"] = op.id_claims["sub"] = subject
        assert_refused(hub, op, await hub.login())
    op.userinfo["sub"] = op.id_claims["sub"] = SUBJECT
    assert (await hub.login()).status_code == 302


async def test_unknown_person_ends_the_session_that_was_open_here(hub: Hub, op: EvilOP) -> None:
    browser = hub.browser()
    await hub.login(browser)
    assert (await browser.get("/hub/home")).status_code == 200
    op.userinfo["sub"] = op.id_claims["sub"] = "stranger@eduteams.example"
    assert (await hub.login(browser)).status_code == 403
    assert (await browser.get("/hub/home")).status_code == 302


# --- a provider that is broken ------------------------------------------------------------------


@pytest.mark.parametrize("page", ["discovery", "jwks", "token", "userinfo"])
async def test_provider_that_fails_gives_503_and_no_user(hub: Hub, op: EvilOP, page: str) -> None:
    op.status = {page: 502}
    answer = await hub.login()
    assert_refused(hub, op, answer, 503)
    assert "does not answer" in answer.text
    op.behave()
    hub.app.authenticator.provider._failure = None  # as if five seconds had passed
    assert (await hub.login()).status_code == 302


@pytest.mark.parametrize(
    ("page", "body"),
    [("userinfo", "<html>maintenance</html>"), ("token", "[]"), ("userinfo", "x" * (2 << 20))],
    ids=["HTML", "list", "2 MB"],
)
async def test_nonsense_of_the_provider_gives_503(
    hub: Hub, op: EvilOP, page: str, body: str
) -> None:
    op.body = {page: body}
    assert_refused(hub, op, await hub.login(), 503)


@pytest.mark.parametrize("page", ["token", "userinfo", "jwks", "discovery"])
async def test_redirect_of_the_provider_is_not_followed(hub: Hub, op: EvilOP, page: str) -> None:
    """A code, a secret or a token would go to whoever the redirect names."""
    op.moved = {page: f"{op.url}/end_session"}
    assert_refused(hub, op, await hub.login(), 503)
    assert op.calls["end_session"] == 0


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": None},
        {"userinfo_endpoint": "file:///etc/passwd"},
        {"authorization_endpoint": "https://user@evil.example/a"},
    ],
    ids=str,
)
async def test_wrong_discovery_document_is_not_used(
    hub: Hub, op: EvilOP, document: dict[str, Any]
) -> None:
    op.discovery = document
    assert_refused(hub, op, await hub.login(), 503)


@pytest.mark.parametrize(
    "answer", [{"id_token": None}, {"access_token": "a b\n"}, {"token_type": "mac"}], ids=str
)
async def test_incomplete_token_response_is_refused(
    hub: Hub, op: EvilOP, answer: dict[str, Any]
) -> None:
    op.token_answer = answer
    response = await hub.login()
    assert response.status_code in (403, 503)
    assert hub.user_names() == []


async def test_new_key_of_the_provider_is_found_and_reading_is_limited(
    hub: Hub, op: EvilOP
) -> None:
    assert (await hub.login()).status_code == 302
    new = evil_op.RSAKey.generate_key(2048, {"kid": "rsa-new"})
    op.keys.append(new.as_dict(private=False))
    op.sign = lambda claims: signed(claims, new)
    assert (await hub.login()).status_code == 302
    read = op.calls["jwks"]
    assert read == 2
    op.sign = lambda claims: signed(claims, OTHER_RSA, kid="made-up")
    for _ in range(5):
        assert (await hub.login()).status_code == 403
    assert op.calls["jwks"] == read


async def test_discovery_is_read_once(hub: Hub, op: EvilOP) -> None:
    for _ in range(3):
        await hub.login()
    assert op.calls["discovery"] == 1


# --- logout -------------------------------------------------------------------------------------


async def test_logout_goes_to_the_provider_with_the_hint(hub: Hub, op: EvilOP) -> None:
    browser = hub.browser()
    await hub.login(browser)
    answer = await browser.get("/hub/logout")
    where = urlsplit(answer.headers["location"])
    assert f"{where.scheme}://{where.netloc}{where.path}" == f"{op.url}/end_session"
    assert parse_qs(where.query)["id_token_hint"] == [op.issued[2]]
    assert (await browser.get("/hub/home")).status_code == 302
    assert op.issued[2] not in hub.log.text


async def test_logout_stays_here_if_the_provider_has_none(hub: Hub, op: EvilOP) -> None:
    op.discovery = {"end_session_endpoint": None}
    browser = hub.browser()
    await hub.login(browser)
    answer = await browser.get("/hub/logout")
    assert answer.headers["location"].startswith("/hub/login")
