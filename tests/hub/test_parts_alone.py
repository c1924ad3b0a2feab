"""Each plug-in alone: the hook with a plain spawner, the spawner without the hook."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from harness import HubProcess
from test_spawn import session_of, state_of

HOOK_ONLY = """
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.template_vars = {{}}
c.JupyterHub.template_paths = []
c.Spawner.apply_user_options = lambda spawner, options: None
c.SimpleLocalProcessSpawner.cmd = [{python!r}, {tiny!r}]
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r}
from panosc_hub.hook import PanoscHook
c.SimpleLocalProcessSpawner.pre_spawn_hook = PanoscHook({site!r})
"""


def hook_only(facility: Path) -> str:
    return HOOK_ONLY.format(
        python=sys.executable,
        tiny=str(Path(__file__).with_name("tiny_server.py")),
        homes=str(facility / "home/{username}"),
        site=str(facility / "site.yaml"),
    )


async def test_the_hook_brings_data_and_notebook_into_any_spawners_session(
    make_hub: Callable[..., HubProcess], facility: Path
) -> None:
    hub = make_hub(hook_only(facility))
    await hub.start()
    options = {"proposal": "HG-123", "dataset": "20.500/1", "template": "saxs-azimuthal", "own": 1}
    async with hub.api() as api:
        await api.post("/users/paula")
        answer = await api.post("/users/paula/server", json=options)
        assert answer.status_code in (201, 202), answer.text
    session = await session_of(hub, "paula")
    assert session["environment"]["PANOSC_PROPOSAL"] == "HG-123"
    assert "PANOSC_PLAN" not in session["environment"]
    workspace = facility / "home/paula/panosc/test/HG-123/saxs-azimuthal-1.0.0"
    assert json.loads((workspace / "saxs-agbh_0001.ipynb").read_text())["cells"]


async def test_the_hook_refuses_a_foreign_proposal_on_any_spawner(
    make_hub: Callable[..., HubProcess], facility: Path
) -> None:
    hub = make_hub(hook_only(facility))
    await hub.start()
    async with hub.api() as api:
        await api.post("/users/mira")
        for options, status in (({"proposal": "HG-123"}, 404), ({"proposal": "x\n"}, 400)):
            answer = await api.post("/users/mira/server", json=options)
            assert answer.status_code == status
            assert answer.json()["message"]


async def test_the_spawner_without_the_hook_starts_but_refuses_proposals(
    make_hub: Callable[..., HubProcess],
) -> None:
    hub = make_hub("c.PanoscSpawner.pre_spawn_hook = None\n")
    await hub.start()
    async with hub.api() as api:
        await api.post("/users/paula")
        answer = await api.post("/users/paula/server", json={"proposal": "HG-123"})
        assert answer.status_code == 500
        assert "hook is not configured" in answer.json()["message"]
        answer = await api.post("/users/paula/server", json={"profile": "small"})
        assert answer.status_code in (201, 202)
    await hub.until("paula")


async def test_the_spawner_by_its_entry_point_needs_no_configure(
    make_hub: Callable[..., HubProcess], facility: Path
) -> None:
    hub = make_hub(
        "c.JupyterHub.spawner_class = 'panosc'\n"
        "c.JupyterHub.template_vars = {}\n"
        "c.JupyterHub.template_paths = []\n"
    )
    await hub.start()
    async with hub.browser("paula") as paula:
        page = await paula.client.get("/hub/spawn")
        assert 'name="profile"' in page.text
    async with hub.api() as api:
        answer = await api.post("/users/paula/server", json={"profile": "small"})
        assert answer.status_code in (201, 202)
    await hub.until("paula")


async def test_a_removed_backend_never_drops_a_server(
    make_hub: Callable[..., HubProcess], facility: Path
) -> None:
    hub = make_hub()
    await hub.start()
    async with hub.api() as api:
        await api.post("/users/paula")
        await api.post("/users/paula/server", json={"profile": "small"})
    before = await session_of(hub, "paula")
    config = hub.folder / "jupyterhub_config.py"
    original = config.read_text()
    hub.kill()
    config.write_text(original + "c.PanoscSpawner.backends = {}\n")
    await hub.start()
    assert (await session_of(hub, "paula"))["pid"] == before["pid"]
    assert (await state_of(hub, "paula"))["backends"]["local"]["pid"]
    assert "not configured any more; it is kept" in hub.log
    hub.kill()
    config.write_text(original)
    await hub.start()
    assert (await session_of(hub, "paula"))["pid"] == before["pid"]
    async with hub.api() as api:
        await api.delete("/users/paula/server")
    await hub.until("paula", ready=False)


async def test_a_page_of_the_facility_comes_before_ours_also_the_form(
    make_hub: Callable[..., HubProcess], facility: Path
) -> None:
    pages = facility / "pages"
    pages.mkdir()
    (pages / "home.html").write_text(
        '{% extends "templates/page.html" %}{% block main %}Our own home{% endblock %}'
    )
    (pages / "spawn_form.html").write_text(
        '{% extends "panosc/spawn_form.html" %}{% block before %}Maintenance{% endblock %}'
    )
    hub = make_hub(
        f"c.JupyterHub.template_paths.insert(0, {str(pages)!r})\n"
        "c.JupyterHub.template_vars = {'announcement': 'Beam is back'}\n"
    )
    await hub.start()
    async with hub.browser("paula") as paula:
        assert "Our own home" in (await paula.client.get("/hub/home")).text
        form = (await paula.client.get("/hub/spawn")).text
        assert "Maintenance" in form
        assert "Beam is back" in form
        assert 'name="profile"' in form
        # A refused form is shown by the same template.
        refused = await paula.form("/hub/spawn", {"profile": "nowhere"})
        assert refused.status_code == 400
        assert "Maintenance" in refused.text
