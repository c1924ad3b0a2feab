"""The main path on a real Hub: form, REST, sessions, stop, named servers, restart."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
from harness import HubProcess

DATA: dict[str, Any] = {
    "profile": "small",
    "proposal": "HG-123",
    "dataset": "20.500/1",
    "template": "saxs-azimuthal",
    "memory": "4G",
    "cpus": "2",
}


def lives(pid: int) -> bool:
    """Whether the process is there and more than a zombie that nobody has buried yet."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def session_of(hub: HubProcess, user: str, name: str = "") -> dict[str, Any]:
    """What the tiny server says of its environment, asked through the proxy."""
    model = await hub.until(user, name)
    async with hub.api() as api:
        answer = await api.get(f"{hub.url}{model['url']}info")
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


async def test_form_starts_a_session_with_its_data_in_place(
    hub: HubProcess, facility: Path
) -> None:
    async with hub.browser("paula") as paula:
        answer = await paula.form("/hub/spawn", DATA)
    assert answer.status_code == 200, answer.text[:3000]
    session = await session_of(hub, "paula")
    home = facility / "home/paula"
    workspace = home / "panosc/test/HG-123/saxs-azimuthal-1.0.0"
    notebook = workspace / "saxs-agbh_0001.ipynb"
    assert json.loads(notebook.read_text())["nbformat"] == 4
    assert str(facility / "data/ID02/HG-123/raw/agbh_0001") in notebook.read_text()
    assert (workspace / "raw").resolve() == facility / "data/ID02/HG-123/raw"
    environment = session["environment"]
    assert environment["PANOSC_PROPOSAL"] == "HG-123"
    assert environment["JUPYTERHUB_DEFAULT_URL"].endswith("/saxs-agbh_0001.ipynb")
    assert session["cwd"] == str(home)


async def test_same_selection_by_form_and_rest_gives_byte_equal_options(hub: HubProcess) -> None:
    async with hub.browser("paula") as paula:
        await paula.form("/hub/spawn", DATA)
    by_form = (await hub.until("paula"))["user_options"]
    async with hub.api() as api:
        await api.delete("/users/paula/server")
        await hub.until("paula", ready=False)
        answer = await api.post(
            "/users/paula/server", json={"user_options": {**DATA, "cpus": 2, "memory": "4096M"}}
        )
        assert answer.status_code in (201, 202), answer.text
    by_rest = (await hub.until("paula"))["user_options"]
    assert json.dumps(by_form) == json.dumps(by_rest)
    assert by_form["v"] == 1
    assert by_form["profile"] == "small"


async def test_empty_selection_is_the_users_default(hub: HubProcess) -> None:
    async with hub.api() as api:
        await api.post("/users/mira")
        answer = await api.post("/users/mira/server", json={})
        assert answer.status_code in (201, 202), answer.text
    assert (await hub.until("mira"))["user_options"] == {"v": 1, "profile": "small"}


async def test_a_link_prefills_the_form_and_starts_nothing(hub: HubProcess) -> None:
    async with hub.browser("paula") as paula:
        page = await paula.client.get(
            "/hub/spawn", params={"opt-profile": "small", "opt-proposal": "HG-123"}
        )
        assert page.status_code == 200
        assert 'id="spawn_form"' in page.text
        for options in ({"profile": "small"}, {"opt-profile": "x\ny{{"}, {"opt-": "x"}):
            assert (await paula.client.get("/hub/spawn", params=options)).status_code == 200
    assert await hub.server("paula") == {} or not (await hub.server("paula"))["ready"]
    assert "Calling Spawner.start" not in hub.log


async def test_titles_from_the_catalogue_are_escaped(hub: HubProcess) -> None:
    async with hub.browser("paula") as paula:
        page = await paula.client.get("/hub/spawn")
    assert "AgBh" in page.text
    assert "<script>alert(1)" not in page.text


async def test_a_foreign_proposal_is_refused_with_a_sentence(hub: HubProcess) -> None:
    async with hub.api() as api:
        await api.post("/users/mira")
        answer = await api.post("/users/mira/server", json={"proposal": "HG-123"})
        assert answer.status_code == 404
        assert "HG-123 is not among yours" in answer.json()["message"]
    assert (await hub.server("mira")).get("user_options") in ({}, None)


async def test_a_dataset_outside_its_proposal_is_refused(hub: HubProcess) -> None:
    async with hub.api() as api:
        await api.post("/users/paula")
        answer = await api.post(
            "/users/paula/server", json={"proposal": "HG-123", "dataset": "20.500/2"}
        )
        assert answer.status_code == 400
        assert "outside the directories of its proposal" in answer.json()["message"]


async def test_a_profile_of_another_group_is_refused(hub: HubProcess) -> None:
    async with hub.api() as api:
        await api.post("/users/paula")
        answer = await api.post("/users/paula/server", json={"profile": "staff"})
        assert answer.status_code == 403
        assert "ask your local contact" in answer.json()["message"]
        answer = await api.post("/users/ingo/server", json={"profile": "staff"})
        assert answer.status_code in (201, 202), answer.text


