"""Refresh through a real Hub: what proves something about a person, and what does not."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from evil_op import SUBJECT, EvilOP, entitlement
from jupyterhub import orm
from real_hub import Hub, NoSpawner

pytestmark = pytest.mark.asyncio(loop_scope="package")

OTHER = "other@eduteams.example"


async def logged_in(hub: Hub) -> httpx.AsyncClient:
    browser = hub.browser()
    assert (await hub.login(browser)).status_code == 302
    hub.make_due("paula")
    return browser


async def home(browser: httpx.AsyncClient) -> int:
    return (await browser.get("/hub/home")).status_code


async def spawn_with_token(hub: Hub) -> httpx.Response:
    """As a script does: start a server through the API with the person's own token."""
    token = hub.user("paula").new_api_token()
    async with httpx.AsyncClient(base_url=hub.url) as script:
        return await script.post(
            "/hub/api/users/paula/server", headers={"Authorization": f"token {token}"}
        )


def assert_login_required(status: int) -> None:
    assert status == 302


async def test_new_group_is_seen_at_refresh(hub: Hub, op: EvilOP) -> None:
    browser = await logged_in(hub)
    op.userinfo["eduperson_entitlement"].append(entitlement("proposal:MX-1"))
    assert await home(browser) == 200
    assert hub.groups("paula") == ["proposal:HG-123", "proposal:MX-1"]


async def test_removed_group_is_gone_at_refresh(hub: Hub, op: EvilOP) -> None:
    op.userinfo["eduperson_entitlement"].append(entitlement("proposal:MX-1"))
    browser = await logged_in(hub)
    op.userinfo["eduperson_entitlement"] = [entitlement("proposal:MX-1")]
    assert await home(browser) == 200
    assert hub.groups("paula") == ["proposal:MX-1"]


async def test_removed_administrator_loses_the_right_at_refresh(hub: Hub, op: EvilOP) -> None:
    op.userinfo["eduperson_entitlement"].append(entitlement("admins"))
    browser = await logged_in(hub)
    assert await home(browser) == 200
    assert hub.user("paula").admin
    hub.make_due("paula")
    op.userinfo["eduperson_entitlement"].pop()
    assert await home(browser) == 200
    assert not hub.user("paula").admin


async def test_person_removed_from_all_groups_must_log_in(hub: Hub, op: EvilOP) -> None:
    browser = await logged_in(hub)
    op.userinfo["eduperson_entitlement"] = []
    assert_login_required(await home(browser))
    assert (await hub.login(browser)).status_code == 403


async def test_removed_person_cannot_spawn_with_an_api_token(hub: Hub, op: EvilOP) -> None:
    await logged_in(hub)
    op.userinfo["eduperson_entitlement"] = []
    assert (await spawn_with_token(hub)).status_code == 403
    assert NoSpawner.started == []


async def test_spawn_asks_the_provider_although_the_refresh_is_not_due(
    hub: Hub, op: EvilOP
) -> None:
    browser = await logged_in(hub)
    assert await home(browser) == 200
    op.userinfo["eduperson_entitlement"] = []
    await spawn_with_token(hub)
    assert NoSpawner.started == []


async def test_member_can_spawn_with_an_api_token(hub: Hub, op: EvilOP) -> None:
    """The counterpart: the refusals above are not for another reason."""
    await logged_in(hub)
    await spawn_with_token(hub)
    assert NoSpawner.started == ["paula"]


async def test_other_person_in_userinfo_is_refused(hub: Hub, op: EvilOP) -> None:
    browser = await logged_in(hub)
    op.userinfo |= {"sub": OTHER, "eduperson_entitlement": [entitlement("proposal:SECRET-1")]}
    assert_login_required(await home(browser))
    assert hub.groups("paula") == ["proposal:HG-123"]
    assert orm.Group.find(hub.app.db, "proposal:SECRET-1") is None
    assert OTHER in hub.log.text


async def test_other_person_in_the_refreshed_tokens_is_refused(hub: Hub, op: EvilOP) -> None:
    browser = await logged_in(hub)
    op.access_tokens.clear()
    op.id_claims["sub"] = OTHER
    assert_login_required(await home(browser))
    assert op.calls["token"] == 2
    state = await hub.user("paula").get_auth_state()
    assert state["id_token"] == op.issued[2], "tokens of another person were stored"


