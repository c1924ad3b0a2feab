"""What happens to sessions: second starts, stops, archived data, a Hub that dies."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Visit
from tests.e2e.facility import Facility
from tests.e2e.steps import (
    choose,
    lab,
    named_session,
    ready,
    start,
    stop_by_home_page,
    until,
)
from tests.slurm.cluster import Cluster

NOTEBOOK = "saxs-agbh_0001.ipynb"


async def test_a_second_start_keeps_the_edited_notebook_and_the_last_choice(
    facility: Facility, visit: Visit
) -> None:
    notebook = facility.workspace("ingo") / NOTEBOOK
    async with visit("ingo") as page:
        await choose(page, profile="staff")
        await start(page)
        await page.wait_for_url(f"**/lab/tree/**/{NOTEBOOK}*")
        assert notebook.is_file()

        content = json.loads(notebook.read_text())
        content["cells"][0]["source"] = "# Mine"
        notebook.write_text(json.dumps(content))
        before = notebook.read_bytes()
        there = sorted(p.name for p in notebook.parent.iterdir())

        await page.goto(f"{facility.url}/hub/home")
        await stop_by_home_page(page)
        await page.get_by_role("link", name="Start again").click()
        await ready(page)
        for name, value in {
            "proposal": "HG-123",
            "dataset": "20.500.12345/agbh-0001",
            "template": "saxs-azimuthal",
            "profile": "staff",
        }.items():
            checked = page.locator(f'input[name="{name}"]:checked')
            assert await checked.get_attribute("value") == value
        with facility.held("ingo"):
            await start(page)
            await page.get_by_text("You edited saxs-agbh_0001.ipynb, so it was kept").wait_for()
        await page.wait_for_url(f"**/lab/tree/**/{NOTEBOOK}*")

        assert notebook.read_bytes() == before
        # The same file is used again; no copy is put beside it.
        assert sorted(p.name for p in notebook.parent.iterdir()) == there
        await page.goto(f"{facility.url}/hub/home")
        await stop_by_home_page(page)


async def test_archived_data_are_announced_before_and_after_the_start(
    facility: Facility, visit: Visit
) -> None:
    async with visit("mira") as page:
        await choose(page, dataset="agbh_0003")
        assert await page.get_by_text("The files are not on disk").is_visible()
        with facility.held("mira"):
            await start(page)
            lines = page.locator("#progress-log")
            await lines.get_by_text("Dataset agbh_0003 is archived").wait_for()
        await page.wait_for_url("**/lab/tree/**/saxs-agbh_0003.ipynb*")
        await page.goto(f"{facility.url}/hub/home")
        await stop_by_home_page(page)


async def test_stop_on_the_pending_page_stops_that_session_only(
    facility: Facility, visit: Visit
) -> None:
    async with visit("mira") as page:
        await ready(page)
        await choose(page)
        await start(page)
        await page.wait_for_url("**/lab/tree/**")
        default = facility.processes("mira", "")
        assert default

        await named_session(page, facility.url, "second")
        await choose(page)
        with facility.held("mira", "second"):
            await start(page)
            await page.wait_for_url("**/hub/spawn-pending/mira/second*")
            await page.locator("#progress-log").get_by_text("Your workspace is").wait_for()
            await page.get_by_role("button", name="Stop").click()
            await page.get_by_role("button", name="Stopping").wait_for()
        await page.wait_for_url("**/hub/home")

        await until(lambda: not facility.processes("mira", "second"), "the named session ended")
        assert all(process.is_running() for process in default)
        assert facility.servers("mira").keys() == {""}
        row = page.locator('[data-server=""]')
        assert "Running" in await row.inner_text()
        await stop_by_home_page(page)


@pytest.mark.slurm
async def test_a_killed_hub_finds_its_sessions_again(
    facility: Facility, slurm: Cluster, visit: Visit, picture: Callable[..., Any]
) -> None:
    async with visit("paula") as page:
        await choose(page)
        await start(page)
        await page.wait_for_url("**/lab/tree/**")
        await named_session(page, facility.url, "batch")
        await choose(page, profile="slurm-small")
        await start(page)
        await page.wait_for_url("**/user/paula/batch/lab/tree/**")
        before = {p.pid for p in facility.processes("paula")}
        job = slurm.command("squeue", "-h", "-o", "%i %T").split()
        assert job[1] == "RUNNING"

        facility.demo.kill_hub()
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{facility.hub_url}/hub/health", trust_env=False)
        facility.demo.start()

        await page.goto(f"{facility.url}/hub/home")
        for server, words in (("", "Small on this machine"), ("batch", "Batch on Slurm")):
            row = page.locator(f'[data-server="{server}"]')
            # The Hub may still be looking for its sessions when it answers again.
            await row.filter(has_text="Running").wait_for()
            text = await row.inner_text()
            assert words in text
            assert "HG-123 / agbh_0001" in text
        await picture(page, "home-after-restart")
        for server in ("", "batch"):
            await page.goto(f"{facility.url}/hub/home")
            row = page.locator(f'[data-server="{server}"]')
            await row.get_by_role("link", name="Open").click()
            await lab(page, NOTEBOOK)
        assert before <= {p.pid for p in facility.processes("paula")}
        assert slurm.command("squeue", "-h", "-o", "%i %T").split() == job

        await page.goto(f"{facility.url}/hub/home")
        await stop_by_home_page(page)
        await stop_by_home_page(page, "batch")
    await until(lambda: not facility.processes("paula"), "all processes ended")
    await until(lambda: not slurm.command("squeue", "-h").strip(), "the job is gone")
