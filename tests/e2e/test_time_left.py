"""The end of a session by its time limit: announced in JupyterLab, explained on the home page."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.conftest import Visit
from tests.e2e.facility import Facility
from tests.e2e.steps import choose, lab, menu, ready, start, stop_by_home_page
from tests.slurm.cluster import Cluster

MINUTES = re.compile(r"(\d+) min left")


async def minutes_left(page: Any) -> int:
    """What JupyterLab's status bar says."""
    item = page.locator("#panosc-time-left").filter(has_text=MINUTES)
    found = MINUTES.fullmatch(await item.inner_text())
    assert found
    return int(found[1])


@pytest.mark.slurm
async def test_the_time_limit_is_announced_in_the_session_and_explained_after_it(
    facility: Facility, slurm: Cluster, visit: Visit, picture: Callable[..., Any]
) -> None:
    async with visit("paula") as page:
        # Without a notebook: those of the example want half an hour.
        await page.goto(f"{facility.url}/hub/spawn?opt-profile=slurm-small&opt-walltime=5m")
        await ready(page)
        await start(page)
        await page.wait_for_url("**/user/paula/lab**", timeout=120_000)
        assert 1 <= await minutes_left(page) <= 4
        warning = page.locator(".Toastify__toast").filter(has_text="Save your work")
        await warning.wait_for()
        # Both warnings are due at once (15 and 5 minutes), and one is enough.
        assert await warning.count() == 1
        assert re.search(r"this session ends in [1-5] min, at ", await warning.inner_text())
        assert await warning.get_by_role("button", name="Save all").is_visible()
        await picture(page, "lab-time-left-light", full=False)
        await menu(page, "Settings", "Theme", "JupyterLab Dark")
        await page.locator('body[data-jp-theme-light="false"]').wait_for(state="attached")
        await picture(page, "lab-time-left-dark", full=False)
        async with page.context.expect_page() as opened:
            await warning.get_by_role("button", name="My sessions").click()
        home = await opened.value
        await home.wait_for_url("**/hub/home")
        row = home.locator('[data-server=""]')
        assert "min: save your work" in await row.get_by_test_id("ends").inner_text()
        await warning.get_by_role("button", name="Save all").click()
        await warning.wait_for(state="detached")

        job = slurm.command("squeue", "-h", "-o", "%i").strip()
        slurm.command("scontrol", "update", f"jobid={job}", "endtime=now+2")
        stopped = home.locator('[data-server=""][data-state="stopped"]')
        for _ in range(120):  # slurmctld looks for jobs over their time every 30 s
            if await stopped.count():
                break
            await home.wait_for_timeout(1000)
            await home.reload()
        await stopped.get_by_text(
            "Why it stopped: The session ended: it reached its time limit."
        ).wait_for()
        await picture(home, "home-time-limit")


async def test_a_session_without_an_end_shows_no_time(facility: Facility, visit: Visit) -> None:
    async with visit("mira") as page:
        await choose(page)
        await start(page)
        await lab(page, "saxs-agbh_0001.ipynb")
        assert await page.locator("#jp-main-statusbar").is_visible()
        assert await page.locator("#panosc-time-left").count() == 0
        await page.goto(f"{facility.url}/hub/home")
        assert await page.get_by_test_id("ends").count() == 0
        await stop_by_home_page(page)
