"""The whole login with the example facility's provider, which is a certified implementation."""

from __future__ import annotations

import hashlib
import html
import json
import re
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
import pytest_asyncio
from real_hub import Hub, free_port, hub_config

from examples.idp import PEOPLE, running_idp

pytestmark = [
    pytest.mark.asyncio(loop_scope="package"),
    pytest.mark.skipif(shutil.which("npm") is None, reason="the provider needs Node.js and npm"),
]


def subject(username: str) -> str:
    return hashlib.sha256(f"panosc-hub demo {username}".encode()).hexdigest() + "@eduteams.example"


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def real(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Hub, Path]]:
    """A Hub at the example provider, and the file of its people, which a test may change."""
    tmp = tmp_path_factory.mktemp("real")
    people = tmp / "people.json"
    shutil.copy(PEOPLE, people)
    port = free_port()
    redirect = f"http://127.0.0.1:{port}/hub/oauth_callback"
    async with running_idp(redirect, people=people) as idp:
        accounts = {subject(name): name for name in ("paula", "mira", "ingo", "ada")}
        config = hub_config(idp.issuer, accounts)
        config.UmbrellaAuthenticator.update(
            {
                "client_id": idp.client_id,
                "client_secret": idp.client_secret,
                "entitlement_namespace": "urn:geant:eduteams.example:service:umbrella.example",
                "subject_scope": "eduteams.example",
                # This provider gives a refresh token only with a consent.
                "extra_authorize_params": {"prompt": "consent"},
            }
        )
        hub = await Hub.start(config, tmp, port)
        yield hub, people
        await hub.stop()


async def login(hub: Hub, username: str) -> tuple[httpx.AsyncClient, httpx.Response]:
    """Follow every redirect as a browser does, choose a person, and stop at the Hub's answer."""
    browser = hub.browser()
    answer = await browser.get("/hub/oauth_login")
    while True:
        if answer.is_redirect:
            target = urljoin(str(answer.url), answer.headers["location"])
            answer = await browser.get(target)
            if "/oauth_callback" in target:
                return browser, answer
        else:
            assert "<form" in answer.text, answer.text
            action = html.unescape(re.findall(r'action="([^"]+)"', answer.text)[0])
            target = urljoin(str(answer.url), action)
            answer = await browser.post(target, data={"person": username})


async def test_paula_logs_in_with_her_groups(real: tuple[Hub, Path]) -> None:
    hub, _ = real
    await hub.forget()
    browser, answer = await login(hub, "paula")
    assert answer.status_code == 302, answer.text
    assert hub.user_names() == ["paula"]
    assert hub.groups("paula") == ["proposal:HG-123", "users"]
    assert not hub.user("paula").admin
    assert (await browser.get("/hub/home")).status_code == 200


async def test_ada_is_administrator(real: tuple[Hub, Path]) -> None:
    hub, _ = real
    await hub.forget()
    assert (await login(hub, "ada"))[1].status_code == 302
    assert hub.user("ada").admin


async def test_nobody_gets_the_page_and_no_user(real: tuple[Hub, Path]) -> None:
    hub, _ = real
    await hub.forget()
    _, answer = await login(hub, "nobody")
    assert answer.status_code == 403
    assert subject("nobody") in answer.text
    assert "Demo Light Source" in answer.text
    assert hub.user_names() == []


async def test_membership_that_ended_is_seen_with_a_rotated_token(real: tuple[Hub, Path]) -> None:
    hub, people = real
    await hub.forget()
    browser, _ = await login(hub, "mira")
    before = await hub.user("mira").get_auth_state()
    assert before["refresh_token"]
    change_groups(people, "mira", ["umbrella:demo:users"])
    await hub.change_state("mira", expires_at=time.time())
    hub.make_due("mira")
    assert (await browser.get("/hub/home")).status_code == 200
    assert hub.groups("mira") == ["users"]
    after = await hub.user("mira").get_auth_state()
    assert after["refresh_token"] != before["refresh_token"]
    change_groups(people, "mira", [])
    hub.make_due("mira")
    assert (await browser.get("/hub/home")).status_code == 302


async def test_logout_reaches_the_provider(real: tuple[Hub, Path]) -> None:
    hub, _ = real
    await hub.forget()
    browser, _ = await login(hub, "ingo")
    answer = await browser.get("/hub/logout")
    page = await browser.get(answer.headers["location"])
    assert page.status_code == 200, page.text
    assert "log out of the demo identity provider" in page.text


def change_groups(people: Path, username: str, groups: list[str]) -> None:
    data: dict[str, Any] = json.loads(people.read_text())
    for person in data["people"]:
        if person["username"] == username:
            person["groups"] = groups
    people.write_text(json.dumps(data))
