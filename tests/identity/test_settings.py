"""What an administrator can set wrong, and the defaults that matter for security."""

from __future__ import annotations

from typing import Any

import pytest
from traitlets import TraitError

from panosc_hub.auth.eduteams import EduTeamsAuthenticator
from panosc_hub.auth.oidc import OIDCAuthenticator
from panosc_hub.auth.provider import url_problem
from panosc_hub.auth.umbrella import UmbrellaAuthenticator

RIGHT: dict[str, Any] = {
    "issuer": "https://login.umbrella.example",
    "client_id": "hub",
    "client_secret": "x",
    "entitlement_namespace": "urn:geant:umbrella.example",
    "entitlement_authority": "umbrella.example",
    "group_root": "umbrella:demo",
    "account_mappers": ["panosc_hub.auth.accounts.HashMapper"],
}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"issuer": ""}, "issuer is not set"),
        ({"issuer": "http://login.umbrella.example"}, "must begin with https"),
        ({"issuer": "https://u:p@login.umbrella.example"}, "user name"),
        ({"client_id": ""}, "client_id is not set"),
        ({"account_mappers": []}, "account_mappers is empty"),
        ({"entitlement_namespace": ""}, "entitlement_namespace is not set"),
        ({"entitlement_authority": ""}, "entitlement_authority is not set"),
        ({"group_root": ""}, "group_root is not set"),
        ({"group_root": "umbrella:group"}, "group root"),
        ({"scope": ["profile"]}, "openid"),
        ({"enable_pkce": False}, "PKCE"),
        ({"userdata_from_id_token": True}, "userinfo only"),
        ({"linking_url": "javascript:alert(1)"}, "not an http"),
        ({"support_contact": "javascript:alert(1)@x"}, "not an http"),
    ],
    ids=str,
)
def test_wrong_setting_is_named_at_start(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(TraitError, match=says):
        UmbrellaAuthenticator(**(RIGHT | wrong))


def test_http_is_for_this_machine_unless_allowed() -> None:
    assert UmbrellaAuthenticator(**(RIGHT | {"issuer": "http://127.0.0.1:9000"}))
    remote = RIGHT | {"issuer": "http://idp.test", "allow_http_issuer": True}
    assert UmbrellaAuthenticator(**remote)


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1.evil.example", "http://localhost.evil.example", "http://0x7f.1"),
        *("ftp://a", "https://", "https://a/#b", "https://[", "file:///etc/passwd", "//a", ""),
    ],
)
def test_url_that_only_looks_local_is_refused(url: str) -> None:
    assert url_problem(url)


@pytest.mark.parametrize(
    "url", ["https://a.example", "http://127.0.0.1:1", "http://[::1]:1/x", "http://localhost"]
)
def test_usable_urls(url: str) -> None:
    assert url_problem(url) is None


def test_eduteams_knows_its_issuer_and_scope() -> None:
    settings = {k: v for k, v in RIGHT.items() if k != "issuer"}
    authenticator = EduTeamsAuthenticator(**settings)
    assert authenticator.issuer == "https://proxy.eduteams.org"
    assert authenticator.subject_scope == "eduteams.org"
    assert "eduperson_entitlement" in authenticator.scope


@pytest.mark.parametrize("kind", [UmbrellaAuthenticator, EduTeamsAuthenticator])
def test_safe_defaults(kind: type[OIDCAuthenticator], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUPYTERHUB_CRYPT_KEY", raising=False)
    authenticator = kind(**RIGHT)
    assert not authenticator.allow_all
    assert authenticator.enable_pkce
    assert authenticator.manage_groups
    assert authenticator.refresh_pre_spawn
    assert authenticator.auth_refresh_strict
    assert authenticator.auth_refresh_age == 300
    assert authenticator.max_session_age == 12 * 3600
    assert authenticator.validate_server_cert
    assert not authenticator.enable_auth_state
    monkeypatch.setenv("JUPYTERHUB_CRYPT_KEY", "0" * 64)
    assert kind(**RIGHT).enable_auth_state


@pytest.mark.parametrize("name", ["bob;rm", "bob\n", "Bob", "\u212aim", "a" * 33, "../x", ""])
def test_user_name_is_matched_to_its_end(name: str) -> None:
    authenticator = UmbrellaAuthenticator(**RIGHT)
    assert not authenticator.validate_username(name)
    assert authenticator.validate_username("bob-1")


def test_user_name_is_not_changed() -> None:
    """The Kelvin sign becomes k in lower case, and would be another person's account."""
    assert UmbrellaAuthenticator(**RIGHT).normalize_username("\u212aim") == "\u212aim"