async def test_ten_refusals_in_a_row_do_not_stop_the_hub(
    make_hub: Callable[..., HubProcess],
) -> None:
    hub = make_hub("c.Spawner.consecutive_failure_limit = 3\n")
    await hub.start()
    refused = [
        {"profile": "no-such-profile"},
        {"profile": "staff"},
        {"proposal": "MX-1"},
        {"memory": "99999G"},
        {"proposal": "HG-123", "dataset": "20.500/2"},
    ]
    async with hub.api() as api, hub.browser("paula") as paula:
        for options in refused * 2:
            answer = await api.post("/users/paula/server", json=options)
            assert 400 <= answer.status_code < 500, answer.text
            answer = await paula.form("/hub/spawn", options)
            assert 400 <= answer.status_code < 500
        answer = await api.post("/users/paula/server", json={})
        assert answer.status_code in (201, 202), answer.text
    await hub.until("paula")
    assert hub.alive
    assert "Aborting due to" not in hub.log
    # One line each: a traceback would name the class in full.
    assert re.search(r"Failed to spawn single-user server with form: .*404.*MX-1", hub.log)
    assert "compat.SpawnRefused" not in hub.log


async def test_a_refused_form_of_a_named_server_is_shown_for_that_server(hub: HubProcess) -> None:
    async with hub.browser("paula") as paula:
        page = await paula.form("/hub/spawn/paula/second", {**DATA, "memory": "99G"})
    assert page.status_code == 400
    assert "must be between 1G and 8G" in page.text
    assert "/spawn/paula/second" in page.text


async def test_named_servers_have_their_own_sessions(hub: HubProcess) -> None:
    async with hub.api() as api:
        await api.post("/users/paula")
        for path in ("/users/paula/server", "/users/paula/servers/second"):
            answer = await api.post(path, json={"profile": "small"})
            assert answer.status_code in (201, 202), answer.text
        first, second = await session_of(hub, "paula"), await session_of(hub, "paula", "second")
        assert first["pid"] != second["pid"]
        await api.delete("/users/paula/servers/second")
        await hub.until("paula", "second", ready=False)
    assert (await session_of(hub, "paula"))["pid"] == first["pid"]
    assert not lives(second["pid"])


async def test_progress_says_in_words_what_happens(hub: HubProcess) -> None:
    archived = {"proposal": "HG-123", "dataset": "20.500/3", "environment": "slow"}
    async with hub.api() as api:
        await api.post("/users/paula")
        start = asyncio.create_task(api.post("/users/paula/server", json=archived))
        while not (await hub.server("paula")).get("pending"):
            await asyncio.sleep(0.05)
        events = await hub.progress("paula")
        assert (await start).status_code in (201, 202)
    lines = [event["message"] for event in events]
    assert "Starting Small: 1 CPU, 2 GB memory" in lines
    assert any("archived" in line for line in lines)
    assert any("data area raw of HG-123" in line for line in lines)
    percent = [event["progress"] for event in events if "progress" in event]
    assert percent == sorted(percent)
    assert events[-1]["ready"]


SLOW_HOOK = """
import asyncio
from panosc_hub.hook import pre_spawn_hook
async def slowly(spawner):
    await asyncio.sleep(2)
    await pre_spawn_hook(spawner)
c.PanoscSpawner.pre_spawn_hook = slowly
"""


async def test_a_refusal_after_the_form_reaches_the_pending_page(
    make_hub: Callable[..., HubProcess],
) -> None:
    hub = make_hub(SLOW_HOOK)
    await hub.start()
    async with hub.browser("mira") as mira:
        page = await mira.form("/hub/spawn", {"profile": "small", "proposal": "HG-123"})
        assert "/hub/spawn-pending/mira" in str(page.url)
        events = await hub.progress("mira")
        assert events[-1]["failed"]
        assert "HG-123 is not among yours" in events[-1]["message"]
        page = await mira.client.get("/hub/spawn-pending/mira")
        assert page.status_code == 404
        assert "HG-123 is not among yours" in page.text


async def state_of(hub: HubProcess, user: str, name: str = "") -> dict[str, Any]:
    async with hub.api() as api:
        answer = await api.get(f"/users/{user}", params={"include_stopped_servers": "1"})
        found: dict[str, Any] = answer.json()["servers"][name]["state"]
        return found


async def test_a_session_that_ends_at_once_is_told_and_can_be_tried_again(hub: HubProcess) -> None:
    async with hub.api() as api:
        await api.post("/users/paula")
        await api.post("/users/paula/server", json={"profile": "broken"})
        await hub.until("paula", ready=False)
        assert "exit status 3" in (await state_of(hub, "paula"))["ended"]
        answer = await api.post("/users/paula/server", json={"profile": "small"})
        assert answer.status_code in (201, 202), answer.text
    await hub.until("paula")