async def test_bad_signature_at_refresh_is_refused(hub: Hub, op: EvilOP) -> None:
    browser = await logged_in(hub)
    op.access_tokens.clear()
    op.id_claims["aud"] = "another-hub"
    assert_login_required(await home(browser))


async def test_account_given_to_somebody_else_ends_the_session(
    hub: Hub, op: EvilOP, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = await logged_in(hub)
    mapper = hub.app.authenticator.mappers[0]
    monkeypatch.setattr(mapper, "accounts", {SUBJECT: "newname"})
    assert_login_required(await home(browser))
    hub.make_due("paula")
    monkeypatch.setattr(mapper, "accounts", {OTHER: "paula"})
    assert_login_required(await home(browser))


async def test_blocked_person_must_log_in_and_cannot(
    hub: Hub, op: EvilOP, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = await logged_in(hub)
    monkeypatch.setattr(hub.app.authenticator, "blocked_users", {"paula"})
    assert_login_required(await home(browser))
    assert (await hub.login(browser)).status_code == 403


async def test_allowed_groups_are_checked_again(
    hub: Hub, op: EvilOP, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub.app.authenticator, "allowed_groups", {"users"})
    assert (await hub.login()).status_code == 403
    op.userinfo["eduperson_entitlement"].append(entitlement("users"))
    browser = await logged_in(hub)
    op.userinfo["eduperson_entitlement"].pop()
    assert_login_required(await home(browser))


# --- tokens -------------------------------------------------------------------------------------


async def test_used_up_access_token_is_renewed(hub: Hub, op: EvilOP) -> None:
    browser = await logged_in(hub)
    op.access_tokens.clear()
    assert await home(browser) == 200
    state = await hub.user("paula").get_auth_state()
    assert {state["access_token"], state["refresh_token"], state["id_token"]} == set(op.issued[3:])


async def test_access_token_is_renewed_before_its_end(hub: Hub, op: EvilOP) -> None:
    browser = await logged_in(hub)
    await hub.change_state("paula", expires_at=time.time() + 30)
    assert await home(browser) == 200
    assert op.calls["token"] == 2
    assert op.calls["userinfo"] == 2


async def test_refresh_token_is_kept_if_it_does_not_rotate(hub: Hub, op: EvilOP) -> None:
    browser = await logged_in(hub)
    op.access_tokens.clear()
    op.token_answer = {"refresh_token": None, "id_token": None}
    assert await home(browser) == 200
    state = await hub.user("paula").get_auth_state()
    assert state["refresh_token"] == op.issued[1]


async def test_simultaneous_requests_spend_the_refresh_token_once(hub: Hub, op: EvilOP) -> None:
    browser = await logged_in(hub)
    op.access_tokens.clear()
    answers = await asyncio.gather(*(home(browser) for _ in range(8)))
    assert answers == [200] * 8
    assert op.calls["token"] == 2


async def test_new_refresh_token_survives_a_failure_after_it(hub: Hub, op: EvilOP) -> None:
    browser = await logged_in(hub)
    await hub.change_state("paula", expires_at=time.time())
    op.status = {"userinfo": 500}
    assert await home(browser) == 200
    op.status = {}
    hub.make_due("paula")
    assert await home(browser) == 200
    assert op.calls["token"] == 2, "the rotated token was lost and a third was needed"


async def test_revoked_refresh_token_requires_login(hub: Hub, op: EvilOP) -> None:
    browser = await logged_in(hub)
    op.access_tokens.clear()
    op.refresh_tokens.clear()
    assert_login_required(await home(browser))
    assert (await hub.login(browser)).status_code == 302


async def test_session_ends_at_its_greatest_age(hub: Hub, op: EvilOP) -> None:
    browser = await logged_in(hub)
    age = hub.app.authenticator.max_session_age
    await hub.change_state("paula", login_at=time.time() - age + 60)
    assert await home(browser) == 200
    state = await hub.user("paula").get_auth_state()
    assert time.time() - state["login_at"] > age - 120, "a refresh made the login look new"
    hub.make_due("paula")
    await hub.change_state("paula", login_at=time.time() - age - 1)
    assert_login_required(await home(browser))


@pytest.mark.parametrize(
    "changes",
    [{"iss": "https://evil.example"}, {"sub": OTHER}, {"sub": None}, {"login_at": None}],
    ids=str,
)
async def test_state_of_another_login_is_not_used(
    hub: Hub, op: EvilOP, changes: dict[str, object]
) -> None:
    browser = await logged_in(hub)
    await hub.change_state("paula", **changes)
    assert_login_required(await home(browser))


# --- a provider that does not answer --------------------------------------------------------------

OUTAGES = {
    "userinfo 503": ({"userinfo": 503}, {}),
    "userinfo 429": ({"userinfo": 429}, {}),
    "userinfo is HTML": ({}, {"userinfo": "<html>maintenance</html>"}),
    "userinfo gone": ({"userinfo": 404}, {}),
}


@pytest.mark.parametrize(("status", "body"), OUTAGES.values(), ids=OUTAGES.keys())
async def test_outage_keeps_the_session_and_grants_nothing(
    hub: Hub, op: EvilOP, status: dict[str, int], body: dict[str, str]
) -> None:
    browser = await logged_in(hub)
    op.userinfo["eduperson_entitlement"].append(entitlement("proposal:MX-1"))
    op.status, op.body = status, body
    assert await home(browser) == 200
    assert hub.groups("paula") == ["proposal:HG-123"]


async def test_outage_of_the_token_endpoint_keeps_the_session(hub: Hub, op: EvilOP) -> None:
    browser = await logged_in(hub)
    op.access_tokens.clear()
    op.status = {"token": 500}
    assert await home(browser) == 200


async def test_refusal_of_the_hub_itself_keeps_the_session(
    hub: Hub, op: EvilOP, monkeypatch: pytest.MonkeyPatch
) -> None:
    """invalid_client says that the Hub's secret is wrong, not that the person is."""
    browser = await logged_in(hub)
    op.access_tokens.clear()
    monkeypatch.setattr(hub.app.authenticator, "client_secret", "rotated")
    assert await home(browser) == 200


async def test_provider_that_is_not_there_keeps_the_session(
    hub: Hub, op: EvilOP, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = await logged_in(hub)
    auth = hub.app.authenticator
    monkeypatch.setattr(auth, "http_timeout", 0.5)
    auth.provider = auth._make_provider()  # as after a restart of the Hub: nothing is cached
    monkeypatch.setattr(auth.provider, "issuer", "http://127.0.0.1:9")
    assert await home(browser) == 200


async def test_grace_is_bounded(hub: Hub, op: EvilOP) -> None:
    browser = await logged_in(hub)
    op.status = {"userinfo": 503}
    grace = hub.app.authenticator.refresh_grace
    await hub.change_state("paula", confirmed_at=time.time() - grace - 1)
    assert_login_required(await home(browser))


async def test_unreadable_account_list_keeps_the_session(
    hub: Hub, op: EvilOP, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    from panosc_hub.auth.accounts import FileMapper

    browser = await logged_in(hub)
    broken = FileMapper(path=f"{tmp_path}/not-there.yaml")
    monkeypatch.setattr(hub.app.authenticator, "mappers", [broken])
    assert await home(browser) == 200
    assert (await hub.login()).status_code == 503


async def test_without_auth_state_the_pins_are_kept_in_memory(
    hub: Hub, op: EvilOP, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = hub.app.authenticator
    monkeypatch.setattr(auth, "enable_auth_state", False)
    browser = await logged_in(hub)
    assert hub.user("paula").encrypted_auth_state is None
    assert await home(browser) == 200
    hub.make_due("paula")
    for accounts in ({}, {SUBJECT: "newname"}):
        monkeypatch.setattr(auth.mappers[0], "accounts", accounts)
        assert_login_required(await home(browser))
        hub.make_due("paula")
    monkeypatch.undo()
    monkeypatch.setattr(auth, "enable_auth_state", False)
    assert await home(browser) == 200
    auth.refresher._remembered.clear()  # as after a restart of the Hub
    hub.make_due("paula")
    assert_login_required(await home(browser))
