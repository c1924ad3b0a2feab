"""Answers to menus on a real Hub: the same by form and REST, held against what is offered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest_asyncio
from harness import HubProcess

LOOKS_AGAIN = """
from panosc_hub.backends.local import LocalBackend
class Trusting(LocalBackend):
    own_environments = True  # for the test: the real one takes no paths
c.PanoscSpawner.backends = {"local": Trusting}
"""


@pytest_asyncio.fixture
async def choosing(make_hub: Callable[..., HubProcess], facility: Path) -> HubProcess:
    """A Hub whose first environment may be anywhere below a person's folder."""
    site = facility / "site.yaml"
    own = f"    title: Tiny server\n    paths: ['{facility}/own/{{username}}/**']\n"
    site.write_text(site.read_text().replace("    title: Tiny server\n", own))
    hub = make_hub(LOOKS_AGAIN)
    await hub.start()
    return hub


async def test_an_own_environment_is_used_and_its_options_are_byte_equal(
    choosing: HubProcess, facility: Path
) -> None:
    path = f"{facility}/own/paula/env"
    (Path(path) / "bin").mkdir(parents=True)
    async with choosing.browser("paula") as paula:
        form = {"profile": "small", "choice-path": path, "choice-account": ""}
        answer = await paula.form("/hub/spawn", form)
    assert answer.status_code == 200, answer.text[:3000]
    model = await choosing.until("paula")
    async with choosing.api() as api:
        session = (await api.get(f"{choosing.url}{model['url']}info")).json()
        assert session["environment"]["PATH"].startswith(f"{path}/bin:")
        await api.delete("/users/paula/server")
        await choosing.until("paula", ready=False)
        options = {"choices": {"path": path}, "profile": "small"}
        answer = await api.post("/users/paula/server", json={"user_options": options})
        assert answer.status_code in (201, 202), answer.text
    by_rest = (await choosing.until("paula"))["user_options"]
    assert json.dumps(model["user_options"]) == json.dumps(by_rest)
    assert by_rest == {"v": 1, "profile": "small", "choices": {"path": path}}


async def test_what_is_not_offered_is_refused_with_a_sentence_by_every_door(
    choosing: HubProcess, facility: Path
) -> None:
    foreign = f"{facility}/own/ingo/env"
    wrong = {"path": foreign, "account": "vip"}
    async with choosing.api() as api:
        await api.post("/users/paula")
        for options in ({"choices": wrong}, {"profile": "small", "choices": wrong}):
            answer = await api.post("/users/paula/server", json={"user_options": options})
            assert answer.status_code == 400, answer.text
            assert "choice-path: " in answer.json()["message"]
            assert "choice-account: is not to be chosen on Small" in answer.json()["message"]
    async with choosing.browser("paula") as paula:
        form = {"profile": "small", **{f"choice-{k}": v for k, v in wrong.items()}}
        answer = await paula.form("/hub/spawn", form)
        assert answer.status_code == 400
        assert f"{facility}/own/paula/**" in answer.text
        link = {f"opt-{k}": v for k, v in form.items()}
        answer = await paula.client.get("/hub/spawn", params=link)
        assert answer.status_code == 200
        assert "Account</strong> is not to be chosen on Small" in answer.text
    model = await choosing.server("paula")
    assert not model or not (model["ready"] or model["pending"])


async def test_profiles_tell_limits_menus_and_own_paths(
    choosing: HubProcess, facility: Path
) -> None:
    async with choosing.browser("paula") as paula:
        body = (await paula.client.get("/hub/api/panosc/profiles")).json()
    small = next(p for p in body["profiles"] if p["id"] == "small")
    assert small["limits"]["memory"] == {"min": "1G", "max": "8G", "default": "2G"}
    assert small["menus"] == []
    paths = {e["id"]: e["paths"] for e in small["environments"]}
    assert paths["tiny"] == [f"{facility}/own/{{username}}/**"]
    assert paths["slow"] == []


async def test_an_open_range_that_nobody_limits_ends_at_its_default(
    make_hub: Callable[..., HubProcess], facility: Path
) -> None:
    site, limited = facility / "site.yaml", "cpus: {min: 1, max: 4, default: 1}"
    site.write_text(site.read_text().replace(limited, "cpus: {min: 1, default: 1}"))
    hub = make_hub()
    await hub.start()
    async with hub.api() as api:
        await api.post("/users/paula")
        answer = await api.post("/users/paula/server", json={"profile": "small", "cpus": 2})
    assert answer.status_code == 400
    assert "2 asked, but on Small it is fixed at 1" in answer.json()["message"]