async def test_sessions_survive_a_killed_hub(make_hub: Callable[..., HubProcess]) -> None:
    hub = make_hub()
    await hub.start()
    async with hub.api() as api:
        await api.post("/users/paula")
        await api.post("/users/paula/server", json={"profile": "small"})
        await api.post("/users/paula/servers/second", json={"profile": "small"})
    before = [await session_of(hub, "paula"), await session_of(hub, "paula", "second")]
    hub.kill()
    await hub.start()
    after = [await session_of(hub, "paula"), await session_of(hub, "paula", "second")]
    assert [s["pid"] for s in after] == [s["pid"] for s in before]
    async with hub.api() as api:
        await api.delete("/users/paula/server")
    await hub.until("paula", ready=False)
    assert not lives(before[0]["pid"])


async def test_a_session_that_died_with_the_hub_is_noticed(
    make_hub: Callable[..., HubProcess],
) -> None:
    hub = make_hub()
    await hub.start()
    async with hub.api() as api:
        await api.post("/users/paula")
        await api.post("/users/paula/server", json={"profile": "small"})
    pid = (await session_of(hub, "paula"))["pid"]
    hub.kill()
    psutil.Process(pid).kill()
    await hub.start()
    await hub.until("paula", ready=False)


async def test_port_endpoint_accepts_only_one_integer_port_from_a_sessions_token(
    hub: HubProcess,
) -> None:
    async with hub.api() as api:
        await api.post("/users/paula")
        made = await api.post("/users/paula/tokens", json={"note": "not a session"})
        for path in ("/panosc/port", "/batchspawner", "/panosc/report"):
            answer = await api.post(path, json={"port": 12345})
            assert answer.status_code == 403
            async with httpx.AsyncClient(trust_env=False) as client:
                headers = {"Authorization": f"token {made.json()['token']}"}
                answer = await client.post(
                    f"{hub.url}/hub/api{path}", json={"port": 12345}, headers=headers
                )
                assert answer.status_code == 403


CHILDS_HOOK = """
def for_the_child(spawner):
    assert type(spawner).__name__ == "LocalBackend", type(spawner)
    spawner.environment["PANOSC_CHILDS_HOOK"] = spawner.user.name
c.LocalProcessSpawner.pre_spawn_hook = for_the_child
c.LocalProcessSpawner.environment = {"PANOSC_FROM_CONFIG": "yes"}

async def for_all(spawner):
    from panosc_hub.hook import pre_spawn_hook
    await pre_spawn_hook(spawner)
    spawner.environment["PANOSC_OUTER_HOOK"] = "yes"
c.PanoscSpawner.pre_spawn_hook = for_all
c.PanoscSpawner.group_overrides = {
    "1": {"groups": ["staff"], "spawner_override": {"environment": {"PANOSC_STAFF": "yes"}}}
}
"""


async def test_settings_and_hooks_of_the_backends_own_class_keep_working(
    make_hub: Callable[..., HubProcess],
) -> None:
    hub = make_hub(CHILDS_HOOK)
    await hub.start()
    async with hub.api() as api:
        answer = await api.post("/users/ingo/server", json={"profile": "small"})
        assert answer.status_code in (201, 202), answer.text
    environment = (await session_of(hub, "ingo"))["environment"]
    assert environment["PANOSC_CHILDS_HOOK"] == "ingo"
    assert environment["PANOSC_FROM_CONFIG"] == "yes"
    assert environment["PANOSC_OUTER_HOOK"] == "yes"
    assert environment["PANOSC_STAFF"] == "yes"


async def test_sessions_that_never_answer_are_told_and_do_not_stop_the_hub(
    make_hub: Callable[..., HubProcess],
) -> None:
    hub = make_hub("c.Spawner.http_timeout = 1\nc.Spawner.consecutive_failure_limit = 2\n")
    await hub.start()
    async with hub.api() as api:
        await api.post("/users/paula")
        for _ in range(3):
            await api.post("/users/paula/server", json={"environment": "never"})
            await hub.until("paula", ready=False)
            assert "did not answer within 1 seconds" in (await state_of(hub, "paula"))["ended"]
    assert hub.alive
    assert "Aborting due to" not in hub.log


async def test_the_home_page_tells_of_a_stopped_session(hub: HubProcess) -> None:
    async with hub.api() as api:
        await api.post("/users/paula")
        await api.post("/users/paula/servers/second", json={"profile": "small"})
        await hub.until("paula", "second")
        await api.delete("/users/paula/servers/second")
        await hub.until("paula", "second", ready=False)
    async with hub.browser("paula") as paula:
        home = await paula.client.get("/hub/home")
    assert home.status_code == 200
    assert "It was stopped from the Hub." in home.text
