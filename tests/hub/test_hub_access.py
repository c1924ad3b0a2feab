"""Roles, windows and beam times on a real Hub: the same by form and REST."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest_asyncio
from harness import HubProcess

ROLES = """
c.JupyterHub.load_roles += [
    {"name": "gpu-user", "scopes": [], "users": ["paula"]},
    {"name": "crew", "scopes": [], "groups": ["staff"]},
]
"""
PROFILE = """
  - id: {id}
    title: {id}
    backend: local
    memory: 1G
    environments: [tiny]
    allow: {allow}
"""


@pytest_asyncio.fixture
async def hub(make_hub: Callable[..., HubProcess], facility: Path) -> HubProcess:
    """A Hub with one profile for each condition."""
    now = datetime.now(UTC)
    # Beam time of HG-123 is now; the static catalogue has its dates from the file.
    proposals = facility / "proposals.yaml"
    today = now.date()
    days = f"start: {today - timedelta(days=1)}\n    end: {today + timedelta(days=1)}"
    proposals.write_text(
        proposals.read_text().replace("start: 2026-01-12", days)
        + "  - {id: MX-2, instrument: ID23, members: {users: [paula]},"
        " start: 2020-01-12, end: 2020-01-14}\n"
    )
    allows = {
        "roles": "{roles: [gpu-user, crew]}",
        "open": f"{{windows: [{{to: '{(now + timedelta(days=1)).isoformat()}'}}]}}",
        "later": f"{{windows: [{{from: '{(now + timedelta(days=9)).isoformat()}'}}], admins: true,"
        " roles: [user]}",
        "beam": "{beamtime: true}",
    }
    with (facility / "site.yaml").open("a") as site:
        site.writelines(PROFILE.format(id=name, allow=allow) for name, allow in allows.items())
    hub = make_hub(ROLES)
    await hub.start()
    return hub


async def refused(hub: HubProcess, user: str, **options: str) -> tuple[int, str]:
    """Status and sentence of a start by REST."""
    async with hub.api() as api:
        await api.post(f"/users/{user}")
        answer = await api.post(f"/users/{user}/server", json={"user_options": options})
    return answer.status_code, answer.json().get("message", "") if answer.text else ""


async def usable(hub: HubProcess, user: str) -> set[str]:
    async with hub.browser(user) as person:
        body = (await person.client.get("/hub/api/panosc/profiles")).json()
    return {p["id"] for p in body["profiles"] if p["usable"]}


async def test_roles_of_a_person_and_of_their_groups_open_a_profile(hub: HubProcess) -> None:
    assert "roles" in await usable(hub, "paula")
    assert "roles" in await usable(hub, "ingo")
    assert "roles" not in await usable(hub, "nina")
    status, told = await refused(hub, "nina", profile="roles")
    assert (status, told) == (403, "roles: not for your group: ask your local contact.")


async def test_a_closed_window_is_refused_by_every_door_with_when_it_opens(hub: HubProcess) -> None:
    assert {"open", "later"} & await usable(hub, "nina") == {"open"}
    status, told = await refused(hub, "nina", profile="later")
    assert status == 403
    assert told.startswith("later: it opens on ")
    async with hub.browser("nina") as nina:
        answer = await nina.form("/hub/spawn", {"profile": "later"})
    assert answer.status_code == 403
    assert "later: it opens on " in answer.text
    assert "later" in await usable(hub, "ada")  # an admin, at any time


async def test_beam_time_is_judged_with_the_dates_of_the_catalogue(hub: HubProcess) -> None:
    status, told = await refused(hub, "paula", profile="beam")
    assert status == 400
    assert "proposal: beam is for proposals during their beam time; choose one" in told
    async with hub.api() as api:
        await api.post("/users/paula")
        answer = await api.post(
            "/users/paula/server", json={"user_options": {"profile": "beam", "proposal": "MX-2"}}
        )
        assert answer.status_code == 403, answer.text
        assert "MX-2 has its from 12 to 14 January 2020" in answer.json()["message"]
        started = await api.post(
            "/users/paula/server", json={"user_options": {"profile": "beam", "proposal": "HG-123"}}
        )
    assert started.status_code in (201, 202), started.text
    assert (await hub.until("paula"))["ready"]


async def test_the_open_page_can_renew_itself(hub: HubProcess) -> None:
    async with hub.browser("paula") as paula:
        plain = (await paula.client.get("/hub/api/panosc/profiles")).json()
        renewed = (await paula.client.get("/hub/api/panosc/profiles?page=1")).json()
        proposals = (await paula.client.get("/hub/api/panosc/proposals")).json()["proposals"]
    assert "page" not in plain
    assert {o["id"] for o in renewed["page"]["offers"]} == {p["id"] for p in plain["profiles"]}
    assert set(renewed["page"]) == {"offers", "menus", "menusOf"}
    assert {p["id"]: p["beam"] for p in proposals} == {"HG-123": ["beam"], "MX-2": []}
