"""From login to a plot in the notebook and back, by clicking only, on each backend."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Visit, updates_screenshots
from tests.e2e.facility import Facility
from tests.e2e.steps import IMAGE, lab, log_in, menu, pictures_in, ready, stop_by_home_page, until

IMAGES = Path("docs/images")


async def photograph(page: Any) -> None:
    """The pictures of the documentation: the filled form, wide, dark and narrow."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    await page.get_by_label("Search your proposals").fill("")
    for name, width, theme in (
        ("spawn-page", 1600, "light"),
        ("spawn-page-dark", 1600, "dark"),
        ("spawn-page-narrow", 360, "light"),
    ):
        await page.emulate_media(color_scheme=theme)
        await page.set_viewport_size({"width": width, "height": 780})
        if width > 1000:  # the whole page, with the bar of step 4 below it and not over it
            height = await page.evaluate("document.documentElement.scrollHeight")
            await page.set_viewport_size({"width": width, "height": height})
        await page.evaluate("window.scrollTo(0, 0)")
        await page.evaluate("document.activeElement.blur()")
        await page.screenshot(path=IMAGES / f"{name}.png", animations="disabled")
    await page.set_viewport_size({"width": 1600, "height": 1000})
    await page.emulate_media(color_scheme="light")


@pytest.mark.parametrize(
    ("where", "profile"),
    [
        pytest.param("Small on this machine", "small", id="local"),
        pytest.param("Batch on Slurm", "slurm-small", id="slurm", marks=pytest.mark.slurm),
    ],
)
async def test_from_login_to_plot_and_back(
    facility: Facility,
    visit: Visit,
    picture: Callable[..., Any],
    request: pytest.FixtureRequest,
    where: str,
    profile: str,
) -> None:
    if profile.startswith("slurm"):
        request.getfixturevalue("slurm")
    async with visit() as page:
        await picture(page, f"login-{profile}")
        await log_in(page, "paula")
        await page.wait_for_url("**/hub/spawn*")
        await ready(page)

        await page.get_by_label("Search your proposals").fill("agbh id02")
        await page.get_by_text("1 of 25 proposals").wait_for()
        await page.locator("#ph-proposals").get_by_text("HG-123").click()
        await page.locator("#ph-datasets").get_by_text("agbh_0001").click()
        await page.locator("#ph-cards").get_by_text("Azimuthal integration").click()
        await page.locator(f'[data-profile="{profile}"]').click()
        summary = await page.get_by_test_id("summary").inner_text()
        assert summary.startswith("HG-123 / agbh_0001 · Azimuthal integration (SAXS) 1.0.0 · ")
        assert where in summary
        if profile.startswith("slurm"):
            await page.get_by_role("button", name="Look again").click()
            free = page.locator(f'[data-profile="{profile}"] .ph-profile-state')
            await free.filter(has_text="starts now").wait_for()
            assert (await free.inner_text()).count("free") == 1
            await page.get_by_test_id("estimate").get_by_text("Starts now.").wait_for()
            if updates_screenshots():
                await photograph(page)
        await picture(page, f"spawn-{profile}", full=False)

        with facility.held("paula"):
            await page.get_by_role("button", name="Start session").click()
            await page.wait_for_url("**/hub/spawn-pending/paula*")
            facts = await page.get_by_test_id("session-summary").inner_text()
            assert "HG-123 / agbh_0001" in facts
            lines = page.locator("#progress-log li span")
            await lines.filter(has_text="Starting").first.wait_for()
            await lines.filter(has_text="Your workspace is").wait_for()
            words = await lines.all_inner_texts()
            assert not any("settings" in line for line in words), words
            await picture(page, f"pending-{profile}")

        await lab(page, "saxs-agbh_0001.ipynb")
        await menu(page, "Run", "Run All Cells")
        saved_line = page.locator(".jp-OutputArea-output").get_by_text("agbh_0001_iq.csv")
        await saved_line.wait_for(timeout=120_000, state="attached")
        image = page.locator(IMAGE).first
        await image.scroll_into_view_if_needed()
        box = await image.bounding_box()
        assert box["width"] > 300
        assert box["height"] > 150
        assert await page.get_by_text("official Jupyter news").count() == 0
        await picture(page, f"lab-{profile}", full=False)

        notebook = facility.workspace("paula") / "saxs-agbh_0001.ipynb"
        await menu(page, "File", "Save Notebook")
        pictures = await until(lambda: pictures_in(notebook), "a picture in the saved notebook")
        check_png(base64.b64decode(pictures[0]))

        async with page.context.expect_page() as opened:
            await menu(page, "File", "Hub Control Panel")
        home = await opened.value
        row = home.locator('[data-server=""]')
        text = await row.inner_text()
        for words in (where, "HG-123 / agbh_0001", "Azimuthal integration", "started", "Running"):
            assert words in text
        await picture(home, f"home-{profile}")
        await stop_by_home_page(home)
        await until(lambda: not facility.processes("paula"), "the session's processes are gone")


def check_png(data: bytes) -> None:
    """A plot: large enough and not blank."""
    from PIL import Image

    image = Image.open(io.BytesIO(data))
    assert image.format == "PNG"
    assert image.width > 300
    assert image.height > 150
    grey = image.convert("L").histogram()
    assert sum(grey[:250]) > 0.02 * image.width * image.height
